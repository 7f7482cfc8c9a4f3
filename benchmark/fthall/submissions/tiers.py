"""How far a submission need not be trusted: tiers, which only maintainers and machines give.

A submission says nothing of its own tier. *Self-reported*: valid, its counts follow from its answers, but something
it shows has no evidence item by item. *Recomputed*: all it shows was counted again from such evidence. *Verified*: a
random part of its answers was asked of the very weights it pins (:mod:`fthall.submissions.verify`); what came of that
lies in ``leaderboard/verified/<source>/<base>/<slug>.json``, where no submission can write, and names the digest of the
folder it is about: a submission that is changed is no longer verified.
"""

import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fthall.files import read_json
from fthall.paths import data_dir
from fthall.records import Split
from fthall.schema import Strict, parse, readable
from fthall.submissions.card import Submission

_Text = Annotated[str, Field(max_length=500), AfterValidator(readable)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Tier(StrEnum):
    """From the least to the most."""

    REFUTED = "refuted"
    """Asked again, its own weights gave other answers; shown, never ranked."""
    SELF_REPORTED = "self-reported"
    RECOMPUTED = "recomputed"
    VERIFIED = "verified"

    @property
    def level(self) -> int:
        """0 to 3."""
        return list(Tier).index(self)


class Asked(Strict):
    """What came of one split."""

    items: Annotated[int, Field(ge=1)]
    """In the split."""
    asked: Annotated[int, Field(ge=1)]
    """Drawn at random and asked of the weights."""
    flips: Annotated[list[_Text], Field(max_length=100_000)]
    """Facts whose outcome was another than the submission says."""
    false_at_most: _Share
    """Upper end of the one-sided 95 % Clopper–Pearson interval of the share of false answers in the split."""
    p: _Share
    """Chance of as many flips or more at the flip rate measured for the track."""


class Verification(Strict):
    """A maintainers' file."""

    schema_: Literal[1] = Field(alias="schema")
    submission: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the folder it is about."""
    tier: Literal[Tier.VERIFIED, Tier.REFUTED]
    """What was found."""
    seed: _Text
    """What the part that was asked hangs on; not fixed before the weights were."""
    asked: dict[Split, Asked]
    """By split."""
    flip_rate: _Share
    """Of the track: the most that honest answers can be expected to flip (upper end of its 95 % interval)."""
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the tensors that answered."""
    hardware: _Text
    """They were asked on."""
    versions: dict[_Text, _Text]
    """Of the packages that asked."""
    on: datetime.date
    """Day."""


def verified_dir() -> Path:
    """Where the maintainers' files are."""
    return data_dir("leaderboard") / "verified"


def verification(one: Submission, root: Path | None = None) -> Verification | None:
    """What maintainers found of a submission as it is; None if they have not asked, or asked another version of it.

    Raises:
        FthallError: their file is unreadable.
    """
    path = (root or verified_dir()) / one.card.track / f"{one.slug}.json"
    if not path.is_file():
        return None
    found = parse(Verification, read_json(path), path)
    return found if found.submission == one.digest else None


def tier(one: Submission, root: Path | None = None) -> Tier:
    """A submission's tier.

    Args:
        one: validated.
        root: of the maintainers' files; by default the shipped ones.
    """
    if found := verification(one, root):
        return found.tier
    return Tier.RECOMPUTED if one.evidenced or not one.results.trajectory else Tier.SELF_REPORTED
