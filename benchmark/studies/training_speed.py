"""How fast training is beside TRL's SFTTrainer: same model, facts, batch size, precision and optimiser, in one run.

    python benchmark/studies/training_speed.py

TRL trains the same prompts and completions, in its default mode and packed. Sides take turns, round by round, so that
a machine whose speed drifts is the same for all; compared are medians of the time between the ends of two steps. The
parts of a step are timed apart, and the rate of its passes is set against what this machine reaches on large products.
"""

import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from trl import SFTConfig, SFTTrainer

from fthall import bases
from fthall.bases import hardware
from fthall.finetune.loop.data import Collate, EvenBatches, completions, encode
from fthall.finetune.loop.optimiser import Copies
from fthall.finetune.loop.passes import can_pack, states
from fthall.finetune.loop.teacher import Frozen
from fthall.finetune.loop.trainer import FactTrainer
from fthall.knowledge import splits
from fthall.prompts import ask, target
from fthall.records import Split
from study import parser, tell

WARM = 8
"""Steps before the clock counts: kernels are made, memory is taken."""
ROW = 320
"""Tokens of a packed row of TRL's: about 16 facts, as many as a batch has."""


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The weights have moved."""
        self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Of each step that counts."""
        return [b - a for a, b in zip(self.ends[WARM:], self.ends[WARM + 1 :], strict=False)]


def main() -> None:
    """Time all sides."""
    options = parser(__doc__)
    options.add_argument("--track", default="geonames/smollm2-135m")
    options.add_argument("--base", default=bases.EMBEDDED)
    options.add_argument("--steps", type=int, default=16, help="counted, a round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--batch-size", type=int, default=16)
    given = options.parse_args()
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    release = splits.load(given.track)
    facts = [*release.splits[Split.KNOWN], *release.splits[Split.UNKNOWN]]
    common: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "max_steps": WARM + given.steps + 1,
        "learning_rate": 5e-5,
        "bf16": True,
        "optim": "adamw_torch_fused",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": not torch.cuda.is_available(),
    }

    def load() -> tuple[Any, Any]:
        return bases.load(bases.find(given.base), for_training=True)

    def ours(weight: float) -> tuple[Clock, float]:
        model, tokenizer = load()
        examples, clock = encode(completions(facts, "known"), tokenizer), Clock()
        collate = Collate(can_pack(model, examples[:4]))
        trainer = FactTrainer(
            model=model,
            args=TrainingArguments(per_device_train_batch_size=given.batch_size, remove_unused_columns=False, **common),
            train_dataset=examples,
            batches=EvenBatches([fact.id for fact in facts], 0, given.batch_size),
            collate=collate,
            distill_weight=weight,
            distill_temperature=0.5,
            copies=Copies(model, collate(examples[:4])) if model.device.type == "cpu" else None,
            callbacks=[clock],
        )
        if weight:
            with trainer.accelerator.autocast():
                trainer.teacher = Frozen.of(model, examples, collate, batch_size=32)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return clock, len(facts) / len(trainer.batches)

    def theirs(packed: bool) -> tuple[Clock, float]:
        model, tokenizer = load()
        clock = Clock()
        rows = Dataset.from_list([{"prompt": ask(fact.question), "completion": target(fact)} for fact in facts])
        how = {"packing": True, "max_length": ROW, "per_device_train_batch_size": given.batch_size // 16 or 1}
        if not packed:
            how = {"per_device_train_batch_size": given.batch_size}
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=rows,
            args=SFTConfig(gradient_checkpointing=False, **how, **common),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        a_row = len(facts) / len(trainer.train_dataset)
        trainer.train()
        return clock, a_row * how["per_device_train_batch_size"]

    sides: dict[str, Callable[[], tuple[Clock, float]]] = {
        "sft": lambda: ours(0.0),
        "self-distill": lambda: ours(1.0),
        "TRL, default": lambda: theirs(packed=False),
        "TRL, packed": lambda: theirs(packed=True),
    }
    seconds: dict[str, list[float]] = {}
    rate: dict[str, float] = {}
    for _ in range(given.rounds):
        for name, run in sides.items():
            clock, examples_a_step = run()
            seconds.setdefault(name, []).extend(clock.seconds())
            rate[name] = examples_a_step / statistics.median(seconds[name])
            bases.free_memory()
    step = {name: 1000 * statistics.median(found) for name, found in seconds.items()}
    faster = max(rate["TRL, default"], rate["TRL, packed"])
    parts, share = _parts(load, facts, given.batch_size)
    tell(
        {
            "hardware": hardware(),
            "base": given.base,
            "track": given.track,
            "facts": len(facts),
            "batch_size": given.batch_size,
            "steps_a_side": given.rounds * given.steps,
            "examples_a_second": {name: round(value, 1) for name, value in rate.items()},
            "step_milliseconds": {name: round(value) for name, value in step.items()},
            "sft_against_faster_trl": round(rate["sft"] / faster, 2),
            "sft_against_trl_default": round(rate["sft"] / rate["TRL, default"], 2),
            "sft_against_trl_packed": round(rate["sft"] / rate["TRL, packed"], 2),
            "self_distill_step_against_sft": round(step["self-distill"] / step["sft"], 2),
            "parts_of_a_step_milliseconds": parts,
            **share,
        },
        given.out,
    )


def _parts(load: Callable[[], tuple[Any, Any]], facts: list[Any], size: int) -> tuple[dict[str, int], dict[str, float]]:
    """Where a step of SFT spends its time, and the rate of its passes beside that of a large matrix product."""
    from fthall.engines.shared import head
    from fthall.finetune.loop.optimiser import CopiesAdamW

    model, tokenizer = load()
    examples, collate = encode(completions(facts, "known"), tokenizer), Collate()
    copies = Copies(model, collate(examples[:4]))
    optimiser = CopiesAdamW(model.parameters(), copies, lr=5e-5)
    spent: dict[str, list[float]] = {}
    tokens, rows, real = [], [], []
    for number, chosen in enumerate(EvenBatches([fact.id for fact in facts], 0, size)):
        if number == 2 * WARM:
            break
        marks = [time.perf_counter()]
        inputs = collate([examples[i] for i in chosen])
        marks.append(time.perf_counter())
        with torch.autocast("cpu", torch.bfloat16):
            hidden = states(model, inputs)
            logits = head(model, hidden[inputs["predicting"]])
            loss = torch.nn.functional.cross_entropy(logits.float(), inputs["labels"])
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimiser.clip(1.0)
        marks.append(time.perf_counter())
        optimiser.step()
        optimiser.zero_grad()
        marks.append(time.perf_counter())
        for name, a, b in zip(("collate", "forward", "backward", "clip", "update"), marks, marks[1:], strict=False):
            spent.setdefault(name, []).append(b - a)
        tokens.append(inputs["input_ids"].numel())
        rows.append(Collate(packed=False)([examples[i] for i in chosen])["input_ids"].numel())
        real.append(sum(len(examples[i].input_ids) for i in chosen))
    parts = {name: statistics.median(found[WARM:]) for name, found in spent.items()}
    inner = sum(weight.numel() for weight in copies.weights.values()) - model.get_input_embeddings().weight.numel()
    operations = 6 * inner * statistics.median(tokens)  # two a weight and token forward, four backward
    reached = operations / (parts["forward"] + parts["backward"]) / 1e12
    one, other = torch.randn(1024, 1536).bfloat16(), torch.randn(1536, 4608).bfloat16()
    times = []
    for _ in range(30):
        began = time.perf_counter()
        one @ other
        times.append(time.perf_counter() - began)
    peak = 2 * 1024 * 1536 * 4608 / statistics.median(times[5:]) / 1e12
    return (
        {name: round(1000 * value) for name, value in parts.items()},
        {"tflops_of_passes": round(reached, 2), "tflops_of_a_large_product": round(peak, 2)}
        | {"share_of_matmul_rate": round(reached / peak, 3)}
        | {
            "tokens_a_step_packed": round(statistics.mean(tokens)),
            "tokens_a_step_as_rows": round(statistics.mean(rows)),
        }
        | {"tokens_a_step_without_padding": round(statistics.mean(real))},
    )


if __name__ == "__main__":
    main()
