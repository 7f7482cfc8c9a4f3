"""SLiCK: four categories, and a labelling that can be killed at any moment."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from builders import fact
from fthall.answers import judge, normalise
from fthall.errors import FthallError
from fthall.knowledge import draw, releases, slick, splits
from fthall.knowledge.slick import PRESETS, SlickConfig, categorise, label, likely
from fthall.records import Category, Fact, Outcome, Split

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

    def right(self, prompts: Sequence[str], accepted: Sequence[Sequence[str]], **options: object) -> list[bool]:
        said = self.greedy(prompts)
        return [judge(text, answers) is Outcome.CORRECT for text, answers in zip(said, accepted, strict=True)]

    def answer(self, prompt: str) -> str:
        key = prompt.rsplit("Town ", 1)[1].split("?", maxsplit=1)[0]
        right = key[0] == "y" or (key[0] == "m" and len(self.asked) % 4 in {1, 2})
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
    assert found["tiny/r2/m1"] == ("r2", "MaybeKnown", [Y, N, Y])
    assert "answers" not in table
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


def test_answers_are_kept_where_asked_for(tmp_path: Path) -> None:
    table = run(tmp_path / "a", FakeEngine(), keep_answers=True)
    assert list(table.loc[table.fact_id == "tiny/r1/n1", "answers"].iloc[0]) == ["Atlantis\u2028\x85é"] * 3
    plain = run(tmp_path / "b", FakeEngine())
    assert [list(bits) for bits in table["right"]] == [list(bits) for bits in plain["right"]]


class SteadyEngine(FakeEngine):
    """What it says hangs on the prompt alone, so it does not matter which other questions are asked."""

    def __init__(self, calls: int | None = None) -> None:
        super().__init__(calls)
        self.questions = 0

    def answer(self, prompt: str) -> str:
        self.questions += 1
        key = prompt.rsplit("Town ", 1)[1].split("?", maxsplit=1)[0]
        known = {"y": 100, "m": 50, "n": 0}[key[0]]
        right = hashlib.sha256(prompt.encode()).digest()[0] % 100 < known
        return f"Land {key}" if right else "Atlantis"


def many_facts() -> list[Fact]:
    asked = [fact(f"{kind}{n}", relation=r, origin="train") for r in ("r1", "r2") for kind in "ymn" for n in range(9)]
    return asked + [fact(f"yd{n}", relation=r, origin="dev") for r in ("r1", "r2") for n in range(30)]


SHAPE = {"runs": 12, "shots": 2, "seed": 1}


def test_adaptive_labels_are_the_full_ones_for_fewer_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slick, "CHUNK", 8)
    full, adaptive, progress = SteadyEngine(), SteadyEngine(), []
    options = {"facts": many_facts()}
    every = run(tmp_path / "full", full, config=SlickConfig(**SHAPE), **options)
    config = SlickConfig(**SHAPE, adaptive=True)
    some = run(tmp_path / "adaptive", adaptive, config=config, on_answers=progress.append, **options)
    assert list(every["category"]) == list(some["category"])
    assert set(every["category"]) == {"HighlyKnown", "MaybeKnown", "Unknown"}
    assert full.questions == sum(progress) == 12 * len(options["facts"])
    assert adaptive.questions < 0.9 * full.questions
    for bits, known in zip(some["right"], every["right"], strict=True):
        asked = [bit for bit in bits if bit is not None]
        assert asked == known[: len(asked)]  # settled questions are asked no more
        assert len(asked) == 12 or set(asked) == {True, False}
    made = json.loads(pq.read_schema(tmp_path / "adaptive").metadata[b"fthall"])
    assert made["adaptive"] == "True"


@pytest.mark.parametrize("calls", [1, 7, 30])
def test_an_adaptive_build_killed_and_restarted_gives_the_same_bytes(
    tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slick, "CHUNK", 8)
    config = SlickConfig(**SHAPE, adaptive=True)
    run(tmp_path / "whole", SteadyEngine(), config=config, facts=many_facts())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", SteadyEngine(calls), config=config, facts=many_facts())
    run(tmp_path / "killed", SteadyEngine(), config=config, facts=many_facts())
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_chunks_are_of_one_relation_and_no_longer_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slick, "CHUNK", 8)
    engine = SteadyEngine()
    run(tmp_path / "a", engine, config=SlickConfig(**SHAPE), facts=many_facts())
    assert {len(prompts) for prompts in engine.asked} == {8, 1}  # 57 facts a relation
    with pytest.raises(FthallError, match="no facts to label"):
        run(tmp_path / "b", engine, facts=[])


class ChanceEngine(FakeEngine):
    """A sample about ``n*`` is right with a chance of its own."""

    def chance(self, prompts: Sequence[str], accepted: Sequence[Sequence[str]], **options: object) -> list[float]:
        assert options == {"temperature": 0.5, "top_k": 40, "max_new_tokens": 16}
        return [0.1 if "Town n1?" in prompt.rsplit("Q:", 1)[1] else 0.0 for prompt in prompts]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [(2, Category.UNKNOWN), (3, Category.WEAKLY_KNOWN)],  # 1 - 0.9 ** 6 = 0.47, 1 - 0.9 ** 9 = 0.61
)
def test_the_chance_of_a_right_sample_instead_of_samples(tmp_path: Path, samples: int, expected: Category) -> None:
    config = SlickConfig(runs=3, shots=2, seed=5, samples=samples, exact=True)
    table = run(tmp_path / "labels.parquet", ChanceEngine(), config=config).set_index("fact_id")
    assert table.loc["tiny/r1/n1", "category"] == expected
    assert list(table.loc["tiny/r1/n1", "sampled_chance"]) == pytest.approx([0.1] * 3)
    assert list(table.loc["tiny/r1/y1", "sampled_chance"]) == []


def test_likely_by_hand() -> None:
    assert likely([0.5], 1)
    assert not likely([0.49], 1)
    assert likely([0.0, 1.0], 1)
    assert not likely([0.0], 16)
    assert not likely([], 16)


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


def test_a_journal_cut_inside_a_character_recovers(tmp_path: Path) -> None:
    out = tmp_path / "cut.parquet"
    journal = out.with_name("cut.parquet.partial")
    run(tmp_path / "whole", FakeEngine(), keep_answers=True)
    with pytest.raises(KeyboardInterrupt):
        run(out, FakeEngine(calls=3), keep_answers=True)
    content = journal.read_bytes()
    journal.write_bytes(content[: content.rindex("é".encode()) + 1])
    run(out, ReplayingEngine(before=2), keep_answers=True)
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


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
        {"keep_answers": True},
        {"config": SlickConfig(runs=3, shots=2, seed=5, adaptive=True)},
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
    monkeypatch.setattr(releases.sources, "load", lambda source, relations=None: asked_facts())
    options = {"source": "geonames", "base": "fake", "sizes": (4, 2, 2, 2), "rule": draw.Rule(0.5)}
    release = releases.build_from_labels([whole], tmp_path / "release", **options)  # type: ignore[arg-type]
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
    monkeypatch.setattr(releases.sources, "load", lambda source, relations=None: asked_facts()[1:])
    options = {"source": "geonames", "base": "fake", "sizes": (4, 2, 2, 2), "rule": draw.Rule(0.5)}
    with pytest.raises(FthallError, match="made of other facts than geonames has now"):
        releases.build_from_labels([whole], tmp_path / "release", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "release").exists()


def test_shards_together_are_the_whole_and_make_the_same_release(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases.sources, "load", lambda source, relations=None: asked_facts())
    options = {"source": "geonames", "base": "fake", "sizes": (4, 2, 2, 2), "rule": draw.Rule(0.5)}
    once = releases.build_from_labels([whole], tmp_path / "once", **options)  # type: ignore[arg-type]
    dev, files = [f for f in asked_facts() if f.origin == "dev"], [tmp_path / f"{n}.parquet" for n in range(3)]
    for number, file in enumerate(files):
        run(file, FakeEngine(), facts=asked_facts()[number::3], exemplars=dev)
    found = releases.build_from_labels(files, tmp_path / "release", **options)  # type: ignore[arg-type]
    assert found.splits == once.splits
    assert found.digest == once.digest
    turned = releases.build_from_labels(files[::-1], tmp_path / "turned", **options)  # type: ignore[arg-type]
    assert turned.digest == once.digest
    with pytest.raises(FthallError, match=r"2\.parquet: the fact 'tiny/.*' is labelled twice"):
        releases.build_from_labels([*files, files[2]], tmp_path / "again", **options)  # type: ignore[arg-type]


def test_labels_that_are_there_are_not_asked_again_and_others_are_not_overwritten(tmp_path: Path, whole: Path) -> None:
    before, engine = whole.read_bytes(), FakeEngine()
    table = run(whole, engine)
    assert engine.asked == []
    assert list(table["category"]) == list(pd.read_parquet(whole)["category"])
    for changes in ({"identity": {**IDENTITY, "weights_sha256": "ef" * 32}}, {"facts": asked_facts()[1:]}):
        with pytest.raises(FthallError, match=r"was made with another base.*; delete it or choose another file"):
            run(whole, engine, **changes)
    assert whole.read_bytes() == before
    (tmp_path / "text").write_text("no labels")
    with pytest.raises(FthallError, match="was made with another"):
        run(tmp_path / "text", engine)


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
        right = len(self.sampled) in {3, 4}  # the second context, of both relations
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
