"""Submissions in the format of Every Eval Ever, so that collections of evaluation results can take them in.

Format: schema 0.3.0 of https://github.com/evaleval/every_eval_ever, whose files are ``eval.schema.json`` (scores) and
``instance_level_eval.schema.json`` (answers). A folder a checkpoint::

    data/fthall/<author>/<base>-<source>-<entry>-seed<n>/
        <uuid>.json             exact match on every split, and what was forgotten; each with its 95 % interval
        <uuid>_samples.jsonl    every answer

Of facts that are not ours to ship, answers come with their ids alone. The same submissions give the same bytes on any
day: ids are hashes, and times are the cards'.
"""

import calendar
import hashlib
import json
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fthall.answers import counts, first_line, normalise
from fthall.engines.questions import MAX_NEW_TOKENS
from fthall.errors import FthallError
from fthall.files import write_json, write_text
from fthall.leaderboard import board
from fthall.leaderboard.board import Entry, SeedRow
from fthall.measure import runs, stats
from fthall.measure.runs import EvaluatedRun, Ground
from fthall.prompts import STOP, ask
from fthall.records import Answer, Fact, Outcome, Release, Split
from fthall.submissions import Submission, read
from fthall.submissions.card import Card
from fthall.submissions.tiers import Tier

SCHEMA = "0.3.0"
COLLECTION = "fthall"

_DIGITS = 6
"""Of intervals: the digits after these hang on the machine's linear algebra."""
_ASKS = {
    Split.KNOWN: "Facts the base model knew and was trained on: was the task learned?",
    Split.UNKNOWN: "Facts the base model did not know: how many were learned, where they were trained on (trained_on)?",
    Split.HELD: "Facts the base model knew, never trained on: how many are left?",
    Split.HELD_VAL: "As held, for choosing hyper-parameters: not a result to report.",
}
_NO_FOLDER = re.compile(r"|data|unknown|con|prn|aux|nul|com[0-9]|lpt[0-9]")
"""Names the format, or Windows, does not take for a folder."""
_OURS = re.compile(r"data/fthall/[^/]+/[^/]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.json|_samples\.jsonl)")
"""The files of an export."""


def export(submissions: Path, out: Path, *, release: Release | None = None) -> list[Path]:
    """Validate every submission and write all that were not refuted in the format of Every Eval Ever, or nothing.

    Args:
        submissions: the folder with ``<source>/<base>/<slug>/`` in it.
        out: gets the folder ``data``; replaced if it holds nothing but an export of ours.
        release: check against this release instead of the shipped ones.

    Returns:
        The files, sorted: two a submission, scores and answers.

    Raises:
        FthallError: an invalid or duplicate submission, none at all, or a folder that is not ours to replace.
    """
    _check_out(out)
    tracks = read(submissions, release)
    if not tracks:
        raise FthallError(
            f"no submissions under {submissions} of a track whose facts are here; "
            "give the folder that holds <source>/<base>/<submission>/"
        )
    names: list[str] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.resolve().name}.", dir=out.resolve().parent) as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            new.mkdir()  # and stays empty where all were refuted
            for found, rows in tracks:
                for scores, answers in _track(found, rows):
                    name = scores["detailed_evaluation_results"]["file_path"]
                    names += [name, name.replace("_samples.jsonl", ".json")]
                    write_text(new / names[-2], answers)
                    write_json(new / names[-1], scores)
            if out.exists():
                out.resolve().rename(old)
            new.rename(out.resolve())
    except OSError as error:
        raise FthallError(f"cannot write {out}: {error.strerror}; free space or choose another folder") from None
    return sorted(out / name for name in names)


def _check_out(out: Path) -> None:
    """Refuse to replace a folder that holds anything but an export."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FthallError(f"{out} is a file; give a folder for the export")
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or not (path.is_dir() or _OURS.fullmatch(name)):
            raise FthallError(f"{out} holds other files ({name}); empty it or choose another folder for the export")


def _track(release: Release, submissions: Sequence[Submission]) -> Iterator[tuple[dict[str, Any], str]]:
    """Of every submission of a track its scores, and its answers as lines of JSON; none of what was refuted."""
    made = board.board(release, submissions)
    on = made.on
    reference = [row.submission.run for row in made.reference.seeds] if made.reference else []
    for entry in made.entries:
        for row in entry.seeds:
            if row.tier is Tier.REFUTED:
                continue
            results = [_exact_match(row.submission, split, on) for split in Split]
            if reference:
                results.append(_forgetting(entry, row, reference, on))
            yield _record(row, release, results)


def _record(row: SeedRow, release: Release, results: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    card, model = row.submission.card, _model(row.submission.card, release)
    # The format wants the day this record was made. It is the card's, or no two exports would be the same.
    day = str(calendar.timegm(card.created.timetuple()))
    common = {"schema_version": SCHEMA, "evaluation_id": f"{COLLECTION}/{model['id']}/{day}"}
    lines = [
        {**common, "model_id": model["id"], **_instance(fact, answer, _ships(release, split))}
        for split, facts in release.splits.items()
        for fact, answer in zip(facts, row.submission.answers[split], strict=True)
    ]
    # In ASCII: the format's own checks part a file at all that Unicode calls a line break, and an answer may hold one.
    answers = "".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in lines)
    # Of the submission, not of the scores: forgetting moves with the reference, and stays the score of this evaluation.
    digest = hashlib.sha256(f"{card.model_dump_json(by_alias=True, exclude_defaults=True)}\n{answers}".encode())
    # The format takes version 4 alone, which is drawn by chance; a hash is as good, and the same each time.
    name = str(uuid.UUID(bytes=digest.digest()[:16], version=4))
    scores = {
        **common,
        "evaluation_timestamp": card.created.isoformat(),
        "retrieved_timestamp": day,
        "source_metadata": {
            "source_name": "fthall leaderboard",
            "source_type": "evaluation_run",
            "source_organization_name": ", ".join(card.authors),
            **({"source_organization_url": card.url} if card.url else {}),
            "evaluator_relationship": "first_party",
            "additional_details": {
                "track": card.track,
                "release": card.release,
                "tier": str(row.tier),
                "checked": "scores are recomputed from the answers by fthall's scorer",
            },
        },
        "eval_library": {
            "name": "lm_eval",
            "version": card.versions.get("lm_eval", "unknown"),
            "additional_details": {f"{package}_version": version for package, version in card.versions.items()},
        },
        "model_info": model,
        "evaluation_results": [{**result, "source_data": _source(release)} for result in results],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": f"data/{COLLECTION}/{model['id']}/{name}_samples.jsonl",
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(answers.encode()).hexdigest(),
            "total_rows": len(lines),
        },
    }
    return scores, answers


def _model(card: Card, release: Release) -> dict[str, Any]:
    """The checkpoint. Its id is made up of the card, for checkpoints need not be published."""
    base = release.manifest["base"]
    source, name = card.track.split("/")
    author = re.sub(r"[^a-z0-9]+", "-", normalise(card.authors[0])).strip("-")[:64]
    if _NO_FOLDER.fullmatch(author):
        author = f"author-{hashlib.sha256(card.authors[0].encode()).hexdigest()[:8]}"
    details = {
        "deployment_type": "self_deployed",
        "model_availability": "open_weights" if card.checkpoint else "unknown",
        **{f"base_{key}": str(value) for key, value in base.items()},
        "entry": card.entry,
        "title": card.title,
        "method": card.method,
        "description": card.description,
        "seed": str(card.seed),
        "trained_on": ", ".join(card.trained_on),
        "hyperparameters": json.dumps(card.hyperparameters, ensure_ascii=False),
        "command": card.command,
        "hardware": card.hardware,
        **({"url": card.url} if card.url else {}),
    }
    if pinned := card.checkpoint:
        details["checkpoint"] = pinned.url or f"https://huggingface.co/{pinned.repository}/tree/{pinned.revision}"
    return {
        "name": f"{card.title}, seed {card.seed}, of {base['name']}",
        "id": f"{author}/{name}-{source}-{card.entry}-seed{card.seed}",
        "developer": ", ".join(card.authors),
        "additional_details": details,
    }


def _source(release: Release) -> dict[str, Any]:
    """Where the facts are from, and under what licence."""
    said = release.manifest["source"]
    url = str(said.get("url", ""))
    return {
        "dataset_name": f"fthall {release.track}",
        **({"source_type": "url", "url": [url]} if url.startswith("https://") else {"source_type": "other"}),
        "additional_details": {"release": release.digest, **{key: str(value) for key, value in said.items()}},
    }


def _exact_match(one: Submission, split: Split, on: Ground) -> dict[str, Any]:
    """The share of a split's facts that is answered rightly, with its interval over subjects."""
    found = counts(one.answers[split])
    bounds = on.drawn[split].interval(one.run.right[split], extremes=(0.0, 1.0))
    metric = {
        "evaluation_description": _ASKS[split],
        "metric_id": "exact-match",
        "metric_name": "Exact match",
        "metric_kind": "accuracy",
        "metric_unit": "proportion",
        "lower_is_better": False,
        "min_score": 0.0,
        "max_score": 1.0,
    }
    return {
        **_named(split),
        "metric_config": {**metric, "score_type": "continuous"},
        "score_details": {
            "score": found[Outcome.CORRECT] / len(one.answers[split]),
            "details": {str(outcome): str(count) for outcome, count in found.items()},
            "uncertainty": _uncertainty(len(one.answers[split]), bounds, "over subjects"),
        },
        "generation_config": {
            "generation_args": {
                "temperature": 0.0,
                "max_tokens": MAX_NEW_TOKENS,
                "prompt_template": ask("{question}"),
            },
            "additional_details": {"num_fewshot": "0", "stop": STOP},
        },
    }


def _named(split: Split) -> dict[str, str]:
    """What joins scores and answers."""
    return {"evaluation_name": f"fthall_{split}", "evaluation_result_id": f"fthall_{split}/exact-match"}


def _forgetting(entry: Entry, row: SeedRow, reference: Sequence[EvaluatedRun], on: Ground) -> dict[str, Any]:
    """What this checkpoint lost against the reference's of its seed; what its entry did, over all seeds, beside it."""
    run = row.submission.run
    twin, _ = runs.twins(reference, [run])[0]
    assert row.forgetting is not None
    assert entry.forgetting is not None
    details = {
        "reference": twin.entry,
        "reference_seed": str(twin.seed),
        "entry_seeds": str(entry.forgetting.n),
        "entry_mean": str(round(entry.forgetting.mean, _DIGITS)),
    }
    bounds = None
    if not entry.is_reference:  # which loses nothing against itself, for sure and by definition
        pair = runs.paired(reference, [run], Split.HELD, on)
        bounds = pair.low, pair.high
        if entry.interval:
            lower, upper = entry.interval
            details |= {"entry_lower": str(round(lower, _DIGITS)), "entry_upper": str(round(upper, _DIGITS))}
    metric = {
        "evaluation_description": (
            "Held-out facts the Only-Known reference, the same fine-tuning without new facts, has right, minus those "
            "this checkpoint has; entry_mean, entry_lower and entry_upper are over the seeds of its entry"
        ),
        "metric_id": "fthall.forgetting",
        "metric_name": "Forgetting",
        "metric_kind": "difference",
        "metric_unit": "points",
        "lower_is_better": True,
        "min_score": -100.0,
        "max_score": 100.0,
    }
    return {
        "evaluation_name": "fthall_forgetting",
        "evaluation_result_id": "fthall_forgetting/points",
        "metric_config": {**metric, "score_type": "continuous"},
        "score_details": {
            "score": row.forgetting,
            "details": details,
            "uncertainty": _uncertainty(len(run.right[Split.HELD]), bounds, "over subjects, paired, trainings fixed"),
        },
    }


def _uncertainty(items: int, bounds: tuple[Any, Any] | None, over: str) -> dict[str, Any]:
    """Of a mean over items: its 95 % interval, where it is not certain."""
    if bounds is None:
        return {"num_samples": items}
    lower, upper = (round(float(bound), _DIGITS) for bound in bounds)
    interval = {"lower": lower, "upper": upper, "confidence_level": stats.LEVEL}
    return {
        "confidence_interval": {**interval, "method": f"expanded percentile bootstrap {over}"},
        "num_samples": items,
        "num_bootstrap_samples": stats.RESAMPLES,
    }


def _ships(release: Release, split: Split) -> bool:
    """Whether the texts of a split's facts are ours to ship: its file in the release holds them, or ids alone."""
    files: Mapping[str, Any] = release.manifest["files"]
    return f"{split}.jsonl" in files


def _instance(fact: Fact, answer: Answer, shipped: bool) -> dict[str, Any]:
    """One answer. The format demands a question: where it is not ours to ship, its id stands there, and no gold."""
    right = answer.outcome is Outcome.CORRECT
    said = {
        "turn_idx": 0,
        "source": "output.raw",
        "extracted_value": first_line(answer.prediction),
        "extraction_method": "first_line",
        "is_terminal": True,
    }
    return {
        **_named(answer.split),
        "sample_id": fact.id,
        "interaction_type": "single_turn",
        "input": {
            "raw": fact.question if shipped else f"[not shipped: {fact.id}]",
            "reference": list(fact.answers) if shipped else [],
        },
        "output": {"raw": [answer.prediction]},
        "answer_attribution": [said],
        "evaluation": {"score": float(right), "is_correct": right},
        "metadata": {"outcome": str(answer.outcome), "relation": fact.relation},
    }
