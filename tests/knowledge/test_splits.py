"""Releases: what is drawn, from where, and that no byte of one can change unnoticed."""

import gzip
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from builders import BASE_SHA, SIZES, TRACK, fact, labels_of, tiny_facts, tiny_labels, tiny_release
from fthall.errors import FthallError
from fthall.knowledge import draw, releases, splits
from fthall.records import Category, Fact, Release, Split

HK, MK, UN = Category.HIGHLY_KNOWN, Category.MAYBE_KNOWN, Category.UNKNOWN
EVERY_FILE = ["known.jsonl", "unknown.jsonl", "held.jsonl", "held_val.jsonl", "labels.csv"]


def drawn_of(
    facts: list[Fact], labels: pd.DataFrame, sizes: tuple[int, int, int, int], rule: float = 0.3, seed: int = 0
):
    order = (Split.KNOWN, Split.UNKNOWN, Split.HELD, Split.HELD_VAL)
    return draw.split(facts, labels, dict(zip(order, sizes, strict=True)), draw.Rule(rule, seed))


def relation_of(relation: str, known: int, total: int) -> tuple[list[Fact], dict[str, Category]]:
    facts = [fact(f"{relation}{n}", relation=relation) for n in range(total)]
    return facts, {f.id: HK if n < known else UN for n, f in enumerate(facts)}


def test_relation_table() -> None:
    facts, category = relation_of("r", 1, 4)
    category[facts[1].id] = MK
    assert draw.relation_table(facts, labels_of(facts, category), draw.Rule()) == {
        "r": {
            "asked": 4,
            "HighlyKnown": 1,
            "MaybeKnown": 1,
            "WeaklyKnown": 0,
            "Unknown": 2,
            "highly_known_share": 0.25,
            "kept": False,
        }
    }


@pytest.mark.parametrize(("known", "total"), [(3, 10), (27, 90), (30, 100), (21, 70), (4, 4)])
def test_a_relation_at_the_rule_is_kept(known: int, total: int) -> None:
    facts, category = relation_of("r", known, total)
    table = draw.relation_table(facts, labels_of(facts, category), draw.Rule())
    assert table["r"]["kept"] is True


@pytest.mark.parametrize(("known", "total"), [(2, 10), (29, 97), (299, 1000), (2999, 10000), (0, 3)])
def test_a_relation_just_below_the_rule_is_dropped(known: int, total: int) -> None:
    facts, category = relation_of("r", known, total)
    table = draw.relation_table(facts, labels_of(facts, category), draw.Rule())
    assert table["r"]["kept"] is False


def test_facts_of_dropped_relations_are_in_no_split() -> None:
    good, good_categories = relation_of("good", 3, 10)
    bad, bad_categories = relation_of("bad", 2, 10)
    labels = labels_of(good + bad, good_categories | bad_categories)
    drawn = drawn_of(good + bad, labels, (3, 7, 0, 0))
    assert {f.relation for f in drawn[Split.KNOWN] + drawn[Split.UNKNOWN]} == {"good"}
    with pytest.raises(FthallError, match=r"only 3 facts for the split 'known', 4 asked; .* 30 % rule .*: good\)"):
        drawn_of(good + bad, labels, (4, 0, 0, 0))
    with pytest.raises(FthallError, match=r"kept relations: none\)"):
        drawn_of(bad, labels_of(bad, bad_categories), (1, 0, 0, 0))


def test_sizes_origins_and_categories() -> None:
    facts, labels = tiny_facts(), tiny_labels()
    drawn = drawn_of(facts, labels, (3, 3, 4, 2))
    assert {s: len(f) for s, f in drawn.items()} == SIZES
    kinds = {s: {(f.origin, f.subject.split()[1][0]) for f in chosen} for s, chosen in drawn.items()}
    assert kinds == {
        Split.KNOWN: {("train", "k")},
        Split.UNKNOWN: {("train", "u")},
        Split.HELD: {("dev", "h")},
        Split.HELD_VAL: {("dev", "h")},
    }


@pytest.mark.parametrize("sizes", [(5, 0, 0, 0), (0, 5, 0, 0), (0, 0, 7, 2), (0, 0, 0, 9)])
def test_too_few_facts(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(FthallError, match="label more facts") as caught:
        drawn_of(tiny_facts(), tiny_labels(), sizes)
    assert "\n" not in str(caught.value)


def test_held_out_facts_from_what_is_left_of_train() -> None:
    facts, labels = tiny_facts(), tiny_labels()
    sizes = dict(zip((Split.KNOWN, Split.UNKNOWN, Split.HELD, Split.HELD_VAL), (2, 2, 8, 2), strict=True))
    with pytest.raises(FthallError, match="for the split 'held'"):
        draw.split(facts, labels, sizes, draw.Rule())
    drawn = draw.split(facts, labels, sizes, draw.Rule(held_from="all"))
    assert {f.subject.split()[1][0] for f in drawn[Split.HELD] + drawn[Split.HELD_VAL]} == {"h", "k"}
    assert not {f.id for f in drawn[Split.KNOWN]} & {f.id for f in drawn[Split.HELD] + drawn[Split.HELD_VAL]}


@pytest.mark.parametrize(
    ("subject", "answers", "given"),
    [
        ("Nokia 3310", ("Nokia",), True),
        ("Nokia 3310", ("Microsoft", "nokia"), True),
        ("Diocese of São Tomé", ("Sao Tome",), True),
        ("Notre Dame", ("Dam",), False),  # whole words
        ("Emma", ("Jane Austen",), False),
    ],
)
def test_answers_that_stand_in_the_name(subject: str, answers: tuple[str, ...], given: bool) -> None:
    assert draw.given_away(replace(fact("x"), subject=subject, answers=answers)) is given


def test_facts_given_away_are_left_out_where_the_rule_says_so_and_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = [replace(f, answers=(f.subject,)) if f.id.endswith(("k1", "u1")) else f for f in tiny_facts()]
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: facts)
    for rule, left in ((draw.Rule(), 4), (draw.Rule(given_away=False), 3)):
        drawn = draw_by(facts, rule, left)
        assert len(drawn[Split.KNOWN]) == len(drawn[Split.UNKNOWN]) == left
        with pytest.raises(FthallError, match=f"only {left} facts for the split"):
            draw_by(facts, rule, left + 1)
    options = {"track": "t/b", "source": {"name": "t"}, "base": {"name": "b", "weights_sha256": BASE_SHA}}
    asked = {"preset": "custom", "runs": 2, "shots": 3, "seed": 0, "max_new_tokens": 16, "dtype": "float32"}
    release = splits.build(
        tmp_path / "r", facts=facts, labels=tiny_labels(), sizes=SIZES, slick=asked, rule=rule, **options
    )
    assert release.manifest["rule"] == {"min_highly_known": 0.3, "seed": 0, "given_away": False}
    assert release.manifest["relations"]["country_of_city"]["given_away"] == 1  # of the HighlyKnown
    assert splits.rebuilt(release, str(tmp_path / "r"))
    made = releases.card(release)
    assert "Left out: facts whose answer stands in the subject" in made
    assert "| 68.8 % | 1 | yes |" in made  # 11 of 16
    newer = replace(release, manifest={**release.manifest, "rule": {"min_highly_known": 0.3, "of_tomorrow": 1}})
    with pytest.raises(FthallError, match="its rule is none that this version of fthall knows; update fthall"):
        splits.rebuilt(newer, str(tmp_path / "r"))


def draw_by(facts: list[Fact], rule: draw.Rule, each: int) -> dict[Split, tuple[Fact, ...]]:
    sizes = {Split.KNOWN: each, Split.UNKNOWN: each, Split.HELD: 4, Split.HELD_VAL: 2}
    return draw.split(facts, tiny_labels(), sizes, rule)


def test_maybe_known_and_unlabelled_facts_are_in_no_split() -> None:
    facts = tiny_facts()
    labels = tiny_labels()
    labels.loc[labels["fact_id"].str.endswith("/k1"), "category"] = str(MK)
    labels = labels[~labels["fact_id"].str.endswith("/k2")]
    assert {f.subject for f in drawn_of(facts, labels, (2, 4, 4, 4))[Split.KNOWN]} == {"Town k3", "Town k4"}


def test_no_subject_stands_in_two_splits() -> None:
    """Each subject twice, once under another spelling, Unknown in one relation and HighlyKnown in the other."""
    facts, category = [], {}
    for origin in ("train", "dev"):
        for n in range(20):
            for relation, spelling in (("r1", f"Côte {n}"), ("r2", f"the cote {n}")):
                f = Fact(f"{relation}/{origin}{n}", relation, f"{spelling} {origin}", "?", ("x",), origin)
                facts.append(f)
                category[f.id] = UN if (relation == "r1" and origin == "train") else HK
    drawn = drawn_of(facts, labels_of(facts, category), (8, 8, 10, 10))
    subjects = {s: {f.subject.lower().replace("ô", "o").removeprefix("the ") for f in c} for s, c in drawn.items()}
    assert all(not subjects[a] & subjects[b] for a in Split for b in Split if a is not b)
    assert [len(drawn[s]) for s in Split] == [8, 8, 10, 10]


def test_the_order_of_facts_and_labels_does_not_matter() -> None:
    facts, labels = tiny_facts(), tiny_labels()
    drawn = drawn_of(facts, labels, (3, 3, 4, 2))
    shuffled = random.Random(1).sample(facts, len(facts))
    assert drawn_of(shuffled, labels, (3, 3, 4, 2)) == drawn
    assert drawn_of(facts, labels.iloc[::-1], (3, 3, 4, 2)) == drawn


def test_a_smaller_draw_is_the_beginning_of_a_larger_one() -> None:
    small, large = (drawn_of(tiny_facts(), tiny_labels(), sizes) for sizes in ((1, 2, 0, 0), (4, 4, 0, 0)))
    assert large[Split.KNOWN][:1] == small[Split.KNOWN]
    assert large[Split.UNKNOWN][:2] == small[Split.UNKNOWN]


def test_the_seed_matters() -> None:
    draws = {drawn_of(tiny_facts(), tiny_labels(), (1, 1, 1, 1), seed=seed)[Split.HELD] for seed in range(20)}
    assert len(draws) > 1


def test_built_and_loaded_again(tmp_path: Path) -> None:
    built = tiny_release(tmp_path)
    loaded = splits.load(str(tmp_path / "release"))
    assert loaded == built
    assert (loaded.track, len(loaded.digest)) == (TRACK, 64)
    assert {s: len(f) for s, f in loaded.splits.items()} == SIZES
    assert all(f in tiny_facts() for chosen in loaded.splits.values() for f in chosen)
    assert loaded.manifest["base"] == {"name": "tiny", "weights_sha256": BASE_SHA}
    assert loaded.manifest["relations"]["country_of_city"]["highly_known_share"] == 0.75
    assert loaded.manifest["files"]["held.jsonl"]["relations"] == {"country_of_city": 4}
    labels = (tmp_path / "release" / "labels.csv").read_text().splitlines()
    assert labels[:2] == ["fact_id,category,right,asked", "tiny/country_of_city/k1,HighlyKnown,2,2"]
    assert len(labels) == 17


def test_the_same_input_gives_the_same_digest_and_bytes(tmp_path: Path) -> None:
    one, two = tiny_release(tmp_path / "a"), tiny_release(tmp_path / "b")
    assert one.digest == two.digest
    for name in [*EVERY_FILE, "release.yaml"]:
        assert (tmp_path / "a/release" / name).read_bytes() == (tmp_path / "b/release" / name).read_bytes()
    assert tiny_release(tmp_path / "c", track="geonames/other").digest != one.digest


def test_releases_never_change(tmp_path: Path) -> None:
    tiny_release(tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "release").iterdir()}
    with pytest.raises(FthallError, match="holds a release already"):
        tiny_release(tmp_path)
    assert {p: p.read_bytes() for p in (tmp_path / "release").iterdir()} == before


def refused(tmp_path: Path, names: str) -> None:
    with pytest.raises(FthallError, match=re.escape(names)) as caught:
        splits.load(str(tmp_path / "release"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", EVERY_FILE)
@pytest.mark.parametrize(
    "tamper",
    [
        lambda content: content.replace(b"Known", b"known", 1).replace(b"Town", b"town", 1),
        lambda content: content + b"\n",
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: b"\xff" + content,
    ],
)
def test_a_changed_byte_is_found(tmp_path: Path, name: str, tamper: Callable[[bytes], bytes]) -> None:
    tiny_release(tmp_path)
    path = tmp_path / "release" / name
    changed = tamper(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    refused(tmp_path, f"{name} was altered")


@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_missing_file_is_found(tmp_path: Path, name: str) -> None:
    tiny_release(tmp_path)
    (tmp_path / "release" / name).unlink()
    refused(tmp_path, f"{name} is missing")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("asked: 16", "asked: 17"),
        ("min_highly_known: 0.3", "min_highly_known: 0.2"),
        ("Unknown: 4", "Unknown: 3"),
        (f"track: {TRACK}", "track: geonames/other"),
        (BASE_SHA, "ba" * 32),
        ("license: CC BY 4.0", "license: 2026-01-02"),  # a date: YAML has it, JSON has not
        ("license: CC BY 4.0", "1: 2"),  # keys that cannot be sorted
        ("digest: ", "digest: x"),
        ("digest: ", "digestion: "),
        ("files:\n", "fills:\n"),
    ],
)
def test_a_changed_manifest_is_found(tmp_path: Path, old: str, new: str) -> None:
    tiny_release(tmp_path)
    path = tmp_path / "release" / "release.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    refused(tmp_path, "release.yaml was altered")


@pytest.mark.parametrize(
    "content",
    [b"a: [", b"\xff\xfe", b"a: 2026-13-45", b"a: !!bool perhaps", b"a: !!timestamp x", b"a: !!python/object:os.x {}"],
)
def test_a_manifest_that_is_no_yaml(tmp_path: Path, content: bytes) -> None:
    tiny_release(tmp_path)
    (tmp_path / "release" / "release.yaml").write_bytes(content)
    refused(tmp_path, "release.yaml is not readable")


@pytest.mark.parametrize("content", ["", "[]", "text", "schema: 2"])
def test_a_manifest_of_another_schema(tmp_path: Path, content: str) -> None:
    tiny_release(tmp_path)
    (tmp_path / "release" / "release.yaml").write_text(content)
    refused(tmp_path, "release.yaml is no release of schema 1")


def test_unknown_track_lists_the_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    for track in ("geonames/b", "geonames/a"):
        release = tiny_release(tmp_path / track, track=track)
        (shipped / track).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / track / "release").rename(shipped / track)
        assert isinstance(release, Release)
    monkeypatch.setattr(splits, "releases_dir", lambda: shipped)
    assert splits.tracks() == ["geonames/a", "geonames/b"]
    assert splits.load("geonames/a").track == "geonames/a"
    with pytest.raises(FthallError) as caught:
        splits.load("geonames/none")
    assert str(caught.value) == (
        "unknown track 'geonames/none'; known tracks: geonames/a, geonames/b; or give a release's folder"
    )


@pytest.mark.parametrize("track", ["", "x", "a/b/c", "../..", "nul\0", "x" * 300, "/"])
def test_odd_tracks_are_one_line(track: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FthallError) as caught:
        splits.load(track)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("track", splits.tracks())
def test_shipped_releases_verify_and_are_disjoint(track: str) -> None:
    if lacking := splits.absent(track):
        pytest.skip(lacking)
    release = splits.load(track)
    assert release.track == track
    assert splits.sizes(release.manifest) == {split: len(facts) for split, facts in release.splits.items()}
    held = {f.subject for s in (Split.HELD, Split.HELD_VAL) for f in release.splits[s]}
    trained = {f.subject for s in (Split.KNOWN, Split.UNKNOWN) for f in release.splits[s]}
    assert not held & trained
    assert splits.rebuilt(release, track)


@pytest.fixture
def by_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release whose facts are not ours to ship."""
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: tiny_facts())
    folder = tmp_path / "by-ids"
    splits.build(
        folder,
        track="elsewhere/tiny",
        facts=tiny_facts(),
        labels=tiny_labels(),
        sizes=SIZES,
        source={"name": "elsewhere"},
        base={"name": "tiny", "weights_sha256": BASE_SHA},
        slick={"preset": "custom", "runs": 2, "shots": 3, "seed": 0, "max_new_tokens": 16, "dtype": "float32"},
        texts=False,
        rule=draw.Rule(held_from="all"),
    )
    return folder


def test_a_release_of_facts_that_are_not_ours_stores_ids_alone(tmp_path: Path, by_ids: Path) -> None:
    names = {"release.yaml", "labels.csv.gz", *(f"{split}.txt" for split in Split)}
    assert {path.name for path in by_ids.iterdir()} == names
    stored = b"".join(path.read_bytes() for path in by_ids.iterdir()) + gzip.decompress(
        (by_ids / "labels.csv.gz").read_bytes()
    )
    assert b"Town" not in stored
    assert b"Land" not in stored
    loaded = splits.load(str(by_ids)).splits
    assert loaded[Split.UNKNOWN] == tiny_release(tmp_path).splits[Split.UNKNOWN]
    assert {split: len(facts) for split, facts in loaded.items()} == SIZES


def test_a_source_that_is_not_here_says_how_to_get_it(by_ids: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(source: str, relations: object = None) -> list[Fact]:
        raise FthallError("it is not here; type: fthall fetch it")

    monkeypatch.setattr(splits.sources, "load", nowhere)
    with pytest.raises(FthallError, match="type: fthall fetch it"):
        splits.load(str(by_ids))
    assert splits.verify(str(by_ids))["track"] == "elsewhere/tiny"  # the hashes can be checked all the same
    assert splits.absent(str(by_ids)) == "it is not here; type: fthall fetch it"
    assert splits.sizes(splits.manifest(str(by_ids))) == SIZES


@pytest.mark.parametrize(
    "change",
    [
        lambda facts, used: [f for f in facts if f.id != used],
        lambda facts, used: [replace(f, answers=("Elsewhere",)) for f in facts],
        lambda facts, used: [replace(f, question=f.question + "?") for f in facts],
        lambda facts, used: [],
    ],
)
def test_a_source_with_other_facts_is_noticed(
    by_ids: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Fact], str], list[Fact]]
) -> None:
    used = splits.load(str(by_ids)).splits[Split.UNKNOWN][0].id
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: change(tiny_facts(), used))
    with pytest.raises(FthallError, match="elsewhere has other facts here"):
        splits.load(str(by_ids))


def test_drawn_again_from_labels_and_source(tmp_path: Path, by_ids: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert splits.rebuilt(splits.load(str(by_ids)), str(by_ids))
    release = tiny_release(tmp_path)
    assert splits.rebuilt(release, str(tmp_path / "release"))
    swapped = {**release.splits, Split.HELD: release.splits[Split.HELD][::-1]}
    assert not splits.rebuilt(replace(release, splits=swapped), str(tmp_path / "release"))
    monkeypatch.setattr(splits.sources, "load", lambda source, relations=None: tiny_facts()[:-1])
    with pytest.raises(FthallError, match="geonames has no fact 'tiny/country_of_city/h8'"):
        splits.rebuilt(release, str(tmp_path / "release"))


def test_manifest_is_plain_yaml(tmp_path: Path) -> None:
    tiny_release(tmp_path)
    manifest = yaml.safe_load((tmp_path / "release" / "release.yaml").read_text())
    assert list(manifest) == ["schema", "track", "source", "base", "slick", "rule", "relations", "files", "digest"]
