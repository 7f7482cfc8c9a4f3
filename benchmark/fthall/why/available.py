"""Availability: is a fact that turned wrong gone, or only out of reach?

Each held-out fact that the reference of the same seed has right and the fine-tuned model has wrong is looked for in
four ways: how likely the model finds the right answer, and at which rank; its SLiCK category, behind few-shot
exemplars; whether it comes up when samples are drawn; and whether it is back after one more epoch of known facts, which
teaches nothing of it. Beside it, as a null, how likely another answer of the relation is: as any plausible one may be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fthall.errors import FthallError
from fthall.finetune.recipe import Run, Training
from fthall.knowledge.slick import SlickConfig, label, likely
from fthall.prompts import ask
from fthall.records import Category, Fact, Release, Split
from fthall.why.trace import read_rows, right

SAMPLES, TEMPERATURE, TOP_K = 16, 0.5, 40
"""Drawn of an answer: those of SLiCK (Gekhman et al. 2024)."""
NEAR = 5
"""A rank at which an answer is among the first the model would give."""
_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Gold:
    """What a model makes of a right answer when asked without context."""

    probability: float
    """Of all its tokens; of the likeliest accepted answer."""
    rank: int
    """Of its least likely token among all tokens, the tokens before it given; 1: greedy decoding says it."""


def gold(
    model: Any, tokenizer: Any, facts: Sequence[Fact], *, on_facts: Callable[[int], None] | None = None
) -> list[Gold]:
    """Probability and rank of the right answers, from one pass over each: one a fact.

    Args:
        model: a causal LM.
        tokenizer: its own.
        facts: asked without context.
        on_facts: called with the number of facts just done, for progress.
    """
    import torch

    from fthall.engines.shared import head
    from fthall.finetune.loop.data import Collate, Completion, encode
    from fthall.finetune.loop.passes import can_pack, states

    ways = [(number, answer) for number, fact in enumerate(facts) for answer in fact.answers]
    examples = encode(
        [
            Completion(str(place), ask(facts[n].question), f" {answer}", "gold")
            for place, (n, answer) in enumerate(ways)
        ],
        tokenizer,
    )
    was_training = model.training
    model.eval()
    best: list[Gold | None] = [None] * len(facts)
    told = 0
    try:
        collate = Collate(bool(examples) and can_pack(model, examples))
        for start in range(0, len(examples), _TOGETHER):
            batch = examples[start : start + _TOGETHER]
            with torch.inference_mode():
                inputs = {name: value.to(model.device) for name, value in collate(batch).items()}
                learned = sum(len(one.input_ids) - one.prompt for one in batch)
                logits = head(model, states(model, inputs)[inputs["predicting"][:learned]]).float()
                wanted = logits.gather(1, inputs["labels"][:learned, None])
                logs = (wanted - logits.logsumexp(1, keepdim=True))[:, 0].double().cpu().numpy()
                ranks = (1 + (logits > wanted).sum(1)).cpu().numpy()
            at = 0
            for one in batch:
                stop = at + len(one.input_ids) - one.prompt
                # The last token ends the answer, which is not part of it.
                found = Gold(float(np.exp(logs[at : stop - 1].sum())), int(ranks[at : stop - 1].max(initial=1)))
                number, at = ways[one.index][0], stop
                before = best[number]
                if before is None or found.probability > before.probability:
                    best[number] = found
            if on_facts:
                # Facts of which the last answer is done; examples are in the order of the facts.
                end = batch[-1].index + 1
                behind = ways[end][0] if end < len(ways) else len(facts)
                on_facts(behind - told)
                told = behind
    finally:
        model.train(was_training)
    return [one for one in best if one is not None]


def lost(release: Release, reference: Path, run: Path) -> tuple[list[Fact], list[Fact]]:
    """(lost, kept) of the held-out facts the reference has right.

    Raises:
        FthallError: a folder's answers are not those of the release's held-out facts.
    """
    outcomes = []
    for folder in (reference, run):
        outcomes.append(right(folder))
        if set(outcomes[-1]) != {fact.id for fact in release.splits[Split.HELD]}:
            raise FthallError(f"{folder} has answered other facts than the held-out ones of {release.track}")
    before, after = outcomes
    known = [fact for fact in release.splits[Split.HELD] if before[fact.id]]
    return [fact for fact in known if not after[fact.id]], [fact for fact in known if after[fact.id]]


def contexts(
    facts: Sequence[Fact],
    engine: Any,
    config: SlickConfig,
    release: Release,
    out: Path,
    *,
    identity: Mapping[str, str],
    on_answers: Callable[[int], None] | None = None,
) -> list[tuple[Category, int]]:
    """SLiCK of some facts behind exemplars from the known ones: (category, contexts with a right greedy answer).

    ``out`` gets the labels, and its journal goes on where it was.
    """
    table = label(
        facts,
        engine,
        config,
        out,
        identity=identity,
        exemplars=release.splits[Split.KNOWN],
        on_answers=on_answers,
    )
    rows = zip(table["fact_id"], table["category"], table["right"], strict=True)
    by_id = {fact_id: (Category(category), sum(map(bool, right))) for fact_id, category, right in rows}
    return [by_id[fact.id] for fact in facts]


def sampled(facts: Sequence[Fact], engine: Any, *, draw: bool, seed: int = 0) -> list[float]:
    """The chance that a sample is right when a fact is asked without context: one a fact.

    With ``draw``, the share of samples that are, where an engine cannot compute it.
    """
    prompts, options = [ask(fact.question) for fact in facts], {"temperature": TEMPERATURE, "top_k": TOP_K}
    if not draw:
        found: list[float] = engine.chance(prompts, [fact.answers for fact in facts], **options)
        return found
    from fthall.engines.engine import judged

    said = engine.sample(prompts, samples=SAMPLES, seed=seed, **options)
    return [float(np.mean(judged(texts, [fact.answers] * len(texts)))) for fact, texts in zip(facts, said, strict=True)]


def relearned(
    facts: Sequence[Fact],
    release: Release,
    model: Any,
    tokenizer: Any,
    run: Run,
    training: Training,
    folder: Path,
    *,
    on_answers: Callable[[int], None] | None = None,
) -> list[bool]:
    """Which facts are right after one epoch of the known facts more, trained as the run was; the model is changed.

    The schedule is one of its own: warm-up, and down to zero within the epoch.
    """
    from fthall.finetune.train import train

    few = {split: rows[:1] for split, rows in release.splits.items()}  # what is not needed is hardly asked
    few |= {Split.KNOWN: release.splits[Split.KNOWN], Split.HELD: tuple(facts)}
    alone = Run(
        entry="relearn", title="Relearn", method="sft", trained_on=(Split.KNOWN,), learning_rate=run.learning_rate
    )
    once = training.model_copy(update={"epochs": 1, "average_epochs": 1})
    train(
        replace(release, splits=few),
        model,
        tokenizer,
        alone,
        once,
        0,
        folder,
        resumable=False,
        on_answers=on_answers,
    )
    found = right(folder)
    return [found[fact.id] for fact in facts]


def summary(run: Mapping[str, Any]) -> dict[str, int]:
    """How many of a run's lost facts can be had in each way, and in any: counts, with those of another answer."""
    rows = run["facts"]

    def count(what: Callable[[Mapping[str, Any]], bool]) -> int:
        return sum(map(what, rows))

    def drawn(row: Mapping[str, Any], name: str = "sampled") -> bool:
        return likely([row[name]], SAMPLES)

    return {
        "right before": run["right_before"],
        "lost": len(rows),
        f"among the first {NEAR}": count(lambda row: row["after"][1] <= NEAR),
        "when sampled": count(drawn),
        "in a context": count(lambda row: row["in_context"] > 0),
        **{str(category): [row["category"] for row in rows].count(category) for category in Category},
        "after an epoch of known facts": count(lambda row: row["relearned"]),
        "in any way": count(lambda row: row["in_context"] > 0 or row["relearned"] or drawn(row)),
        f"another answer among the first {NEAR}": count(lambda row: row["other"][1] <= NEAR),
        "another answer when sampled": count(lambda row: drawn(row, "other_sampled")),
    }


def read(path: Path) -> dict[str, Any]:
    """Read what ``fthall availability`` wrote.

    Raises:
        FthallError: missing, or none of ours.
    """
    return read_rows(path, "runs", ("facts", "kept", "right_before"), "availability")
