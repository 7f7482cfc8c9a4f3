"""A first look before hours of labelling: is this base being asked in the way it was made for?

Labels of a base whose tokenizer leaves out a token it cannot do without, or whose weights belong to another, look like
any other labels: nearly all Unknown. So a few facts are asked first that every language model has read a thousand
times, with exemplars and without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fthall.engines import Call, Engine, Workers, each
from fthall.engines.engine import judged
from fthall.errors import FthallError
from fthall.facts import geonames
from fthall.prompts import ask, context_for, draw_contexts, few_shot
from fthall.records import Fact

FAMOUS = 200
"""Facts that are asked: half capitals, half countries of cities."""
LONG = 5_000
"""Questions from which a labelling is long enough to be preceded by a look."""
NEAR_NOTHING = 0.05
"""Share of right answers below which something is wrong, or there is nothing to forget."""
_GAIN = 0.10
"""Share by which a token must help to be missed."""
_SHORT = 8
"""Words of a short answer, at most."""


@dataclass(frozen=True, slots=True)
class Look:
    """Shares of the famous facts, 0 to 1."""

    few_shot: float
    """Answered rightly behind three exemplars."""
    zero_shot: float
    """Answered rightly without any."""
    short: float
    """Answered in a few words behind exemplars, rightly or not: the format is met."""
    with_token: float | None = None
    """Answered rightly behind exemplars and the token the tokenizer leaves out, if it does."""


def famous() -> list[Fact]:
    """Facts of the embedded source about its most populous countries and cities."""
    people = geonames.popularity()
    facts = sorted(geonames.load(), key=lambda fact: (-people[fact.id], fact.id))
    capitals = [fact for fact in facts if fact.relation == "capital_of_country"]
    cities = [fact for fact in facts if fact.question.startswith("In which country is the city of")]
    return capitals[: FAMOUS // 2] + cities[: FAMOUS // 2]


def look(engine: Engine | Workers, *, left_out: str | None = None, max_new_tokens: int = 16) -> Look:
    """Ask the famous facts.

    Args:
        engine: that will answer.
        left_out: a beginning-of-sequence token its tokenizer has and does not add; it is tried.
        max_new_tokens: longest answer.
    """
    facts = famous()
    pool: dict[str, list[Fact]] = {}
    for fact in facts:
        pool.setdefault(fact.relation, []).append(fact)
    # A continent may have too few great cities to show; then all of them are shown.
    cities = [fact for fact in facts if fact.relation != "capital_of_country"]
    drawn = draw_contexts({name: pool[name] if len(pool[name]) > 3 else cities for name in pool}, 1, 3, 0)
    bare = [ask(fact.question) for fact in facts]
    shown = [few_shot(context_for(fact, drawn[fact.relation][0])) + one for fact, one in zip(facts, bare, strict=True)]
    accepted, most = [fact.answers for fact in facts], {"max_new_tokens": max_new_tokens}
    calls = [Call("said", "greedy", (shown,), most), Call("zero", "right", (bare, accepted), most)]
    if left_out:
        calls.append(Call("token", "right", ([left_out + one for one in shown], accepted), most))
    found: dict[Any, list[Any]] = dict(each(engine, calls))
    short = [0 < len(text.split()) <= _SHORT for text in found["said"]]
    right = judged(found["said"], accepted)
    shares: dict[str, Sequence[bool]] = {"few_shot": right, "zero_shot": found["zero"], "short": short}
    if left_out:
        shares["with_token"] = found["token"]
    return Look(**{name: sum(values) / len(facts) for name, values in shares.items()})


def told(seen: Look) -> str:
    """What was seen, in a line."""
    return (
        f"of {FAMOUS} famous facts {_percent(seen.few_shot)} right behind exemplars, {_percent(seen.zero_shot)} without"
    )


def check(seen: Look, base: str, left_out: str | None = None) -> None:
    """Whether labels of this base would be worth their hours.

    Raises:
        FthallError: it lacks a token, or answers next to nothing.
    """
    told = f"{base} answers {_percent(seen.few_shot)} of {FAMOUS} famous facts"
    if seen.with_token is not None and seen.with_token >= seen.few_shot + _GAIN:
        raise FthallError(
            f"{told} as its tokenizer has it, and {_percent(seen.with_token)} with {left_out} before each text, which "
            "its tokenizer has and does not add; type --add-bos (to label it without all the same: --no-add-bos)"
        )
    if seen.few_shot < NEAR_NOTHING:
        format_ = "" if seen.short >= 0.5 else f", and only {_percent(seen.short)} in a few words"
        raise FthallError(
            f"{told} with exemplars before them{format_}: nearly all labels would be Unknown; see whether its "
            "tokenizer is the one it was trained with and its weights are whole (to label it all the same: --no-check)"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
