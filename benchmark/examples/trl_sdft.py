"""Self-distillation fine-tuning (SDFT, arXiv 2601.19897) by TRL's trainer, as an entry of a track.

    pip install trl
    python benchmark/examples/trl_sdft.py --out sdft
    fthall submit sdft …      (leaderboard/pages/submit.md)

The student answers by itself; its teacher, the same model as it was, has the fact in its context, and each token is
pulled towards what the teacher would have said. Nothing is taught that the teacher does not say. Trains on the known
and the new facts of a track.
"""

import argparse
from pathlib import Path

from datasets import Dataset
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

from fthall import bases
from fthall.knowledge import splits
from fthall.prompts import ask, few_shot
from fthall.records import Split


def main(arguments: list[str] | None = None) -> Path:
    """Train; return the folder of the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=bases.EMBEDDED, help="folder, Hugging Face id, or the embedded base")
    parser.add_argument("--track", default="geonames/smollm2-135m", help="name of a track, or a release's folder")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--steps", type=int, default=-1, help="instead of epochs")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("trl-sdft"))
    options = parser.parse_args(arguments)

    model, tokenizer = bases.load(bases.find(options.model), for_training=True)
    release = splits.load(options.track)
    facts = [fact for split in (Split.KNOWN, Split.UNKNOWN) for fact in release.splits[split]]
    # The teacher's context is the fact itself, answered as an exemplar is.
    rows = [{"prompt": ask(fact.question), "privileged_context": few_shot([fact])} for fact in facts]
    trainer = SDFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SDFTConfig(
            output_dir=str(options.out / "trainer"),
            num_train_epochs=options.epochs,
            max_steps=options.steps,
            per_device_train_batch_size=min(16, len(rows)),  # what is left over of an epoch is left out
            num_generations=1,
            max_completion_length=12,
            teacher_prompt_template="{privileged_context}{prompt}",
            learning_rate=options.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=0.1,
            seed=options.seed,
            save_strategy="no",
            logging_steps=50,
            report_to=[],
            bf16=False,
            gradient_checkpointing=False,
        ),
    )
    trainer.train()
    checkpoint: Path = options.out / "checkpoint"
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    return checkpoint


if __name__ == "__main__":
    print(main())
