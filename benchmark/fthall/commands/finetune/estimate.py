"""``fthall estimate``: the memory and the time a recipe will take on this machine, measured on two shallow models."""

import argparse
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from fthall.commands.progress import quiet, say
from fthall.errors import FthallError

NAME = "estimate"
HELP = "the memory and time a recipe will take here, before it is begun"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--only", help="one entry (default: the first)")
    parser.add_argument(
        "--base", help="another base than the recipe's: folder or Hugging Face id; weights are not read"
    )
    parser.add_argument("--revision", help="commit, tag or branch of --base")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU if there is one")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    import torch
    from transformers import AutoConfig, AutoTokenizer

    from fthall import bases
    from fthall.errors import one_line
    from fthall.finetune import load_recipe
    from fthall.finetune.estimate import estimate, steps
    from fthall.knowledge import splits

    quiet()
    recipe = load_recipe(options.recipe)
    entries = {one.entry: one for one in recipe.runs}
    chosen = entries.get(options.only) if options.only else recipe.runs[0]
    if chosen is None:
        raise FthallError(f"unknown entry {options.only!r}; {options.recipe} has {', '.join(entries)}")
    base = options.base or recipe.base
    checkpoint = bases.find(base, options.revision if options.base else recipe.revision)
    where = {"revision": checkpoint.revision} if checkpoint.revision else {}
    try:
        config = AutoConfig.from_pretrained(checkpoint.location, trust_remote_code=False, **where)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False, **where)
    except Exception as error:  # transformers raises many kinds
        raise FthallError(f"cannot read {checkpoint.location}: {one_line(error)}") from None
    release, training = splits.load(recipe.track), recipe.training
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise FthallError("--device cuda: there is no GPU here; leave it out")
    too_small = FthallError(
        f"memory does not suffice for a few layers of {base}; set optimiser: adafactor, checkpointing: true, or a "
        "smaller batch_size with accumulation"
    )
    try:
        found, of = estimate(config, release, tokenizer, chosen, training, device)
    except BrokenProcessPool:
        raise too_small from None
    except RuntimeError as error:
        if not bases.out_of_memory(error):
            raise
        raise too_small from None
    count = steps(release, chosen, training)
    say(
        f"{base}: {found.parameters:,} parameters, {config.num_hidden_layers} layers; {training.optimiser}, "
        f"{training.precision}, {training.batch_size * training.accumulation} facts a step; on "
        f"{bases.hardware() if device == 'cuda' else 'the processor'}"
    )
    say(f"memory: {found.peak:.1f} GiB at most")
    say(
        f"time: {found.seconds:.2f} s a step, {count} steps, "
        f"{count * found.seconds / 60:.0f} min a run of {chosen.entry}"
    )
    measured = ", ".join(f"{layers}: {one.peak:.1f} GiB, {one.seconds:.2f} s" for layers, one in of.items())
    say(f"measured, by layers: {measured}; evaluation, and what a method adds to plain training, come on top")
