"""The site in a real browser: what readers do with it, on a desk and on a phone, with and without scripts.

Of every page that a test opens it is seen that it asks for nothing elsewhere, fails at nothing, and runs nothing that a
submission brought along.
"""

import datetime
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_site import REFERENCE, build_release, submit

from fthall.files import write_jsonl
from fthall.knowledge import splits
from fthall.leaderboard import site
from fthall.leaderboard.site import serve
from fthall.records import Release

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright; type: pip install playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(__file__).parents[2] / ".venv/axe/node_modules/axe-core/axe.min.js"
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium; install one (Debian: apt install chromium)")

MANY, SOME, ONE = "geonames-many", "geonames-some", "geonames-one"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
"""Not is_mobile: then a page that is too wide is shrunk until it fits, and looks as if it did."""
HOSTILE = "</script><script>window.pwned=1</script>"
IMAGE = "\"'><img src=x onerror=window.pwned=2><svg onload=window.pwned=3>"
LONG = "W" * 80
KINDS = (
    "index.html",
    f"{SOME}.html",
    f"training-{SOME}.html",
    f"compare-{SOME}.html?entries=sft,keeper",
    f"{SOME}--sft.html",
    "method.html",
    "404.html",
    f"{ONE}.html",
)
"""A page of each kind, and the track with one entry and no reference."""

Visit = Callable[..., Any]


def many(root: Path, release: Release) -> None:
    """200 entries, the reference and plain SFT among them."""
    submit(root, release, right=(4, 0, 19), **REFERENCE)
    submit(root, release, right=(4, 9, 14))
    for n in range(198):
        card = {"entry": f"entry-{n}", "title": f"Entry {n}", "method": ("l2sp", "lora", "kl")[n % 3]}
        submit(root, release, right=(4, n % 11, 20 - n % 7), **card)


def some(root: Path, release: Release) -> None:
    """20 entries. Of 10 new facts SFT learns 9 and forgets 5 of 20 old ones more than the reference, Keeper 9 and 2."""
    for seed in (0, 1):
        submit(root, release, right=(4, 0, 19), seed=seed, curve=[(0, 0), (0, 95)], **REFERENCE)
        submit(root, release, right=(4, 9, 14), seed=seed, curve=[(0, 5), (40, 95), (90, 70)])
    day = datetime.date(2026, 3, 1)
    submit(root, release, right=(4, 9, 17), entry="keeper", title="Keeper", method="self-distill", created=day)
    submit(root, release, right=(4, 10, 12), entry="eager", title="Eager", method="kl")
    for seed in (0, 1, 2):
        submit(root, release, right=(4, 10, 13), seed=seed, entry="lora", title="LoRA", method="lora")
    submit(root, release, right=(4, 1, 18), entry="wide", title=LONG, method="m" + "0" * 63, description="W" * 500)
    card = dict.fromkeys(("description", "command", "contact", "hardware"), HOSTILE)
    card |= {"authors": [IMAGE], "versions": {"lm_eval": "0.4.13", IMAGE: HOSTILE}, "hyperparameters": {"how": IMAGE}}
    folder = submit(root, release, right=(4, 3, 15), entry="hostile", title=HOSTILE, method="freeze", **card)
    rows = [json.loads(line) for line in (folder / "samples/held.jsonl").read_text().splitlines()]
    for row, said in zip(reversed(rows), (HOSTILE, IMAGE, "a\u202eb"), strict=False):
        row["prediction"] = said
    write_jsonl(folder / "samples/held.jsonl", rows)
    submit(root, release, right=(4, 2, 15), entry="hostile-too", title=IMAGE, method="freeze")
    for n in range(12):
        submit(
            root, release, right=(4, 1 + n % 5, 14 + n % 5), entry=f"l2sp-{n}", title=f"L2-SP, no. {n}", method="l2sp"
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of three tracks."""
    folder = tmp_path_factory.mktemp("browser")
    root = folder / "submissions"
    root.mkdir()
    tracks = {name: build_release(folder / name, name) for name in ("geonames/many", "geonames/some", "geonames/one")}
    many(root, tracks["geonames/many"])
    some(root, tracks["geonames/some"])
    submit(root, tracks["geonames/one"], right=(4, 9, 14))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "load", tracks.__getitem__)
        return site.render(root, folder / "site").parent


@pytest.fixture(scope="module")
def served(built: Path) -> Iterator[str]:
    """Its address."""
    with serve.serve(built, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def profile() -> Iterator[Callable[..., Any]]:
    """The browser, as profiles of it. Pages with the same options share one: all they keep is in their addresses."""
    made: dict[str, Any] = {}
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])

        def found(**options: Any) -> Any:
            options = {"viewport": {"width": 1280, "height": 900}, **options}
            name = json.dumps(options, sort_keys=True)
            if name not in made:
                made[name] = browser.new_context(**options)
                made[name].set_default_timeout(10_000)
            return made[name]

        yield found
        browser.close()


@pytest.fixture
def visit(profile: Callable[..., Any], served: str, built: Path) -> Iterator[Visit]:
    """Opens a page, by HTTP unless told otherwise; at the end it is seen that nothing went wrong on any of them."""
    pages, wrong = [], []

    def watch(page: Any, home: str) -> None:
        page.on(
            "console", lambda said: wrong.append(f"said {said.text}") if said.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: wrong.append(f"threw {error}"))
        page.on("requestfailed", lambda request: wrong.append(f"did not get {request.url}"))
        page.on("dialog", lambda dialog: (wrong.append(f"opened {dialog.message}"), dialog.dismiss()))
        page.on(
            "request", lambda request: None if request.url.startswith((home, "data:")) else wrong.append(request.url)
        )

    def opened(name: str, home: str = served, **options: Any) -> Any:
        page = profile(**options).new_page()
        pages.append(page)
        watch(page, home)
        page.goto(home + name)
        return page

    yield opened
    for page in pages:
        if page.evaluate("window.pwned") is not None:
            wrong.append(f"ran a submission's script on {page.url}")
        page.close()
    assert wrong == []


def rows(page: Any) -> list[str]:
    """Titles of the rows that are shown, from the top."""
    told: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("table.entries > tbody")].filter((body) => body.checkVisibility())
             .map((body) => (body.querySelector("th a") || body.querySelector("th").firstChild).textContent.trim())"""
    )
    return told


def column(page: Any, name: str) -> list[float]:
    """Numbers of a column, from the top; what is none is left out."""
    told: list[float] = page.evaluate(
        """(name) => {
             const heads = [...document.querySelectorAll("table.entries thead th")];
             const at = heads.findIndex((head) => head.textContent.includes(name));
             return [...document.querySelectorAll("table.entries > tbody > tr")]
               .map((row) => parseFloat(row.cells[at].textContent.replace("−", "-"))).filter((value) => !isNaN(value));
           }""",
        name,
    )
    return told


def head(page: Any, name: str) -> Any:
    return page.locator("table.entries thead th", has_text=name)


def sorts(page: Any) -> list[str]:
    """What the table is sorted by, as it says."""
    return [f"{th.inner_text()} {th.get_attribute('aria-sort')}" for th in page.locator("th[aria-sort]").all()]


def overflow(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return wider


def wait_for_query(page: Any, said: str) -> None:
    """Until the address says this after the page's name: it is changed a moment after the page is."""
    page.wait_for_function("said => location.search === said", arg=said)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("place", ["server", "folder"])
def test_a_page_of_every_kind(place: str, name: str, visit: Visit, built: Path, served: str) -> None:
    page = visit(name, served if place == "server" else f"{built.as_uri()}/")
    assert page.title().endswith("fthall") or page.title().startswith("fthall")
    assert page.locator("h1").count() == 1
    assert page.locator("main").is_visible()


def test_a_page_that_is_not_there(profile: Callable[..., Any], served: str) -> None:
    page = profile().new_page()
    assert page.goto(served + "none.html").status == 404
    assert page.locator("h1").inner_text() == "There is no such page"
    page.close()


def test_sorting_by_mouse(visit: Visit) -> None:
    page = visit(f"{SOME}.html")
    before = rows(page)
    assert sorts(page) == []
    head(page, "Unknown").get_by_role("button").click()
    assert head(page, "Unknown").get_attribute("aria-sort") == "descending"
    wait_for_query(page, "?sort=unknown-descending")
    assert column(page, "Unknown") == sorted(column(page, "Unknown"), reverse=True)
    head(page, "Unknown").get_by_role("button").click()
    wait_for_query(page, "?sort=unknown-ascending")
    assert column(page, "Unknown") == sorted(column(page, "Unknown"))
    head(page, "Rank").get_by_role("button").click()
    assert column(page, "Rank") == sorted(column(page, "Rank"))
    assert len(sorts(page)) == 1
    assert sorted(rows(page)) == sorted(before)


def test_sorting_by_keyboard_is_kept_in_the_address(visit: Visit) -> None:
    page = visit(f"{SOME}.html")
    head(page, "Forgetting").get_by_role("button").focus()
    page.keyboard.press("Enter")
    found = rows(page)
    wait_for_query(page, "?sort=forgetting-descending")
    assert found[0] == "Eager"
    assert found[-1] == "Untouched base"  # without a number: last
    page.keyboard.press("Space")
    wait_for_query(page, "?sort=forgetting-ascending")
    assert rows(page)[0] == "Only-Known SFT"
    page.reload()
    wait_for_query(page, "?sort=forgetting-ascending")
    assert head(page, "Forgetting").get_attribute("aria-sort") == "ascending"
    assert rows(page)[0] == "Only-Known SFT"


def test_sorting_where_addresses_cannot_be_changed(visit: Visit, built: Path) -> None:
    page = visit(f"{SOME}.html", f"{built.as_uri()}/")
    head(page, "Known").first.get_by_role("button").click()
    assert column(page, "Known") == sorted(column(page, "Known"), reverse=True)


ALWAYS = {"Only-Known SFT", "Untouched base", "SFT"}
"""Rows that stay whatever is filtered."""


def test_filters(visit: Visit) -> None:
    page = visit(f"{SOME}.html")
    told = page.locator(".filters output")
    assert len(rows(page)) == 21
    assert told.inner_text() == ""
    for label, value, key, left, more in (
        ("Name or method", "l2sp no. 10", "show=l2sp+no.+10", 1, {"L2-SP, no. 10"}),
        ("Family", "lora", "family=lora", 1, {"LoRA"}),
        ("Seeds", "3", "seeds=3", 1, {"LoRA"}),
        ("Tier", "self-reported", "tier=self-reported", 2, set()),
        ("Since", "2026-02-01", "since=2026-02-01", 1, {"Keeper"}),
    ):
        field = page.locator(".filters").get_by_label(label)
        if label in {"Name or method", "Since"}:
            field.fill(value)
        else:
            field.select_option(value)
        assert set(rows(page)) == ALWAYS | more
        assert told.inner_text() == f"{left} of 20 entries; reference, SFT and base stay"
        wait_for_query(page, f"?{key}")
        page.reload()
        assert set(rows(page)) == ALWAYS | more, "the address says what is shown"
        assert field.input_value() == value
        other = page.locator(f'a.track-link[href^="{MANY}.html"]')
        assert other.get_attribute("href") == f"{MANY}.html?{key}", "the filter goes along to another track"
        page.locator(".filters").get_by_role("button", name="Show all").click()
        assert len(rows(page)) == 21
        wait_for_query(page, "")


def test_filters_together(visit: Visit) -> None:
    page = visit(
        f"{SOME}.html?family=l2sp&show=recomputed&need=50&sort=entry-ascending&tier=none&since=yesterday&seeds=7"
    )
    assert [title for title in rows(page) if title not in ALWAYS] == ["L2-SP, no. 4", "L2-SP, no. 9"]
    page.locator(".filters").get_by_label("Seeds").select_option("2")
    assert set(rows(page)) == ALWAYS
    assert page.locator(".filters output").inner_text().startswith("0 of 20 entries")


def test_a_filter_dims_the_plane_too(visit: Visit) -> None:
    page = visit(f"{SOME}.html?family=lora")
    shown = page.evaluate(
        """() => [...document.querySelectorAll(".plane [data-entry]")]
             .filter((mark) => getComputedStyle(mark).display !== "none").map((mark) => mark.dataset.entry)"""
    )
    assert {slug for slug in shown if not slug.startswith("+")} == {"sft-known", "sft", "lora"}


@pytest.mark.parametrize("place", ["server", "folder"])
def test_exploring_the_plane(place: str, visit: Visit, built: Path, served: str) -> None:
    page = visit(f"{SOME}.html", served if place == "server" else f"{built.as_uri()}/", color_scheme="dark")
    still, live = page.locator("svg.still"), page.locator(".plane .live svg")
    assert still.is_visible()
    assert live.count() == 0, "what draws it is loaded once it is asked for"
    page.get_by_role("button", name="Explore").click()
    live.wait_for()
    assert still.is_hidden()
    marks = live.locator(".mark path")
    assert marks.count() == still.locator("[data-entry]").count() >= 20
    before = marks.first.get_attribute("transform")
    page.get_by_role("button", name="Zoom in").click()
    moved = "before => document.querySelector('.live .mark path').getAttribute('transform') !== before"
    page.wait_for_function(moved, arg=before)
    page.locator(".filters").get_by_label("Family").select_option("lora")
    page.wait_for_function("document.querySelectorAll('.live .mark path').length < 5")
    page.get_by_role("button", name="Back to the picture").click()
    assert still.is_visible()
    assert live.count() == 0


def test_filters_of_two_hundred(visit: Visit) -> None:
    page = visit("index.html")
    assert len(rows(page)) == 200
    page.locator(".filters").get_by_label("Family").select_option("lora")
    assert page.locator(".filters output").inner_text() == "66 of 200 entries; reference, SFT and base stay"
    head(page, "Held").first.get_by_role("button").click()
    assert len(rows(page)) == 68
    assert column(page, "Held") == sorted(column(page, "Held"), reverse=True)


def test_which_one_for_your_case(visit: Visit) -> None:
    page = visit(f"{SOME}.html")
    told = page.locator(".case output")
    need = page.get_by_label("I need at least")
    assert told.inner_text() == ""
    # 9 of 10 learned: SFT (25 points), Keeper (10). 10 of 10: Eager (35), LoRA (30).
    need.fill("85")
    assert told.inner_text().startswith("4 are left. The least is forgotten by Keeper: 10.0 points (")
    assert told.get_by_role("link").first.get_attribute("href").endswith(f"{SOME}--keeper.html")
    wait_for_query(page, "?need=85")
    assert set(rows(page)) == ALWAYS | {"Keeper", "Eager", "LoRA"}
    need.fill("91")
    assert told.inner_text().startswith("2 are left. The least is forgotten by LoRA: 30.0 points (")
    wait_for_query(page, "?need=91")
    page.reload()
    assert told.inner_text().startswith("2 are left. The least is forgotten by LoRA: 30.0 points (")
    page.locator(".filters").get_by_label("Name or method").fill("eager")
    assert told.inner_text().startswith("One is left: Eager: 35.0 points (")
    page.locator(".filters").get_by_label("Name or method").fill("nobody at all")
    assert told.inner_text() == "Nobody who is shown gets there."
    page.locator(".filters").get_by_role("button", name="Show all").click()
    need.fill("0")
    assert told.inner_text() == "Then leave the new facts out of the training: the reference is what is left."
    need.fill("")
    assert told.inner_text() == ""
    wait_for_query(page, "")


def test_which_one_says_what_the_table_beside_it_says(visit: Visit) -> None:
    page = visit(f"{SOME}.html?need=90")
    row = page.locator("table.choices tbody tr", has_text="at least 90 %")
    by_script = page.locator(".case output a").all_inner_texts()
    by_us = row.locator("a").all_inner_texts()
    assert by_script == by_us
    assert by_us[0] == "Keeper"
    assert len(by_us) > 1, "one or more are not told apart from it"


def test_choosing_entries_to_compare(visit: Visit) -> None:
    page = visit(f"{SOME}.html")
    bar = page.locator(".bar-compare")
    assert bar.inner_text() == "Tick two or three entries to compare them."
    box = {title: page.get_by_label(f"compare {title}", exact=True) for title in ("SFT", "Keeper", "LoRA", "Eager")}
    box["SFT"].check()
    assert bar.inner_text() == "Tick one or two more to compare."
    box["Keeper"].check()
    assert bar.get_by_role("link").get_attribute("href") == f"compare-{SOME}.html?entries=sft,keeper"
    box["LoRA"].check()
    assert box["Eager"].is_disabled()
    wait_for_query(page, "?entries=sft,keeper,lora")
    page.reload()
    assert box["LoRA"].is_checked()
    assert box["Eager"].is_disabled()
    box["SFT"].uncheck()
    assert box["Eager"].is_enabled()
    bar.get_by_role("link", name="Compare these 2 entries").click()
    page.wait_for_url(f"**/compare-{SOME}.html?entries=keeper,lora")
    assert page.locator("select[name=a]").input_value() == "keeper"


def test_comparing_two(visit: Visit) -> None:
    page = visit(f"compare-{SOME}.html?entries=sft,keeper")
    beside = page.locator("table.beside")
    assert "SFT" in beside.locator("thead th").nth(0).inner_text()
    assert "Keeper" in beside.locator("thead th").nth(1).inner_text()
    forgetting = beside.locator("tbody tr", has_text="Forgetting").locator("td").all_inner_texts()
    assert [re.split(r"\s", cell.strip())[0] for cell in forgetting] == ["25.0", "10.0"]
    # 14 of 20 against 17: 15 points, and three facts that only Keeper has; 2 * (1/2)^3 by McNemar.
    held = page.locator("table.apart tbody").first.locator("tr").nth(1)
    assert held.locator("td").first.inner_text() == "−15.0"
    seeds = page.locator("table.seeds tbody tr")
    assert seeds.count() == 1, "the one seed they have in common"
    assert seeds.locator("td").all_inner_texts() == ["0", "0", "3", "−15.0", "0.2500", "0", "0", "0.0", "1.0000"]
    assert page.locator(".counted").inner_text() == (
        "3 of 20 held-out facts that one of them has right and another has not."
    )
    differ = page.locator("table.differ tbody tr")
    assert [row.locator("td.count").all_inner_texts() for row in differ.all()] == [["0/2", "1/1"]] * 3


def test_what_is_compared_is_kept_in_the_address(visit: Visit) -> None:
    page = visit(f"compare-{SOME}.html?entries=sft,keeper")
    page.locator("select[name=c]").select_option("lora")
    wait_for_query(page, "?entries=sft,keeper,lora")
    page.locator("select[name=right]").select_option("b-c")
    assert page.locator(".counted").inner_text() == "4 of 20 held-out facts that B has right and C has not."
    page.locator("select[name=facts]").select_option("unknown")
    assert page.locator(".counted").inner_text() == "0 of 10 new facts that B has right and C has not."
    page.reload()
    assert page.locator("select[name=c]").input_value() == "lora"
    assert page.locator(".counted").inner_text() == "0 of 10 new facts that B has right and C has not."
    page.locator("select[name=b]").select_option("sft")
    assert page.locator(".messages").inner_text() == "That entry is chosen already; choose another."
    assert page.locator("select[name=b]").input_value() == "keeper"


def test_a_comparison_of_what_is_not_there(visit: Visit) -> None:
    page = visit(f"compare-{SOME}.html?entries=sft,nobody,sft")
    told = page.locator(".messages").inner_text()
    assert "There is no entry “nobody” on this track" in told
    assert "“sft” was named twice" in told
    assert told.endswith("Choose a second entry to compare it with.")
    assert page.locator(".results").is_hidden()


def test_answers_of_an_entry(visit: Visit) -> None:
    page = visit(f"{SOME}--sft.html?answers=lost")
    # The reference has 19 of 20, SFT the first 14 of these.
    told = page.locator(".kinds output")
    assert told.inner_text() == "5 of 6 facts"
    assert page.locator("table.answers tbody tr:visible").count() == 5
    assert page.locator(".kinds").get_by_label("lost").is_checked()
    page.locator(".kinds").get_by_label("lost").uncheck()
    assert page.locator("table.answers tbody tr:visible").count() == 6
    wait_for_query(page, "")
    page.locator(".kinds").get_by_label("gained").check()
    assert told.inner_text() == "0 of 6 facts"
    page.locator(".kinds").get_by_label("wrong").check()
    assert told.inner_text() == "6 of 6 facts"
    wait_for_query(page, "?answers=gained,wrong")


@pytest.mark.parametrize("name", KINDS)
def test_dark(name: str, visit: Visit) -> None:
    brightness = """() => ["backgroundColor", "color"]
      .map((what) => getComputedStyle(document.body)[what].match(/\\d+/g).slice(0, 3).map(Number))
      .map(([red, green, blue]) => (red + green + blue) / 3)"""
    page = visit(name)
    paper, ink = page.evaluate(brightness)
    assert paper > 240 > 60 > ink
    page.emulate_media(color_scheme="dark")
    paper, ink = page.evaluate(brightness)
    assert ink > 220 > 40 > paper


def test_without_scripts(visit: Visit) -> None:
    page = visit(f"{SOME}.html", java_script_enabled=False)
    assert page.locator("table.entries > tbody:visible").count() == 21
    assert page.locator(".plane svg").first.is_visible()
    assert page.locator("table.choices tbody tr").count() == 4
    assert page.get_by_role("link", name="Keeper").first.is_visible()
    for tool in (".tools", ".kinds", "button", "input", "select"):
        assert page.locator(f"{tool}:visible").count() == 0, "nothing is shown that does nothing"
    page = visit(f"compare-{SOME}.html", java_script_enabled=False)
    assert page.get_by_text("Choosing entries takes a script").is_visible()
    assert page.locator("table.all tbody tr:visible").count() == 20
    for tool in ("button", "input", "select"):
        assert page.locator(f"{tool}:visible").count() == 0
    page = visit(f"{SOME}--sft.html", java_script_enabled=False)
    assert page.locator("table.answers tbody tr:visible").count() == 6
    assert page.locator(".kinds").is_hidden()


WIDEST = (*KINDS, f"{SOME}--wide.html", f"compare-{SOME}.html?entries=wide,hostile,hostile-too")


@pytest.mark.parametrize("name", WIDEST)
def test_no_page_is_wider_than_a_phone_or_a_sheet_of_paper(name: str, visit: Visit) -> None:
    page = visit(name, **PHONE)
    assert overflow(page) <= 0
    page.set_viewport_size({"width": 320, "height": 640})
    assert overflow(page) <= 0
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})  # A4, less its margins
    assert overflow(page) <= 0


@pytest.mark.parametrize("name", ["index.html", f"{SOME}.html"])
def test_what_matters_is_seen_on_a_phone(name: str, visit: Visit) -> None:
    page = visit(name, **PHONE)
    row = page.locator("table.entries > tbody > tr", has_text="SFT").filter(has_text="known").first
    row.scroll_into_view_if_needed()
    for title in ("Rank", "Unknown", "Forgetting"):
        box = head(page, title).bounding_box()
        assert box, title
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390, title
    assert head(page, "Seeds").is_hidden()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{SOME}.html?show={IMAGE}&sort={IMAGE}&family={IMAGE}&need={IMAGE}&entries={IMAGE},hostile", IMAGE),
        (f"{SOME}.html", HOSTILE),
        (f"compare-{SOME}.html?entries=hostile,hostile-too,{IMAGE}&right={IMAGE}&relation={IMAGE}", HOSTILE),
        (f"compare-{SOME}.html?entries={IMAGE}", IMAGE),
        (f"training-{SOME}.html", None),
        (f"{SOME}--hostile.html?answers={IMAGE}", HOSTILE),
        (f"{SOME}--hostile-too.html", IMAGE),
    ],
)
def test_nothing_of_a_submission_or_an_address_is_run(name: str, told: str | None, visit: Visit) -> None:
    page = visit(name)
    page.wait_for_timeout(50)  # an image that is not there would fail by now
    assert page.locator("main :is(img, script:not([type]), [onload], [onerror])").count() == 0
    if told:
        assert page.get_by_text(told).locator("visible=true").first.is_visible(), "it is shown as the text it is"


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core; install Node 20 with npm, and type: make test")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_keeps_readers_out(width: int, scheme: str, visit: Visit) -> None:
    # The policy of the pages would keep axe out, too.
    page = visit("404.html", viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    home, axe = page.url.removesuffix("404.html"), AXE.read_text(encoding="utf-8")
    # Two hundred entries take axe seconds; the same page with twenty is seen in every way.
    for name in KINDS[1:] if (width == 1280) == (scheme == "dark") else KINDS:
        page.goto(home + name)
        page.evaluate(axe)
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        told = [f"{of['id']}: {of['help']}: {node['html']}" for of in found for node in of["nodes"]]
        assert told == [], name
