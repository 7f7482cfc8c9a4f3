"""``fthall control``: what the measure says where the true answer is known."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fthall.commands.options import BASE, DTYPES, TRACK, count, positive, submissions_option
from fthall.commands.progress import bar, display, quiet, say
from fthall.errors import FthallError
from fthall.records import Split

if TYPE_CHECKING:
    from fthall.bases import Checkpoint
    from fthall.measure.runs import EvaluatedRun
    from fthall.records import Answer, Release

NAME = "control"
HELP = "what the measure says where the true answer is known"


def configure(parser: argparse.ArgumentParser) -> None:
    """The controls, and their options."""
    kinds = parser.add_subparsers(required=True, metavar="CONTROL", dest="control")

    def kind(name: str, help: str) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=help, description=help)
        added.set_defaults(run=_control)
        added.add_argument("--track", default=TRACK, help="name of a track, or a release's folder")
        added.add_argument("--out", type=Path, help="write the result here, too (JSON)")
        added.add_argument("--base", default=BASE, help="the track's base: folder, Hugging Face id, embedded")
        added.add_argument("--revision")
        return added

    of_reference = kind("reference", "the reference handed in as an entry: must forget exactly nothing")
    submissions_option(of_reference)
    of_null = kind("null", "the base asked again in fresh contexts: what choosing 'always right' facts costs")
    of_null.add_argument("model", nargs="?", help="a fine-tuned checkpoint instead: what is lost, what out of reach")
    of_null.add_argument(
        "--samples", type=count, default=0, help="sampled answers a context where no greedy one is right"
    )
    of_null.add_argument("--submission", type=Path, help="the checkpoint's: what are the facts now that it forgot?")
    of_null.add_argument("--seed", type=int, default=1, help="of the contexts")
    of_null.add_argument("--runs", type=positive, help="contexts a fact (default: as many as the labels have)")
    of_null.add_argument("--labels", type=Path, default=Path("null.parquet"), help="every answer; resumed if begun")
    kind("noop", "training with learning rate 0: must change no answer")
    of_batching = kind("batching", "a checkpoint asked in other batches and orders, and by lm-eval: the noise floor")
    of_batching.add_argument("model", nargs="?", help="checkpoint (default: the base)")
    of_batching.add_argument("--dtype", default="float32", choices=DTYPES)


def _control(options: argparse.Namespace) -> None:
    import json

    from fthall import bases
    from fthall.files import write_json
    from fthall.knowledge import splits

    release = splits.load(options.track)
    if options.control == "reference":
        from fthall.measure import controls, runs
        from fthall.submissions import find_reference

        twins = find_reference(options.submissions / release.track / "any", release)
        found = controls.reference(twins, runs.ground(release))
    else:
        found = _model_control(options, release) | {"hardware": bases.hardware()}
    say(json.dumps(found, ensure_ascii=False, indent=1))
    if options.out:
        write_json(options.out, found)
    if not found.get("passed", True):
        raise FthallError(f"the control {options.control!r} did not pass on this machine; what it found is above")


def _model_control(options: argparse.Namespace, release: "Release") -> dict[str, Any]:
    """The controls that ask a model."""
    from fthall import bases
    from fthall.measure import controls

    quiet()
    named = bases.find(getattr(options, "model", None) or options.base, options.revision)
    checkpoint = bases.for_track(named, release.manifest["base"], release.track)
    if options.control == "noop":
        return controls.noop(release, *_trained_in_place(checkpoint, release))
    if options.control == "batching":
        from fthall.engines import lm_eval_answers

        model, tokenizer = bases.load(checkpoint, dtype=options.dtype)
        return controls.batching(
            release,
            model,
            tokenizer,
            lm_eval=lambda: lm_eval_answers(checkpoint, options.track, dtype=options.dtype, quiet=True)[0],
        )
    from fthall.engines.hf import HfEngine

    pair = _with_reference(options.submission, release) if options.submission else None
    model, tokenizer = bases.load(checkpoint, dtype=release.manifest["slick"]["dtype"])
    asked = options.model or options.base
    # The last two parts of a folder's path name a checkpoint; where it lies on this machine is nobody's business.
    name = "/".join(Path(asked).resolve().parts[-2:]) if Path(asked).is_dir() else asked
    identity = {"base": name, "weights_sha256": bases.weights_sha256(checkpoint)}
    runs = options.runs or int(release.manifest["slick"]["runs"])
    with display() as progress:
        advance = bar(progress, "null", runs * len(release.splits[Split.HELD]))
        found = controls.null(
            release,
            HfEngine(model, tokenizer, batch_size=96),
            options.labels,
            identity={**identity, "dtype": release.manifest["slick"]["dtype"]},
            seed=options.seed,
            runs=runs,
            samples=options.samples,
            on_answers=advance,
        )
    return found | ({"run": pair[1].slug, "forgotten_facts_are_now": controls.lost(found, *pair)} if pair else {})


def _trained_in_place(
    checkpoint: "Checkpoint", release: "Release", *, epochs: int = 1, batch_size: int = 16
) -> "tuple[dict[Split, tuple[Answer, ...]], dict[Split, tuple[Answer, ...]]]":
    """Every answer before and after a training with learning rate 0, through the whole path."""
    import tempfile

    from fthall import bases
    from fthall.engines import evaluate
    from fthall.engines.hf import HfEngine
    from fthall.finetune import Run, Training, read_answers
    from fthall.finetune.train import train

    model, tokenizer = bases.load(checkpoint, for_training=True)
    before = evaluate(HfEngine(model, tokenizer, batch_size=96), release)
    run = Run(entry="noop", title="No-op", method="sft")
    training = Training(epochs=epochs, batch_size=batch_size, learning_rate=0.0)
    with tempfile.TemporaryDirectory() as folder:
        train(release, model, tokenizer, run, training, 0, Path(folder), resumable=False)
        return before, read_answers(Path(folder) / "answers.jsonl")


def _with_reference(place: Path, release: "Release") -> "tuple[EvaluatedRun, EvaluatedRun]":
    """A submission, and the run of the reference it is compared with."""
    from fthall.measure.runs import twins
    from fthall.submissions import find_reference, find_runs

    runs, reference = find_runs(place, release), find_reference(place, release)
    if not reference or len(runs) != 1:
        raise FthallError(f"{place}: give the folder of one submission, with the Only-Known reference beside it")
    return twins(reference, runs)[0]
