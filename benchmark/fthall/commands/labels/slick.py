"""``fthall slick``: label what a base model knows (SLiCK)."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fthall.commands.labels.mine import own_options, survey, write_back
from fthall.commands.options import BASE, base_options, count, positive, shard, share
from fthall.commands.progress import bar, display, quiet, say
from fthall.errors import FthallError

if TYPE_CHECKING:
    from fthall.engines import Engine, Spec, Workers
    from fthall.knowledge.slick import SlickConfig
    from fthall.records import Fact

NAME = "slick"
HELP = "label what a base model knows (SLiCK)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("--source", default="geonames", help="where the facts come from")
    own_options(parser)
    parser.add_argument("--base", default=BASE, help="folder, Hugging Face id, or the embedded smollm2-135m")
    parser.add_argument(
        "--add-bos",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="begin every text with the beginning-of-sequence token, or never (default: as the tokenizer does)",
    )
    parser.add_argument("--no-check", action="store_true", help="label a base that answers next to no famous fact")
    parser.add_argument("--relations", help="only these, separated by commas")
    parser.add_argument("--preset", default="kaplan2026", choices=["kaplan2026", "gekhman2024"])
    parser.add_argument("--runs", type=positive, help="contexts a question is asked in (default: the preset's)")
    parser.add_argument("--shots", type=positive, help="exemplars a context (default: the preset's)")
    parser.add_argument("--samples", type=count, help="sampled answers a context where no greedy one is right")
    parser.add_argument("--exact", action="store_true", help="compute the chance of a right sample, draw none")
    parser.add_argument(
        "--adaptive", action="store_true", help="ask no more once a category is settled; same categories"
    )
    parser.add_argument("--engine", default="hf", choices=["hf", "vllm", "generate"], help="what answers")
    parser.add_argument("--tensor-parallel", type=positive, default=1, help="GPUs that share the model (vllm)")
    parser.add_argument("--workers", type=positive, help="answer on this many workers of a Ray cluster")
    parser.add_argument("--ray", metavar="ADDRESS", help="of a running cluster, or auto (default: one on this machine)")
    parser.add_argument("--gpus-per-worker", type=share, default=0)
    parser.add_argument("--cpus-per-worker", type=share, default=1)
    parser.add_argument("--answers", action="store_true", help="keep the text of every answer (slower)")
    parser.add_argument("--single-answer", action="store_true", help="leave out questions with several answers")
    parser.add_argument(
        "--shard", type=shard, metavar="I/N", help="every N-th fact from the I-th on; then build from all"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="labels, a Parquet file; with --facts your rows with a category each")
    base_options(parser, "--base", "bfloat16")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from dataclasses import replace

    from fthall import bases
    from fthall.engines import Spec
    from fthall.facts import own
    from fthall.knowledge import slick

    quiet()
    if not options.facts and (options.dry_run or options.keep or options.turn):
        raise FthallError("--dry-run, --keep and --turn are about your own data; give it with --facts FILE")
    mine = survey(options) if options.facts else None
    if options.dry_run:
        return
    if options.out is None:
        raise FthallError("say where the labels go: --out FILE")
    out = labels = options.out
    if mine:  # the rows themselves with columns more, and the labels beside them
        own.check_format(out)
        labels = out.with_name(f"{out.name}.labels.parquet")
    again = mine and options.keep and labels.exists()  # of labels that are there, other rows may be kept
    if out.exists() and not again:
        raise FthallError(f"{out} exists; delete it or choose another file")
    config = _config(options)
    asked, shown = _facts(options, mine.facts() if mine else None, config)
    checkpoint = replace(
        bases.find(options.base, options.revision, adapter_base=options.adapter_base), add_bos=options.add_bos
    )
    tokenizer = bases.load_tokenizer(checkpoint)
    identity = {
        "base": options.base,
        "dtype": options.dtype,
        "weights_sha256": bases.weights_sha256(checkpoint),
        "special_tokens": " ".join(bases.special_tokens(tokenizer)),
        "engine": options.engine,
    }
    spec = Spec(
        options.engine,
        checkpoint.location,
        checkpoint.revision,
        options.dtype,
        options.batch_size,
        options.tensor_parallel,
        checkpoint.adapter,
        checkpoint.add_bos,
    )
    engine = _engine(spec, options)
    left_out = None if options.add_bos is not None or options.base == BASE else bases.left_out(tokenizer)
    _look(engine, len(asked) * config.runs, left_out, options)
    with display() as progress:
        table = slick.label(
            asked,
            engine,
            config,
            labels,
            identity=identity,
            exemplars=shown,
            keep_answers=options.answers,
            on_answers=bar(progress, "SLiCK", len(asked) * config.runs),
        )
    for category, facts in table["category"].value_counts().items():
        say(f"{category:>12}  {facts:6d}  {100 * facts / len(table):5.1f} %")
    if config.adaptive:
        questions = sum(slick.tally(bits)[1] for bits in table["right"])
        say(f"asked {questions} of {len(table) * config.runs} questions; the others no longer decided anything")
    if mine:
        write_back(mine, table, options, labels)
    say(f"labels: {labels}")


def _config(options: argparse.Namespace) -> "SlickConfig":
    """How questions are asked."""
    from dataclasses import replace

    from fthall.knowledge import slick

    config = replace(
        slick.PRESETS[options.preset],
        seed=options.seed,
        adaptive=options.adaptive,
        exact=options.exact,
        **{name: getattr(options, name) for name in ("runs", "shots", "samples") if getattr(options, name) is not None},
    )
    if options.exact and not config.samples:
        raise FthallError("--exact is about samples, and this preset draws none; add --samples 16, or gekhman2024")
    return config


def _facts(
    options: argparse.Namespace, mine: "tuple[Fact, ...] | None", config: "SlickConfig"
) -> "tuple[list[Fact], list[Fact]]":
    """(facts to ask about, facts to show)."""
    from fthall import facts
    from fthall.facts import own

    if mine is not None:
        return list(mine), own.exemplars(mine, config.shots)
    every = facts.load(options.source)
    asked = _chosen(every, options.relations)
    if options.single_answer:
        asked = [fact for fact in asked if len(fact.answers) == 1]
    if options.shard:
        number, shards = options.shard
        asked = asked[number - 1 :: shards]
    return asked, [fact for fact in every if fact.origin == "dev"]


def _engine(spec: "Spec", options: argparse.Namespace) -> "Engine | Workers":
    """What answers."""
    from fthall.engines import start

    if not options.workers:
        return start.start(spec)
    ray = {"address": options.ray, "gpus": options.gpus_per_worker, "cpus": options.cpus_per_worker}
    return start.start_workers(spec, options.workers, **ray)


def _look(engine: "Engine | Workers", questions: int, left_out: str | None, options: argparse.Namespace) -> None:
    """Before a long labelling, whether it is worth its hours."""
    from fthall.knowledge import look

    if questions >= look.LONG and not options.no_check:
        seen = look.look(engine, left_out=left_out)
        say(f"first look: {look.told(seen)}")
        look.check(seen, options.base, left_out)
    elif left_out:
        say(
            f"the tokenizer of {options.base} has {left_out} and does not add it; if its model wants it, type --add-bos"
        )


def _chosen(facts: "Sequence[Fact]", relations: str | None) -> "list[Fact]":
    """The facts of some relations, separated by commas; of all for none."""
    if not relations:
        return list(facts)
    wanted, known = set(relations.split(",")), {fact.relation for fact in facts}
    if unknown := wanted - known:
        raise FthallError(f"unknown relation {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
    return [fact for fact in facts if fact.relation in wanted]
