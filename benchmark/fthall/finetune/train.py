"""One run: a release and a base in, a checkpoint with its trajectory out."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fthall.answers import accuracy
from fthall.bases import free_memory
from fthall.engines import evaluate
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_json, write_json, write_jsonl
from fthall.finetune.data import HashOrder, encode
from fthall.finetune.folder import read_trajectory
from fthall.finetune.methods import Run, Training, choose_parameters
from fthall.finetune.trainer import FactTrainer, Teacher, check_head
from fthall.records import Answer, EpochPoint, Release, Split

Log = Callable[[Mapping[str, float], int], None]
"""Takes metrics and their step, e.g. to a tracker."""

EVALUATED_TOGETHER = 192
"""Questions in a batch while training."""


class _Trajectory(TrainerCallback):
    """Evaluate before the first and after every epoch; take the teacher's snapshot when its time has come."""

    def __init__(
        self,
        folder: Path,
        release: Release,
        tokenizer: Any,
        run: Run,
        *,
        log: Log | None,
        on_examples: Callable[[int], None] | None,
        on_answers: Callable[[int], None] | None,
        on_epoch: Callable[[EpochPoint], None] | None,
    ) -> None:
        self.folder, self.release, self.tokenizer, self.run = folder, release, tokenizer, run
        self.log, self.on_examples, self.on_answers, self.on_epoch = log, on_examples, on_answers, on_epoch
        self.trainer: FactTrainer | None = None
        self.examples: list[Any] = []
        self.answers: dict[Split, tuple[Answer, ...]] = {}

    def _evaluate(self, model: Any, epoch: int, step: int, loss: float | None) -> None:
        free_memory()  # what training and asking leave behind does not fit into each other's gaps
        self.answers = evaluate(
            HfEngine(model, self.tokenizer, batch_size=EVALUATED_TOGETHER), self.release, on_answers=self.on_answers
        )
        free_memory()
        reached = {str(split): accuracy(rows) for split, rows in self.answers.items()}
        point = EpochPoint(epoch=epoch, train_loss=loss, **reached)
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
        if self.on_examples:
            self.on_examples(args.per_device_train_batch_size * args.gradient_accumulation_steps)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self.trainer is not None
        epoch = round(state.epoch or 0)
        losses = self.trainer.take_losses()
        if self.run.distill_weight and epoch == self.run.teacher_epoch:
            with self.trainer.accelerator.autocast():
                teacher = Teacher.snapshot(kwargs["model"], self.examples, args.per_device_train_batch_size)
            teacher.save(self.folder / "teacher.safetensors")
            self.trainer.teacher = teacher
        self._evaluate(kwargs["model"], epoch, state.global_step, sum(losses) / len(losses) if losses else None)


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
    log: Log | None = None,
    on_examples: Callable[[int], None] | None = None,
    on_answers: Callable[[int], None] | None = None,
    on_epoch: Callable[[EpochPoint], None] | None = None,
) -> list[EpochPoint]:
    """Fine-tune on the facts of a release; write ``folder`` and return the trajectory.

    Weights are float32 throughout: in bfloat16 up to 10 of 1,270 answers changed with the batch they were asked in, and
    small updates are rounded away. The folder gets ``trajectory.jsonl`` (accuracy on all splits before training and
    after every epoch), ``answers.jsonl`` (every answer after the last epoch), ``checkpoint/`` (safetensors and
    tokenizer) and, last, ``run.json`` (what was run). A run whose ``run.json`` exists is finished and not repeated; an
    interrupted one goes on after its last whole epoch.

    Args:
        release: what is trained and asked.
        model: float32, changed in place.
        tokenizer: the model's.
        run: the method.
        training: the hyper-parameters.
        seed: of the order of the examples.
        folder: where the run is written.
        resumable: save the optimiser after every epoch (about 12 bytes a parameter), so that a killed run can go on.
        log: gets the metrics of each epoch.
        on_examples: called with the number of examples just trained, for progress.
        on_answers: called with the number of questions just answered, for progress.
        on_epoch: called with each new point of the trajectory.

    Raises:
        FthallError: the folder holds another run, or the model cannot be trained.
    """
    what = {
        "release": release.digest,
        "run": run.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "seed": seed,
    }
    if (folder / "run.json").exists():
        if {key: read_json(folder / "run.json").get(key) for key in what} != what:
            raise FthallError(f"{folder} holds a finished run with other settings; delete it or choose another folder")
        return read_trajectory(folder)
    begun = folder / "begun.json"
    if begun.exists() and read_json(begun) != what:
        shutil.rmtree(folder)
    write_json(begun, what)

    facts = [fact for split in Split if split in run.trained_on for fact in release.splits[split]]
    examples = encode(facts, tokenizer)
    check_head(model, examples[0])
    trained = choose_parameters(model, run.trained)
    on_cpu = model.device.type == "cpu"
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        bf16=training.precision == "bf16",
        use_cpu=on_cpu,
        seed=seed,
        save_strategy="epoch" if resumable else "no",
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
    )
    trajectory = _Trajectory(
        folder, release, tokenizer, run, log=log, on_examples=on_examples, on_answers=on_answers, on_epoch=on_epoch
    )
    trainer = FactTrainer(
        model=model,
        args=arguments,
        train_dataset=examples,
        sampler=HashOrder(facts, seed),
        distill_weight=run.distill_weight,
        distill_temperature=run.distill_temperature,
        callbacks=[trajectory],
    )
    trainer.remove_callback(PrinterCallback)  # it prints where no progress bar is wanted
    trajectory.trainer, trajectory.examples = trainer, examples
    saved = sorted((folder / "trainer").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    saved = [path for path in saved if (path / "trainer_state.json").exists()]
    if saved:
        epochs_done = round(read_json(saved[-1] / "trainer_state.json")["epoch"])
        if run.distill_weight and epochs_done >= run.teacher_epoch:
            trainer.teacher = Teacher.load(folder / "teacher.safetensors", model.device)
        if on_examples:
            on_examples(len(examples) * epochs_done)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=str(saved[-1]) if saved else None)
    seconds = time.monotonic() - started

    answers = trajectory.answers or evaluate(HfEngine(model, tokenizer, batch_size=EVALUATED_TOGETHER), release)
    write_jsonl(folder / "answers.jsonl", (asdict(answer) for rows in answers.values() for answer in rows))
    model.save_pretrained(folder / "checkpoint")
    tokenizer.save_pretrained(folder / "checkpoint")
    write_json(
        folder / "run.json",
        {**what, "examples": len(examples), "trained_parameters": trained, "seconds": round(seconds, 1)},
    )
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    (folder / "teacher.safetensors").unlink(missing_ok=True)
    begun.unlink()
    return read_trajectory(folder)
