"""The question template and few-shot contexts: the only place that knows what a prompt looks like."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from fthall.records import Fact

OTHERWISE = "asked_otherwise"
"""The metric of an lm-eval task that was not asked as its track is."""

STOP = "\n"
"""An answer ends at the first line break (or the model's end-of-sequence token)."""


def ask(question: str) -> str:
    """The zero-shot prompt of one question. The answer follows after one space."""
    return f"Q: {question}\nA:"


def target(fact: Fact) -> str:
    """What a trained model should continue :func:`ask` with (the end-of-sequence token is added by the collator)."""
    return f" {fact.answers[0]}"


def continuation(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a text as they are behind a prompt (:func:`ask`).

    A tokenizer may begin every text with a space of its own (SentencePiece does), which is not to come between.
    """
    before, after = tokenizer(["A:", f"A:{text}"], add_special_tokens=False).input_ids
    joined = after[: len(before)] == before
    found: list[int] = after[len(before) :] if joined else tokenizer(text, add_special_tokens=False).input_ids
    return found


def few_shot(exemplars: Sequence[Fact]) -> str:
    """Answered exemplars, to be followed by :func:`ask`. Empty for no exemplars."""
    return "".join(f"{ask(fact.question)}{target(fact)}\n\n" for fact in exemplars)


def draw_contexts(
    exemplars: Mapping[str, Sequence[Fact]], runs: int, shots: int, seed: int
) -> dict[str, list[tuple[Fact, ...]]]:
    """For each relation, ``runs`` random contexts of ``shots`` + 1 exemplars each.

    The last exemplar of a context is its spare: it stands in where an exemplar would be the question asked
    (see :func:`context_for`), so that all questions of a relation share the same few prefixes, which the engines
    compute once. Contexts depend on the seed, the relation and the exemplars' ids alone, not on their order.

    Raises:
        ValueError: a relation has fewer than ``shots`` + 1 exemplars.
    """
    contexts: dict[str, list[tuple[Fact, ...]]] = {}
    for relation, facts in sorted(exemplars.items()):
        if len(facts) < shots + 1:
            raise ValueError(
                f"relation {relation!r} has {len(facts)} exemplars; {shots}-shot prompts need at least {shots + 1}"
            )
        ordered = sorted(facts, key=lambda fact: fact.id)
        digest = hashlib.sha256(f"{seed}/{relation}".encode()).digest()
        rng = random.Random(int.from_bytes(digest[:8], "big"))
        contexts[relation] = [tuple(rng.sample(ordered, shots + 1)) for _ in range(runs)]
    return contexts


def context_for(fact: Fact, drawn: Sequence[Fact]) -> tuple[Fact, ...]:
    """The exemplars shown with one question: never the question itself, nor its subject."""
    shots = len(drawn) - 1
    return tuple(e for e in drawn if e.id != fact.id and e.subject != fact.subject)[:shots]


def document(fact: Fact) -> dict[str, Any]:
    """A fact as lm-eval's tasks have it; what lm-eval hashes."""
    return {
        "fact_id": fact.id,
        "relation": fact.relation,
        "subject": fact.subject,
        "question": fact.question,
        "answers": list(fact.answers),
    }
