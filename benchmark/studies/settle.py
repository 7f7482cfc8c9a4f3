"""What lets runs settle: the spread of forgetting over seeds, and the swing between the last two epochs, by setting.

    python benchmark/studies/settle.py

Plain SFT and its Only-Known twin are trained with every setting and seed; the held-out facts are asked after each of
the last two epochs. Finished runs are kept in the work folder and not repeated, so the study can be interrupted.
"""

import shutil
import statistics
from pathlib import Path

from fthall import bases
from fthall.bases import hardware
from fthall.finetune import Run, Training, read_trajectory
from fthall.finetune.train import train
from fthall.knowledge import splits
from fthall.records import Split
from study import parser, tell

SETTINGS = {
    "constant": {"schedule": "constant", "warmup": 0.0},
    "linear": {},
    "cosine": {"schedule": "cosine"},
    "constant, mean of the last 3 epochs": {"schedule": "constant", "warmup": 0.0, "average_epochs": 3},
}


def main() -> None:
    """Train, and say how far apart seeds and epochs are."""
    options = parser(__doc__)
    options.add_argument("--track", default="geonames/smollm2-135m")
    options.add_argument("--base", default=bases.EMBEDDED)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--only", choices=[*SETTINGS], action="append")
    options.add_argument("--work", type=Path, default=Path("runs/settle"))
    given = options.parse_args()
    release, checkpoint = splits.load(given.track), bases.find(given.base)
    runs = {
        "sft-known": Run(entry="sft-known", title="Only-Known", method="sft", trained_on=(Split.KNOWN,)),
        "sft": Run(entry="sft", title="SFT", method="sft"),
    }
    rows = {}
    for name in given.only or SETTINGS:
        every = max(1, given.epochs - 1)  # the last but one, and the last
        asked = (Split.UNKNOWN, Split.HELD)
        training = Training(epochs=given.epochs, evaluate_every=every, evaluate_on=asked, **SETTINGS[name])
        last: dict[str, list[float]] = {}
        swing = []
        for seed in range(given.seeds):
            for entry, run in runs.items():
                folder = given.work / f"{name.replace(', ', '-').replace(' ', '-')}-{entry}-seed{seed}"
                if not (folder / "run.json").exists():
                    model, tokenizer = bases.load(checkpoint, for_training=True)
                    base_answers = given.work / "base.jsonl"
                    slow = model.device.type == "cpu"  # elsewhere saving takes longer than training again
                    train(
                        release,
                        model,
                        tokenizer,
                        run,
                        training,
                        seed,
                        folder,
                        resumable=slow,
                        base_answers=base_answers,
                    )
                    shutil.rmtree(folder / "checkpoint")  # only the trajectory is read
                    del model
                    bases.free_memory()
                before, after = read_trajectory(folder)[-2:]
                last.setdefault(entry, []).append(after.held)
                if entry == "sft":
                    swing.append(abs(after.held - before.held))
        lost = [one - other for one, other in zip(last["sft-known"], last["sft"], strict=True)]
        rows[name] = {
            "held": [round(value, 1) for value in last["sft"]],
            "forgotten": [round(value, 1) for value in lost],
            "sd_of_forgetting": round(statistics.stdev(lost), 2) if len(lost) > 1 else None,
            "largest_swing_of_the_last_two_epochs": round(max(swing), 2),
        }
        tell({"hardware": hardware(), "track": given.track, "release": release.digest, "settings": rows}, given.out)


if __name__ == "__main__":
    main()
