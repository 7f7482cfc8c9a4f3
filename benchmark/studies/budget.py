"""Are estimates of memory and time right? Two shallow models of a shape are measured, and the whole, if it fits.

    python benchmark/studies/budget.py --out leaderboard/studies/budget.json

Shapes are those of public models; weights are random, since neither memory nor time hang on them.
"""

from typing import Any

import study
from fthall import bases
from fthall.bases import hardware
from fthall.files import read_json
from fthall.finetune.estimate import estimate, measure
from fthall.finetune.recipe import Run, Training
from fthall.knowledge import splits

SHAPES = {  # hidden, feed-forward, layers, heads, heads of keys, vocabulary, tied
    "SmolLM2-135M": (576, 1536, 30, 9, 3, 49152, True),
    "Qwen2.5-0.5B": (896, 4864, 24, 14, 2, 151936, True),
    "Qwen2.5-1.5B": (1536, 8960, 28, 12, 2, 151936, True),
    "Qwen2.5-7B": (3584, 18944, 28, 28, 4, 152064, False),
    "Llama-3.1-8B": (4096, 14336, 32, 32, 8, 128256, False),
}
WAYS = {
    "AdamW": {},
    "Adafactor": {"optimiser": "adafactor"},
    "Adafactor, checkpointed": {"optimiser": "adafactor", "checkpointing": True},
    "Adafactor, float32": {"optimiser": "adafactor", "precision": "fp32"},
}
TRIED = {name: ["Adafactor, checkpointed"] for name in SHAPES} | {
    "SmolLM2-135M": ["AdamW", "Adafactor", "Adafactor, checkpointed"],
    "Qwen2.5-0.5B": ["AdamW"],
    "Qwen2.5-1.5B": ["Adafactor, float32"],
}
OF = ("peak", "seconds")
WHOLE = ("SmolLM2-135M", "Qwen2.5-0.5B", "Qwen2.5-1.5B")
"""What is measured whole, too; on a processor nothing else is tried."""


def config_of(name: str) -> Any:
    """A config of the shape of a model."""
    from transformers import LlamaConfig, Qwen2Config

    hidden, forward, layers, heads, keys, vocabulary, tied = SHAPES[name]
    kind = Qwen2Config if name.startswith("Qwen") else LlamaConfig
    return kind(
        hidden_size=hidden,
        intermediate_size=forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
    )


def main() -> None:
    """Estimate, measure, compare."""
    import torch
    from transformers import AutoTokenizer

    parser = study.parser(__doc__)
    given = parser.parse_args()
    release = splits.load("geonames/smollm2-135m")
    tokenizer = AutoTokenizer.from_pretrained(bases.find(bases.EMBEDDED).location)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = Run(entry="sft", title="SFT", method="sft")
    rows = read_json(given.out)["rows"] if given.out and given.out.exists() else []
    done = {(row["model"], row["way"]) for row in rows}
    shapes = [shape for shape in SHAPES if device == "cuda" or shape in WHOLE]
    todo = [(shape, way) for shape in shapes for way in TRIED[shape] if (shape, way) not in done]
    for name, way in todo:
        training, config = Training(**WAYS[way]), config_of(name)
        found, of = estimate(config, release, tokenizer, run, training, device)
        row: dict[str, Any] = {
            "model": name,
            "way": way,
            "parameters": found.parameters,
            "measured_layers": list(of),
            "estimated_gib": round(found.peak, 2),
            "estimated_seconds": round(found.seconds, 2),
        }
        if name in WHOLE:
            whole = measure(config, config.num_hidden_layers, release, tokenizer, run, training, device)
            row |= {"measured_gib": round(whole.peak, 2), "measured_seconds": round(whole.seconds, 2)}
            row |= {f"off_by_{what}": round(getattr(found, what) / getattr(whole, what) - 1, 3) for what in OF}
        rows.append(row)
        study.tell({"hardware": hardware(), "facts_a_step": training.batch_size, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
