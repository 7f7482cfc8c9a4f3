"""How long does it take to build the site of a thousand submissions, all of it and after one more, and how much memory?

    python benchmark/studies/site_speed.py --out leaderboard/studies/site-speed.json

The thousand are the committed ones and variants of them: some answers turned right or wrong, in proportion to the
tracks, three seeds an entry, every second with the evidence of its trajectory, every third with a checkpoint and hashes
of its training data; all of them pass the checks. Each build is a process of its own, and its seconds begin with its
start. One is added to the largest track, and changed: the pages of all its entries are others then. What comes of that
must be what a build from nothing gives, byte for byte. The peak is the building process's own (VmHWM); the one beside
it, which draws, takes less. Linux only.
"""

import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import study
from fthall.answers import LETTERS, accuracy, judge
from fthall.bases import hardware
from fthall.measure import metrics
from fthall.records import Answer, EpochPoint, Fact, Outcome, Release, Split
from fthall.submissions import Submission, find, pinned, read
from fthall.submissions.check import question_hash
from fthall.submissions.make import write_submission

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
MANY, SEEDS = 1000, 3
FLIPPED = 0.08
"""Share of the answers that are turned, at most."""
LARGEST = "geonames/smollm2-135m"
PACKAGES = ("fthall", "jinja2", "numpy", "pydantic", "pyyaml", "scipy", "vl-convert-python")
BUILD = """
import json, re, resource, sys
from pathlib import Path
from fthall.leaderboard import render
from fthall.leaderboard.site import cache
root, out, kept = sys.argv[1:]
render(Path(root), Path(out), cache=cache.opened(Path(kept)) if kept else None)
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
took = sum(one.ru_utime + one.ru_stime for one in used)
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
sys.stdout.write(json.dumps({"processor_seconds": round(took, 1), "peak_mib": round(peak)}))
"""


def populate(root: Path, many: int) -> None:
    """Write the committed submissions and variants of them, so many in all, under a folder."""
    rng = np.random.default_rng(0)
    found = read(SUBMISSIONS)
    have = [len(rows) for _, rows in found]
    ends = [round(many * part / sum(have)) for part in np.cumsum([0, *have])]  # in proportion, and exactly so many
    for (release, rows), start, end in zip(found, ends, ends[1:], strict=False):
        for one in rows[: end - start]:
            place = Path(release.track) / one.slug
            shutil.copytree(SUBMISSIONS / place, root / place)
        bounds = {card.entry for card in metrics.reference_of([one.card for one in rows])}
        by_entry: dict[str, list[Submission]] = {}
        for one in rows:
            if one.card.entry not in bounds:
                by_entry.setdefault(one.card.entry, []).append(one)
        sources = list(by_entry.values())
        for number in range(max(0, end - start - len(rows))):
            entry, seed = divmod(number, SEEDS)
            group = sources[entry % len(sources)]
            _variant(group[seed % len(group)], release, root, entry, seed, rng)


def _variant(
    one: Submission, release: Release, root: Path, entry: int, seed: int, rng: np.random.Generator
) -> Submission:
    """A submission with some of its answers turned, as an entry of its own."""
    share = FLIPPED * rng.random()
    answers = {split: _turned(rows, release.splits[split], share, rng) for split, rows in one.answers.items()}
    points = one.run.trajectory
    if points:
        points = (*points[:-1], replace(points[-1], **{str(s): accuracy(rows) for s, rows in answers.items()}))
    card = one.card.model_dump(mode="json", by_alias=True, exclude_none=True)
    card |= {"entry": f"{one.card.entry[:56]}-v{entry}", "title": f"{one.card.title[:68]}, no. {entry}", "seed": seed}
    card |= {"created": one.card.created, "trained_on": list(card["trained_on"])}
    card["hyperparameters"] = {**card["hyperparameters"], "variant": entry}
    if entry % 3 == 0:
        card["checkpoint"] = _pinned(one.card.base_weights_sha256, rng)
    trained = [fact.question for split in one.card.trained_on for fact in release.splits[split]]
    return write_submission(
        root / release.track / f"{card['entry']}-seed{seed}",
        card=card,
        answers=answers,
        trajectory=points,
        agreement={"compared": sum(map(len, answers.values())), "differing": []} if points else None,
        train_seconds=one.results.train_seconds,
        release=release,
        outcomes=_evidence(points, answers, rng) if entry % 2 == 0 else (),
        trained=map(question_hash, trained) if entry % 3 == 0 else (),
    )


def _turned(
    rows: Sequence[Answer], facts: Sequence[Fact], share: float, rng: np.random.Generator
) -> tuple[Answer, ...]:
    """Some right answers become those of other facts, some wrong ones the right ones."""
    told = []
    for answer, fact, turn in zip(rows, facts, rng.random(len(rows)) < share, strict=True):
        others = facts[int(rng.integers(len(facts)))]
        said = fact.answers[0] if answer.outcome is not Outcome.CORRECT else others.answers[0]
        told.append(replace(answer, prediction=said, outcome=judge(said, fact.answers)) if turn else answer)
    return tuple(told)


def _evidence(
    points: Sequence[EpochPoint], answers: dict[Split, tuple[Answer, ...]], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Outcomes of every epoch: as many right ones as its point says, the last those of the answers."""
    lines = []
    for point in points:
        outcomes = {}
        for split, rows in answers.items():
            if (percent := getattr(point, split)) is None:
                continue
            letters = np.array([LETTERS[answer.outcome] for answer in rows])
            right = np.flatnonzero(letters == "c")
            more = round(percent * len(rows) / 100) - len(right)
            letters[rng.choice(np.flatnonzero(letters != "c") if more > 0 else right, abs(more), replace=False)] = (
                "c" if more > 0 else "w"
            )
            outcomes[str(split)] = "".join(letters)
        lines.append({"epoch": point.epoch, "outcomes": outcomes})
    return lines


def _pinned(weights: str, rng: np.random.Generator) -> dict[str, Any]:
    """Of a checkpoint that could be; there is none."""
    base = pinned.base_header(weights)
    assert base is not None
    return {
        "kind": "full",
        "repository": "nobody/none",
        "revision": rng.bytes(20).hex(),
        "files": [
            {"name": name, "bytes": int(rng.integers(1, 10**9)), "sha256": rng.bytes(32).hex()}
            for name in ("config.json", "model.safetensors", "tokenizer.json")
        ],
        "architecture": base.architecture,
        "parameters": base.parameters,
        "vocabulary": base.vocabulary,
    }


def built(root: Path, out: Path, kept: Path | None) -> dict[str, Any]:
    """What a process that builds the site says of itself, and how long it was there."""
    began = time.perf_counter()
    command = [sys.executable, "-c", BUILD, str(root), str(out), str(kept or "")]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603 - our own
    return {"seconds": round(time.perf_counter() - began, 1), **json.loads(done.stdout)}


def same(one: Path, other: Path) -> bool:
    """Whether two sites are the same, byte for byte."""
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (one, other)]
    return files[0] == files[1]


def measure(root: Path, place: Path) -> dict[str, Any]:
    """Build the site of the submissions, whole and after a change; ``place`` is for what comes of it."""
    kept, site, anew = place / "kept", place / "site", place / "anew"
    found = {"all of it": built(root, anew, None)}
    one = next(path for path in find(root) if f"-v{SEEDS}-seed" in path.name and LARGEST in str(path))
    shutil.move(one, place / one.name)
    found["all of it but one, kept for the next"] = built(root, site, kept)
    shutil.move(place / one.name, one)
    found["one added"] = built(root, site, kept)
    found["nothing changed"] = built(root, site, kept)
    if not same(site, anew):
        raise SystemExit("one more does not give what a build from nothing gives")
    (release, rows), *_ = [row for row in read(SUBMISSIONS) if row[0].track == LARGEST]
    shutil.rmtree(one)
    entry, _, seed = one.name.partition("-seed")
    source = next(row for row in rows if row.card.entry == entry.rpartition("-v")[0])
    _variant(source, release, root, SEEDS, int(seed), np.random.default_rng(1))
    found["one changed"] = built(root, site, kept)
    built(root, anew, None)
    if not same(site, anew):
        raise SystemExit("another one does not give what a build from nothing gives")
    sizes = {path.name: path.stat().st_size for path in site.iterdir()}
    front = (site / "index.html").read_bytes()
    return {
        "builds": found,
        "files": len(sizes),
        "pages": sum(name.endswith(".html") for name in sizes),
        "site_mib": round(sum(sizes.values()) / 2**20, 1),
        "kept_mib": round(sum(path.stat().st_size for path in kept.iterdir()) / 2**20, 1),
        "front_page_bytes": len(front),
        "front_page_gzip_bytes": len(gzip.compress(front, 9, mtime=0)),
    }


def main() -> None:
    """Measure and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--submissions", type=int, default=MANY)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "submissions"
        populate(root, options.submissions)
        tracks = Counter("/".join(path.parts[-3:-1]) for path in find(root))
        told = {
            "hardware": hardware(),
            "cores": os.cpu_count(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "submissions": sum(tracks.values()),
            "of_tracks": dict(sorted(tracks.items())),
            **measure(root, Path(folder)),
        }
    study.tell(told, options.out)


if __name__ == "__main__":
    main()
