"""Checks a site that was built: its links, its sizes, whether its HTML is valid, and what Lighthouse says of it.

    python .github/check_site.py [FOLDER] [--only links,sizes,validity,lighthouse]

FOLDER is site unless given. `make check-site` installs what it needs (npm's html-validate and lighthouse; Chromium has
to be there) and says loudly what it leaves out for want of it. A finding is a line; exit code 1: there was one, or
nothing to check. The HTML is held to the standard and to what makes it accessible; a rule that is about neither is off
(html-validate.json): it would have every region be a section and none a div.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as XML

FRONT, PAGE, COMPARISON = 300_000, 400_000, 800_000
"""Bytes at most, of the front page, of any other, and of one that compares: what every entry has right is in it."""
LEAST = 95
"""Of 100, in each of Lighthouse's categories."""
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
TRIES = 3
"""Runs of Lighthouse at most: what else the machine does costs a page points, and gives it none."""
TOOLS = Path(__file__).parents[1] / ".venv/site-checks/node_modules"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(slots=True)
class Link:
    """Where a page points to."""

    target: str
    rel: frozenset[str]
    theirs: bool
    """In what was made from a submission: not in the frame of the page, nor in the documentation."""


class Page(HTMLParser):
    """What there is to check in a page."""

    _ADDRESSES = ("href", "src", "action", "poster", "srcset", "data", "formaction")

    def __init__(self, html: str) -> None:
        """Read it."""
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[Link] = []
        self.styled: list[str] = []
        """Elements with a style or a script as an attribute: the page's policy keeps the browser from obeying them."""
        self.url = ""
        """Where the page says that it will be."""
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        of = {name: value or "" for name, value in attrs}
        if "id" in of:
            self.ids.add(of["id"])
        if tag == "main" or (tag == "article" and "prose" in of.get("class", "").split()):
            self._inside.append(tag)
        if any(name == "style" or name.startswith("on") for name in of):
            self.styled.append(f"<{tag}>")
        rel = frozenset(of.get("rel", "").split())
        told = [of[name] for name in self._ADDRESSES if name in of]
        if tag == "meta" and of.get("property") in {"og:url", "og:image"}:
            told.append(of.get("content", ""))
            if of["property"] == "og:url":
                self.url = told[-1]
        self.links += [Link(one, rel, self._inside == ["main"] and tag == "a") for one in told]

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()


@dataclass(slots=True)
class Site:
    """The folder."""

    folder: Path
    pages: dict[str, Page] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read every page."""
        for file in sorted(self.folder.glob("*.html")):
            self.pages[file.name] = Page(file.read_text(encoding="utf-8"))

    @property
    def url(self) -> str:
        """Where it will be, as the front page says; with a slash at its end."""
        return self.pages["index.html"].url

    def missing(self, target: str) -> str:
        """What is wrong with an address within the site; empty if nothing is."""
        if self.url and target.startswith(self.url):
            target = target.removeprefix(self.url)
        parts = urlsplit(target)
        name = unquote(parts.path)
        if not name and not parts.fragment:
            name = "index.html"
        if name and ("/" in name or not (self.folder / name).is_file()):  # a site is one folder
            return "there is no such file"
        return ""


def links(site: Site) -> Iterator[str]:
    """Links that lead nowhere, or where they should not; the same one of many pages once."""
    where: dict[tuple[str, str], list[str]] = {}
    for name, page in site.pages.items():
        for element in sorted(set(page.styled)):
            yield f"{name}: {element} has a style or a script as an attribute; the page's policy blocks it"
        for link in page.links:
            if wrong := _wrong(site, page, link):
                where.setdefault((link.target, wrong), []).append(name)
    for (target, wrong), names in where.items():
        more = len(set(names)) - 1
        yield f"{names[0]}{f' and {more} more' if more else ''}: {target!r:.150}: {wrong}"
    for name in ("feed.xml", "sitemap.xml"):
        file = site.folder / name
        if not file.is_file():
            if name == "feed.xml" or site.url:
                yield f"{name}: it is missing"
            continue
        root = XML.parse(file).getroot()  # noqa: S314 - the site's own
        told = [of.get("href") or (of.text or "").strip() for of in root.iter() if of.tag.endswith(("}link", "}loc"))]
        for target in told:
            inside = not urlsplit(target).scheme or bool(site.url and target.startswith(site.url))
            if wrong := site.missing(target) if inside else "it is no address of this site":
                yield f"{name}: {target!r}: {wrong}"


def _wrong(site: Site, page: Page, link: Link) -> str:
    """What is wrong with a link; empty if nothing is."""
    parts = urlsplit(link.target)
    if parts.scheme == "data":
        return ""
    if (parts.scheme or parts.netloc) and not (site.url and link.target.startswith(site.url)):
        if parts.scheme != "https":
            return "a link to elsewhere must be https"
        return "a submission's link must have rel nofollow" if link.theirs and "nofollow" not in link.rel else ""
    if wrong := site.missing(link.target):
        return wrong
    if not parts.fragment:
        return ""
    name = unquote(parts.path).rsplit("/", 1)[-1]
    there = site.pages.get(name) if name else page
    return "" if there and unquote(parts.fragment) in there.ids else "there is no such place on that page"


def sizes(site: Site) -> Iterator[str]:
    """Pages that are too heavy."""
    for name in site.pages:
        most = FRONT if name == "index.html" else COMPARISON if name.startswith("compare-") else PAGE
        if (size := (site.folder / name).stat().st_size) > most:
            yield f"{name}: {size:,} bytes; at most {most:,}"


def validity(site: Site) -> Iterator[str]:
    """What the standard forbids."""
    config = Path(__file__).with_name("html-validate.json")
    tool = TOOLS / "html-validate/bin/html-validate.mjs"
    command = ["node", str(tool), "--config", str(config), "--formatter", "json"]
    names = list(site.pages)
    for start in range(0, len(names), 500):  # a command line has an end
        files = [str(site.folder / name) for name in names[start : start + 500]]
        done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)  # noqa: S603
        try:
            told = json.loads(done.stdout)
        except ValueError:
            yield f"html-validate failed: {(done.stderr or done.stdout).strip()[-300:]}"
            return
        for file in told:
            for found in file["messages"]:
                where = f"{Path(file['filePath']).name}:{found['line']}:{found['column']}"
                yield f"{where}: {found['message']} ({found['ruleId']})"


def lighthouse(site: Site) -> Iterator[str]:
    """Categories in which a page has too few points, on a phone or a desk, and what costs them."""
    from fthall.leaderboard.site.serve import serve

    with serve(site.folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in _samples(site):
            for form in ("mobile", "desktop"):
                for left in reversed(range(TRIES)):
                    report = _measure(f"http://127.0.0.1:{server.server_port}/{name}", form)
                    low = _low(report)
                    if not low or not left:
                        break
                points = ", ".join(f"{of['id']} {_points(of)}" for of in report["categories"].values())
                say(f"lighthouse: {name}, {form}: {points}")
                yield from (f"{name}: lighthouse, {form}: {found}" for found in low)
        server.shutdown()


def _samples(site: Site) -> list[str]:
    """The front page, and of tracks, entries and comparisons the heaviest page."""
    weight = {name: (site.folder / name).stat().st_size for name in site.pages}
    entries = [name for name in weight if "--" in name]
    tracks = sorted({name.split("--")[0] + ".html" for name in entries})
    compared = [f"compare-{name}" for name in tracks if f"compare-{name}" in weight]
    return ["index.html", *(max(group, key=weight.__getitem__) for group in (tracks, entries, compared) if group)]


def _measure(address: str, form: str) -> Mapping[str, Any]:
    """Lighthouse's report."""
    command = ["node", str(TOOLS / "lighthouse/cli/index.js"), address, "--quiet", "--output=json"]
    command += ["--no-enable-error-reporting", f"--only-categories={','.join(CATEGORIES)}"]
    # It asks for robots.txt from within the page, whose policy lets no page ask for anything.
    command += ["--skip-audits=robots-txt", "--chrome-flags=--headless=new --no-sandbox --disable-dev-shm-usage"]
    command += ["--preset=desktop"] if form == "desktop" else []
    env = {**os.environ, "CHROME_PATH": _browser() or ""}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)  # noqa: S603
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        report = {"runtimeError": {"message": (done.stderr or done.stdout).strip()[-300:]}}
    if error := report.get("runtimeError"):
        return {"categories": {}, "audits": {}, "failed": error["message"]}
    return report


def _low(report: Mapping[str, Any]) -> list[str]:
    """The categories below what is asked for."""
    if "failed" in report:
        return [f"it failed: {report['failed']}"]
    found = []
    for of in report["categories"].values():
        if _points(of) >= LEAST:
            continue
        lost = [ref["id"] for ref in of["auditRefs"] if ref["weight"] and _lost(report["audits"][ref["id"]])]
        found.append(f"{of['id']} {_points(of)}, at least {LEAST}; it costs: {', '.join(lost) or 'nothing by itself'}")
    return found


def _points(category: Mapping[str, Any]) -> int:
    return round(100 * (category["score"] or 0))


def _lost(audit: Mapping[str, Any]) -> bool:
    return audit["score"] is not None and audit["score"] < LEAST / 100


def _browser() -> str | None:
    """Chromium, by whichever of its names."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def _lacking(check: str) -> str:
    """What a check needs and is not here; empty if all is."""
    needed = {"validity": "html-validate", "lighthouse": "lighthouse"}.get(check)
    if needed and not (shutil.which("node") and (TOOLS / needed).is_dir()):
        return f"there is no {needed}; install Node 20 and npm"
    if check == "lighthouse" and not _browser():
        return "there is no Chromium; install one (Debian: apt install chromium)"
    return ""


def say(line: str) -> None:
    """To the terminal."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


CHECKS = {"links": links, "sizes": sizes, "validity": validity, "lighthouse": lighthouse}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("site"))
    parser.add_argument("--only", default=",".join(CHECKS), help="default: %(default)s")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if strange := [name for name in names if name not in CHECKS]:
        parser.error(f"no check {strange[0]}; there are {', '.join(CHECKS)}")
    if not (options.folder / "index.html").is_file():
        say(f"{options.folder}: no index.html; build it first: make site")
        return 1
    site = Site(options.folder)
    found = 0
    for name in names:
        if lacking := _lacking(name):
            say(f"NOT CHECKED: {name} is left out, {lacking}, and type: make check-site")
            continue
        for finding in CHECKS[name](site):
            say(finding)
            found += 1
    say(f"check-site: {len(site.pages)} pages, {found} finding{'s' if found != 1 else ''}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
