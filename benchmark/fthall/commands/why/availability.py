"""``fthall availability``: is a fact that turned wrong gone, or only out of reach?"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fthall.commands.options import TRACK, positive
from fthall.commands.progress import bar, display, quiet, say
from fthall.errors import FthallError

if TYPE_CHECKING:
    from rich.progress import Progress

    from fthall.knowledge.slick import SlickConfig
    from fthall.records import Release
    from fthall.why.trace import Target

NAME = "availability"
HELP = "is a fact that turned wrong gone, or only out of reach? Contexts, samples, ranks, an epoch of known facts"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        help="folders of fthall run, with their checkpoints; or a file of results, to read it",
    )
    parser.add_argument(
        "--reference", action="append", type=Path, default=[], help="folder of the Only-Known run, one a seed: needed"
    )
    parser.add_argument("--track", default=TRACK, help="name of a track, or a release's folder, they were trained on")
    parser.add_argument("--contexts", type=positive, help="of SLiCK (default: as many as the track's labels have)")
    parser.add_argument(
        "--draw", action="store_true", help="draw samples instead of computing their chance, for a model that needs it"
    )
    parser.add_argument("--batch-size", type=positive, default=96, help="questions answered together")
    parser.add_argument(
        "--out", type=Path, default=Path("availability.json"), help="results; a picture lies beside them"
    )


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from dataclasses import asdict, replace

    from fthall import bases
    from fthall.files import write_json
    from fthall.knowledge import splits
    from fthall.knowledge.slick import config_of
    from fthall.why import available, trace

    quiet()
    if options.runs[0].suffix == ".json":
        _show(available.read(options.runs[0]), options.out)
        return
    if not options.reference:
        raise FthallError("what is lost is lost against a reference: --reference RUN, the Only-Known run of each seed")
    release = splits.load(options.track)
    todo = [one for one in trace.targets(release, options.runs, options.reference) if one.reference]
    if bare := [folder for folder in options.runs if folder not in {one.folder for one in todo}]:
        raise FthallError(
            f"{bare[0]} is a bare checkpoint, or the reference itself; availability needs a run with its answers, and "
            "the Only-Known run beside it"
        )
    made_with = config_of(release)
    config = replace(made_with, runs=options.contexts or made_with.runs, samples=available.SAMPLES)
    config = replace(config, exact=not options.draw)
    header = {
        "schema": trace.SCHEMA,
        "track": release.track,
        "release": release.digest,
        "slick": asdict(config),
    }
    found: dict[str, Any] = {**header, "hardware": bases.hardware(), "runs": []}
    if options.out.exists():
        found = available.read(options.out)
        trace.unchanged(found, header, options.out)
    found["runs"] = trace.fresh(found["runs"], todo)
    done = {one["run"] for one in found["runs"]}
    say(f"{len(todo)} runs, {sum(one.run in done for one in todo)} of them in {options.out}")
    with display() as progress:
        for target in todo:
            if target.run not in done:
                found["runs"] = [*found["runs"], _look(target, release, config, options, progress)]
                write_json(options.out, found)
    _show(found, options.out)
    say(f"results: {options.out}")


def _look(
    target: "Target", release: "Release", config: "SlickConfig", options: argparse.Namespace, progress: "Progress"
) -> dict[str, Any]:
    """One run's row, all its lost facts in it."""
    from fthall import bases
    from fthall.engines.hf import HfEngine
    from fthall.finetune import Run, Training, read_run
    from fthall.finetune.folder import checkpoints
    from fthall.why import arms, available

    assert target.reference is not None
    gone, kept = available.lost(release, target.reference, target.folder)
    row = target.told() | {"right_before": len(gone) + len(kept)}
    if not gone:
        return row | {"facts": [], "kept": None}
    others = arms.others(gone, [fact for facts in release.splits.values() for fact in facts])
    asked = [*gone, *others, *kept]
    read = bar(progress, f"{target.entry} seed {target.seed}: right answers", 2 * len(asked))
    before_model, tokenizer = bases.load(bases.find(str(checkpoints(target.reference)[-1][1])))
    before = available.gold(before_model, tokenizer, asked, on_facts=read)
    del before_model
    checkpoint = bases.find(str(target.checkpoint))
    model, tokenizer = bases.load(checkpoint, for_training=True)
    after = available.gold(model, tokenizer, asked, on_facts=read)
    engine = HfEngine(model, tokenizer, batch_size=options.batch_size)
    drawn = available.sampled([*gone, *others], engine, draw=options.draw)
    labels = options.out.with_name(f".{options.out.stem}.{target.entry}-seed{target.seed}.parquet")
    category = available.contexts(
        gone,
        engine,
        config,
        release,
        labels,
        identity={"run": target.run, "weights_sha256": bases.weights_sha256(checkpoint)},
        on_answers=bar(progress, f"{target.entry} seed {target.seed}: contexts", len(gone) * config.runs),
    )
    made = read_run(target.folder)
    with tempfile.TemporaryDirectory() as folder:
        back = available.relearned(
            gone, release, model, tokenizer, Run(**made["run"]), Training(**made["training"]), Path(folder) / "run"
        )
    labels.unlink()
    count = len(gone)
    facts = [
        {
            "fact_id": fact.id,
            "before": [_short(before[at].probability), before[at].rank],
            "after": [_short(after[at].probability), after[at].rank],
            "sampled": _short(drawn[at]),
            "category": str(category[at][0]),
            "in_context": category[at][1],
            "relearned": back[at],
            "other": [_short(after[count + at].probability), after[count + at].rank],
            "other_sampled": _short(drawn[count + at]),
        }
        for at, fact in enumerate(gone)
    ]
    of_kept = [(before[at].probability, after[at].probability) for at in range(2 * count, len(asked))]
    middle = [_short(median(values)) for values in zip(*of_kept, strict=True)] if of_kept else None
    return row | {"facts": facts, "kept": middle, "hardware": bases.hardware()}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _show(found: Mapping[str, Any], out: Path) -> None:
    """The lines, and the picture."""
    from fthall.why import pictures

    _tell(found)
    pictures.availability(found, out.with_suffix(".svg"))
    say(f"a picture: {out.with_suffix('.svg')}")


def _tell(found: Mapping[str, Any]) -> None:
    """A few lines a run."""
    from fthall.why import available

    for one in found["runs"]:
        told = available.summary(one)
        say(f"{one['run']}: {told.pop('lost')} of {told.pop('right before')} facts lost; of these, right or likely:")
        for what, count in told.items():
            say(f"  {what:34} {count:4}")
        if one["facts"]:
            was, now = (median(row[when][0] for row in one["facts"]) for when in ("before", "after"))
            kept = "" if one["kept"] is None else f"; of those kept {one['kept'][0]:.2f} and {one['kept'][1]:.2f}"
            say(f"  probability of the right answer, median: {was:.2f} before, {now:.2g} after{kept}")
