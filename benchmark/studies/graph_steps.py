"""What CUDA graphs save: the same training of the embedded base, its passes started one kernel at a time, or recorded.

    python benchmark/studies/graph_steps.py --out leaderboard/studies/graph-steps.json

Both sides in one process, in turn; they must come to the same losses. Needs a GPU.
"""

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from fthall import bases
from fthall.bases import hardware
from fthall.finetune import Run, Training
from fthall.finetune.job import Job
from fthall.finetune.train import train
from fthall.knowledge import splits
from study import parser, tell

RUNS = {
    "SFT": {"method": "sft"},
    "self-distillation": {"method": "self-distill", "start": "format", "distill": {"teacher": "format"}},
    "LoRA": {"method": "lora", "lora": {}},
}


def main() -> None:
    """Train, and compare."""
    import torch

    options = parser(__doc__)
    options.add_argument("--epochs", type=int, default=2)
    given = options.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("graph_steps: there is no GPU here, and nothing to be recorded")
    release, rows = splits.load("geonames/smollm2-135m"), {}
    training = Training(epochs=given.epochs, evaluate_every=given.epochs)
    for name, settings in RUNS.items():
        run = Run.model_validate({"entry": "run", "title": name, **settings})
        took: dict[str, float] = {}
        losses = []
        for way in ("eager", "graphs"):
            model, tokenizer = bases.load(bases.find(bases.EMBEDDED), for_training=True)
            ends: list[float] = []

            def step(_: int, ends: list[float] = ends) -> None:
                torch.cuda.synchronize()
                ends.append(time.perf_counter())

            graphed = mock.patch.object(Job, "graphed", property(lambda _, way=way: way == "graphs"))
            with graphed, tempfile.TemporaryDirectory() as folder:
                points = train(
                    release, model, tokenizer, run, training, 0, Path(folder), resumable=False, on_examples=step
                )
            took[way] = statistics.median(b - a for a, b in itertools.pairwise(ends))
            losses.append(points[-1].train_loss)
            del model
            bases.free_memory()
        rows[name] = {
            **{f"{way}_milliseconds": round(1000 * seconds, 1) for way, seconds in took.items()},
            "times_as_fast": round(took["eager"] / took["graphs"], 2),
            "losses": losses,
        }
        tell({"hardware": hardware(), "facts_a_step": training.batch_size, "steps": rows}, given.out)


if __name__ == "__main__":
    main()
