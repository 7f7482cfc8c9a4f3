"""Controls: what the measure says where the true answer is known.

- ``reference``: the reference handed in as an entry forgets exactly nothing.
- ``null``: the base asked again, behind fresh exemplars, about held-out facts it had always right. What it misses now
  is no forgetting, it is what choosing "always right" facts costs (regression to the mean). A fine-tuned checkpoint
  asked the same way tells what it lost from what is only out of reach.
- ``noop``: training with learning rate 0, through the whole path, changes no answer.
- ``batching``: the same checkpoint asked in other batch sizes and orders, and by lm-eval. The share of answers that
  change is a floor: no smaller difference between two methods is worth a word.

Each returns plain data, ready for JSON.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fthall import facts as sources
from fthall.errors import FthallError
from fthall.knowledge import slick
from fthall.measure import metrics, stats
from fthall.measure.runs import EvaluatedRun, Ground, paired
from fthall.records import Answer, Category, Outcome, Release, Split

BATCH_SIZES = (8, 64, 192)


def reference(runs: Sequence[EvaluatedRun], on: Ground) -> dict[str, Any]:
    """Hand the reference in as an entry of its own.

    Raises:
        FthallError: there is no reference.
    """
    if not runs:
        raise FthallError("no Only-Known reference among the submissions (method sft, trained_on [known])")
    again = [replace(run, entry="reference-again") for run in runs]
    found = paired(runs, again, Split.HELD, on)
    exact = found.difference == 0 and found.lost == found.gained == 0 and found.p == 1
    return {"control": "reference", "passed": exact, "forgetting": found.difference, "p": found.p, "runs": len(runs)}


def null(
    release: Release,
    engine: Any,
    out: Path,
    *,
    identity: Mapping[str, str],
    seed: int = 1,
    runs: int | None = None,
    samples: int = 0,
    on_answers: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Ask about the held-out facts again, in fresh contexts; ``out`` gets the labels (Parquet).

    Of the base itself this is null forgetting. Of a fine-tuned checkpoint, with samples, it tells what is *lost* from
    what is only *out of reach*: all held-out facts were HighlyKnown; a fact that is now MaybeKnown or WeaklyKnown can
    still be brought up, one that is Unknown cannot.

    Args:
        release: of the track.
        engine: of its base, or of a checkpoint, in the dtype the labels were made with.
        out: resumed if it was begun.
        identity: of the engine, for the journal.
        seed: of the contexts; not the release's own.
        runs: contexts a fact; by default as many as the labels have.
        samples: a context, at T 0.5 from the 40 likeliest tokens, for facts no greedy answer gets right.
        on_answers: called with the number of questions just answered.

    Raises:
        FthallError: the seed is the one the labels were made with.
    """
    made_with = slick.config_of(release)
    if seed == made_with.seed:
        raise FthallError(f"seed {seed} is the one the labels were made with; fresh contexts need another")
    config = replace(made_with, seed=seed, runs=runs or made_with.runs, samples=samples)
    held = release.splits[Split.HELD]
    relations = sorted({fact.relation for fact in held})
    known = sources.load(str(release.manifest["source"]["name"]), relations)
    pool = [fact for fact in known if fact.origin == "dev"]
    table = slick.label(held, engine, config, out, identity=dict(identity), exemplars=pool, on_answers=on_answers)
    share = {fact_id: sum(right) / len(right) for fact_id, right in zip(table["fact_id"], table["right"], strict=True)}
    missed = [1 - share[fact.id] for fact in held]
    drawn = stats.resample([fact.subject for fact in held], [fact.relation for fact in held])
    low, high = drawn.interval(missed, extremes=(0.0, 1.0))
    category = dict(zip(table["fact_id"], table["category"], strict=True))
    counts = table["category"].value_counts()
    return {
        "control": "null",
        "track": release.track,
        "release": release.digest,
        "facts": len(held),
        "contexts": config.runs,
        "shots": config.shots,
        "samples": config.samples,
        "seed": seed,
        "missed": 100 * sum(missed) / len(missed),
        "low": 100 * float(low),
        "high": 100 * float(high),
        "categories": {str(name): int(counts.get(name, 0)) for name in Category},
        "no_longer_highly_known": {
            fact.id: category[fact.id] for fact in held if category[fact.id] != Category.HIGHLY_KNOWN
        },
        **identity,
    }


def lost(found: Mapping[str, Any], bound: EvaluatedRun, run: EvaluatedRun) -> dict[str, int]:
    """Of the held-out facts that the reference answers and the run does not: what category they are in now.

    Args:
        found: from :func:`null`, of the run's checkpoint.
        bound: the reference's run.
        run: the checkpoint's.
    """
    right = {answer.fact_id for answer in bound.answers[Split.HELD] if answer.outcome is Outcome.CORRECT}
    gone = [a.fact_id for a in run.answers[Split.HELD] if a.outcome is not Outcome.CORRECT and a.fact_id in right]
    now = [found["no_longer_highly_known"].get(fact_id, str(Category.HIGHLY_KNOWN)) for fact_id in gone]
    return {str(category): now.count(str(category)) for category in Category}


def noop(
    release: Release, before: Mapping[Split, Sequence[Answer]], after: Mapping[Split, Sequence[Answer]]
) -> dict[str, Any]:
    """Every answer before and after a training with learning rate 0.

    Args:
        release: of the track.
        before: answers of the base, in the release's order.
        after: of what came out of the training.
    """
    changed = [
        one.fact_id
        for split in Split
        for one, other in zip(before[split], after[split], strict=True)
        if one.prediction != other.prediction
    ]
    return {
        "control": "noop",
        "track": release.track,
        "passed": not changed,
        "compared": sum(map(len, before.values())),
        "changed": changed,
    }


def batching(
    release: Release,
    model: Any,
    tokenizer: Any,
    *,
    lm_eval: Callable[[], Mapping[Split, Sequence[Any]]] | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    on_answers: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Ask the same questions in several batch sizes, in another order and, where given, by lm-eval.

    The largest batch size, in the release's order, is what the others are compared with.
    """
    from fthall.engines import evaluate
    from fthall.engines.hf import HfEngine

    def outcomes(answers: Mapping[Split, Sequence[Any]]) -> dict[str, Outcome]:
        return {answer.fact_id: answer.outcome for rows in answers.values() for answer in rows}

    def ask(which: Release, size: int) -> dict[str, Outcome]:
        return outcomes(evaluate(HfEngine(model, tokenizer, batch_size=size), which, on_answers=on_answers))

    sizes = sorted(batch_sizes, reverse=True)
    base = ask(release, sizes[0])
    rng = random.Random(0)
    shuffled = replace(
        release, splits={split: tuple(rng.sample(list(facts), len(facts))) for split, facts in release.splits.items()}
    )
    others = {f"batches of {size}": ask(release, size) for size in sizes[1:]}
    others["another order"] = ask(shuffled, max(2, sizes[0] // 2 + 1))  # batches end elsewhere, too
    if lm_eval:
        others["lm-eval"] = outcomes(lm_eval())
    differing = {name: metrics.differing(base, found) for name, found in others.items()}
    held = {fact.id for fact in release.splits[Split.HELD]}
    worst = max(sum(fact_id in held for fact_id in ids) for ids in differing.values())
    return {
        "control": "batching",
        "track": release.track,
        "release": release.digest,
        "dtype": str(model.dtype).removeprefix("torch."),
        "compared": len(base),
        "differing": differing,
        "flip_rate": 100 * sum(map(len, differing.values())) / (len(base) * len(differing)),
        "floor": 100 * worst / len(held),
    }
