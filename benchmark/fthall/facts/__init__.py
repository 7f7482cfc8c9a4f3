"""Where facts come from: one module a source, each with a ``load() -> list[Fact]``."""

from fthall.errors import FthallError
from fthall.records import Fact

SOURCES = ("geonames", "entityquestions")


def load(source: str) -> list[Fact]:
    """The facts of a source.

    Raises:
        FthallError: no such source, or its files are not here.
    """
    if source == "geonames":
        from fthall.facts import geonames

        return geonames.load()
    if source == "entityquestions":
        from fthall.facts import entityquestions

        return entityquestions.load()
    raise FthallError(f"unknown source {source!r}; known sources: {', '.join(SOURCES)}")
