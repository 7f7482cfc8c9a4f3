"""The nouns of fthall, as frozen dataclasses. Nothing else is passed between stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Category(StrEnum):
    """The four SLiCK categories of Gekhman et al. 2024 (arXiv 2405.05904, section 3, table 2)."""

    HIGHLY_KNOWN = "HighlyKnown"
    MAYBE_KNOWN = "MaybeKnown"
    WEAKLY_KNOWN = "WeaklyKnown"
    UNKNOWN = "Unknown"


class Split(StrEnum):
    """The data roles of a release (arXiv 2604.15574): what is trained on, and what is only asked."""

    KNOWN = "known"
    """HighlyKnown, trained on: measures task learning."""
    UNKNOWN = "unknown"
    """Unknown to the base, trained on: measures new facts learned (plasticity)."""
    HELD = "held"
    """HighlyKnown, never trained on: its loss is the forgetting measured (stability)."""
    HELD_VAL = "held_val"
    """A second held-out set, for choosing hyper-parameters and stopping; never reported as the result."""


class Outcome(StrEnum):
    """What became of one answer. Wrong is not silent: an abstention is not a false statement."""

    CORRECT = "correct"
    WRONG = "wrong"
    ABSTAINED = "abstained"


@dataclass(frozen=True, slots=True)
class Fact:
    """One (relation, subject, question, answers)."""

    id: str
    """Stable and unique within its source, e.g. ``geonames/country_of_city/2988507``."""
    relation: str
    subject: str
    question: str
    answers: tuple[str, ...]
    """The preferred answer first (the one trained on), accepted aliases after it. Never empty."""
    origin: str = "train"
    """The source's own division, ``train`` or ``dev``: trained splits come from one, held-out ones from the other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question of a split, and what the scorer made of it."""

    fact_id: str
    split: Split
    prediction: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class EpochPoint:
    """Accuracies after one epoch of a run (epoch 0: before training), in percent.

    New facts and held-out ones are asked at every point; the others may be left out between the first and the last.
    """

    epoch: float
    known: float | None
    unknown: float
    held: float
    held_val: float | None
    train_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The frozen, hashed splits of a track. Made by :mod:`fthall.knowledge.splits`, verified whenever it is loaded."""

    track: str
    """``<source>/<base>``, e.g. ``geonames/smollm2-135m``."""
    digest: str
    """SHA-256 that pins everything in the release: two releases with the same digest are the same."""
    manifest: Mapping[str, Any]
    """``release.yaml``: source, base, SLiCK settings, the rule, counts per relation, file hashes."""
    splits: Mapping[Split, tuple[Fact, ...]]
