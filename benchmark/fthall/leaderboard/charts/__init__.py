"""Pictures: the plane, and the trajectories."""

from fthall.leaderboard.charts.marks import SHAPES, colour, mark, shape
from fthall.leaderboard.charts.panels import Panel, panels
from fthall.leaderboard.charts.plane import Plane, front, plane

__all__ = ["SHAPES", "Panel", "Plane", "colour", "front", "mark", "panels", "plane", "shape"]
