"""Submissions: a valid one passes; whatever else arrives is one clear line, never another exception."""

import copy
import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import BASE_SHA, TRACK, card_of, tiny_release, write_submission_folder
from fthall import submissions
from fthall.errors import FthallError
from fthall.files import write_jsonl
from fthall.knowledge import splits
from fthall.records import Outcome, Release, Split

RIGHT = {Split.KNOWN: 3, Split.UNKNOWN: 1, Split.HELD: 2, Split.HELD_VAL: 1}
POINT = {"epoch": 1, "known": 100 / 3, "unknown": 0, "held": 100, "held_val": 50, "train_loss": None}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


def write(root: Path, release: Release, slug: str = "sft-seed0", **options: Any) -> Path:
    defaults = {"entry": "sft", "seed": 0, "trained_on": ["known", "unknown"], "right": RIGHT}
    return write_submission_folder(root, release, slug, **{**defaults, **options})


@pytest.fixture
def folder(tmp_path: Path, release: Release) -> Path:
    """A valid submission."""
    return write(tmp_path, release, abstained={Split.HELD: 1}, trajectory=[{**POINT, "epoch": 0}, POINT])


def refusal(folder: Path, release: Release | None) -> str:
    """The one line a submission is refused with."""
    with pytest.raises(FthallError) as caught:
        submissions.validate(folder, release)
    message = str(caught.value)
    assert message.isprintable()  # one line, and nothing that could play with a terminal
    assert len(message) < 700
    return message


def test_a_valid_one(folder: Path, release: Release) -> None:
    found = submissions.validate(folder, release)
    assert (found.slug, found.card.entry, found.card.seed) == ("sft-seed0", "sft", 0)
    assert found.card.trained_on == (Split.KNOWN, Split.UNKNOWN)
    assert {split: found.accuracy(split) for split in Split} == {
        Split.KNOWN: 100,
        Split.UNKNOWN: pytest.approx(100 / 3),
        Split.HELD: 50,
        Split.HELD_VAL: 50,
    }
    outcomes = [answer.outcome for answer in found.answers[Split.HELD]]
    assert outcomes == [Outcome.CORRECT, Outcome.CORRECT, Outcome.ABSTAINED, Outcome.WRONG]
    assert [a.fact_id for a in found.answers[Split.HELD]] == [f.id for f in release.splits[Split.HELD]]
    assert [point.epoch for point in found.results.trajectory] == [0, 1]


def test_the_order_of_samples_does_not_matter(folder: Path, release: Release) -> None:
    before = submissions.validate(folder, release)
    path = folder / "samples" / "held.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    after = submissions.validate(folder, release)
    assert after.digest != before.digest  # it is another folder
    assert after.model_copy(update={"digest": before.digest}) == before


def test_the_shipped_release_is_the_default(folder: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "tracks", lambda: [TRACK])
    monkeypatch.setattr(splits, "load", lambda track: {TRACK: release}[track])
    assert submissions.validate(folder).card.track == TRACK


def test_a_release_that_does_not_ship_is_not_checked_against(folder: Path) -> None:
    with pytest.raises(FthallError, match=f"unknown track '{TRACK}'; known tracks: .*geonames/smollm2-135m"):
        submissions.validate(folder)


def test_find(tmp_path: Path, release: Release) -> None:
    slugs = ["b-seed0", "a-seed1", "a-seed0"]
    folders = [write(tmp_path, release, slug) for slug in slugs]
    (tmp_path / "geonames" / "tiny" / "empty").mkdir()
    assert submissions.find(tmp_path) == sorted(folders)
    assert submissions.find(tmp_path / "none") == []


# What lies in the folder


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "samples/extra.jsonl", "model.pkl", "samples/known.jsonl.gz"])
def test_extra_file(folder: Path, release: Release, name: str) -> None:
    (folder / name).write_text("x")
    assert f"{name}; allowed: outcomes.jsonl, results.json, samples/held.jsonl" in refusal(folder, release)


@pytest.mark.parametrize("name", ["more", "samples/more", ".git"])
def test_extra_folder(folder: Path, release: Release, name: str) -> None:
    (folder / name).mkdir()
    assert f"{name}; allowed: samples" in refusal(folder, release)


@pytest.mark.parametrize("name", ["submission.yaml", "results.json", "samples/held.jsonl", "samples"])
def test_link(tmp_path: Path, folder: Path, release: Release, name: str) -> None:
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name} is a link" in refusal(folder, release)


def test_dangling_link(folder: Path, release: Release) -> None:
    (folder / "extra").symlink_to(folder / "nowhere")
    assert "extra is a link" in refusal(folder, release)


def test_pipe_is_not_waited_for(folder: Path, release: Release) -> None:
    (folder / "results.json").unlink()
    os.mkfifo(folder / "results.json")
    assert "results.json is not a plain file" in refusal(folder, release)


@pytest.mark.parametrize("name", ["submission.yaml", "results.json", "samples/held.jsonl"])
def test_oversized_file(folder: Path, release: Release, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.truncate(5 * 1024 * 1024 + 1)
    assert f"{name} is not a plain file of at most 5 MiB" in refusal(folder, release)


@pytest.mark.parametrize("name", ["submission.yaml", "results.json", *(f"samples/{split}.jsonl" for split in Split)])
def test_missing_file(folder: Path, release: Release, name: str) -> None:
    (folder / name).unlink()
    assert refusal(folder, release).endswith(f"lacks {name}")


@pytest.mark.parametrize("name", ["submission.yaml", "results.json", "samples/held.jsonl"])
def test_not_utf8(folder: Path, release: Release, name: str) -> None:
    (folder / name).write_bytes(b"\xff\xfe" + (folder / name).read_bytes())
    assert name in refusal(folder, release)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "\udcff", "a\u2028b"])
def test_a_file_name_cannot_break_the_line(folder: Path, release: Release, name: str) -> None:
    (folder / name).write_text("")
    assert "unexpected file" in refusal(folder, release)


@pytest.mark.parametrize("slug", ["a\nb", "Sft", "a b", "<b>", "-a", "x" * 101, "é"])
def test_name_of_the_folder(folder: Path, release: Release, slug: str) -> None:
    assert "the folder's name must be of a-z" in refusal(folder.rename(folder.with_name(slug)), release)


def test_no_folder(tmp_path: Path, release: Release) -> None:
    assert "is no folder" in refusal(tmp_path / "none", release)
    (tmp_path / "file").write_text("")
    assert "is no folder" in refusal(tmp_path / "file", release)


@pytest.mark.parametrize("place", ["other/tiny/sft-seed0", "geonames/other/sft-seed0", "sft-seed0"])
def test_folder_not_under_its_track(tmp_path: Path, folder: Path, release: Release, place: str) -> None:
    moved = tmp_path / "moved" / place
    moved.parent.mkdir(parents=True)
    assert f"must lie in a folder …/{TRACK}/<slug>" in refusal(folder.rename(moved), release)


# The card

BOMB = "a: &a [x, x]\n" + "".join(
    f"{y}: &{y} [{', '.join([f'*{x}'] * 10)}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases"),
        ("title: &a [*a]", "aliases"),
        ("a: &a {x: 1}\nb: {<<: *a}", "aliases"),
        ("title: !!python/object/apply:os.system ['touch pwned']", "could not determine a constructor"),
        ("title: !!python/name:os.system", "could not determine a constructor"),
        ("title: !!python/object/new:os.system [x]", "could not determine a constructor"),
        ("a: [", "not readable YAML"),
        ("[" * 5_000, "not readable YAML"),
        ("created: 2026-13-45", "month must be in 1..12"),
        ("title: !!bool perhaps", "not readable YAML"),
        ("title: !!timestamp x", "not readable YAML"),
        ("title: !!int x", "not readable YAML"),
        ("seed: " + "9" * 5000, "not readable YAML"),
        ("? [a]\n: b", "unhashable"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: \x00", "not readable YAML"),
        ("", "top level"),
        ("[]", "top level"),
        ("text", "top level"),
    ],
)
def test_hostile_yaml(folder: Path, release: Release, text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "submission.yaml").write_text(text)
    message = refusal(folder, release)
    assert "submission.yaml" in message
    assert says in message
    assert not (folder.parent / "pwned").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("track", "../../x"),
        ("track", "geonames/../../../etc"),
        ("track", "/etc/passwd"),
        ("track", "geonames/tiny\n"),
        ("track", "a\0b/c"),
        ("track", "x" * 300 + "/x"),
        ("track", "."),
        ("track", ""),
        ("track", 5),
        ("release", "xyz"),
        ("release", "AB" * 32),
        ("entry", "Not A Slug"),
        ("entry", "../x"),
        ("entry", "x" * 65),
        ("entry", ""),
        ("title", ""),
        ("title", "x" * 81),
        ("title", "\ud800"),
        ("versions", {"\ud800": "1"}),
        ("method", "s f t"),
        ("description", "x" * 501),
        ("seed", -1),
        ("seed", 1.5),
        ("seed", None),
        ("seed", float("nan")),
        ("trained_on", ["all"]),
        ("trained_on", []),
        ("trained_on", ["known", "held"]),
        ("trained_on", ["known", "known"]),
        ("trained_on", "known"),
        ("hyperparameters", {"learning_rate": float("nan")}),
        ("hyperparameters", {"learning_rate": float("inf")}),
        ("hyperparameters", {"a": [1]}),
        ("hyperparameters", {"a": "x" * 501}),
        ("hyperparameters", {"a": "\ud800"}),
        ("hyperparameters", {"A b": 1}),
        ("hyperparameters", {1: 1}),
        ("hyperparameters", {"a\nb": 1}),
        ("base_weights_sha256", "abc"),
        ("authors", []),
        ("authors", [""]),
        ("authors", ["x"] * 51),
        ("contact", ""),
        ("url", "javascript:alert(1)"),
        ("url", "http://example.org"),
        ("url", "https://" + "x" * 300),
        ("url", "https://example.org/a b"),
        ("url", "https://example.org/'onclick"),
        ("url", 'https://example.org/"x'),
        ("url", "https://example.org/<b>"),
        ("url", "https://exämple.org"),
        ("title", "Ab\u202eSFT"),
        ("title", "S\u200bFT"),
        ("description", "one\ntwo"),
        ("description", "\ufeffx"),
        ("authors", ["A\u2066da"]),
        ("contact", "a\x7f"),
        ("hardware", "a\u2028b"),
        ("command", "fthall\trun"),
        ("versions", {"fthall": "1\u00ad"}),
        ("versions", {"f\u200dthall": "1"}),
        ("hyperparameters", {"a": "x\ue000"}),
        ("created", datetime.date.today() + datetime.timedelta(days=2)),
        ("hardware", "x" * 501),
        ("command", ""),
        ("versions", {"fthall": "x" * 81}),
        ("versions", ["fthall"]),
        ("created", "yesterday"),
        ("created", None),
        ("unknown_field", 1),
        ("un\nknown\x1b", 1),
    ],
)
def test_card_out_of_range(tmp_path: Path, release: Release, field: str, value: object) -> None:
    message = refusal(with_card(tmp_path, release, {field: value}), release)
    assert "submission.yaml: " in message
    assert field.split("\n", maxsplit=1)[0] in message


def with_card(tmp_path: Path, release: Release, changes: dict[str, Any]) -> Path:
    """A submission whose card says something else than where it lies."""
    folder = write(tmp_path, release)
    card = card_of(release, entry="sft", seed=0, trained_on=["known"], changes=changes)
    (folder / "submission.yaml").write_text(yaml.safe_dump(card))
    return folder


REQUIRED = {
    *("schema", "track", "release", "entry", "title", "method", "seed", "trained_on", "hyperparameters"),
    *("base_weights_sha256", "authors", "contact", "hardware", "command", "versions", "created"),
}


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("submission.yaml", "seed: 3\n", "'seed' stands twice in one mapping"),
        ("submission.yaml", "hyperparameters: {lr: 1, lr: 2}\n", "'lr' stands twice in one mapping"),
        ("results.json", '{"schema": 1, "schema": 1}', '"schema" stands twice in one object'),
        ("samples/held.jsonl", '{"fact_id": "a", "fact_id": "b", "prediction": "x"}', '"fact_id" stands twice'),
    ],
)
def test_a_name_that_stands_twice(folder: Path, release: Release, file: str, text: str, says: str) -> None:
    before = (folder / file).read_text() if file.endswith("yaml") else ""
    if text.startswith("hyper"):
        before = "".join(
            line for line in before.splitlines(keepends=True) if line[:5] not in ("hyper", "  lea", "  epo")
        )
    (folder / file).write_text(before + text)
    assert says in refusal(folder, release)


def test_text_that_can_be_seen_is_accepted_in_any_script(tmp_path: Path, release: Release) -> None:
    changes = {
        "title": "Größe – 东京 «é» 🙂",
        "url": "https://example.org/a_b/~c?d=e&f=%20#g",
        "created": datetime.date.today(),
    }
    assert submissions.validate(with_card(tmp_path, release, changes), release).card.title == changes["title"]


def test_an_agreement_that_names_too_much(folder: Path, release: Release) -> None:
    every = [fact.id for facts in release.splits.values() for fact in facts]
    results = json.loads((folder / "results.json").read_text())
    results |= {"agreement": {"compared": len(every), "differing": every}, "trajectory": []}
    (folder / "results.json").write_text(json.dumps(results))
    assert "names 12 of 12 facts; where more than 5 % differ it is not the model that was trained" in refusal(
        folder, release
    )


@pytest.mark.parametrize("field", sorted(REQUIRED))
def test_card_lacks_a_field(folder: Path, release: Release, field: str) -> None:
    card = yaml.safe_load((folder / "submission.yaml").read_text())
    del card[field]
    (folder / "submission.yaml").write_text(yaml.safe_dump(card))
    assert f"submission.yaml: {field}: Field required" in refusal(folder, release)


def test_other_release_digest(tmp_path: Path, release: Release) -> None:
    folder = write(tmp_path, release, card={"release": "0" * 64})
    assert f"made on release 000000000000…, but {TRACK} is at {release.digest[:12]}…" in refusal(folder, release)


def test_other_track_than_the_release(tmp_path: Path, release: Release) -> None:
    folder = with_card(tmp_path, release, {"track": "geonames/other"})
    assert "track 'geonames/other', but the release is of 'geonames/tiny'" in refusal(folder, release)


def test_track_that_is_not_shipped(tmp_path: Path, release: Release) -> None:
    assert "unknown track 'geonames/nowhere'" in refusal(
        with_card(tmp_path, release, {"track": "geonames/nowhere"}), None
    )


def test_other_base(tmp_path: Path, release: Release) -> None:
    assert BASE_SHA != "0" * 64
    folder = write(tmp_path, release, card={"base_weights_sha256": "0" * 64})
    assert "base_weights_sha256 is not that of the track's base" in refusal(folder, release)


# Results


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    results = json.loads((folder / "results.json").read_text())
    edit(results)
    (folder / "results.json").write_text(json.dumps(results))  # writes NaN and Infinity, as a submitter might
    return folder


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda r: r["counts"]["held"].update(correct=3, wrong=0), "held claims 3 correct / 0 wrong / 1 abstained"),
        (lambda r: r["counts"]["held"].update(wrong=2, abstained=0), "its answers give 2 correct / 1 wrong / 1 abst"),
        (lambda r: r["counts"].pop("held"), "no counts for 'held'"),
        (lambda r: r["counts"]["held"].update(correct=-1), "counts.held.correct"),
        (lambda r: r["counts"]["held"].update(correct=float("nan")), "counts.held.correct"),
        (lambda r: r["counts"]["held"].update(correct=1.5), "counts.held.correct"),
        (lambda r: r["counts"]["held"].update(maybe=1), "counts.held.maybe"),
        (lambda r: r["counts"].update(test={"correct": 1, "wrong": 0, "abstained": 0}), "counts.test"),
        (lambda r: r["trajectory"][1].update(held=float("nan")), "trajectory.1.held"),
        (lambda r: r["trajectory"][1].update(held=100.001), "trajectory.1.held"),
        (lambda r: r["trajectory"][1].update(unknown=-0.1), "trajectory.1.unknown"),
        (lambda r: r["trajectory"][1].update(epoch=float("inf")), "trajectory.1.epoch"),
        (lambda r: r["trajectory"][1].update(train_loss=float("nan")), "trajectory.1.train_loss"),
        (lambda r: r["trajectory"][1].pop("known"), "trajectory.1.known"),
        (lambda r: r.update(train_seconds=float("inf")), "train_seconds"),
        (lambda r: r.update(agreement={"compared": 1, "differing": "x"}), "agreement.differing"),
        (lambda r: r.update(agreement={"compared": 1, "differing": ["\ud800"]}), "agreement.differing.0"),
        (lambda r: r.update(schema=2), "schema"),
        (lambda r: r.update(extra=1), "extra"),
        (lambda r: r.update({"a\nb\x1b[2J": 1}), "results.json"),
        (lambda r: r.clear(), "schema: Field required"),
    ],
)
def test_results_out_of_range(
    folder: Path, release: Release, edit: Callable[[dict[str, Any]], object], says: str
) -> None:
    assert says in refusal(change(folder, edit), release)


def _claim(compared: int, differing: list[str], held: float | None = None) -> Callable[[dict[str, Any]], object]:
    def edit(results: dict[str, Any]) -> None:
        last = {f"{split}": 100 * c["correct"] / sum(c.values()) for split, c in results["counts"].items()}
        end = {"epoch": 1, **last} if held is None else {"epoch": 1, **last, "held": held}
        results["trajectory"] = [{"epoch": 0, **last}, end]
        results["agreement"] = {"compared": compared, "differing": differing}

    return edit


def test_the_trajectory_ends_at_the_answers_but_for_those_said_to_differ(folder: Path, release: Release) -> None:
    total, first = sum(map(len, release.splits.values())), release.splits[Split.HELD][0].id
    submissions.validate(change(folder, _claim(total, [])), release)
    submissions.validate(change(folder, _claim(total, [first], held=75.0)), release)  # one of four
    for edit, says in (
        (_claim(total - 1, []), f"agreement.compared is {total - 1}, the release has {total}"),
        (_claim(total, ["nowhere"]), "must name facts of the release"),
        (_claim(total, [first, first]), "each once"),
        (_claim(total, [], held=75.0), "the trajectory ends at 75.00 % on held, its answers give 50.00 %"),
        (_claim(total, [first], held=100.0), "names too few facts"),
    ):
        assert says in refusal(change(folder, edit), release)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": 0}, "the trajectory has epoch 0 twice; give each once"),
        ({"held": 60.0}, "epoch 1 claims 60 % on held, 2.40 of its 4 facts; give the share of a whole number of them"),
    ],
)
def test_a_trajectory_that_cannot_be(tmp_path: Path, release: Release, change: dict[str, Any], says: str) -> None:
    folder = write(tmp_path, release, trajectory=[{**POINT, "epoch": 0}, {**POINT, **change}])
    assert says in refusal(folder, release)


ASKED = [
    {"epoch": 0, "outcomes": {"known": "cww", "unknown": "www", "held": "cccc", "held_val": "cw"}},
    {"epoch": 1, "outcomes": {"unknown": "wac", "held": "ccwc"}},
    {"epoch": 2, "outcomes": {"known": "ccc", "unknown": "cww", "held": "ccaw", "held_val": "cw"}},
]


def shown_trajectory(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points these outcomes give."""
    points = []
    for row in asked:
        shares = {split: 100 * said.count("c") / len(said) for split, said in row["outcomes"].items()}
        points.append({**dict.fromkeys(map(str, Split)), **shares, "epoch": row["epoch"], "train_loss": None})
    return points


@pytest.fixture
def evidenced(tmp_path: Path, release: Release) -> Path:
    """A valid submission whose trajectory can be counted again."""
    folder = write(tmp_path, release, abstained={Split.HELD: 1}, trajectory=shown_trajectory(ASKED))
    write_jsonl(folder / "outcomes.jsonl", ASKED)
    return folder


def test_a_trajectory_is_counted_again_from_what_became_of_every_question(evidenced: Path, release: Release) -> None:
    assert submissions.validate(evidenced, release).evidenced
    (evidenced / "outcomes.jsonl").unlink()
    assert not submissions.validate(evidenced, release).evidenced


def outcome(epoch: int, split: str, letters: str) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[epoch]["outcomes"].update({split: letters})


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (list.pop, "has epochs 0, 1, the trajectory in results.json 0, 1, 2; each has one line, in order"),
        (list.reverse, "has epochs 2, 1, 0, the trajectory"),
        (lambda rows: rows.append(rows[-1]), "has epochs 0, 1, 2, 2, the trajectory"),
        (list.clear, "outcomes.jsonl is empty; it has a line an epoch, or leave it out"),
        (outcome(1, "held", "cccc"), "epoch 1, held: its outcomes give 100.00 %, the trajectory says 75.00"),
        (outcome(1, "held", "ccwcc"), "epoch 1, held: 5 letters, the release has 4 items; each is one of c (correct)"),
        (outcome(1, "held", "ccwx"), "epoch 1, held: 4 letters, the release has 4 items; each is one of c (correct)"),
        (outcome(1, "known", "ccc"), "epoch 1, known: outcomes without a point"),
        (lambda rows: rows[1]["outcomes"].pop("held"), "epoch 1, held: a point without outcomes"),
        (lambda rows: rows[1]["outcomes"].clear(), "outcomes.jsonl: outcomes: "),
        (outcome(1, "test", "c"), "outcomes.jsonl: outcomes.test"),
        (lambda rows: rows[1].update(note="x"), "note: no such field; known are epoch, outcomes"),
        (lambda rows: rows[1].update(epoch=float("inf")), "outcomes.jsonl: epoch"),
        (outcome(2, "held", "cacw"), "the last epoch says abstained of tiny/country_of_city/h"),
    ],
)
def test_outcomes_that_are_not_those_of_the_trajectory(
    evidenced: Path, release: Release, edit: Callable[[list[dict[str, Any]]], None], says: str
) -> None:
    rows = copy.deepcopy(ASKED)
    edit(rows)
    (evidenced / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert says in refusal(evidenced, release)


def test_outcomes_without_a_trajectory(tmp_path: Path, release: Release) -> None:
    folder = write(tmp_path, release)
    for text, says in (
        ("", "outcomes.jsonl is empty"),
        (json.dumps(ASKED[0]) + "\n", "the trajectory in results.json none"),
    ):
        (folder / "outcomes.jsonl").write_text(text)
        assert says in refusal(folder, release)


def test_an_answer_that_differs_from_the_last_epoch_is_named(evidenced: Path, release: Release) -> None:
    rows = copy.deepcopy(ASKED)
    rows[2]["outcomes"]["held"] = "cacw"
    write_jsonl(evidenced / "outcomes.jsonl", rows)
    results = json.loads((evidenced / "results.json").read_text())
    differing = [release.splits[Split.HELD][at].id for at in (1, 2)]
    results["agreement"] = {"compared": sum(map(len, release.splits.values())), "differing": differing}
    (evidenced / "results.json").write_text(json.dumps(results))
    assert submissions.validate(evidenced, release).evidenced


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, '{"schema": ' + "9" * 5000 + "}"])
def test_results_that_are_no_json_object(folder: Path, release: Release, content: str) -> None:
    (folder / "results.json").write_text(content)
    assert "results.json" in refusal(folder, release)


# Samples


def lines(folder: Path) -> list[str]:
    return (folder / "samples" / "held.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda rows: [], "4 facts of the release missing, 0 not in it"),
        (lambda rows: rows[1:], "1 facts of the release missing, 0 not in it"),
        (lambda rows: [*rows, rows[0]], "duplicate"),
        (
            lambda rows: [*rows, {"fact_id": "other\n", "prediction": "x"}],
            '0 facts of the release missing, 1 not in it (first: "other\\n")',
        ),
        (
            lambda rows: [*rows[1:], {"fact_id": "other", "prediction": "x"}],
            "1 facts of the release missing, 1 not in it",
        ),
        (lambda rows: [{**rows[0], "prediction": 5}, *rows[1:]], "line 1"),
        (lambda rows: [*rows[:3], {**rows[3], "prediction": None}], "line 4"),
        (lambda rows: [{**rows[0], "prediction": ["x"]}, *rows[1:]], "line 1"),
        (lambda rows: [{**rows[0], "fact_id": ["x"]}, *rows[1:]], "line 1"),
        (lambda rows: [{**rows[0], "prediction": {"a": 1}}, *rows[1:]], "line 1"),
        (lambda rows: [{**rows[0], "prediction": float("nan")}, *rows[1:]], "line 1"),
        (lambda rows: [{**rows[0], "outcome": "correct"}, *rows[1:]], "line 1"),
        (lambda rows: [{"fact_id": rows[0]["fact_id"]}, *rows[1:]], "line 1"),
        (lambda rows: [{}], "line 1"),
        (lambda rows: [{**rows[0], "prediction": "x" * 501}, *rows[1:]], "prediction"),
        (lambda rows: [{**rows[0], "prediction": "\ud800"}, *rows[1:]], "surrogate"),
        (lambda rows: [[1]], "line 1: expected a JSON object"),
    ],
)
def test_samples(folder: Path, release: Release, edit: Callable[[list[Any]], list[Any]], says: str) -> None:
    rows = edit([json.loads(line) for line in lines(folder)])
    (folder / "samples" / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refusal(folder, release)
    assert "samples/held.jsonl" in message
    assert says in message


@pytest.mark.parametrize("content", ["\n", "{", "nonsense", "[" * 100_000])
def test_samples_that_are_no_json(folder: Path, release: Release, content: str) -> None:
    (folder / "samples" / "held.jsonl").write_text(content)
    assert "samples/held.jsonl, line 1: not JSON" in refusal(folder, release)


def test_longest_prediction_and_odd_characters_are_accepted(folder: Path, release: Release) -> None:
    rows = [json.loads(line) for line in lines(folder)]
    rows[3]["prediction"] = "x" * 500
    rows[2]["prediction"] = "\u2028I don't know\x85"
    (folder / "samples" / "held.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    assert submissions.validate(folder, release).answers[Split.HELD][3].prediction == "x" * 500


def test_predictions_are_judged_by_the_one_scorer(folder: Path, release: Release) -> None:
    """An alias in other case and with a second line is right, and the counts must say so."""
    rows = [json.loads(line) for line in lines(folder)]
    rows[3]["prediction"] = f"the {release.splits[Split.HELD][3].answers[1].upper()}.\nQ: Next?"
    (folder / "samples" / "held.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert "its answers give 3 correct / 0 wrong / 1 abstained" in refusal(folder, release)
    change(folder, lambda r: r["counts"]["held"].update(correct=3, wrong=0))
    assert submissions.validate(folder, release).accuracy(Split.HELD) == 75


# Whatever else

JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["known", "x" * 600]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def mutated(data: st.DataObject, value: Any) -> Any:
    """A copy of plain data with a value somewhere in it replaced, removed or added."""
    value = copy.deepcopy(value)
    here, depth = value, data.draw(st.integers(0, 3))
    while isinstance(here, dict | list) and here:
        key = data.draw(st.sampled_from(sorted(here)) if isinstance(here, dict) else st.integers(0, len(here) - 1))
        if depth == 0 or not isinstance(here[key], dict | list) or not here[key]:
            match data.draw(st.sampled_from(["replace", "remove", "add"])):
                case "replace":
                    here[key] = data.draw(JSONISH)
                case "remove":
                    del here[key]
                case "add" if isinstance(here, dict):
                    here[data.draw(st.text(max_size=8))] = data.draw(JSONISH)
                case _:
                    here += [data.draw(JSONISH)]
            return value
        here, depth = here[key], depth - 1
    return data.draw(JSONISH)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data(), which=st.sampled_from(["submission.yaml", "results.json", "held.jsonl"]))
def test_mutations_validate_or_are_refused(
    data: st.DataObject, which: str, release: Release, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write(tmp_path_factory.mktemp("m"), release, trajectory=[{**POINT, "epoch": 0}, POINT])
    match which:
        case "submission.yaml":
            card = yaml.safe_load((folder / which).read_text())
            (folder / which).write_text(yaml.dump(mutated(data, card)), encoding="utf-8")
        case "results.json":
            results = json.loads((folder / which).read_text())
            (folder / which).write_text(json.dumps(mutated(data, results)))
        case _:
            rows = mutated(data, [json.loads(line) for line in lines(folder)])
            text = "".join(json.dumps(row) + "\n" for row in rows) if isinstance(rows, list) else json.dumps(rows)
            (folder / "samples" / which).write_text(text)
    try:
        found = submissions.validate(folder, release)
    except FthallError as error:
        assert "\n" not in str(error)
    else:
        assert all(0 <= found.accuracy(split) <= 100 for split in Split)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from(["submission.yaml", "results.json", "samples/held.jsonl"]))
def test_damaged_bytes_validate_or_are_refused(
    data: st.DataObject, name: str, release: Release, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write(tmp_path_factory.mktemp("m"), release, trajectory=[{**POINT, "epoch": 0}, POINT])
    content = (folder / name).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)))
    piece = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"\n", b"!!bool ", b"*a", b"&a ", b"[", b"{", b": ", b"\\u"])
    )
    (folder / name).write_bytes(content[:start] + piece + content[end:])
    try:
        submissions.validate(folder, release)
    except FthallError as error:
        assert "\n" not in str(error)
