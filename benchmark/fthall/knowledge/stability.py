"""How sure is a label? What two halves of the runs say of the same facts, and how categories move with their number.

After Gekhman et al. 2024 (arXiv 2405.05904, figure 5 and appendix): with few contexts a fact that the model knows in
some of them looks Unknown. Pure functions of the verdicts of a full build; no torch here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fthall.errors import FthallError
from fthall.records import Category

Bools = npt.NDArray[np.bool_]
Names = npt.NDArray[np.int8]

DRAWS = 200
"""Random subsets of the runs for each number of them."""
_ORDER = (Category.UNKNOWN, Category.MAYBE_KNOWN, Category.HIGHLY_KNOWN)


@dataclass(frozen=True, slots=True)
class AtRuns:
    """The categories that so many runs would give, mean over subsets of the runs."""

    runs: int
    shares: dict[str, float]
    """Category: percent of the facts."""
    stays: dict[str, float | None]
    """Category: of the facts that so many runs put in it, percent that all runs put in it; None if there are none."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Of the labels of a build."""

    facts: int
    runs: int
    halves: float
    """Percent of the facts that two halves of the runs put in the same category, mean over ways to halve them."""
    kappa: float
    """Cohen's (1960): the same beyond chance; 1 is always, 0 is chance."""
    again: dict[str, float | None]
    """Category: of the facts that one half puts in it, percent that the other half puts in it, too."""
    at: tuple[AtRuns, ...]


def greedy_categories(right: Bools) -> Names:
    """Category of each fact by its greedy answers: 0 Unknown, 1 MaybeKnown, 2 HighlyKnown. [facts, runs] to [facts]."""
    found: Names = np.sum([right.any(1), right.all(1)], axis=0, dtype=np.int8)
    return found


def stability(right: Sequence[Sequence[bool | None]], *, draws: int = DRAWS, seed: int = 0) -> Stability:
    """Measure it.

    Args:
        right: [facts][runs], from labels (:func:`fthall.knowledge.slick.label`).
        draws: random subsets and halvings.
        seed: of the draws.

    Raises:
        FthallError: an adaptive build, which did not ask every question in every run, or fewer than two runs.
    """
    if any(bit is None for bits in right for bit in bits):
        raise FthallError(
            "these labels are adaptive: not every question was asked in every run; label without --adaptive"
        )
    bits = np.array([list(one) for one in right], dtype=bool)
    if bits.ndim != 2 or bits.shape[1] < 2:
        raise FthallError("stability needs facts asked in two runs or more")
    facts, runs = bits.shape
    rng = np.random.default_rng(seed)
    whole = greedy_categories(bits)
    table = np.zeros((3, 3))
    for _ in range(draws):
        order = rng.permutation(runs)
        one, other = (
            greedy_categories(bits[:, part]) for part in (order[: runs // 2], order[runs // 2 : runs // 2 * 2])
        )
        np.add.at(table, (one, other), 1)
    table = table + table.T  # neither half is the first
    table /= table.sum()
    same, chance = float(np.trace(table)), float(table.sum(0) @ table.sum(1))
    at = []
    for count in (n for n in (1, 2, 3, 5, 10, 15, 20, 30, 50) if n < runs):
        shares, stays = np.zeros(3), np.zeros(3)
        for _ in range(draws):
            found = greedy_categories(bits[:, rng.permutation(runs)[:count]])
            shares += np.bincount(found, minlength=3)
            stays += np.bincount(found[found == whole], minlength=3)
        at.append(AtRuns(count, _named(100 * shares / (draws * facts)), _ratio(stays, shares)))
    final = _named(100 * np.bincount(whole, minlength=3) / facts)
    at.append(AtRuns(runs, final, {name: 100.0 if share else None for name, share in final.items()}))
    kappa = (same - chance) / (1 - chance) if chance < 1 else 1.0
    return Stability(facts, runs, 100 * same, kappa, _ratio(np.diag(table), table.sum(1)), tuple(at))


def _named(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {str(category): float(value) for category, value in zip(_ORDER, values, strict=True)}


def _ratio(some: npt.NDArray[np.float64], of: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {
        str(category): 100 * float(part) / float(whole) if whole else None
        for category, part, whole in zip(_ORDER, some, of, strict=True)
    }
