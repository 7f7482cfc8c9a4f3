"""Arms: what stands in the place of the unknown facts; and what came of an experiment, by hand."""

from pathlib import Path

import pytest
import yaml

from fthall import cli
from fthall.answers import normalise
from fthall.errors import FthallError
from fthall.files import write_json
from fthall.knowledge import splits
from fthall.records import Split
from fthall.why import arms, results

TRACK = "geonames/smollm2-135m"
ROOT = Path(__file__).parents[2]
PLAN = {
    "question": "?",
    "track": TRACK,
    "base": "smollm2-135m",
    "runs": [
        {"entry": "alone", "title": "Alone", "method": "sft", "trained_on": ["known"]},
        {"entry": "sft", "title": "SFT", "method": "sft"},
        {
            "entry": "distilled",
            "title": "Distilled",
            "method": "self-distill",
            "start": "format",
            "distill": {"teacher": "format"},
        },
    ],
    "arms": [{"name": "real", "known": 20, "unknown": 40}],
    "presets": {"all": {"seeds": [0]}, "half": {"seeds": [0], "scale": 0.5}},
}


def experiment(tmp_path: Path, **changed: object) -> arms.Experiment:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(PLAN | changed), encoding="utf-8")
    return arms.load_experiment(path)


def made(asked: arms.Experiment, preset: str = "all") -> dict[str, dict[Split, tuple[object, ...]]]:
    return {name: dict(one.splits) for name, one in arms.releases(asked, "test", asked.presets[preset]).items()}


def test_the_kinds_of_arms(tmp_path: Path) -> None:
    asked = experiment(
        tmp_path,
        arms=[
            {"name": "real", "known": 20, "unknown": 40},
            {"name": "shuffled", "known": 20, "unknown": 40, "facts": "shuffled"},
            {"name": "relabelled", "known": 20, "unknown": 40, "facts": "relabelled"},
            {"name": "uuid", "known": 20, "unknown": 40, "facts": "made-up", "keys": "uuid"},
        ],
    )
    track, found = splits.load(TRACK).splits, made(asked)
    for one in found.values():
        assert one[Split.KNOWN] == track[Split.KNOWN][:20]
        assert one[Split.HELD] == track[Split.HELD]
        assert len(one[Split.UNKNOWN]) == 40
    assert found["real"][Split.UNKNOWN] == track[Split.UNKNOWN][:40]
    for name, of in (("shuffled", track[Split.UNKNOWN]), ("relabelled", track[Split.KNOWN][20:])):
        for told, true in zip(found[name][Split.UNKNOWN], of[:40], strict=True):
            assert (told.id, told.question, told.relation) == (true.id, true.question, true.relation)
            assert normalise(told.answers[0]) not in map(normalise, true.answers)
            assert told.answers[0] in {one.answers[0] for one in of if one.relation == true.relation}
    assert all(fact.subject.startswith("Loc_") for fact in found["uuid"][Split.UNKNOWN])


def test_a_scale_takes_less_of_all_and_the_same_file_gives_the_same_facts(tmp_path: Path) -> None:
    asked = experiment(tmp_path)
    half, held = made(asked, "half")["real"], splits.load(TRACK).splits[Split.HELD]
    assert [len(half[split]) for split in (Split.KNOWN, Split.UNKNOWN, Split.HELD)] == [10, 20, len(held) // 2]
    digests = [arms.releases(asked, "test", asked.presets["all"])["real"].digest for _ in range(2)]
    assert digests[0] == digests[1]


def test_what_is_trained_where_known_or_unknown_facts_are_none(tmp_path: Path) -> None:
    asked = experiment(tmp_path)
    none_known = arms.Arm(name="all-new", known=0, unknown=5, reference="real")
    _, sft, distilled = asked.runs
    done = arms.trained_on(sft, none_known)
    assert done is not None
    assert done.trained_on == (Split.UNKNOWN,)
    assert arms.trained_on(distilled, none_known) is None, "it would learn the format on known facts"
    assert arms.trained_on(sft, arms.Arm(name="two", known=1, unknown=1, runs=("distilled",))) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"runs": PLAN["runs"][1:]}, "the first of runs is what forgetting is counted against"),
        ({"arms": [{"name": "real", "known": 0, "unknown": 4}]}, "name an arm: reference"),
        ({"arms": [{"name": "real", "known": 0, "unknown": 0}]}, "no fact is trained on"),
        ({"arms": [{"name": "real", "known": 4, "unknown": 4, "reference": "none"}]}, "no 'none'; there are real"),
        ({"presets": {"all": {"seeds": [0], "arms": ["none"]}}}, "no 'none'; there are real"),
        ({"presets": {"all": {"seeds": [0], "training": {"epochs": 0}}}}, "preset all: training: epochs"),
    ],
)
def test_a_plan_that_cannot_be_is_told_in_one_line(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    with pytest.raises(FthallError, match=said.replace("(", r"\(")) as raised:
        experiment(tmp_path, **changed)
    assert "\n" not in str(raised.value)


def test_more_facts_than_there_are_and_an_unknown_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = experiment(tmp_path, arms=[{"name": "real", "known": 20, "unknown": 4000}])
    with pytest.raises(FthallError, match="4000 real facts wanted, 540 there"):
        made(asked)
    assert cli.main(["experiment", str(tmp_path / "experiment.yaml"), "--preset", "none"]) == 2
    assert "has all, half" in capsys.readouterr().err


def test_what_is_forgotten_is_counted_against_the_reference_of_the_arm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def row(arm: str, entry: str, seed: int, right: str) -> dict[str, object]:
        ends = {"known": 100.0, "unknown": 50.0, "held": 100 * right.count("1") / len(right), "held_val": 100.0}
        shared = {"trained": 4, "seconds": 1.0, "hardware": "one", "trajectory": [[0, 0.0, 10.0], [1, 50.0, 60.0]]}
        return {"arm": arm, "entry": entry, "seed": seed, "held_right": right, **ends, **shared}

    rows = [row("one", "alone", seed, "11111111") for seed in (0, 1)]
    rows += [row("one", "sft", 0, "11110000"), row("one", "sft", 1, "11111100")]
    rows += [row("two", "sft", 0, "10000000"), row("two", "sft", 1, "10000000")]
    path = tmp_path / "found.json"
    write_json(
        path,
        {
            "schema": 1,
            "track": TRACK,
            "release": "0" * 64,
            "reference": "alone",
            "reference_of": {"one": "one", "two": "one"},
            "held": [f"geonames/country/{number}" for number in range(8)],
            "subjects": list("abcdefgh"),
            "results": rows,
        },
    )
    found = results.read(path)
    assert found.forgotten("one", "sft").difference == pytest.approx(37.5)
    assert found.forgotten("two", "sft").difference == pytest.approx(87.5)
    assert found.apart(("one", "sft"), ("two", "sft")).difference == pytest.approx(50)
    assert found.mean("one", "sft", "held") == pytest.approx(62.5)
    assert cli.main(["experiment", str(path)]) == 0, "what is in a file of results"
    assert "two sft    new facts  50.0  old facts  12.5  forgotten  87.5" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["x", '{"schema": 2}', '{"schema": 1}', "[]"])
def test_a_file_that_holds_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "found.json"
    path.write_text(text, encoding="utf-8")
    assert cli.main(["experiment", str(path)]) == 2
    told = capsys.readouterr().err
    assert str(path) in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("name", ["keys", "dose", "controls"])
def test_every_preset_of_the_repositorys_experiments_can_be_made(name: str) -> None:
    asked = arms.load_experiment(ROOT / f"benchmark/recipes/why/{name}.yaml")
    for preset in asked.presets.values():
        for release in arms.releases(asked, name, preset).values():
            subjects = [{normalise(fact.subject) for fact in release.splits[split]} for split in Split]
            assert not subjects[0] & subjects[2], "what is trained on is not held out"
            assert not subjects[1] & subjects[2]
