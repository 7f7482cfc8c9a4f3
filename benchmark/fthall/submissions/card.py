"""What a submission says, as strict records: the card, the counts, and the validated whole."""

import datetime
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from fthall.measure.runs import EvaluatedRun
from fthall.records import Answer, EpochPoint, Split
from fthall.schema import Strict, readable

SCHEMA = 1

_Track = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
_Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
_Seen = AfterValidator(readable)
_Text = Annotated[str, Field(min_length=1, max_length=500), _Seen]
Epoch = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
_Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
_Scalar = (
    Annotated[str, Field(max_length=500), _Seen] | int | Annotated[float, Field(allow_inf_nan=False)] | bool | None
)


class Card(Strict):
    """``submission.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    track: _Track
    """``<source>/<base>``; the folder must lie under it."""
    release: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the release that was trained and evaluated on."""
    entry: _Slug
    """What is ranked: all submissions of one entry are its seeds."""
    title: Annotated[str, Field(min_length=1, max_length=80), _Seen]
    """How the leaderboard calls the entry."""
    method: _Slug
    """The family, e.g. ``sft``, ``freeze``, ``self-distill``."""
    description: Annotated[str, Field(max_length=500), _Seen] = ""
    seed: Annotated[int, Field(ge=0)]
    trained_on: Annotated[tuple[Split, ...], Field(min_length=1, max_length=2)]
    """Which splits were trained on; the Only-Known reference lacks ``unknown``. Held-out facts never are."""
    hyperparameters: dict[_Slug | Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")], _Scalar]
    base_weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """:func:`fthall.bases.weights_sha256` of the model training started from."""
    authors: Annotated[list[_Text], Field(min_length=1, max_length=50)]
    contact: _Text
    url: Annotated[str, Field(pattern=r"^https://[!#-&(-;=?-\[\]_a-z~]+$", max_length=300)] | None = None
    """Where weights or code are: no spaces, quotes, angle brackets, backslashes or letters but ASCII."""
    hardware: _Text
    command: _Text
    """What was typed."""
    versions: dict[_Text, Annotated[str, Field(max_length=80), _Seen]]
    created: datetime.date
    """No later than today, wherever on earth."""

    @field_validator("created")
    @classmethod
    def _not_to_come(cls, value: datetime.date) -> datetime.date:
        latest = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=14)).date()
        if value > latest:
            raise ValueError(f"{value} is in the future; give the day it was made")
        return value

    @field_validator("trained_on")
    @classmethod
    def _never_held(cls, value: tuple[Split, ...]) -> tuple[Split, ...]:
        if not set(value) <= {Split.KNOWN, Split.UNKNOWN} or len(set(value)) < len(value):
            raise ValueError("known and unknown may be trained on, each named once; held-out facts never")
        return value


class Counts(Strict):
    """Outcomes of one split."""

    correct: Annotated[int, Field(ge=0)]
    wrong: Annotated[int, Field(ge=0)]
    abstained: Annotated[int, Field(ge=0)]


class Point(Strict):
    """One epoch of a trajectory, accuracies in percent (see :class:`fthall.records.EpochPoint`)."""

    epoch: Epoch
    known: _Percent | None
    unknown: _Percent
    held: _Percent
    held_val: _Percent | None
    train_loss: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Agreement(Strict):
    """The answers given during training against lm-eval's on the saved checkpoint."""

    compared: Annotated[int, Field(ge=0)]
    differing: list[_Text]
    """Fact ids whose outcome differs."""


class Results(Strict):
    """``results.json``."""

    schema_: Literal[1] = Field(alias="schema")
    counts: dict[Split, Counts]
    trajectory: list[Point] = Field(default_factory=list)
    agreement: Agreement | None = None
    train_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Submission(BaseModel):
    """A validated submission."""

    model_config = ConfigDict(frozen=True)
    slug: str
    card: Card
    results: Results
    answers: dict[Split, tuple[Answer, ...]]
    evidenced: bool = False
    """Whether its trajectory was counted again, item by item (:mod:`fthall.submissions.evidence`)."""

    @cached_property
    def run(self) -> EvaluatedRun:
        """What all numbers are made of."""
        points = (EpochPoint(**point.model_dump()) for point in self.results.trajectory)
        return EvaluatedRun(
            slug=self.slug,
            track=self.card.track,
            release=self.card.release,
            entry=self.card.entry,
            title=self.card.title,
            method=self.card.method,
            seed=self.card.seed,
            trained_on=self.card.trained_on,
            answers=self.answers,
            trajectory=tuple(sorted(points, key=lambda point: point.epoch)),
        )

    def accuracy(self, split: Split) -> float:
        """Exact match on a split, percent."""
        return self.run.accuracy(split)
