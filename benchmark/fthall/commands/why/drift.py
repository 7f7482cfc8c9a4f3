"""``fthall drift``: how far fine-tuning moves what a model makes of a name."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fthall.commands.options import BASE, DTYPES, TRACK, positive
from fthall.commands.progress import bar, display, quiet, say

if TYPE_CHECKING:
    from fthall.bases import Checkpoint
    from fthall.records import Release
    from fthall.why.drift import Floats, Probe
    from fthall.why.trace import Look, Target

NAME = "drift"
HELP = "how far do hidden states of names move, layer by layer, and does what moves most get lost?"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        help="folders of fthall run (all epochs: --keep-epochs), or of checkpoints; or a file of results, read again",
    )
    parser.add_argument(
        "--reference",
        action="append",
        type=Path,
        default=[],
        help="folder of an Only-Known run, one a seed: then also what goes with a fact's being lost",
    )
    parser.add_argument("--track", default=TRACK, help="name of a track, or a release's folder, they were trained on")
    parser.add_argument("--base", default=BASE, help="what they were trained from: name, folder or Hugging Face id")
    parser.add_argument("--revision", help="commit, tag or branch of --base")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--facts", type=positive, default=1000, help="looked at, at most, of each split")
    parser.add_argument("--out", type=Path, default=Path("drift.json"), help="results; a picture lies beside them")


def run(options: argparse.Namespace) -> None:
    """Do it."""
    from fthall import bases
    from fthall.files import write_json
    from fthall.knowledge import splits
    from fthall.why import trace

    quiet()
    if options.runs[0].suffix == ".json":
        _show(trace.read(options.runs[0]), options.out)
        return
    release = splits.load(options.track)
    todo = trace.targets(release, options.runs, options.reference)
    seen = trace.look(release, options.facts)
    named = bases.find(options.base, options.revision)
    base = bases.for_track(named, release.manifest["base"], release.track)
    header = {
        "schema": trace.SCHEMA,
        "track": release.track,
        "release": release.digest,
        "weights_sha256": bases.weights_sha256(base),
        "dtype": options.dtype,
        "groups": {name: len(texts) for name, texts in seen.groups.items()},
        "references": sorted("/".join(folder.resolve().parts[-2:]) for folder in options.reference),
    }
    found: dict[str, Any] = header | {"hardware": bases.hardware(), "points": []}
    if options.out.exists():
        found = trace.read(options.out)
        trace.unchanged(found, header, options.out)
    found["points"] = trace.fresh(found["points"], todo)
    done = {(point["run"], point["epoch"]) for point in found["points"]}
    left = [target for target in todo if (target.run, target.epoch) not in done]
    say(f"{len(todo)} checkpoints, {len(todo) - len(left)} of them in {options.out}")
    if left:
        _measure(left, seen, release, base, options, found)
    found["correlations"] = trace.correlations(found)
    write_json(options.out, found)
    _show(found, options.out)
    say(f"results: {options.out}")


def _measure(
    left: "Sequence[Target]",
    seen: "Look",
    release: "Release",
    base: "Checkpoint",
    options: argparse.Namespace,
    found: dict[str, Any],
) -> None:
    """Look at checkpoints; each is written when it is done."""
    from fthall import bases
    from fthall.files import write_json
    from fthall.finetune.folder import checkpoints
    from fthall.records import Split
    from fthall.why import trace

    held = str(Split.HELD)
    bounds = dict.fromkeys(target.reference for target in left if target.reference)
    with display() as progress:
        read = bar(progress, "texts read", seen.texts * (1 + len(left)) + len(seen.held) * len(bounds))
        tokenizer, before = _states(base, options.dtype, seen.groups, read)
        found["layer"] = trace.layer(len(before[held]))
        found["held"] = trace.described(seen.held, release, tokenizer)
        at_bound = {}
        for folder in bounds:
            place = bases.find(str(checkpoints(folder)[-1][1]))
            states = _states(place, options.dtype, {held: seen.groups[held]}, read)[1]
            at_bound[folder] = states[held][found["layer"]]
        for target in left:
            _, after = _states(bases.find(str(target.checkpoint)), options.dtype, seen.groups, read)
            bound = at_bound[target.reference] if target.reference else None
            found["points"] = [*found["points"], trace.point(target, seen, before, after, bound)]
            write_json(options.out, found)


def _states(
    checkpoint: "Checkpoint", dtype: str, groups: "Mapping[str, Sequence[Probe]]", on_probes: Callable[[int], None]
) -> "tuple[Any, dict[str, Floats]]":
    """(tokenizer, states by group) of a checkpoint."""
    from fthall import bases
    from fthall.why import drift

    model, tokenizer = bases.load(checkpoint, dtype=dtype)
    found = {name: drift.states(model, tokenizer, probes, on_probes=on_probes) for name, probes in groups.items()}
    del model
    bases.free_memory()
    return tokenizer, found


def _show(found: Mapping[str, Any], out: Path) -> None:
    """The lines, and the picture."""
    from fthall.why import pictures

    _tell(found)
    pictures.drift(found, out.with_suffix(".svg"))
    say(f"a picture: {out.with_suffix('.svg')}")


def _tell(found: Mapping[str, Any]) -> None:
    """A line a checkpoint, and a line a correlation."""
    at = found["layer"]
    say(f"cosine distance from the base at layer {at}, x 100, and linear CKA; {found['hardware']}")
    width = max(len(point["run"]) for point in found["points"])
    for point in found["points"]:
        epoch = "" if point["epoch"] is None else f"epoch {point['epoch']}"
        parts = [
            f"{name} {100 * of['cosine'][at]:5.2f}, " + ("none" if of["cka"][at] is None else f"{of['cka'][at]:.3f}")
            for name, of in point["of"].items()
        ]
        say(f"  {point['run']:{width}} {epoch:8}  {'   '.join(parts)}")
    if found["correlations"]:
        say("what goes with a held-out fact's being lost: rank correlation, 95 % interval over subjects")
    for row in found["correlations"]:
        told = "does not vary" if row["rho"] is None else f"{row['rho']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
        say(f"  {row['entry']:{width}} {row['what']:30} {told}; {row['lost']} of {row['items']} lost")
