"""TRL's SFTTrainer with forgetting watched live: what did this fine-tuning make the model forget, and when?

    python benchmark/examples/trl_sft.py --steps 60

Fine-tunes the embedded base on the new facts of its track. To watch a training of your own, the three lines marked
below are all it takes.
"""

import argparse
from pathlib import Path

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from fthall import bases
from fthall.knowledge import splits
from fthall.measure.live import ForgettingCallback  # 1
from fthall.prompts import ask, target
from fthall.records import Split


def main(arguments: list[str] | None = None) -> list[dict[str, float]]:
    """Train; return what the callback logged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=bases.EMBEDDED, help="folder, Hugging Face id, or the embedded base")
    parser.add_argument("--track", default="geonames/smollm2-135m", help="name of a track, or a release's folder")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=20, help="steps between evaluations")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--stop-at", type=float, help="stop once this many points are forgotten")
    parser.add_argument("--out", type=Path, default=Path("trl-sft"))
    options = parser.parse_args(arguments)

    model, tokenizer = bases.load(bases.find(options.model), for_training=True)
    facts = splits.load(options.track).splits[Split.UNKNOWN]
    rows = [{"prompt": ask(fact.question), "completion": target(fact)} for fact in facts]
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            output_dir=str(options.out),
            max_steps=options.steps,
            per_device_train_batch_size=16,
            learning_rate=5e-5,
            lr_scheduler_type="constant",
            logging_steps=options.every,
            save_strategy="no",
            report_to=[],
            bf16=False,
            gradient_checkpointing=False,
        ),
    )
    callback = ForgettingCallback(  # 2
        options.track, every_steps=options.every, shots=options.shots, stop_at=options.stop_at
    )
    callback.attach(trainer)  # 3
    trainer.train()
    return [row for row in trainer.state.log_history if "fthall/forgetting" in row]


if __name__ == "__main__":
    for row in main():
        print({name: round(value, 2) for name, value in row.items() if name == "step" or name.startswith("fthall/")})
