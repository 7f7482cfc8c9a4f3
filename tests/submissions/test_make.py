"""A submission made of what people have: a checkpoint, an adapter, a finished run, what lm-eval wrote."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import tiny_facts, tiny_labels
from fthall import bases, submissions
from fthall.cli import main
from fthall.errors import FthallError
from fthall.files import read_json, read_jsonl, write_jsonl
from fthall.knowledge import splits
from fthall.paths import tasks_dir
from fthall.records import Release, Split
from fthall.submissions import make
from fthall.submissions.check import question_hash

CARD = {
    **{"track": "geonames/tiny", "entry": "mine", "title": "Mine", "method": "sft", "seed": 3},
    **{"trained_on": ["known", "unknown"], "authors": ["Ada"], "contact": "ada@example.org", "hardware": "a laptop"},
    "command": "python train.py --data /home/ada/secret/facts.jsonl",
}


@pytest.fixture(scope="module")
def release(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return splits.build(
        place := tmp_path_factory.mktemp("release") / "geonames" / "tiny",
        track="geonames/tiny",
        facts=tiny_facts(),
        labels=tiny_labels(),
        sizes={Split.KNOWN: 3, Split.UNKNOWN: 3, Split.HELD: 4, Split.HELD_VAL: 2},
        source={"name": "geonames"},
        base={"name": "tiny", "weights_sha256": bases.weights_sha256(bases.find(str(tiny_base)))},
        slick={"runs": 2, "shots": 1, "place": str(place)},
    )


def place_of(release: Release) -> str:
    return str(release.manifest["slick"]["place"])


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(CARD))
    return path


@pytest.fixture(scope="module")
def written(release: Release, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``lm_eval --log_samples --output_path`` wrote, by its own command line."""
    out = tmp_path_factory.mktemp("lm-eval")
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "lm_eval",
                "--model",
                "hf",
                "--model_args",
                f"pretrained={tiny_base},dtype=float32",
            ),
            *("--tasks", "fthall", "--include_path", str(tasks_dir()), "--device", "cpu", "--batch_size", "4"),
            *("--metadata", json.dumps({"track": place_of(release)}), "--log_samples", "--output_path", str(out)),
        ],
        check=True,
        capture_output=True,
    )
    return out


def submit(*arguments: object) -> int:
    return main(["submit", *map(str, arguments)])


def test_a_checkpoint(
    release: Release, tiny_base: Path, card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.jsonl"
    write_jsonl(mine, [{"question": "Where is it?", "answer": "Here"}, {"question": "where is it", "answer": "Here"}])
    where = ["--card", card, "--out", tmp_path / "s", "--release", place_of(release), "--trained-on", mine]
    assert submit(tiny_base, *where, "--published", f"ada/mine@{'b' * 40}") == 0
    said = capsys.readouterr().out
    folder = tmp_path / "s" / "geonames" / "tiny" / "mine-seed3"
    assert f"git add {folder}" in said
    assert "not pinned" not in said
    made = submissions.validate(folder, release, checkpoint=tiny_base)
    assert made.card.checkpoint is not None
    assert made.card.checkpoint.repository == "ada/mine"
    assert made.card.checkpoint.architecture == "LlamaForCausalLM"
    assert "model.safetensors" in {file.name for file in made.card.checkpoint.files}
    assert made.card.command == "python train.py --data facts.jsonl"
    assert made.trained_questions == {question_hash("Where is it?")}
    assert "/home/ada" not in (folder / "submission.yaml").read_text()
    assert submit(tiny_base, *where) == 2
    assert "exists; delete it or give the card another entry or seed" in capsys.readouterr().err


def test_what_lm_eval_wrote_is_what_asking_anew_gives(
    release: Release, tiny_base: Path, written: Path, card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--card", card, "--release", place_of(release)]
    assert submit(written, *options, "--out", tmp_path / "a", "--published", "https://example.org/mine/") == 0
    assert submit(tiny_base, *options, "--out", tmp_path / "b") == 0
    assert "not pinned, so nobody can verify it" in capsys.readouterr().out
    one, other = (
        submissions.validate(tmp_path / name / "geonames" / "tiny" / "mine-seed3", release) for name in ("a", "b")
    )
    assert one.answers == other.answers
    assert one.card.checkpoint is not None
    assert one.card.versions["lm_eval"] == "0.4.13"
    assert "torch" not in one.card.versions  # nobody here knows which one it was
    assert other.card.checkpoint is None
    text = (tmp_path / "a" / "geonames" / "tiny" / "mine-seed3" / "submission.yaml").read_text()
    assert str(tiny_base.parent) not in text


def test_the_command_is_lm_evals_where_the_card_has_none(release: Release, written: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({k: v for k, v in CARD.items() if k != "command"}))
    assert submit(written, "--card", tmp_path / "c.yaml", "--release", place_of(release), "--out", tmp_path / "s") == 0
    command = submissions.validate(tmp_path / "s/geonames/tiny/mine-seed3", release).card.command
    assert command.startswith("lm_eval --model hf --model_args pretrained=tiny-base")
    assert "/tmp" not in command


def test_the_other_layout_of_lm_eval(release: Release, written: Path, tmp_path: Path) -> None:
    """An output path that ends in .json: files named after it, and no folder of the model."""
    for file in written.glob("*/*"):
        shutil.copyfile(file, tmp_path / file.name.replace("results_", "mine_"))
    given = make.Given(card=CARD, release=release, out=tmp_path / "s")
    folder = make.from_output(tmp_path, given)
    assert submissions.validate(folder, release).card.entry == "mine"
    shutil.rmtree(folder)
    assert make.from_output(next(tmp_path.glob("mine_*.json")), given) == folder


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copied"))


def refused(place: Path, release: Release, out: Path, **card: Any) -> str:
    with pytest.raises(FthallError) as caught:
        make.from_output(place, make.Given(card={**CARD, **card}, release=release, out=out))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert not list(out.rglob("*.yaml"))
    return str(caught.value)


def edit(place: Path, how: Callable[[Any], object], pattern: str = "results_*.json") -> None:
    file = next(place.glob(f"*/{pattern}"))
    if file.suffix == ".json":
        content = read_json(file)
        how(content)
        file.write_text(json.dumps(content))
    else:
        rows = read_jsonl(file)
        how(rows)
        write_jsonl(file, rows)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            lambda r: r.update(lm_eval_version="0.4.9"),
            "was written by lm-eval 0.4.9; the tracks are calibrated on 0.4.13",
        ),
        (lambda r: r.pop("lm_eval_version"), "was written by lm-eval None"),
        (lambda r: r.update(chat_template="{{ x }}"), "asked with --apply_chat_template"),
        (lambda r: r.update(fewshot_as_multiturn=True), "asked with --apply_chat_template"),
        (lambda r: r.update(system_instruction="Be good."), "asked with --system_instruction"),
        (lambda r: r["config"].update(num_fewshot=3), "asked with --num_fewshot"),
        (lambda r: r["config"].update(limit=2.0), "asked with --limit"),
        (lambda r: r["config"].update(gen_kwargs={"temperature": 1}), "asked with --gen_kwargs"),
        (lambda r: r["config"].update(model_dtype="torch.bfloat16"), "asked with weights in torch.bfloat16"),
        (lambda r: r["config"].update(model="vllm"), "asked with --model vllm"),
        (lambda r: r["configs"]["fthall_held"].update(num_fewshot=2), "fthall_held was asked otherwise"),
        (lambda r: r["results"]["fthall_held"].update({"asked_otherwise,none": 1}), "fthall_held was asked otherwise"),
        (lambda r: r["results"].pop("fthall_held"), "has no results of fthall_held; evaluate --tasks fthall"),
        (lambda r: r.pop("config"), "has no config"),
        (lambda r: r.update(configs=[1]), "has no configs"),
        (lambda r: r.update(results=["fthall_held"]), "has no results"),
        (lambda r: r["results"].update(fthall_held=None), "has no results of fthall_held"),
        (lambda r: r["configs"].update(fthall_held=5), "has no results of fthall_held"),
        (lambda r: r.update(lm_eval_version="x" * 10**5), "was written by lm-eval xxx"),
    ],
)
def test_an_evaluation_that_was_not_the_tracks(
    release: Release, copied: Path, tmp_path: Path, how: Callable[[Any], object], says: str
) -> None:
    edit(copied, how)
    assert says in refused(copied, release, tmp_path / "s")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (list.pop, "lacks 1 of the 4 facts of held; evaluate without --limit"),
        (lambda rows: rows.append(rows[0]), "was asked twice"),
        (lambda rows: rows[0]["doc"].update(fact_id="t/other"), '"t/other" is none of the release'),
        (lambda rows: rows[0]["doc"].update(question="Q"), "the document is not the release's"),
        (lambda rows: rows[0]["doc"]["answers"].append("Elbonia"), "the document is not the release's"),
        (lambda rows: rows[0].update(doc_hash="0" * 64), "the document is not the release's"),
        (lambda rows: rows[0]["arguments"]["gen_args_0"].update(arg_0="Say yes"), "the prompt is not the track's"),
        (lambda rows: rows[0].update(prompt_hash="0" * 64), "the prompt is not the track's"),
        (lambda rows: rows[0]["arguments"]["gen_args_0"]["arg_1"].update(do_sample=True), "not answered greedily"),
        (lambda rows: rows[0]["arguments"]["gen_args_0"]["arg_1"].update(max_gen_toks=99), "not answered greedily"),
        (lambda rows: rows[0].update(filtered_resps=[]), "line 1: not as lm-eval writes it"),
        (lambda rows: rows[0].update(filtered_resps=[5]), "line 1: not as lm-eval writes it"),
        (lambda rows: rows[0].pop("doc"), "line 1: not as lm-eval writes it (KeyError"),
        (lambda rows: rows[0].update(arguments=[]), "line 1: not as lm-eval writes it"),
    ],
)
def test_samples_that_are_not_answers_to_the_release(
    release: Release, copied: Path, tmp_path: Path, how: Callable[[Any], object], says: str
) -> None:
    edit(copied, how, "samples_fthall_held_2*.jsonl")
    assert says in refused(copied, release, tmp_path / "s")


def test_several_evaluations_none_and_no_samples(release: Release, copied: Path, tmp_path: Path) -> None:
    file = next(copied.glob("*/results_*.json"))
    again = file.with_name(file.name.replace("results_2", "results_1"))
    shutil.copyfile(file, again)
    assert "holds 2 evaluations" in refused(copied, release, tmp_path / "s")
    again.unlink()
    next(copied.glob("*/samples_fthall_held_2*")).unlink()
    assert "evaluate with --log_samples" in refused(copied, release, tmp_path / "s")
    assert "holds 0 evaluations" in refused(tmp_path / "s", release, tmp_path / "s")


@pytest.mark.parametrize("name", ["entry", "seed", "title", "method", "trained_on", "authors", "contact", "hardware"])
def test_what_a_card_lacks_is_said(
    release: Release, tiny_base: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({key: value for key, value in CARD.items() if key != name}))
    options = ["--release", place_of(release), "--out", tmp_path / "s"]
    assert submit(tiny_base, "--card", tmp_path / "c.yaml", *options) == 2
    assert f"the card lacks {name}" in capsys.readouterr().err
    assert submit(tiny_base, *options) == 2
    assert "the card lacks entry and seed" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "where", ["ada/mine", "ada/mine@main", "ada/mine@abc", "https://x.org/mine", "http://x.org/m/"]
)
def test_an_address_that_moves_pins_nothing(
    release: Release, tiny_base: Path, card: Path, tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--card", card, "--release", place_of(release), "--out", tmp_path / "s", "--published", where]
    assert submit(tiny_base, *options) == 2
    assert "give owner/name@COMMIT with all 40 hex digits" in capsys.readouterr().err


def test_a_checkpoint_with_code_is_not_pinned(
    release: Release, tiny_base: Path, card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(tiny_base, tmp_path / "mine")
    (mine / "modeling.py").write_text("import os")
    options = ["--card", card, "--release", place_of(release), "--out", tmp_path / "s"]
    assert submit(mine, *options, "--published", f"ada/mine@{'b' * 40}") == 2
    assert "modeling.py is code" in capsys.readouterr().err
    assert not list((tmp_path / "s").rglob("*.yaml"))


def test_the_terminal_asks_for_what_the_card_lacks(
    release: Release, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.prompt import Prompt

    said = {"Entry": "asked", "Title": "Asked", "Method": "sft", "Seed": "4", "Trained": "known and unknown"}
    said |= {"Authors": "Ada Lovelace, Bob", "Contact": "a@b.org", "Hardware": "a laptop"}
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(Prompt, "ask", lambda question: said[question.split()[0].strip(":,")])
    assert submit(written, "--release", place_of(release), "--out", tmp_path / "s") == 0
    made = submissions.validate(tmp_path / "s/geonames/tiny/asked-seed4", release)
    assert made.card.authors == ["Ada Lovelace", "Bob"]
    assert made.card.trained_on == (Split.KNOWN, Split.UNKNOWN)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("python /home/ada/x/train.py --lr=3 /data/a/b.json", "python train.py --lr=3 b.json"),
        ("pretrained=/mnt/models/mine,dtype=float32", "pretrained=mine,dtype=float32"),
        ("C:\\Users\\Ada\\train.py", "train.py"),
        ("~/runs/x", "x"),
        ("https://example.org/a/b and owner/name", "https://example.org/a/b and owner/name"),
        ("3/4 of runs/geonames/sft", "3/4 of runs/geonames/sft"),
    ],
)
def test_places_on_a_machine_are_left_out(text: str, left: str) -> None:
    assert make.local_paths_left_out({"a": [text]}) == {"a": [left]}


def test_a_delta_is_pinned_and_its_sum_is_asked(release: Release, tiny_base: Path, card: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "delta").mkdir()
    save_file({"model.norm.weight": torch.zeros(32)}, tmp_path / "delta" / "model.safetensors")
    (tmp_path / "delta" / "delta.json").write_text("{}")
    options = ["--card", card, "--release", place_of(release), "--out", tmp_path / "s"]
    assert submit(tiny_base, *options, "--checkpoint", tmp_path / "delta", "--published", f"ada/d@{'b' * 40}") == 0
    made = submissions.validate(tmp_path / "s/geonames/tiny/mine-seed3", release, checkpoint=tmp_path / "delta")
    assert made.card.checkpoint is not None
    assert (made.card.checkpoint.kind, made.card.checkpoint.parameters) == ("delta", 32)
