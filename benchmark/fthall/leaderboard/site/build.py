"""Submissions in, a static leaderboard out: a page a track, a page an entry, and the documentation beside them.

The pages need neither network nor JavaScript. All that is shown is computed here; the templates hold only markup. No
single number decides: the picture is the plane of new facts learned against old facts forgotten.
"""

import gc
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from fthall import __version__
from fthall.errors import FthallError
from fthall.files import sha256
from fthall.leaderboard import board, charts, compare
from fthall.leaderboard.board import Board, Entry
from fthall.leaderboard.charts import Painter, Panel, Plane
from fthall.leaderboard.choose import Choice, choices
from fthall.leaderboard.entries import EntryPage, Findings, entry_page, findings
from fthall.leaderboard.site import docs, downloads, feed
from fthall.leaderboard.site.cache import Cache, of_track
from fthall.leaderboard.site.fill import MARK, Templates, templates
from fthall.paths import data_dir
from fthall.records import EpochPoint, Release, Split
from fthall.submissions import Submission, lacking, look, read, retired
from fthall.submissions.find import checked
from fthall.submissions.tiers import Tier

_OURS = (".html", ".csv", ".json", ".parquet", ".png", ".svg", ".xml", ".txt", ".js")
"""How the files of a site end."""


@dataclass(frozen=True, slots=True)
class Track:
    """A source of facts and a base: what is ranked together, on a page of its own."""

    id: str
    release: Release
    board: Board
    relations: tuple[str, ...]
    made_with: tuple[str, ...]
    """Versions of fthall the submissions name."""
    choices: tuple[Choice, ...]
    untouched: EpochPoint | None
    """The base before any training, as the reference's runs asked it: means over them."""
    plane: Plane | None
    panels: tuple[Panel, ...]
    sft: Entry | None
    """Plain fine-tuning on known and new facts."""
    of: tuple[str, ...]
    """Hashes of all that its pages hang on but fthall itself."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """In the order of the table."""
        return self.board.entries

    @property
    def reference(self) -> Entry | None:
        """Only-Known."""
        return self.board.reference

    @property
    def said(self) -> tuple[str, ...]:
        """What the numbers say."""
        return self.board.said

    @property
    def methods(self) -> list[str]:
        """The families of its entries."""
        return sorted({entry.method for entry in self.entries})

    @property
    def tiers(self) -> list[Tier]:
        """Those of its entries, the highest first."""
        return sorted({entry.tier for entry in self.entries}, key=lambda tier: -tier.level)

    @property
    def sharing(self) -> Mapping[int | None, int]:
        """How many entries have a rank."""
        return Counter(entry.rank for entry in self.entries)

    def alike(self, entry: Entry) -> str:
        """The entries not told apart from it: a bit each in the order of the table, the first the lowest, in hex."""
        return f"{sum(1 << at for at, other in enumerate(self.entries) if other.slug in entry.alike):x}"


def render(
    submissions: Path,
    out: Path,
    *,
    release: Release | None = None,
    note: str | None = None,
    url: str | None = None,
    cache: Cache | None = None,
) -> Path:
    """Validate every submission and write the site, whole or not at all.

    Args:
        submissions: the folder with ``<source>/<base>/<slug>/`` in it.
        out: the site's folder; replaced if it holds a site of ours.
        release: check against this release instead of the shipped ones.
        note: a banner on every page.
        url: where the site will be, for what needs whole addresses: the site map, the preview, the feed's links.
        cache: what earlier builds found, where it may be taken from and kept; the site is the same without.

    Returns:
        ``out/index.html``.

    Raises:
        FthallError: an invalid or duplicate submission, a broken page, or a folder that is not ours to replace.
    """
    _check_out(out)
    with _seldom_collecting(), charts.Painter() as painter:
        found = read(submissions, release, cache.submission if cache else checked)
        tracks = [track(against, rows, painter, cache) for against, rows in found]
        tracks.sort(key=lambda one: (-len(one.entries), one.id))  # the front page shows the first
        common = {
            "pages": _docs(cache),
            "places": docs.PLACES,
            "note": note,
            "version": __version__,
            "Split": Split,
            "shapes": charts.SHAPES,
            "url": url,
        }
        left_out = {} if release else lacking(submissions)
        about = {"tracks": tracks, "left_out": left_out, "retired": retired(submissions)}
        _write(out, _files(templates(), tracks, common, about, painter, cache))
    if cache:
        cache.prune()
    return out / "index.html"


def _files(
    filled: Templates,
    tracks: Sequence[Track],
    common: Mapping[str, Any],
    about: Mapping[str, Any],
    painter: Painter,
    cache: Cache | None,
) -> dict[str, bytes]:
    """All of the site, by name; ``common`` is what every page may show, ``about`` what those of one track may not."""
    site = {**common, **about}
    made: dict[str, bytes] = {}

    def add(name: str, content: str | bytes) -> None:
        if name in made:
            raise FthallError(f"two pages would be {name}; rename the entry or the page")
        made[name] = content.encode() if isinstance(content, str) else content

    pictured = next((one for one in tracks if one.plane), None)
    preview = _preview(pictured, painter, cache) if pictured else None
    assets: dict[str, Any] = {"scripts": ("app.js", "plane.js"), "styles": ("style.css", "plane.css"), "loads": True}
    board_page = {**assets, **site}
    add("index.html", filled.fill("board.html", current="index", track=tracks[0] if tracks else None, **board_page))
    for one in tracks:
        add(f"{one.id}.html", filled.fill("board.html", current=one.id, track=one, **board_page))
        for name, content in _of_track(filled, one, common, painter, cache).items():
            add(name, content)
    for page in site["pages"]:
        add(f"{page.name}.html", filled.fill("page.html", current=page.name, page=page, **site))
    if preview:
        add("vega.js", _kept(cache, "vega", [], lambda: charts.bundle().encode()))
        add("preview.png", preview())
    add("404.html", filled.fill("404.html", current="404", **site))
    add("feed.xml", feed.atom([one.board for one in tracks], [one.id for one in tracks], site["url"]))
    if site["url"]:
        add("sitemap.xml", feed.site_map(made, site["url"]))
        add("robots.txt", f"User-agent: *\nAllow: /\nSitemap: {site['url']}/sitemap.xml\n")
    return made


def _preview(one: Track, painter: Painter, cache: Cache | None) -> Callable[[], bytes]:
    """Begun, where it has to be drawn."""

    def begin() -> Callable[[], bytes]:
        return charts.preview(painter, one.entries, one.release.track)

    begun = None if cache and cache.has("preview", one.of) else begin()

    def make() -> bytes:
        return begun() if begun else begin()()

    return lambda: _kept(cache, "preview", one.of, make)


def _of_track(
    filled: Templates, one: Track, common: Mapping[str, Any], painter: Painter, cache: Cache | None
) -> Mapping[str, bytes]:
    """What hangs on a track alone, by name: all but the page with its table, which shows the others at a glance."""

    def make() -> dict[str, bytes]:
        made: dict[str, str | bytes] = {}
        picture = one.plane.painted(painter) if one.plane else None
        if one.panels:
            name = f"training-{one.id}"
            made[f"{name}.html"] = filled.fill("training.html", current=name, track=one, **common)
        found = compare.comparison(one.board, one.id)
        both: dict[str, Any] = {"scripts": ("compare.js",), "styles": ("style.css", "compare.css"), "comparison": found}
        made[f"{found.name}.html"] = filled.fill("compare.html", current=found.name, track=one, **both, **common)
        if one.plane:
            made[f"{one.id}.plane.js"] = one.plane.script(one.id)
        rows = downloads.rows(one.release, one.entries)
        made[f"{one.id}.csv"] = downloads.as_csv(rows)
        made[f"{one.id}.json"] = downloads.as_json(rows)
        made[f"{one.id}.parquet"] = downloads.as_parquet(rows)
        for entry, row in zip(one.entries, rows, strict=True):
            about = _entry_page(one, entry, cache)
            own: dict[str, Any] = {"track": one, "page": about, "current": about.name}
            made[f"{about.name}.html"] = filled.fill("entry.html", scripts=("app.js",), **own, **common)
            made[f"{about.name}.json"] = downloads.entry(row, about)
        if picture:
            made[f"{one.id}.png"] = picture()
        return {name: text.encode() if isinstance(text, str) else text for name, text in made.items()}

    if cache is None:
        return make()
    return cache.files([repr(sorted(common.items())), *one.of], make)


def _entry_page(one: Track, entry: Entry, cache: Cache | None) -> EntryPage:
    own = [row.submission for row in entry.seeds]
    bound = [row.submission for row in one.reference.seeds] if one.reference else []

    def make() -> Findings:
        return findings([each.run for each in own], [each.run for each in bound], one.board.on)

    if cache is None:
        found = make()
    else:
        of = [one.release.digest, *(each.digest for each in own), "against", *(each.digest for each in bound)]
        found = cache.findings(of, make)
    panel = next((panel for panel in one.panels if panel.entry is entry), None)
    return entry_page(one.id, entry, panel, found)


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """Under a temporary name, then renamed."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.resolve().name}.", dir=out.resolve().parent) as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
            if out.exists():
                out.resolve().rename(old)
            new.rename(out.resolve())
    except OSError as error:
        raise FthallError(f"cannot write {out}: {error.strerror}; free space or choose another folder") from None


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
    ours = index.is_file() and MARK in index.read_text(encoding="utf-8", errors="replace")[:2000]
    if strange := [name for name in found if not ours or not name.endswith(_OURS)]:
        raise FthallError(f"{out} holds other files ({strange[0]}); empty it or choose another folder for the site")


def track(
    release: Release, submissions: Sequence[Submission], painter: Painter | None = None, cache: Cache | None = None
) -> Track:
    """All that the pages of a track show."""
    of = of_track(release, submissions)
    if painter and not (cache and cache.has("plane", of)):
        painter.start()  # there will be pictures of it
    odd = cache.odd(of, lambda: look(release, submissions)) if cache else look(release, submissions)
    made = board.board(release, submissions, looks_odd=odd)
    name = re.sub(r"[^A-Za-z0-9]+", "-", release.track)
    panels = tuple(charts.panels(made.entries))
    return Track(
        id=name,
        release=release,
        board=made,
        relations=tuple(sorted({fact.relation for facts in release.splits.values() for fact in facts})),
        made_with=tuple(sorted({one.card.versions["fthall"] for one in submissions if "fthall" in one.card.versions})),
        choices=choices(made.entries),
        untouched=_untouched(made.reference),
        plane=_plane(made, name, of, cache) if made.reference else None,
        panels=panels,
        sft=board.plain(made.entries),
        of=tuple(of),
    )


def _plane(made: Board, track_id: str, of: Sequence[str], cache: Cache | None) -> Plane:
    def make() -> bytes:
        drawn = asdict(charts.plane(made.entries, track_id, made.release.track))
        return json.dumps({**drawn, "kinds": sorted(drawn["kinds"])}).encode()

    told = json.loads(_kept(cache, "plane", of, make))
    return Plane(**{**told, "kinds": frozenset(told["kinds"])})


def _docs(cache: Cache | None) -> list[docs.Page]:
    """The documentation; that pictures are in it, too, is why it hangs on them."""
    root = data_dir("leaderboard")
    given = [path for path in sorted(root.rglob("*")) if path.suffix in {".md", ".svg"}]
    of = [f"{path.relative_to(root)} {sha256(path)}" for path in given] if cache else []
    told = _kept(cache, "docs", of, lambda: json.dumps([astuple(page) for page in docs.pages(root / "pages")]).encode())
    return [docs.Page(name, title, Markup(body)) for name, title, body in json.loads(told)]  # noqa: S704 - our own


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Python looks for cycles after 700 new objects; of a thousand submissions there are millions, in no cycle."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _kept(cache: Cache | None, kind: str, of: Sequence[str], make: Callable[[], bytes]) -> bytes:
    return cache.kept(kind, of, make) if cache else make()


def _untouched(reference: Entry | None) -> EpochPoint | None:
    """Where the reference's trajectories begin, if they were asked before training."""
    seeds = reference.seeds if reference else ()
    first = [seed.trajectory[0] for seed in seeds if seed.trajectory and seed.trajectory[0].epoch == 0]
    if not first:
        return None
    known, tuned = (
        fmean(found) if len(found := [at for at in values if at is not None]) == len(first) else None
        for values in ([point.known for point in first], [point.held_val for point in first])
    )
    return EpochPoint(0, known, fmean(p.unknown for p in first), fmean(p.held for p in first), tuned)
