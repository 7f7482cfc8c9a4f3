"""Where facts come from: one module a source, each with a ``load() -> list[Fact]``."""

from fthall.errors import FthallError
from fthall.records import Fact

SOURCES = ("geonames",)


def load(source: str) -> list[Fact]:
    """The facts of a source.

    Raises:
        FthallError: no such source.
    """
    if source != "geonames":
        raise FthallError(f"unknown source {source!r}; known sources: {', '.join(SOURCES)}")
    from fthall.facts import geonames

    return geonames.load()
