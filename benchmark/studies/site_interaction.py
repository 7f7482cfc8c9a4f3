"""How long does the page of a track take to answer its reader, with 200 entries in it?

    python benchmark/studies/site_interaction.py --out leaderboard/studies/site-interaction.json

The entries are the committed ones of a track and copies of them under other names. In a headless Chromium, each action
is done many times; its time is from before the event is dispatched until what it changed has its place on the page
(layout, which is forced). Painting comes after that and is not in it. ``--keep FOLDER`` builds the site there, or takes
the one that is there. Needs playwright and a Chromium.
"""

import shutil
import statistics
import tempfile
import threading
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Page, sync_playwright

import study
from fthall.bases import hardware
from fthall.errors import FthallError
from fthall.files import write_text
from fthall.leaderboard import render
from fthall.leaderboard.site.serve import serve

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
TRACK = "geonames/smollm2-135m"
ENTRIES = 200
TIMES = 60
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

BOARD = {
    "filter by name, a letter more": ("[name=show]", ["s", "sf", "sft", "sft-", ""]),
    "filter by family": ("[name=family]", ["sft", "self-distill", "l2sp", ""]),
    "filter by seeds": ("[name=seeds]", ["5", ""]),
    "say how much must be learned": ("#need", ["50", "90", "99", ""]),
    "sort by entry": ("table.entries thead th:nth-child(1) button", None),
    "sort by new facts learned": ("table.entries thead th:nth-child(5) button", None),
    "sort by forgetting": ("table.entries thead th:nth-child(8) button", None),
    "tick an entry to compare": ("table.entries > tbody:nth-of-type(50) input", None),
}
"""What is done on the page of a track: an element, and the values it is given in turn; without, it is clicked."""
COMPARISON = {
    "choose a third entry": ("[name=c]", ["", "{2}", "{3}", "{4}"]),
    "choose whose facts": ("[name=right]", ["a-b", "b-a", ""]),
    "choose new facts instead of old": ("[name=facts]", ["unknown", "held"]),
}
"""What is done on a page that compares; ``{n}`` is the n-th entry."""

TIMED = """
async ([selector, values, times]) => {
  const element = document.querySelector(selector), took = [];
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  for (let turn = 0; turn < times; turn += 1) {
    await frame();  // each begins on a page at rest
    const begun = performance.now();
    if (values) {
      element.value = values[turn % values.length];
      element.dispatchEvent(new Event(element.tagName === "SELECT" && !element.closest(".filters") ? "change" : "input",
        { bubbles: true }));
    } else {
      element.click();
    }
    document.body.getBoundingClientRect();
    took.push(performance.now() - begun);
  }
  return took;
}
"""


def populate(root: Path) -> None:
    """Write the submissions of a track, and copies of them, until there are enough entries."""
    folders = sorted((SUBMISSIONS / TRACK).iterdir())
    found = {path: yaml.safe_load((path / "submission.yaml").read_text(encoding="utf-8")) for path in folders}
    for path in found:
        shutil.copytree(path, root / TRACK / path.name)
    names = sorted({card["entry"] for card in found.values()})
    for number in range(ENTRIES - len(names)):
        name = names[number % len(names)]
        for path, card in found.items():
            if card["entry"] != name:
                continue
            entry = f"{name[:56]}-v{number}"
            copy = root / TRACK / f"{entry}-seed{card['seed']}"
            shutil.copytree(path, copy)
            # A copy of the reference must not be one: there would be two.
            more = {"method": "copy"} if name == "sft-known" else {}
            made = {**card, **more, "entry": entry, "title": f"{card['title'][:68]}, no. {number}"}
            write_text(copy / "submission.yaml", yaml.safe_dump(made))


def measure(page: Page, actions: dict[str, tuple[str, list[str] | None]], entries: list[str]) -> dict[str, Any]:
    """Milliseconds of each action, and of its slowest step, such as to show all entries again: medians."""
    found = {}
    for name, (selector, values) in actions.items():
        given = [value.format(*entries) for value in values] if values else None
        took = page.evaluate(TIMED, [selector, given, TIMES])
        steps = len(given or ("on", "off"))
        slowest = max(statistics.median(took[step::steps]) for step in range(steps))
        found[name] = {"median": round(statistics.median(took), 1), "slowest_step": round(slowest, 1)}
    return found


def main() -> None:
    """Build, open, measure."""
    parser = study.parser(__doc__ or "")
    parser.add_argument("--keep", type=Path, help="the site's folder, which is built if it is not there")
    options = parser.parse_args()
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not executable:
        raise FthallError("no Chromium; install one (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as temporary:
        site = options.keep or Path(temporary) / "site"
        if not site.is_dir():
            populate(Path(temporary) / "submissions")
            render(Path(temporary) / "submissions", site)
        track = TRACK.replace("/", "-").replace(".", "-")
        with serve(site, 0) as server, sync_playwright() as playwright:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"http://127.0.0.1:{server.server_port}/{track}.html")
            entries = page.evaluate(
                "[...document.querySelectorAll('tbody[data-entry]')].map((row) => row.dataset.entry)"
            )
            of_board = measure(page, BOARD, entries)
            page.goto(f"http://127.0.0.1:{server.server_port}/compare-{track}.html?entries={','.join(entries[:2])}")
            result = {
                "hardware": hardware(),
                "browser": f"Chromium {browser.version}, headless",
                "track": TRACK,
                "entries": len(entries),
                "times": TIMES,
                "page_kib": round((site / f"{track}.html").stat().st_size / 1024),
                "comparison_kib": round((site / f"compare-{track}.html").stat().st_size / 1024),
                "milliseconds": of_board | measure(page, COMPARISON, entries),
            }
            browser.close()
            server.shutdown()
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
