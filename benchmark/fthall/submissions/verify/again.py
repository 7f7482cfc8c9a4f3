"""``fthall verify``, all of it: validate, fetch, draw, ask, judge."""

import datetime
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fthall.answers import judge
from fthall.bases import EMBEDDED
from fthall.errors import FthallError
from fthall.files import read_json, write_json, write_text
from fthall.knowledge import splits
from fthall.records import Release, Split
from fthall.schema import shown
from fthall.submissions import pinned
from fthall.submissions.card import Submission
from fthall.submissions.check import validate
from fthall.submissions.make.write import VERSIONED, versions
from fthall.submissions.tiers import Asked, Tier, Verification
from fthall.submissions.verify.bound import ITEMS, decide, draw, flip_rate, judge_split
from fthall.submissions.verify.fetch import fetch


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process that asks may take."""

    memory: int = 16 * 2**30
    """Bytes, resident."""
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found."""

    submission: Submission
    tier: Tier | None
    """Verified or refuted; None: too little was asked to tell."""
    asked: Mapping[Split, Asked]
    record: Mapping[str, Any]
    """The maintainers' file, as plain data; its tier is missing where there is none."""


def verify(
    folder: Path,
    *,
    track_argument: str | None = None,
    checkpoint: Path | None = None,
    base: str | None = None,
    seed: str | None = None,
    items: int = ITEMS,
    limits: Limits = Limits(),
    batch_size: int = 96,
    on_answers: Callable[[int], None] | None = None,
) -> Verdict:
    """Ask a random part of a submission's questions of the weights it pins.

    Args:
        folder: of the submission.
        track_argument: a release's folder instead of the shipped one of its track.
        checkpoint: a folder with the pinned files; by default they are fetched from where the card says.
        base: of an adapter or a delta: the track's base, as :func:`fthall.bases.find` takes it; by default the
            embedded one, where that is the track's.
        seed: what the draw hangs on; it must not have been known when the weights were pinned. By default it is drawn
            here, after the files were hashed.
        items: to ask, of each split.
        limits: of the process that asks.
        batch_size: questions asked at once.
        on_answers: called with the number of questions just answered.

    Raises:
        FthallError: the submission is invalid or pins nothing, the files are not those it pins, or they cannot be asked
            within the limits.
    """
    release = splits.load(track_argument) if track_argument else None
    one = validate(folder, release)
    release = release or splits.load(one.card.track)
    if (said := one.card.checkpoint) is None:
        raise FthallError(f"{folder} pins no checkpoint, so it cannot be verified; it stays what it is")
    if base is None and release.manifest["base"]["name"] == EMBEDDED:
        base = EMBEDDED
    if said.kind != "full" and base is None:
        raise FthallError(f"{folder} pins {said.kind} weights; type --base with the track's base model")
    with tempfile.TemporaryDirectory(prefix="fthall-verify-") as temporary:
        scratch = Path(temporary)
        if checkpoint is None:
            checkpoint = scratch / "checkpoint"
            fetch(said, checkpoint)
        pinned.check_files(said, checkpoint, pinned.base_header(one.card.base_weights_sha256))
        seed = seed or secrets.token_hex(16)  # not before the files were found to be those that are pinned
        ids = {
            split: draw([fact.id for fact in facts], items, seed, one.digest) for split, facts in release.splits.items()
        }
        (scratch / "whole").mkdir()
        job = {
            "release": track_argument or release.track,
            "checkpoint": str(checkpoint.resolve()),
            "kind": said.kind,
            "base": base,
            "ids": {str(split): list(chosen) for split, chosen in ids.items()},
            "batch_size": batch_size,
            "scratch": str(scratch / "whole"),
            "out": str(scratch / "answers.json"),
        }
        write_json(scratch / "job.json", job)
        _ask(scratch / "job.json", limits, on_answers)
        found = read_json(scratch / "answers.json")
    rate = flip_rate(release.track)
    asked = _compare(one, release, ids, found["answers"], rate)
    tier = decide(asked)
    record = {
        "schema": 1,
        "submission": one.digest,
        **({"tier": str(tier)} if tier else {}),
        "seed": seed,
        "asked": {str(split): of.model_dump() for split, of in asked.items()},
        "flip_rate": rate,
        "weights_sha256": found["weights_sha256"],
        "hardware": found["hardware"],
        "versions": versions(*VERSIONED),
        "on": datetime.date.today().isoformat(),
    }
    return Verdict(one, tier, asked, record)


def write(verdict: Verdict, root: Path) -> Path:
    """Write the maintainers' file of a verdict that says verified or refuted: ``<root>/<track>/<slug>.json``."""
    Verification.model_validate(verdict.record)
    path = root / verdict.submission.card.track / f"{verdict.submission.slug}.json"
    write_json(path, dict(verdict.record))
    return path


def _compare(
    one: Submission, release: Release, ids: Mapping[Split, tuple[str, ...]], said: Mapping[str, str], rate: float
) -> dict[Split, Asked]:
    """Outcomes of the weights' answers against those the submission claims."""
    asked = {}
    for split, facts in release.splits.items():
        chosen = set(ids[split])
        claimed = {answer.fact_id: answer.outcome for answer in one.answers[split]}
        flips = [f.id for f in facts if f.id in chosen and judge(said[f.id], f.answers) is not claimed[f.id]]
        asked[split] = judge_split(len(facts), len(chosen), flips, rate)
    return asked


def _ask(job: Path, limits: Limits, on_answers: Callable[[int], None] | None) -> None:
    """Run the process that asks, and end it if it takes too much."""
    import psutil

    told, went_wrong = job.with_name("told"), job.with_name("error")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    write_text(told, "")
    with told.open("wb") as out, went_wrong.open("wb") as error:
        process = subprocess.Popen(  # noqa: S603 - ourselves, with a file of ours
            [sys.executable, "-m", "fthall.submissions.verify.ask", str(job)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            env=environment,
        )
        watched, began, seen = psutil.Process(process.pid), time.monotonic(), 0
        try:
            while process.poll() is None:
                time.sleep(0.2)
                lines = told.read_bytes().split(b"\n")[:-1]
                if on_answers:
                    for line in lines[seen:]:
                        on_answers(int(line))
                seen = len(lines)
                over = _over(watched, limits, time.monotonic() - began)
                if over:
                    raise FthallError(
                        f"the checkpoint was given up: {over}; raise --memory or --minutes if that is too little"
                    )
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        said = went_wrong.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        why = shown((said or ["it said nothing"])[-1]).removeprefix("fthall: ")
        raise FthallError(f"the checkpoint cannot be asked: {why[:400]}")


def _over(process: Any, limits: Limits, seconds: float) -> str | None:
    """What it took too much of."""
    import psutil

    if seconds > limits.seconds:
        return f"it took more than {limits.seconds / 60:g} minutes"
    try:
        resident = process.memory_info().rss
    except psutil.Error:  # it has just ended
        return None
    return f"it took more than {limits.memory / 2**30:.3g} GiB of memory" if resident > limits.memory else None
