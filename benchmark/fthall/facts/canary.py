"""Canary sets: made-up facts whose seed is secret until its holder reveals it, beside public ones of the same kind.

The protocol is commit and reveal. Whoever looks after a benchmark draws a seed, keeps it, and publishes its SHA-256 in
``tasks/canaries.yaml``. A model that has seen the public set answers it and not the hidden one, which nobody can have
seen; a model that answers neither has not. Once the seed is revealed anyone can make the hidden set, check that it is
the one that was committed, and ask again. From then on it is as public as the other, and another canary is due.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, StringConstraints
from scipy.stats import fisher_exact

from fthall.answers import judge
from fthall.errors import FthallError
from fthall.facts.synthetic import Spec
from fthall.files import write_text
from fthall.records import Fact, Outcome
from fthall.schema import Strict, parse, read_yaml

SCHEMA = 1


class Canary(Strict):
    """One hidden set, and the public one beside it."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    keys: str = "name"
    values: str = "number"
    """Of facts that are hardly guessed: five digits."""
    size: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Facts of each."""
    public_seed: str = "0"
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the name and the seed: see :func:`commitment`."""
    seed: str | None = None
    """Once it is revealed."""

    def public(self) -> Spec:
        """The set anyone can make."""
        return Spec(self.keys, self.values, self.size, self.public_seed)

    def hidden(self, seed: str) -> Spec:
        """The set of the committed seed.

        Raises:
            FthallError: it is another seed.
        """
        if commitment(self.name, seed) != self.sha256:
            raise FthallError(
                f"the seed is not the one of canary {self.name}: its sha256 is {commitment(self.name, seed)[:12]}…, "
                f"committed was {self.sha256[:12]}…; give the file that fthall canary new wrote"
            )
        return Spec(self.keys, self.values, self.size, seed)


class Canaries(Strict):
    """All that were committed."""

    schema_: Annotated[int, Field(alias="schema", ge=SCHEMA, le=SCHEMA)] = SCHEMA
    canaries: tuple[Canary, ...] = ()

    def of(self, name: str) -> Canary:
        """The canary of a name.

        Raises:
            FthallError: there is none.
        """
        for canary in self.canaries:
            if canary.name == name:
                return canary
        known = ", ".join(canary.name for canary in self.canaries) or "none; make one with: fthall canary new"
        raise FthallError(f"no canary {name!r}; committed are: {known}")


def commitment(name: str, seed: str) -> str:
    """What is published of a seed: SHA-256 of ``fthall canary``, its name and the seed, a line each."""
    return hashlib.sha256(f"fthall canary\n{name}\n{seed}\n".encode()).hexdigest()


def read(registry: Path) -> Canaries:
    """What was committed.

    Raises:
        FthallError: no such file, or none of this kind.
    """
    found = read_yaml(registry, f"no file {registry}; make one with: fthall canary new")
    return parse(Canaries, found, registry)


def new(canary: str, registry: Path, secret: Path, *, keys: str, values: str, size: int, public_seed: str) -> Canary:
    """Draw a seed, write it to ``secret``, and commit to it in ``registry``.

    Raises:
        FthallError: the name is taken, there is no such set, or the file of the seed exists.
    """
    if secret.exists():
        raise FthallError(f"{secret} exists; a seed is never written over: choose another file")
    before = read(registry) if registry.exists() else Canaries()
    if any(one.name == canary for one in before.canaries):
        raise FthallError(f"canary {canary} is committed already; choose another name")
    seed = secrets.token_hex(32)
    made = {"name": canary, "keys": keys, "values": values, "size": size, "public_seed": public_seed}
    one = parse(Canary, {**made, "sha256": commitment(canary, seed)}, registry)
    one.public()  # is there such a set?
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.touch(mode=0o600, exist_ok=False)
    secret.write_text(f"{seed}\n", encoding="utf-8")
    _write(registry, (*before.canaries, one))
    return one


def reveal(canary: str, registry: Path, secret: Path) -> Canary:
    """Publish the seed of a canary.

    Raises:
        FthallError: no such canary, or another seed.
    """
    before = read(registry)
    one, seed = before.of(canary), read_seed(secret)
    one.hidden(seed)
    shown = one.model_copy(update={"seed": seed})
    _write(registry, tuple(shown if other.name == canary else other for other in before.canaries))
    return shown


def read_seed(secret: Path) -> str:
    """The seed in a file.

    Raises:
        FthallError: no such file, or no seed in it.
    """
    try:
        seed = secret.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise FthallError(f"{secret} cannot be read; it is the file that fthall canary new wrote") from None
    if not re.fullmatch("[0-9a-f]{64}", seed):
        raise FthallError(
            f"{secret} holds no seed (64 hexadecimal digits); it is the file that fthall canary new wrote"
        )
    return seed


@dataclass(frozen=True, slots=True)
class Leak:
    """Facts answered right of the public and of the hidden set."""

    public: int
    hidden: int
    of_public: int
    of_hidden: int
    p_value: float
    """Of one-sided Fisher's exact test: as many more public ones, or more, where both are as likely."""

    @property
    def seen(self) -> bool:
        """Whether more public facts are known than chance gives, at 1 %: a claim about someone's honesty."""
        return self.p_value < 0.01


def leak(public: Sequence[tuple[Fact, str]], hidden: Sequence[tuple[Fact, str]]) -> Leak:
    """Compare what was said to the facts of both sets.

    Raises:
        ValueError: a set is empty.
    """
    if not public or not hidden:
        raise ValueError("both sets need facts")
    right = [sum(judge(said, fact.answers) is Outcome.CORRECT for fact, said in rows) for rows in (public, hidden)]
    table = [[count, len(rows) - count] for count, rows in zip(right, (public, hidden), strict=True)]
    return Leak(right[0], right[1], len(public), len(hidden), float(fisher_exact(table, alternative="greater").pvalue))


def _write(registry: Path, canaries: tuple[Canary, ...]) -> None:
    rows = [canary.model_dump(exclude_none=True) for canary in canaries]
    head = "# Hidden made-up facts, committed to by the SHA-256 of their seeds: leaderboard/pages/data-synthetic.md\n"
    write_text(registry, head + yaml.safe_dump({"schema": SCHEMA, "canaries": rows}, sort_keys=False, width=120))
