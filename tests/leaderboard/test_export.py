"""The export: every number by hand, the same bytes each time, nothing half-written, and the format's own checks."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from builders import tiny_facts, tiny_release, write_submission_folder
from fthall import cli
from fthall.errors import FthallError
from fthall.files import read_json, read_jsonl, write_jsonl
from fthall.knowledge import splits
from fthall.leaderboard import export as module
from fthall.leaderboard.export import export
from fthall.records import Fact, Release, Split
from fthall.submissions import tiers
from fthall.submissions.tiers import Tier

VERSIONS = {"versions": {"fthall": "0.1.0", "lm_eval": "0.4.13"}}
SCHEMAS = Path(__file__).parent / "schema-0.3.0"
"""Of the format, as its package ships them."""
DAY = "1767312000"
"""2026-01-02, when the submissions of the tests were made, in seconds of Unix."""


def submit(
    root: Path,
    release: Release,
    entry: str,
    held: int,
    *,
    seed: int = 0,
    trained_on: Sequence[str] = ("known", "unknown"),
    abstained: int = 0,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """A submission with all known facts right, two of three unknown ones, ``held`` of four and one of two held_val."""
    return write_submission_folder(
        root,
        release,
        f"{entry}-seed{seed}",
        entry=entry,
        seed=seed,
        trained_on=trained_on,
        right={Split.KNOWN: 3, Split.UNKNOWN: 2, Split.HELD: held, Split.HELD_VAL: 1},
        abstained={Split.HELD: abstained},
        card={**VERSIONS, **(card or {})},
    )


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return tiny_release(tmp_path)


@pytest.fixture
def root(tmp_path: Path, release: Release) -> Path:
    """The reference keeps all four held facts; SFT two, with one abstention."""
    submit(tmp_path / "submissions", release, "sft-known", 4, trained_on=["known"])
    submit(tmp_path / "submissions", release, "sft", 2, abstained=1)
    return tmp_path / "submissions"


def scores_of(out: Path, model: str) -> dict[str, Any]:
    (file,) = (out / "data/fthall/ada" / model).glob("*.json")
    found: dict[str, Any] = read_json(file)
    return found


def results_of(out: Path, model: str) -> dict[str, dict[str, Any]]:
    return {row["evaluation_name"]: row for row in scores_of(out, model)["evaluation_results"]}


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_scores(root: Path, release: Release, tmp_path: Path) -> None:
    export(root, tmp_path / "out", release=release)
    found = results_of(tmp_path / "out", "tiny-geonames-sft-seed0")
    assert list(found) == ["fthall_known", "fthall_unknown", "fthall_held", "fthall_held_val", "fthall_forgetting"]
    assert [row["score_details"]["score"] for row in found.values()] == [1.0, 2 / 3, 0.5, 0.5, 50.0]
    assert [row["score_details"]["uncertainty"]["num_samples"] for row in found.values()] == [3, 3, 4, 2, 4]
    assert found["fthall_held"]["score_details"]["details"] == {"correct": "2", "wrong": "1", "abstained": "1"}
    for row in found.values():
        interval = row["score_details"]["uncertainty"]["confidence_interval"]
        limits = row["metric_config"]
        assert interval["confidence_level"] == 0.95
        assert limits["min_score"] <= interval["lower"] <= row["score_details"]["score"] <= interval["upper"]
        assert interval["lower"] < interval["upper"] <= limits["max_score"]
    assert [row["metric_config"]["metric_unit"] for row in found.values()] == [*["proportion"] * 4, "points"]
    assert [row["metric_config"]["lower_is_better"] for row in found.values()] == [*[False] * 4, True]


def test_forgetting_is_that_of_the_seed_and_beside_it_that_of_the_entry(
    root: Path, release: Release, tmp_path: Path
) -> None:
    export(root, tmp_path / "one", release=release)
    one = results_of(tmp_path / "one", "tiny-geonames-sft-seed0")["fthall_forgetting"]["score_details"]
    interval = one["uncertainty"]["confidence_interval"]
    assert one["details"] == {
        **{"reference": "sft-known", "reference_seed": "0", "entry_seeds": "1", "entry_mean": "50.0"},
        **{"entry_lower": str(interval["lower"]), "entry_upper": str(interval["upper"])},
    }, "of one seed an entry, the board's interval is that of the checkpoint"
    submit(root, release, "sft", 3, seed=1)
    export(root, tmp_path / "two", release=release)
    two = [results_of(tmp_path / "two", f"tiny-geonames-sft-seed{seed}")["fthall_forgetting"] for seed in (0, 1)]
    assert [row["score_details"]["score"] for row in two] == [50.0, 25.0]
    assert two[0]["score_details"]["uncertainty"] == one["uncertainty"]
    for row in two:
        details = row["score_details"]["details"]
        assert details["entry_mean"] == "37.5"
        assert details["entry_seeds"] == "2"
        assert details["reference_seed"] == "0"  # it has no other
        assert float(details["entry_lower"]) < 37.5 < float(details["entry_upper"])
    reference = results_of(tmp_path / "two", "tiny-geonames-sft-known-seed0")["fthall_forgetting"]["score_details"]
    assert reference["score"] == 0.0
    assert reference["uncertainty"] == {"num_samples": 4}, "by definition, not by measurement"


def test_no_reference_no_forgetting(release: Release, tmp_path: Path) -> None:
    submit(tmp_path / "submissions", release, "sft", 2)
    export(tmp_path / "submissions", tmp_path / "out", release=release)
    assert "fthall_forgetting" not in results_of(tmp_path / "out", "tiny-geonames-sft-seed0")


def test_who_what_and_when_is_what_the_card_says(root: Path, release: Release, tmp_path: Path) -> None:
    card = {"authors": ["Ada", "Bo"], "url": "https://a.example/w", "title": "Mine"}
    submit(root, release, "mine", 1, card=card)
    export(root, tmp_path / "out", release=release)
    found = scores_of(tmp_path / "out", "tiny-geonames-mine-seed0")
    assert found["evaluation_id"] == f"fthall/ada/tiny-geonames-mine-seed0/{DAY}"
    assert (found["retrieved_timestamp"], found["evaluation_timestamp"]) == (DAY, "2026-01-02")
    assert found["source_metadata"]["source_organization_name"] == "Ada, Bo"
    assert found["source_metadata"]["source_organization_url"] == "https://a.example/w"
    assert found["eval_library"]["name"] == "lm_eval"
    assert found["eval_library"]["version"] == "0.4.13"
    model = found["model_info"]
    assert (model["id"], model["developer"]) == ("ada/tiny-geonames-mine-seed0", "Ada, Bo")
    assert model["name"] == "Mine, seed 0, of tiny"
    details = model["additional_details"]
    assert (details["base_name"], details["base_weights_sha256"]) == ("tiny", "ab" * 32)
    assert (details["deployment_type"], details["model_availability"]) == ("self_deployed", "unknown")
    assert details["trained_on"] == "known, unknown"
    assert json.loads(details["hyperparameters"]) == {"learning_rate": 5e-5, "epochs": 3}
    assert "ada@example.org" not in json.dumps(found), "whoever submits here did not ask to be written to from there"


def test_the_answers(root: Path, release: Release, tmp_path: Path) -> None:
    files = export(root, tmp_path / "out", release=release)
    assert files == sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert len(files) == 4
    found = scores_of(tmp_path / "out", "tiny-geonames-sft-seed0")
    said = found["detailed_evaluation_results"]
    path = tmp_path / "out" / said["file_path"]
    assert path.parent == tmp_path / "out/data/fthall/ada/tiny-geonames-sft-seed0"
    assert path.with_name(path.name.replace("_samples.jsonl", ".json")).is_file()
    assert uuid.UUID(path.name.removesuffix("_samples.jsonl")).version == 4
    assert said["checksum"] == hashlib.sha256(path.read_bytes()).hexdigest()
    rows = read_jsonl(path)
    assert said["total_rows"] == len(rows) == 3 + 3 + 4 + 2
    results = {row["evaluation_result_id"]: row["score_details"]["score"] for row in found["evaluation_results"]}
    for name in results.keys() - {"fthall_forgetting/points"}:
        scored = [row["evaluation"]["score"] for row in rows if row["evaluation_result_id"] == name]
        assert sum(scored) / len(scored) == results[name]
    held = [row for row in rows if row["evaluation_name"] == "fthall_held"]
    facts = release.splits[Split.HELD]
    assert [row["sample_id"] for row in held] == [fact.id for fact in facts]
    assert [row["input"]["raw"] for row in held] == [fact.question for fact in facts]
    assert [row["input"]["reference"] for row in held] == [list(fact.answers) for fact in facts]
    assert [row["output"]["raw"] for row in held] == [
        [text] for text in (facts[0].answers[0], facts[1].answers[0], "I don't know", "Atlantis")
    ]
    assert [row["metadata"]["outcome"] for row in held] == ["correct", "correct", "abstained", "wrong"]
    assert [row["evaluation"]["is_correct"] for row in held] == [True, True, False, False]
    assert {(row["evaluation_id"], row["model_id"]) for row in rows} == {
        (found["evaluation_id"], found["model_info"]["id"])
    }


def test_pinned_weights_are_open(root: Path, release: Release, tmp_path: Path) -> None:
    files = [{"name": name, "bytes": 9, "sha256": "ab" * 32} for name in ("config.json", "model.safetensors")]
    pinned = {
        **{"kind": "full", "repository": "ada/tiny", "revision": "12" * 20, "files": files},
        **{"architecture": "LlamaForCausalLM", "parameters": 5, "vocabulary": 2},
    }
    submit(root, release, "mine", 1, card={"checkpoint": pinned})
    export(root, tmp_path / "out", release=release)
    details = scores_of(tmp_path / "out", "tiny-geonames-mine-seed0")["model_info"]["additional_details"]
    assert details["model_availability"] == "open_weights"
    assert details["checkpoint"] == f"https://huggingface.co/ada/tiny/tree/{'12' * 20}"


def test_what_was_refuted_stays_here(
    root: Path, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tiers, "tier", lambda one, root=None: Tier.REFUTED if one.card.entry == "sft" else Tier.RECOMPUTED
    )
    export(root, tmp_path / "out", release=release)
    assert [path.name for path in (tmp_path / "out/data/fthall/ada").iterdir()] == ["tiny-geonames-sft-known-seed0"]
    found = scores_of(tmp_path / "out", "tiny-geonames-sft-known-seed0")
    assert found["source_metadata"]["additional_details"]["tier"] == "recomputed"


def test_the_same_bytes_each_time(root: Path, release: Release, tmp_path: Path) -> None:
    first = export(root, tmp_path / "out", release=release)
    once = bytes_of(tmp_path / "out")
    assert export(root, tmp_path / "out", release=release) == first
    export(root, tmp_path / "elsewhere", release=release)
    assert once == bytes_of(tmp_path / "out") == bytes_of(tmp_path / "elsewhere")


def test_a_file_is_named_by_its_submission(root: Path, release: Release, tmp_path: Path) -> None:
    def name() -> str:
        export(root, tmp_path / "out", release=release)
        found = scores_of(tmp_path / "out", "tiny-geonames-sft-seed0")
        path: str = found["detailed_evaluation_results"]["file_path"]
        return path

    before = name()
    submit(root, release, "sft-known", 3, trained_on=["known"])  # the reference, and with it what SFT forgot
    assert name() == before
    submit(root, release, "sft", 2, abstained=1, card={"description": "Told otherwise."})
    told = name()
    submit(root, release, "sft", 2, abstained=2)
    assert len({before, told, name()}) == 3


def test_facts_that_are_not_ours_to_ship_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(source: str, relations: Sequence[str] | None = None) -> list[Fact]:
        return tiny_facts()

    monkeypatch.setattr(splits.sources, "load", load)
    release = tiny_release(tmp_path, track="elsewhere/tiny", texts=False)
    submit(tmp_path / "submissions", release, "sft", 2)
    files = export(tmp_path / "submissions", tmp_path / "out", release=release)
    for file in files:
        assert "In which country" not in file.read_text()
        assert "Republic of" not in file.read_text()
    for row in read_jsonl(next(file for file in files if file.suffix == ".jsonl")):
        assert row["input"] == {"raw": f"[not shipped: {row['sample_id']}]", "reference": []}
        assert row["output"]["raw"][0]


def test_nothing_is_half_written(root: Path, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, out = sorted(tmp_path.iterdir()), tmp_path / "out"

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json", full)
        with pytest.raises(FthallError, match=r"cannot write .*out: No space left on device; free space or choose"):
            export(root, out, release=release)
    assert sorted(tmp_path.iterdir()) == there
    export(root, out, release=release)
    before = bytes_of(out)
    (root / release.track / "sft-seed0/samples/held.jsonl").write_text("")
    with pytest.raises(FthallError, match="4 facts of the release missing"):
        export(root, out, release=release)
    assert bytes_of(out) == before
    assert sorted(tmp_path.iterdir()) == sorted([*there, out])


def test_nothing_to_export(release: Release, tmp_path: Path) -> None:
    (tmp_path / "submissions").mkdir()
    with pytest.raises(FthallError, match="no submissions under"):
        export(tmp_path / "submissions", tmp_path / "out", release=release)
    with pytest.raises(FthallError, match="no folder"):
        export(tmp_path / "none", tmp_path / "out", release=release)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["notes.txt", "data/other/a/b/c.json", "data/fthall/ada/tiny-geonames-sft-seed0/x"])
def test_a_folder_of_others_is_not_replaced(root: Path, release: Release, tmp_path: Path, name: str) -> None:
    export(root, tmp_path / "out", release=release)
    other = tmp_path / "out" / name
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("mine")
    before = bytes_of(tmp_path / "out")
    with pytest.raises(FthallError, match=rf"out holds other files \({name}\); empty it or choose another folder"):
        export(root, tmp_path / "out", release=release)
    assert bytes_of(tmp_path / "out") == before


def test_neither_a_file_nor_a_link_is_replaced(root: Path, release: Release, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FthallError, match="is a file; give a folder"):
        export(root, tmp_path / "file", release=release)
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/data").symlink_to(tmp_path / "mine")
    with pytest.raises(FthallError, match=r"holds other files \(data\)"):
        export(root, tmp_path / "out", release=release)


HOSTILE = '"}],</script><script>alert(1)</script> ../../{question} \\'


def hostile(root: Path, release: Release) -> None:
    """Submissions whose texts would be markup, paths or line breaks if they were not data."""
    for number, author in enumerate(["../../etc/passwd", "CON", "data", "李", "A" * 500, HOSTILE]):
        submit(root, release, f"odd{number}", 1, card={"title": HOSTILE, "authors": [author]})
    path = root / release.track / "odd0-seed0/samples/held.jsonl"
    rows = read_jsonl(path)
    for row, text in zip(rows[1:], ["a\u2028b", "c\x85d\x1ce", '"}\\n{"\ud7ff'], strict=True):
        row["prediction"] = text
    write_jsonl(path, rows)


def test_hostile_texts_stay_data(root: Path, release: Release, tmp_path: Path) -> None:
    hostile(root, release)
    files = export(root, tmp_path / "out", release=release)
    assert len(files) == 2 * 8
    assert {len(file.relative_to(tmp_path / "out").parts) for file in files} == {5}
    authors = {path.name for path in (tmp_path / "out/data/fthall").iterdir()}
    hashed = {f"author-{hashlib.sha256(name.encode()).hexdigest()[:8]}" for name in ("CON", "data", "李")}
    assert authors == {"ada", "etcpasswd", "a" * 64, "scriptscriptalert1script-question"} | hashed
    for file in files:
        if file.suffix == ".jsonl":
            lines = file.read_text(encoding="utf-8").splitlines()  # which parts at U+2028, too
            assert len([json.loads(line) for line in lines]) == 12
        elif "odd" in str(file):
            assert read_json(file)["model_info"]["additional_details"]["title"] == HOSTILE
    (odd,) = (tmp_path / "out/data/fthall/etcpasswd").rglob("*.jsonl")
    said = [row["output"]["raw"][0] for row in read_jsonl(odd) if row["evaluation_name"] == "fthall_held"]
    assert said[1:] == ["a\u2028b", "c\x85d\x1ce", '"}\\n{"\ud7ff']


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["--submissions", str(root), "--release", str(tmp_path / "release"), "--out", str(out)]
    assert cli.main(["export", *arguments]) == 0
    assert capsys.readouterr().out == f"2 submissions: {out / 'data'}\n"
    assert len(bytes_of(out)) == 4
    (out / "notes.txt").write_text("mine")
    assert cli.main(["export", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def exported(root: Path, release: Release, tmp_path: Path) -> list[Path]:
    """An export with all there is in one: a reference, an address, hostile texts."""
    hostile(root, release)
    submit(root, release, "mine", 1, card={"url": "https://a.example/w"})
    return export(root, tmp_path / "out", release=release)


def test_the_format_by_its_schemas(exported: list[Path]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    names = {".json": "eval", ".jsonl": "instance_level_eval"}
    check = {
        suffix: jsonschema.Draft7Validator(read_json(SCHEMAS / f"{name}.schema.json")) for suffix, name in names.items()
    }
    for file in exported:
        for record in [read_json(file)] if file.suffix == ".json" else read_jsonl(file):
            assert [error.message for error in check[file.suffix].iter_errors(record)] == []
    broken = read_json(next(file for file in exported if file.suffix == ".json"))
    del broken["model_info"]["additional_details"]["deployment_type"]
    assert list(check[".json"].iter_errors(broken))


def test_the_format_by_its_own_checks(exported: list[Path]) -> None:
    """Layout, joins and counts too, which no schema says; the package needs Python 3.12 (make test-export)."""
    pytest.importorskip("every_eval_ever")
    from every_eval_ever.validate import main

    assert main([str(file) for file in exported]) == 0, "neither an error nor a warning"
