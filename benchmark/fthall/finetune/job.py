"""A run to be made: what it is given, what it is trained on, and how its trainers are set up."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import PrinterCallback, TrainingArguments

from fthall.bases import process, processes
from fthall.bases.spread import gathering
from fthall.finetune.loop.data import MULTIPLE, Collate, Completion, EvenBatches, Example, completions, encode
from fthall.finetune.loop.optimiser import Copies
from fthall.finetune.loop.teacher import Frozen
from fthall.finetune.loop.trainer import FactTrainer
from fthall.finetune.methods.distill import TAUGHT_TOGETHER, Distill
from fthall.finetune.recipe import OWN, Run, Training
from fthall.records import Release, Split


@dataclass
class Job:
    """What :func:`fthall.finetune.train.train` was given; parts fill in what is trained on."""

    release: Release
    model: Any
    tokenizer: Any
    run: Run
    training: Training
    seed: int
    place: Path
    """The folder of the run."""
    spread: bool = False
    """Whether its weights are to be spread over processes."""
    shared: Path | None = None
    """Where what several runs ask the base is kept; None: nowhere."""
    completions: list[Completion] = field(default_factory=list)
    """What is trained on."""
    examples: list[Example] = field(default_factory=list)
    """The same in tokens."""
    collate: Collate = field(default_factory=Collate)
    format_states: Frozen | None = None
    """What the model said of the examples when it had learned the format, where that was asked."""

    @property
    def folder(self) -> Path:
        """Where this process keeps what it needs to go on: one folder each, or they would write the same files."""
        return self.place / f".process-{process()}" if process() else self.place

    @property
    def on_cpu(self) -> bool:
        """Where the model is."""
        return bool(self.model.device.type == "cpu")

    @property
    def together(self) -> int:
        """Questions answered in a batch: a GPU takes as long for a few as for many."""
        return 192 if self.on_cpu else 1024

    @property
    def graphed(self) -> bool:
        """Whether passes are recorded as CUDA graphs: where gradients are not added up, nor anything computed twice."""
        one = self.training.accumulation == 1 and not self.training.checkpointing and processes() == 1
        return bool(self.model.device.type == "cuda") and one

    @property
    def multiple(self) -> int:
        """What nodes are padded to: few shapes where each is recorded, else little waste."""
        return 4 * MULTIPLE if self.graphed else MULTIPLE

    def copies(self) -> Copies | None:
        """Lasting bfloat16 copies of the weights, where the passes of a training read such."""
        training = self.training
        # Copies add gradients up in bfloat16, which neither accumulated batches nor several processes should.
        alone = training.accumulation == 1 and processes() == 1 and training.optimiser == "adamw"
        if not (self.on_cpu and training.precision == "bf16" and alone):
            return None
        return Copies(self.model, self.collate(self.examples[:4]))

    def states(self, contexts: Sequence[Sequence[int]] | None = None) -> Frozen:
        """What the model as it is says of all examples, each behind its context if there are any."""
        special = len(self.tokenizer("").input_ids)
        return Frozen.of(
            self.model, self.examples, self.collate, contexts=contexts, special=special, batch_size=TAUGHT_TOGETHER
        )

    def of_epoch(self, name: str, epoch: int) -> Path:
        """A file of an epoch. That of the epoch before stays: a kill may come before this epoch is saved."""
        (self.folder / f"{name}-{epoch - 2}.safetensors").unlink(missing_ok=True)
        return self.folder / f"{name}-{epoch}.safetensors"

    def trainer(self, *, resumable: bool, teaching: Distill | None) -> FactTrainer:
        """The one trainer of a run."""
        own = {name: value for name in OWN if (value := getattr(self.run, name)) is not None}
        training = self.training.model_copy(update=own)
        arguments = TrainingArguments(
            output_dir=str(self.place / "trainer"),
            num_train_epochs=training.epochs,
            per_device_train_batch_size=training.batch_size,
            gradient_accumulation_steps=training.accumulation,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            lr_scheduler_type="constant_with_warmup" if training.schedule == "constant" else training.schedule,
            warmup_steps=training.warmup,
            optim="adamw_torch_fused" if training.optimiser == "adamw" else "adafactor",
            gradient_checkpointing=training.checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            bf16=training.precision == "bf16",
            use_cpu=self.on_cpu,
            seed=self.seed,
            save_strategy="epoch" if resumable else "no",
            save_total_limit=1,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=not self.on_cpu,
        )
        last = frozenset(number for number, one in enumerate(self.completions) if one.last)
        trainer = FactTrainer(
            model=self.model,
            args=arguments,
            train_dataset=list(self.examples),
            batches=EvenBatches(
                [one.id for one in self.completions],
                self.seed,
                training.batch_size,
                training.accumulation * processes(),
                last,
            ),
            collate=self.collate,
            distill_weight=teaching.weight if teaching else 0.0,
            distill_temperature=teaching.temperature if teaching else 1.0,
            copies=self.copies(),
            graphed=self.graphed,
        )
        trainer.remove_callback(PrinterCallback)  # it prints where no progress bar is wanted
        return trainer

    def learn_format(self, *, teach: bool) -> None:
        """Teach the format on known facts alone; the model goes on from there, or is the base again.

        It is the Only-Known run with as many epochs: same order of the facts, a schedule of its own.

        Args:
            teach: ask the model that has learned it about all examples (``format_states``).
        """
        run, model = self.run, self.model
        base = None if run.start == "format" else {name: value.clone() for name, value in model.state_dict().items()}
        known = completions(self.release.splits[Split.KNOWN], str(Split.KNOWN))
        plain = replace(
            self,
            place=self.place / "format",
            run=run.model_copy(update=dict.fromkeys(OWN)),
            training=self.training.model_copy(update={"epochs": run.format_epochs}),
            completions=known,
            examples=encode(known, self.tokenizer),
            collate=replace(self.collate, counted=None),
        )
        trainer = plain.trainer(resumable=False, teaching=None)
        trainer.train()
        if teach:
            with trainer.accelerator.autocast(), gathering(model):
                self.format_states = self.states()
        if trainer.copies:
            trainer.copies.close()
        shutil.rmtree(plain.place, ignore_errors=True)
        if base is not None:
            model.load_state_dict(base)


def meet(job: Job) -> None:
    """Wait here for the other processes, if there are any."""
    if processes() > 1:
        PartialState(cpu=job.on_cpu).wait_for_everyone()
