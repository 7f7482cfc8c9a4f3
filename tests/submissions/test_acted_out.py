"""A stranger's pull request, acted out in small: a tiny model, a tiny track, the workflows' own scripts, real git."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from builders import fact, write_submission_folder
from fthall import bases
from fthall.engines import evaluate
from fthall.engines.hf import HfEngine
from fthall.knowledge import splits
from fthall.records import Category, Fact, Release, Split
from fthall.submissions import validate

ROOT = Path(__file__).parents[2]
TRACK = "geonames/tiny"
SIZES = {Split.KNOWN: 20, Split.UNKNOWN: 20, Split.HELD: 30, Split.HELD_VAL: 10}
PUBLISHED = f"ada/tiny@{'b' * 40}"
NEEDED = ("git", "jq", "make", "bash")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason=f"it needs {', '.join(NEEDED)}, as the workflows do"
)


@pytest.fixture(scope="module")
def acting() -> Iterator[Any]:
    """The study's module."""
    sys.path.insert(0, str(ROOT / "benchmark" / "studies"))
    yield importlib.import_module("act_pull_request")
    sys.path.remove(str(ROOT / "benchmark" / "studies"))


@pytest.fixture(scope="module")
def checkpoint(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base, moved a little: what a stranger trained."""
    import torch

    model, tokenizer = bases.load(bases.find(str(tiny_base)), device="cpu")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    folder = tmp_path_factory.mktemp("checkpoint")
    bases.save(model, tokenizer, folder)
    return folder


def build(place: Path, facts: list[Fact], digest: str) -> Release:
    kinds = [Category.UNKNOWN if "/u" in f.id else Category.HIGHLY_KNOWN for f in facts]
    rows = [(f.id, f.relation, str(k), [k is Category.HIGHLY_KNOWN] * 2) for f, k in zip(facts, kinds, strict=True)]
    return splits.build(
        place,
        track=TRACK,
        facts=facts,
        labels=pd.DataFrame(rows, columns=["fact_id", "relation", "category", "right"]),
        sizes=SIZES,
        source={"name": "geonames"},
        base={"name": "tiny", "weights_sha256": digest},
        slick={"runs": 2, "shots": 1},
    )


@pytest.fixture(scope="module")
def tree(tiny_base: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that ships a tiny track and its reference; of every second fact the checkpoint's answer is right."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("benchmark/fthall", "tasks/fthall", "leaderboard/templates", "leaderboard/static", ".github"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", "Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tree / name)
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True)
    digest = bases.weights_sha256(bases.find(str(tiny_base)))
    facts = [fact(f"{kind}{n:03}", origin="dev" if kind == "h" else "train") for kind in "kuh" for n in range(40)]
    facts = [one for one in facts if "/h" in one.id or int(one.id[-3:]) < 20]
    first = build(tmp_path_factory.mktemp("first") / "geonames" / "tiny", facts, digest)
    model, tokenizer = bases.load(bases.find(str(checkpoint)), device="cpu")
    said = {a.fact_id: a.prediction for rows in evaluate(HfEngine(model, tokenizer), first).values() for a in rows}
    easy = [replace(f, answers=(said[f.id],)) if n % 2 and said[f.id].strip() else f for n, f in enumerate(facts)]
    release = build(tree / "tasks" / "releases" / TRACK, easy, digest)
    right = {Split.KNOWN: 20, Split.HELD: 25, Split.HELD_VAL: 8}
    where = (tree / "submissions", release, "sft-known-seed0")
    write_submission_folder(*where, entry="sft-known", seed=0, trained_on=["known"], right=right)
    return tree


def test_from_fork_to_row(acting: Any, tree: Path, checkpoint: Path, tmp_path: Path) -> None:
    hub = acting.Hub()
    hub.publish(PUBLISHED, checkpoint)
    stage = acting.Stage(tmp_path / "play", tree, hub)
    made, _ = acting.submitted(stage, tmp_path, checkpoint, TRACK, PUBLISHED)
    release = splits.load(str(tree / "tasks" / "releases" / TRACK))
    one = validate(made, release)
    assert 0 < one.results.counts[Split.HELD].correct < SIZES[Split.HELD]
    forger = acting.Forger(yaml.safe_load((made / "submission.yaml").read_text()), one, release)
    known = {attempt.entry: attempt for attempt in acting.attempts(forger, one)}
    honest = acting.Attempt("honest", "ada-sft", partial(acting.hand_in, made), "verified", asked_again=True)
    forged, changes_the_check = known["eve-all"], known["eve-check"]

    seen = acting.act(stage, honest, TRACK, "a-later-round")
    assert seen.comment.splitlines()[:2] == ["<!-- fthall-review -->", "### Submission accepted by the check"]
    assert honest.found["tier_before_it_is_asked"] == ["recomputed"]
    assert {name.rsplit("/", 1)[1] for name in hub.sent} == {file.name for file in one.card.checkpoint.files}  # type: ignore[union-attr]
    asked = honest.found["asked_again"]
    assert asked["tier"] == "verified"
    assert {name: (of["asked"], of["flips"]) for name, of in asked["splits"].items()} == {
        str(split): (items, 0) for split, items in SIZES.items()
    }

    acting.act(stage, forged, TRACK, "a-later-round")
    assert forged.found["check"] == "accepted"
    assert forged.found["tier_before_it_is_asked"] == ["recomputed"]
    assert forged.found["asked_again"]["tier"] == "refuted"

    seen = acting.act(stage, changes_the_check, TRACK, "")
    assert (seen.report["accepted"], seen.comment) == (True, None)
    assert "it changes files outside submissions/ and reports that it is accepted: nothing is posted" in seen.said

    page = stage.site()
    assert acting.row(page, "ada-sft") == acting.Row("verified", "1", odd=False, grey=False)
    assert acting.row(page, "eve-all").tier == "refuted"
    assert acting.row(page, "eve-all").rank == "–"
    assert acting.row(page, "eve-check") is None
