"""A submission's own weights, asked again: its folder and its pinned checkpoint in, what was found out.

:mod:`~fthall.submissions.verify.fetch` brings the very bytes the card pins, :mod:`~fthall.submissions.verify.ask` asks
them in a process of its own, :mod:`~fthall.submissions.verify.bound` draws the part that is asked and says what the
answers prove, :mod:`~fthall.submissions.verify.again` puts them together. What comes of it is a maintainers' file
(:mod:`fthall.submissions.tiers`).
"""

from fthall.submissions.verify.again import Limits, Verdict, verify, write
from fthall.submissions.verify.bound import ITEMS, flip_rate, seen_with

__all__ = ["ITEMS", "Limits", "Verdict", "flip_rate", "seen_with", "verify", "write"]
