"""Submissions in, a static leaderboard out: one page with every track, and the documentation beside it.

The pages need neither network nor JavaScript. All that is shown is computed here; the templates hold only markup. No
single number decides: the picture is the plane of new facts learned against old facts forgotten.
"""

import base64
import hashlib
import itertools
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from fthall import __version__
from fthall.errors import FthallError
from fthall.files import write_text
from fthall.leaderboard import board, charts, downloads
from fthall.leaderboard.board import Entry
from fthall.leaderboard.charts import Panel, Plane
from fthall.leaderboard.choose import Choice, choices
from fthall.leaderboard.entries import EntryPage, entry_page
from fthall.measure import bins
from fthall.paths import data_dir
from fthall.records import Release, Split
from fthall.submissions import Submission, lacking, read, retired

_MARK = '<meta name="generator" content="fthall">'


@dataclass(frozen=True, slots=True)
class Track:
    """One section of the page."""

    id: str
    release: Release
    relations: tuple[str, ...]
    made_with: tuple[str, ...]
    """Versions of fthall the submissions name."""
    entries: tuple[Entry, ...]
    reference: Entry | None
    said: tuple[str, ...]
    choices: tuple[Choice, ...]
    plane: Plane | None
    panels: tuple[Panel, ...]
    pages: tuple[EntryPage, ...]
    """A page an entry, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Page:
    """A Markdown page of the documentation, rendered."""

    name: str
    title: str
    body: Markup


def render(submissions: Path, out: Path, *, release: Release | None = None, note: str | None = None) -> Path:
    """Validate every submission and write the site, whole or not at all.

    Args:
        submissions: the folder with ``<source>/<base>/<slug>/`` in it.
        out: the site's folder; replaced if it holds a site of ours.
        release: check against this release instead of the shipped ones.
        note: a banner on every page.

    Returns:
        ``out/index.html``.

    Raises:
        FthallError: an invalid or duplicate submission, a broken page, or a folder that is not ours to replace.
    """
    _check_out(out)
    tracks = [_track(found, rows) for found, rows in read(submissions, release)]
    pages = [_page(path) for path in sorted((data_dir("leaderboard") / "pages").glob("*.md"))]
    left_out = {} if release else lacking(submissions)
    site = {
        "tracks": tracks,
        "left_out": left_out,
        "retired": retired(submissions),
        "pages": pages,
        "note": note,
        "version": __version__,
        "Split": Split,
    }
    templates = _environment()
    files = {"index.html": _fill(templates, "index.html", script=True, current="index", **site)}
    for track in tracks:
        data = downloads.rows(track.release, track.entries)
        files |= {f"{track.id}.csv": downloads.as_csv(data), f"{track.id}.json": downloads.as_json(data)}
        for about in track.pages:
            own = {"track": track, "page": about}
            files[f"{about.name}.html"] = _fill(templates, "entry.html", script=True, current=about.name, **own, **site)
    for page in pages:
        files[f"{page.name}.html"] = _fill(templates, "page.html", script=False, current=page.name, page=page, **site)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.resolve().name}.", dir=out.resolve().parent) as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            for name, text in files.items():
                write_text(new / name, text)
            if out.exists():
                out.resolve().rename(old)
            new.rename(out.resolve())
    except OSError as error:
        raise FthallError(f"cannot write {out}: {error.strerror}; free space or choose another folder") from None
    return out / "index.html"


def _check_out(out: Path) -> None:
    """Refuse to replace a folder that holds anything but a site."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FthallError(f"{out} is a file; give a folder for the site")
    found = sorted(path.name for path in out.iterdir())
    if not found:
        return
    index = out / "index.html"
    ours = index.is_file() and _MARK in index.read_text(encoding="utf-8", errors="replace")[:2000]
    if strange := [name for name in found if not ours or not name.endswith((".html", ".csv", ".json"))]:
        raise FthallError(f"{out} holds other files ({strange[0]}); empty it or choose another folder for the site")


def _track(release: Release, submissions: Sequence[Submission]) -> Track:
    made = board.board(release, submissions)
    name = re.sub(r"[^A-Za-z0-9]+", "-", release.track)
    panels = tuple(charts.panels(made.entries))
    by_entry = {panel.entry.slug: panel for panel in panels}
    reference = [row.submission.run for row in made.reference.seeds] if made.reference else []
    parts = bins.partitions(release)
    return Track(
        id=name,
        release=release,
        relations=tuple(sorted({fact.relation for facts in release.splits.values() for fact in facts})),
        made_with=tuple(sorted({one.card.versions["fthall"] for one in submissions if "fthall" in one.card.versions})),
        entries=made.entries,
        reference=made.reference,
        said=made.said,
        choices=choices(made.entries),
        plane=charts.plane(made.entries) if made.reference else None,
        panels=panels,
        pages=tuple(
            entry_page(name, entry, by_entry.get(entry.slug), reference, made.on, parts) for entry in made.entries
        ),
    )


def _page(path: Path) -> Page:
    """Render one Markdown page. Raw HTML is off, and styles go: the pages' security policy would block them.

    Pictures are SVG files of the leaderboard's folder, and go into the page: it is one file.
    """
    if path.stem == "index":
        raise FthallError(f"{path}: index is the leaderboard itself; give the page another name")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FthallError(f"{path} is not readable: {error}") from None
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    title = next((text.content for tag, text in itertools.pairwise(tokens) if (tag.tag, tag.nesting) == ("h1", 1)), "")
    if not title:
        raise FthallError(f"{path} has no '# ' heading; its first one is the page's title")
    for tag, inside in itertools.pairwise(tokens):
        if tag.type == "heading_open":
            tag.attrSet("id", re.sub(r"[^\w -]", "", inside.content.lower()).replace(" ", "-"))  # as GitHub does
    for token in (inner for outer in tokens for inner in (outer, *(outer.children or ()))):
        if align := token.attrs.pop("style", None):
            token.attrSet("class", str(align).removeprefix("text-align:"))
        if token.type == "image":
            token.attrSet("src", _picture(path, str(token.attrGet("src"))))
        if token.type == "link_open" and ":" not in (link := str(token.attrGet("href"))):
            token.attrSet("href", re.sub(r"\.md(?=$|#)", ".html", link))
    return Page(path.stem, title.replace("`", ""), Markup(markdown.renderer.render(tokens, markdown.options, {})))  # noqa: S704


def _picture(page: Path, source: str) -> str:
    """A picture as a data address."""
    file = (page.parent / source).resolve()
    if file.suffix != ".svg" or not file.is_relative_to(data_dir("leaderboard").resolve()) or not file.is_file():
        raise FthallError(f"{page}: no picture {source}; a page shows .svg files that lie in {data_dir('leaderboard')}")
    return f"data:image/svg+xml;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _environment() -> Environment:
    """What fills templates: made once, since a template takes longer to read than to fill."""
    made = Environment(
        loader=FileSystemLoader(data_dir("leaderboard") / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"num": board.number, "colour": charts.colour, "shape": charts.shape}
    return made


def _fill(environment: Environment, template: str, *, script: bool, **values: Any) -> str:
    """Fill a template; styles and script are inlined and allowed by their hashes alone."""
    static = data_dir("leaderboard") / "static"
    css = (static / "style.css").read_text(encoding="utf-8")
    js = (static / "app.js").read_text(encoding="utf-8") if script else ""
    policy = (
        f"default-src 'none'; style-src {_hash(css)}; script-src {_hash(js)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    ours = {"generator": _MARK, "policy": policy, "css": css, "js": js}  # nothing of a submission's is marked as safe
    safe = {name: Markup(text) for name, text in ours.items()}  # noqa: S704
    return environment.get_template(template).render(**safe, **values)


def _hash(text: str) -> str:
    """A source of a content security policy: this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
