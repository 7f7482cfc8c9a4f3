"""What the README and the pages say, against what is there."""

import re
from pathlib import Path

import pytest

from fthall import cli, splits
from fthall.records import Category

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_file_of_the_readmes_tree_is_there():
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, re.DOTALL)
    assert tree
    folder, named = ROOT, set()
    for line in tree[1].splitlines():
        inside = line.startswith(" ")
        for name in re.split(r"\s{2,}", line.strip())[0].split(", "):
            path = (folder if inside else ROOT) / name
            assert path.exists(), f"the README lists {name}"
            named.add(path)
            if not inside and name.endswith("/"):
                folder = path
    unnamed = {path for path in (ROOT / "benchmark/fthall").glob("*.py") if not path.name.startswith("__")} - named
    assert not unnamed, f"the README does not list {sorted(path.name for path in unnamed)}"


def test_the_readmes_commands_exist():
    for command in set(re.findall(r"\bfthall ([a-z]+)\b(?=[ `\n])", README)) - {"measures", "turns", "has"}:
        with pytest.raises(SystemExit) as left:
            cli.main([command, "--help"])
        assert left.value.code == 0, command


def test_the_readmes_results_are_those_of_the_committed_submissions(capsys):
    assert cli.main(["table", "--submissions", str(ROOT / "submissions")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) > 2
    for row in rows:
        assert row.rstrip("|").strip() in README, "run `fthall table` and copy its rows"


def test_the_data_card_counts_are_those_of_the_release():
    card = (ROOT / "leaderboard/pages/data-geonames.md").read_text(encoding="utf-8")
    manifest = splits.load("geonames/smollm2-135m").manifest
    for relation, row in manifest["relations"].items():
        cells = [
            f"`{relation}`",
            *(str(row[key]) for key in ("asked", Category.HIGHLY_KNOWN, Category.MAYBE_KNOWN, Category.UNKNOWN)),
            f"{100 * row['highly_known_share']:.1f} %",
            "yes" if row["kept"] else "no",
        ]
        assert f"| {' | '.join(cells)} |" in card
    for split in splits.Split:
        assert f"| `{split}` | {manifest['files'][f'{split}.jsonl']['facts']} |" in card
