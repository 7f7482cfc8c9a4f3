"""SLiCK: four categories, and a labelling that can be killed at any moment."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from builders import fact
from fthall import releases, splits
from fthall.answers import normalise
from fthall.errors import FthallError
from fthall.records import Category, Fact, Split
from fthall.slick import PRESETS, SlickConfig, categorise, label

CONFIG = SlickConfig(runs=3, shots=2, seed=5)
IDENTITY = {"base": "fake", "dtype": "float32", "weights_sha256": "cd" * 32}
Y, N = True, False


class FakeEngine:
    """Knows the answers of facts ``y*``, gets ``m*`` right in every second prompt, answers ``n*`` wrongly.

    Its answers hold characters that break lines elsewhere than in JSON. It dies after ``calls`` calls.
    """

    def __init__(self, calls: int | None = None) -> None:
        self.calls = calls
        self.asked: list[list[str]] = []

    def greedy(
        self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: Callable[[int], None] | None = None
    ) -> list[str]:
        if self.calls is not None and len(self.asked) == self.calls:
            raise KeyboardInterrupt
        self.asked.append(list(prompts))
        if on_batch:
            on_batch(len(prompts))
        return [self.answer(prompt) for prompt in prompts]

    def answer(self, prompt: str) -> str:
        key = prompt.rsplit("Town ", 1)[1].split("?", maxsplit=1)[0]
        right = key[0] == "y" or (key[0] == "m" and len(self.asked) % 2 == 1)
        return f"Land {key}" if right else "Atlantis\u2028\x85é"


def asked_facts() -> list[Fact]:
    keys = ("y1", "y2", "m1", "n1")
    facts = [fact(key, relation=r, origin="train") for r in ("r2", "r1") for key in keys]
    return facts + [fact(f"yd{n}", relation=r, origin="dev") for r in ("r1", "r2") for n in range(3)]


def run(out: Path, engine: FakeEngine, **changes: object) -> pd.DataFrame:
    options = {"config": CONFIG, "identity": IDENTITY, "facts": asked_facts(), **changes}
    return label(options.pop("facts"), engine, options.pop("config"), out, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("greedy", "sampled", "expected"),
    [
        ([Y], [], Category.HIGHLY_KNOWN),
        ([Y, Y, Y], [N], Category.HIGHLY_KNOWN),
        ([Y, N, Y], [], Category.MAYBE_KNOWN),
        ([N, N, Y], [N], Category.MAYBE_KNOWN),
        ([N, N], [Y, N], Category.WEAKLY_KNOWN),
        ([N, N], [N, N], Category.UNKNOWN),
        ([N], [], Category.UNKNOWN),
    ],
)
def test_categorise(greedy: list[bool], sampled: list[bool], expected: Category) -> None:
    assert categorise(greedy, sampled) is expected


def test_no_answer_has_no_category() -> None:
    with pytest.raises(ValueError, match="at least one greedy answer"):
        categorise([], [True])


def test_preset_of_the_paper() -> None:
    assert (PRESETS["kaplan2026"].runs, PRESETS["kaplan2026"].shots) == (20, 3)


def test_labels(tmp_path: Path) -> None:
    engine, progress = FakeEngine(), []
    table = run(tmp_path / "labels.parquet", engine, on_answers=progress.append)
    assert [len(prompts) for prompts in engine.asked] == [7] * 6  # 2 relations, 3 runs each, 7 facts a relation
    assert sum(progress) == 42
    found = {row.fact_id: (row.relation, row.category, list(row.right)) for row in table.itertuples()}
    assert len(found) == len(table) == 14
    assert found["tiny/r1/y1"] == ("r1", "HighlyKnown", [Y, Y, Y])
    assert found["tiny/r1/n1"] == ("r1", "Unknown", [N, N, N])
    assert found["tiny/r1/m1"] == ("r1", "MaybeKnown", [Y, N, Y])
    assert found["tiny/r2/m1"] == ("r2", "MaybeKnown", [N, Y, N])
    assert list(table.loc[table.fact_id == "tiny/r1/n1", "answers"].iloc[0]) == ["Atlantis\u2028\x85é"] * 3
    written = pd.read_parquet(tmp_path / "labels.parquet")
    assert [list(r) for r in written["right"]] == list(table["right"])
    assert list(tmp_path.iterdir()) == [tmp_path / "labels.parquet"]  # the journal is gone


def test_prompts_show_dev_facts_of_the_relation_and_never_the_one_asked(tmp_path: Path) -> None:
    engine = FakeEngine()
    run(tmp_path / "labels.parquet", engine)
    for prompt in (prompt for prompts in engine.asked for prompt in prompts):
        *shown, question = prompt.split("\n\n")
        assert len(shown) == 2
        assert question.endswith("\nA:")
        assert all("Town yd" in exemplar for exemplar in shown)
        assert question.removesuffix("\nA:") not in [exemplar.split("\n")[0] for exemplar in shown]


def test_exemplars_can_be_given(tmp_path: Path) -> None:
    engine = FakeEngine()
    others = [fact(f"x{n}", relation="r1") for n in range(3)]
    run(tmp_path / "a", engine, facts=[fact("y1", relation="r1")], exemplars=[*others, fact("z", relation="r9")])
    assert len(engine.asked) == 3
    assert all(prompts[0].count("Town x") == 2 for prompts in engine.asked)


def test_too_few_exemplars_is_one_line(tmp_path: Path) -> None:
    engine = FakeEngine()
    with pytest.raises(FthallError, match="'r1' has 0 exemplars; 2-shot prompts need at least 3"):
        run(tmp_path / "a", engine, facts=[fact("y1", relation="r1")])
    assert engine.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The labels of a run that was not interrupted."""
    out = tmp_path / "whole" / "labels.parquet"
    run(out, FakeEngine())
    return out


class ReplayingEngine(FakeEngine):
    """Answers as the second part of an interrupted build: its calls count from ``before``."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.asked = [[]] * before


@pytest.mark.parametrize("calls", [0, 1, 3, 5])
def test_killed_and_restarted_gives_the_same_bytes(tmp_path: Path, whole: Path, calls: int) -> None:
    out, progress = tmp_path / "killed.parquet", []
    with pytest.raises(KeyboardInterrupt):
        run(out, FakeEngine(calls))
    assert not out.exists()
    second = ReplayingEngine(calls)
    run(out, second, on_answers=progress.append)
    assert len(second.asked) - calls == 6 - calls  # only what was missing
    assert sum(progress) == 42  # the bar still ends at all of it
    assert out.read_bytes() == whole.read_bytes()
    assert not out.with_name("killed.parquet.partial").exists()


@pytest.mark.parametrize("cut", [1, 2, 3, 30])  # 2 and more: inside the é that ends the last answer, or before it
def test_a_journal_cut_in_its_last_line_recovers(tmp_path: Path, whole: Path, cut: int) -> None:
    out = tmp_path / "cut.parquet"
    journal = out.with_name("cut.parquet.partial")
    with pytest.raises(KeyboardInterrupt):
        run(out, FakeEngine(calls=3))
    lines = journal.read_bytes().split(b"\n")
    assert len(lines) == 5  # the header, three chunks, and nothing after the last line break
    journal.write_bytes(journal.read_bytes()[:-cut])
    second = ReplayingEngine(before=2)
    run(out, second)
    assert len(second.asked) - 2 == 4
    assert out.read_bytes() == whole.read_bytes()


def test_cut_killed_again_and_restarted(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "cut.parquet"
    journal = out.with_name("cut.parquet.partial")
    with pytest.raises(KeyboardInterrupt):
        run(out, FakeEngine(calls=3))
    journal.write_bytes(journal.read_bytes()[:-5])
    second = ReplayingEngine(before=2)
    second.calls = 4
    with pytest.raises(KeyboardInterrupt):
        run(out, second)
    run(out, ReplayingEngine(before=4))
    assert out.read_bytes() == whole.read_bytes()


def test_a_journal_cut_inside_a_character_recovers(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "cut.parquet"
    journal = out.with_name("cut.parquet.partial")
    with pytest.raises(KeyboardInterrupt):
        run(out, FakeEngine(calls=3))
    content = journal.read_bytes()
    journal.write_bytes(content[: content.rindex("é".encode()) + 1])
    run(out, ReplayingEngine(before=2))
    assert out.read_bytes() == whole.read_bytes()


def test_a_journal_cut_in_its_header_starts_anew(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "cut.parquet"
    out.with_name("cut.parquet.partial").write_text('{"base": "fa')
    run(out, FakeEngine())
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": {**IDENTITY, "weights_sha256": "ef" * 32}},
        {"identity": {**IDENTITY, "dtype": "bfloat16"}},
        {"config": SlickConfig(runs=3, shots=2, seed=6)},
        {"config": SlickConfig(runs=4, shots=2, seed=5)},
        {"facts": asked_facts()[1:]},
        {"exemplars": asked_facts()},
    ],
)
def test_a_journal_of_another_build_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    out = tmp_path / "labels.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(out, FakeEngine(calls=2))
    before = out.with_name("labels.parquet.partial").read_bytes()
    with pytest.raises(FthallError, match=r"labels\.parquet\.partial was begun with another .*delete it"):
        run(out, FakeEngine(), **changes)
    assert out.with_name("labels.parquet.partial").read_bytes() == before


@pytest.mark.parametrize("content", [b"no journal\n", b'{"base": "fake"}\n[1]\n', b"\xff\n", b"5\n"])
def test_a_damaged_journal_is_one_line(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "labels.parquet"
    out.with_name("labels.parquet.partial").write_bytes(content)
    with pytest.raises(FthallError, match="delete it to start anew") as caught:
        run(out, FakeEngine())
    assert "\n" not in str(caught.value)


def test_what_the_labels_were_made_with_travels_in_the_file(whole: Path) -> None:
    made = json.loads(pq.read_schema(whole).metadata[b"fthall"])
    assert made == {
        **IDENTITY,
        "preset": "custom",
        "runs": "3",
        "shots": "2",
        "seed": "5",
        "max_new_tokens": "16",
        "facts": made["facts"],
        "exemplars": made["exemplars"],
    }
    assert len(made["facts"]) == len(made["exemplars"]) == 64


def test_the_preset_is_recognised_whatever_the_seed(tmp_path: Path) -> None:
    facts = [fact(f"y{n}", relation="r", origin="dev") for n in range(4)]
    run(tmp_path / "a", FakeEngine(), facts=facts, config=SlickConfig(runs=20, shots=3, seed=9))
    assert json.loads(pq.read_schema(tmp_path / "a").metadata[b"fthall"])["preset"] == "kaplan2026"


def test_a_release_is_built_from_the_file(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases.sources, "load", lambda source: asked_facts())
    options = {"source": "geonames", "base": "fake", "sizes": (4, 2, 2, 2), "min_highly_known": 0.5, "seed": 0}
    release = releases.build_from_labels(whole, tmp_path / "release", **options)  # type: ignore[arg-type]
    assert release.track == "geonames/fake"
    assert release.manifest["base"] == {"name": "fake", "weights_sha256": "cd" * 32}
    assert release.manifest["slick"] == {
        "preset": "custom",
        "runs": 3,
        "shots": 2,
        "seed": 5,
        "max_new_tokens": 16,
        "dtype": "float32",
    }
    assert {s: len(f) for s, f in release.splits.items()} == {
        Split.KNOWN: 4,
        Split.UNKNOWN: 2,
        Split.HELD: 2,
        Split.HELD_VAL: 2,
    }
    assert {normalise(f.subject) for f in release.splits[Split.UNKNOWN]} == {"town n1"}
    assert splits.load(str(tmp_path / "release")).digest == release.digest


def test_labels_of_facts_the_source_lacks_are_refused(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases.sources, "load", lambda source: asked_facts()[1:])
    options = {"source": "geonames", "base": "fake", "sizes": (4, 2, 2, 2), "min_highly_known": 0.5, "seed": 0}
    with pytest.raises(FthallError, match="made of other facts than geonames has now"):
        releases.build_from_labels(whole, tmp_path / "release", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "release").exists()


class SamplingEngine(FakeEngine):
    """Gets facts ``n*`` right in two of four samples of the second context; dies after ``samplings`` calls."""

    def __init__(self, calls: int | None = None, samplings: int | None = None) -> None:
        super().__init__(calls)
        self.samplings, self.sampled = samplings, []

    def sample(self, prompts: Sequence[str], *, samples: int, **options: object) -> list[list[str]]:
        if self.samplings is not None and len(self.sampled) == self.samplings:
            raise KeyboardInterrupt
        self.sampled.append([*prompts])
        assert options == {"temperature": 0.5, "top_k": 40, "seed": 5, "max_new_tokens": 16}
        keys = [prompt.rsplit("Town ", 1)[1].split("?", maxsplit=1)[0] for prompt in prompts]
        right = len(self.sampled) % 3 == 2  # the second of three contexts
        return [[f"Land {key}" if right and n < 2 else "Atlantis" for n in range(samples)] for key in keys]


def test_samples_tell_weakly_known_from_unknown_and_are_drawn_where_they_decide(tmp_path: Path) -> None:
    config = SlickConfig(runs=3, shots=2, seed=5, samples=4)
    engine = SamplingEngine()
    table = run(tmp_path / "labels.parquet", engine, config=config).set_index("fact_id")
    assert all("Town n1" in prompt for prompts in engine.sampled for prompt in prompts)
    assert len(engine.sampled) == 2 * 3  # relations, contexts
    for relation in ("r1", "r2"):
        assert table.loc[f"tiny/{relation}/n1", "category"] == Category.WEAKLY_KNOWN
        assert list(table.loc[f"tiny/{relation}/n1", "sampled_right"]) == [0, 2, 0]
        assert list(table.loc[f"tiny/{relation}/y1", "sampled_right"]) == []


@pytest.mark.parametrize("samplings", [0, 1, 4])
def test_killed_while_sampling_it_goes_on(tmp_path: Path, samplings: int) -> None:
    config = SlickConfig(runs=3, shots=2, seed=5, samples=4)
    whole = tmp_path / "whole.parquet"
    run(whole, SamplingEngine(), config=config)
    out = tmp_path / "labels.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(out, SamplingEngine(samplings=samplings), config=config)
    again = SamplingEngine()
    again.sampled = [[]] * samplings  # which context is the second
    run(out, again, config=config)
    assert not again.asked
    assert out.read_bytes() == whole.read_bytes()
