"""Controls on tiny models, and that each can fail."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import fact, tiny_release, write_submission_folder
from fthall import bases
from fthall.cli import main
from fthall.commands.measure.control import _trained_in_place
from fthall.errors import FthallError
from fthall.measure import controls, report, runs
from fthall.records import Answer, Outcome, Release, Split
from fthall.submissions.check import validate


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return tiny_release(tmp_path)


def load(tiny_base: Path):
    return AutoModelForCausalLM.from_pretrained(tiny_base), AutoTokenizer.from_pretrained(tiny_base)


def test_the_reference_as_an_entry_scores_exactly_zero(
    tmp_path: Path, release: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write_submission_folder(
        tmp_path / "submissions",
        release,
        "sft-known-seed0",
        entry="sft-known",
        seed=0,
        trained_on=["known"],
        right={Split.KNOWN: 3, Split.HELD: 3},
    )
    found = controls.reference([validate(place, release).run], runs.ground(release))
    assert found == {"control": "reference", "passed": True, "forgetting": 0.0, "p": 1.0, "runs": 1}
    options = ["--track", str(tmp_path / "release"), "--submissions", str(tmp_path / "submissions")]
    assert main(["control", "reference", *options, "--out", str(tmp_path / "out.json")]) == 0
    assert '"passed": true' in (tmp_path / "out.json").read_text()
    with pytest.raises(FthallError, match="no Only-Known reference"):
        controls.reference([], runs.ground(release))


def test_training_with_learning_rate_0_changes_no_answer(tiny_base: Path, release: Release) -> None:
    found = controls.noop(release, *_trained_in_place(bases.find(str(tiny_base)), release))
    assert found["passed"]
    assert found["compared"] == 12


def test_a_training_that_changes_answers_is_caught(
    tiny_base: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fthall import finetune

    class Moved(finetune.Training):
        def __init__(self, **values):
            super().__init__(**{**values, "learning_rate": 0.05, "epochs": 3})

    monkeypatch.setattr(finetune, "Training", Moved)
    found = controls.noop(release, *_trained_in_place(bases.find(str(tiny_base)), release))
    assert not found["passed"]
    assert found["changed"]


def test_answers_do_not_hang_on_batches(tiny_base: Path, release: Release) -> None:
    model, tokenizer = load(tiny_base)
    said = {split: [Answer(f.id, split, "x", Outcome.WRONG) for f in facts] for split, facts in release.splits.items()}
    found = controls.batching(release, model, tokenizer, batch_sizes=(1, 5), lm_eval=lambda: said)
    assert found["differing"] == {"batches of 1": [], "another order": [], "lm-eval": []}
    assert (found["flip_rate"], found["floor"], found["compared"]) == (0, 0, 12)
    flipped = replace_one(said, release)
    found = controls.batching(release, model, tokenizer, batch_sizes=(1, 5), lm_eval=lambda: flipped)
    assert found["floor"] == 25  # one held fact of four
    assert found["flip_rate"] == pytest.approx(100 / 36)


def replace_one(said: dict[Split, list[Answer]], release: Release) -> dict[Split, list[Answer]]:
    first, *rest = said[Split.HELD]
    return {**said, Split.HELD: [replace(first, outcome=Outcome.CORRECT), *rest]}


class Forgetful:
    """Answers every second question right."""

    def __init__(self):
        self.asked = 0

    def right(self, prompts, accepted, *, max_new_tokens=16, on_batch=None):
        said = []
        for _ in prompts:
            self.asked += 1
            said.append(self.asked % 2 == 1)
        return said


def test_null_forgetting_by_hand(tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = [fact(f"h{n}", origin="dev") for n in range(1, 9)]
    monkeypatch.setattr(controls.sources, "load", lambda name, relations=None: pool)
    engine = Forgetful()
    found = controls.null(release, engine, tmp_path / "null.parquet", identity={"base": "tiny"}, runs=3)
    assert found["missed"] == 50
    assert found["low"] < 50 < found["high"]
    assert found["categories"] == {"HighlyKnown": 2, "MaybeKnown": 0, "WeaklyKnown": 0, "Unknown": 2}
    assert list(found["no_longer_highly_known"].values()) == ["Unknown", "Unknown"]
    with pytest.raises(FthallError, match="the one the labels were made with"):
        controls.null(release, engine, tmp_path / "null.parquet", identity={}, seed=0)


def test_the_floor_of_a_track_that_was_never_measured() -> None:
    assert report.floor("nowhere/at-all") is None


def test_what_is_lost_and_what_is_out_of_reach(tmp_path: Path, release: Release) -> None:
    ids = [f.id for f in release.splits[Split.HELD]]
    evaluated = []
    for entry, held in (("sft-known", 3), ("sft", 1)):
        place = write_submission_folder(
            tmp_path / "submissions",
            release,
            f"{entry}-seed0",
            entry=entry,
            seed=0,
            trained_on=["known"] if entry == "sft-known" else ["known", "unknown"],
            right={Split.HELD: held},
        )
        evaluated.append(validate(place, release).run)
    found = {"no_longer_highly_known": {ids[1]: "MaybeKnown", ids[3]: "Unknown"}}
    assert controls.lost(found, *evaluated) == {"HighlyKnown": 1, "MaybeKnown": 1, "WeaklyKnown": 0, "Unknown": 0}


def test_a_checkpoint_asked_again_from_the_command_line(
    tiny_base: Path,
    tmp_path: Path,
    release: Release,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        controls.sources, "load", lambda name, relations=None: [fact(f"h{n}", origin="dev") for n in range(1, 9)]
    )
    places = [
        write_submission_folder(
            tmp_path / "submissions",
            release,
            f"{entry}-seed0",
            entry=entry,
            seed=0,
            trained_on=["known"] if entry == "sft-known" else ["known", "unknown"],
            right={Split.HELD: held},
        )
        for entry, held in (("sft-known", 4), ("sft", 1))
    ]
    options = ["control", "null", str(tiny_base), "--track", str(tmp_path / "release"), "--runs", "2"]
    out = tmp_path / "null.json"
    given = ["--labels", str(tmp_path / "null.parquet"), "--out", str(out), "--submission", str(places[1])]
    assert main([*options, *given]) == 0
    found = json.loads(out.read_text())
    assert found["missed"] == 100  # a random model knows nothing
    assert found["forgotten_facts_are_now"] == {"HighlyKnown": 0, "MaybeKnown": 0, "WeaklyKnown": 0, "Unknown": 3}
    assert found["run"] == "sft-seed0"
    assert str(tmp_path) not in out.read_text()
    assert main([*options, "--submission", str(tmp_path / "nothing")]) == 2
    assert "no submission" in capsys.readouterr().err
