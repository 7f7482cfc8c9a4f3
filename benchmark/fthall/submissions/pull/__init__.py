"""The door of the leaderboard: what a pull request brings, judged from git's own objects.

A repository and two commits in (:func:`~fthall.submissions.pull.review.review`), a
:class:`~fthall.submissions.pull.report.Report` out, and of that the text shown on the pull request
(:func:`~fthall.submissions.pull.report.comment`). Nothing of the pull request is checked out, and nothing of it is run.
"""

from fthall.submissions.pull.report import Report, comment, read_report
from fthall.submissions.pull.review import review

__all__ = ["Report", "comment", "read_report", "review"]
