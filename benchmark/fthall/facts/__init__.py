"""Where facts come from: one module a source, with a ``load() -> list[Fact]`` and what it says ``ABOUT`` itself.

In: a source by its name, or anyone's own file (:mod:`~fthall.facts.own`). Out: facts. A new source is a module here and
its lines in :func:`load` and :func:`about`.
"""

from collections.abc import Sequence

from fthall.errors import FthallError
from fthall.facts.source import Source, identifier
from fthall.records import Fact

__all__ = ["SOURCES", "Source", "about", "identifier", "load", "popularity"]
SOURCES = ("geonames", "entityquestions")


def load(source: str, relations: Sequence[str] | None = None) -> list[Fact]:
    """The facts of a source.

    Args:
        source: its name.
        relations: only these, in the source's order; those it has not are left out.

    Raises:
        FthallError: no such source, or its files are not here.
    """
    if source == "geonames":
        from fthall.facts import geonames

        return [fact for fact in geonames.load() if relations is None or fact.relation in relations]
    if source == "entityquestions":
        from fthall.facts import entityquestions

        return entityquestions.load(relations)
    raise _unknown(source)


def about(source: str) -> Source:
    """What a source says of itself.

    Raises:
        FthallError: no such source.
    """
    if source == "geonames":
        from fthall.facts import geonames

        return geonames.ABOUT
    if source == "entityquestions":
        from fthall.facts import entityquestions

        return entityquestions.ABOUT
    raise _unknown(source)


def popularity(source: str) -> dict[str, int]:
    """Fact id to how widely its subject is known, as the source has it; the greater the better known.

    Raises:
        FthallError: the source does not say, or there is no such source.
    """
    if source == "geonames":
        from fthall.facts import geonames

        return geonames.popularity()
    about(source)
    raise FthallError(f"{source} does not say how widely its subjects are known; geonames does")


def _unknown(source: str) -> FthallError:
    return FthallError(f"unknown source {source!r}; known sources: {', '.join(SOURCES)}")
