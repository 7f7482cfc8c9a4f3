"""Made-up facts: the same everywhere, no two alike, nobody's name; and a track with them."""

import hashlib
import json
import re
import string
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from builders import tiny_facts, tiny_release
from fthall import lm_tasks
from fthall.cli import main
from fthall.errors import FthallError
from fthall.facts import geonames, own, synthetic
from fthall.facts.synthetic import Spec, generate
from fthall.files import read_jsonl, write_json
from fthall.finetune.loop.data import completions, encode
from fthall.knowledge import releases, splits
from fthall.names import nearest, trigrams
from fthall.prompts import ask
from fthall.records import Split

NEAR = tuple(fact.subject for fact in geonames.load() if fact.relation == "country_of_european_city")
BYTES = {
    ("name", "country", "0"): "d448ae733d2a6987f7e8a991a6a2e728ba8f15010fd5d1fa92bf497dc07634ba",
    ("uuid", "country", "0"): "70d66c3e79b7258bc1b014dc975b2dea7a096401da1552f8cf847075f34e966e",
    ("name", "person", "0"): "f65646796bb6904a951c3820b11c59a60661e777499379e6d0527f9c06cc8db2",
    ("name", "place", "Ünïcode"): "5ed46dc0d88f24634ad2ad145351c78249b1f73b63879e127548900ee8b26952",
    ("uuid", "uuid", "1"): "03148914b10820cb88cc1b5469ac85d9f7befa45008db98086579b9f1f1377cd",
    ("name", "number", "2"): "0aecc56c7ed1eacd49513e8af3c25e5eb159c6a80ea9c239326debfca342223a",
}
"""SHA-256 of what is written of 300 facts, whatever the machine and the version of Python."""


@pytest.mark.parametrize(("keys", "values", "seed"), BYTES)
def test_a_seed_gives_the_same_bytes_everywhere(keys: str, values: str, seed: str, tmp_path: Path) -> None:
    synthetic.write(generate(Spec(keys, values, 300, seed)), tmp_path / "facts.jsonl")
    assert hashlib.sha256((tmp_path / "facts.jsonl").read_bytes()).hexdigest() == BYTES[keys, values, seed]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(synthetic.KEYS),
    st.sampled_from(synthetic.VALUES),
    st.integers(1, 400),
    st.text(max_size=8),
    st.booleans(),
)
def test_facts_are_unlike_each_other_and_begin_larger_sets(
    keys: str, values: str, size: int, seed: str, people: bool
) -> None:
    fitting = [n for n, r in synthetic.RELATIONS.items() if r.values == values and (r.of == "person") is people]
    spec = Spec(keys, values, size, seed, tuple(fitting))
    facts = list(generate(spec))
    assert len({fact.subject for fact in facts}) == len({fact.id for fact in facts}) == size
    assert facts == list(generate(replace(spec, size=size + 7)))[:size]
    for fact in facts:
        assert fact.subject in fact.question
        assert fact.answers != (fact.subject,)
        assert fact.relation in fitting


def test_another_seed_is_another_set() -> None:
    one, other = ({fact.subject for fact in generate(Spec(size=500, seed=seed))} for seed in ("0", "1"))
    assert len(one & other) <= 2


def test_name_like_and_uuid_like_facts_are_pairs_with_the_same_answers() -> None:
    name, uuid = (list(generate(Spec(keys, size=200))) for keys in synthetic.KEYS)
    assert sum(a.answers == b.answers for a, b in zip(name, uuid, strict=True)) >= 195  # some names are drawn again


def test_no_made_up_name_is_a_real_one() -> None:
    real = {fact.subject for fact in geonames.load()}
    for closeness in (0.0, 1.0):
        made = [fact.subject for fact in generate(Spec(size=3000, closeness=closeness, near=NEAR if closeness else ()))]
        assert not real.intersection(made)


def test_real_names_would_come_out_if_they_were_not_left_out() -> None:
    places, families, _ = synthetic._names()
    assert places.is_real("Barcelona")
    for names in (places, families):
        drawn = {names.draw(one, other) for one in range(300) for other in range(300)}
        assert any(map(names.is_real, drawn))


def test_closeness_brings_names_closer() -> None:
    held = [trigrams(subject) for subject in NEAR]
    alike = [
        nearest([trigrams(f.subject) for f in generate(Spec(size=400, closeness=c, near=NEAR if c else ()))], held)
        for c in (0.0, 0.5, 1.0)
    ]
    assert alike[0].mean() + 0.05 < alike[1].mean() < alike[2].mean() - 0.05


def test_countries_are_answered_about_equally_often_and_other_values_hardly_twice() -> None:
    countries = Counter(fact.answers[0] for fact in generate(Spec(size=5000)))
    assert set(countries) == set(synthetic.countries())
    assert max(countries.values()) < 3 * 5000 / len(countries)
    numbers = Counter(fact.answers[0] for fact in generate(Spec(values="uuid", size=5000)))
    assert max(numbers.values()) <= 2
    assert synthetic.chance("country") == pytest.approx(100 / len(countries))
    assert synthetic.chance("uuid") is None


def test_what_is_written_is_what_slick_reads(tmp_path: Path) -> None:
    spec = Spec(values="country", size=400, closeness=0.5, near=(*NEAR, 'Kle"ve', "Bar\\lona"))
    synthetic.write(generate(spec), tmp_path / "facts.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "facts.jsonl").read_text(encoding="utf-8").splitlines()]
    facts = list(generate(spec))
    assert [(row["id"], row["question"], tuple(row["answers"])) for row in rows] == [
        (fact.id, fact.question, fact.answers) for fact in facts
    ]
    read = own.Own(str(tmp_path / "facts.jsonl"))
    assert [(f.subject, f.relation) for f in read.facts()] == [(f.subject, f.relation) for f in facts]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"keys": "names"}, "keys 'names'; known: name, uuid"),
        ({"values": "colour"}, "values 'colour'; known: country"),
        (
            {"relations": ("spouse_of_person",)},
            "no relation 'spouse_of_person' has values 'country'; known .* country_of",
        ),
        ({"size": 0}, "size of 1 or more"),
        ({"size": 10**8}, r"100,000,000 made-up facts; with keys name there are at most \d,\d{3},\d{3}"),
        ({"size": 10**7, "keys": "uuid"}, "with keys uuid there are at most 8,388,608"),
        ({"closeness": 2.0}, "closeness is 2; it is a share"),
        ({"closeness": 0.5}, "needs the names"),
        ({"closeness": 0.5, "keys": "uuid"}, "close to no name"),
        ({"closeness": 0.5, "near": ("Xyz",)}, "none of the held-out names"),
        ({"closeness": 0.5, "near": NEAR, "relations": ("country_of_person",)}, "only places"),
    ],
)
def test_sets_there_are_not(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(FthallError, match=told):
        Spec(**wrong)  # type: ignore[arg-type]


def made_up(tmp_path: Path) -> Path:
    """A track with made-up facts, in a folder."""
    tiny_release(tmp_path)
    asked, made = {"Unknown": 2}, tmp_path / "made"
    releases.make_up(str(tmp_path / "release"), made, Spec(size=5), name="geonames-made/tiny", asked=asked)
    return made


def test_a_track_with_made_up_facts_keeps_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: tiny_facts())
    made = splits.load(str(made_up(tmp_path)))
    old = splits.load(str(tmp_path / "release"))
    assert made.track == "geonames-made/tiny"
    assert made.digest != old.digest
    assert made.splits[Split.UNKNOWN] == tuple(generate(Spec(size=5)))
    assert all(made.splits[split] == old.splits[split] for split in Split if split is not Split.UNKNOWN)
    assert splits.sizes(made.manifest)[Split.UNKNOWN] == 5
    assert splits.rebuilt(made, str(tmp_path / "made"))
    other = {**made.splits, Split.UNKNOWN: tuple(generate(Spec(size=5, seed="1")))}
    assert not splits.rebuilt(replace(made, splits=other), str(tmp_path / "made"))
    card = (tmp_path / "made/README.md").read_text(encoding="utf-8")
    assert "5 made up, in the place of 3 real ones; name-like keys, values country, seed 0" in card
    assert "Of 2 such facts the base has 2 Unknown." in card
    with pytest.raises(FthallError, match="made up already"):
        releases.make_up(str(tmp_path / "made"), tmp_path / "more", Spec(), name="x/y", asked={})
    with pytest.raises(FthallError, match="releases never change"):
        releases.make_up(str(tmp_path / "release"), tmp_path / "made", Spec(), name="x/y", asked={})


def test_made_up_facts_beside_facts_that_are_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: tiny_facts())
    old = tiny_release(tmp_path, texts=False)
    releases.make_up(str(tmp_path / "release"), tmp_path / "made", Spec("uuid", size=4), name="x/tiny", asked={})
    made = splits.load(str(tmp_path / "made"))
    assert list(made.splits) == list(Split)
    assert made.splits[Split.HELD] == old.splits[Split.HELD]
    assert made.splits[Split.UNKNOWN] == tuple(generate(Spec("uuid", size=4)))
    assert splits.rebuilt(made, str(tmp_path / "made"))
    file = tmp_path / "made/unknown.jsonl"
    file.write_text(file.read_text().replace("Loc_", "Lok_"))
    with pytest.raises(FthallError, match=r"unknown.jsonl was altered"):
        splits.load(str(tmp_path / "made"))


@pytest.mark.parametrize("keys", synthetic.KEYS)
def test_the_tasks_ask_them(keys: str) -> None:
    documents = lm_tasks.load_synthetic(keys, synth_size=30, synth_seed=7, synth_values="number", seed=1234)["test"]
    facts = list(generate(Spec(keys, "number", 30, "7")))
    assert [row["fact_id"] for row in documents] == [fact.id for fact in facts]
    assert lm_tasks.doc_to_text(documents[0]) == ask(facts[0].question)


def test_the_command_writes_a_file_or_a_track(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "facts.jsonl"
    assert main(["synthetic", "--keys", "uuid", "--values", "number", "--size", "7", "--out", str(out)]) == 0
    assert [row["id"] for row in read_jsonl(out)] == [fact.id for fact in generate(Spec("uuid", "number", 7))]
    given = ["synthetic", "--track", "geonames/smollm2-135m", "--size", "9", "--closeness", "1", "--ask", "0"]
    assert main([*given, "--out", str(tmp_path / "made")]) == 0
    said = capsys.readouterr().out
    assert "geonames-name-country-100-close-9/smollm2-135m: 200 known, 9 unknown, 856 held, 200 held_val" in said
    made = splits.load(str(tmp_path / "made"))
    assert splits.rebuilt(made, str(tmp_path / "made"))
    assert made.manifest[splits.MADE_UP]["nearest_held_trigrams"]["p50"] >= 0.3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--out", "facts.csv"], "written as .jsonl"),
        (["--closeness", "0.5", "--out", "facts.jsonl"], "add --track"),
        (["--track", "geonames/smollm2-135m", "--base", "TINY", "--out", "made"], "is not the base of geonames"),
        (["--values", "none", "--out", "facts.jsonl"], "values 'none'; known: country"),
    ],
)
def test_misuse_of_the_command_is_one_line(
    given: list[str], told: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["synthetic", *[str(tiny_base) if word == "TINY" else word for word in given]]) == 2
    said = capsys.readouterr().err.strip()
    assert told in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.glob("facts*"))
    assert not (tmp_path / "made").exists()


def test_a_base_that_cannot_tell_the_keys_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letters = ["<unk>", "<eos>", *string.ascii_letters, *" :?\n"]
    words = Tokenizer(models.WordLevel({letter: place for place, letter in enumerate(letters)}, unk_token="<unk>"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"), decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<eos>")
    tokenizer.save_pretrained(tmp_path / "base")
    write_json(tmp_path / "base/config.json", {"model_type": "llama"})
    (tmp_path / "base/model.safetensors").touch()
    given = ["synthetic", "--track", "geonames/smollm2-135m", "--keys", "uuid", "--out", str(tmp_path / "made")]
    assert main([*given, "--base", str(tmp_path / "base")]) == 2
    said = capsys.readouterr().err
    assert re.search(r"'Loc_[0-9a-f]{6}' has a part this base's tokenizer has no token for \(it becomes <unk>\)", said)
    assert "--keys name" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "made").exists()
    with pytest.raises(FthallError, match="no token for"):
        encode(completions(list(generate(Spec("uuid", size=1))), "unknown"), tokenizer)
