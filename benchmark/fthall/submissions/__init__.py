"""What arrives by pull request. A folder in, a validated submission out, or one clear line about what is wrong.

:mod:`~fthall.submissions.card` is the schema, :mod:`~fthall.submissions.check` holds the checks, with
:mod:`~fthall.submissions.evidence` of trajectories and :mod:`~fthall.submissions.pinned` of checkpoints;
:mod:`~fthall.submissions.find` finds and reads folders; :mod:`~fthall.submissions.tiers` and
:mod:`~fthall.submissions.odd` say what to think of them. :mod:`~fthall.submissions.make` makes one,
:mod:`~fthall.submissions.pull` judges a pull request, :mod:`~fthall.submissions.verify` asks the weights again.
"""

from fthall.submissions.card import Card, Submission
from fthall.submissions.check import validate
from fthall.submissions.find import agree, each, find, find_reference, find_runs, lacking, read, retired
from fthall.submissions.odd import look
from fthall.submissions.schemas import write_schemas
from fthall.submissions.tiers import Tier, tier

__all__ = [
    "Card",
    "Submission",
    "Tier",
    "agree",
    "each",
    "find",
    "find_reference",
    "find_runs",
    "lacking",
    "look",
    "read",
    "retired",
    "tier",
    "validate",
    "write_schemas",
]
