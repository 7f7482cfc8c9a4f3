"""What a submission must be called, by which lm-eval it was made, where a trajectory starts, and its JSON Schemas."""

import datetime
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from builders import tiny_release, write_submission_folder
from fthall import schema, submissions
from fthall.errors import FthallError
from fthall.files import read_json, read_jsonl, write_json, write_text
from fthall.paths import data_dir
from fthall.records import Release, Split
from fthall.submissions import check
from fthall.submissions.schemas import schemas

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
RIGHT = {Split.KNOWN: 3, Split.UNKNOWN: 1, Split.HELD: 2, Split.HELD_VAL: 1}
POINT = {"epoch": 1, "known": 100, "unknown": 100 / 3, "held": 50, "held_val": 50}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


SAID = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ['"', "\\", '\\"', "\n", "a\tb", "\x7f", "\u2028", '","prediction":"', '"}', "{}", "é", "😀"]
)


@settings(deadline=None)
@given(st.dictionaries(SAID, SAID, max_size=5), st.booleans(), st.booleans(), st.booleans())
def test_lines_are_read_as_json_reads_them(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, str], ascii: bool, spaced: bool, swapped: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "held.jsonl"
    named = [{"fact_id": fact_id, "prediction": said} for fact_id, said in rows.items()]
    separators = (", ", ": ") if spaced else (",", ":")
    lines = (dict(reversed(row.items())) if swapped else row for row in named)
    write_text(path, "".join(json.dumps(row, ensure_ascii=ascii, separators=separators) + "\n" for row in lines))
    assert check._said(path) == {row["fact_id"]: row["prediction"] for row in read_jsonl(path)} == rows


@pytest.mark.parametrize(
    "text",
    [
        *("a: b", "a: [1, 2.5, yes, ~, 2026-01-02, 0x1f, 1_000, .5, 1e5, 5.0e-05, 'it''s', \"\\x41\", {b: c}]"),
        *(
            "a: !!str 1",
            "a: ! 1",
            "a: !x 1",
            "a: x\ty",
            "a: x \t",
            "a:\tx",
            "\ufeffa: b",
            "a: \u2028b",
            "a: |\n b\n  c\n",
        ),
        *("a: >\n b\n c\n", "? a\n: b", "- a\n- b", "a: b: c", "a: [", "a: *b", "a: &b c", "<<: {a: b}", "a: 1\na: 2"),
        *(
            "%YAML 1.2\n---\na: b",
            "---\na: b\n...\n---\nb: c",
            "a: @b",
            "a: 'b",
            "",
            "#",
            "a: 2026-13-45",
            "=: =",
            "[" * 5000,
        ),
    ],
)
def test_yaml_is_read_alike_with_and_without_libyaml(text: str) -> None:
    def read(load: Callable[[str], Any]) -> str:
        try:
            return repr(load(text))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    assert schema._QuickLoader is not schema._PlainLoader  # libyaml is here
    assert read(schema._load) == read(functools.partial(yaml.load, Loader=schema._PlainLoader))


def write(root: Path, release: Release, slug: str = "sft-seed0", **options: Any) -> Path:
    defaults = {"entry": "sft", "seed": 0, "trained_on": ["known", "unknown"], "right": RIGHT}
    return write_submission_folder(root, release, slug, **{**defaults, **options})


def refusal(folder: Path, release: Release) -> str:
    with pytest.raises(FthallError) as caught:
        submissions.validate(folder, release)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("slug", "entry", "seed"),
    [
        ("other-seed0", "sft", 0),
        ("sft-seed1", "sft", 0),
        ("sft-seed00", "sft", 0),
        ("sft", "sft", 0),
        ("sft-seed", "sft", 0),
        ("sft-seed-0", "sft", 0),
        ("sft-0", "sft", 0),
        ("sft-seed0-seed0", "sft", 0),
        ("sft-seed1", "sft", 10),
        ("sft-seed10", "sft", 1),
        ("sft-seed0", "sft-seed0", 0),
    ],
)
def test_a_folder_is_called_as_its_card_says(
    tmp_path: Path, release: Release, slug: str, entry: str, seed: int
) -> None:
    message = refusal(write(tmp_path, release, slug, entry=entry, seed=seed), release)
    assert f"{slug}: is seed {seed} of '{entry}', so the folder's name must be {entry}-seed{seed}" in message


@pytest.mark.parametrize(("entry", "seed"), [("sft", 17), ("sft-seed0", 0), ("a", 2**63 - 1)])
def test_a_folder_may_be_called_so(tmp_path: Path, release: Release, entry: str, seed: int) -> None:
    folder = write(tmp_path, release, f"{entry}-seed{seed}", entry=entry, seed=seed)
    assert submissions.validate(folder, release).card.seed == seed


@pytest.mark.parametrize(
    ("versions", "says"),
    [
        ({}, "lm_eval is missing: it must be one the tracks were calibrated on (0.4.13)"),
        ({"fthall": "0.1.0"}, "lm_eval is missing"),
        ({"lm-eval": "0.4.13"}, "lm_eval is missing"),
        ({"lm_eval": ""}, "lm_eval is missing"),
        ({"lm_eval": "0.4.12"}, "lm_eval '0.4.12' is no version the tracks were calibrated on (0.4.13); evaluate"),
        ({"lm_eval": "0.4.13 "}, "lm_eval '0.4.13 ' is no version"),
        ({"lm_eval": "0.4.13.dev0"}, "lm_eval '0.4.13.dev0' is no version"),
        ({"lm_eval": "٠.٤.١٣"}, "is no version"),
    ],
)
def test_lm_eval_is_one_the_tracks_were_calibrated_on(
    tmp_path: Path, release: Release, versions: dict[str, str], says: str
) -> None:
    message = refusal(write(tmp_path, release, card={"versions": versions}), release)
    assert "submission.yaml: versions: " in message
    assert says in message


@pytest.mark.parametrize("epochs", [[1], [1, 2], [0.5, 1], [5e-324, 1]])
def test_a_trajectory_starts_at_the_base(tmp_path: Path, release: Release, epochs: list[float]) -> None:
    folder = write(tmp_path, release, trajectory=[{**POINT, "epoch": epoch} for epoch in epochs])
    assert "results.json: the trajectory lacks epoch 0, the base before training" in refusal(folder, release)


@pytest.mark.parametrize("epochs", [[0], [-0.0, 1], [1, 0]])
def test_the_base_is_epoch_0_wherever_it_stands(tmp_path: Path, release: Release, epochs: list[float]) -> None:
    folder = write(tmp_path, release, trajectory=[{**POINT, "epoch": epoch} for epoch in epochs])
    assert submissions.validate(folder, release).run.trajectory[0].epoch == 0


HASHES = ["0123456789abcdef", "1123456789abcdef", "f123456789abcdef"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ", line 1: expected 16 hex digits; fthall submit --trained-on FILE writes it"),
        (b"\n", ", line 1: expected 16 hex digits"),
        (b"In which country is Riga?\n", ", line 1: expected 16 hex digits"),
        (b"0123456789abcdeg\n", ", line 1: expected 16 hex digits"),
        (b"0123456789ABCDEF\n", ", line 1: expected 16 hex digits"),
        (b"0123456789abcde\n", ", line 1: expected 16 hex digits"),
        (b"0123456789abcdef0\n", ", line 1: expected 16 hex digits"),
        (b" 0123456789abcde\n", ", line 1: expected 16 hex digits"),
        (b"\xef\xbb\xbf0123456789abcdef\n", ", line 1: expected 16 hex digits"),
        ("０１２３４５６７８９abcdef\n".encode(), ", line 1: expected 16 hex digits"),
        (b"\xff" * 16 + b"\n", ", line 1: expected 16 hex digits"),
        (b"0123456789abcdef\r\n1123456789abcdef\r\n", ", line 1: expected 16 hex digits"),
        (b"0123456789abcdef\n\n1123456789abcdef\n", ", line 2: expected 16 hex digits"),
        (b"0123456789abcdef\n\n", ", line 2: expected 16 hex digits"),
        (b"1123456789abcdef\n0123456789abcdef\n", ": its lines must be in order, each once"),
        (b"0123456789abcdef\n0123456789abcdef\n", ": its lines must be in order, each once"),
    ],
)
def test_hashes_of_training_questions(tmp_path: Path, release: Release, content: bytes, says: str) -> None:
    folder = write(tmp_path, release)
    (folder / "trained_on.txt").write_bytes(content)
    assert f"trained_on.txt{says}" in refusal(folder, release)


@pytest.mark.parametrize("end", ["\n", ""])
def test_hashes_of_training_questions_are_read(tmp_path: Path, release: Release, end: str) -> None:
    folder = write(tmp_path, release)
    assert submissions.validate(folder, release).trained_questions == frozenset()
    write_text(folder / "trained_on.txt", "\n".join(HASHES) + end)
    assert submissions.validate(folder, release).trained_questions == {*HASHES}


def test_a_digest_is_of_names_and_bytes(tmp_path: Path, release: Release) -> None:
    folder = write(tmp_path, release)
    seen = {submissions.validate(folder, release).digest}
    (folder / "trained_on.txt").write_text(f"{HASHES[0]}\n")
    seen.add(submissions.validate(folder, release).digest)
    card = folder / "submission.yaml"
    card.write_text(f"# a remark\n{card.read_text()}")
    seen.add(submissions.validate(folder, release).digest)
    assert len(seen) == 3
    assert submissions.validate(write(tmp_path / "again", release), release).digest in seen


@pytest.mark.parametrize(
    ("field", "value"), [("seed", True), ("seed", "0"), ("seed", 0.0), ("hyperparameters", {"a": 0x1 << 20_000})]
)
def test_a_number_is_a_number(tmp_path: Path, release: Release, field: str, value: object) -> None:
    folder = write(tmp_path, release)
    card = yaml.safe_load((folder / "submission.yaml").read_text())
    said = f"0x{value['a']:x}" if isinstance(value, dict) else json.dumps(value)
    text = yaml.safe_dump({key: value for key, value in card.items() if key != field})
    (folder / "submission.yaml").write_text(text + f"{field}: {said if field == 'seed' else '{a: ' + said + '}'}\n")
    assert f"submission.yaml: {field}" in refusal(folder, release)


@pytest.mark.parametrize("value", ["2", True, 2.0])
def test_a_count_is_a_whole_number(tmp_path: Path, release: Release, value: object) -> None:
    folder = write(tmp_path, release)
    results = read_json(folder / "results.json")
    results["counts"]["held"]["correct"] = value
    write_json(folder / "results.json", results)
    assert "results.json: counts.held.correct: Input should be a valid integer" in refusal(folder, release)


def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(check, "sha256", denied)
    message = refusal(write(tmp_path, release), release)
    assert message.startswith("cannot read ")
    assert message.endswith("results.json: Permission denied")


def test_a_link_to_a_submission_is_none(tmp_path: Path, release: Release) -> None:
    folder = write(tmp_path, release)
    link = folder.with_name("sft-seed1")
    link.symlink_to(folder)
    assert "sft-seed1 is a link; give the folder itself" in refusal(link, release)


# Schemas


def test_the_schemas_are_those_of_the_records() -> None:
    there = {path.name.removesuffix(".schema.json"): read_json(path) for path in (SUBMISSIONS / "schemas").iterdir()}
    assert there == schemas(), "type: fthall validate --schema submissions/schemas"


def test_every_field_of_a_schema_says_what_it_means() -> None:
    def fields(schema: Any) -> list[tuple[str, dict[str, Any]]]:
        if isinstance(schema, list):
            return [one for part in schema for one in fields(part)]
        if not isinstance(schema, dict):
            return []
        return [*schema.get("properties", {}).items(), *(one for part in schema.values() for one in fields(part))]

    found = fields(schemas())
    assert len(found) > 40
    assert [name for name, field in found if not field.get("description")] == []


@functools.cache
def validator(name: str) -> Draft202012Validator:
    Draft202012Validator.check_schema(schemas()[name])
    return Draft202012Validator(schemas()[name], format_checker=FormatChecker())


def card_of(folder: Path) -> Any:
    """A card as JSON can say it."""
    card = yaml.load((folder / "submission.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {key: value.isoformat() if isinstance(value, datetime.date) else value for key, value in card.items()}


def committed() -> list[Path]:
    return submissions.find(SUBMISSIONS)


def test_every_committed_submission_is_as_the_schemas_say() -> None:
    assert len(committed()) > 100
    for folder in committed():
        told = {"submission": card_of(folder), "results": read_json(folder / "results.json")}
        for name, value in told.items():
            assert [error.message for error in validator(name).iter_errors(value)] == [], folder


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("submission", {"more": 1}),
        ("submission", {"seed": "0"}),
        ("submission", {"seed": -1}),
        ("submission", {"created": "yesterday"}),
        ("submission", {"checkpoint": {"kind": "full"}}),
        ("submission", {"url": "http://example.org"}),
        ("results", {"more": 1}),
        ("results", {"schema": 2}),
        ("results", {"trajectory": [{"epoch": 0, "more": 1}]}),
        ("results", {"agreement": {"compared": 1, "differing": [], "more": 1}}),
        ("outcomes-line", {"more": 1}),
        ("outcomes-line", {"outcomes": {"test": "c"}}),
    ],
)
def test_the_schemas_refuse_what_the_check_does(name: str, changes: dict[str, Any]) -> None:
    folder = committed()[0]
    good = {
        "submission": card_of(folder),
        "results": read_json(folder / "results.json"),
        "outcomes-line": {"epoch": 1, "outcomes": {"held": "cwa"}},
    }[name]
    assert validator(name).is_valid(good)
    assert not validator(name).is_valid({**good, **changes})


# Studies


def study(name: str) -> Any:
    return read_json(data_dir("leaderboard") / "studies" / f"{name}.json")


def test_the_readers_were_fuzzed_for_ten_minutes_without_a_failure() -> None:
    found = study("fuzz-submissions")
    assert found["minutes"] >= 10
    assert found["failures"] == []
    assert found["executions"] == found["refusals"] + found["acceptances"] > 20_000
    assert found["peak_mib"] <= 512
    assert all(reader["refusals"] > 0 and reader["acceptances"] > 0 for reader in found["readers"].values())
    assert found["distinct_messages"] > 100


def test_checking_is_fast_enough_to_be_done_at_every_push() -> None:
    found = study("validate-speed")
    assert all(seconds <= 1 for seconds in found["start_seconds"].values())
    assert found["one"]["seconds"] <= 1
    assert found["one"]["peak_mib"] <= 300
    assert found["many"]["submissions"] == 1000
    assert found["many"]["seconds"] <= 60
