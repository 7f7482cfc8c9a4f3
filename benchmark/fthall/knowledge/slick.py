"""SLiCK: does a base model know a fact? Few-shot greedy answers in, one of four categories out.

Gekhman et al. 2024 (arXiv 2405.05904, section 3): a question is asked in several random few-shot contexts.
HighlyKnown: every greedy answer is right. MaybeKnown: some are. WeaklyKnown: none is, but some sampled answer.
Unknown: none at all. The preset ``kaplan2026`` (arXiv 2604.15574) asks 20 times with 3 exemplars and greedily only,
so it has no WeaklyKnown; ``gekhman2024`` asks 10 times with 4, and draws 16 samples each time.

A build asks run by run, in chunks of one relation; every answered chunk is in the journal before the next is asked.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fthall.answers import judge
from fthall.engines import Call, Engine, Workers, each
from fthall.errors import FthallError
from fthall.files import atomic
from fthall.prompts import ask, context_for, draw_contexts, few_shot
from fthall.records import Category, Fact, Outcome, Release

CHUNK = 512
"""Questions in one call of the engine, and in one line of the journal: what a kill can cost."""


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
    exact: bool = False
    """Compute the chance that a sample is right instead of drawing any (:meth:`fthall.engines.Engine.chance`)."""
    adaptive: bool = False
    """Ask a question no more once its category is settled. The categories are the same; how often is not known."""


PRESETS = {
    "kaplan2026": SlickConfig(runs=20, shots=3),
    "gekhman2024": SlickConfig(runs=10, shots=4, samples=16, temperature=0.5, top_k=40),
}


def config_of(release: Release) -> SlickConfig:
    """How the labels of a release were asked."""
    settings = release.manifest["slick"]
    runs, shots, seed, most = (int(settings[name]) for name in ("runs", "shots", "seed", "max_new_tokens"))
    return SlickConfig(runs=runs, shots=shots, seed=seed, max_new_tokens=most)


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


def tally(verdicts: Iterable[bool | None]) -> tuple[int, int]:
    """(right, asked) of a fact's verdicts, the ``right`` of a label; None where an adaptive build did not ask."""
    asked = [verdict for verdict in verdicts if verdict is not None]
    return sum(map(bool, asked)), len(asked)


def likely(chances: Sequence[float], samples: int) -> bool:
    """Whether it is likelier than not that any of ``samples`` samples a context is right, given each one's chance."""
    none = sum(math.log1p(-chance) if chance < 1 else -math.inf for chance in chances)
    return -math.expm1(samples * none) >= 0.5


@dataclass(frozen=True, slots=True)
class Chunk:
    """Questions of one relation, asked behind the exemplars of one run."""

    kind: str
    """``greedy`` or ``sampled``."""
    run: int
    relation: str
    number: int
    """Of the chunk within run and relation."""
    places: tuple[int, ...]
    """Of its facts in the list of facts."""

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What the journal calls it."""
        return self.kind, self.run, self.relation, self.number


@dataclass(slots=True)
class _Build:
    """A labelling under way: what is known so far is filled in."""

    facts: Sequence[Fact]
    config: SlickConfig
    contexts: Mapping[str, Sequence[Sequence[Fact]]]
    keep_answers: bool
    greedy: Any = field(init=False)
    """[facts, runs] int8: right, wrong, or -1 where not asked."""
    sampled: Any = field(init=False)
    """[facts, runs] float32: right samples, or the chance of one; -1 where not asked."""
    answers: dict[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = len(self.facts), self.config.runs
        self.greedy = np.full(shape, -1, dtype=np.int8)
        self.sampled = np.full(shape, -1, dtype=np.float32)

    def chunks(self, kind: str, run: int) -> list[Chunk]:
        """What is still to be asked in this run, given the runs before it; the same after a restart."""
        by_relation: dict[str, list[int]] = {}
        for place in np.flatnonzero(self._open(kind)).tolist():
            by_relation.setdefault(self.facts[place].relation, []).append(place)
        found = []
        for relation, places in sorted(by_relation.items()):
            # Questions of like length together: the engines pad batches.
            places.sort(key=lambda i: (len(self.facts[i].question) + len(self.facts[i].answers[0]), self.facts[i].id))
            found += [
                Chunk(kind, run, relation, start // CHUNK, tuple(places[start : start + CHUNK]))
                for start in range(0, len(places), CHUNK)
            ]
        return found

    def _open(self, kind: str) -> Any:
        """[facts] bool: whose category hangs on the next answer of this kind."""
        right, wrong = (self.greedy == 1).any(1), (self.greedy == 0).any(1)
        if kind == "greedy":
            return ~(right & wrong) if self.config.adaptive else np.ones(len(self.facts), dtype=bool)
        settled = self.config.adaptive and not self.config.exact
        return ~right & ~((self.sampled > 0).any(1) if settled else False)

    def call(self, chunk: Chunk) -> Call:
        """What the engine is asked for a chunk."""
        asked = [self.facts[place] for place in chunk.places]
        drawn = self.contexts[chunk.relation][chunk.run]
        prompts = [few_shot(context_for(fact, drawn)) + ask(fact.question) for fact in asked]
        accepted = [fact.answers for fact in asked]
        config = self.config
        if chunk.kind == "greedy":
            if self.keep_answers:
                return Call(chunk.key, "greedy", (prompts,), {"max_new_tokens": config.max_new_tokens})
            return Call(chunk.key, "right", (prompts, accepted), {"max_new_tokens": config.max_new_tokens})
        options = {"temperature": config.temperature, "top_k": config.top_k, "max_new_tokens": config.max_new_tokens}
        if config.exact:
            return Call(chunk.key, "chance", (prompts, accepted), options)
        return Call(chunk.key, "sample", (prompts,), {**options, "samples": config.samples, "seed": config.seed})

    def outcome(self, chunk: Chunk, said: Sequence[Any]) -> list[Any]:
        """What the journal keeps of an engine's answer."""
        if chunk.kind == "sampled" and not self.config.exact:
            return [
                sum(self._correct(place, text) for text in texts)
                for place, texts in zip(chunk.places, said, strict=True)
            ]
        return [int(one) if isinstance(one, bool) else one for one in said]

    def apply(self, chunk: Chunk, found: Sequence[Any]) -> None:
        """Enter what the journal has of a chunk."""
        for place, one in zip(chunk.places, found, strict=True):
            if chunk.kind == "sampled":
                self.sampled[place, chunk.run] = one
            elif isinstance(one, str):
                self.answers[place, chunk.run] = one
                self.greedy[place, chunk.run] = self._correct(place, one)
            else:
                self.greedy[place, chunk.run] = one

    def _correct(self, place: int, text: str) -> bool:
        return judge(text, self.facts[place].answers) is Outcome.CORRECT

    def table(self) -> pd.DataFrame:
        """The labels."""
        rows = []
        for place, fact in enumerate(self.facts):
            right = [None if bit < 0 else bool(bit) for bit in self.greedy[place].tolist()]
            drawn = [value for value in self.sampled[place].tolist() if value >= 0]
            known = likely(drawn, self.config.samples) if self.config.exact else any(drawn)
            category = categorise([bit for bit in right if bit is not None], [known])
            row: dict[str, Any] = {
                "fact_id": fact.id,
                "relation": fact.relation,
                "category": str(category),
                "right": right,
            }
            if self.keep_answers:
                row["answers"] = [self.answers.get((place, run)) for run in range(self.config.runs)]
            if self.config.samples:
                row |= {"sampled_chance": drawn} if self.config.exact else {"sampled_right": [int(n) for n in drawn]}
            rows.append(row)
        rows.sort(key=lambda row: row["relation"])
        return pd.DataFrame(rows)


def label(
    facts: Sequence[Fact],
    engine: Engine | Workers,
    config: SlickConfig,
    out: Path,
    *,
    identity: Mapping[str, str],
    exemplars: Sequence[Fact] | None = None,
    keep_answers: bool = False,
    on_answers: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Label facts; write ``out`` (Parquet) and return it.

    One row a fact, by relation: ``fact_id, relation, category, right`` (list of bool, one a run; null where an adaptive
    build did not ask), with ``keep_answers`` ``answers`` (list of str), and where samples are drawn ``sampled_right``
    (list of int, right samples a run) or ``sampled_chance`` (list of float), empty where none was needed. Exemplars are
    drawn from ``exemplars``, by default the facts of origin ``dev``, of the same relation.

    Resumes: each answered chunk is appended to ``<out>.partial`` and not asked again; labels end up the same to the
    byte. ``identity`` (base, its weight hash, dtype, engine) is stored there; a partial file of another identity,
    config or list of facts is refused. Labels that are there already and were made just so are returned.

    Args:
        facts: to label.
        engine: that answers, or many workers.
        config: how to ask.
        out: the labels.
        identity: of base and engine.
        exemplars: to choose from.
        keep_answers: generate every answer and keep its text, where verdicts alone would do, and faster.
        on_answers: called with the number of greedy answers given or no longer needed; in all, facts times runs.

    Raises:
        FthallError: nothing to label, a relation has too few exemplars, or the file or the partial one belongs to
            another build.
    """
    if not facts:
        raise FthallError("no facts to label")
    pool: dict[str, list[Fact]] = {fact.relation: [] for fact in facts}
    for fact in exemplars if exemplars is not None else [f for f in facts if f.origin == "dev"]:
        if fact.relation in pool:
            pool[fact.relation].append(fact)
    try:
        contexts = draw_contexts(pool, config.runs, config.shots, config.seed)
    except ValueError as error:
        raise FthallError(str(error)) from None
    build = _Build(facts, config, contexts, keep_answers)
    header = _header(config, identity, facts, [fact for drawn in pool.values() for fact in drawn], keep_answers)
    if out.exists():
        return _made_before(out, header)
    partial = out.with_name(out.name + ".partial")
    done = _read_partial(partial, header)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("a", encoding="utf-8") as journal:
        if journal.tell() == 0:
            journal.write(json.dumps(header) + "\n")
        for kind in ("greedy", "sampled") if config.samples else ("greedy",):
            for run in range(config.runs):
                chunks = build.chunks(kind, run)
                if on_answers and kind == "greedy" and (settled := len(facts) - sum(len(c.places) for c in chunks)):
                    on_answers(settled)
                for chunk, found in _answered(build, chunks, engine, done, journal):
                    build.apply(chunk, found)
                    if on_answers and kind == "greedy":
                        on_answers(len(chunk.places))
    table = build.table()
    # What the labels were made with travels in the file: a release is built from it.
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"fthall": json.dumps(header).encode()})
    with atomic(out) as temporary:
        pq.write_table(arrow, temporary)
    partial.unlink()
    return table


def _answered(
    build: _Build, chunks: Sequence[Chunk], engine: Engine | Workers, done: Mapping[Any, list[Any]], journal: IO[str]
) -> Iterator[tuple[Chunk, list[Any]]]:
    """What came of each chunk, from the journal or from the engine; in any order."""
    open_ = {chunk.key: chunk for chunk in chunks if chunk.key not in done}
    for chunk in chunks:
        if chunk.key in done:
            yield chunk, done[chunk.key]
    for key, said in each(engine, map(build.call, open_.values())):
        found = build.outcome(open_[key], said)
        journal.write(json.dumps([*key, found], ensure_ascii=False, separators=(",", ":")) + "\n")
        journal.flush()
        yield open_[key], found


def _header(
    config: SlickConfig, identity: Mapping[str, str], facts: Sequence[Fact], exemplars: Sequence[Fact], answers: bool
) -> dict[str, str]:
    """What the labels are made with."""
    alike = replace(config, seed=0, adaptive=False, exact=False)
    preset = next((name for name, known in PRESETS.items() if alike == known), "custom")
    settings = asdict(config)
    if not config.samples:  # then these decide nothing
        settings = {name: settings[name] for name in ("runs", "shots", "seed", "max_new_tokens", "adaptive")}
    return {
        **identity,
        "preset": preset,
        **{name: str(value) for name, value in settings.items() if value is not False},
        **({"answers": "kept"} if answers else {}),
        "facts": digest(facts),
        "exemplars": digest(exemplars),
    }


def _made_before(out: Path, header: Mapping[str, str]) -> pd.DataFrame:
    """Labels that are there, if they were made just so.

    Raises:
        FthallError: they were not.
    """
    try:
        alike = made_with(out) == header
    except (OSError, ValueError, KeyError):  # none of ours
        alike = False
    if not alike:
        raise FthallError(
            f"{out} was made with another base, dtype, setting or list of facts; delete it or choose another file"
        )
    return pd.read_parquet(out)


def made_with(labels: Path) -> Any:
    """What a labels file says it was made with.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no Parquet file.
        KeyError: it is none of ours.
    """
    return json.loads((pq.read_schema(labels).metadata or {})[b"fthall"])


def digest(facts: Sequence[Fact]) -> str:
    """SHA-256 of facts as they are asked and scored, in this order."""
    text = json.dumps([[fact.id, fact.question, *fact.answers] for fact in facts], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_partial(path: Path, header: Mapping[str, str]) -> dict[Any, list[Any]]:
    """What was found of finished chunks, by their keys. A last line cut off by a kill is dropped."""
    if not path.exists():
        return {}
    content = path.read_bytes()  # a kill may have cut a character in two
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    if not whole:
        return {}
    try:
        begun, *finished = map(json.loads, whole.removesuffix(b"\n").split(b"\n"))
        done = {(kind, run, relation, number): found for kind, run, relation, number, found in finished}
    except (ValueError, TypeError):
        raise FthallError(f"{path} is damaged; delete it to start anew") from None
    if begun != header:
        raise FthallError(
            f"{path} was begun with another base, dtype, setting or list of facts; delete it to start anew"
        )
    return done
