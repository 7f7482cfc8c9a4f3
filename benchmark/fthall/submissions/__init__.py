"""What arrives by pull request. A folder in, a validated submission out, or one clear line about what is wrong.

:mod:`~fthall.submissions.card` is the schema, :mod:`~fthall.submissions.check` holds the checks,
:mod:`~fthall.submissions.find` finds and reads folders; :mod:`~fthall.submissions.make` makes one of a checkpoint.
"""

from fthall.submissions.card import Card, Submission
from fthall.submissions.check import validate
from fthall.submissions.find import find, find_reference, find_runs, lacking, read, retired

__all__ = ["Card", "Submission", "find", "find_reference", "find_runs", "lacking", "read", "retired", "validate"]
