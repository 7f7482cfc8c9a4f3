"""Is what looks like the new facts lost first? Item by item, from the answers that are committed.

    python benchmark/studies/overlap.py --out leaderboard/studies/why-overlap.json

Rank correlation of a held-out fact's being lost with what its name and answer have in common with the facts trained, of
the embedded track's submissions and of the experiment on keys; seconds, nothing is trained.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import study
from fthall import bases
from fthall.knowledge import splits
from fthall.measure.runs import EvaluatedRun
from fthall.records import Fact, Release, Split
from fthall.submissions import find_reference, find_runs
from fthall.why import arms, results, trace

ROOT = Path(__file__).resolve().parents[2]
TRACK, BASE = "geonames/smollm2-135m", "smollm2-135m"
ENTRIES = ("sft", "self-distill")
ARMS = ("name-1000", "uuid-1000", "name-100")


def trainings() -> Iterator[tuple[str, Release, Sequence[EvaluatedRun], Mapping[str, Sequence[EvaluatedRun]]]]:
    """(new facts, release, reference, runs by entry)."""
    release = splits.load(TRACK)
    place = ROOT / "submissions" / TRACK
    found = {entry: find_runs(place / entry, release) for entry in ENTRIES}
    yield "real towns", release, find_reference(place / "sft", release), found
    keys = results.read(ROOT / "leaderboard/studies/why-keys-gpu.json")
    asked = arms.load_experiment(ROOT / "benchmark/recipes/why/keys.yaml")
    made = arms.releases(asked, "keys", asked.presets["gpu"])
    for arm in ARMS:
        yield arm, made[arm], keys.reference(arm), {entry: keys.runs[arm, entry] for entry in ENTRIES}


def right(run: EvaluatedRun) -> dict[str, bool]:
    """Which held-out facts a run has right."""
    return dict(
        zip((answer.fact_id for answer in run.answers[Split.HELD]), run.right[Split.HELD].tolist(), strict=True)
    )


def main() -> None:
    """A row a training and quantity."""
    given = study.parser(__doc__).parse_args()
    tokenizer = bases.load_tokenizer(bases.find(BASE))
    rows: list[dict[str, Any]] = []
    for name, release, reference, runs in trainings():
        held: tuple[Fact, ...] = release.splits[Split.HELD]
        bound = {run.seed: right(run) for run in reference}
        points = [
            {"entry": entry, "lost": trace.lost_marks(held, bound[run.seed], right(run))}
            for entry, seeds in runs.items()
            for run in seeds
        ]
        found = {"held": trace.described(held, release, tokenizer), "points": points}
        rows += [{"new facts": name, **row} for row in trace.correlations(found)]
    study.tell({"track": TRACK, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
