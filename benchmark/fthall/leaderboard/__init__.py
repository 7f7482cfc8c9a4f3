"""Submissions in; the rows of the board, its pictures and its pages out.

:mod:`~fthall.leaderboard.board` makes rows, :mod:`~fthall.leaderboard.charts` the geometry of the pictures,
:mod:`~fthall.leaderboard.site` HTML from templates. What is shown is computed here; templates hold markup only.
"""

from fthall.leaderboard.board import table
from fthall.leaderboard.site import render

__all__ = ["render", "table"]
