"""What a source says of itself, and how it names its facts."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts are from, as a release states it."""

    license: str
    attribution: str
    url: str
    shipped: bool
    """Whether the facts' texts may stand in a release; of others only ids do."""
    commit: str | None = None
    """Of a repository."""

    def manifest(self) -> dict[str, str]:
        """As a release states it."""
        said = {"license": self.license, "attribution": self.attribution, "url": self.url}
        return said | ({"commit": self.commit} if self.commit else {})


def identifier(source: str, relation: str, question: str) -> str:
    """Stable id of a fact, whatever is added to or removed from the files it stands in."""
    return f"{source}/{relation}/{hashlib.sha256(question.encode()).hexdigest()[:12]}"
