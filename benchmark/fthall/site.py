"""Submissions in, a static leaderboard out: one page with every track, and the documentation beside it.

The pages need neither network nor JavaScript. All that is shown is computed here; the templates hold only markup. No
single number decides: the picture is the plane of new facts learned against old facts forgotten.
"""

import base64
import hashlib
import itertools
import math
import re
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from fthall import __version__, metrics, splits, submission
from fthall.errors import FthallError
from fthall.files import write_text
from fthall.paths import data_dir
from fthall.records import EpochPoint, Outcome, Release, Split
from fthall.submission import Submission

_MARK = '<meta name="generator" content="fthall">'
_LEVELS = (50, 90)
_CURVES = (Split.KNOWN, Split.UNKNOWN, Split.HELD)
_SHAPES = (  # path data of radius about 7, told apart without colour
    "M-6.5 0a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0-13 0z",
    "M-6-6H6V6H-6z",
    "M0-8L7.5 5.5H-7.5z",
    "M0-8.5L8.5 0L0 8.5L-8.5 0z",
    "M0 8L7.5-5.5H-7.5z",
    "M-2.5-7.5H2.5V-2.5H7.5V2.5H2.5V7.5H-2.5V2.5H-7.5V-2.5H-2.5z",
    "M0-7.5L7.1-2.3L4.4 6.1H-4.4L-7.1-2.3z",
    "M-7-4L-4-7L0-3L4-7L7-4L3 0L7 4L4 7L0 3L-4 7L-7 4L-3 0z",
)
_COLOURS = 7  # style.css has as many; coprime to the shapes, so 56 entries look different


@dataclass(frozen=True, slots=True)
class Stat:
    """A number over the seeds of an entry."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One submission, as its entry's details show it."""

    submission: Submission
    seed: int
    accuracy: Mapping[Split, float]
    wrong: float
    abstained: float
    forgetting: float | None
    paired: bool
    """Whether the reference has this seed too."""
    fall: float | None
    at: Mapping[int, float | None]
    trajectory: tuple[EpochPoint, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table: all seeds of one entry."""

    slug: str
    title: str
    method: str
    trained_on: tuple[Split, ...]
    is_reference: bool
    seeds: tuple[SeedRow, ...]
    accuracy: Mapping[Split, Stat]
    wrong: Stat
    abstained: Stat
    forgetting: Stat | None
    interval: tuple[float, float] | None
    """The 95 % Wilson interval of held accuracy, moved to the axis of forgetting."""
    paired: bool
    at: Mapping[int, Stat | None]
    score: float | None
    colour: int
    shape: str
    descriptions: Sequence[str]
    facts: Mapping[str, Sequence[str]]
    """What the details list: a name, and the distinct values over the seeds."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One entry in the plane, in SVG coordinates."""

    entry: Entry
    x: float
    y: float
    bar: tuple[float, float] | None
    seeds: tuple[tuple[float, float], ...]
    label: str
    text_x: float
    text_y: float
    leader: tuple[float, float] | None
    """Where the line from the mark to a label that had to move away ends."""


@dataclass(frozen=True, slots=True)
class Plane:
    """New facts learned against old facts forgotten."""

    marks: tuple[Mark, ...]
    x_ticks: tuple[tuple[int, float], ...]
    y_ticks: tuple[tuple[float, float], ...]
    width: int = 680
    height: int = 460
    left: int = 64
    right: int = 660
    top: int = 44
    bottom: int = 404


@dataclass(frozen=True, slots=True)
class Panel:
    """The trajectory of one entry: a small chart and the table behind it."""

    entry: Entry
    thin: tuple[tuple[Split, str], ...]
    bold: tuple[tuple[Split, str], ...]
    labels: tuple[tuple[Split, float], ...]
    x_ticks: tuple[tuple[float, float], ...]
    y_ticks: tuple[tuple[int, float], ...]
    rows: tuple[tuple[float, tuple[Stat, ...]], ...]
    width: int = 300
    height: int = 200
    left: int = 32
    right: int = 236
    top: int = 12
    bottom: int = 168


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
    plane: Plane | None
    panels: tuple[Panel, ...]


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
    tracks = [_track(found, rows) for found, rows in _read(submissions, release)]
    pages = [_page(path) for path in sorted((data_dir("leaderboard") / "pages").glob("*.md"))]
    site = {"tracks": tracks, "pages": pages, "note": note, "version": __version__, "Split": Split}
    files = {"index.html": _fill("index.html", script=True, current="index", **site)}
    for page in pages:
        files[f"{page.name}.html"] = _fill("page.html", script=False, current=page.name, page=page, **site)
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


def table(submissions: Path, *, release: Release | None = None) -> str:
    """The table of every track as Markdown: means over the seeds, forgetting paired with the reference.

    Raises:
        FthallError: as :func:`render`.
    """
    lines = []
    for against, rows in _read(submissions, release):
        lines += [
            f"**{against.track}**",
            "",
            "| trained | seeds | known | new facts learned | old facts kept | old facts forgotten, points |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for entry in _track(against, rows).entries:
            means = [f"{entry.accuracy[split].mean:.1f}" for split in (Split.KNOWN, Split.UNKNOWN, Split.HELD)]
            lost = _number(entry.forgetting.mean) if entry.forgetting else "no reference"
            lines.append(f"| {' | '.join([_plain(entry.title), str(len(entry.seeds)), *means, lost])} |")
        lines.append("")
    return "\n".join(lines)


def _plain(title: str) -> str:
    """A title that cannot end its cell or start markup."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", title)


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
    if strange := [name for name in found if not ours or not name.endswith(".html")]:
        raise FthallError(f"{out} holds other files ({strange[0]}); empty it or choose another folder for the site")


def _read(root: Path, release: Release | None) -> list[tuple[Release, list[Submission]]]:
    """Every submission, valid and unique, by track."""
    if not root.is_dir():
        raise FthallError(f"no folder {root}; give the folder that holds <source>/<base>/<submission>/")
    folders = submission.find(root)
    for card in sorted(root.rglob("submission.yaml")):
        hidden = any(part.startswith(".") for part in card.relative_to(root).parts)
        if not hidden and card.parent not in folders:
            raise FthallError(f"{card} is not at <source>/<base>/<submission>/ under {root}; give the folder above")
    found: dict[str, tuple[Release, list[Submission]]] = {}
    taken: dict[tuple[str, str, int], Path] = {}
    for folder in folders:
        track = "/".join(folder.resolve().parts[-3:-1])
        against = release or (found[track][0] if track in found else splits.load(track))
        one = submission.validate(folder, against)
        if (other := taken.setdefault((track, one.card.entry, one.card.seed), folder)) is not folder:
            raise FthallError(f"{other} and {folder} are both seed {one.card.seed} of {one.card.entry!r}; remove one")
        found.setdefault(track, (against, []))[1].append(one)
    return [found[track] for track in sorted(found)]


def _track(release: Release, submissions: Sequence[Submission]) -> Track:
    by_entry: dict[str, list[Submission]] = {}
    for one in sorted(submissions, key=lambda s: (s.card.entry, s.card.seed)):
        by_entry.setdefault(one.card.entry, []).append(one)
    for slug, group in by_entry.items():
        for field in ("title", "method", "trained_on"):
            if len(values := _distinct(str(getattr(one.card, field)) for one in group)) > 1:
                raise FthallError(f"{release.track}: the seeds of {slug!r} differ in {field}: {' and '.join(values)}")
    bounds = [slug for slug, (first, *_) in by_entry.items() if _is_sft(first, {Split.KNOWN})]
    reference = min(bounds, key=lambda slug: (slug != "sft-known", slug), default=None)
    twins = by_entry[reference] if reference else []
    entries = [
        _entry(slug, group, twins, slug == reference, place) for place, (slug, group) in enumerate(by_entry.items())
    ]
    entries.sort(key=lambda e: (not e.is_reference, -1 if e.score is None else -e.score, e.slug))
    chosen = entries[0] if reference else None
    return Track(
        id=re.sub(r"[^A-Za-z0-9]+", "-", release.track),
        release=release,
        relations=tuple(sorted({fact.relation for facts in release.splits.values() for fact in facts})),
        made_with=tuple(sorted({one.card.versions["fthall"] for one in submissions if "fthall" in one.card.versions})),
        entries=tuple(entries),
        reference=chosen,
        said=tuple(_say(entries, chosen)),
        plane=_plane(entries) if chosen else None,
        panels=tuple(_panels(entries)),
    )


def _is_sft(one: Submission, trained_on: set[Split]) -> bool:
    return one.card.method == "sft" and set(one.card.trained_on) == trained_on


def _entry(
    slug: str, group: Sequence[Submission], twins: Sequence[Submission], is_reference: bool, place: int
) -> Entry:
    seeds = tuple(_seed(one, twins) for one in group)
    accuracy = {split: _over(seed.accuracy[split] for seed in seeds) for split in Split}
    held, forgotten = accuracy[Split.HELD], [seed.forgetting for seed in seeds if seed.forgetting is not None]
    forgetting, interval, score = None, None, None
    if forgotten:
        forgetting = _over(forgotten)
        items = len(group[0].answers[Split.HELD])
        low, high = metrics.wilson(round(held.mean / 100 * items), items)
        interval = forgetting.mean + held.mean - high, forgetting.mean + held.mean - low
    if twins and (bound := statistics.fmean(twin.accuracy(Split.HELD) for twin in twins)) > 0:
        score = metrics.harmonic_mean(100 * held.mean / bound, accuracy[Split.UNKNOWN].mean)
    reached = {level: [at for s in seeds if (at := s.at[level]) is not None] for level in _LEVELS}
    card = group[0].card
    return Entry(
        slug=slug,
        title=card.title,
        method=card.method,
        trained_on=tuple(split for split in Split if split in card.trained_on),
        is_reference=is_reference,
        seeds=seeds,
        accuracy=accuracy,
        wrong=_over(seed.wrong for seed in seeds),
        abstained=_over(seed.abstained for seed in seeds),
        forgetting=forgetting,
        interval=interval,
        paired=all(seed.paired for seed in seeds),
        at={level: _over(values) if values else None for level, values in reached.items()},
        score=score,
        colour=place % _COLOURS,
        shape=_SHAPES[place % len(_SHAPES)],
        descriptions=_distinct(one.card.description for one in group if one.card.description),
        facts=_facts(group),
    )


def _seed(one: Submission, twins: Sequence[Submission]) -> SeedRow:
    held = one.answers[Split.HELD]
    counts = metrics.counts(held)
    twin = next((t for t in twins if t.card.seed == one.card.seed), None)
    forgetting = None
    if twin is not None:
        forgetting = metrics.forgetting(twin.answers[Split.HELD], held)
    elif twins:
        forgetting = statistics.fmean(t.accuracy(Split.HELD) for t in twins) - one.accuracy(Split.HELD)
    trajectory = tuple(
        sorted((EpochPoint(**point.model_dump()) for point in one.results.trajectory), key=lambda p: p.epoch)
    )
    return SeedRow(
        submission=one,
        seed=one.card.seed,
        accuracy={split: one.accuracy(split) for split in Split},
        wrong=100 * counts[Outcome.WRONG] / len(held),
        abstained=100 * counts[Outcome.ABSTAINED] / len(held),
        forgetting=forgetting,
        paired=twin is not None,
        fall=metrics.fall_from_peak(trajectory) if trajectory else None,
        at={level: metrics.held_at_plasticity(trajectory, level) for level in _LEVELS},
        trajectory=trajectory,
    )


def _facts(group: Sequence[Submission]) -> dict[str, list[str]]:
    cards = [one.card for one in group]
    names = _distinct(name for card in cards for name in card.hyperparameters)
    versions = _distinct(f"{name} {version}" for card in cards for name, version in card.versions.items())
    settings = [f"{n} = {' / '.join(_distinct(str(c.hyperparameters.get(n, '–')) for c in cards))}" for n in names]
    return {
        "Hyperparameters": settings,
        "Command": _distinct(card.command for card in cards),
        "Hardware": _distinct(card.hardware for card in cards),
        "Versions": versions,
        "Authors": _distinct(author for card in cards for author in card.authors),
        "Contact": _distinct(card.contact for card in cards),
        "Created": _distinct(card.created.isoformat() for card in cards),
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _over(values: Iterable[float]) -> Stat:
    found = list(values)
    return Stat(statistics.fmean(found), min(found), max(found), len(found))


def _number(value: float, digits: int = 1) -> str:
    """A number for the reader: a real minus sign, and never a negative zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _say(entries: Sequence[Entry], reference: Entry | None) -> list[str]:
    """What the numbers say, in sentences that hold whatever the numbers are."""
    if reference is None:
        return [
            "No Only-Known reference has been submitted to this track, so there is nothing to count forgetting from: "
            "only accuracies are shown."
        ]
    said = [
        f"The reference, {reference.title}, never saw the new facts. It answers "
        f"{_number(reference.accuracy[Split.HELD].mean)} % of the held-out facts; forgetting is counted from there."
    ]
    learners = [entry for entry in entries if Split.UNKNOWN in entry.trained_on]
    plain = [e for e in learners if _is_sft(e.seeds[0].submission, {Split.KNOWN, Split.UNKNOWN})]
    sft = min(plain, key=lambda entry: (entry.slug != "sft", entry.slug), default=None)
    if sft:
        said.append(f"{sft.title} {_learned(sft)}.")
    others = [entry for entry in learners if entry is not sft]
    if real := [entry for entry in others if entry.accuracy[Split.UNKNOWN].mean >= 50]:
        best = min(real, key=lambda entry: (_forgotten(entry), entry.slug))
        worse = f", which is no better than {sft.title}" if sft and _forgotten(best) >= _forgotten(sft) else ""
        said.append(
            f"Among the other entries that learned at least half of the new facts, {best.title} kept most of the old "
            f"ones: it {_learned(best)}{worse}."
        )
    if little := [entry for entry in others if entry.accuracy[Split.UNKNOWN].mean < 50]:
        names = ", ".join(f"{e.title} ({_number(e.accuracy[Split.UNKNOWN].mean)} %)" for e in little)
        said.append(
            f"Less than half of the new facts were learned by {names}: keeping old facts is easy for a model that "
            "learns few new ones, so compare it at matched plasticity."
        )
    if any(len(entry.seeds) < 3 for entry in entries):
        said.append("Not every entry has three seeds: take differences between entries as leads, not as findings.")
    return said


def _forgotten(entry: Entry) -> float:
    assert entry.forgetting is not None
    return entry.forgetting.mean


def _learned(entry: Entry) -> str:
    points = _forgotten(entry)
    start = f"learned {_number(entry.accuracy[Split.UNKNOWN].mean)} % of the new facts and "
    if abs(points) < 0.05:
        return start + "lost, on balance, none of the old facts it had never been trained on"
    assert entry.interval is not None
    low, high = entry.interval
    within = " (the error bar includes zero)" if low <= 0 <= high else ""
    verb = "lost" if points > 0 else "gained"
    return f"{start}{verb} {_number(abs(points))} points on old facts it had never been trained on{within}"


def _plane(entries: Sequence[Entry]) -> Plane:
    frame = Plane((), (), ())
    shown: list[float] = [s.forgetting or 0.0 for e in entries for s in e.seeds]
    shown += [end for e in entries for end in e.interval or ()]
    low, high = min(0.0, *shown), max(5.0, *shown)
    step = next((s for s in (1, 2, 5, 10, 20) if (high - low) / s <= 7), 25)
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step

    def across(percent: float) -> float:
        return round(frame.left + 14 + percent / 100 * (frame.right - frame.left - 28), 1)

    def down(points: float) -> float:
        return round(frame.top + 14 + (points - first) / (last - first) * (frame.bottom - frame.top - 28), 1)

    places = [(across(e.accuracy[Split.UNKNOWN].mean), down(_forgotten(e))) for e in entries]
    dots = [
        tuple((across(s.accuracy[Split.UNKNOWN]), down(s.forgetting)) for s in e.seeds if s.forgetting is not None)
        for e in entries
    ]
    # The reference is 0 by definition; its own interval is where the zero line comes from, not a distance from it.
    bars = [None if e.is_reference or not e.interval else (down(e.interval[0]), down(e.interval[1])) for e in entries]
    blocks = [(x - 9, y - 9, x + 9, y + 9) for x, y in places]
    blocks += [(x - 4, y - 4, x + 4, y + 4) for x, y in itertools.chain(*dots)]
    blocks += [(x - 4, *bar[:1], x + 4, *bar[1:]) for (x, _), bar in zip(places, bars, strict=True) if bar]
    marks: dict[str, Mark] = {}
    # Labels find their places from top to bottom, so that leaders seldom cross.
    for entry, place, bar, seeds in sorted(zip(entries, places, bars, dots, strict=True), key=lambda row: row[1][1]):
        label = entry.title if len(entry.title) <= 26 else entry.title[:25].rstrip() + "…"
        box = _dodge(place, max(7.9 * len(label), 64.0), frame, blocks)
        blocks.append(box)
        end = (round(box[0] - 3 if box[0] > place[0] else box[2] + 3, 1), round((box[1] + box[3]) / 2, 1))
        leader = end if math.dist(place, end) > 24 else None
        marks[entry.slug] = Mark(entry, *place, bar, seeds, label, round(box[0], 1), round(box[1] + 11, 1), leader)
    y_ticks = tuple((value, down(value)) for value in range(first, last + 1, step))
    return Plane(
        tuple(marks[entry.slug] for entry in entries),
        tuple((value, across(value)) for value in range(0, 101, 20)),
        y_ticks,
    )


_Box = tuple[float, float, float, float]


def _dodge(place: tuple[float, float], width: float, frame: Plane, blocks: Sequence[_Box]) -> _Box:
    """The nearest free spot for a two-line label beside its mark; the least covered one if none is free."""
    height, best = 27.0, (math.inf, (0.0, 0.0, 0.0, 0.0))
    shifts = (0, *(sign * by for by in range(15, 166, 15) for sign in (1, -1)))
    for shift, side, gap in itertools.product(shifts, (1, -1), (13, 40, 90, 150, 220)):
        x = place[0] + gap if side > 0 else place[0] - gap - width
        y = place[1] - height / 2 + shift
        box = (x, y, x + width, y + height)
        if box[0] < frame.left + 2 or box[2] > frame.right - 2 or y < frame.top + 2 or box[3] > frame.bottom - 2:
            continue
        covered = sum(
            max(0.0, min(box[2], b[2]) - max(box[0], b[0])) * max(0.0, min(box[3], b[3]) - max(box[1], b[1]))
            for b in blocks
        )
        best = min(best, (50 * covered + abs(shift) + gap + (4 if side < 0 else 0), box))
    return best[1]


def _panels(entries: Sequence[Entry]) -> Iterable[Panel]:
    end = max((p.epoch for e in entries for s in e.seeds for p in s.trajectory), default=0.0)
    step = next((s for s in (1, 2, 5, 10, 20, 50) if end / s <= 8), max(1, math.ceil(end / 8)))
    frame = Panel(entries[0], (), (), (), (), (), ())

    def across(epoch: float) -> float:
        return round(frame.left + (epoch / end if end else 0.0) * (frame.right - frame.left), 1)

    def up(percent: float) -> float:
        return round(frame.bottom - percent / 100 * (frame.bottom - frame.top), 1)

    def line(points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{across(epoch)},{up(percent)}" for epoch, percent in points)

    for entry in entries:
        runs = [{point.epoch: point for point in seed.trajectory} for seed in entry.seeds if seed.trajectory]
        if not runs:
            continue
        # A mean over fewer seeds at some epochs would jump where no run did.
        epochs = sorted(set.intersection(*(set(run) for run in runs)))
        rows = [(e, tuple(_over(getattr(run[e], split) for run in runs) for split in _CURVES)) for e in epochs]
        thin = [(s, line((e, getattr(run[e], s)) for e in sorted(run))) for run in runs for s in _CURVES]
        bold = [(s, line((e, stats[i].mean) for e, stats in rows)) for i, s in enumerate(_CURVES)]
        labels: list[tuple[Split, float]] = []
        if rows:
            lasts = sorted((up(rows[-1][1][i].mean) + 4, s) for i, s in enumerate(_CURVES))
            floor = frame.bottom + 4 - 13 * (len(lasts) - 1)
            for y, split in lasts:
                y = min(max(y, labels[-1][1] + 13 if labels else 0.0), floor)  # noqa: PLW2901
                floor += 13
                labels.append((split, round(y, 1)))
        yield Panel(
            entry,
            tuple(thin) if len(runs) > 1 else (),
            tuple(bold),
            tuple(labels),
            tuple((e, across(e)) for e in range(0, math.floor(end) + 1, step)),
            tuple((percent, up(percent)) for percent in (0, 50, 100)),
            tuple(rows),
        )


def _page(path: Path) -> Page:
    """Render one Markdown page. Raw HTML is off, and styles go: the pages' security policy would block them."""
    if path.stem == "index":
        raise FthallError(f"{path}: index is the leaderboard itself; give the page another name")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FthallError(f"{path} is not readable: {error}") from None
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = markdown.parse(text)
    title = next((text.content for tag, text in itertools.pairwise(tokens) if (tag.tag, tag.nesting) == ("h1", 1)), "")
    if not title:
        raise FthallError(f"{path} has no '# ' heading; its first one is the page's title")
    for token in (inner for outer in tokens for inner in (outer, *(outer.children or ()))):
        if align := token.attrs.pop("style", None):
            token.attrSet("class", str(align).removeprefix("text-align:"))
        if token.type == "link_open" and ":" not in (link := str(token.attrGet("href"))):
            token.attrSet("href", re.sub(r"\.md(?=$|#)", ".html", link))
    return Page(path.stem, title.replace("`", ""), Markup(markdown.renderer.render(tokens, markdown.options, {})))  # noqa: S704


def _fill(template: str, *, script: bool, **values: Any) -> str:
    """Fill a template; styles and script are inlined and allowed by their hashes alone."""
    root = data_dir("leaderboard")
    environment = Environment(
        loader=FileSystemLoader(root / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["num"] = _number
    css = (root / "static" / "style.css").read_text(encoding="utf-8")
    js = (root / "static" / "app.js").read_text(encoding="utf-8") if script else ""
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
