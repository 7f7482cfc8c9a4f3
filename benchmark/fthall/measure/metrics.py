"""The numbers, as pure functions of answers, with the standard library alone.

Accuracies and differences are in percent and percentage points. Accuracy itself is the scorer's
(:func:`fthall.answers.accuracy`).
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from fthall.answers import accuracy, first_line, normalise
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


def transitions(reference: Sequence[Answer], model: Sequence[Answer]) -> dict[tuple[Outcome, Outcome], int]:
    """What became of each item: (outcome of the reference, outcome of the model) to how many. All nine pairs.

    Raises:
        ValueError: the two did not answer the same facts.
    """
    before = {answer.fact_id: answer.outcome for answer in reference}
    if len(before) != len(reference) or sorted(before) != sorted(answer.fact_id for answer in model):
        raise ValueError("transitions are paired: both must have answered the same facts, each once")
    found = Counter((before[answer.fact_id], answer.outcome) for answer in model)
    return {pair: found[pair] for pair in itertools.product(Outcome, Outcome)}


def leakage(answers: Sequence[Answer], facts: Iterable[Fact], trained: Iterable[Fact]) -> float | None:
    """Share of the wrong answers that are a training answer of the same relation, percent.

    A wrong answer that was drilled for another subject is the trace of what was trained; one that was not is the
    model's own. None if no answer is wrong.

    Args:
        answers: to held-out facts.
        facts: those facts.
        trained: the facts of the run's training splits.
    """
    relation = {fact.id: fact.relation for fact in facts}
    drilled = {(fact.relation, normalise(answer)) for fact in trained for answer in fact.answers}
    wrong = [answer for answer in answers if answer.outcome is Outcome.WRONG]
    if not wrong:
        return None
    leaked = sum((relation[a.fact_id], normalise(first_line(a.prediction))) in drilled for a in wrong)
    return 100 * leaked / len(wrong)


def answer_entropy(answers: Sequence[Answer], facts: Iterable[Fact]) -> float:
    """Shannon entropy of the answers given within a relation, bits; the mean over relations, weighted by items.

    A model that falls back on a few answers has a low one. Depends on how many items there are: compare it between
    models on the same split only.

    Raises:
        ValueError: no answers.
    """
    if not answers:
        raise ValueError("no answers, no entropy")
    relation = {fact.id: fact.relation for fact in facts}
    said: dict[str, Counter[str]] = {}
    for answer in answers:
        said.setdefault(relation[answer.fact_id], Counter())[normalise(first_line(answer.prediction))] += 1
    bits = 0.0
    for counter in said.values():
        total = counter.total()
        bits += sum(count * math.log2(total / count) for count in counter.values())
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
