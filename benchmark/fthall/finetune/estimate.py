"""What a training will take, before it is begun: the same steps on two models of that shape with fewer layers.

A step's time and its peak of memory grow by the same with every layer, so two short measurements on the machine that
is to train give both for any depth, with whatever the machine, the optimiser and the precision bring along. No weights
are needed: they are random. How far off it is stands in ``leaderboard/studies/budget.json``.
"""

import copy
import logging
import multiprocessing
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fthall.finetune.recipe import Run, Training
from fthall.records import Release, Split

STEPS, UNCOUNTED = 9, 3
"""Of each measurement; the first are not counted: memory is taken then, and kernels are made."""
LARGE, STEPS_OF_LARGE = 500_000_000, 5
"""Models of so many parameters take fewer steps: theirs are long, and vary little."""
APART = 400_000_000
"""Parameters, about, by which the two models differ: enough to stand out from what else goes on in a process."""


@dataclass(frozen=True, slots=True)
class Took:
    """What steps took on this machine."""

    seconds: float
    """A step, median."""
    peak: float
    """Of memory, GiB: of the process, or of what is allocated on the GPU."""
    parameters: int


def measure(
    config: Any, layers: int, release: Release, tokenizer: Any, run: Run, training: Training, device: str
) -> Took:
    """Train some steps on random weights, in a process of its own, whose peak the operating system tells.

    Args:
        config: of transformers.
        layers: instead of the config's.
        release: whose facts are trained on.
        tokenizer: of the model, or one with a smaller vocabulary.
        run: the method; of its blocks only LoRA is looked at.
        training: the hyper-parameters.
        device: a torch device.

    Raises:
        concurrent.futures.process.BrokenProcessPool: memory does not suffice, and the system ended it.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_steps, config, layers, release, tokenizer, run, training, device).result()


def estimate(
    config: Any, release: Release, tokenizer: Any, run: Run, training: Training, device: str
) -> tuple[Took, dict[int, Took]]:
    """What a step of a model takes, and the measurements it comes from, by layers. Arguments as of :func:`measure`."""
    layers: int = config.num_hidden_layers
    apart = max(1, min(layers // 2, round(APART / _layer(config))))
    fewer = (1, 1 + apart)
    one, two = (measure(config, count, release, tokenizer, run, training, device) for count in fewer)
    more = (layers - 1) / apart
    whole = Took(
        seconds=one.seconds + more * (two.seconds - one.seconds),
        peak=one.peak + more * (two.peak - one.peak),
        parameters=one.parameters + round(more * (two.parameters - one.parameters)),
    )
    return whole, dict(zip(fewer, (one, two), strict=True))


def _layer(config: Any) -> int:
    """Parameters of a layer."""
    return _parameters(_with(config, 2)) - _parameters(_with(config, 1))


def _parameters(config: Any) -> int:
    """Parameters of a model."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        count: int = AutoModelForCausalLM.from_config(config).num_parameters()
    return count


def _with(config: Any, layers: int) -> Any:
    """The same shape with another number of layers."""
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    return config


def steps(release: Release, run: Run, training: Training) -> int:
    """Optimiser steps of a run."""
    facts, known = run.examples(release), len(release.splits[Split.KNOWN]) * run.needs_format
    together = training.batch_size * training.accumulation
    return training.epochs * -(-facts // together) + run.format_epochs * -(-known // together)


def _steps(
    config: Any, layers: int, release: Release, tokenizer: Any, run: Run, training: Training, device: str
) -> Took:
    import torch
    from transformers import AutoModelForCausalLM, TrainerCallback

    from fthall.bases.bfloat16 import products
    from fthall.bases.machine import keep_memory
    from fthall.finetune.job import Job
    from fthall.finetune.loop.data import Collate, completions, encode
    from fthall.finetune.loop.passes import can_pack
    from fthall.finetune.methods.freeze import choose_parameters

    logging.getLogger("transformers").setLevel(logging.ERROR)
    keep_memory(_parameters(config))  # as the whole model would
    on_cpu = device == "cpu"
    chosen = {"attn_implementation": "eager"} if on_cpu else {}
    model = AutoModelForCausalLM.from_config(_with(config, layers), dtype=torch.float32, **chosen).to(device)
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if not on_cpu:
                torch.cuda.synchronize()
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        once = training.model_copy(update={"epochs": 1})
        job = Job(release, model, tokenizer, run, once, 0, Path(folder))
        facts = [fact for split in run.trained_on for fact in release.splits[split]]
        large = model.num_parameters() > LARGE
        count = (STEPS_OF_LARGE if large else STEPS) * training.batch_size * training.accumulation
        facts = (facts * -(-count // len(facts)))[:count]
        job.completions = completions(facts, str(Split.KNOWN))
        job.examples = encode(job.completions, tokenizer)
        job.collate = Collate(can_pack(model, job.examples), multiple=job.multiple)
        if run.lora:
            run.lora.part(job).begin(0)
        else:
            choose_parameters(model, run.trained)  # of all layers: where some are frozen that is an upper bound
        trainer = job.trainer(resumable=False, teaching=None)
        trainer.add_callback(Clock())
        with products(model.device):
            trainer.train()
    took = statistics.median(b - a for a, b in zip(ends[UNCOUNTED - 1 :], ends[UNCOUNTED:], strict=False))
    peak = _peak() if on_cpu else torch.cuda.max_memory_allocated() / 2**30
    return Took(took, peak, sum(parameter.numel() for parameter in model.parameters()))


def _peak() -> float:
    import resource

    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
