"""A training on the tiny model, for ``accelerate launch``: prints nothing, leaves a run's folder."""

import os
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import tiny_release
from fthall import bases
from fthall.bases.spread import is_spread
from fthall.finetune.recipe import Run, Training
from fthall.finetune.train import train


def main(base: str, release: str, out: str, accumulation: str, method: str) -> None:
    """Train."""
    torch.set_num_threads(1)
    runs = {
        "sft": Run(entry="sft", title="SFT", method="sft"),
        "freeze": Run(entry="ffn", title="FFN", method="freeze", trained="ffn"),
        "self-distill": Run(
            entry="sd", title="SD", method="self-distill", start="format", distill={"teacher": "format"}
        ),
    }
    training = Training(
        epochs=2, batch_size=3, accumulation=int(accumulation), learning_rate=1e-3, precision="fp32", checkpointing=True
    )
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    told = bases.machine.spreads_weights()
    train(
        tiny_release(Path(release) / os.environ.get("RANK", "0")),
        model,
        tokenizer,
        runs[method],
        training,
        0,
        Path(out),
        resumable=told is None,
    )
    assert is_spread(model) is (told is not None)


if __name__ == "__main__":
    main(*sys.argv[1:])
