"""Drift: the right token's states, the measures by hand, and the command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from builders import fact, tiny_facts, tiny_release
from fthall import bases, cli
from fthall.errors import FthallError
from fthall.files import read_json, write_json
from fthall.measure import stats
from fthall.records import Split
from fthall.why import drift, trace
from fthall.why.sentences import SENTENCES


def test_the_state_of_the_subjects_last_token_in_every_layer(model, tokenizer) -> None:
    facts = [
        *tiny_facts(),
        replace(fact("z"), subject="Zürich-Łódź", question="Is Zürich-Łódź larger than old Zürich-Łódź was?"),
        replace(fact("e"), subject="Riga", question="Where is Riga"),
    ]
    probes = [*map(drift.of_fact, facts), drift.of_text("Q: a plain text")]
    found = drift.states(model, tokenizer, probes)
    assert found.shape == (3, len(probes), 32)
    for number, probe in enumerate(probes):
        # Byte by byte: what is read ends with the token that the last character is in.
        whole = tokenizer(probe.text).input_ids
        read = next(n for n in range(1, len(whole) + 1) if len(tokenizer.decode(whole[:n])) >= probe.end)
        while "�" in tokenizer.decode(whole[:read]):
            read += 1
        with torch.no_grad():
            expected = model.model(torch.tensor([whole]), output_hidden_states=True).hidden_states
        for layer in range(3):
            assert np.allclose(found[layer, number], expected[layer][0, read - 1], atol=1e-5)
    assert not model.training


def test_the_last_mention_of_a_subject_counts() -> None:
    twice = replace(fact("x"), subject="Bo", question="Is Bo in Bolivia, or is Bo in Peru?")
    probe = drift.of_fact(twice)
    assert probe.text[: probe.end] == "Q: Is Bo in Bolivia, or is Bo"


def test_a_question_that_does_not_name_its_subject() -> None:
    for subject in ("Town y", " "):
        with pytest.raises(FthallError, match=r"tiny/country_of_city/x.*does not name its subject"):
            drift.of_fact(replace(fact("x"), subject=subject))


def test_no_texts_and_no_places(model, tokenizer) -> None:
    with pytest.raises(FthallError, match="no texts"):
        drift.states(model, tokenizer, [])

    class Slow:
        is_fast = False

    with pytest.raises(FthallError, match="fast"):
        drift.states(model, Slow(), [drift.of_text("a")])


def test_a_text_is_read_to_its_last_word() -> None:
    probe = drift.of_text("The bus was late.")
    assert probe.text[: probe.end] == "The bus was late"


def test_cosine_distance_by_hand() -> None:
    one = np.array([[[1, 0], [1, 0], [1, 0], [3, 4]]], dtype=np.float32)
    other = np.array([[[5, 0], [0, 2], [-1, 0], [4, 3]]], dtype=np.float32)
    assert drift.cosine_distance(one, other)[0].tolist() == pytest.approx([0, 1, 2, 1 - 24 / 25], abs=1e-6)


def test_linear_cka_by_hand_and_by_what_it_does_not_see() -> None:
    x = np.array([[[1.0], [-1.0], [0.0]]], dtype=np.float32)
    y = np.array([[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]], dtype=np.float32)
    across = np.array([[[0.0, 1.0], [0.0, 1.0], [0.0, -2.0]]], dtype=np.float32)
    assert drift.linear_cka(x, y) == pytest.approx([1])
    assert drift.linear_cka(y, across) == pytest.approx([0], abs=1e-9)
    # Centred they are (1, -1, 0) and (2, -1, -1) / 3 x 3: (1 x 2 + 1 x 1)^2 / (2 x 6).
    assert drift.linear_cka(x, np.array([[[2.0], [-1.0], [-1.0]]], dtype=np.float32)) == pytest.approx([9 / 12])

    rng = np.random.default_rng(0)
    for items, width in ((40, 6), (6, 40)):  # by products of features, by Gram matrices
        one = rng.normal(size=(2, items, width)).astype(np.float32)
        other = one + rng.normal(size=one.shape).astype(np.float32)
        turned = np.linalg.qr(rng.normal(size=(width, width)))[0].astype(np.float32)
        found = drift.linear_cka(one, other)
        assert drift.linear_cka(one, 3 * one @ turned + 7) == pytest.approx([1, 1], abs=1e-4)
        assert drift.linear_cka(one @ turned, other) == pytest.approx(found, abs=1e-4)
        for layer in range(2):
            a, b = (states[layer] - states[layer].mean(0) for states in (one, other))
            direct = np.linalg.norm(b.T @ a) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
            assert found[layer] == pytest.approx(direct, abs=1e-4)
    with pytest.raises(FthallError, match="at least two"):
        drift.linear_cka(x[:, :1], x[:, :1])


def test_what_moved_is_the_mean_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=(2, 100, 8)).astype(np.float32)
    after = before + 0.5 * rng.normal(size=before.shape).astype(np.float32)
    after[1] = before[1]
    drawn = stats.resample(list(range(100)), ["r"] * 100)
    found = trace.moved(before, after, drawn)
    distance = drift.cosine_distance(before, after)
    assert found["cosine"] == pytest.approx(distance.mean(1), abs=1e-5)
    half = 1.98 * distance[0].std(ddof=1) / 10
    assert found["low"][0] == pytest.approx(distance[0].mean() - half, rel=0.1)
    assert found["high"][0] == pytest.approx(distance[0].mean() + half, rel=0.1)
    assert [found[name][1] for name in ("cosine", "low", "high", "cka")] == pytest.approx([0, 0, 0, 1], abs=1e-5)


def test_the_control_text_names_nothing() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) == 60
    starts = {word for text in SENTENCES for word in text.split()[1:] if word[0].isupper()}
    assert not starts, "a capital within a sentence is a name"


def test_correlations_take_the_seeds_of_an_entry_together() -> None:
    count = 30
    held = {
        "ids": [f"f{n}" for n in range(count)],
        "subjects": [f"s{n}" for n in range(count)],
        "relations": ["r"] * count,
        "overlaps": {"same": [1.0] * count, "half": [float(n % 2) for n in range(count)]},
    }
    lost = "-" + "".join("01"[n > 20] for n in range(1, count))
    items = {"drift": [float(n) for n in range(count)]}
    points = [{"entry": "sft", "lost": lost, "items": items}] * 2 + [{"entry": "sft", "epoch": 1}]
    by_what = {row["what"]: row for row in trace.correlations({"held": held, "points": points})}
    assert by_what["drift"] | {"rho": 0, "low": 0, "high": 0} == {
        "entry": "sft",
        "what": "drift",
        "runs": 2,
        "items": 58,
        "lost": 18,
        "rho": 0,
        "low": 0,
        "high": 0,
    }
    assert 0.5 < by_what["drift"]["low"] < by_what["drift"]["rho"] < by_what["drift"]["high"] < 1
    assert by_what["same"]["rho"] is by_what["same"]["low"] is None
    assert by_what["half"]["low"] < 0 < by_what["half"]["high"]


@pytest.fixture(scope="module")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a tiny release, one of them the reference."""
    place = tmp_path_factory.mktemp("runs")
    tiny_release(place, base_sha=bases.weights_sha256(bases.find(str(tiny_base))))
    recipe = {
        "track": str(place / "release"),
        "base": str(tiny_base),
        "seeds": [0],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2},
        "runs": [
            {"entry": "sft-known", "title": "K", "method": "sft", "trained_on": ["known"]},
            {"entry": "sft", "title": "S", "method": "sft"},
        ],
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    given = ["--work", place / "runs", "--submissions", place / "submissions", "--no-tracking", "--keep-epochs"]
    assert cli.main(["run", str(place / "recipe.yaml"), *map(str, given), "--evaluate", "later"]) == 0
    return place


def test_fthall_drift(trained: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, out = trained / "runs/geonames/tiny", tmp_path / "drift.json"
    where = ["--track", str(trained / "release"), "--base", str(tiny_base), "--out", str(out)]
    command = ["drift", *(str(runs / f"{name}-seed0") for name in ("sft-known", "sft")), str(tiny_base), *where]
    command += ["--reference", str(runs / "sft-known-seed0")]
    assert cli.main(command) == 0
    found = read_json(out)
    ends = [(point["entry"], point["epoch"]) for point in found["points"]]
    assert ends == [
        ("sft-known", 1),
        ("sft-known", 2),
        ("sft", 1),
        ("sft", 2),
        (f"{tiny_base.parent.name}/{tiny_base.name}", None),
    ]
    first, second, itself = found["points"][2]["of"], found["points"][3]["of"], found["points"][4]["of"]
    assert set(first) == {"held", "known", "unknown", "control"}
    assert len(first["held"]["cosine"]) == len(first["held"]["cka"]) == 3
    assert second["held"]["cosine"][1] > first["held"]["cosine"][1] > 0, "two epochs move it further than one"
    assert first["held"]["low"][1] <= first["held"]["cosine"][1] <= first["held"]["high"][1]
    assert max(itself["held"]["cosine"]) == pytest.approx(0, abs=1e-5), "the base has not moved"
    assert itself["control"]["cka"][1:] == pytest.approx([1, 1], abs=1e-4)
    (end,) = (point for point in found["points"] if "lost" in point)
    assert (end["entry"], end["epoch"]) == ("sft", 2), "the result of a run that is not the reference itself"
    assert len(end["items"][trace.DRIFT]) == len(end["items"][trace.APART]) == len(end["lost"]) == 4
    assert end["items"][trace.DRIFT] != end["items"][trace.APART]
    assert {row["what"] for row in found["correlations"]} <= {trace.DRIFT, trace.APART, *found["held"]["overlaps"]}
    told = capsys.readouterr().out
    assert "5 checkpoints, 0 of them" in told
    picture = out.with_suffix(".svg").read_bytes()
    assert b"cosine distance from the base" in picture

    assert cli.main(["drift", str(out), "--out", str(tmp_path / "again.json")]) == 0, "results are read again"
    assert (tmp_path / "again.svg").read_bytes() == picture
    assert not (tmp_path / "again.json").exists()
    capsys.readouterr()

    bytes_before = out.read_bytes()
    write_json(out, {name: value for name, value in found.items() if name != "correlations"})
    assert cli.main(command) == 0, "it goes on where it was, and ends the same"
    assert "5 checkpoints, 5 of them" in capsys.readouterr().out
    assert (out.read_bytes(), out.with_suffix(".svg").read_bytes()) == (bytes_before, picture)
    made = read_json(runs / "sft-seed0/run.json")
    write_json(runs / "sft-seed0/run.json", made | {"seconds": 1})
    assert cli.main(command) == 0, "a run that was made again is looked at again"
    write_json(runs / "sft-seed0/run.json", made)
    assert "5 checkpoints, 3 of them" in capsys.readouterr().out
    assert cli.main([*command, "--facts", "2"]) == 2
    assert "another groups" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nowhere"], "no run and no checkpoint"),
        (["runs/geonames/tiny/sft-seed0", "--reference", "nowhere"], "nowhere"),
        (["runs/geonames/tiny/sft-seed0", "--track", "geonames/smollm2-135m"], "another release"),
    ],
)
def test_bad_input(trained: Path, tiny_base: Path, monkeypatch, capsys, given: list[str], told: str) -> None:
    monkeypatch.chdir(trained)
    assert cli.main(["drift", "--track", "release", "--base", str(tiny_base), "--out", "bad.json", *given]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not Path("bad.json").exists()


@pytest.mark.parametrize("command", ["drift", "availability"])
@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 1, "points": [{}], "runs": [{}]}'])
def test_a_file_that_holds_no_results(command: str, text: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results.json").write_text(text, encoding="utf-8")
    assert cli.main([command, "results.json"]) == 2
    error = capsys.readouterr().err
    assert "results.json" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_run_without_its_checkpoint_and_one_that_is_not_finished(trained: Path, tmp_path: Path) -> None:
    from fthall.finetune.folder import checkpoints

    write_json(tmp_path / "half/begun.json", {})
    with pytest.raises(FthallError, match="not finished"):
        checkpoints(tmp_path / "half")
    write_json(tmp_path / "bare/run.json", {})
    with pytest.raises(FthallError, match="without --discard-checkpoints"):
        checkpoints(tmp_path / "bare")


def test_no_reference_of_a_seed(trained: Path, tmp_path: Path) -> None:
    from fthall.knowledge import splits

    release, runs = splits.load(str(trained / "release")), trained / "runs/geonames/tiny"
    other = tmp_path / "sft-known-seed7"
    write_json(other / "run.json", read_json(runs / "sft-known-seed0/run.json") | {"seed": 7})
    (other / "checkpoint").symlink_to(runs / "sft-known-seed0/checkpoint")
    (other / "trajectory.jsonl").symlink_to(runs / "sft-known-seed0/trajectory.jsonl")
    with pytest.raises(FthallError, match="no --reference of seed 0"):
        trace.targets(release, [runs / "sft-seed0"], [other])
    assert [target.epoch for target in trace.targets(release, [runs / "sft-seed0"])] == [1, 2]
    assert Split.HELD in release.splits
