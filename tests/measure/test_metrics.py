"""Metrics, against numbers worked by hand or printed in the literature."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fthall.answers import accuracy, counts
from fthall.measure import metrics
from fthall.records import Answer, EpochPoint, Fact, Outcome, Split

LETTERS = {"c": Outcome.CORRECT, "w": Outcome.WRONG, "a": Outcome.ABSTAINED}


def answers(letters: str) -> list[Answer]:
    """One answer a letter: c correct, w wrong, a abstained."""
    return [Answer(f"f{n}", Split.HELD, "…", LETTERS[letter]) for n, letter in enumerate(letters)]


def trajectory(*points: tuple[float, float, float]) -> list[EpochPoint]:
    """From (epoch, unknown, held)."""
    return [EpochPoint(epoch, known=0, unknown=unknown, held=held, held_val=0) for epoch, unknown, held in points]


def test_counts_and_accuracy() -> None:
    rows = answers("ccwaacww")
    assert counts(rows) == {Outcome.CORRECT: 3, Outcome.WRONG: 3, Outcome.ABSTAINED: 2}
    assert accuracy(rows) == 37.5
    assert counts([]) == dict.fromkeys(Outcome, 0)
    with pytest.raises(ValueError, match="no answers"):
        accuracy([])


def test_forgetting() -> None:
    assert metrics.forgetting(answers("cccc"), answers("ccwa")) == 50
    assert metrics.forgetting(answers("cwww"), answers("ccww")) == -25


@settings(deadline=None)
@given(st.text("cwa", min_size=1))
def test_the_reference_forgets_exactly_nothing_against_itself(letters: str) -> None:
    assert metrics.forgetting(answers(letters), answers(letters)[::-1]) == 0


def test_forgetting_is_paired() -> None:
    reference = answers("cccc")
    for other in (
        reference[:3],
        [*reference, reference[0]],
        [*reference[:3], Answer("x", Split.HELD, "", LETTERS["c"])],
    ):
        with pytest.raises(ValueError, match="paired"):
            metrics.forgetting(reference, other)


def test_fall_from_peak() -> None:
    assert metrics.fall_from_peak(trajectory((0, 0, 60), (1, 10, 90), (2, 50, 80), (3, 90, 72.5))) == 17.5
    assert metrics.fall_from_peak(trajectory((0, 0, 60), (1, 10, 90))) == 0


def test_held_at_plasticity_interpolates() -> None:
    run = trajectory((0, 0, 90), (1, 20, 80), (2, 60, 70), (3, 100, 30))
    assert metrics.held_at_plasticity(run, 50) == pytest.approx(72.5)  # three quarters of the way from 80 to 70
    assert metrics.held_at_plasticity(run, 60) == 70
    assert metrics.held_at_plasticity(run, 100) == 30
    assert metrics.held_at_plasticity(run[::-1], 50) == pytest.approx(72.5)  # ordered by epoch


def test_held_at_plasticity_takes_the_first_crossing() -> None:
    run = trajectory((0, 0, 5), (1, 20, 90), (2, 60, 80), (3, 40, 50), (4, 80, 20))
    assert metrics.held_at_plasticity(run, 50) == pytest.approx(90 - 10 * 3 / 4)


def test_held_at_plasticity_does_not_count_the_format_as_forgotten() -> None:
    run = trajectory((0, 0, 2.8), (1, 60, 95), (2, 90, 80))
    assert metrics.held_at_plasticity(run, 50) == 95  # not 79.6, on the line from an untrained model


def test_held_at_plasticity_never_reached() -> None:
    assert metrics.held_at_plasticity(trajectory((0, 0, 90), (1, 49.9, 80)), 50) is None
    assert metrics.held_at_plasticity([], 50) is None


def test_harmonic_mean() -> None:
    assert metrics.harmonic_mean(100, 50) == pytest.approx(200 / 3)
    assert metrics.harmonic_mean(120, 100) == 100  # no bonus above the reference
    assert metrics.harmonic_mean(80, 0) == 0
    assert metrics.harmonic_mean(0, 0) == 0


def test_epochs_to() -> None:
    run = trajectory((0, 0, 5), (1, 20, 90), (2, 60, 80), (3, 40, 50), (4, 80, 20))
    assert metrics.epochs_to(run, 10) == pytest.approx(0.5)
    assert metrics.epochs_to(run, 50) == pytest.approx(1.75)
    assert metrics.epochs_to(run, 70) == pytest.approx(3.75)  # passed on the way from 40 to 80
    assert metrics.epochs_to(run, 90) is None
    assert metrics.epochs_to([], 50) is None


def test_area_by_hand() -> None:
    # 20 levels at 90, then 20 to 60 from 90 down to 80 (mean 85); 60 to 80 on the line from (40, 50) to (80, 20):
    # at 60 it is 35, so mean 27.5; nothing beyond 80
    run = trajectory((0, 0, 5), (1, 20, 90), (2, 60, 80), (3, 40, 50), (4, 80, 20))
    assert metrics.area(run) == pytest.approx((20 * 90 + 40 * 85 + 20 * 27.5) / 100)
    assert metrics.area(trajectory((0, 0, 5), (1, 100, 97))) == pytest.approx(97)
    assert metrics.area(trajectory((0, 0, 5))) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=8))
def test_the_area_is_the_mean_of_held_at_all_levels(curve: list[tuple[float, float]]) -> None:
    run = trajectory((0, 0, 0), *((epoch, unknown, held) for epoch, (unknown, held) in enumerate(curve, 1)))
    levels = [(i + 0.5) / 50 for i in range(5000)]
    expected = sum(metrics.held_at_plasticity(run, level) or 0.0 for level in levels) / len(levels)
    assert metrics.area(run) == pytest.approx(expected, abs=0.5)


def test_retention() -> None:
    assert metrics.retention(80, 60) == 75
    with pytest.raises(ValueError, match="nothing to retain"):
        metrics.retention(0, 60)


C, W, A = Outcome.CORRECT, Outcome.WRONG, Outcome.ABSTAINED


def said(*rows: tuple[str, str, Outcome]) -> list[Answer]:
    return [Answer(fact_id, Split.HELD, text, outcome) for fact_id, text, outcome in rows]


def fact(name: str, relation: str, *answers: str) -> Fact:
    return Fact(name, relation, name, f"{name}?", answers)


def test_leakage_counts_only_answers_drilled_for_the_same_relation() -> None:
    held = [*["city"] * 4, "river"]
    trained = metrics.drilled([fact("x", "city", "Rome", "Roma"), fact("y", "river", "Nile")])
    answers = said(("a", "ROMA.", W), ("b", "Nile", W), ("c", "Lima", W), ("d", "Oslo", C), ("e", "the Nile", W))
    assert metrics.leakage(answers, held, trained) == 50  # a and e of four wrong ones
    assert metrics.leakage(answers[3:4], held[3:4], trained) is None


def test_answer_entropy_by_hand() -> None:
    relations = [*["city"] * 4, *["river"] * 2]
    answers = said(
        *((name, text, W) for name, text in zip("abcdef", ["Rome", "rome", "Lima", "Oslo", "Po", "Po"], strict=True))
    )
    # cities: shares 1/2, 1/4, 1/4 are 1.5 bits; rivers 0; weighted 4 to 2
    assert metrics.answer_entropy(answers, relations) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no entropy"):
        metrics.answer_entropy([], [])


def test_differing() -> None:
    right, wrong, silent = Outcome.CORRECT, Outcome.WRONG, Outcome.ABSTAINED
    one = {"b": right, "a": right, "c": wrong, "d": silent}
    assert metrics.differing(one, {"a": wrong, "b": right, "c": wrong, "d": wrong}) == ["a", "d"]
    assert metrics.differing(one, dict(one)) == []
    with pytest.raises(ValueError, match="different facts"):
        metrics.differing(one, {"a": right})
