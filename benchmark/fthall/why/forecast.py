"""What a fine-tuning will make a model forget, from the share of its facts that are unknown to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from fthall.errors import FthallError
from fthall.measure.stats import LEVEL, Floats
from fthall.why.results import Results

SHAPES = {"linear": (1,), "quadratic": (1, 2), "cubic": (1, 3), "quartic": (1, 4)}
"""Powers of the share: none unknown, none forgotten, and with more of them never less. Gekhman et al. 2024 (arXiv
2405.05904, section 4) find a line."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points forgotten against the share of unknown facts, fitted by least squares."""

    shape: str
    """Of :data:`SHAPES`: the one that misses least of what it was not fitted on."""
    weights: Floats
    """Of the powers of the share."""
    covariance: Floats
    """Of the weights, before the residual variance."""
    residual: float
    """Standard deviation of the arms about the curve, points."""
    freedom: int
    missed: float
    """Root mean square of what each arm is missed by when it is left out of the fit, points."""
    arms: int
    seeds: int

    def at(self, share: float) -> tuple[float, float, float]:
        """Points forgotten by another such training, with its 95 % prediction interval."""
        row = _powers([share], self.shape)[0]
        half = float(distributions.t.isf((1 - LEVEL) / 2, self.freedom)) * self.residual
        half *= float(np.sqrt(1 + row @ self.covariance @ row))
        there = float(row @ self.weights)
        return there, there - half, there + half

    def carries(self, points: float) -> float | None:
        """The share that costs so many points; None where all unknown costs less."""
        shares = np.linspace(0, 1, 1001)
        reached = np.flatnonzero(_powers(shares.tolist(), self.shape) @ self.weights >= points)
        return float(shares[reached[0]]) if len(reached) else None


def fit(found: Results, entry: str = "sft") -> Curve:
    """Fit the curve to the arms of an experiment that have the track's own unknown facts.

    Raises:
        FthallError: fewer than four such arms were trained in that way.
    """
    arms = [arm for arm, one in found.runs if one == entry and found.found["arms"][arm]["facts"] == "real"]
    if len(arms) < 4:
        entries = ", ".join(sorted({one for _, one in found.runs} - {found.found.get("reference")}))
        raise FthallError(
            f"{len(arms)} arms of real facts trained with {entry!r}; a curve needs four or more; there are {entries}"
        )
    sizes = [found.found["arms"][arm] for arm in arms]
    shares = [size["unknown"] / (size["known"] + size["unknown"]) for size in sizes]
    points = np.array([found.forgotten(arm, entry).difference for arm in arms])
    line, *bent = (_fit(shares, points, shape, len(found.runs[arms[0], entry])) for shape in SHAPES)
    return min([line, *(curve for curve in bent if min(curve.weights) >= 0)], key=lambda curve: curve.missed)


def _fit(shares: Sequence[float], points: Floats, shape: str, seeds: int) -> Curve:
    rows = _powers(shares, shape)
    inverse = np.asarray(np.linalg.inv(rows.T @ rows), dtype=np.float64)
    weights = inverse @ rows.T @ points
    residuals = points - rows @ weights
    freedom = len(points) - rows.shape[1]
    # What an arm is missed by when it is left out follows from its residual and its leverage.
    left_out = residuals / (1 - np.einsum("ij,jk,ik->i", rows, inverse, rows))
    return Curve(
        shape,
        weights,
        inverse,
        float(np.sqrt(residuals @ residuals / freedom)),
        freedom,
        float(np.sqrt(np.mean(left_out**2))),
        len(points),
        seeds,
    )


def _powers(shares: Sequence[float], shape: str) -> Floats:
    given = np.asarray(shares, dtype=np.float64)
    return np.stack([given**power for power in SHAPES[shape]], axis=1)
