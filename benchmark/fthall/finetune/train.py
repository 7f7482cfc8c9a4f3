"""One run: a release and a base in, a checkpoint with its trajectory out."""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fthall.answers import accuracy
from fthall.bases import hardware, process, processes, save, spreads_weights, trim_memory
from fthall.bases.bfloat16 import is_quick, products
from fthall.bases.spread import gathered, gathering, spread, taken_over
from fthall.engines import evaluate
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_json, write_json, write_jsonl
from fthall.finetune.folder import add_outcomes, describe, is_finished, read_answers, read_trajectory, write_answers
from fthall.finetune.job import Job, meet
from fthall.finetune.loop.data import Collate, completions, encode
from fthall.finetune.loop.optimiser import Copies
from fthall.finetune.loop.passes import can_pack, check_head
from fthall.finetune.loop.trainer import FactTrainer
from fthall.finetune.methods import Part
from fthall.finetune.methods.freeze import choose_parameters
from fthall.finetune.methods.interpolate import interpolate, read_weights
from fthall.finetune.methods.lora import merged
from fthall.finetune.recipe import Run, Training
from fthall.finetune.tracking import Log
from fthall.records import Answer, EpochPoint, Release, Split


class _Evaluation:
    """Asks the model as it is, and keeps the trajectory."""

    def __init__(
        self,
        job: Job,
        *,
        log: Log | None,
        on_answers: Callable[[int], None] | None,
        on_epoch: Callable[[EpochPoint], None] | None,
    ) -> None:
        self.job = job
        # Where training starts from something else, that is what stands at epoch 0.
        asked = job.shared if job.run.start == "base" else None
        self.base_answers = asked / f"base-{job.release.digest[:12]}.jsonl" if asked else None
        self.log, self.on_answers, self.on_epoch = log, on_answers, on_epoch
        self.answers: dict[Split, tuple[Answer, ...]] = {}
        self.asked_tuned = False
        self.seconds = 0.0
        """What evaluation has taken."""

    def splits(self, epoch: int) -> tuple[Split, ...]:
        """What is asked after an epoch that is not the last."""
        if not epoch:
            return tuple(Split)
        stopping = {Split.HELD_VAL} if self.job.run.early_stop else set()
        return tuple(split for split in Split if split in {*self.job.training.evaluate_on, *stopping})

    def ask(
        self, epoch: int, step: int, loss: float | None, copies: Copies | None, asked: Sequence[Split]
    ) -> EpochPoint:
        """A point of the trajectory. Later ones, if any, are dropped."""
        job, began = self.job, time.monotonic()
        trim_memory()  # what training and asking leave behind does not fit into each other's gaps
        kept = self.base_answers if epoch == 0 else None
        if kept and kept.exists():
            found = read_answers(kept)
            if self.on_answers:
                self.on_answers(sum(map(len, found.values())))
        else:
            rounded = copies.rounded if copies and is_quick() else None
            engine = HfEngine(job.model, job.tokenizer, batch_size=job.together, rounded=rounded)
            whole: AbstractContextManager[None] = copies.whole() if copies else nullcontext()
            # What a base says that has not learned the format is mostly not what is said next; the right answer is.
            drafts = self.answers if self.asked_tuned else {}
            with whole, gathering(job.model):
                found = evaluate(engine, job.release, asked, drafts=drafts, on_answers=self.on_answers)
            if kept:
                write_answers(kept, found)
        self.answers |= found
        self.asked_tuned = epoch > 0 or job.run.start == "format"
        trim_memory()
        self.seconds += time.monotonic() - began
        reached = {str(split): accuracy(rows) for split, rows in found.items()}
        missing: dict[str, Any] = {str(split): None for split in Split if split not in found}
        point = EpochPoint(epoch=epoch, train_loss=loss, **reached, **missing)
        earlier = [p for p in read_trajectory(job.folder) if p.epoch < epoch]
        write_jsonl(job.folder / "trajectory.jsonl", map(asdict, [*earlier, point]))
        add_outcomes(job.folder, epoch, found)
        if self.log:
            self.log({**reached, **({} if loss is None else {"train_loss": loss})}, step)
        if self.on_epoch:
            self.on_epoch(point)
        return point


class _Moments(TrainerCallback):
    """Tells the parts of a run, and its evaluation, when their moment has come."""

    def __init__(
        self,
        trainer: FactTrainer,
        parts: Sequence[Part],
        evaluation: _Evaluation,
        on_examples: Callable[[int], None] | None,
        keep_epochs: bool,
    ) -> None:
        self.trainer, self.parts, self.evaluation, self.on_examples = trainer, parts, evaluation, on_examples
        self.job, self.keep_epochs = evaluation.job, keep_epochs

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            self.evaluation.ask(0, 0, None, self.trainer.copies, self.evaluation.splits(0))

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        rate = float(kwargs["optimizer"].param_groups[0]["lr"])
        for part in self.parts:
            part.after_step(rate)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.on_examples:
            examples = len(self.job.examples) * args.gradient_accumulation_steps * processes()
            self.on_examples(examples // len(self.trainer.batches))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        epoch, training = round(state.epoch or 0), self.job.training
        loss = self.trainer.take_loss()
        if loss is not None:
            state.log_history.append({"epoch": float(epoch), "mean_loss": loss})  # saved with the weights
        for part in self.parts:
            part.after_epoch(epoch)
        if epoch > training.epochs - training.average_epochs and epoch < training.epochs:
            self._add_up(epoch)
        if self.keep_epochs and not process():
            self._keep(epoch)
        last = epoch == training.epochs and not self.job.run.early_stop  # that evaluation is of the result
        every = 1 if self.job.run.early_stop else training.evaluate_every
        if epoch % every == 0 and not last:
            asked = self.evaluation.splits(epoch)
            point = self.evaluation.ask(epoch, state.global_step, loss, self.trainer.copies, asked)
            for part in self.parts:
                part.evaluated(point)
            control.should_training_stop |= any(part.stops() for part in self.parts)

    def _keep(self, epoch: int) -> None:
        """The checkpoint as it is, in a folder of its own: whole or not there."""
        copies, model, kept = self.trainer.copies, self.job.model, self.job.place / "epochs" / str(epoch)
        written = kept.with_name(f".{epoch}")
        for left in (written, kept):
            shutil.rmtree(left, ignore_errors=True)
        with copies.whole() if copies else nullcontext():
            save(model, self.job.tokenizer, written, merged(model) if self.job.run.lora else None)
        written.rename(kept)

    @torch.no_grad()
    def _add_up(self, epoch: int) -> None:
        """The sum of the weights after the last epochs, up to this one."""
        total, before = self.trainer.weights(), self.job.folder / f"average-{epoch - 1}.safetensors"
        if epoch > self.job.training.epochs - self.job.training.average_epochs + 1:
            summed = load_file(before, device=str(self.job.model.device))
            total = {name: summed[name].add_(weight) for name, weight in total.items()}
        save_file({name: value.contiguous() for name, value in total.items()}, self.job.of_epoch("average", epoch))


@torch.no_grad()
def _average(job: Job) -> None:
    """The model gets the mean of its weights after the last epochs."""
    if job.training.average_epochs == 1:
        return
    summed = load_file(job.folder / f"average-{job.training.epochs - 1}.safetensors", device=str(job.model.device))
    for name, parameter in job.model.named_parameters():
        parameter.data.copy_(summed[name].add_(parameter.data).div_(job.training.average_epochs))


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
    keep_epochs: bool = False,
    shared: Path | None = None,
    log: Log | None = None,
    on_examples: Callable[[int], None] | None = None,
    on_answers: Callable[[int], None] | None = None,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> list[EpochPoint]:
    """Fine-tune on the facts of a release; write ``folder`` and return the trajectory.

    Weights are float32 throughout: in bfloat16 up to 10 of 1,270 answers changed with the batch they were asked in, and
    small updates are rounded away. The folder gets ``trajectory.jsonl`` (accuracy on all splits before training and
    after epochs), ``outcomes.jsonl`` (what became of each question there), ``answers.jsonl`` (every answer after the
    last epoch), ``checkpoint/`` (safetensors and tokenizer) and, last, ``run.json`` (what was run). A run whose
    ``run.json`` exists is finished and not repeated; an interrupted one goes on after its last whole epoch.

    Args:
        release: what is trained and asked.
        model: float32, changed in place.
        tokenizer: the model's.
        run: the method.
        training: the hyper-parameters.
        seed: of the order of the examples.
        folder: where the run is written.
        resumable: save the optimiser after every epoch (about 12 bytes a parameter), so that a killed run can go on.
        keep_epochs: write the checkpoint after every epoch to ``epochs/<n>/``, too (4 bytes a parameter each).
        shared: folder for what several runs ask the untouched base: its answers to the release, and to fresh questions
            for replay. What stands there is not asked again.
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
    if told := spreads_weights():
        _check_spread(told, run, training, resumable=resumable, keep_epochs=keep_epochs)
    spread = told is not None and processes() > 1
    # With several processes all ask, so that none waits for long, and the first alone keeps and tells.
    job = Job(release, model, tokenizer, run, training, seed, folder, spread, None if process() else shared)
    if process():
        meet(job)  # what is not to be gone on from is gone
    begun = job.folder / "begun.json"
    if begun.exists() and read_json(begun) != what:
        shutil.rmtree(job.folder)
    write_json(begun, what)
    if not process():
        meet(job)

    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    started = time.monotonic()
    if process():
        log = on_answers = on_examples = on_epoch = None
    evaluation = _Evaluation(job, log=log, on_answers=on_answers, on_epoch=on_epoch)
    with products(model.device), taken_over():
        if run.interpolate and run.interpolate.of:
            trained, step, loss, epoch = _interpolated(job, evaluation)
        else:
            trained, step, loss, epoch = _trained(job, evaluation, resumable, keep_epochs, on_examples)
        # The result may have been put together since: its own copies, if they make asking quicker.
        copies = Copies(model) if job.on_cpu and training.precision == "bf16" and is_quick() else None
        evaluation.ask(epoch, step, loss, copies, tuple(Split))
        if copies:
            copies.close()
    seconds = time.monotonic() - started

    state = gathered(model)
    trajectory = read_trajectory(job.folder)
    if process():
        meet(job)
        shutil.rmtree(job.folder)
        return trajectory
    write_answers(folder / "answers.jsonl", evaluation.answers)
    save(model, tokenizer, folder / "checkpoint", state)
    meet(job)
    came = {"examples": len(job.examples), "trained_parameters": trained}
    took = {"seconds": round(seconds, 1), "evaluation_seconds": round(evaluation.seconds, 1)}
    write_json(folder / "run.json", {**what, **came, **took, "hardware": hardware()})
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    for left in folder.glob("*.safetensors"):
        left.unlink()
    begun.unlink()
    return trajectory


def _check_spread(told: str, run: Run, training: Training, *, resumable: bool, keep_epochs: bool) -> None:
    """Whether this run can be made with its weights spread over processes.

    Raises:
        FthallError: it cannot.
    """
    if told != "FSDP":
        raise FthallError(
            f"accelerate launch was told {told}; weights can be spread over processes by FSDP (--use_fsdp), or leave "
            "that out, and set optimiser: adafactor and checkpointing: true where memory is short"
        )
    asked = {
        "optimiser: adafactor": training.optimiser == "adafactor",
        "average_epochs": training.average_epochs > 1,
        "--keep-epochs": keep_epochs,
        "going on after a kill (type --not-resumable)": resumable,
        **{name: name != "distill" for name in run.blocks},
        "freezing from a learned format": run.needs_format and run.frozen,
        "teacher but format": run.teaching is not None and run.teaching.teacher != "format",
    }
    if lacking := next((name for name, wanted in asked.items() if wanted), None):
        raise FthallError(
            f"{run.entry}: with weights spread over processes there is no {lacking} yet, but sft, freeze and "
            "self-distill with teacher: format; without --use_fsdp each process has a whole model, and all is done"
        )


def _spread(job: Job) -> None:
    """Spread the weights, if they are to be. What is frozen is so before: it is settled then what gets gradients."""
    if job.spread:
        choose_parameters(job.model, job.run.trained, job.run.layers)
        spread(job.model)


def _trained(
    job: Job,
    evaluation: _Evaluation,
    resumable: bool,
    keep_epochs: bool,
    on_examples: Callable[[int], None] | None,
) -> tuple[int, int, float | None, int]:
    """Train, or go on training.

    Returns:
        Numbers trained, steps, the last epoch's mean loss, and the epoch the result is of.
    """
    run, model, training = job.run, job.model, job.training
    teaching = run.teaching
    blocks = {**run.blocks, **({"distill": teaching} if teaching else {})}
    parts = [block.part(job) for name, block in blocks.items()]
    given = [
        c for split in Split if split in run.trained_on for c in completions(job.release.splits[split], str(split))
    ]
    for part in parts:
        given = part.completions(given)
    job.completions, job.examples = given, encode(given, job.tokenizer)
    check_head(model, job.examples[0])
    positions, counted = (teaching.positions, teaching.counted(given)) if teaching else ("all", None)
    ends = teaching is None or teaching.teacher != "few-shot"
    job.collate = Collate(can_pack(model, job.examples), positions, counted, job.multiple, ends)
    saved = sorted((job.place / "trainer").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    saved = [path for path in saved if (path / "trainer_state.json").exists()]
    epochs_done = round(read_json(saved[-1] / "trainer_state.json")["epoch"]) if saved else 0

    _spread(job)
    for part in parts:
        part.before(epochs_done)
    if run.needs_format:
        _learn_format(job, epochs_done, resumable)
    if run.lora is None:
        trained = choose_parameters(model, run.trained, run.layers)
    for part in parts:
        part.begin(epochs_done)
    if run.lora:
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    trainer = job.trainer(resumable=resumable, teaching=teaching)
    for part in parts:
        part.attach(trainer)
    trainer.add_callback(_Moments(trainer, parts, evaluation, on_examples, keep_epochs))
    if saved and on_examples:
        on_examples(len(job.examples) * epochs_done)
    if saved and any(part.stops() for part in parts):  # it had stopped when it was killed
        trainer.state = TrainerState.load_from_json(str(saved[-1] / "trainer_state.json"))
    else:
        trainer.train(resume_from_checkpoint=str(saved[-1]) if saved else None)
    if trainer.copies:
        trainer.copies.close()
    _average(job)
    epoch = training.epochs
    for part in reversed(parts):
        of = part.finish()
        epoch = epoch if of is None else of
    losses = {entry["epoch"]: entry["mean_loss"] for entry in trainer.state.log_history if "mean_loss" in entry}
    return trained, trainer.state.global_step, losses.get(float(epoch)), epoch


def _learn_format(job: Job, epochs_done: int, resumable: bool) -> None:
    """The format is learned, or after a kill read: what is trained comes back later, what is frozen only so."""
    run, model, began = job.run, job.model, job.folder / "format.safetensors"
    if not epochs_done:
        job.learn_format(teach=run.teaching is not None and run.teaching.teacher == "format")
        if run.start == "format" and resumable:
            save_file({name: value.detach().contiguous() for name, value in model.named_parameters()}, began)
    elif run.start == "format":
        model.load_state_dict(load_file(began, device=str(model.device)), strict=False)  # tied weights are saved once


def _interpolated(job: Job, evaluation: _Evaluation) -> tuple[int, int, float | None, int]:
    """Nothing is trained: the base, and then the weights between it and another run's."""
    how = job.run.interpolate
    assert how is not None
    assert how.of is not None
    there = read_weights(job.place.parent / f"{how.of}-seed{job.seed}" / "checkpoint")
    evaluation.ask(0, 0, None, None, tuple(Split))
    interpolate(job.model, there, how.weight)
    return 0, 0, None, job.training.epochs
