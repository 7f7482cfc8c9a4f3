"""The same recipe run on two machines: how far does what it forgets hang on the machine, and how far on the seed?

python benchmark/studies/machines.py SUBMISSIONS SUBMISSIONS --out leaderboard/studies/machines.json
"""

import itertools
import statistics
from pathlib import Path

import study
from fthall.answers import accuracy
from fthall.knowledge import splits
from fthall.records import Answer, Split
from fthall.submissions.card import Submission
from fthall.submissions.check import validate

REFERENCE = "sft-known"


def unlike(one: Submission, other: Submission) -> float:
    """Percent of the held-out facts that only one of two runs answers right."""
    pairs = zip(one.run.answers[Split.HELD], other.run.answers[Split.HELD], strict=True)
    return 100 * statistics.mean(a.outcome != b.outcome for a, b in pairs)


def held(found: Submission) -> float:
    """Accuracy in percent."""
    rows: tuple[Answer, ...] = found.run.answers[Split.HELD]
    return accuracy(rows)


def main() -> None:
    """Compare the runs that two folders of submissions share."""
    parser = study.parser(__doc__)
    parser.add_argument("folders", type=Path, nargs=2, help="each holds <entry>-seed<n> folders, the reference's too")
    parser.add_argument("--track", default="geonames/smollm2-135m")
    options = parser.parse_args()
    release = splits.load(options.track)
    shared = sorted(set.intersection(*({place.parent.name for place in f.glob("*/*.yaml")} for f in options.folders)))
    both = {name: [validate(folder / name, release) for folder in options.folders] for name in shared}
    rows = []
    for name, pair in both.items():
        twin = both.get(f"{REFERENCE}-seed{pair[0].card.seed}")
        if pair[0].card.entry == REFERENCE or twin is None:
            continue
        lost = [held(reference) - held(one) for reference, one in zip(twin, pair, strict=True)]
        rows.append(
            {
                "run": name,
                "hardware": [one.card.hardware for one in pair],
                "forgotten": [round(value, 2) for value in lost],
                "difference": round(lost[1] - lost[0], 2),
                "held_answers_unlike": round(unlike(*pair), 2),
            }
        )
    # For scale: two seeds of an entry on the second machine.
    between = [
        unlike(one[1], other[1])
        for one, other in itertools.combinations(both.values(), 2)
        if one[0].card.entry == other[0].card.entry != REFERENCE
    ]
    result = {
        "track": release.track,
        "release": release.digest,
        "runs": rows,
        "mean_absolute_difference": round(statistics.mean(abs(row["difference"]) for row in rows), 2),
        "mean_difference": round(statistics.mean(row["difference"] for row in rows), 2),
        "held_answers_unlike_between_machines": round(statistics.mean(row["held_answers_unlike"] for row in rows), 2),
        "held_answers_unlike_between_seeds": round(statistics.mean(between), 2),
    }
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
