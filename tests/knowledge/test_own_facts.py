"""Anyone's own facts, and what a base knows of them."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import datasets
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fthall.cli import main
from fthall.errors import FthallError
from fthall.facts import own
from fthall.facts.own import Own, Survey
from fthall.facts.own.formats import rows
from fthall.files import write_jsonl, write_text
from fthall.knowledge.annotate import annotate, keep
from fthall.records import Fact

ROWS = [
    {"question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"], "relation": "author", "note": "é"},
    {"question": "Who wrote Ulysses?", "answers": ["James Joyce"], "relation": "author", "note": "b"},
    {"question": "Where is Riga?", "answers": ["Latvia"], "relation": "place", "split": "dev", "note": "c"},
    {"question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"], "relation": "author", "note": "again"},
]


def labels_for(facts: tuple[Fact, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "fact_id": [fact.id for fact in facts],
            "category": ["HighlyKnown", "Unknown", "MaybeKnown"],
            "right": [[True, True], [False, False], [True, None]],
        }
    )


def put(path: Path, rows: Sequence[Mapping[str, Any]]) -> Own:
    own.write(rows, path)
    return Own(str(path))


@pytest.mark.parametrize("suffix", own.FORMATS)
def test_rows_go_in_and_come_back_with_a_category(tmp_path: Path, suffix: str) -> None:
    found, out = put(tmp_path / f"mine{suffix}", ROWS), tmp_path / f"out{suffix}"
    facts = found.facts()
    assert [fact.question for fact in facts] == ["Who wrote Emma?", "Who wrote Ulysses?", "Where is Riga?"]
    assert facts[0].answers == ("Jane Austen", "Austen")
    assert [fact.origin for fact in facts] == ["train", "train", "dev"]
    assert annotate(found, labels_for(facts), out) == {"HighlyKnown": 2, "Unknown": 1, "MaybeKnown": 1}
    again = list(rows(str(out)))
    assert [row["category"] for row in again] == ["HighlyKnown", "Unknown", "MaybeKnown", "HighlyKnown"]
    assert [int(row["right"]) for row in again] == [2, 0, 1, 2]
    assert [int(row["asked"]) for row in again] == [2, 2, 1, 2]
    assert [row["note"] for row in again] == ["é", "b", "c", "again"]
    assert Own(str(out)).facts() == facts
    assert keep(found, labels_for(facts), tmp_path / f"kept{suffix}", ["known", "maybe"]) == 3
    assert [row["note"] for row in rows(str(tmp_path / f"kept{suffix}"))] == ["é", "c", "again"]
    assert set(next(rows(str(tmp_path / f"kept{suffix}")))) == set(next(rows(found.source))), "as they were"


CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is Riga?"},
    {"role": "assistant", "content": "Latvia"},
]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Where is Riga?", "answer": "Latvia"},
        {"question": "Where is Riga?", "answers": '["Latvia"]'},
        {"prompt": "Q: Where is\nRiga?\nA:", "completion": " Latvia"},
        {"prompt": CHAT[:2], "completion": CHAT[2:]},
        {"instruction": "Where is Riga?", "input": "", "output": "Latvia"},
        {"instruction": "Where is", "input": "Riga?", "output": "Latvia"},
        {"messages": CHAT},
        {"messages": json.dumps(CHAT)},
        {"conversations": [{"from": "human", "value": "Where is Riga?"}, {"from": "gpt", "value": "Latvia"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Where is Riga?"}]}, CHAT[2]]},
        {"prompt": None, "question": "Where is Riga?", "answer": "Latvia"},
    ],
    ids=str,
)
def test_the_conventions_people_have(tmp_path: Path, row: dict[str, Any]) -> None:
    (found,) = put(tmp_path / "a.jsonl", [row]).facts()
    assert (found.question, found.answers) == ("Where is Riga?", ("Latvia",))


def test_of_several_turns_one_is_judged(tmp_path: Path) -> None:
    more = [{"role": "user", "content": "And Oslo?"}, {"role": "assistant", "content": "Norway"}]
    put(tmp_path / "a.jsonl", [{"messages": CHAT}, {"messages": [*CHAT, *more]}])
    with pytest.raises(FthallError, match="row 2: a conversation of 2 turns; say which is judged: --turn first, or"):
        Own(str(tmp_path / "a.jsonl")).survey()
    for turn, question in (("first", "Where is Riga?"), ("last", "And Oslo?")):
        assert Own(str(tmp_path / "a.jsonl"), turn=turn).facts()[-1].question == question


def test_files_as_they_come(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffquestion;answer;note\nWhere is Riga?;Latvia;a, b\n", encoding="utf-8")
    assert Own(str(tmp_path / "a.csv")).facts()[0].answers == ("Latvia",)
    annotate(Own(str(tmp_path / "a.csv")), pd.DataFrame(columns=["fact_id", "category", "right"]), tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text().splitlines()[1] == "Where is Riga?;Latvia;a, b;;;", "its delimiter"
    (tmp_path / "a.json").write_text('{"question": "2 + 2?", "answer": 4}\n{"question": "3?", "answer": 3}\n')
    assert [fact.answers for fact in Own(str(tmp_path / "a.json")).facts()] == [("4",), ("3",)], "lines, not an array"
    datasets.Dataset.from_list([{"question": "q?", "answer": "a"}]).save_to_disk(tmp_path / "saved")
    assert Own(str(tmp_path / "saved")).facts()[0].question == "q?"
    parts = datasets.DatasetDict({"valid": datasets.Dataset.from_list([{"question": "v?", "answer": "a"}])})
    parts.save_to_disk(tmp_path / "parts")
    assert Own(str(tmp_path / "parts"), split="valid").facts()[0].question == "v?"
    with pytest.raises(FthallError, match="no split 'train'; its splits: valid"):
        Own(str(tmp_path / "parts")).facts()


def test_an_array_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [
        {"question": f"Where is {n}?", "answer": "Łódź" * (n % 3 + 1), "note": ["x", {"y": "]"}]} for n in range(60)
    ]
    (tmp_path / "a.json").write_text(json.dumps(many, indent=1))
    for size in (7, 64, 1000):
        monkeypatch.setattr("fthall.facts.own.formats._PIECE", size)
        assert list(rows(str(tmp_path / "a.json"))) == many


def test_one_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    rows_there = datasets.Dataset.from_list([{"question": "q?", "answer": "a"}])
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, config, *, split: asked.append((name, config, split)) or rows_there
    )
    assert Own("owner/name:nq", split="test").facts()[0].question == "q?"
    assert asked == [("owner/name", "nq", "test")]


LONG = "It is the capital of Latvia, which is a country in the Baltic region of Europe."


@pytest.mark.parametrize(
    ("several", "answers", "left"),
    [
        ("merge", [("a", "b"), ("c",)], 3),
        ("apart", [("a",), ("b",), ("c",)], 3),
        ("leave-out", [("c",)], 1),
    ],
)
def test_several_answers_and_long_ones(tmp_path: Path, several: str, answers: list[Any], left: int) -> None:
    given = [("q?", "a"), ("q?", "b"), ("r?", "c"), ("s?", LONG)]
    put(tmp_path / "a.jsonl", [{"question": question, "answer": answer} for question, answer in given])
    found = Own(str(tmp_path / "a.jsonl"), several=several)
    assert found.survey() == Survey("question/answers", rows=4, long=1, questions=2, several=1, examples=3)
    assert [fact.answers for fact in found.facts()] == answers
    ids = [fact.id for fact in found.facts()]
    labels = pd.DataFrame({"fact_id": ids, "category": ["Unknown"] * len(ids), "right": [[False]] * len(ids)})
    assert annotate(found, labels, tmp_path / "b.jsonl") == {"Unknown": left, "unjudged": 4 - left}
    assert keep(found, labels, tmp_path / "c.jsonl", ["unjudged"]) == 4 - left


def test_one_answer_and_no_relation_are_enough(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", 'question,answer\n"Who, then?","Nobody, really"\n2 + 2?,4\n')
    assert [(f.relation, f.answers, f.subject) for f in Own(str(tmp_path / "a.csv")).facts()] == [
        ("all", ("Nobody, really",), "Who, then?"),
        ("all", ("4",), "2 + 2?"),
    ]


def test_exemplars_are_of_the_relation_and_from_dev_where_there_are_enough(tmp_path: Path) -> None:
    given = [
        {"question": f"{r}{n}?", "answer": "x", "relation": r, "split": "dev" if n < 3 else "train"}
        for r in "ab"
        for n in range(5)
    ]
    facts = put(tmp_path / "a.jsonl", given[:-1]).facts()
    assert {fact.question for fact in own.exemplars(facts, 2)} == {"a0?", "a1?", "a2?", "b0?", "b1?", "b2?"}
    assert len(own.exemplars(facts, 3)) == 9


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "x", "not '.txt'"),
        ("a.jsonl", '{"question": "q?"', "line 1: not JSON"),
        ("a.jsonl", "[1]", "line 1: not JSON .line 1 is no object but list"),
        ("a.json", '[{"question": "q?"', "row 1: not JSON"),
        ("a.json", "[3]", "row 1 is no object but int"),
        (
            "a.jsonl",
            '{"answers": ["x"]}',
            "row 1 has no question with an answer; needed: question and answers or answer; ",
        ),
        ("a.jsonl", '{"question": "q?"}', "found: question"),
        ("a.jsonl", '{"question": "q?", "answers": []}', "row 1: 'q\\?' has no answer"),
        ("a.jsonl", '{"question": "q?", "answers": [" ", null]}', "row 1: 'q\\?' has no answer"),
        ("a.jsonl", '{"question": "q?", "answers": null}', "row 1 has no question with an answer"),
        ("a.jsonl", '{"question": " ", "answers": ["x"]}', "row 1 has no question"),
        ("a.jsonl", '{"question": 1, "answers": ["x"]}', "row 1 has no question"),
        ("a.jsonl", "", "has no rows"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": "q?"}]}', "nothing in it is said by the assistant"),
        ("a.jsonl", '{"messages": "hello"}', "no list of objects with role and content"),
        (
            "a.jsonl",
            '{"question": "q?", "answer": "x"}\n{"prompt": "q?", "completion": "y"}',
            "row 2 has prompt/completion, the rows before it question/answers; make files of one convention each",
        ),
        ("a.csv", 'question,answer\n"q?', "is not readable as csv"),
        ("a.csv", "question,answer\nq?,x,y", "a row has more cells than the header"),
        ("a.csv", b"question,answer\nq?,\xff", "is not UTF-8 .* save it as UTF-8"),
        ("a.parquet", "no parquet", "is not readable as parquet"),
        ("a.arrow", "no arrow", "is not readable as arrow"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FthallError, match=said) as caught:
        Own(str(tmp_path / name)).survey()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["a.csv", "./a", "/no/such/file"])
def test_no_file(source: str) -> None:
    with pytest.raises(FthallError, match=r"no file|not 'this'"):
        Own(source).survey()


@given(
    st.lists(
        st.fixed_dictionaries({"question": st.text(min_size=1), "answer": st.text(min_size=1), "more": st.text()}),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_the_rows_hold_they_come_back(tmp_path_factory: pytest.TempPathFactory, given: Any) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for suffix in own.FORMATS:
        if suffix in {".csv", ".tsv"} and any("\r" in text or "\0" in text for row in given for text in row.values()):
            continue
        own.write(given, folder / f"a{suffix}")
        assert list(rows(str(folder / f"a{suffix}"))) == given


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
    assert main([*options, "--out", str(out), "--keep", "unknown,all"]) == 2
    assert "no 'all'; choose from known, maybe, weakly, unknown, unjudged" in capsys.readouterr().err
    assert main([*options, "--out", str(out), "--keep", "unknown"]) == 0  # nothing is asked again
    assert "kept 6 of 6 rows (unknown)" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "known.kept.csv")) == 6
    assert main([*options, "--dry-run"]) == 0
    assert "6 rows of question/answers, 6 facts to ask about" in capsys.readouterr().out
    assert main(options) == 2
    assert "--out FILE" in capsys.readouterr().err
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


@pytest.mark.parametrize("option", [["--dry-run"], ["--keep", "known"], ["--turn", "last"]])
def test_what_is_about_ones_own_data_needs_some(capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    assert main(["slick", *option]) == 2
    assert "give it with --facts FILE" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--relations", "a"], ["--single-answer"], ["--shard", "1/2"]])
def test_what_chooses_from_a_source_is_refused_for_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"question": "q?", "answers": ["x", "y"]}])
    out = tmp_path / "out.jsonl"
    assert main(["slick", "--facts", str(tmp_path / "a.jsonl"), "--out", str(out), *option]) == 2
    assert "leave rows out of the file" in capsys.readouterr().err
    assert not out.exists()
