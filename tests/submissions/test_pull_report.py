"""The report of a review, which a stranger's job may have written, and the comment made of it."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from builders import TRACK
from fthall import cli
from fthall.errors import FthallError
from fthall.submissions import pull
from fthall.submissions.pull.report import MAX_COMMENT, MAX_FOLDERS, MAX_LINE, lines

NEW = f"submissions/{TRACK}/sft-seed0"
REPORT: dict[str, Any] = {
    "schema": 1,
    "accepted": True,
    "track": TRACK,
    "entry": "sft",
    "submissions": [
        {
            "folder": NEW,
            "accuracy": {"known": 100.0, "unknown": 33.3, "held": 50.0, "held_val": 50.0},
            "evidenced": True,
            "odd": [],
        }
    ],
    "refused": [],
    "notes": [],
}


def write_report(tmp_path: Path, changes: dict[str, Any], one: dict[str, Any] | None = None) -> Path:
    said = {**REPORT, **changes}
    if one is not None:
        said["submissions"] = [{**REPORT["submissions"][0], **one}]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(said))
    return path


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = pull.read_report(write_report(tmp_path, {}))
    assert report.model_dump(mode="json", by_alias=True) == REPORT


@pytest.mark.parametrize(
    ("changes", "one"),
    [
        ({"more": 1}, None),
        ({"schema": 2}, None),
        ({"schema": None}, None),
        ({"accepted": "yes"}, None),
        ({"accepted": 1}, None),
        ({"accepted": False}, None),
        ({"refused": ["x"]}, None),
        ({"submissions": []}, None),
        ({"submissions": {}}, None),
        ({"submissions": [REPORT["submissions"][0]] * (MAX_FOLDERS + 1)}, None),
        ({"track": None}, None),
        ({"track": "a/b/c"}, None),
        ({"track": "`a`/b"}, None),
        ({"entry": "@everyone"}, None),
        ({"entry": "sft\n"}, None),
        ({"notes": ["a\nb"]}, None),
        ({"notes": ["a\x1b[2J"]}, None),
        ({"notes": ["a\u202eb"]}, None),
        ({"notes": ["\ud800"]}, None),
        ({"notes": [""]}, None),
        ({"notes": ["x" * (MAX_LINE + 1)]}, None),
        ({"notes": ["x"] * 21}, None),
        ({"notes": "x"}, None),
        ({"notes": [1]}, None),
        ({}, {"more": 1}),
        ({}, {"folder": "submissions/a/b/c|d"}),
        ({}, {"folder": "submissions/../../x"}),
        ({}, {"folder": f"{NEW}\n"}),
        ({}, {"accuracy": {"known": 100.0}}),
        ({}, {"accuracy": {**REPORT["submissions"][0]["accuracy"], "held": "50"}}),
        ({}, {"accuracy": {**REPORT["submissions"][0]["accuracy"], "held": 101}}),
        ({}, {"accuracy": {**REPORT["submissions"][0]["accuracy"], "held": float("nan")}}),
        ({}, {"accuracy": {**REPORT["submissions"][0]["accuracy"], "other": 1}}),
        ({}, {"evidenced": "true"}),
        ({}, {"odd": ["x"] * 6}),
        ({}, {"odd": ["a\nb"]}),
    ],
)
def test_a_forged_report(
    tmp_path: Path, changes: dict[str, Any], one: dict[str, Any] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_report(tmp_path, changes, one)
    assert cli.main(["review", "--comment", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"fthall: {path}: ")
    assert said.err.removesuffix("\n").isprintable()


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 100_000, '{"schema": 1, "schema": 1}', "1" * 5_000])
def test_a_report_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(FthallError, match=r"report\.json"):
        pull.read_report(path)


def test_a_report_that_is_too_large_or_no_file(tmp_path: Path) -> None:
    path = write_report(tmp_path, {"notes": ["x" * 300_000]})
    with pytest.raises(FthallError, match="larger than 256 KiB"):
        pull.read_report(path)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(FthallError, match="is not a plain file"):
            pull.read_report(tmp_path / name)
    with pytest.raises(FthallError, match="no file"):
        pull.read_report(tmp_path / "none")


# The comment

HOSTILE = [
    "` @everyone [x](https://example.org) <img src=x onerror=alert(1)> `",
    "``` <!-- fthall-review --> -->",
    "| a | b |",
    "#1 GH-1 https://example.org ![x](//example.org/x.png)",
    "**bold** _a_ ~~b~~ &lt; &#x60; \\` $`x`$ :tada:",
]


def test_the_comment_shows_hostile_text_and_does_nothing_else(tmp_path: Path) -> None:
    path = write_report(tmp_path, {"accepted": False, "refused": HOSTILE, "notes": HOSTILE}, {"odd": HOSTILE})
    text = pull.comment(pull.read_report(path))
    assert text.startswith("<!-- fthall-review -->\n### Submission refused\n")
    spans = 0
    for line in text.splitlines()[1:]:
        assert line.count("`") % 2 == 0
        outside = re.sub(r"`[^`]+`", "", line)  # what is left is our own
        spans += line != outside
        assert not re.search(r"[@<>\[\]#&\\]|https?:|GH-|\*\*bold|!\[", outside.removeprefix("### "))
        assert "|" not in "".join(re.findall(r"`[^`]+`", line))
    assert spans >= 3 * len(HOSTILE)


def test_the_comment_is_markdown_of_spans_and_one_table(tmp_path: Path) -> None:
    path = write_report(tmp_path, {"accepted": False, "refused": HOSTILE}, {"odd": HOSTILE})
    text = pull.comment(pull.read_report(path))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).enable("table").parse(text.split("\n", 1)[1])
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
    assert "html_block" not in {token.type for token in tokens}
    assert len([token for token in tokens if token.type == "table_open"]) == 1


def test_the_comment_of_a_good_one(tmp_path: Path) -> None:
    text = pull.comment(pull.read_report(write_report(tmp_path, {})))
    assert "### Submission accepted by the check" in text
    assert f"| `{NEW}` | 100.0 | 33.3 | 50.0 | 50.0 | counted again |" in text
    assert "**Why**" not in text


def test_the_longest_comment_is_one_that_github_takes(tmp_path: Path) -> None:
    one = {**REPORT["submissions"][0], "odd": [f"{n}" + "x" * (MAX_LINE - 1) for n in range(5)]}
    path = write_report(tmp_path, {"submissions": [one] * MAX_FOLDERS})
    text = pull.comment(pull.read_report(path))
    assert len(text) <= MAX_COMMENT
    assert text.endswith("…and more, see the log of the check.\n")
    assert all(line.count("`") % 2 == 0 for line in text.splitlines())


def test_lines() -> None:
    assert lines(["a", "b", "a", "c\nd"]) == ["a", "b", "'c\\nd'"]
    assert lines([str(n) for n in range(9)], 5) == ["0", "1", "2", "3", "and 5 more"]
    assert lines(["x" * 900]) == ["x" * (MAX_LINE - 1) + "…"]
