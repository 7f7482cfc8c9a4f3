"""The folder that ``lm_eval --log_samples --output_path`` wrote, read with suspicion.

Both layouts are read: ``<path>/<model>/results_<time>.json``, and ``<name>_<time>.json`` of an output path that ends in
``.json``; the answers lie beside it, as ``samples_<task>_<time>.jsonl``. Nothing that is said there about documents and
prompts is believed: both are made again from the release and must be the same, by their text and by lm-eval's hashes.
An evaluation that was not as the track's is refused: a chat template, exemplars, a limit, another type of weights.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fthall.answers import first_line, judge
from fthall.engines.questions import MAX_NEW_TOKENS
from fthall.errors import FthallError
from fthall.files import read_json, read_jsonl
from fthall.prompts import OTHERWISE, ask, document
from fthall.records import Answer, Fact, Release, Split
from fthall.schema import shown
from fthall.submissions.card import CALIBRATED
from fthall.submissions.make.of_model import Given
from fthall.submissions.make.write import card_of, versions, write_submission

_TIME = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d[.\d]*)$")


def is_output(place: Path) -> bool:
    """Whether a path is what lm-eval wrote, and no checkpoint."""
    return bool(_results(place)) and not (place / "config.json").is_file()


def _results(place: Path) -> list[Path]:
    """Files of results under an output path, in either layout."""
    if place.is_file():
        return [place] if place.suffix == ".json" and _TIME.search(place.stem) else []
    return sorted(file for file in (*place.glob("*.json"), *place.glob("*/results_*.json")) if _TIME.search(file.stem))


def from_output(place: Path, given: Given, *, checkpoint: Path | None = None) -> Path:
    """Write a submission of the answers of an evaluation.

    Args:
        place: the output path of lm-eval, or the one file of results in it that is meant.
        given: the rest; without a command in its card, lm-eval's is written there.
        checkpoint: the folder of the weights that answered; by default where lm-eval read them, if that is a folder.

    Returns:
        ``<out>/<track>/<entry>-seed<n>``.

    Raises:
        FthallError: there are several evaluations, one was not as the track's, its documents or prompts are others than
            the release's, the card is not whole, or the folder exists.
    """
    found = _results(place)
    if len(found) != 1:
        raise FthallError(
            f"{place} holds {len(found)} evaluations"
            + (f", of {found[0].name} and others; give the file of one" if found else "; give lm-eval's --output_path")
        )
    results = read_json(found[0])
    release = given.release
    _check_how(found[0], results)
    answers = {split: _answers(found[0], split, release) for split in Split}
    named = _argument(results, "peft") or _argument(results, "pretrained")
    card = {"command": _command(results, release.track), **given.card}
    where = checkpoint or (Path(named) if named and Path(named).is_dir() else None)
    told = {
        name: str(results[key])[:80] for name in ("lm_eval", "transformers") if results.get(key := f"{name}_version")
    }
    folder = given.folder()
    whole = card_of(card, release, checkpoint=given.pin(where), asked_by={**versions("fthall"), **told})
    write_submission(folder, card=whole, answers=answers, release=release, trained=given.trained)
    return folder


def _check_how(file: Path, results: Any) -> None:
    """That the evaluation was the track's own."""
    if not isinstance(results, dict):
        raise FthallError(f"{file} is no results of lm-eval; give the file it called results_…")
    parts = [results.get(name) for name in ("config", "configs", "results")]
    for name, part in zip(("config", "configs", "results"), parts, strict=True):
        if not isinstance(part, dict):
            raise FthallError(f"{file} has no {name}; it is none that lm-eval {CALIBRATED[-1]} wrote")
    config, configs, numbers = (part for part in parts if isinstance(part, dict))
    if (version := results.get("lm_eval_version")) not in CALIBRATED:
        raise FthallError(
            f"{file} was written by lm-eval {shown(version)[:80]}; the tracks are calibrated on {', '.join(CALIBRATED)}"
        )
    switches = {
        f"--model {config.get('model')}": config.get("model") != "hf",
        f"weights in {config.get('model_dtype')}": config.get("model_dtype") != "torch.float32",
        "--apply_chat_template": results.get("chat_template") or results.get("fewshot_as_multiturn"),
        "--system_instruction": results.get("system_instruction"),
        "--num_fewshot": config.get("num_fewshot"),
        "--limit": config.get("limit"),
        "--gen_kwargs": config.get("gen_kwargs"),
    }
    if used := [shown(name)[:80] for name, on in switches.items() if on]:
        raise FthallError(
            f"{file}: asked with {', '.join(used)}; a track is asked by --model hf with dtype=float32 in --model_args, "
            "as plain text, without exemplars or limit: evaluate again"
        )
    for split in Split:
        task = f"fthall_{split}"
        own, found = configs.get(task), numbers.get(task)
        if not isinstance(own, dict) or not isinstance(found, dict):
            raise FthallError(f"{file} has no results of {task}; evaluate --tasks fthall")
        if any(str(metric).startswith(OTHERWISE) for metric in found) or own.get("num_fewshot"):
            raise FthallError(f"{file}: {task} was asked otherwise than the track is; evaluate again without switches")


def _answers(file: Path, split: Split, release: Release) -> tuple[Answer, ...]:
    """The answers of a split, in the release's order."""
    time = _TIME.search(file.stem)
    assert time is not None
    path = file.with_name(f"samples_fthall_{split}_{time[1]}.jsonl")
    if not path.is_file():
        raise FthallError(f"no file {path}; evaluate with --log_samples, and hand in all that it writes")
    facts = {fact.id: fact for fact in release.splits[split]}
    said: dict[str, str] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        where = f"{path}, line {number}"
        try:
            fact_id, text = row["doc"]["fact_id"], row["filtered_resps"][0]
            fact = facts.get(str(fact_id))
            if fact is None or fact.id in said:
                what = "is none of the release's" if fact is None else "was asked twice"
                raise FthallError(f"{where}: {shown(json.dumps(fact_id))[:200]} {what}")
            _check_asked(where, row, fact)
            if not isinstance(text, str):
                raise TypeError("an answer that is no text")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise FthallError(
                f"{where}: not as lm-eval writes it ({type(error).__name__}: {shown(error)[:80]})"
            ) from None
        said[fact.id] = first_line(text)
    if lacking := facts.keys() - said.keys():
        raise FthallError(f"{path} lacks {len(lacking)} of the {len(facts)} facts of {split}; evaluate without --limit")
    return tuple(Answer(fact.id, split, said[fact.id], judge(said[fact.id], fact.answers)) for fact in facts.values())


def _check_asked(where: str, row: Mapping[str, Any], fact: Fact) -> None:
    """That document and prompt are those of the release, by text and by hash."""
    prompt, how = row["arguments"]["gen_args_0"]["arg_0"], row["arguments"]["gen_args_0"]["arg_1"]
    ours = document(fact)
    if row["doc"] != ours or row["doc_hash"] != _sha256(json.dumps(ours, indent=2, ensure_ascii=False)):
        raise FthallError(
            f"{where}: the document is not the release's; evaluate with the tasks of this version of fthall"
        )
    if prompt != ask(fact.question) or row["prompt_hash"] != _sha256(prompt):
        raise FthallError(f"{where}: the prompt is not the track's (a chat template, exemplars or another version?)")
    if how.get("do_sample") or how.get("max_gen_toks") != MAX_NEW_TOKENS:
        raise FthallError(f"{where}: not answered greedily with at most {MAX_NEW_TOKENS} tokens, as the track is")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _argument(results: Mapping[str, Any], name: str) -> str | None:
    """One of lm-eval's model arguments, which it writes as a mapping or as ``name=value,…``."""
    given = results["config"].get("model_args")
    if isinstance(given, str):
        given = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    found = given.get(name) if isinstance(given, Mapping) else None
    return str(found) if found else None


def _command(results: Mapping[str, Any], track: str) -> str:
    """What was typed, as far as it can be told."""
    parts = [
        f"{name}={Path(value).name if Path(value).is_absolute() else value}"
        for name in ("pretrained", "peft")
        if (value := _argument(results, name))
    ]
    metadata = json.dumps({"track": track})
    return (
        f"lm_eval --model hf --model_args {','.join([*parts, 'dtype=float32'])} --tasks fthall --metadata '{metadata}'"
    )
