"""What lets runs settle: the spread of forgetting over seeds, and the swing between the last two epochs, by setting.

    python benchmark/studies/settle.py

Plain SFT, its Only-Known twin and self-distillation are trained with every setting and seed; the held-out facts are
asked after each of the last two epochs. Finished runs are kept in the work folder and not repeated, so the study can be
interrupted.
"""

import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

from fthall import bases
from fthall.commands.finetune.beside import each
from fthall.errors import FthallError
from fthall.finetune import Run, Training, read_run, read_trajectory
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


RUNS = {
    "sft-known": Run(entry="sft-known", title="Only-Known", method="sft", trained_on=(Split.KNOWN,)),
    "sft": Run(entry="sft", title="SFT", method="sft"),
    "self-distill": Run.model_validate(
        {
            "entry": "self-distill",
            "title": "Self-distillation",
            "method": "self-distill",
            "start": "format",
            "distill": {"teacher": "format"},
        }
    ),
}


@dataclass(frozen=True, slots=True)
class Task:
    """A run of the study; plain data, so that it can travel to another process."""

    setting: str
    entry: str
    seed: int
    track: str
    base: str
    epochs: int
    work: Path

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.work / f"{self.setting.replace(', ', '-').replace(' ', '-')}-{self.entry}-seed{self.seed}"


def make(task: Task) -> None:
    """Train, unless that is done."""
    if (task.folder / "run.json").exists():
        return
    every = max(1, task.epochs - 1)  # the last but one, and the last
    asked = (Split.UNKNOWN, Split.HELD)
    training = Training(epochs=task.epochs, evaluate_every=every, evaluate_on=asked, **SETTINGS[task.setting])
    release = splits.load(task.track)
    model, tokenizer = bases.load(bases.find(task.base), for_training=True)
    train(
        release,
        model,
        tokenizer,
        RUNS[task.entry],
        training,
        task.seed,
        task.folder,
        resumable=model.device.type == "cpu",  # elsewhere saving takes longer than training again
        base_answers=task.work / "base.jsonl",
    )
    shutil.rmtree(task.folder / "checkpoint")  # only the trajectory is read
    del model
    bases.free_memory()


def main() -> None:
    """Train, and say how far apart seeds and epochs are."""
    options = parser(__doc__)
    options.add_argument("--track", default="geonames/smollm2-135m")
    options.add_argument("--base", default=bases.EMBEDDED)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--only", choices=[*SETTINGS], action="append")
    options.add_argument("--work", type=Path, default=Path("runs/settle"))
    options.add_argument("--jobs", type=int, default=1, help="runs beside each other, on a GPU")
    given = options.parse_args()
    tasks = [
        Task(setting, entry, seed, given.track, given.base, given.epochs, given.work)
        for setting in given.only or SETTINGS
        for seed in range(given.seeds)
        for entry in RUNS
    ]
    for task, error in each(make, tasks, given.jobs):
        if error:
            raise FthallError(f"{task.folder.name}: {error}")
    rows = {}
    for setting in given.only or SETTINGS:
        last: dict[str, list[float]] = {entry: [] for entry in RUNS}
        swing: dict[str, list[float]] = {entry: [] for entry in RUNS}
        for task in tasks:
            if task.setting == setting:
                before, after = read_trajectory(task.folder)[-2:]
                last[task.entry].append(after.held)
                swing[task.entry].append(abs(after.held - before.held))
        rows[setting] = {}
        for entry in ("sft", "self-distill"):
            lost = [one - other for one, other in zip(last["sft-known"], last[entry], strict=True)]
            rows[setting][entry] = {
                "held": [round(value, 1) for value in last[entry]],
                "forgotten": [round(value, 1) for value in lost],
                "sd_of_forgetting": round(statistics.stdev(lost), 2) if len(lost) > 1 else None,
                "swing_of_the_last_two_epochs": [round(value, 2) for value in swing[entry]],
            }
        found = sorted(
            {str(read_run(task.folder)["hardware"]) for task in tasks if (task.folder / "run.json").exists()}
        )
        release = splits.load(given.track).digest
        tell({"hardware": found, "track": given.track, "release": release, "settings": rows}, given.out)


if __name__ == "__main__":
    main()
