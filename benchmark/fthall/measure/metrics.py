"""The numbers, as pure functions of answers, with the standard library alone.

Accuracies and differences are in percent and percentage points. Accuracy itself is the scorer's
(:func:`fthall.answers.accuracy`).
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from fthall.answers import accuracy, answered, normalise
from fthall.records import Answer, EpochPoint, Fact, Outcome, Split


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


def _climb(trajectory: Sequence[EpochPoint], start: float) -> Iterator[tuple[float, float, EpochPoint, EpochPoint]]:
    """Where unknown accuracy reaches new heights: (from, to, epoch before, epoch after), from epoch ``start`` on."""
    points = sorted((point for point in trajectory if point.epoch >= start), key=lambda point: point.epoch)
    height = points[0].unknown if points else 0.0
    for before, after in itertools.pairwise(points):
        if after.unknown > height:
            yield height, after.unknown, before, after
            height = after.unknown


def _between(level: float, before: EpochPoint, after: EpochPoint, what: str) -> float:
    """A quantity where unknown accuracy is at ``level``, on the straight line between two epochs."""
    share = (level - before.unknown) / (after.unknown - before.unknown)
    one, other = float(getattr(before, what)), float(getattr(after, what))
    return one + share * (other - one)


def held_at_plasticity(trajectory: Sequence[EpochPoint], unknown: float) -> float | None:
    """Held accuracy where the accuracy on unknown facts first reaches ``unknown`` percent, interpolated linearly.

    Before the first epoch the model has not learned the format and its held accuracy is low for that reason alone, so
    nothing is interpolated from epoch 0: a level reached within the first epoch gets the held accuracy after it. None
    if the run never gets there.
    """
    trained = [point for point in trajectory if point.epoch > 0]
    first = min(trained, key=lambda point: point.epoch, default=None)
    if first and first.unknown >= unknown:
        return first.held
    for low, high, before, after in _climb(trained, 0.0):
        if low < unknown <= high:
            return _between(unknown, before, after, "held")
    return None


def epochs_to(trajectory: Sequence[EpochPoint], unknown: float) -> float | None:
    """Epochs until the accuracy on unknown facts first reaches ``unknown`` percent, interpolated; None if never."""
    start = min(trajectory, key=lambda point: point.epoch, default=None)
    if start and start.unknown >= unknown:
        return start.epoch
    for low, high, before, after in _climb(trajectory, 0.0):
        if low < unknown <= high:
            return _between(unknown, before, after, "epoch")
    return None


def area(trajectory: Sequence[EpochPoint]) -> float | None:
    """Area under held accuracy against unknown facts learned, as a share of the whole square, in percent.

    The mean of :func:`held_at_plasticity` over all levels from 0 to 100 %, a level never reached counting nothing:
    100 would be all new facts learned and no old one lost on the way. None without a trained epoch.
    """
    trained = [point for point in trajectory if point.epoch > 0]
    if not trained:
        return None
    first = min(trained, key=lambda point: point.epoch)
    total = first.unknown * first.held
    for low, high, before, after in _climb(trained, 0.0):
        total += (high - low) * (_between(low, before, after, "held") + after.held) / 2
    return total / 100


def retention(reference: float, held: float) -> float:
    """Held accuracy in percent of the reference's.

    Raises:
        ValueError: the reference has none right.
    """
    if reference <= 0:
        raise ValueError("the reference has no held fact right: nothing to retain")
    return 100 * held / reference


def drilled(trained: Iterable[Fact]) -> frozenset[tuple[str, str]]:
    """What training on facts repeats: their relations, each with an accepted answer, normalised."""
    return frozenset((fact.relation, normalise(answer)) for fact in trained for answer in fact.answers)


def leakage(answers: Sequence[Answer], relations: Sequence[str], drilled: Collection[tuple[str, str]]) -> float | None:
    """Share of the wrong answers that are a training answer of the same relation, percent.

    A wrong answer that was drilled for another subject is the trace of what was trained; one that was not is the
    model's own. None if no answer is wrong.

    Args:
        answers: to held-out facts.
        relations: of those facts, in the same order.
        drilled: of the facts of the run's training splits (:func:`drilled`).
    """
    wrong = [
        (relation, answered(answer.prediction))
        for answer, relation in zip(answers, relations, strict=True)
        if answer.outcome is Outcome.WRONG
    ]
    return 100 * sum(pair in drilled for pair in wrong) / len(wrong) if wrong else None


def answer_entropy(answers: Sequence[Answer], relations: Sequence[str]) -> float:
    """Shannon entropy of the answers given within a relation, bits; the mean over relations, weighted by items.

    A model that falls back on a few answers has a low one. Depends on how many items there are: compare it between
    models on the same split only.

    Args:
        answers: of a split.
        relations: of its facts, in the same order.

    Raises:
        ValueError: no answers.
    """
    if not answers:
        raise ValueError("no answers, no entropy")
    said: dict[str, list[str]] = {}
    for answer, relation in zip(answers, relations, strict=True):
        said.setdefault(relation, []).append(answered(answer.prediction))
    bits = 0.0
    for given in said.values():
        bits += sum(count * math.log2(len(given) / count) for count in Counter(given).values())
    return bits / len(answers)


def harmonic_mean(retention: float, plasticity: float) -> float:
    """For sorting only: harmonic mean of retention and ``A_unknown``, all in percent.

    Retention is ``100 A_held / A_held(reference)``, capped at 100.
    """
    retention = min(retention, 100.0)
    return 0.0 if retention + plasticity == 0 else 2 * retention * plasticity / (retention + plasticity)


def differing(one: Mapping[str, Outcome], other: Mapping[str, Outcome]) -> list[str]:
    """Fact ids whose outcome differs between two evaluations of the same facts, sorted.

    Raises:
        ValueError: they did not answer the same facts.
    """
    if one.keys() != other.keys():
        raise ValueError("cannot compare evaluations of different facts")
    return sorted(fact_id for fact_id, outcome in one.items() if other[fact_id] is not outcome)


class Trained(Protocol):
    """Whatever says of a training what the reference is told by: an evaluated run, a submission's card."""

    @property
    def method(self) -> str:
        """The family."""

    @property
    def entry(self) -> str:
        """What is ranked."""

    @property
    def seed(self) -> int:
        """Of the training."""

    @property
    def trained_on(self) -> Iterable[Split]:
        """Which splits."""


_Trained = TypeVar("_Trained", bound=Trained)


def reference_of(trained: Sequence[_Trained]) -> list[_Trained]:
    """The seeds of the reference among all trainings of a track: plain SFT on known facts only."""
    bounds = [one for one in trained if one.method == "sft" and set(one.trained_on) == {Split.KNOWN}]
    entry = min((one.entry for one in bounds), key=lambda slug: (slug != "sft-known", slug), default=None)
    return sorted((one for one in bounds if one.entry == entry), key=lambda one: one.seed)
