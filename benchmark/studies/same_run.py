"""One run made twice, on two machines: how far do its answers and its trajectory agree?

python benchmark/studies/same_run.py SUBMISSION SUBMISSION --out leaderboard/studies/same-run.json
"""

from pathlib import Path
from typing import Any

import study
from fthall.knowledge import splits
from fthall.records import Split
from fthall.submissions.check import validate


def main() -> None:
    """Compare two submission folders of the same entry and seed."""
    parser = study.parser(__doc__)
    parser.add_argument("runs", type=Path, nargs=2)
    parser.add_argument("--track", default="geonames/smollm2-135m")
    options = parser.parse_args()
    release = splits.load(options.track)
    first, second = (validate(folder, release) for folder in options.runs)
    one, other = first.run, second.run
    result: dict[str, Any] = {
        "run": one.slug,
        "hardware": [found.card.hardware for found in (first, second)],
        "answers": {
            str(split): {
                "asked": len(one.answers[split]),
                "other_text": sum(
                    a.prediction != b.prediction for a, b in zip(one.answers[split], other.answers[split], strict=True)
                ),
                "right": [round(run.accuracy(split), 1) for run in (one, other)],
            }
            for split in Split
        },
        "trajectory": [
            {
                "epoch": a.epoch,
                "held": [round(a.held, 1), round(b.held, 1)],
                "unknown": [round(a.unknown, 1), round(b.unknown, 1)],
                "train_loss": [a.train_loss, b.train_loss],
            }
            for a, b in zip(one.trajectory, other.trajectory, strict=True)
        ],
    }
    study.tell(result, options.out)


if __name__ == "__main__":
    main()
