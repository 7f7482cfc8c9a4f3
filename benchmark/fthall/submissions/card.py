"""What a submission says, as strict records: the card, the counts, and the validated whole."""

import datetime
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from fthall.records import Answer, EpochPoint, Outcome, Split
from fthall.schema import Strict, readable
from fthall.submissions.pinned import Pinned

if TYPE_CHECKING:  # numbers need scipy; a check does not
    from fthall.measure.runs import EvaluatedRun

SCHEMA = 1
CALIBRATED = ("0.4.13",)
"""Versions of lm-eval by which a checkpoint was seen to answer as by fthall's own engine (``fthall control batching``).
Others prepare prompts or cut answers in ways of their own, and a number that moves with the harness is none."""

_Track = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
_Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
_Seen = AfterValidator(readable)
_Text = Annotated[str, Field(min_length=1, max_length=500), _Seen]
_Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Epoch = Annotated[_Number, Field(ge=0, le=100_000)]
_Percent = Annotated[_Number, Field(ge=0, le=100)]
_Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
_Scalar = (
    Annotated[str, Field(max_length=500), _Seen] | Annotated[int, Field(ge=-(2**63), lt=2**63)] | _Number | bool | None
)


class Card(Strict):
    """``submission.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    """Of this file's format."""
    track: _Track
    """``<source>/<base>``; the folder must lie under it, and be called ``<entry>-seed<seed>``."""
    release: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the release that was trained and evaluated on."""
    entry: _Slug
    """What is ranked: all submissions of one entry are its seeds."""
    title: Annotated[str, Field(min_length=1, max_length=80), _Seen]
    """How the leaderboard calls the entry."""
    method: _Slug
    """The family, e.g. ``sft``, ``freeze``, ``self-distill``."""
    description: Annotated[str, Field(max_length=500), _Seen] = ""
    """A sentence or two."""
    seed: _Count
    """Of the training."""
    trained_on: Annotated[tuple[Split, ...], Field(min_length=1, max_length=2)]
    """Which splits were trained on; the Only-Known reference lacks ``unknown``. Held-out facts never are."""
    hyperparameters: dict[_Slug | Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")], _Scalar]
    """Whatever the training hangs on, a name and a value each."""
    base_weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """:func:`fthall.bases.weights_sha256` of the model training started from."""
    authors: Annotated[list[_Text], Field(min_length=1, max_length=50)]
    """Who made it."""
    contact: _Text
    """How to reach them."""
    url: Annotated[str, Field(pattern=r"^https://[!#-&(-;=?-\[\]_a-z~]+$", max_length=300)] | None = None
    """Where code or a paper is: no spaces, quotes, angle brackets, backslashes or letters but ASCII."""
    checkpoint: Pinned | None = None
    """Where the weights are, to the byte: what makes it possible to verify them."""
    hardware: _Text
    """It was trained on."""
    command: _Text
    """What was typed."""
    versions: dict[_Text, Annotated[str, Field(max_length=80), _Seen]]
    """Of the packages; that of ``lm_eval`` must be one the tracks were calibrated on."""
    created: datetime.date
    """No later than today, wherever on earth."""

    @field_validator("created")
    @classmethod
    def _not_to_come(cls, value: datetime.date) -> datetime.date:
        latest = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=14)).date()
        if value > latest:
            raise ValueError(f"{value} is in the future; give the day it was made")
        return value

    @field_validator("versions")
    @classmethod
    def _calibrated(cls, value: dict[str, str]) -> dict[str, str]:
        if (found := value.get("lm_eval")) not in CALIBRATED:
            raise ValueError(
                f"{f'lm_eval {found!r} is no version' if found else 'lm_eval is missing: it must be one'} the tracks "
                f"were calibrated on ({', '.join(CALIBRATED)}); evaluate the checkpoint with that one"
            )
        return value

    @field_validator("trained_on")
    @classmethod
    def _never_held(cls, value: tuple[Split, ...]) -> tuple[Split, ...]:
        if not set(value) <= {Split.KNOWN, Split.UNKNOWN} or len(set(value)) < len(value):
            raise ValueError("known and unknown may be trained on, each named once; held-out facts never")
        return value


class Counts(Strict):
    """Outcomes of one split."""

    correct: _Count
    """An accepted answer, after normalisation."""
    wrong: _Count
    """Any other."""
    abstained: _Count
    """None, or a statement of not knowing."""


class Point(Strict):
    """One epoch of a trajectory, accuracies in percent (see :class:`fthall.records.EpochPoint`)."""

    epoch: Epoch
    """0 is the base, before training."""
    known: _Percent | None
    """Of known facts; none where they were not asked in this epoch."""
    unknown: _Percent
    """Of new facts."""
    held: _Percent
    """Of old facts held out."""
    held_val: _Percent | None
    """Of those held out for choosing; none where they were not asked."""
    train_loss: _Number | None = None
    """Mean over the epoch, nats a token."""


class Agreement(Strict):
    """The answers given during training against lm-eval's on the saved checkpoint."""

    compared: _Count
    """Items: all of the release."""
    differing: list[_Text]
    """Fact ids whose outcome differs."""


class Results(Strict):
    """``results.json``."""

    schema_: Literal[1] = Field(alias="schema")
    """Of this file's format."""
    counts: dict[Split, Counts]
    """By split; counted again from ``samples``, and must be the same."""
    trajectory: Annotated[list[Point], Field(max_length=2000)] = Field(default_factory=list)
    """In any order; epoch 0 is among them. Counted again from ``outcomes.jsonl`` where there is one."""
    agreement: Agreement | None = None
    """What lm-eval found other than the training did, on the same weights."""
    train_seconds: Annotated[_Number, Field(ge=0)] | None = None
    """Of the training alone."""


class Submission(BaseModel):
    """A validated submission."""

    model_config = ConfigDict(frozen=True)
    slug: str
    card: Card
    results: Results
    answers: Mapping[Split, tuple[Answer, ...]]
    digest: str = ""
    """SHA-256 over its files' names and bytes: a folder that was altered is another one."""
    trained_questions: frozenset[str] = frozenset()
    """Hashes of the questions it says it was trained on (:data:`fthall.submissions.check.TRAINED`), if it says."""
    evidenced: bool = False
    """Whether its trajectory was counted again, item by item (:mod:`fthall.submissions.evidence`)."""

    @cached_property
    def run(self) -> "EvaluatedRun":
        """What all numbers are made of."""
        from fthall.measure.runs import EvaluatedRun

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
        rows = self.answers[split]
        return 100 * sum(answer.outcome is Outcome.CORRECT for answer in rows) / len(rows)
