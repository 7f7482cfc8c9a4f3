"""``fthall canary``: hidden sets of made-up facts, and who has seen the public ones."""

import argparse
from pathlib import Path

from fthall.commands.options import base_options, positive
from fthall.commands.progress import bar, display, quiet, say
from fthall.errors import FthallError

NAME = "canary"
HELP = "hidden made-up facts: has a model seen the public ones?"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its actions, and their options."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    making = actions.add_parser("new", help="draw a seed, keep it, and commit to its SHA-256")
    making.set_defaults(run=_new)
    making.add_argument("--keys", default="name", help="name or uuid")
    making.add_argument(
        "--values", default="number", help="what is answered (default: number, which is hardly guessed)"
    )
    making.add_argument("--size", type=positive, default=200, help="facts, of the hidden set and of the public one")
    making.add_argument("--public-seed", default="0")
    revealing = actions.add_parser("reveal", help="publish the seed")
    revealing.set_defaults(run=_reveal)
    asking = actions.add_parser("ask", help="ask a model both sets")
    asking.set_defaults(run=_ask)
    asking.add_argument("--model", required=True, help="folder, Hugging Face id, or the embedded smollm2-135m")
    asking.add_argument("--json", action="store_true", help="print JSON instead of text")
    base_options(asking, "the model", "float32")
    for action in (making, revealing, asking):
        action.add_argument("name", help="of the canary")
        action.add_argument("--seed-file", type=Path, required=action is not asking, help="the seed; never publish it")
        action.add_argument("--registry", type=Path, help="where canaries are committed (default: tasks/canaries.yaml)")


def _registry(options: argparse.Namespace) -> Path:
    from fthall.paths import data_dir

    given: Path | None = options.registry
    return given or data_dir("tasks") / "canaries.yaml"


def _new(options: argparse.Namespace) -> None:
    from fthall.facts import canary

    registry = _registry(options)
    made = canary.new(
        options.name,
        registry,
        options.seed_file,
        keys=options.keys,
        values=options.values,
        size=options.size,
        public_seed=options.public_seed,
    )
    say(f"canary {made.name}: sha256 {made.sha256}, committed in {registry}")
    say(f"its seed is in {options.seed_file}: keep it, and keep it secret until fthall canary reveal {made.name}")


def _reveal(options: argparse.Namespace) -> None:
    from fthall.facts import canary

    registry = _registry(options)
    made = canary.reveal(options.name, registry, options.seed_file)
    say(f"canary {made.name}: the seed {made.seed} is the committed one, and now stands in {registry}")


def _ask(options: argparse.Namespace) -> None:
    import json
    from dataclasses import asdict

    from fthall import bases
    from fthall.engines.hf import HfEngine
    from fthall.engines.questions import MAX_NEW_TOKENS
    from fthall.facts import canary, synthetic
    from fthall.prompts import ask

    quiet()
    one = canary.read(_registry(options)).of(options.name)
    seed = canary.read_seed(options.seed_file) if options.seed_file else one.seed
    if seed is None:
        raise FthallError(
            f"the seed of canary {one.name} is not revealed yet; whoever has it gives it with --seed-file"
        )
    sets = [list(synthetic.generate(spec)) for spec in (one.public(), one.hidden(seed))]
    facts = [fact for each in sets for fact in each]
    checkpoint = bases.find(options.model, options.revision, adapter_base=options.adapter_base)
    model, tokenizer = bases.load(checkpoint, dtype=options.dtype)
    with display() as progress:
        said = HfEngine(model, tokenizer, batch_size=options.batch_size).greedy(
            [ask(fact.question) for fact in facts],
            drafts=[fact.answers[0] for fact in facts],
            max_new_tokens=MAX_NEW_TOKENS,
            on_batch=bar(progress, one.name, len(facts)),
        )
    rows = list(zip(facts, said, strict=True))
    found = canary.leak(rows[: len(sets[0])], rows[len(sets[0]) :])
    if options.json:
        say(json.dumps({"canary": one.name, "model": options.model, **asdict(found), "seen": found.seen}, indent=1))
        return
    say(f"right: {found.public} of {found.of_public} public facts, {found.hidden} of {found.of_hidden} hidden ones")
    verdict = "has seen the public set" if found.seen else "shows no sign of having seen the public set"
    say(f"{options.model} {verdict} (Fisher's exact test, one-sided: p = {found.p_value:.2g})")
