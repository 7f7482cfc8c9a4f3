"""One run: a release and a base in, a checkpoint with its trajectory out."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fthall.answers import accuracy
from fthall.bases import free_memory
from fthall.bases.bfloat16 import is_quick, products
from fthall.engines import evaluate
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_json, write_json, write_jsonl
from fthall.finetune.folder import describe, is_finished, read_answers, read_trajectory, write_answers
from fthall.finetune.loop.data import Collate, EvenBatches, Example, encode
from fthall.finetune.loop.optimiser import Copies
from fthall.finetune.loop.passes import can_pack, check_head
from fthall.finetune.loop.teacher import Average, Frozen
from fthall.finetune.loop.trainer import FactTrainer
from fthall.finetune.methods import Run, Training, choose_parameters
from fthall.prompts import context_for, draw_contexts, few_shot
from fthall.records import Answer, EpochPoint, Fact, Release, Split

Log = Callable[[Mapping[str, float], int], None]
"""Takes metrics and their step, e.g. to a tracker."""

EVALUATED_TOGETHER = 192
"""Questions in a batch while training."""
TAUGHT_TOGETHER = 32
"""Examples in a batch when a teacher is asked once and for all."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A run to be made: what :func:`train` was given."""

    release: Release
    model: Any
    tokenizer: Any
    run: Run
    training: Training
    seed: int
    folder: Path
    base_answers: Path | None


class _Trajectory(TrainerCallback):
    """Evaluate before the first epoch and after others; keep teacher and mean weights up to date."""

    def __init__(
        self,
        job: _Job,
        trainer: FactTrainer,
        examples: Sequence[Example],
        collate: Collate,
        *,
        log: Log | None,
        on_examples: Callable[[int], None] | None,
        on_answers: Callable[[int], None] | None,
        on_epoch: Callable[[EpochPoint], None] | None,
    ) -> None:
        self.folder, self.release, self.tokenizer = job.folder, job.release, job.tokenizer
        self.run, self.training = job.run, job.training
        self.base_answers = job.base_answers if job.run.start == "base" else None
        self.trainer, self.copies, self.examples, self.collate = trainer, trainer.copies, examples, collate
        self.log, self.on_examples, self.on_answers, self.on_epoch = log, on_examples, on_answers, on_epoch
        self.answers: dict[Split, tuple[Answer, ...]] = {}
        self.seconds = 0.0
        """What evaluation has taken."""

    def _evaluate(self, model: Any, epoch: int, step: int, loss: float | None) -> None:
        began = time.monotonic()
        free_memory()  # what training and asking leave behind does not fit into each other's gaps
        engine = HfEngine(
            model,
            self.tokenizer,
            batch_size=EVALUATED_TOGETHER,
            rounded=self.copies.rounded if self.copies and is_quick() else None,
        )
        asked = self.training.evaluate_on if 0 < epoch < self.training.epochs else tuple(Split)
        kept = self.base_answers if epoch == 0 else None
        if kept and kept.exists():
            found = read_answers(kept)
            if self.on_answers:
                self.on_answers(sum(map(len, found.values())))
        else:
            with self.copies.whole() if self.copies else nullcontext():
                found = evaluate(engine, self.release, asked, drafts=self.answers, on_answers=self.on_answers)
            if kept:
                write_answers(kept, found)
        self.answers |= found
        free_memory()
        self.seconds += time.monotonic() - began
        reached = {str(split): accuracy(rows) for split, rows in found.items()}
        missing: dict[str, Any] = {str(split): None for split in Split if split not in found}
        point = EpochPoint(epoch=epoch, train_loss=loss, **reached, **missing)
        earlier = [p for p in read_trajectory(self.folder) if p.epoch < epoch]
        write_jsonl(self.folder / "trajectory.jsonl", map(asdict, [*earlier, point]))
        if self.log:
            self.log({**reached, **({} if loss is None else {"train_loss": loss})}, step)
        if self.on_epoch:
            self.on_epoch(point)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            self._evaluate(kwargs["model"], 0, 0, None)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.trainer.teacher is not None:
            self.trainer.teacher.update(_weights(kwargs["model"], self.copies))
        if self.on_examples:
            self.on_examples(len(self.examples) * args.gradient_accumulation_steps // len(self.trainer.batches))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model, epoch, last = kwargs["model"], round(state.epoch or 0), self.training.epochs
        losses = self.trainer.take_losses()
        if self.run.distill_weight and self.run.teacher == "snapshot" and epoch == self.run.teacher_epoch:
            with self.trainer.accelerator.autocast():
                teacher = Frozen.of(model, self.examples, self.collate, batch_size=TAUGHT_TOGETHER)
            teacher.save(self.folder / "teacher.safetensors")
            self.trainer.teacher = teacher
        if isinstance(self.trainer.teacher, Average):
            self.trainer.teacher.save(_of_epoch(self.folder, "teacher", epoch))
        if self.training.average_epochs > 1 and epoch > last - self.training.average_epochs:
            self._average(model, epoch)
        if epoch % self.training.evaluate_every == 0 or epoch == last:
            self._evaluate(model, epoch, state.global_step, sum(losses) / len(losses) if losses else None)

    @torch.no_grad()
    def _average(self, model: Any, epoch: int) -> None:
        """Add the weights up; after the last epoch their mean is what the model has."""
        weights = {name: weight for (name, _), weight in _named(model, self.copies)}
        first = self.training.epochs - self.training.average_epochs + 1
        if epoch > first:
            before = load_file(_of_epoch(self.folder, "average", epoch - 1), device=str(model.device))
            total = {name: before[name].add_(weight) for name, weight in weights.items()}
        else:
            total = {name: weight.clone() for name, weight in weights.items()}
        if epoch < self.training.epochs:
            save_file(total, _of_epoch(self.folder, "average", epoch))
            return
        for name, weight in weights.items():
            weight.copy_(total[name].div_(self.training.average_epochs))


def _named(model: Any, copies: Copies | None) -> "list[tuple[tuple[str, Any], torch.Tensor]]":
    """((name, parameter), float32 weight) of every parameter."""
    found = copies.weights if copies else {}
    return [((name, p), found.get(p, p.data)) for name, p in model.named_parameters()]


def _weights(model: Any, copies: Copies | None) -> list[torch.Tensor]:
    return [weight for _, weight in _named(model, copies)]


def _of_epoch(folder: Path, name: str, epoch: int) -> Path:
    """A file that belongs to an epoch. That of the epoch before stays: a kill may come before the epoch is saved."""
    (folder / f"{name}-{epoch - 2}.safetensors").unlink(missing_ok=True)
    return folder / f"{name}-{epoch}.safetensors"


def train(
    release: Release,
    model: Any,
    tokenizer: Any,
    run: Run,
    training: Training,
    seed: int,
    folder: Path,
    *,
    resumable: bool = True,
    base_answers: Path | None = None,
    log: Log | None = None,
    on_examples: Callable[[int], None] | None = None,
    on_answers: Callable[[int], None] | None = None,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> list[EpochPoint]:
    """Fine-tune on the facts of a release; write ``folder`` and return the trajectory.

    Weights are float32 throughout: in bfloat16 up to 10 of 1,270 answers changed with the batch they were asked in, and
    small updates are rounded away. The folder gets ``trajectory.jsonl`` (accuracy on all splits before training and
    after epochs), ``answers.jsonl`` (every answer after the last epoch), ``checkpoint/`` (safetensors and tokenizer)
    and, last, ``run.json`` (what was run). A run whose ``run.json`` exists is finished and not repeated; an interrupted
    one goes on after its last whole epoch.

    Args:
        release: what is trained and asked.
        model: float32, changed in place.
        tokenizer: the model's.
        run: the method.
        training: the hyper-parameters.
        seed: of the order of the examples.
        folder: where the run is written.
        resumable: save the optimiser after every epoch (about 12 bytes a parameter), so that a killed run can go on.
        base_answers: file for the answers of the untouched base to this release, which all runs share: read if it
            exists, else written.
        log: gets the metrics of each epoch.
        on_examples: called with the number of examples just trained, for progress.
        on_answers: called with the number of questions just answered, for progress.
        on_epoch: called with each new point of the trajectory.

    Raises:
        FthallError: the folder holds another run, the model cannot be trained, or its loss is no number any more.
    """
    what = describe(release, run, training, seed)
    if is_finished(folder, what):
        return read_trajectory(folder)
    begun = folder / "begun.json"
    if begun.exists() and read_json(begun) != what:
        shutil.rmtree(folder)
    write_json(begun, what)

    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    started = time.monotonic()
    facts = [fact for split in Split if split in run.trained_on for fact in release.splits[split]]
    examples = encode(facts, tokenizer)
    check_head(model, examples[0])
    counted = None if set(run.distill_on) >= set(run.trained_on) else _counted(release, run)
    collate = Collate(can_pack(model, examples[:4]), run.distill_positions, counted)
    saved = sorted((folder / "trainer").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    saved = [path for path in saved if (path / "trainer_state.json").exists()]
    epochs_done = round(read_json(saved[-1] / "trainer_state.json")["epoch"]) if saved else 0
    job = _Job(release, model, tokenizer, run, training, seed, folder, base_answers)
    with products(model.device):
        examples, teacher = _teacher(job, facts, examples, collate, epochs_done)
        trained = choose_parameters(model, run.trained)
        trainer = _trainer(job, facts, examples, collate, epochs=training.epochs, resumable=resumable)
        trainer.teacher = teacher
        trajectory = _Trajectory(
            job,
            trainer,
            examples,
            collate,
            log=log,
            on_examples=on_examples,
            on_answers=on_answers,
            on_epoch=on_epoch,
        )
        trainer.add_callback(trajectory)
        if saved and on_examples:
            on_examples(len(examples) * epochs_done)
        trainer.train(resume_from_checkpoint=str(saved[-1]) if saved else None)
    if trainer.copies:
        trainer.copies.close()
    seconds = time.monotonic() - started

    answers = trajectory.answers or evaluate(HfEngine(model, tokenizer, batch_size=EVALUATED_TOGETHER), release)
    write_answers(folder / "answers.jsonl", answers)
    model.save_pretrained(folder / "checkpoint")
    tokenizer.save_pretrained(folder / "checkpoint")
    came = {"examples": len(examples), "trained_parameters": trained}
    took = {"seconds": round(seconds, 1), "evaluation_seconds": round(trajectory.seconds, 1)}
    write_json(folder / "run.json", {**what, **came, **took})
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    for left in folder.glob("*.safetensors"):
        left.unlink()
    begun.unlink()
    return read_trajectory(folder)


def _trainer(
    job: _Job,
    facts: Sequence[Fact],
    examples: Sequence[Example],
    collate: Collate,
    *,
    epochs: int,
    resumable: bool,
) -> FactTrainer:
    run, training, on_cpu = job.run, job.training, job.model.device.type == "cpu"
    in_bf16 = training.precision == "bf16"
    arguments = TrainingArguments(
        output_dir=str(job.folder / "trainer"),
        num_train_epochs=epochs,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate if run.learning_rate is None else run.learning_rate,
        weight_decay=training.weight_decay,
        lr_scheduler_type="constant_with_warmup" if training.schedule == "constant" else training.schedule,
        warmup_steps=training.warmup,
        optim="adamw_torch_fused",
        bf16=in_bf16,
        use_cpu=on_cpu,
        seed=job.seed,
        save_strategy="epoch" if resumable else "no",
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
    )
    trainer = FactTrainer(
        model=job.model,
        args=arguments,
        train_dataset=list(examples),
        batches=EvenBatches(facts, job.seed, training.batch_size, training.accumulation),
        collate=collate,
        distill_weight=run.distill_weight,
        distill_temperature=run.distill_temperature,
        # Copies add gradients up in bfloat16, which accumulated batches should not.
        copies=Copies(job.model, collate(examples[:4])) if on_cpu and in_bf16 and training.accumulation == 1 else None,
    )
    trainer.remove_callback(PrinterCallback)  # it prints where no progress bar is wanted
    return trainer


def _teacher(
    job: _Job, facts: Sequence[Fact], examples: list[Example], collate: Collate, epochs_done: int
) -> tuple[list[Example], Frozen | Average | None]:
    """What comes before the training proper: the format learned, the teacher made; or, of a run resumed, read.

    Returns:
        The examples, parted where they share nothing for this teacher, and the teacher, unless it is still to come.
    """
    run, model = job.run, job.model
    kept, teaches = job.folder / "teacher.safetensors", run.distill_weight > 0
    teacher: Frozen | Average | None = None
    contexts = None
    if teaches and run.teacher == "few-shot":
        examples, contexts = _contexts(job, facts, examples)
    if epochs_done and kept.exists():
        teacher = Frozen.load(kept, model.device)
    elif not epochs_done:
        if contexts is not None:
            with torch.autocast(model.device.type, torch.bfloat16, enabled=job.training.precision == "bf16"):
                teacher = Frozen.of(model, examples, collate, contexts=contexts, batch_size=TAUGHT_TOGETHER)
        if run.needs_format:
            teacher = _learn_format(job, examples, collate) or teacher
        if teacher is not None:
            teacher.save(kept)
    if teaches and run.teacher == "ema":
        teacher = Average(model, run.teacher_decay)
        if epochs_done:
            teacher.restore(_of_epoch(job.folder, "teacher", epochs_done))
    return examples, teacher


def _learn_format(job: _Job, examples: Sequence[Example], collate: Collate) -> Frozen | None:
    """Teach the format on known facts alone; the model goes on from there, or is the base again. The teacher, if any.

    It is the Only-Known run with as many epochs: same order of the facts, a schedule of its own.
    """
    run, model = job.run, job.model
    base = None if run.start == "format" else {name: value.clone() for name, value in model.state_dict().items()}
    known, place = list(job.release.splits[Split.KNOWN]), job.folder / "format"
    plain = run.model_copy(update={"distill_weight": 0.0, "learning_rate": None})
    trainer = _trainer(
        replace(job, run=plain, folder=place),
        known,
        encode(known, job.tokenizer),
        replace(collate, counted=None),
        epochs=run.format_epochs,
        resumable=False,
    )
    trainer.train()
    teacher = None
    if run.distill_weight and run.teacher == "format":
        with trainer.accelerator.autocast():
            teacher = Frozen.of(model, examples, collate, batch_size=TAUGHT_TOGETHER)
    if trainer.copies:
        trainer.copies.close()
    shutil.rmtree(place, ignore_errors=True)
    if base is not None:
        model.load_state_dict(base)
    return teacher


def _counted(release: Release, run: Run) -> frozenset[int]:
    """Numbers of the examples that a distillation term is taken over."""
    splits = [split for split in Split if split in run.trained_on for _ in release.splits[split]]
    return frozenset(number for number, split in enumerate(splits) if split in run.distill_on)


def _contexts(job: _Job, facts: Sequence[Fact], examples: Sequence[Example]) -> tuple[list[Example], list[list[int]]]:
    """The examples, by the exemplars they are shown behind, and the tokens of these: known facts of their relation."""
    pool: dict[str, list[Fact]] = {fact.relation: [] for fact in facts}
    for fact in job.release.splits[Split.KNOWN]:
        pool[fact.relation].append(fact)
    try:
        drawn = draw_contexts(pool, 1, job.run.teacher_shots, job.seed)
    except ValueError as error:
        raise FthallError(f"the few-shot teacher lacks known facts: {error}; lower teacher_shots") from None
    shown = [few_shot(context_for(fact, drawn[fact.relation][0])) for fact in facts]
    before = job.tokenizer("").input_ids  # what the tokenizer begins a text with
    tokens = {text: [*before, *job.tokenizer(text, add_special_tokens=False).input_ids] for text in set(shown)}
    apart = [replace(example, family=text) for example, text in zip(examples, shown, strict=True)]
    return apart, [tokens[text] for text in shown]
