"""Pictures: the plane, and the trajectories."""

from fthall.leaderboard.charts.geometry import front
from fthall.leaderboard.charts.marks import SHAPES, colour, mark, shape
from fthall.leaderboard.charts.panels import Panel, panels
from fthall.leaderboard.charts.plane import Plane, plane, preview
from fthall.leaderboard.charts.rows import Extra
from fthall.leaderboard.charts.vega import Painter, bundle

__all__ = [
    "SHAPES",
    "Extra",
    "Painter",
    "Panel",
    "Plane",
    "bundle",
    "colour",
    "front",
    "mark",
    "panels",
    "plane",
    "preview",
    "shape",
]
