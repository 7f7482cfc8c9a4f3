"""Entries beside each other: the numbers, the data in the page, its script, and the page in a real browser."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_site import REFERENCE, _Checked, build_release, submit, text_of

from fthall import submissions
from fthall.leaderboard import board, charts, compare
from fthall.leaderboard.board import Board
from fthall.leaderboard.compare import Comparison
from fthall.leaderboard.pairs import Pairs
from fthall.leaderboard.site.fill import templates
from fthall.measure import runs, stats
from fthall.paths import data_dir
from fthall.records import Release, Split

SCRIPT = data_dir("leaderboard") / "static" / "compare.js"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<img src=x onerror=alert(1)></script><!-- עברית"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return build_release(tmp_path / "release")


@pytest.fixture
def root(tmp_path: Path, release: Release) -> Path:
    """Of 20 held: the reference 19, SFT 14 and 12, KL 19 and 18. Of 10 new facts: 0, 9 and 10, 9 twice."""
    folder = tmp_path / "submissions"
    for seed in (0, 1):
        submit(folder, release, right=(4, 0, 19), seed=seed, **REFERENCE)
        submit(folder, release, right=(4, 9 + seed, 14 - 2 * seed), seed=seed)
        submit(folder, release, right=(4, 9, 19 - seed), seed=seed, entry="kl", title="KL", method="kl")
    return folder


def board_of(root: Path, release: Release) -> Board:
    return board.board(release, [submissions.validate(folder, release) for folder in submissions.find(root)])


def page_of(made: Board, track_id: str = "geonames-tiny") -> tuple[Comparison, str]:
    found = compare.comparison(made, track_id)
    track = SimpleNamespace(id=track_id, release=made.release, entries=made.entries, reference=made.reference)
    html = templates().fill(
        "compare.html",
        scripts=("compare.js",),
        styles=("style.css", "compare.css"),
        current=found.name,
        track=track,
        comparison=found,
        **{"tracks": [], "pages": [], "places": (), "note": None, "version": "0", "url": None, "Split": Split},
        shapes=charts.SHAPES,
    )
    return found, html


def data_of(found: Comparison) -> Any:
    return json.loads(found.data)


def words(text: str) -> list[int]:
    return np.frombuffer(base64.b64decode(text), dtype="<u2").tolist()


def test_pairs_are_those_of_the_board(root: Path, release: Release) -> None:
    made = board_of(root, release)
    assert [entry.slug for entry in made.entries] == ["sft-known", "kl", "sft"]
    held, unknown = made.pairs[Split.HELD], made.pairs[Split.UNKNOWN]
    assert held.difference == pytest.approx(np.array([[0, 2.5, 30], [-2.5, 0, 27.5], [-30, -27.5, 0]]))
    assert unknown.difference[1, 2] == pytest.approx(-5)
    for at, entry in enumerate(made.entries[1:], 1):
        assert entry.interval == pytest.approx((held.low[0, at], held.high[0, at]))  # against the reference
        alike = {other.slug for to, other in enumerate(made.entries) if to != at and held.adjusted[at, to] >= 0.05}
        assert entry.alike == alike
    groups = [[row.submission.run for row in entry.seeds] for entry in made.entries]
    drawn = made.on.drawn[Split.HELD]
    means = 100 * drawn.means(np.stack([runs.right(g, Split.HELD).mean(0) for g in groups]), extremes=(0.0, 1.0))
    found = stats.compare_all(np.array([[95.0, 95.0], [95, 90], [70, 60]]), means, drawn.subjects)
    assert held.p == pytest.approx(found.p)
    upper = np.triu_indices(3, 1)
    assert held.adjusted[upper] == pytest.approx(stats.holm(found.p[upper]))


def test_the_data_holds_every_answer_and_every_pair(root: Path, release: Release) -> None:
    made = board_of(root, release)
    found = compare.comparison(made, "geonames-tiny")
    data = data_of(found)
    assert (found.name, found.pairs, found.several, found.shown) == ("compare-geonames-tiny", 3, True, True)
    assert data["start"] == ["sft", "kl"]
    for told, entry in zip(data["entries"], made.entries, strict=True):
        assert (told["slug"], told["seeds"]) == (entry.slug, [0, 1])
        for split in (Split.HELD, Split.UNKNOWN):
            for packed, row in zip(told[split], entry.seeds, strict=True):
                bits = np.unpackbits(np.frombuffer(base64.b64decode(packed), dtype=np.uint8))
                right = row.submission.run.right[split]
                assert bits[: len(right)].tolist() == right.tolist()
                assert not bits[len(right) :].any()
    upper = np.triu_indices(3, 1)
    for split, pairs in made.pairs.items():
        told = data["pairs"][split]
        half = told["unit"] * np.array(words(told["half"]))
        assert half == pytest.approx((pairs.high - pairs.low)[upper] / 2, abs=1e-3)
        assert np.array(words(told["p"])) / 10_000 == pytest.approx(pairs.adjusted[upper], abs=1.01e-4)
    facts = data["facts"]["held"]
    names = [facts["begin"][of] + name for of, name in zip(facts["relation"], facts["name"], strict=True)]
    assert names == [fact.question for fact in release.splits[Split.HELD]]
    assert facts["gold"][3] == release.splits[Split.HELD][3].answers[0]


def test_a_p_value_is_never_rounded_across_what_decides() -> None:
    given = np.array([0.0, 0.00009, 0.0001, 0.0123456, 0.04999, 0.05, 0.050001, 1.0])
    assert compare._told(given).tolist() == [0, 0, 1, 123, 499, 500, 500, 10_000]


def test_the_pairs_of_two_hundred_entries_stay_small() -> None:
    rng = np.random.default_rng(0)
    one = rng.random((200, 200))
    packed = compare._packed(Pairs(one, one - 20 * one, one + 20 * one, one, one))
    assert len(json.dumps(packed)) < 110_000
    assert compare._packed(Pairs(*[np.zeros((1, 1))] * 5))["p"] == ""


def test_without_a_script_the_table_of_all_entries_is_there(root: Path, release: Release) -> None:
    made = board_of(root, release)
    found, html = page_of(made)
    shown = text_of(html)
    assert "Choosing entries takes a script, and none runs in this browser." in shown
    against = {row.entry.slug: row.against for row in found.rows}
    assert against["sft"] is None
    kept = against["kl"]
    assert kept is not None
    assert kept.points == pytest.approx(27.5)
    assert f"27.5 {board.number(kept.low)} to {board.number(kept.high)}" in shown
    assert {row.entry.slug: [one.slug for one in row.alike] for row in found.rows} == {
        "sft-known": ["kl"],
        "kl": ["sft-known"],
        "sft": [],
    }
    assert '<div class="compare" hidden>' in html
    assert '<details class="every" open>' in html
    assert html.count("<tr data-entry=") == 3


def test_no_more_than_a_few_names_a_row(root: Path, release: Release) -> None:
    for n in range(5):
        submit(root, release, right=(4, 9, 19), entry=f"m{n}", title=f"M{n}", method="l2sp")
    found, html = page_of(board_of(root, release))
    row = next(row for row in found.rows if row.entry.slug == "m0")
    assert (len(row.alike), row.more) == (compare.NAMED, len(row.entry.alike) - compare.NAMED)
    assert row.more > 0
    assert f"and {row.more} more" in text_of(html)


def test_hostile_strings_cannot_leave_the_data(root: Path, release: Release) -> None:
    submit(root, release, right=(4, 5, 10), entry="evil", title=HOSTILE[:80], method="l2sp")
    found, html = page_of(board_of(root, release))
    assert not set("<>&\u2028") & set(found.data)
    assert HOSTILE[:80] in [entry["title"] for entry in data_of(found)["entries"]]
    assert "<img" not in html
    assert html.count("</script>") == 2
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    checked = _Checked()
    checked.feed(html)
    assert checked.open == []


def test_one_entry_and_no_reference(tmp_path: Path, release: Release) -> None:
    folder = tmp_path / "few"
    submit(folder, release, right=(4, 9, 14))
    found, html = page_of(board_of(folder, release))
    assert found.pairs == 0
    assert "This track has one entry: there is nothing to compare it with yet." in text_of(html)
    assert "No Only-Known reference" in html
    submit(folder, release, right=(4, 9, 10), entry="kl", title="KL", method="kl")
    found, html = page_of(board_of(folder, release))
    assert (found.pairs, found.several, data_of(found)["start"]) == (1, False, ["sft", "kl"])
    assert "with the training held fixed, since no entry has a second seed" in text_of(html)
    assert "no reference" in html


def test_facts_that_are_not_ours_are_named_by_their_ids(root: Path, release: Release) -> None:
    bare = replace(release, manifest={**release.manifest, "files": {"held.txt": {}}})
    found, html = page_of(board.board(bare, [submissions.validate(f, release) for f in submissions.find(root)]))
    facts = data_of(found)["facts"]["unknown"]
    assert facts["gold"] is None
    assert {"t/u"} == set(facts["begin"])
    assert not found.shown
    assert "Where?" not in html
    assert "The questions are not ours to show" in html


# ---- the script


def in_node(expression: str) -> Any:
    """What an expression about the script's functions, ``c``, is."""
    node = shutil.which("node")
    if not node:
        pytest.skip("no Node here: the script of the comparison is not tested by itself")
    code = f"const c = require({json.dumps(str(SCRIPT))}); process.stdout.write(JSON.stringify({expression}))"
    return json.loads(subprocess.run([node, "-e", code], check=True, capture_output=True, timeout=60).stdout)


def test_the_scripts_mcnemar_is_ours() -> None:
    pairs = [(a, b) for a in range(0, 40, 3) for b in range(0, 40, 3)]
    pairs += [(0, 0), (300, 200), (500, 500), (1, 999), (2000, 1800)]
    found = in_node(f"{json.dumps(pairs)}.map(([a, b]) => c.mcnemar(a, b))")
    assert found == pytest.approx(stats.mcnemar(*np.array(pairs).T), abs=1e-9)


def test_the_scripts_holm_is_ours() -> None:
    rng = np.random.default_rng(1)
    for p in (rng.random(7) / 20, rng.random(30), np.array([0.01, 0.01, 1.0, 0.0]), np.array([0.5])):
        assert in_node(f"c.holm({json.dumps(p.tolist())})") == pytest.approx(stats.holm(p).tolist(), abs=1e-12)


def test_the_script_writes_numbers_as_the_board_does() -> None:
    values = [*np.arange(-3, 3.01, 0.25).tolist(), -0.04, 0.05, 0.15, 99.95, 12.349999, -1.25, 33.75, 100.0, 1 / 3]
    assert in_node(f"{json.dumps(values)}.map(c.number)") == [board.number(value) for value in values]


def test_the_script_finds_pairs_and_bits() -> None:
    count = 7
    upper = list(zip(*[side.tolist() for side in np.triu_indices(count, 1)], strict=True))
    assert in_node(f"{json.dumps(upper)}.map(([x, y]) => c.pairAt(x, y, {count}))") == list(range(len(upper)))
    assert in_node(f"c.pairAt(4, 2, {count})") == upper.index((2, 4))
    bits = [1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1]
    packed = base64.b64encode(np.packbits(bits).tobytes()).decode()
    assert in_node(f"c.bits('{packed}', {len(bits)})") == bits
    numbers = [0, 1, 255, 256, 65535]
    assert in_node(f"c.words('{base64.b64encode(np.array(numbers, '<u2').tobytes()).decode()}')") == numbers


def test_what_the_url_asks_for() -> None:
    slugs = ["a", "b", "c", "d"]

    def asked(text: str) -> tuple[list[str], list[str]]:
        found, said = in_node(f"c.asked({json.dumps(text)}, {json.dumps(slugs)})")
        return found, said

    assert asked("b, a") == (["b", "a"], [])
    assert asked("") == ([], [])
    found, said = asked("a,x,a,b,c,d")
    assert found == ["a", "b", "c"]
    assert said == [
        "There is no entry “x” on this track; choose below.",
        "“a” was named twice; it stands here once.",
        "Three entries at most: “d” is left out.",
    ]
    _, said = asked("z" * 5000 + ",y" * 50)
    assert len(said) == 5
    assert len(said[0]) < 130


# ---- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="no Playwright: the comparison is not tried in a browser")
    if not CHROMIUM:
        pytest.skip("no Chromium: the comparison is not tried in a browser")
    with sync.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Shown:
    """A page in a browser that fails on any error or blocked thing."""

    def __init__(self, browser: Any, file: Path, query: str = "", **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("dialog", lambda dialog: (self.errors.append("a dialog"), dialog.dismiss()))
        self.page.goto(file.as_uri() + query)
        assert self.errors == []

    def rows(self, table: str) -> list[list[str]]:
        script = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.replace(/\\s+/g, ' ').trim()))"
        return list(self.page.eval_on_selector_all(f".{table} > tbody > tr", script))

    def choose(self, name: str, value: str) -> None:
        self.page.select_option(f"select[name={name}]", value)
        assert self.errors == []

    @property
    def said(self) -> str:
        return str(self.page.inner_text(".messages"))

    @property
    def query(self) -> str:
        return str(self.page.url).partition("?")[2]


@pytest.fixture
def file(root: Path, release: Release, tmp_path: Path) -> Path:
    path = tmp_path / "compare-geonames-tiny.html"
    path.write_text(page_of(board_of(root, release))[1], encoding="utf-8")
    return path


def test_two_entries_in_a_browser(browser: Any, file: Path, root: Path, release: Release) -> None:
    shown = Shown(browser, file, "?entries=sft,kl")
    assert shown.said == ""
    assert {row[0]: row[1:] for row in shown.rows("beside")}["Held old facts"] == ["65.0", "92.5"]
    held = board_of(root, release).pairs[Split.HELD]  # in the order of the table: the reference, KL, SFT
    low, high = (board.number(float(side[2, 1])) for side in (held.low, held.high))
    old = shown.rows("apart")[1]
    assert [old[0].replace(" ", ""), *old[1:3]] == ["A−B", "−27.5", f"{low} to {high}"]
    assert float(old[4]) == pytest.approx(held.adjusted[2, 1], abs=1e-4)
    assert "B KL keeps 27.5 points more of the old facts than A SFT." in shown.page.inner_text(".results .said")
    # Seed 0: KL has 5 more of 20, seed 1 has 6 more; Holm over the two.
    assert [row[1:6] for row in shown.rows("seeds")] == [
        ["0", "0", "5", "−25.0", "0.0625"],
        ["1", "0", "6", "−30.0", "0.0625"],
    ]
    assert shown.rows("seeds")[1][6:9] == ["1", "0", "+10.0"]
    facts = shown.rows("differ")
    assert [row[-2:] for row in facts] == [["0/2", "2/2"]] * 4 + [["1/2", "2/2"]] * 2
    answers = [fact.answers[0] for fact in release.splits[Split.HELD]]
    assert [row[:2] for row in facts] == [["Where?", answers[at]] for at in (14, 15, 16, 17, 12, 13)]
    assert shown.page.inner_text(".counted") == "6 of 20 held-out facts that one of them has right and another has not."
    assert not shown.page.is_visible("details.every table")
    assert not shown.page.is_visible(".scriptless")


def test_the_view_is_in_the_url(browser: Any, file: Path) -> None:
    shown = Shown(browser, file)
    assert shown.query == "entries=sft,kl"
    shown.choose("by", "any")
    assert len(shown.rows("differ")) == 7  # the 19th, too: KL has it once
    shown.choose("right", "b-a")
    shown.choose("relation", "country_of_city")
    shown.choose("c", "sft-known")
    assert shown.query == "entries=sft,kl,sft-known&by=any&relation=country_of_city"  # who: of the former choice
    shown.choose("right", "c-b")
    assert [row[-3:] for row in shown.rows("differ")] == [["0/2", "1/2", "2/2"]]
    shown.choose("facts", "unknown")
    assert shown.rows("differ") == []
    assert "0 of 10 new facts (country of city) that C has right and B has not." in shown.page.inner_text(".counted")
    again = Shown(browser, file, "?" + shown.query)
    for table in ("beside", "apart", "seeds", "differ"):
        assert again.rows(table) == shown.rows(table)
    assert again.page.inner_text(".counted") == shown.page.inner_text(".counted")
    assert again.query == shown.query
    odd = Shown(browser, file, "?entries=sft,kl&by=%3Cb%3E&right=a-c&relation=nix&facts=held_val")
    assert odd.query == "entries=sft,kl"


def test_what_cannot_be_compared_is_said(browser: Any, file: Path) -> None:
    shown = Shown(browser, file, "?entries=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E,sft")
    assert "There is no entry “<img src=x onerror=alert(1)>” on this track; choose below." in shown.said
    assert "Choose a second entry to compare it with." in shown.said
    assert not shown.page.is_visible(".results")
    assert shown.page.query_selector("img") is None
    shown.choose("b", "sft")
    assert shown.said == "That entry is chosen already; choose another. Choose a second entry to compare it with."
    shown.choose("b", "kl")
    assert shown.said == ""
    assert shown.page.is_visible(".results")
    shown.choose("b", "sft")
    assert "chosen already" in shown.said
    assert shown.page.input_value("select[name=b]") == "kl"  # what was there stays
    assert shown.query == "entries=sft,kl"
    shown.choose("a", "")
    assert shown.page.input_value("select[name=a]") == "kl"
    assert Shown(browser, file, "?entries=").said == "Choose two entries."
    assert "“sft” was named twice" in Shown(browser, file, "?entries=sft,sft,kl").said


def test_checkpoints_without_a_common_seed(browser: Any, root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 9, 17), seed=7, entry="late", title=HOSTILE[:80], method="l2sp")
    path = tmp_path / "page.html"
    path.write_text(page_of(board_of(root, release))[1], encoding="utf-8")
    shown = Shown(browser, path, "?entries=late,kl")
    assert [row[1:4] for row in shown.rows("seeds")] == [["7 and 0 †", "0", "2"]]
    assert "so their first ones are" in shown.page.inner_text(".results")
    assert shown.page.query_selector("img") is None
    assert HOSTILE[:80] in shown.page.inner_text(".beside")
    assert HOSTILE[:60] + "…" * (len(HOSTILE) > 60) in shown.page.inner_text("select[name=a]")


def test_only_one_entry_in_a_browser(browser: Any, release: Release, tmp_path: Path) -> None:
    submit(tmp_path / "few", release, right=(4, 9, 14))
    path = tmp_path / "page.html"
    path.write_text(page_of(board_of(tmp_path / "few", release))[1], encoding="utf-8")
    shown = Shown(browser, path, "?entries=sft,kl")
    assert not shown.page.is_visible(".compare")
    assert shown.page.is_visible(".every table")


def test_it_fits_a_phone_and_works_without_a_script(browser: Any, file: Path) -> None:
    for scheme in ("light", "dark"):
        small = Shown(browser, file, viewport={"width": 390, "height": 800}, color_scheme=scheme)
        assert small.page.evaluate("document.documentElement.scrollWidth") == 390
    still = Shown(browser, file, java_script_enabled=False, viewport={"width": 390, "height": 800})
    assert still.page.is_visible(".scriptless")
    assert still.page.is_visible(".every table")
    assert not still.page.is_visible(".compare")


def test_no_more_rows_than_can_be_read(browser: Any, file: Path, tmp_path: Path) -> None:
    html = file.read_text(encoding="utf-8").replace("const AT_FIRST = 200;", "const AT_FIRST = 2;")
    policy = html.index("script-src ")
    path = tmp_path / "few-rows.html"  # another script has another hash
    path.write_text(
        html[:policy] + "script-src 'unsafe-inline'" + html[html.index("; img-src", policy) :], encoding="utf-8"
    )
    shown = Shown(browser, path, "?entries=sft,kl")
    assert len(shown.rows("differ")) == 2
    assert shown.page.inner_text(".counted").endswith("; the first 2 are shown.")
    shown.page.click("text=Show all 6")
    assert len(shown.rows("differ")) == 6
    assert "rows=all" in shown.query
    assert len(Shown(browser, path, "?" + shown.query).rows("differ")) == 6
    shown.page.click("text=Show the first 2")
    assert len(shown.rows("differ")) == 2
