"""What only a GPU can do, in one go that can be interrupted: speed, labels, baselines, sweeps, experiments, more facts.

    python benchmark/gpu.py --out gpu-results        (make gpu)

It needs torch, transformers, accelerate and peft, and what fthall itself needs; nothing is downloaded but by the
loader of EntityQuestions. Each stage is a command that anyone can type; a stage whose result is there is left out, so
the same line goes on after an interruption. What is timed is alone on the machine; then two lanes of stages go on
beside each other, with half of the jobs each, so that one computes while the other starts or ends. ``--smallest`` does
the first stages on a handful of facts, on a processor too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(os.path.relpath(Path(__file__).resolve().parent))  # as a submission's card shows it
RECIPES = HERE / "recipes"
SMALL = ["--known", "4", "--unknown", "4", "--held", "4", "--held-val", "2"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A command, and the file or folder by which it is known to be done."""

    name: str
    command: tuple[str | Path, ...]
    done: Path
    lane: int = 1
    """1 or 2; those of 0 are timed, and done before the others."""
    plan: str | None = None
    """What is written first into the file that the command reads as its first argument."""


def fthall(*arguments: str | Path) -> tuple[str | Path, ...]:
    """A command of fthall's."""
    return (sys.executable, "-m", "fthall", *arguments)


def study(name: str, *arguments: str | Path) -> tuple[str | Path, ...]:
    """A study."""
    return (sys.executable, HERE / "studies" / f"{name}.py", *arguments)


def stages(out: Path, jobs: int, *, smallest: bool) -> Iterator[Stage]:
    """All of them, in order; those that decide most first."""
    beside: list[str | Path] = ["--jobs", str(jobs), "--not-resumable", "--no-tracking", "--work", out / "runs"]
    kept: list[str | Path] = ["--discard-checkpoints", "--submissions", out / "submissions"]
    few = ["--questions", "4", "--rounds", "1"] if smallest else ["--questions", "4096", "--batch-size", "1024"]
    speed = out / "engine-speed.json"
    yield Stage(
        "speed",
        study("engine_speed", "--source", "geonames", "--relation", "country_of_asian_city", *few, "--out", speed),
        speed,
        lane=0,
    )
    if not smallest:
        graphs = out / "graph-steps.json"
        yield Stage("graphs", study("graph_steps", "--out", graphs), graphs, lane=0)
    recipe, sweeps = RECIPES / "geonames-smollm2-135m.yaml", sorted(RECIPES.glob("*-sweep.yaml"), reverse=True)
    plans: dict[Path, str] = {}
    if smallest:
        release = out / "small/geonames/smollm2-135m"
        again = fthall("release", "build", "--again", "geonames/smollm2-135m", "--out", release, *SMALL)
        yield Stage("small", again, release)
        plans = {out / "small" / file.name: _shrunk(file, release) for file in (recipe, sweeps[0])}
        recipe, sweeps = next(iter(plans)), list(plans)[1:]
    yield Stage("geonames", fthall("run", recipe, *beside, *kept), out / "geonames-done", plan=plans.get(recipe))
    if not smallest:
        more = ["--only", "sft-known,sft,self-distill", "--seeds", "3,4"]
        yield Stage("geonames-more", fthall("run", recipe, *more, *beside, *kept), out / "geonames-more-done")
        on = RECIPES / "entityquestions.yaml"
        yield Stage("entityquestions", fthall("run", on, *beside, *kept), out / "entityquestions-done")
    for sweep in sweeps:
        tuned = (out if smallest else RECIPES) / f"{sweep.stem}-tuned.yaml"
        lane = 1 if smallest else 2
        tried = fthall("sweep", sweep, "--out", tuned, *beside)
        yield Stage(sweep.stem, tried, out / f"{sweep.stem}-tried", lane, plan=plans.get(sweep))
        yield Stage(f"{sweep.stem}-tuned", fthall("run", tuned, *beside, *kept), out / f"{sweep.stem}-done", lane)
    if smallest:
        return
    yield Stage(
        "settle",
        study("settle", "--jobs", str(jobs), "--work", out / "settle", "--out", out / "settle.json"),
        out / "settle.json",
    )
    for experiment in sorted((RECIPES / "why").glob("*.yaml")):
        found = out / f"why-{experiment.stem}.json"
        asked = fthall("experiment", experiment, "--preset", "gpu", "--out", found, *beside)
        yield Stage(f"why-{experiment.stem}", asked, found)
    many = out / "many/entityquestions/smollm2-135m"
    sizes = ["--known", "200", "--unknown", "4600", "--held", "363", "--held-val", "150"]
    rule = ["--min-highly-known", "0.015", "--held-from", "all", "--without-given-away"]
    again = fthall("release", "build", "--again", "entityquestions/smollm2-135m", "--out", many, *sizes, *rule)
    yield Stage("many", again, many)
    main: list[str | Path] = ["--track", many, "--only", "sft-known,sft,self-distill"]
    yield Stage(
        "many-runs",
        fthall(
            "run",
            RECIPES / "entityquestions.yaml",
            *main,
            *beside,
            "--discard-checkpoints",
            "--submissions",
            out / "many-submissions",
        ),
        out / "many-done",
    )
    labels = out / "entityquestions.parquet"
    yield Stage(
        "labels",
        fthall("slick", "--source", "entityquestions", "--adaptive", "--batch-size", "1024", "--out", labels),
        labels,
    )


def _shrunk(file: Path, track: Path) -> str:
    """A recipe's first run for an epoch, or a sweep's first family with two trials, on another track."""
    plan = yaml.safe_load(file.read_text(encoding="utf-8"))
    plan |= {"track": str(track), "seeds": [0], "training": {**plan["training"], "epochs": 1, "evaluate_every": 1}}
    if "families" in plan:
        family = plan["families"][0]
        family["grid"] = {"learning_rate": family["grid"]["learning_rate"][:2]}
        plan |= {"trials": 2, "families": [family]}
    else:
        plan["runs"] = plan["runs"][:1]
    return str(yaml.safe_dump(plan))


@contextmanager
def sharing() -> Iterator[None]:
    """Meanwhile kernels of several processes run on the GPU at once (NVIDIA's MPS), where it has that service."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None or os.environ.get("CUDA_MPS_PIPE_DIRECTORY"):
        yield
        return
    places = {"CUDA_MPS_PIPE_DIRECTORY": "/tmp/fthall-mps", "CUDA_MPS_LOG_DIRECTORY": "/tmp/fthall-mps-log"}  # noqa: S108
    for place in places.values():
        Path(place).mkdir(exist_ok=True)
    os.environ.update(places)
    started = subprocess.run([control, "-d"], check=False).returncode == 0  # noqa: S603
    try:
        yield
    finally:
        if started:
            subprocess.run([control], input="quit\n", text=True, check=False)  # noqa: S603
        for name in places:
            del os.environ[name]


def main() -> int:
    """All stages; one that fails does not keep the others from being done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument(
        "--jobs", type=int, default=14, help="runs at a time, on both lanes: each takes 8 GiB and a core"
    )
    parser.add_argument("--smallest", action="store_true", help="a handful of facts: tests the machinery")
    parser.add_argument("--only", help="stages, separated by commas")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so long")
    given = parser.parse_args()
    out = given.out.resolve()
    planned = list(stages(out, max(1, given.jobs // 2), smallest=given.smallest))
    chosen = given.only.split(",") if given.only else [stage.name for stage in planned]
    if unknown := set(chosen) - {stage.name for stage in planned}:
        parser.error(f"unknown stage {min(unknown)!r}; known are {', '.join(stage.name for stage in planned)}")
    (out / "logs").mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * given.minutes
    lanes = [[s for s in planned if s.lane == lane and s.name in chosen and not s.done.exists()] for lane in range(3)]
    with sharing():
        failed = go(lanes[0], out, until)
        with ThreadPoolExecutor(2) as both:
            failed += sum(both.map(lambda lane: go(lane, out, until), lanes[1:]))
    return 1 if failed else 0


def go(lane: Sequence[Stage], out: Path, until: float) -> int:
    """One stage after the other; how many failed."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.resolve()), os.environ.get("PYTHONPATH")])),
    }
    failed = 0
    for stage in lane:
        if time.monotonic() > until:
            tell(f"{stage.name}: no time left; the same line goes on")
            continue
        began = time.monotonic()
        if stage.plan is not None:
            planned = Path(stage.command[4])  # python -m fthall run FILE
            planned.parent.mkdir(parents=True, exist_ok=True)
            planned.write_text(stage.plan, encoding="utf-8")
        with (out / "logs" / f"{stage.name}.log").open("w", encoding="utf-8") as log:
            command = [str(part) for part in stage.command]
            done = subprocess.run(command, env=env, stdout=log, stderr=subprocess.STDOUT, check=False)  # noqa: S603
        code = done.returncode
        if code == 0 and not stage.done.exists():
            stage.done.touch()
        failed += code != 0
        said = f"failed ({code}), see {log.name}" if code else "done"
        tell(f"{stage.name}: {said}, {time.monotonic() - began:.0f} s")
    return failed


def tell(line: str) -> None:
    """A line at once."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
