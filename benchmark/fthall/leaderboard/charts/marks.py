"""How entries are told apart in pictures: a colour and a shape each, by their place in the track."""

from fthall.leaderboard.board import Entry

COLOURS = 7
"""style.css has as many; coprime to the shapes, so 56 entries look different."""
SHAPES = (  # path data of radius about 7, told apart without colour; relative, so that another start moves the whole
    "M-6.5 0a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0-13 0z",
    "M-6-6h12v12h-12z",
    "M0-8l7.5 13.5h-15z",
    "M0-8.5l8.5 8.5-8.5 8.5-8.5-8.5z",
    "M0 8l7.5-13.5h-15z",
    "M-2.5-7.5h5v5h5v5h-5v5h-5v-5h-5v-5h5z",
    "M0-7.5l7.1 5.2-2.7 8.4h-8.8l-2.7-8.4z",
    "M-7-4l3-3 4 4 4-4 3 3-4 4 4 4-3 3-4-4-4 4-3-3 4-4z",
)


def colour(entry: Entry) -> int:
    """Which of the style sheet's colours."""
    return entry.place % COLOURS


def mark(entry: Entry) -> int:
    """Which of the shapes."""
    return entry.place % len(SHAPES)


def shape(entry: Entry) -> str:
    """SVG path of its mark."""
    return SHAPES[mark(entry)]
