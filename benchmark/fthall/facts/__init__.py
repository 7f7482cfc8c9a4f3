"""Where facts come from: one module a source, each with a ``load() -> list[Fact]``.

In: a source by its name, or anyone's own file (:mod:`~fthall.facts.own`). Out: facts. A new source is a module here and
a line in :func:`load`; whether its texts may be shipped is said in :mod:`fthall.knowledge.releases`.
"""

import hashlib
from collections.abc import Sequence

from fthall.errors import FthallError
from fthall.records import Fact

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
    raise FthallError(f"unknown source {source!r}; known sources: {', '.join(SOURCES)}")


def identifier(source: str, relation: str, question: str) -> str:
    """Stable id of a fact, whatever is added to or removed from the files it stands in."""
    return f"{source}/{relation}/{hashlib.sha256(question.encode()).hexdigest()[:12]}"
