"""How long does it take to check what arrives, and how much memory?

    python benchmark/studies/validate_speed.py --out leaderboard/studies/validate-speed.json

Start-up, one submission, and a thousand of them: the committed ones under other names, as often as it takes, each
measured in processes of its own that import no more than the check does. The peak is the process's own (VmHWM):
getrusage would count what this one took before, too. Linux only.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

import study
from fthall import submissions
from fthall.bases import hardware
from fthall.files import write_text
from fthall.knowledge import splits

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
TIMES, MANY = 5, 1000
CHECK = """
import json, re, sys, time
from pathlib import Path
from fthall import submissions
began = time.perf_counter()
n = sum(1 for one in submissions.each(map(Path, json.load(sys.stdin))) if submissions.tier(one))
took = time.perf_counter() - began
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
sys.stdout.write(json.dumps({"submissions": n, "seconds": round(took, 2), "peak_mib": round(peak)}))
"""


def start(command: list[str]) -> float:
    """Seconds a command takes, the best of several."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
        took.append(time.perf_counter() - began)
    return round(min(took), 2)


def checked(folders: list[Path], times: int = 1) -> dict[str, Any]:
    """What a process that checks these says of itself, the fastest of several."""
    given = json.dumps([str(folder) for folder in folders])
    told = []
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", CHECK], input=given, capture_output=True, text=True, check=True)  # noqa: S603
        told.append(json.loads(done.stdout))
    found: dict[str, Any] = min(told, key=lambda one: one["seconds"])
    if found["submissions"] != len(folders):
        raise SystemExit(f"{found['submissions']} of {len(folders)} were checked")
    return found


def copies(folders: list[Path], root: Path) -> list[Path]:
    """A thousand submissions, none called like another."""
    made: list[Path] = []
    while len(made) < MANY:
        for source in folders[: MANY - len(made)]:
            card = yaml.safe_load((source / "submission.yaml").read_text(encoding="utf-8"))
            card["entry"] = f"{card['entry']}-{len(made)}"
            target = root / source.parent.relative_to(SUBMISSIONS) / f"{card['entry']}-seed{card['seed']}"
            shutil.copytree(source, target)
            write_text(target / "submission.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True))
            made.append(target)
    return sorted(made)


def main() -> None:
    """Measure and print."""
    given = study.parser(__doc__).parse_args()
    absent = {track for track in splits.tracks() if splits.absent(track)}
    folders = [
        folder
        for folder in submissions.find(SUBMISSIONS)
        if (track := "/".join(folder.parts[-3:-1])) not in absent and splits.RETIRED not in track
    ]
    largest = max(folders, key=lambda folder: sum(path.stat().st_size for path in folder.rglob("*")))
    command = str(Path(sys.executable).with_name("fthall"))
    told = {
        "hardware": hardware(),
        "cores": os.cpu_count(),
        "best_of": TIMES,
        "start_seconds": {
            "fthall validate --help": start([command, "validate", "--help"]),
            "import fthall.submissions": start([sys.executable, "-c", "import fthall.submissions"]),
        },
        "one": {"submission": "/".join(largest.parts[-3:]), **checked([largest], TIMES)},
    }
    with tempfile.TemporaryDirectory() as folder:
        many = copies(folders, Path(folder))
        tracks = Counter("/".join(path.parts[-3:-1]) for path in many)
        told["many"] = {**checked(many), "of_tracks": dict(sorted(tracks.items()))}
    study.tell(told, given.out)


if __name__ == "__main__":
    main()
