"""Which part of a submission is asked again, and what its answers prove of the rest.

An answer is *false* if the weights, asked again, come to another outcome (correct, wrong, abstained). A few honest ones
flip as well, by other hardware or another batch; how many was measured by ``fthall control batching``.

Intervals: Clopper and Pearson 1934, *The use of confidence or fiducial limits illustrated in the case of the binomial*,
Biometrika 26. They take a draw without replacement for one with, which errs on the side of caution.
"""

import hashlib
from collections.abc import Mapping, Sequence

from fthall.files import read_json
from fthall.paths import data_dir
from fthall.records import Split
from fthall.submissions.tiers import Asked, Tier

ITEMS = 299
"""Of a split: with as many, none of them false, no more than 1 % of all are (95 %)."""
CONFIDENCE = 0.95
MOST_FALSE = 0.025
"""What a verified submission may hide in a split, at most, by the upper end of the interval: two flips among 299."""
REFUTED = 0.001
"""Chance, over all splits, that an honest submission is called refuted."""
UNMEASURED = 0.005
"""The flip rate of tracks for which none was measured."""


def flip_rate(track: str) -> float:
    """The share of answers that honest weights give otherwise when asked again: upper end of its 95 % interval.

    Counted over the facts that ever changed in ``leaderboard/controls/<track>/batching.json``.
    """
    path = data_dir("leaderboard") / "controls" / track / "batching.json"
    if not path.is_file():
        return UNMEASURED
    found = read_json(path)
    changed = {fact_id for ids in found["differing"].values() for fact_id in ids}
    return _upper(len(changed), int(found["compared"]))


def draw(ids: Sequence[str], items: int, seed: str, submission: str) -> tuple[str, ...]:
    """The facts that are asked, in an order nobody can have foreseen who did not know the seed.

    Args:
        ids: of the split.
        items: how many; all, if there are no more.
        seed: any text that was not fixed before the weights were.
        submission: its digest: another submission is asked about other facts.
    """

    def place(fact_id: str) -> bytes:
        return hashlib.sha256(f"{seed}\n{submission}\n{fact_id}".encode()).digest()

    return tuple(sorted(ids, key=place)[:items])


def judge_split(items: int, asked: int, flips: Sequence[str], rate: float) -> Asked:
    """What the answers to a part of a split prove.

    Args:
        items: in the split.
        asked: of them.
        flips: facts whose outcome was another.
        rate: at which honest answers flip.
    """
    from scipy.stats import binom

    # Of all, nothing is left to be estimated.
    at_most = len(flips) / items if asked == items else _upper(len(flips), asked)
    return Asked(
        items=items,
        asked=asked,
        flips=sorted(flips),
        false_at_most=at_most,
        p=min(1.0, float(binom.sf(len(flips) - 1, asked, rate))),
    )


def decide(found: Mapping[Split, Asked]) -> Tier | None:
    """Verified, refuted, or None: too little was asked to tell."""
    if min(asked.p for asked in found.values()) < REFUTED / len(found):
        return Tier.REFUTED
    return Tier.VERIFIED if max(asked.false_at_most for asked in found.values()) <= MOST_FALSE else None


def seen_with(asked: int, power: float = CONFIDENCE) -> float:
    """The share of false answers in a split of which at least one is among those asked, with that probability."""
    return 1.0 - float((1.0 - power) ** (1.0 / asked))


def _upper(flips: int, asked: int) -> float:
    """Upper end of the one-sided Clopper–Pearson interval of a share."""
    from scipy.stats import beta

    return 1.0 if flips >= asked else float(beta.ppf(CONFIDENCE, flips + 1, asked - flips))
