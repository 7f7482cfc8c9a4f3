"""Which one for my case? Who learns as much as is needed, what that costs in old facts, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from fthall.leaderboard.board import Entry, forgotten
from fthall.records import Split
from fthall.submissions.tiers import Tier

LEVELS = (99, 90, 50)
"""Percent of the new facts somebody may need."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is left at a level of new facts learned."""

    level: int
    """Percent; 0: the new facts do not matter."""
    left: int
    """Entries that get there."""
    best: Entry | None
    """Of these the one that forgets least; None where nobody gets there. At 0, the reference: it never saw them."""
    alike: tuple[Entry, ...]
    """Of these, in order of what they forget, those whose held accuracy is not told apart from the best one's."""


def choices(entries: Sequence[Entry]) -> tuple[Choice, ...]:
    """A choice a level, the highest first; none on a board without a reference."""
    ranked = [entry for entry in entries if entry.forgetting is not None and entry.tier is not Tier.REFUTED]
    found = []

    def learned(entry: Entry) -> float:
        return entry.accuracy[Split.UNKNOWN].mean

    for level in (*LEVELS, 0) if ranked else ():
        there = sorted(
            (e for e in ranked if (e.is_reference if level == 0 else learned(e) >= level and not e.is_reference)),
            key=lambda entry: (forgotten(entry), entry.slug),
        )
        best = there[0] if there else None
        alike = tuple(entry for entry in there[1:] if best and entry.slug in best.alike)
        found.append(Choice(level, len(there), best, alike))
    return tuple(found)
