"""Availability: probabilities and ranks by hand, what counts as lost, and the command."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from builders import fact, tiny_facts, tiny_release
from fthall import bases, cli
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_json, write_jsonl
from fthall.knowledge import splits
from fthall.prompts import ask
from fthall.records import Split
from fthall.why import arms, available


def test_probability_and_rank_of_the_right_answer(model, tokenizer) -> None:
    facts = [*tiny_facts(), replace(fact("x"), question="Who?", answers=("A",))]
    counted: list[int] = []
    found = available.gold(model, tokenizer, facts, on_facts=counted.append)
    assert sum(counted) == len(facts)
    for one, of in zip(found, facts, strict=True):
        ways = []
        for answer in of.answers:
            prompt, said = (
                tokenizer(text, add_special_tokens=False).input_ids for text in (ask(of.question), f" {answer}")
            )
            with torch.no_grad():
                logs = model(torch.tensor([[*prompt, *said]])).logits[0].log_softmax(-1)
            steps = [logs[len(prompt) - 1 + n] for n in range(len(said))]
            probability = math.prod(float(step[token].exp()) for step, token in zip(steps, said, strict=True))
            rank = max(int((step > step[token]).sum()) + 1 for step, token in zip(steps, said, strict=True))
            ways.append((probability, rank))
        assert one.probability == pytest.approx(max(ways)[0], rel=1e-3)
        assert one.rank == max(ways)[1]


def test_the_chance_of_a_sample_is_the_share_of_many(model, tokenizer) -> None:
    engine, facts = HfEngine(model, tokenizer), tiny_facts()
    exact, drawn = (available.sampled(facts, engine, draw=draw) for draw in (False, True))
    assert exact == pytest.approx(drawn, abs=0.2)


def test_the_null_takes_another_answer_of_the_relation() -> None:
    facts = tiny_facts()
    found = arms.others(facts[:2], facts)
    assert all(not set(one.answers) & set(of.answers) for one, of in zip(found, facts, strict=False))
    assert all(any(one.answers[0] in of.answers for of in facts) for one in found)
    with pytest.raises(FthallError, match="no other fact of its relation"):
        arms.others(facts[:1])


def test_summary_counts_ways_and_any() -> None:
    def row(**changed: object) -> dict[str, object]:
        return {
            "after": [0.1, 9],
            "sampled": 0.0,
            "category": "Unknown",
            "in_context": 0,
            "relearned": False,
            "other": [0.1, 5],
            "other_sampled": 0.01,
        } | changed

    rows = [
        row(),
        row(after=[0.1, 5]),
        row(sampled=0.05),  # 16 samples: 1 - 0.95^16 = 0.56
        row(sampled=0.04),  # 0.48
        row(in_context=1, category="MaybeKnown", relearned=True),
        row(relearned=True, other=[0.0, 6], other_sampled=0.05),
    ]
    assert available.summary({"right_before": 40, "facts": rows}) == {
        "right before": 40,
        "lost": 6,
        "among the first 5": 1,
        "when sampled": 1,
        "in a context": 1,
        "HighlyKnown": 0,
        "MaybeKnown": 1,
        "WeaklyKnown": 0,
        "Unknown": 5,
        "after an epoch of known facts": 2,
        "in any way": 3,
        "another answer among the first 5": 5,
        "another answer when sampled": 1,
    }


@pytest.fixture
def trained(tiny_base: Path, tmp_path: Path) -> Path:
    """The reference and a run, in which two held-out facts turned wrong."""
    # Four known facts: SLiCK shows three exemplars, and needs a spare one.
    tiny = tiny_release(tmp_path / "few", base_sha=bases.weights_sha256(bases.find(str(tiny_base))))
    facts, made = tiny_facts(), tiny.manifest
    from builders import tiny_labels

    splits.build(
        tmp_path / "release",
        track=tiny.track,
        facts=facts,
        labels=tiny_labels(),
        sizes={Split.KNOWN: 4, Split.UNKNOWN: 3, Split.HELD: 4, Split.HELD_VAL: 2},
        source=dict(made["source"]),
        base=dict(made["base"]),
        slick=dict(made["slick"]),
    )
    recipe = {
        "track": str(tmp_path / "release"),
        "base": str(tiny_base),
        "seeds": [0],
        "training": {"epochs": 1, "batch_size": 2, "learning_rate": 1e-2},
        "runs": [
            {"entry": "sft-known", "title": "K", "method": "sft", "trained_on": ["known"]},
            {"entry": "sft", "title": "S", "method": "sft"},
        ],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    given = ["--work", tmp_path / "runs", "--submissions", tmp_path / "submissions", "--no-tracking"]
    assert cli.main(["run", str(tmp_path / "recipe.yaml"), *map(str, given), "--evaluate", "later"]) == 0
    # A two-layer model knows nothing: say that the reference did.
    answers = tmp_path / "runs/geonames/tiny/sft-known-seed0/answers.jsonl"
    rows = [yaml.safe_load(line) for line in answers.read_text().splitlines()]
    of_held = [row for row in rows if row["split"] == "held"]
    for row in of_held[:2]:
        row["outcome"] = "correct"
    write_jsonl(answers, rows)
    return tmp_path


def test_fthall_availability(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, out = trained / "runs/geonames/tiny", trained / "availability.json"
    command = ["availability", str(runs / "sft-seed0"), "--reference", str(runs / "sft-known-seed0")]
    command += ["--track", str(trained / "release"), "--out", str(out)]
    assert cli.main(command) == 0
    (found,) = read_json(out)["runs"]
    assert (found["run"], found["entry"], found["seed"], found["right_before"]) == ("tiny/sft-seed0", "sft", 0, 2)
    assert len(found["facts"]) == 2
    for row in found["facts"]:
        assert 0 <= row["before"][0] <= 1
        assert row["after"][1] >= 1
        assert row["category"] in {"Unknown", "WeaklyKnown", "MaybeKnown", "HighlyKnown"}
    assert "2 of 2 facts lost" in capsys.readouterr().out
    assert b"<svg" in out.with_suffix(".svg").read_bytes()
    assert not list(trained.glob(".*")), "nothing is left beside"
    before, picture = out.read_bytes(), out.with_suffix(".svg").read_bytes()
    assert cli.main(["availability", str(out), "--out", str(trained / "again.json")]) == 0, "results are read again"
    assert (trained / "again.svg").read_bytes() == picture
    assert not (trained / "again.json").exists()
    assert "2 of 2 facts lost" in capsys.readouterr().out
    assert cli.main(command) == 0, "what is done is not done again"
    assert "1 runs, 1 of them" in capsys.readouterr().out
    assert out.read_bytes() == before
    assert cli.main([*command, "--contexts", "3"]) == 2
    assert "another slick" in capsys.readouterr().err


def test_nothing_lost_and_other_facts(trained: Path, tmp_path: Path, capsys) -> None:
    runs, out = trained / "runs/geonames/tiny", trained / "nothing.json"
    (runs / "sft-seed0/answers.jsonl").write_bytes((runs / "sft-known-seed0/answers.jsonl").read_bytes())
    given = [str(runs / "sft-seed0"), "--reference", str(runs / "sft-known-seed0"), "--track", f"{trained}/release"]
    assert cli.main(["availability", *given, "--out", str(out)]) == 0
    assert "0 of 2 facts lost" in capsys.readouterr().out
    release = splits.load(str(trained / "release"))
    write_jsonl(runs / "sft-seed0/answers.jsonl", [])
    with pytest.raises(FthallError, match="other facts than the held-out ones"):
        available.lost(release, runs / "sft-known-seed0", runs / "sft-seed0")


def test_a_bare_checkpoint_has_no_answers(trained: Path, tiny_base: Path, capsys) -> None:
    reference = str(trained / "runs/geonames/tiny/sft-known-seed0")
    where = ["--track", f"{trained}/release", "--out", str(trained / "bare.json")]
    assert cli.main(["availability", str(tiny_base), "--reference", reference, *where]) == 2
    assert "bare checkpoint" in capsys.readouterr().err
    assert cli.main(["availability", reference, "--reference", reference, *where]) == 2
    assert "the reference itself" in capsys.readouterr().err
    assert cli.main(["availability", reference, *where]) == 2
    assert "--reference RUN" in capsys.readouterr().err
    assert not (trained / "bare.json").exists()
