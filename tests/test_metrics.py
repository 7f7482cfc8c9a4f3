"""Metrics, against numbers worked by hand or printed in the literature."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fthall import metrics
from fthall.records import Answer, EpochPoint, Outcome, Split

LETTERS = {"c": Outcome.CORRECT, "w": Outcome.WRONG, "a": Outcome.ABSTAINED}


def answers(letters: str) -> list[Answer]:
    """One answer a letter: c correct, w wrong, a abstained."""
    return [Answer(f"f{n}", Split.HELD, "…", LETTERS[letter]) for n, letter in enumerate(letters)]


def trajectory(*points: tuple[float, float, float]) -> list[EpochPoint]:
    """From (epoch, unknown, held)."""
    return [EpochPoint(epoch, known=0, unknown=unknown, held=held, held_val=0) for epoch, unknown, held in points]


def test_counts_and_accuracy() -> None:
    rows = answers("ccwaacww")
    assert metrics.counts(rows) == {Outcome.CORRECT: 3, Outcome.WRONG: 3, Outcome.ABSTAINED: 2}
    assert metrics.accuracy(rows) == 37.5
    assert metrics.counts([]) == dict.fromkeys(Outcome, 0)
    with pytest.raises(ValueError, match="no answers"):
        metrics.accuracy([])


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


@pytest.mark.parametrize(  # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
    ("correct", "total", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.00, 16.11), (1, 29, 0.61, 17.18)],
)
def test_wilson_against_published_intervals(correct: int, total: int, low: float, high: float) -> None:
    assert metrics.wilson(correct, total) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_is_symmetric(pair: tuple[int, int]) -> None:
    correct, total = pair
    low, high = metrics.wilson(correct, total)
    assert 0 <= low <= 100 * correct / total + 1e-9
    assert 100 * correct / total - 1e-9 <= high <= 100
    assert metrics.wilson(total - correct, total) == (pytest.approx(100 - high), pytest.approx(100 - low, abs=1e-9))


def test_wilson_of_nothing() -> None:
    with pytest.raises(ValueError, match="no items"):
        metrics.wilson(0, 0)


def test_differing() -> None:
    right, wrong, silent = Outcome.CORRECT, Outcome.WRONG, Outcome.ABSTAINED
    one = {"b": right, "a": right, "c": wrong, "d": silent}
    assert metrics.differing(one, {"a": wrong, "b": right, "c": wrong, "d": wrong}) == ["a", "d"]
    assert metrics.differing(one, dict(one)) == []
    with pytest.raises(ValueError, match="different facts"):
        metrics.differing(one, {"a": right})
