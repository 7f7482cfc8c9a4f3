"""``fthall synthetic``: made-up facts, to a file or into a track in the place of its unknown ones."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fthall.commands.options import BASE, base_options, count, positive, share
from fthall.commands.progress import bar, display, quiet, say
from fthall.errors import FthallError

if TYPE_CHECKING:
    from fthall.facts.synthetic import Spec
    from fthall.records import Release

NAME = "synthetic"
HELP = "make up facts nobody can know: a file, or a track with them as its unknown facts"
SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("--keys", default="name", help="what subjects look like: name, or uuid (default: name)")
    parser.add_argument(
        "--values", default="country", help="what is answered: country, place, person, number, uuid (default: country)"
    )
    parser.add_argument("--relations", help="only these, separated by commas")
    parser.add_argument("--size", type=positive, default=1000, help="facts (default: 1000)")
    parser.add_argument("--seed", default="0", help="any text (default: 0)")
    parser.add_argument(
        "--closeness", type=share, default=0.0, help="share of names that are held-out ones of the track, half changed"
    )
    parser.add_argument("--track", help="put them in the place of its unknown facts, a release; else a file is written")
    parser.add_argument("--name", help="of the new track (default: from the track and the kind)")
    parser.add_argument(
        "--ask", type=count, default=20, help="such facts of which the base is asked what it knows (with --track)"
    )
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file; with --track the release's folder")
    parser.add_argument("--base", default=BASE, help="folder, Hugging Face id, or the embedded smollm2-135m")
    base_options(parser, "--base", "bfloat16")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall.facts import synthetic
    from fthall.knowledge import splits
    from fthall.records import Split

    quiet()
    if options.closeness and not options.track:
        raise FthallError("--closeness needs the names to be close to: add --track, whose held facts have them")
    release = splits.load(options.track) if options.track else None
    spec = synthetic.Spec(
        keys=options.keys,
        values=options.values,
        size=options.size,
        seed=options.seed,
        relations=tuple(options.relations.split(",")) if options.relations else (),
        closeness=options.closeness,
        near=tuple(fact.subject for fact in release.splits[Split.HELD]) if release and options.closeness else (),
    )
    if release:
        _release(release, spec, options)
        return
    if options.out.suffix != ".jsonl":
        raise FthallError(f"{options.out}: made-up facts are written as .jsonl; with --track as a release's folder")
    if options.out.exists():
        raise FthallError(f"{options.out} exists; delete it or choose another file")
    synthetic.write(synthetic.generate(spec), options.out)
    say(f"{spec.size:,} made-up facts: {options.out}")
    for fact in synthetic.generate(spec.first(SHOWN)):
        say(f"  {fact.question} {fact.answers[0]}")


def _release(release: "Release", spec: "Spec", options: argparse.Namespace) -> None:
    from fthall.facts import synthetic
    from fthall.knowledge import releases, splits
    from fthall.records import Split

    source, _, base = release.track.partition("/")
    near = f"-{100 * spec.closeness:.0f}-close" if spec.closeness else ""
    name = options.name or f"{source}-{spec.keys}-{spec.values}{near}-{spec.size}/{base}"
    splits.check_free(options.out)  # before the base is asked, which takes minutes
    tokenizer = _tokenizer(release, spec, options) if options.ask else None
    asked = _ask(release, spec, options) if options.ask else {}
    made = releases.make_up(options.track, options.out, spec, name=name, asked=asked)
    alike = made.manifest[splits.MADE_UP]["nearest_held_trigrams"]
    say(f"{made.track}: {', '.join(f'{len(facts)} {split}' for split, facts in made.splits.items())}")
    if asked:
        found = ", ".join(f"{count} {category}" for category, count in asked.items())
        chance = synthetic.chance(spec.values)
        guessed = f"; guessing gives {chance:.2g} %" if chance else ""
        say(f"of {sum(asked.values())} such facts the base has {found}{guessed}")
    say(f"trigrams shared with the nearest held-out name: {_spread(alike)}")
    if tokenizer:
        from fthall.names import nearest, pieces, spread

        told, held = (
            list(pieces(tokenizer, [fact.subject for fact in made.splits[split]]).values())
            for split in (Split.UNKNOWN, Split.HELD)
        )
        say(f"subword tokens of the base shared with it: {_spread(spread(nearest(told, held)))}")
    say(f"release {made.digest[:12]} in {options.out}")
    for fact in made.splits[Split.UNKNOWN][:SHOWN]:
        say(f"  {fact.question} {fact.answers[0]}")


def _spread(alike: Mapping[str, float]) -> str:
    return f"median {alike['p50']:.2f}, {alike['p10']:.2f} to {alike['p90']:.2f} for eight of ten"


def _tokenizer(release: "Release", spec: "Spec", options: argparse.Namespace) -> Any:
    """The base's, by which names are told apart: tried on the first of them, before the base is asked."""
    from fthall import bases
    from fthall.facts import synthetic
    from fthall.names import pieces

    tokenizer = bases.load_tokenizer(bases.find(options.base, options.revision, adapter_base=options.adapter_base))
    pieces(tokenizer, [fact.subject for fact in synthetic.generate(spec.first(min(spec.size, options.ask)))])
    return tokenizer


def _ask(release: "Release", spec: "Spec", options: argparse.Namespace) -> dict[str, int]:
    """What the base knows of a sample: facts in each category, those that none is in left out.

    Raises:
        FthallError: another base than the track's.
    """
    import tempfile

    from fthall import bases
    from fthall.engines import Spec as EngineSpec
    from fthall.engines import start
    from fthall.facts import synthetic
    from fthall.knowledge import slick
    from fthall.records import Category

    named = bases.find(options.base, options.revision, adapter_base=options.adapter_base)
    found, wanted = bases.weights_sha256(named), release.manifest["base"]
    if found != wanted["weights_sha256"]:
        raise FthallError(
            f"{options.base} is not the base of {release.track} ({wanted['name']}, weights "
            f"{wanted['weights_sha256'][:12]}, here {found[:12]}); give it with --base, or ask nothing with --ask 0"
        )
    checkpoint = bases.for_track(named, wanted, release.track)
    where = checkpoint.location, checkpoint.revision
    engine = start.start(
        EngineSpec("hf", *where, options.dtype, options.batch_size, adapter=named.adapter, add_bos=checkpoint.add_bos)
    )
    config = slick.config_of(release)
    # What is shown beside questions are such facts, too, of another seed: how they are answered, and no answer.
    shown = list(synthetic.generate(spec.first(4 * config.shots * len(spec.relations), seed=f"{spec.seed}/shown")))
    facts = list(synthetic.generate(spec.first(min(spec.size, options.ask))))
    with tempfile.TemporaryDirectory() as folder, display() as progress:
        table = slick.label(
            facts,
            engine,
            config,
            Path(folder) / "labels.parquet",
            identity={"base": options.base, "dtype": options.dtype, "weights_sha256": found},
            exemplars=shown,
            on_answers=bar(progress, "SLiCK", len(facts) * config.runs),
        )
    counts = table["category"].value_counts()
    return {str(category): int(counts[category]) for category in Category if category in counts}
