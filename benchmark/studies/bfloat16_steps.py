"""What a training step takes on this machine: in float32, and in bfloat16 with and without our products.

    python benchmark/studies/bfloat16_steps.py

On processors without instructions for bfloat16 torch's own products are many times as slow as those of float32
(:mod:`fthall.bases.bfloat16`). All ways take the same batches, one after the other, in one process.
"""

import logging
import statistics
import tempfile
import time
from contextlib import nullcontext
from typing import Any

from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from fthall import bases
from fthall.bases import hardware
from fthall.bases.bfloat16 import ThroughFloat32, is_quick
from fthall.finetune.loop.data import Collate, EvenBatches, completions, encode
from fthall.finetune.loop.optimiser import Copies
from fthall.finetune.loop.passes import can_pack
from fthall.finetune.loop.trainer import FactTrainer
from fthall.knowledge import splits
from fthall.records import Split
from study import parser, tell

WARM = 2
"""Steps before the clock counts."""
WAYS: dict[str, Any] = {
    "float32": nullcontext,
    "bfloat16, products through float32": ThroughFloat32,
    "bfloat16, torch's own products": nullcontext,
}


class _Listening(FactTrainer):
    """Remembers the loss of the last step."""

    last_loss = 0.0

    def compute_loss(self, *given: Any, **options: Any) -> Any:
        """See :class:`FactTrainer`."""
        loss = super().compute_loss(*given, **options)
        self.last_loss = float(loss.detach())
        return loss


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    """Time all ways."""
    options = parser(__doc__)
    options.add_argument("--track", default="geonames/smollm2-135m")
    options.add_argument("--base", default=bases.EMBEDDED)
    options.add_argument("--steps", type=int, default=4)
    given = options.parse_args()
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    release = splits.load(given.track)
    facts = [*release.splits[Split.KNOWN], *release.splits[Split.UNKNOWN]]
    steps: dict[str, dict[str, float]] = {}
    for way, products in WAYS.items():
        model, tokenizer = bases.load(bases.find(given.base), for_training=True)
        examples = encode(completions(facts, "known"), tokenizer)
        collate = Collate(can_pack(model, examples[:4]))
        in_bf16 = way != "float32"
        trainer = _Listening(
            model=model,
            args=TrainingArguments(
                output_dir=tempfile.mkdtemp(),
                max_steps=WARM + given.steps,
                learning_rate=5e-5,
                bf16=in_bf16,
                optim="adamw_torch_fused",
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
                use_cpu=True,
            ),
            train_dataset=list(examples),
            batches=EvenBatches([fact.id for fact in facts], 0, 16, 1),
            collate=collate,
            copies=Copies(model, collate(examples[:4])) if in_bf16 else None,
        )
        trainer.remove_callback(PrinterCallback)
        clock = _Clock()
        trainer.add_callback(clock)
        with products():
            trainer.train()
        took = [b - a for a, b in zip(clock.ends[WARM - 1 :], clock.ends[WARM:], strict=False)]
        steps[way] = {"seconds": round(statistics.median(took), 3), "last_loss": round(trainer.last_loss, 4)}
        del trainer, model
        bases.free_memory()
    tell({"hardware": hardware(), "bfloat16_is_quick": is_quick(), "a_step_of_16_facts": steps}, given.out)


if __name__ == "__main__":
    main()
