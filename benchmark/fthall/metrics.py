"""The numbers, as pure functions of answers. No torch here.

Accuracies and differences are in percent and percentage points.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from fthall.records import Answer, EpochPoint, Outcome


def counts(answers: Sequence[Answer]) -> dict[Outcome, int]:
    """How many answers were correct, wrong and abstained."""
    return {outcome: sum(answer.outcome is outcome for answer in answers) for outcome in Outcome}


def accuracy(answers: Sequence[Answer]) -> float:
    """Exact match with aliases, percent.

    Raises:
        ValueError: no answers.
    """
    if not answers:
        raise ValueError("no answers, no accuracy")
    return 100 * counts(answers)[Outcome.CORRECT] / len(answers)


def forgetting(reference: Sequence[Answer], model: Sequence[Answer]) -> float:
    """``F = A_held(reference) - A_held(model)`` in points, paired on the same items (arXiv 2604.15574).

    The reference is the Only-Known twin: the same run without the unknown facts. Positive: facts were lost.

    Raises:
        ValueError: the two did not answer the same facts.
    """
    if {a.fact_id for a in reference} != {a.fact_id for a in model} or len(reference) != len(model):
        raise ValueError("forgetting is paired: both must have answered the same facts")
    return accuracy(reference) - accuracy(model)


def fall_from_peak(trajectory: Sequence[EpochPoint]) -> float:
    """Highest held accuracy of a run minus its last, points."""
    return max(point.held for point in trajectory) - trajectory[-1].held


def held_at_plasticity(trajectory: Sequence[EpochPoint], unknown: float) -> float | None:
    """Held accuracy where the accuracy on unknown facts first reaches ``unknown`` percent, interpolated linearly.

    Before the first epoch the model has not learned the format and its held accuracy is low for that reason alone, so
    nothing is interpolated from epoch 0: a level reached within the first epoch gets the held accuracy after it. None
    if the run never gets there.
    """
    points = sorted((point for point in trajectory if point.epoch > 0), key=lambda point: point.epoch)
    if points and points[0].unknown >= unknown:
        return points[0].held
    for before, after in itertools.pairwise(points):
        if before.unknown < unknown <= after.unknown:
            share = (unknown - before.unknown) / (after.unknown - before.unknown)
            return before.held + share * (after.held - before.held)
    return None


def harmonic_mean(retention: float, plasticity: float) -> float:
    """For sorting only: harmonic mean of retention and ``A_unknown``, all in percent.

    Retention is ``100 A_held / A_held(reference)``, capped at 100.
    """
    retention = min(retention, 100.0)
    return 0.0 if retention + plasticity == 0 else 2 * retention * plasticity / (retention + plasticity)


def wilson(correct: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval of a proportion, percent (Wilson 1927): item uncertainty of one run.

    Raises:
        ValueError: no items.
    """
    if total <= 0:
        raise ValueError("no items, no interval")
    share, spread = correct / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def differing(one: Mapping[str, Outcome], other: Mapping[str, Outcome]) -> list[str]:
    """Fact ids whose outcome differs between two evaluations of the same facts, sorted.

    Raises:
        ValueError: they did not answer the same facts.
    """
    if one.keys() != other.keys():
        raise ValueError("cannot compare evaluations of different facts")
    return sorted(fact_id for fact_id, outcome in one.items() if other[fact_id] is not outcome)
