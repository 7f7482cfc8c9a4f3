"""Forgetting, live, in anyone's own training: a callback for transformers' Trainer, and so for TRL's.

::

    from fthall.measure.live import ForgettingCallback

    ForgettingCallback("geonames/smollm2-135m", every_steps=50).attach(trainer)
    trainer.train()

What it asks are facts the *base model of the track* knows and does not know. On another model the accuracies mean less,
and what is lost against the start point still means what it says.
"""

import copy
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fthall.answers import judge
from fthall.bases.special import settle
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_json, write_json
from fthall.knowledge import splits
from fthall.measure import stats
from fthall.measure.stats import Bools
from fthall.prompts import ask, context_for, few_shot
from fthall.records import Fact, Outcome, Release, Split

DEFAULT_SIZES = {Split.KNOWN: 50, Split.UNKNOWN: 50, Split.HELD: 100}
START = "fthall_start.json"
"""File in the Trainer's output folder with what the model answered before training, for resumed runs."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The facts asked at every evaluation, with the exemplars they are asked behind."""

    facts: Mapping[Split, tuple[Fact, ...]]
    exemplars: Mapping[str, tuple[Fact, ...]]
    """Per relation; from ``held_val``, so that no exemplar is asked or trained on."""


def draw(release: Release, sizes: Mapping[Split, int], shots: int, seed: int) -> Sample:
    """A fixed subsample of a release: the same facts for the same seed, on any machine.

    Raises:
        FthallError: a relation has fewer than ``shots`` + 1 facts in ``held_val``.
    """

    def first(facts: Sequence[Fact], size: int) -> tuple[Fact, ...]:
        order = sorted(facts, key=lambda fact: hashlib.sha256(f"{seed}/{fact.id}".encode()).digest())
        return tuple(order[:size])

    facts = {split: first(release.splits[split], size) for split, size in sizes.items() if size}
    relations = sorted({fact.relation for rows in facts.values() for fact in rows})
    exemplars = {
        relation: first([fact for fact in release.splits[Split.HELD_VAL] if fact.relation == relation], shots + 1)
        for relation in relations
    }
    if short := [relation for relation, drawn in exemplars.items() if len(drawn) <= shots]:
        raise FthallError(f"{release.track}: relation {short[0]!r} has too few held_val facts for {shots} exemplars")
    return Sample(facts, exemplars)


def answers(engine: HfEngine, sample: Sample) -> dict[Split, Bools]:
    """Which of the sample's facts the model answers correctly, in its order: [facts] a split."""
    found = {split: np.zeros(len(facts), dtype=bool) for split, facts in sample.facts.items()}
    for relation, drawn in sample.exemplars.items():
        asked = [
            (split, place, fact)
            for split, facts in sample.facts.items()
            for place, fact in enumerate(facts)
            if fact.relation == relation
        ]
        said = engine.greedy([few_shot(context_for(fact, drawn)) + ask(fact.question) for _, _, fact in asked])
        for (split, place, fact), text in zip(asked, said, strict=True):
            found[split][place] = judge(text, fact.answers) is Outcome.CORRECT
    return found


@torch.no_grad()
def subject_states(model: Any, tokenizer: Any, facts: Sequence[Fact], *, batch_size: int = 64) -> torch.Tensor:
    """Hidden state of each subject's last token, half way up the layers: [facts, width], float32, on the CPU.

    What follows the subject in the question cannot change this state, so the question is cut after it. A question that
    does not hold its subject is taken whole.
    """
    texts = []
    for fact in facts:
        asked = ask(fact.question)
        end = asked.rfind(fact.subject)
        texts.append(asked if end < 0 else asked[: end + len(fact.subject)])
    rows = tokenizer(texts).input_ids
    was_training = model.training
    model.eval()
    states = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        width = max(map(len, batch))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in batch], device=model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=model.device)
        hidden = model.base_model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        middle = hidden[len(hidden) // 2]
        last = torch.tensor([len(row) - 1 for row in batch], device=middle.device)
        states.append(middle[torch.arange(len(batch), device=middle.device), last].float().cpu())
    model.train(was_training)
    return torch.cat(states)


class ForgettingCallback(TrainerCallback):
    """Ask a fixed subsample of a track every few steps; log accuracies, forgetting and drift from the start point.

    Logged through the Trainer, so to whatever it reports to: ``fthall/known``, ``fthall/unknown``, ``fthall/held``
    (percent), ``fthall/forgetting`` with ``…_low`` and ``…_high`` (held accuracy at the start minus now, points, with
    its 95 % interval over subjects), ``fthall/drift`` (mean cosine distance of the held subjects' hidden states half
    way up, times 100), ``fthall/seconds`` that the evaluation took and ``fthall/share_of_time``, what all evaluations
    so far have taken of the time since training began, percent.

    Questions are asked behind a few exemplars, so that a model need not be trained on the format to be asked.

    Args:
        track: name of a shipped track, or a release's folder.
        every_steps: optimiser steps between evaluations; there is always one before training and one at its end.
        sizes: how many facts of each split are asked.
        shots: exemplars.
        stop_at: stop training once forgetting exceeds this many points.
        batch_size: questions together.
        seed: of the subsample.

    Raises:
        FthallError: unknown track; at the start of training, if :meth:`attach` was not called or the model is sharded.
    """

    def __init__(
        self,
        track: str = "geonames/smollm2-135m",
        *,
        every_steps: int = 100,
        sizes: Mapping[Split, int] | None = None,
        shots: int = 3,
        stop_at: float | None = None,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        if every_steps < 1:
            raise FthallError(f"every_steps is {every_steps}; it must be at least 1")
        release = splits.load(track)
        self.sample = draw(release, DEFAULT_SIZES if sizes is None else sizes, shots, seed)
        held = self.sample.facts.get(Split.HELD, ())
        if not held:
            raise FthallError("sizes must ask some held facts: forgetting is counted on them")
        self.every_steps, self.stop_at, self.batch_size = every_steps, stop_at, batch_size
        self.identity = {"release": release.digest, "shots": shots, "seed": seed}
        self.stopped = False
        asked = release.manifest["base"].get("special_tokens")
        self._add_bos = None if asked is None else bool(asked)
        self._resamples = stats.resample([fact.subject for fact in held], [fact.relation for fact in held])
        self._trainer: Trainer | None = None
        self._tokenizer: Any = None
        self._start: Bools | None = None
        self._start_states: torch.Tensor | None = None
        self._evaluated_at = -1
        self._began = 0.0
        self._spent = 0.0

    def attach(self, trainer: Trainer) -> "ForgettingCallback":
        """Watch this trainer: adds itself to its callbacks, and keeps it for its log."""
        trainer.add_callback(self)
        self._trainer = trainer
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the start point."""
        if self._trainer is None:
            raise FthallError("ForgettingCallback cannot log: type ForgettingCallback(…).attach(trainer)")
        if self._trainer.is_fsdp_enabled or getattr(self._trainer, "is_deepspeed_enabled", False):
            raise FthallError("ForgettingCallback cannot ask a sharded model; evaluate its checkpoints instead")
        tokenizer = kwargs.get("processing_class")
        if tokenizer is None:
            raise FthallError("ForgettingCallback needs the tokenizer: give the Trainer processing_class=tokenizer")
        own = copy.deepcopy(getattr(tokenizer, "tokenizer", tokenizer))  # what it adds to texts is settled for us alone
        self._tokenizer = settle(own, add_bos=self._add_bos, name="processing_class")
        self._began, self._spent = time.monotonic(), 0.0
        self._evaluate(kwargs["model"], Path(args.output_dir), state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate every few steps."""
        if state.global_step % self.every_steps == 0:
            self._evaluate(kwargs["model"], Path(args.output_dir), state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate where training ended."""
        if self._evaluated_at != state.global_step:
            self._evaluate(kwargs["model"], Path(args.output_dir), state, control)

    def _evaluate(self, model: Any, folder: Path, state: TrainerState, control: TrainerControl) -> None:
        assert self._trainer is not None
        started = time.monotonic()
        model = self._trainer.accelerator.unwrap_model(model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT: its adapters stay in it
        found = answers(HfEngine(model, self._tokenizer, batch_size=self.batch_size), self.sample)
        held = self.sample.facts[Split.HELD]
        states = subject_states(model, self._tokenizer, held, batch_size=self.batch_size)
        if self._start is None:
            self._remember(folder, state, found[Split.HELD], states)
        assert self._start is not None
        assert self._start_states is not None
        lost = self._start.astype(np.int64) - found[Split.HELD]
        low, high = self._resamples.interval(lost, extremes=(-1.0, 1.0))
        forgetting = 100 * float(lost.mean())
        drift = 1 - torch.nn.functional.cosine_similarity(self._start_states, states, dim=-1)
        logs = {f"fthall/{split}": 100 * float(right.mean()) for split, right in found.items()}
        logs |= {
            "fthall/forgetting": forgetting,
            "fthall/forgetting_low": 100 * float(low),
            "fthall/forgetting_high": 100 * float(high),
            "fthall/drift": 100 * float(drift.mean()),
        }
        now = time.monotonic()
        self._spent += now - started
        logs |= {
            "fthall/seconds": now - started,
            "fthall/share_of_time": 100 * self._spent / max(now - self._began, self._spent),
        }
        self._evaluated_at = state.global_step
        Trainer.log(self._trainer, logs)  # not a subclass's: TRL's would flush its running averages with it
        if self.stop_at is not None and forgetting > self.stop_at:
            self.stopped = True
            control.should_training_stop = True

    def _remember(self, folder: Path, state: TrainerState, right: Bools, states: torch.Tensor) -> None:
        """The start point: from the file of the run that is resumed, else from now."""
        path = folder / START
        if state.global_step > 0 and path.exists():
            kept = read_json(path)
            if {key: kept.get(key) for key in self.identity} == self.identity:
                self._start = np.array(kept["right"], dtype=bool)
                self._start_states = torch.tensor(kept["states"])
                return
        self._start, self._start_states = right, states
        if state.is_world_process_zero:
            rounded = [[round(value, 5) for value in row] for row in states.tolist()]
            write_json(path, {**self.identity, "right": right.tolist(), "states": rounded})
