"""Anyone's own facts, and what a base knows of them."""

import json
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pandas as pd
import pytest

from fthall.cli import main
from fthall.errors import FthallError
from fthall.facts import own
from fthall.files import write_jsonl, write_text
from fthall.knowledge.annotate import annotate

ROWS = [
    {"question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"], "relation": "author", "note": "é"},
    {"question": "Who wrote Ulysses?", "answers": ["James Joyce"], "relation": "author", "note": "b"},
    {"question": "Where is Riga?", "answers": ["Latvia"], "relation": "place", "split": "dev", "note": "c"},
    {"question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"], "relation": "author", "note": "again"},
]


def labels_for(found: own.Own) -> pd.DataFrame:
    ids = [fact.id for fact in found.facts]
    return pd.DataFrame(
        {
            "fact_id": ids,
            "category": ["HighlyKnown", "Unknown", "MaybeKnown"],
            "right": [[True, True], [False, False], [True, None]],
        }
    )


@pytest.mark.parametrize("suffix", own.FORMATS)
def test_rows_go_in_and_come_back_with_a_category(tmp_path: Path, suffix: str) -> None:
    path, out = tmp_path / f"mine{suffix}", tmp_path / f"out{suffix}"
    if suffix == ".jsonl":
        write_jsonl(path, ROWS)
    elif suffix == ".csv":
        pd.DataFrame([{**row, "answers": json.dumps(row["answers"])} for row in ROWS]).to_csv(path, index=False)
    else:
        pd.DataFrame(ROWS).to_parquet(path)
    found = own.read(path)
    assert [fact.question for fact in found.facts] == ["Who wrote Emma?", "Who wrote Ulysses?", "Where is Riga?"]
    assert found.facts[0].answers == ("Jane Austen", "Austen")
    assert [fact.origin for fact in found.facts] == ["train", "train", "dev"]
    assert annotate(found, labels_for(found), out) == {"HighlyKnown": 2, "Unknown": 1, "MaybeKnown": 1}
    again = own.read(out)
    assert list(again.rows["category"]) == ["HighlyKnown", "Unknown", "MaybeKnown", "HighlyKnown"]
    assert list(map(int, again.rows["right"])) == [2, 0, 1, 2]
    assert list(map(int, again.rows["asked"])) == [2, 2, 1, 2]
    assert list(again.rows["note"]) == ["é", "b", "c", "again"]
    assert again.facts == found.facts
    assert list(tmp_path.iterdir()).sort() == [path, out].sort()


def test_one_answer_and_no_relation_are_enough(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", 'question,answer\n"Who, then?","Nobody, really"\n2 + 2?,4\n')
    found = own.read(tmp_path / "a.csv")
    assert [(f.relation, f.answers, f.subject) for f in found.facts] == [
        ("all", ("Nobody, really",), "Who, then?"),
        ("all", ("4",), "2 + 2?"),
    ]
    write_jsonl(tmp_path / "a.jsonl", [{"question": "2 + 2?", "answer": 4}])
    assert own.read(tmp_path / "a.jsonl").facts[0].answers == ("4",)


def test_exemplars_are_of_the_relation_and_from_dev_where_there_are_enough(tmp_path: Path) -> None:
    rows = [
        {"question": f"{r}{n}?", "answer": "x", "relation": r, "split": "dev" if n < 3 else "train"}
        for r in "ab"
        for n in range(5)
    ]
    write_jsonl(tmp_path / "a.jsonl", rows[:-1])
    found = own.read(tmp_path / "a.jsonl")
    assert {fact.question for fact in found.exemplars(2)} == {"a0?", "a1?", "a2?", "b0?", "b1?", "b2?"}
    assert len(found.exemplars(3)) == 9


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "x", "not '.txt'"),
        ("a.jsonl", '{"question": "q?"', "line 1: not JSON"),
        ("a.jsonl", '{"answers": ["x"]}', "has no question; each row needs question and answers, found: answers"),
        ("a.jsonl", '{"question": "q?"}', r"has no answers \(or answer\)"),
        ("a.jsonl", '{"question": "q?", "answers": []}', "row 1: 'q\\?' has no answer"),
        ("a.jsonl", '{"question": "q?", "answers": [" ", null]}', "row 1: 'q\\?' has no answer"),
        ("a.jsonl", '{"question": "q?", "answers": null}', "row 1: 'q\\?' has no answer"),
        ("a.jsonl", '{"question": " ", "answers": ["x"]}', "row 1 has no question"),
        ("a.jsonl", '{"question": 1, "answers": ["x"]}', "row 1 has no question"),
        ("a.jsonl", "", "has no question"),
        (
            "a.jsonl",
            '{"question": "q?", "answer": "x"}\n{"question": "q?", "answer": "y"}',
            "row 2: 'q\\?' is answered y here and x before",
        ),
        ("a.csv", 'question,answer\n"q?', "is not readable as csv|has no answer"),
        ("a.parquet", "no parquet", "is not readable as parquet"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FthallError, match=said) as caught:
        own.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FthallError, match="no file"):
        own.read(tmp_path / "a.csv")


def test_the_command(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "mine.jsonl", tmp_path / "known.csv"
    write_jsonl(path, [{"question": f"Where is town {n}?", "answer": f"Land {n}"} for n in range(6)])
    options = ["slick", "--facts", str(path), "--base", str(tiny_base), "--runs", "2", "--dtype", "float32"]
    assert main([*options, "--out", str(tmp_path / "known.txt")]) == 2
    assert "not '.txt'" in capsys.readouterr().err
    assert main([*options, "--out", str(out)]) == 0
    assert "100.0 % of the 6 rows are Unknown" in capsys.readouterr().out
    assert list(pd.read_csv(out)["category"]) == ["Unknown"] * 6
    assert (tmp_path / "known.csv.labels.parquet").exists()
    assert main([*options, "--out", str(out)]) == 2
    assert "exists; delete it" in capsys.readouterr().err
    out.unlink()  # as if killed before the rows were written: the labels are not asked for again
    before = (tmp_path / "known.csv.labels.parquet").stat().st_mtime_ns
    assert main([*options, "--out", str(out)]) == 0
    assert list(pd.read_csv(out)["category"]) == ["Unknown"] * 6
    assert (tmp_path / "known.csv.labels.parquet").stat().st_mtime_ns == before


def test_killed_without_mercy_the_same_command_ends_in_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, [{"question": f"Where is town {n}?", "answer": f"Land {n}"} for n in range(600)])
    command = [sys.executable, "-m", "fthall", "slick", "--facts", str(path), "--base", str(tiny_base), "--runs", "6"]
    subprocess.run([*command, "--out", str(tmp_path / "whole.csv")], check=True, capture_output=True)
    journal = tmp_path / "killed.csv.labels.parquet.partial"
    killed = subprocess.Popen([*command, "--out", str(tmp_path / "killed.csv")], stdout=PIPE, stderr=PIPE)
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:  # the header, and three chunks of twelve
        assert killed.poll() is None, "it was done before it could be killed"
        time.sleep(0.002)
    killed.kill()
    killed.communicate()
    assert journal.exists()
    assert not (tmp_path / "killed.csv").exists()
    subprocess.run([*command, "--out", str(tmp_path / "killed.csv")], check=True, capture_output=True)
    for name in ("{}.csv", "{}.csv.labels.parquet"):
        assert (tmp_path / name.format("killed")).read_bytes() == (tmp_path / name.format("whole")).read_bytes()
    assert not journal.exists()


@pytest.mark.parametrize("option", [["--relations", "a"], ["--single-answer"], ["--shard", "1/2"]])
def test_what_chooses_from_a_source_is_refused_for_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"question": "q?", "answers": ["x", "y"]}])
    out = tmp_path / "out.jsonl"
    assert main(["slick", "--facts", str(tmp_path / "a.jsonl"), "--out", str(out), *option]) == 2
    assert "leave rows out of the file" in capsys.readouterr().err
    assert not out.exists()
