"""The plane: what Vega draws of it, that it is small, safe and the same each time, and that its labels can be read."""

import io
import json
import random
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as XML

import numpy as np
import pytest
from PIL import Image
from scipy import stats as distributions

from fthall import submissions
from fthall.leaderboard import charts
from fthall.leaderboard.board import Board, Entry, Stat, board
from fthall.leaderboard.charts import Extra, Plane, labels, vega
from fthall.leaderboard.charts.geometry import frame, fronts
from fthall.measure import stats
from fthall.paths import data_dir
from fthall.records import Release, Split
from fthall.submissions.tiers import Tier
from leaderboard.test_site import REFERENCE, build_release, submit

WORDS = "Replay Distilled Anchored Sparse Rank Adaptive Mixed Freeze Merged Elastic Orthogonal".split()
NAME = "geonames-smollm2-135m"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return build_release(tmp_path_factory.mktemp("release"))


def made_of(root: Path, release: Release) -> Board:
    return board(release, [submissions.validate(folder, release) for folder in submissions.find(root)])


@pytest.fixture(scope="module")
def few(release: Release, tmp_path_factory: pytest.TempPathFactory) -> tuple[Entry, ...]:
    """The reference and SFT with two seeds each, and one with a single seed that learns little."""
    root = tmp_path_factory.mktemp("submissions")
    for seed in (0, 1):
        submit(root, release, right=(4, 0, 19), seed=seed, **REFERENCE)
        submit(root, release, right=(4, 9 + seed, 14 - 2 * seed), seed=seed)
    submit(root, release, right=(4, 3, 19), entry="frozen", title="Attention only", method="freeze")
    return made_of(root, release).entries


def many(few: Sequence[Entry], count: int) -> list[Entry]:
    """The first three, and more like them: most of them learn nearly all, and lie in a heap."""
    dice, made = random.Random(count), [*few]
    while len(made) < count:
        model, at = few[1], len(made)
        learned = max(0.0, 100 - abs(dice.gauss(0, 3)) * (1 if dice.random() < 0.6 else 12))
        points = dice.uniform(0.02, 0.2) * learned
        seeds = [
            replace(row, accuracy={**row.accuracy, Split.UNKNOWN: learned - 1}, forgetting=points + dice.gauss(0, 1))
            for row in model.seeds
        ]
        tier = dice.choice([Tier.SELF_REPORTED, Tier.RECOMPUTED, Tier.RECOMPUTED, Tier.VERIFIED])
        made.append(
            replace(
                model,
                slug=f"{dice.choice(WORDS).lower()}-method-{at}",
                title=" ".join([*dice.sample(WORDS, dice.randint(1, 3)), str(at)]),
                accuracy={**model.accuracy, Split.UNKNOWN: Stat(learned, learned - 1, learned, 2)},
                forgetting=Stat(points, points - 1, points + 1, 2),
                interval=(points - dice.uniform(1, 4), points + dice.uniform(1, 4)),
                learned_interval=(max(0.0, learned - 2), min(100.0, learned + 1)),
                seeds=tuple(seeds),
                tier=tier,
                place=at,
                score=learned - points,
            )
        )
    return made


def drawn(plane: Plane) -> XML.Element:
    return XML.fromstring(plane.svg)


def boxes(root: XML.Element) -> tuple[list[labels.Boxes], list[labels.Boxes]]:
    """(of the labels, of the marks), px; a label's is as wide as it is at most."""
    grow = labels.RADIUS * (0.7 if "crowd" in str(root.get("class")) else 1) - 0.6
    texts, marks = [], []
    for group in root.iterfind("*[@data-entry]"):
        at = group.find("use")
        assert at is not None
        x, y = float(at.get("x", "")), float(at.get("y", ""))
        marks.append(np.array([x - grow, y - grow, x + grow, y + grow]))
        for text in group.iterfind("text"):
            wide, left = labels.width(str(text.text)), float(text.get("x", ""))
            left -= {"label end": wide, "label middle": wide / 2}.get(text.get("class", ""), 0)
            base = float(text.get("y", ""))
            texts.append(np.array([left, base - 9, left + wide, base + 3]))
    return texts, marks


def apart(one: labels.Boxes, other: labels.Boxes, slack: float = 1.0) -> bool:
    """With what rounding to a px takes."""
    return bool((one[:2] >= other[2:] - slack).any() or (other[:2] >= one[2:] - slack).any())


@pytest.mark.parametrize(("count", "named", "kilobytes"), [(3, 3, 8), (43, 15, 30), (200, 12, 60)])
def test_labels_cover_neither_labels_nor_marks_and_the_picture_is_small(
    few: tuple[Entry, ...], count: int, named: int, kilobytes: int
) -> None:
    entries = many(few, count)
    charts.plane(entries[:1], NAME)  # Vega starts, which takes a third of a second once
    start = time.perf_counter()
    plane = charts.plane(entries, NAME, "geonames/smollm2-135m", [Extra("Untouched base", 0.0, -0.5)])
    assert time.perf_counter() - start < 5  # about half a second; a busy machine takes longer
    assert len(plane.svg.encode()) < 1000 * kilobytes
    root = drawn(plane)
    assert len(root.findall("a[@data-entry]")) == count
    texts, marks = boxes(root)
    assert len(texts) >= named
    assert plane.unnamed == count + 1 - len(texts) - len(root.findall("g/text"))
    for at, one in enumerate(texts):
        assert (one[:2] >= 0).all()
        assert (one[2:] <= (676, 412)).all()
        assert all(apart(one, other) for other in texts[at + 1 :])
        assert all(apart(one, mark) for mark in marks)


def test_what_matters_most_is_named_first(few: tuple[Entry, ...]) -> None:
    root = drawn(charts.plane(many(few, 200), NAME))
    named = {
        group.get("data-entry"): group.findtext("text")
        for group in root.iterfind("a")
        if group.find("text") is not None
    }
    assert named["sft-known"] == "Only-Known SFT"
    groups = [group.get("data-entry") for group in root.iterfind("a")]
    assert groups[-1] == "sft-known"  # on top of all


def test_better_is_up_and_right(few: tuple[Entry, ...]) -> None:
    root = drawn(charts.plane(few, NAME))
    place = {str(g.get("data-entry")): g.find("use") for g in root.iterfind("a")}
    x, y = ({key: float(use.get(axis, "")) for key, use in place.items() if use is not None} for axis in "xy")
    zero = root.find("path[@class='zero']")
    assert zero is not None
    assert zero.get("d") == f"M0 {y['sft-known']:g}h676"
    assert y["sft"] > y["sft-known"]  # SVG counts downwards
    assert x["sft"] > x["frozen"] > x["sft-known"]
    group = root.find("a[@data-entry='sft']")
    assert group is not None
    region, seeds = group.find("path[@class='region']"), group.find("path[@class='seed']")
    assert region is not None
    assert seeds is not None
    assert str(seeds.get("d")).count("z") == 2
    left, top, wide, high = map(float, re.findall(r"-?[\d.]+", str(region.get("d")))[:4])
    assert left < x["sft"] < left + wide
    assert top < y["sft"] < top + high
    assert root.find("a[@data-entry='sft-known']/path[@class='region']") is None  # 0 by definition


def test_positions_are_those_of_the_scales(few: tuple[Entry, ...]) -> None:
    plane = charts.plane(few, NAME)
    signals = {one["name"]: one["value"] for one in plane.spec["signals"] if "value" in one}
    (left, right), (top, bottom) = signals["across"], signals["down"]
    for group in drawn(plane).iterfind("a"):
        entry = next(e for e in few if e.slug == group.get("data-entry"))
        use = group.find("use")
        assert use is not None
        assert entry.forgetting is not None
        x = (entry.accuracy[Split.UNKNOWN].mean - left) / (right - left) * 676
        y = (entry.forgetting.mean - top) / (bottom - top) * 412
        assert (float(use.get("x", "")), float(use.get("y", ""))) == pytest.approx((x, y), abs=0.06)


def test_the_front_is_the_least_forgotten_at_as_much_learned(few: tuple[Entry, ...]) -> None:
    told = {entry.slug: entry for entry in few}
    learned = {slug: entry.accuracy[Split.UNKNOWN].mean for slug, entry in told.items()}
    points = {"sft-known": 0.0, "frozen": 3.0, "sft": 12.0}
    found = charts.front([(entry, points[slug]) for slug, entry in told.items()])
    assert found == [(0.0, 0.0), *((learned[slug], points[slug]) for slug in points)]
    points["frozen"] = 12.5  # learns less than SFT, and forgets more
    found = charts.front([(entry, points[slug]) for slug, entry in told.items()])
    assert found == [(0.0, 0.0), (learned["sft-known"], 0.0), (learned["sft"], 12.0)]
    assert charts.front([]) == []


def test_the_front_is_drawn_as_a_line_and_within_error(few: tuple[Entry, ...]) -> None:
    best = fronts(few)
    assert best.line[0] == (0.0, 0.0)
    assert best.line[-1] == (95.0, 30.0)
    assert {points for _, points in best.band} > {few[1].interval[0], few[1].interval[1]}  # type: ignore[index]
    plane = charts.plane(few, NAME)
    assert plane.front
    assert drawn(plane).find("path[@class='band']") is not None
    alone = charts.plane(few[:1], NAME)
    assert not alone.front
    assert drawn(alone).find("path[@class='front']") is None


def test_what_was_refuted_is_crossed_and_on_no_front(few: tuple[Entry, ...]) -> None:
    reference = replace(few[0], tier=Tier.SELF_REPORTED)
    refuted = replace(few[1], tier=Tier.REFUTED, forgetting=Stat(-9.0, -9.0, -9.0, 2))
    checked = replace(few[2], tier=Tier.RECOMPUTED, forgetting=Stat(4.0, 4.0, 4.0, 1))
    plane = charts.plane([reference, refuted, checked], NAME)
    assert plane.kinds == {"claimed", "refuted", "checked"}
    assert max(point["learned"] for point in plane.spec["data"][-2]["values"]) == 30.0
    root = drawn(plane)
    kinds = {group.get("data-entry"): str(group.get("class")).split()[1:] for group in root.iterfind("a")}
    assert kinds == {"sft-known": ["claimed"], "sft": ["refuted"], "frozen": []}
    shapes = {path.get("id"): str(path.get("d")) for path in root.iterfind("defs/path")}
    use = root.find("a[@data-entry='sft']/use")
    assert use is not None
    assert "l14 14" in shapes[str(use.get("href")).removeprefix("#")]


def test_a_further_mark_is_no_link_and_no_entry(few: tuple[Entry, ...]) -> None:
    plane = charts.plane(few, NAME, extras=[Extra("Base, <untouched>", 1.0, -7.0)])
    group = drawn(plane).find("g[@class='c0 base']")
    assert group is not None
    assert group.attrib == {"class": "c0 base"}
    assert group.findtext("title") == "Base, <untouched>: learned 1.0 %, forgot −7.0 points, no entry"
    signals = {one["name"]: one.get("value") for one in plane.spec["signals"]}
    assert signals["down"][0] < -7


def test_every_mark_says_its_numbers_and_leads_to_its_page(few: tuple[Entry, ...]) -> None:
    root = drawn(charts.plane(few, NAME, "geonames/tiny"))
    sft = root.find("a[@data-entry='sft']")
    assert sft is not None
    assert sft.get("href") == f"{NAME}--sft.html"
    low, high = few[1].learned_interval or (0, 0)
    title = str(sft.findtext("title"))
    assert title.startswith(f"SFT: learned 95.0 % ({low:.1f} to {high:.1f}), forgot 30.0 points (")
    assert title.endswith("), recomputed")
    assert root.get("role") == "group"
    ids = {element.get("id") for element in root.iter()}
    assert set(str(root.get("aria-labelledby")).split()) <= ids
    assert root.findtext("title") == "New facts learned against old facts forgotten, geonames/tiny"
    assert root.findtext("desc") == (
        "3 entries. New facts learned: 0.0 to 95.0 %. Old facts forgotten: 0.0 to 30.0 points below the reference. "
        "The table below has every number."
    )
    assert charts.plane(few).svg.count("href=") == 3  # the shapes alone: without a track's name there are no pages


HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><b onload='x'",
    "]]>&amp;<!--",
    "מודל \u202e שקט العربية",
    "{{ 7*7 }} datum.slug",
    "x" * 300,
)


@pytest.mark.parametrize("title", HOSTILE)
def test_titles_of_others_are_text(few: tuple[Entry, ...], title: str) -> None:
    plane = charts.plane([few[0], replace(few[1], title=title)], NAME)
    root = drawn(plane)
    allowed = {"svg", "title", "desc", "defs", "path", "text", "a", "use"}
    assert {element.tag for element in root.iter()} == allowed
    names = {name for element in root.iter() for name in element.attrib}
    assert names <= {*"viewBox class role aria-labelledby id d x y href transform data-entry tabindex".split()}
    assert "style" not in names
    assert "url(" not in plane.svg
    said = root.findtext("a[@data-entry='sft']/title")
    assert str(said).startswith(title.replace("\u202e", "\ufffd") + ": learned")
    assert len(str(root.findtext("a[@data-entry='sft']/text"))) <= labels.LENGTH
    script = plane.script(NAME)
    assert "<" not in script
    assert script.isascii()
    data = json.loads(script.partition("] = ")[2].rstrip(";\n"))
    assert data == json.loads(json.dumps(plane.spec))


def test_the_same_entries_make_the_same_bytes(few: tuple[Entry, ...]) -> None:
    entries = many(few, 43)
    one, other = (charts.plane(rows, NAME) for rows in (entries, random.Random(1).sample(entries, len(entries))))
    assert one.svg == other.svg
    assert one.script(NAME) == other.script(NAME)
    assert one.png() == other.png()


def test_pictures_for_downloads_and_for_links(few: tuple[Entry, ...]) -> None:
    entries = many(few, 200)
    plane = charts.plane(entries, NAME)
    with charts.Painter() as painter:
        drawing = plane.painted(painter), charts.preview(painter, entries, "t")
        painted, preview = (wait() for wait in drawing)
    assert painted == plane.png()
    for picture, size in ((painted, (1520, 1000)), (preview, (1200, 630))):
        assert len(picture) < 150_000
        with Image.open(io.BytesIO(picture)) as read:
            assert read.size == size
            assert read.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


def test_a_picture_is_drawn_whatever_becomes_of_the_painter(few: tuple[Entry, ...]) -> None:
    plane = charts.plane(few, NAME)
    with charts.Painter() as painter:
        painter.start()
        assert painter._child
        painter._child.kill()
        painter._child.wait()
        assert plane.painted(painter)() == plane.png()
    with charts.Painter() as painter:
        plane.painted(painter)  # and nobody waits for it
        child = painter._child
    assert child and child.returncode is not None


def test_a_mark_that_vega_does_not_draw_is_noticed(few: tuple[Entry, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vega.svg

    def lacking(made: vega.Spec) -> XML.Element:
        root = whole(made)
        for group in root.iter():
            if "mark-symbol role-mark mark" in group.get("class", ""):
                group.remove(group[0])
        return root

    monkeypatch.setattr(vega, "svg", lacking)
    with pytest.raises(ValueError, match="drew no mark for"):
        charts.plane(few, NAME)


def test_the_bundle_needs_no_eval_and_brings_its_licences() -> None:
    bundle = vega.bundle()
    assert bundle == vega.bundle()
    assert len(bundle) < 500_000
    assert "University of Washington" in bundle[:3000]
    assert "fthallVega" in bundle[-300:]
    assert not re.search(r"\beval\(|\bimport\(", bundle)
    assert "</script" not in bundle


def test_the_style_sheet_knows_every_class(few: tuple[Entry, ...]) -> None:
    css = (data_dir("leaderboard") / "static" / "plane.css").read_text()
    entries = [replace(few[2], slug="r", tier=Tier.REFUTED), *many(few, 43)]
    root = drawn(charts.plane(entries, NAME, extras=[Extra("Base", 0.0, 0.0)]))
    classes = {name for element in root.iter() for name in str(element.get("class") or "").split()}
    assert {name for name in classes if f".{name}" not in css} == set()


def test_the_interval_of_one_method_by_hand() -> None:
    """Two entries of two seeds: 90 and 94, 80 and 80; the resampled means of the first are 91, 92 and 93."""
    seeds = np.array([[90.0, 94.0], [80.0, 80.0]])
    replicates = np.array([[91.0, 80.0], [92.0, 80.0], [93.0, 80.0]])
    low, high = stats.each(seeds, replicates, subjects=11)
    # Seeds: squares 4 + 4 and 0; pooled 8 / 2 = 4, so 4 / 2 = 2; its own 8 / 1 / 2 = 4 is more. Items: 1. Together 5,
    # with 25 / (1 / 10 + 16 / 2) degrees of freedom. The second has no spread of its own: the pooled one, 2, counts.
    half = distributions.t.ppf(0.975, 25 / (1 / 10 + 16 / 2)) * 5**0.5
    assert (low[0], high[0]) == pytest.approx((92 - half, 92 + half))
    half = distributions.t.ppf(0.975, 2) * 2**0.5
    assert (low[1], high[1]) == pytest.approx((80 - half, 80 + half))


def test_the_interval_of_what_was_learned(few: tuple[Entry, ...], release: Release, tmp_path: Path) -> None:
    sft = next(entry for entry in few if entry.slug == "sft")
    assert sft.learned_interval is not None
    low, high = sft.learned_interval
    assert 0 <= low < 90 < 95 < high <= 100
    assert all(0 <= end <= 100 for entry in few for end in entry.learned_interval or ())
    # One seed an entry: over the facts alone, the very interval of the entry's own page.
    submit(tmp_path, release, right=(4, 0, 19), **REFERENCE)
    submit(tmp_path, release, right=(4, 9, 14))
    made = made_of(tmp_path, release)
    alone = made.entries[1]
    right = alone.seeds[0].submission.run.right[Split.UNKNOWN]
    low, high = (100 * float(end) for end in made.on.drawn[Split.UNKNOWN].interval(right, extremes=(0.0, 1.0)))
    assert alone.learned_interval == pytest.approx((low, high), abs=1e-4)
    assert low < 90 < high
    # Without a reference nothing is compared, and there is no plane.
    submit(tmp_path / "lone", release, right=(4, 9, 14))
    assert made_of(tmp_path / "lone", release).entries[0].learned_interval is None


def test_the_frame_holds_all_that_is_shown() -> None:
    within = frame([2.0, 17.5, -3.0], 676, 412)
    assert within.px(0, -3) == pytest.approx((14, 14))
    assert within.px(100, 17.5) == pytest.approx((662, 398))
    assert frame([], 676, 412).px(0, 5) == pytest.approx((14, 398))


def test_a_label_keeps_off_marks_and_finds_the_nearest_spot() -> None:
    area, none = (0.0, 0.0, 400.0, 200.0), np.empty((0, 4))
    mark = np.array([[191.0, 91.0, 209.0, 109.0]])
    wanted = labels.Wanted(200, 100, "SFT", (191.0, 91.0, 209.0, 109.0))
    spot = labels.place([wanted], mark, none, none, area)[0]
    assert spot is not None
    assert (spot.x, spot.side, spot.leader) == (211, 1, None)
    beside = np.vstack([mark, [(211, 80, 260, 120)]])
    moved = labels.place([wanted], beside, none, none, area)[0]
    assert moved is not None
    assert moved.side == -1
    nowhere = labels.place([wanted], np.array([area]), none, none, area)[0]
    assert nowhere is None
    again = labels.place([wanted] * 9, mark, none, none, area)
    found = [np.array(one.box) for one in again if one]
    assert len(found) >= 4
    assert all(apart(one, other) for at, one in enumerate(found) for other in found[at + 1 :])
    assert labels.short("a" * 40) == "a" * 29 + "…"
    assert statistics.fmean(map(labels.width, ("iii", "ill"))) < labels.width("abc") < labels.width("WWW")


def test_a_crowd_shows_the_intervals_of_those_with_a_name(few: tuple[Entry, ...]) -> None:
    assert not charts.plane(few, NAME).crowd
    assert charts.plane(many(few, 200), NAME).crowd
