"""How sure labels are, by hand and on labels without doubt."""

import numpy as np
import pytest

from fthall.errors import FthallError
from fthall.stability import greedy_categories, stability

Y, N = True, False


def test_categories_by_hand() -> None:
    assert greedy_categories(np.array([[Y, Y], [Y, N], [N, N]])).tolist() == [2, 1, 0]


def test_labels_without_doubt() -> None:
    found = stability([[Y] * 4, [N] * 4, [N] * 4])
    assert (found.facts, found.runs) == (3, 4)
    assert (found.halves, found.kappa) == pytest.approx((100, 1))
    assert found.again["MaybeKnown"] is None
    assert found.again["Unknown"] == found.again["HighlyKnown"] == pytest.approx(100)
    assert [at.runs for at in found.at] == [1, 2, 3, 4]
    for at in found.at:
        assert at.shares == pytest.approx({"Unknown": 200 / 3, "MaybeKnown": 0, "HighlyKnown": 100 / 3})


def test_one_run_of_two_by_hand() -> None:
    # right in one of two runs: a half, a single run, says HighlyKnown or Unknown, and the other half the opposite
    found = stability([[Y, N]] * 5)
    assert found.halves == 0
    assert found.kappa == pytest.approx(-1)
    one, two = found.at
    assert one.shares == pytest.approx({"Unknown": 50, "MaybeKnown": 0, "HighlyKnown": 50}, abs=12)
    assert one.stays == {"Unknown": 0, "MaybeKnown": None, "HighlyKnown": 0}
    assert two.shares == {"Unknown": 0, "MaybeKnown": 100, "HighlyKnown": 0}


def test_with_few_runs_what_is_known_in_some_looks_unknown() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(400)
    found = stability((rng.random((400, 20)) < chance[:, None]).tolist(), draws=50)
    unknown = [at.shares["Unknown"] for at in found.at]
    assert unknown == sorted(unknown, reverse=True)
    assert unknown[0] == pytest.approx(50, abs=4)
    assert unknown[-1] == pytest.approx(100 / 21, abs=3)  # the mean of (1 - x) ** 20
    assert 0 < found.kappa < 1


def test_adaptive_labels_and_single_runs_are_refused() -> None:
    with pytest.raises(FthallError, match="label without --adaptive"):
        stability([[Y, None]])
    for right in ([], [[Y]]):
        with pytest.raises(FthallError, match="two runs or more"):
            stability(right)
