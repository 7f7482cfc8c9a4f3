"""Which facts go into which split: the rule of Kaplan et al. 2026 (arXiv 2604.15574), and ours where it is silent."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fthall.answers import normalise
from fthall.errors import FthallError
from fthall.records import Category, Fact, Split

MIN_HIGHLY_KNOWN = 0.30
"""A relation is kept if at least this share of its facts is HighlyKnown (arXiv 2604.15574)."""

HELD_FROM = {"dev": {"dev"}, "all": {"dev", "train"}}
"""Origins of held-out facts."""


@dataclass(frozen=True, slots=True)
class Rule:
    """By what a release is drawn."""

    min_highly_known: float = MIN_HIGHLY_KNOWN
    """Share of HighlyKnown facts that keeps a relation."""
    seed: int = 0
    held_from: str = "dev"
    """Of what origin held-out facts are: ``dev``, or ``all`` for what is left of both, where a base knows little."""
    given_away: bool = True
    """Whether facts are drawn whose answer stands in the subject's name; who knows them may only be copying."""

    def manifest(self) -> dict[str, Any]:
        """As a release states it; what is as the paper has it goes unsaid."""
        usual = Rule()
        said = {"min_highly_known": self.min_highly_known, "seed": self.seed}
        return said | {
            name: value
            for name in ("held_from", "given_away")
            if (value := getattr(self, name)) != getattr(usual, name)
        }


def given_away(fact: Fact) -> bool:
    """Whether an accepted answer stands in the subject's name: the Nokia 3310 is produced by Nokia."""
    name = f" {normalise(fact.subject)} "
    return any(f" {normalise(answer)} " in name for answer in fact.answers)


def relation_table(facts: Sequence[Fact], labels: pd.DataFrame, rule: Rule) -> dict[str, dict[str, Any]]:
    """For each relation: how many facts were asked, how many fell in each category, and whether it is kept.

    By a rule without facts that are given away, also how many of the HighlyKnown are; these count for no relation.
    """
    table: dict[str, dict[str, Any]] = {}
    known = set(labels["fact_id"][labels["category"] == Category.HIGHLY_KNOWN])
    lost = Counter(fact.relation for fact in facts if not rule.given_away and fact.id in known and given_away(fact))
    for relation, rows in sorted(labels.groupby("relation")):
        counts = Counter(rows["category"])
        share = (counts[Category.HIGHLY_KNOWN] - lost[str(relation)]) / len(rows)
        table[str(relation)] = {
            "asked": len(rows),
            **{str(category): counts[category] for category in Category},
            "highly_known_share": round(share, 4),
            **({} if rule.given_away else {"given_away": lost[str(relation)]}),
            "kept": share >= rule.min_highly_known,
        }
    return table


def split(
    facts: Sequence[Fact],
    labels: pd.DataFrame,
    sizes: Mapping[Split, int],
    rule: Rule,
) -> dict[Split, tuple[Fact, ...]]:
    """Draw the four splits from labelled facts.

    ``known`` (HighlyKnown) and ``unknown`` (Unknown) come from origin ``train``; ``held_val`` and ``held``
    (HighlyKnown) from ``dev``, if the rule does not say otherwise; all from the kept relations only. No subject stands
    in two splits. The order is that of a seeded hash of the fact ids, so it does not hang on the order of the files.

    Raises:
        FthallError: a split comes out smaller than its size asks.
    """
    category = dict(zip(labels["fact_id"], labels["category"], strict=True))
    table = relation_table(facts, labels, rule)
    drawn = sorted(
        (
            fact
            for fact in facts
            if fact.id in category and table[fact.relation]["kept"] and (rule.given_away or not given_away(fact))
        ),
        key=lambda fact: hashlib.sha256(f"{rule.seed}/{fact.id}".encode()).digest(),
    )
    wanted = {
        Split.KNOWN: ({"train"}, Category.HIGHLY_KNOWN),
        Split.UNKNOWN: ({"train"}, Category.UNKNOWN),
        Split.HELD_VAL: (HELD_FROM[rule.held_from], Category.HIGHLY_KNOWN),
        Split.HELD: (HELD_FROM[rule.held_from], Category.HIGHLY_KNOWN),
    }
    used: dict[str, Split] = {}
    splits: dict[Split, tuple[Fact, ...]] = {}
    for name, (origins, wants) in wanted.items():
        chosen: list[Fact] = []
        for fact in drawn:
            if len(chosen) == sizes[name]:
                break
            if fact.origin in origins and category[fact.id] == wants:
                subject = normalise(fact.subject)
                if used.setdefault(subject, name) is name:
                    chosen.append(fact)
        if len(chosen) < sizes[name]:
            kept = ", ".join(relation for relation, row in table.items() if row["kept"]) or "none"
            raise FthallError(
                f"only {len(chosen)} facts for the split '{name}', {sizes[name]} asked; label more facts, ask for "
                f"fewer, or lower the {100 * rule.min_highly_known:g} % rule (kept relations: {kept})"
            )
        splits[name] = tuple(chosen)
    return splits
