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
from fthall.prompts import ask
from fthall.records import Category, Fact, Release, Split
from fthall.submissions import make, validate

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
    """A checkout that ships a tiny track and its reference; a third of the checkpoint's answers are right."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("benchmark/fthall", "tasks/fthall", "leaderboard/templates", "leaderboard/static", ".github"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", "Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tree / name)
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True)
    digest = bases.weights_sha256(bases.find(str(tiny_base)))
    facts = [fact(f"{kind}{n:02}", origin="dev" if kind == "h" else "train") for kind in "kuh" for n in range(20)]
    facts += [fact(f"h{n:02}", origin="dev") for n in range(20, 40)]
    model, tokenizer = bases.load(bases.find(str(checkpoint)), device="cpu")
    said = HfEngine(model, tokenizer).greedy([ask(f.question) for f in facts], max_new_tokens=16)
    easy = [
        replace(f, answers=(text,)) if n % 3 == 0 and text.strip() else f
        for n, (f, text) in enumerate(zip(facts, said, strict=True))
    ]
    release = build(tree / "tasks" / "releases" / TRACK, easy, digest)
    where = (tree / "submissions", release, "sft-known-seed0")
    right = {Split.KNOWN: 20, Split.HELD: 25, Split.HELD_VAL: 8}
    write_submission_folder(*where, entry="sft-known", seed=0, trained_on=["known"], right=right)
    return tree


@pytest.fixture(scope="module")
def release(tree: Path) -> Release:
    return splits.load(str(tree / "tasks" / "releases" / TRACK))


@pytest.fixture(scope="module")
def made(acting: Any, release: Release, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stranger hands in; lm-eval's answers would be these (``test_make.py``)."""
    model, tokenizer = bases.load(bases.find(str(checkpoint)), device="cpu")
    answers = evaluate(HfEngine(model, tokenizer), release)
    said = {**acting.CARD, "track": TRACK}
    given = make.Given(said, release, tmp_path_factory.mktemp("made"), published=PUBLISHED)
    card = make.card_of(said, release, checkpoint=given.pin(checkpoint))
    make.write_submission(given.folder(), card=card, answers=answers, release=release)
    return given.out / TRACK / "ada-sft-seed0"


@pytest.fixture
def hub(acting: Any, checkpoint: Path) -> Iterator[Any]:
    """Where the stranger published the checkpoint."""
    hub = acting.Hub()
    hub.publish(PUBLISHED, checkpoint)
    yield hub
    hub.shutdown()
    hub.server_close()


def test_from_fork_to_row(acting: Any, tree: Path, release: Release, made: Path, hub: Any, tmp_path: Path) -> None:
    stage = acting.Stage(tmp_path / "play", tree, hub)
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
