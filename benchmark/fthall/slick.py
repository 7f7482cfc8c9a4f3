"""SLiCK: does a base model know a fact? Few-shot greedy answers in, one of four categories out.

Gekhman et al. 2024 (arXiv 2405.05904, section 3): a question is asked in several random few-shot contexts.
HighlyKnown: every greedy answer is right. MaybeKnown: some are. WeaklyKnown: none is, but some sampled answer.
Unknown: none at all. The preset ``kaplan2026`` (arXiv 2604.15574) asks 20 times with 3 exemplars and greedily only,
so it has no WeaklyKnown; ``gekhman2024`` asks 10 times with 4, and draws 16 samples each time.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fthall.answers import judge
from fthall.engines import Engine, Sampler
from fthall.errors import FthallError
from fthall.files import atomic
from fthall.prompts import ask, context_for, draw_contexts, few_shot
from fthall.records import Category, Fact, Outcome, Release


@dataclass(frozen=True, slots=True)
class SlickConfig:
    """How often and how a question is asked."""

    runs: int = 20
    """Random few-shot contexts a question is asked in."""
    shots: int = 3
    """Exemplars a context."""
    seed: int = 0
    """Of the draw of exemplars."""
    max_new_tokens: int = 16
    """Longest answer, in tokens."""
    samples: int = 0
    """Sampled answers a context, asked only where no greedy answer is right: elsewhere they decide nothing."""
    temperature: float = 0.5
    """Of the samples."""
    top_k: int = 40
    """Likeliest tokens the samples are drawn from."""


PRESETS = {
    "kaplan2026": SlickConfig(runs=20, shots=3),
    "gekhman2024": SlickConfig(runs=10, shots=4, samples=16, temperature=0.5, top_k=40),
}


def config_of(release: Release) -> SlickConfig:
    """How the labels of a release were asked."""
    settings = release.manifest["slick"]
    return SlickConfig(**{name: int(settings[name]) for name in ("runs", "shots", "seed", "max_new_tokens")})


def categorise(greedy_right: Sequence[bool], sampled_right: Sequence[bool] = ()) -> Category:
    """The category of one fact from the verdicts on its greedy and, if any were drawn, sampled answers.

    Raises:
        ValueError: no greedy verdict at all.
    """
    if not greedy_right:
        raise ValueError("a category needs at least one greedy answer")
    if all(greedy_right):
        return Category.HIGHLY_KNOWN
    if any(greedy_right):
        return Category.MAYBE_KNOWN
    return Category.WEAKLY_KNOWN if any(sampled_right) else Category.UNKNOWN


def label(
    facts: Sequence[Fact],
    engine: Engine | Sampler,
    config: SlickConfig,
    out: Path,
    *,
    identity: dict[str, str],
    exemplars: Sequence[Fact] | None = None,
    on_answers: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Label facts; write ``out`` (Parquet) and return it.

    One row a fact: ``fact_id, relation, category, right`` (list of bool, one a run), ``answers`` (list of str, one
    a run) and, where samples are drawn, ``sampled_right`` (list of int, right samples a run; empty where none was
    needed). Exemplars are drawn from ``exemplars``, by default the facts of origin ``dev``, of the same relation.

    Resumes: each finished (relation, run) is appended to ``<out>.partial`` and not asked again. ``identity`` (base,
    its weight hash, dtype) is stored there; a partial file of another identity, config or list of facts is refused.

    Raises:
        FthallError: a relation has too few exemplars, or the partial file belongs to another build.
    """
    by_relation: dict[str, list[Fact]] = {}
    for fact in facts:
        by_relation.setdefault(fact.relation, []).append(fact)
    pool: dict[str, list[Fact]] = {relation: [] for relation in by_relation}
    for fact in exemplars if exemplars is not None else [f for f in facts if f.origin == "dev"]:
        if fact.relation in pool:
            pool[fact.relation].append(fact)
    try:
        contexts = draw_contexts(pool, config.runs, config.shots, config.seed)
    except ValueError as error:
        raise FthallError(str(error)) from None

    preset = next((name for name, known in PRESETS.items() if replace(config, seed=0) == known), "custom")
    settings = asdict(config)
    if not config.samples:  # then these three decide nothing
        settings = {name: value for name, value in settings.items() if name not in {"samples", "temperature", "top_k"}}
    header = {**identity, "preset": preset, **{name: str(value) for name, value in settings.items()}}
    header |= {"facts": digest(facts), "exemplars": digest([fact for drawn in pool.values() for fact in drawn])}
    partial = out.with_name(out.name + ".partial")
    done, sampled = _read_partial(partial, header)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("a", encoding="utf-8") as journal:
        if journal.tell() == 0:
            journal.write(json.dumps(header) + "\n")
        for relation, asked in sorted(by_relation.items()):
            for run, drawn in enumerate(contexts[relation]):
                if (relation, run) in done:
                    if on_answers:
                        on_answers(len(asked))
                    continue
                prompts = [few_shot(context_for(fact, drawn)) + ask(fact.question) for fact in asked]
                answers = engine.greedy(prompts, max_new_tokens=config.max_new_tokens, on_batch=on_answers)
                done[relation, run] = answers
                journal.write(json.dumps([relation, run, answers], ensure_ascii=False) + "\n")
                journal.flush()
        if config.samples:
            _sample(by_relation, contexts, engine, config, done, sampled, journal)

    table = _table(by_relation, config, done, sampled)
    # What the labels were made with travels in the file: a release is built from it.
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"fthall": json.dumps(header).encode()})
    with atomic(out) as temporary:
        pq.write_table(arrow, temporary)
    partial.unlink()
    return table


def _table(
    by_relation: Mapping[str, Sequence[Fact]],
    config: SlickConfig,
    done: Mapping[tuple[str, int], Sequence[str]],
    sampled: Mapping[tuple[str, int], Mapping[str, int]],
) -> pd.DataFrame:
    """The labels, from all answers."""
    rows = []
    for relation, asked in sorted(by_relation.items()):
        for position, fact in enumerate(asked):
            said = [done[relation, run][position] for run in range(config.runs)]
            right = [judge(text, fact.answers) is Outcome.CORRECT for text in said]
            found = [sampled.get((relation, run), {}).get(fact.id) for run in range(config.runs)]
            drawn = [count for count in found if count is not None]
            rows.append((fact.id, relation, str(categorise(right, [n > 0 for n in drawn])), right, said, drawn))
    table = pd.DataFrame(rows, columns=["fact_id", "relation", "category", "right", "answers", "sampled_right"])
    return table if config.samples else table.drop(columns="sampled_right")


def _sample(
    by_relation: Mapping[str, Sequence[Fact]],
    contexts: Mapping[str, Sequence[Sequence[Fact]]],
    engine: Any,
    config: SlickConfig,
    done: Mapping[tuple[str, int], Sequence[str]],
    sampled: dict[tuple[str, int], dict[str, int]],
    journal: IO[str],
) -> None:
    """Draw the samples of every fact without a right greedy answer; fill and journal ``sampled``."""
    for relation, asked in sorted(by_relation.items()):
        never = [
            fact
            for position, fact in enumerate(asked)
            if not any(
                judge(done[relation, run][position], fact.answers) is Outcome.CORRECT for run in range(config.runs)
            )
        ]
        for run, drawn in enumerate(contexts[relation]):
            if (relation, run) in sampled:
                continue
            answers = engine.sample(
                [few_shot(context_for(fact, drawn)) + ask(fact.question) for fact in never],
                samples=config.samples,
                temperature=config.temperature,
                top_k=config.top_k,
                seed=config.seed,
                max_new_tokens=config.max_new_tokens,
            )
            sampled[relation, run] = {
                fact.id: sum(judge(text, fact.answers) is Outcome.CORRECT for text in said)
                for fact, said in zip(never, answers, strict=True)
            }
            journal.write(json.dumps([relation, run, sampled[relation, run]], ensure_ascii=False) + "\n")
            journal.flush()


def digest(facts: Sequence[Fact]) -> str:
    """SHA-256 of facts as they are asked and scored, in this order."""
    text = json.dumps([[fact.id, fact.question, *fact.answers] for fact in facts], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_partial(
    path: Path, header: dict[str, str]
) -> tuple[dict[tuple[str, int], list[str]], dict[tuple[str, int], dict[str, int]]]:
    """Finished (relation, run): greedy answers, and right samples a fact. A last line cut off by a kill is dropped."""
    if not path.exists():
        return {}, {}
    content = path.read_bytes()  # a kill may have cut a character in two
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    if not whole:
        return {}, {}
    try:
        begun, *finished = map(json.loads, whole.removesuffix(b"\n").split(b"\n"))
        done = {(relation, run): found for relation, run, found in finished if isinstance(found, list)}
        sampled = {(relation, run): found for relation, run, found in finished if isinstance(found, dict)}
    except (ValueError, TypeError):
        raise FthallError(f"{path} is damaged; delete it to start anew") from None
    if begun != header:
        raise FthallError(
            f"{path} was begun with another base, dtype, setting or list of facts; delete it to start anew"
        )
    return done, sampled
