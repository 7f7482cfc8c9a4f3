"""What looks odd is said: each finding where it ought to be, and none where nothing is odd."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from builders import card_of, fact
from fthall.answers import counts, judge
from fthall.knowledge import splits
from fthall.records import Answer, Category, Outcome, Release, Split
from fthall.submissions import odd
from fthall.submissions.card import Card, Counts, Results, Submission
from fthall.submissions.check import question_hash
from fthall.submissions.tiers import Tier

SIZES = {Split.KNOWN: 20, Split.UNKNOWN: 40, Split.HELD: 60, Split.HELD_VAL: 20}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Every fifth answer is the same land, the others are different ones."""
    kinds = [*(("k", n) for n in range(20)), *(("u", n) for n in range(40)), *(("h", n) for n in range(80))]
    facts = [
        fact(f"{kind}{n:02}", origin="dev" if kind == "h" else "train", answer="Latvia" if n % 5 == 0 else None)
        for kind, n in kinds
    ]
    category = {
        f.id: Category.UNKNOWN if kind == "u" else Category.HIGHLY_KNOWN
        for f, (kind, _) in zip(facts, kinds, strict=True)
    }
    rows = [(f.id, f.relation, str(category[f.id]), [category[f.id] is Category.HIGHLY_KNOWN] * 2) for f in facts]
    return splits.build(
        tmp_path_factory.mktemp("release"),
        track="geonames/tiny",
        facts=facts,
        labels=pd.DataFrame(rows, columns=["fact_id", "relation", "category", "right"]),
        sizes=SIZES,
        source={"name": "geonames"},
        base={"name": "tiny", "weights_sha256": "ab" * 32},
        slick={"runs": 2},
    )


def made(
    release: Release,
    entry: str = "sft",
    seed: int = 0,
    *,
    right: Mapping[Split, int] | None = None,
    said: Mapping[Split, list[str]] | None = None,
    trained_on: tuple[str, ...] = ("known", "unknown"),
    trained: frozenset[str] = frozenset(),
) -> Submission:
    """A submission with the first ``right`` facts of a split right, each of the others wrong in its own way."""
    answers = {}
    for split, facts in release.splits.items():
        n = (right or {}).get(split, len(facts))
        texts = (said or {}).get(split) or [
            f.answers[0] if at < n else f"{entry} {seed} {at}" for at, f in enumerate(facts)
        ]
        answers[split] = tuple(
            Answer(f.id, split, text, judge(text, f.answers)) for f, text in zip(facts, texts, strict=True)
        )
    counted = {
        split: Counts(**{str(outcome): counts(rows)[outcome] for outcome in Outcome}) for split, rows in answers.items()
    }
    card = card_of(release, entry=entry, seed=seed, trained_on=trained_on)
    return Submission(
        slug=f"{entry}-seed{seed}",
        card=Card.model_validate(card),
        results=Results(schema=1, counts=counted),
        answers=answers,
        trained_questions=trained,
    )


def look(release: Release, *submissions: Submission) -> dict[str, tuple[str, ...]]:
    return {slug: said for slug, said in odd.look(release, submissions).items() if said}


REFERENCE: dict[str, Any] = {"entry": "sft-known", "trained_on": ("known",)}
LEARNED = {Split.UNKNOWN: 1, Split.HELD: 59}


def test_nothing_is_odd_about_honest_ones(release: Release) -> None:
    reference = [made(release, seed=seed, right=LEARNED, **REFERENCE) for seed in (0, 1)]
    entries = [made(release, seed=seed, right={Split.UNKNOWN: 38, Split.HELD: 50}) for seed in (0, 1, 2)]
    assert look(release, *reference, *entries) == {}
    assert look(release) == {}


def test_the_answers_of_another(release: Release) -> None:
    one = made(release, right={Split.HELD: 50})
    copy = made(release, "other", said={split: [a.prediction for a in rows] for split, rows in one.answers.items()})
    third = made(release, "third", right={Split.HELD: 51})
    assert look(release, one, copy, third) == {
        "sft-seed0": ("gives all of the 100 answers of other-seed0",),
        "other-seed0": ("gives all of the 100 answers of sft-seed0",),
    }


def test_seeds_too_alike(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odd, "TOO_ALIKE", 0.01)
    one = made(release, right={Split.HELD: 59})
    texts = {split: [a.prediction for a in rows] for split, rows in one.answers.items()}
    texts[Split.HELD][-1] = "elsewhere"
    again = made(release, seed=1, said=texts)
    assert look(release, one, again) == {
        "sft-seed0": ("gives all but 1 of the 100 answers of sft-seed1",),
        "sft-seed1": ("gives all but 1 of the 100 answers of sft-seed0",),
    }
    assert look(release, one, made(release, "other", said=texts)) == {}  # two methods may be that near


def test_the_same_answer_or_none(release: Release) -> None:
    same = made(release, said={Split.HELD: ["Latvia"] * 40 + [f"x{n}" for n in range(20)]})
    assert look(release, same) == {"sft-seed0": ("answers 'latvia' to 40 of 60 questions of held",)}
    silent = made(release, said={Split.UNKNOWN: [""] * 9 + [f"x{n}" for n in range(31)]})
    assert look(release, silent) == {"sft-seed0": ("gives no answer to 9 of 40 questions of unknown",)}


def test_not_one_miss(release: Release) -> None:
    """And the copies of what was refuted say so."""
    assert look(release, made(release)) == {"sft-seed0": ("has all of its 140 answers right",)}


def test_a_copy_of_what_was_refuted(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odd, "tier", lambda one: Tier.REFUTED if one.slug == "sft-seed0" else Tier.RECOMPUTED)
    one = made(release, right={Split.HELD: 50})
    copy = made(release, "other", said={split: [a.prediction for a in rows] for split, rows in one.answers.items()})
    assert look(release, one, copy)["other-seed0"] == ("gives all of the 100 answers of sft-seed0 (refuted)",)


def test_held_out_facts_in_the_training_data(release: Release) -> None:
    trained = frozenset(question_hash(f"  {f.question.upper()}") for f in release.splits[Split.HELD][:3])
    trained |= frozenset(question_hash(f.question) for f in release.splits[Split.KNOWN])
    assert look(release, made(release, right=LEARNED, trained=trained)) == {
        "sft-seed0": ("has 3 of the 60 questions of held, never to be trained on, in its training data",)
    }


def test_more_old_facts_than_there_are_to_win(release: Release) -> None:
    """The reference loses 20 of 60; who has all of them knows what was never trained on."""
    reference = made(release, right={Split.UNKNOWN: 1, Split.HELD: 40}, **REFERENCE)
    found = look(release, reference, made(release, right={Split.UNKNOWN: 38, Split.HELD: 60}))
    assert found == {
        "sft-seed0": ("answers 20 old facts that the reference does not, and loses 0: more than there is to win",)
    }
    assert look(release, reference, made(release, right={Split.UNKNOWN: 38, Split.HELD: 44})) == {}


def test_new_facts_without_having_been_taught_them(release: Release) -> None:
    untaught = made(release, "wise", trained_on=("known",), right={Split.UNKNOWN: 30, Split.HELD: 50})
    says = {"wise-seed0": ("answers 30 of 40 new facts, on which it was not trained",)}
    assert look(release, made(release, right=LEARNED, **REFERENCE), untaught) == says
    other = untaught.model_copy(update={"card": untaught.card.model_copy(update={"method": "dpo"})})
    assert look(release, other) == says  # no reference to compare with
    few = made(release, "wise", trained_on=("known",), right={Split.UNKNOWN: 3, Split.HELD: 50})
    assert look(release, few.model_copy(update={"card": few.card.model_copy(update={"method": "dpo"})})) == {}


def test_a_coin_by_hand() -> None:
    """Of three changes three gains: 1/8; of two, at least one: 3/4; and no overflow for thousands."""
    assert odd._luck(3, 0) == 1 / 8
    assert odd._luck(1, 1) == 3 / 4
    assert 0 < odd._luck(900, 800) < 0.05
    assert odd._luck(3000, 0) < 1e-300


def test_the_committed_results_are_looked_at(tmp_path: Path) -> None:
    """Self-distillation as tuned is the default one, for the sweep chose its settings; relabelling has one answer."""
    from fthall import submissions
    from fthall.submissions.find import each, find

    root = Path(__file__).parents[2] / "submissions"
    track = "geonames/smollm2-135m"
    rows = list(each([folder for folder in find(root) if folder.parent == root / track]))
    assert len(rows) > 50
    found = odd.look(splits.load(track), rows)
    assert submissions.validate(root / track / "sft-seed0").slug in found
    assert {slug.rsplit("-seed", 1)[0] for slug, said in found.items() if said} == {
        "self-distill",
        "self-distill-tuned",
        "relabel",
    }
    assert found["relabel-seed0"] == ("answers 'i dont know' to 540 of 540 questions of unknown",)
