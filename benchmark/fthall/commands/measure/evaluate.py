"""``fthall evaluate``: ask a checkpoint the questions of a track (fast; lm-eval is the judge)."""

import argparse
from pathlib import Path

from fthall.commands.options import TRACK, base_options
from fthall.commands.progress import bar, display, quiet, say

NAME = "evaluate"
HELP = "ask a checkpoint the questions of a track (fast; lm-eval is the judge)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("model", help="folder or Hugging Face id, of a model or of a PEFT adapter")
    parser.add_argument("--track", default=TRACK)
    parser.add_argument("--out", type=Path, help="write every answer here (JSON lines)")
    base_options(parser, "the model", "float32")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall import bases
    from fthall.answers import counts
    from fthall.engines import evaluate
    from fthall.engines.hf import HfEngine
    from fthall.files import write_jsonl
    from fthall.knowledge import splits
    from fthall.records import Outcome

    quiet()
    release = splits.load(options.track)
    named = bases.find(options.model, options.revision, adapter_base=options.adapter_base)
    checkpoint = bases.for_track(named, release.manifest["base"], release.track)
    model, tokenizer = bases.load(checkpoint, dtype=options.dtype)
    with display() as progress:
        advance = bar(progress, options.track, sum(len(facts) for facts in release.splits.values()))
        answers = evaluate(HfEngine(model, tokenizer, batch_size=options.batch_size), release, on_answers=advance)
    say(f"{'split':10} {'facts':>6} {'correct':>8} {'wrong':>8} {'abstained':>10}")
    for split, rows in answers.items():
        found = counts(rows)
        shares = {outcome: 100 * found[outcome] / len(rows) for outcome in Outcome}
        say(
            f"{split:10} {len(rows):6d} {shares[Outcome.CORRECT]:7.1f}% {shares[Outcome.WRONG]:7.1f}% "
            f"{shares[Outcome.ABSTAINED]:9.1f}%"
        )
    if options.out:
        rows_out = ({"fact_id": a.fact_id, "prediction": a.prediction} for rows in answers.values() for a in rows)
        write_jsonl(options.out, rows_out)
        say(f"answers: {options.out}")
