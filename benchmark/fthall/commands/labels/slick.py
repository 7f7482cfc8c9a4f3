"""``fthall slick``: label what a base model knows (SLiCK)."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fthall.commands.options import BASE, base_options, count, positive, shard, share
from fthall.commands.progress import bar, display, quiet, say
from fthall.errors import FthallError
from fthall.records import Category

if TYPE_CHECKING:
    from fthall.records import Fact

NAME = "slick"
HELP = "label what a base model knows (SLiCK)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument("--source", default="geonames", help="where the facts come from")
    parser.add_argument(
        "--facts", type=Path, help="your own, instead: JSON lines, CSV or Parquet with question, answers"
    )
    parser.add_argument("--base", default=BASE, help="folder, Hugging Face id, or the embedded smollm2-135m")
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
    parser.add_argument(
        "--out", type=Path, required=True, help="labels, a Parquet file; with --facts your rows with a category each"
    )
    base_options(parser, "--base", "bfloat16")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from dataclasses import replace

    from fthall import bases, facts
    from fthall.engines import Spec, start
    from fthall.facts import own
    from fthall.knowledge import slick
    from fthall.knowledge.annotate import annotate

    quiet()
    if options.facts and (options.relations or options.single_answer or options.shard):
        raise FthallError(
            "--relations, --single-answer and --shard choose from a source; with --facts leave rows out of the file"
        )
    mine = own.read(options.facts) if options.facts else None
    every = list(mine.facts) if mine else facts.load(options.source)
    asked = _chosen(every, options.relations)
    if options.single_answer:
        asked = [fact for fact in asked if len(fact.answers) == 1]
    if options.shard:
        number, count = options.shard
        asked = asked[number - 1 :: count]
    config = replace(
        slick.PRESETS[options.preset],
        seed=options.seed,
        adaptive=options.adaptive,
        exact=options.exact,
        **{name: getattr(options, name) for name in ("runs", "shots", "samples") if getattr(options, name) is not None},
    )
    if options.exact and not config.samples:
        raise FthallError("--exact is about samples, and this preset draws none; add --samples 16, or gekhman2024")
    out, labels = options.out, options.out
    if mine:  # the file itself with a column more, and the labels beside it
        own.check_format(out)
        labels = out.with_name(f"{out.name}.labels.parquet")
    if out.exists():
        raise FthallError(f"{out} exists; delete it or choose another file")
    checkpoint = bases.find(options.base, options.revision)
    identity = {"base": options.base, "dtype": options.dtype, "weights_sha256": bases.weights_sha256(checkpoint)}
    spec = Spec(
        options.engine,
        checkpoint.location,
        checkpoint.revision,
        options.dtype,
        options.batch_size,
        options.tensor_parallel,
        checkpoint.adapter,
    )
    if options.workers:
        ray = {"address": options.ray, "gpus": options.gpus_per_worker, "cpus": options.cpus_per_worker}
        engine: Any = start.start_workers(spec, options.workers, **ray)
    else:
        engine = start.start(spec)
    with display() as progress:
        table = slick.label(
            asked,
            engine,
            config,
            labels,
            identity={**identity, "engine": options.engine},
            exemplars=mine.exemplars(config.shots) if mine else [fact for fact in every if fact.origin == "dev"],
            keep_answers=options.answers,
            on_answers=bar(progress, "SLiCK", len(asked) * config.runs),
        )
    for category, count in table["category"].value_counts().items():
        say(f"{category:>12}  {count:6d}  {100 * count / len(table):5.1f} %")
    if config.adaptive:
        questions = sum(slick.tally(bits)[1] for bits in table["right"])
        say(f"asked {questions} of {len(table) * config.runs} questions; the others no longer decided anything")
    if mine:
        counts = annotate(mine, table, out)
        share = 100 * counts[Category.UNKNOWN] / sum(counts.values())
        say(f"{share:.1f} % of the {sum(counts.values())} rows are Unknown to {options.base}: {out}, column category")
    say(f"labels: {labels}")


def _chosen(facts: "Sequence[Fact]", relations: str | None) -> "list[Fact]":
    """The facts of some relations, separated by commas; of all for none."""
    if not relations:
        return list(facts)
    wanted, known = set(relations.split(",")), {fact.relation for fact in facts}
    if unknown := wanted - known:
        raise FthallError(f"unknown relation {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
    return [fact for fact in facts if fact.relation in wanted]
