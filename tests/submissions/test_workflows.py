"""The workflows: pinned, allowed little, and their scripts acted out with what a stranger could hand them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fthall.files import write_json

WORKFLOWS = sorted((Path(__file__).parents[2] / ".github" / "workflows").glob("*.y*ml"))
PINNED = re.compile(r"\s*(- )?uses: [a-z-]+/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+")
MAY_WRITE = {
    ("comment-submission", "post"): {"pull-requests": "write"},
    ("pages", "deploy"): {"pages": "write", "id-token": "write"},
}
NUMBER, HEAD = "7", "a" * 40


def workflow(name: str) -> Any:
    (path,) = (path for path in WORKFLOWS if path.stem == name)
    return yaml.safe_load(path.read_text())


def script(name: str, job: str, step: str) -> str:
    (found,) = (one["run"] for one in workflow(name)["jobs"][job]["steps"] if one.get("name") == step)
    assert "${{" not in found
    return str(found)


def run_step(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as the runner does; ``folder/bin`` comes first among the places of programs."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "RUNNER_TEMP": str(folder), **variables}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_pinned_and_may_do_little(path: Path) -> None:
    text = path.read_text()
    assert "pull_request_target" not in text
    uses = [line for line in text.splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert uses
    assert [line for line in uses if not PINNED.fullmatch(line)] == []
    said = yaml.safe_load(text)
    assert said["permissions"] in ({}, {"contents": "read"})
    for name, job in said["jobs"].items():
        writes = {scope: may for scope, may in job.get("permissions", {}).items() if may != "read"}
        assert writes == MAY_WRITE.get((path.stem, name), {})
        assert job["timeout-minutes"]
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "what strangers write reaches a script by its environment only"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_workflows_are_there() -> None:
    names = {"ci", "validate-submission", "comment-submission", "pages", "verify"}
    assert names <= {path.stem for path in WORKFLOWS}


def test_what_checks_a_pull_request_can_write_nothing_and_knows_no_secret() -> None:
    (path,) = (path for path in WORKFLOWS if path.stem == "validate-submission")
    text = path.read_text()
    assert not re.search(r"write|secrets|github\.token", re.sub(r"#.*", "", text))
    code, pull_request = [step["with"] for step in workflow("validate-submission")["jobs"]["validate"]["steps"][:2]]
    assert (code["ref"], code["path"]) == ("main", "base")
    assert (pull_request["path"], pull_request["fetch-depth"]) == ("pull", 2)
    assert pull_request["submodules"] is pull_request["lfs"] is False


def test_where_a_comment_can_be_posted_nothing_is_checked_out() -> None:
    steps = workflow("comment-submission")["jobs"]["post"]["steps"]
    assert [step.get("uses", "").split("@")[0] for step in steps] == ["actions/download-artifact", ""]


def test_the_checks_need_no_more_than_the_workflow_installs() -> None:
    folder = Path(__file__).parents[2] / "submissions" / "geonames" / "smollm2-135m" / "sft-seed0"
    code = (
        "import sys, fthall.cli, fthall.submissions.pull\n"
        f"assert fthall.cli.main(['validate', {str(folder)!r}]) == 0\n"
        "sys.stdout.write(' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = set(done.stdout.splitlines()[-1].split())
    assert {"yaml", "pydantic"} <= brought
    assert not brought & {"numpy", "pandas", "pandera", "scipy", "rich", "torch", "transformers", "jinja2", "pyarrow"}


GH = """#!/bin/sh
echo "$*" >> "$RUNNER_TEMP/log"
case "$*" in
  *PATCH*|"pr comment"*) ;;
  *"/files "*) printf '%s' "$OUTSIDE" ;;
  *"/comments "*) printf '%s' "$BEFORE" ;;
  *) echo "$AT" ;;
esac
"""


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({}, "accepted by the check", f"pr comment {NUMBER} --repo a/b --body-file comment.md"),
        ({"BEFORE": "5\n6\n"}, "accepted by the check", "repos/a/b/issues/comments/5 --field body=@comment.md"),
        ({"OUTSIDE": "setup.py\n"}, "refused", f"pr comment {NUMBER}"),
        ({"OUTSIDE": "setup.py\n"}, "accepted by the check", None),
        ({"AT": "b" * 40}, "refused", None),
        ({"AT": ""}, "refused", None),
    ],
)
def test_a_comment_goes_to_the_pull_request_that_was_checked_alone(
    tmp_path: Path, changes: dict[str, str], verdict: str, said: str | None
) -> None:
    program(tmp_path / "bin" / "gh", GH)
    (tmp_path / "comment").mkdir()
    (tmp_path / "comment" / "number").write_text(f"{NUMBER}\n")
    (tmp_path / "comment" / "comment.md").write_text(f"<!-- fthall-review -->\n### Submission {verdict}\n")
    variables = {"REPOSITORY": "a/b", "HEAD_SHA": HEAD, "AT": HEAD, "OUTSIDE": "", "BEFORE": "", **changes}
    text = script("comment-submission", "post", "Post, or replace what was posted before")
    done = run_step(text, tmp_path, **variables)
    posted = [line for line in (tmp_path / "log").read_text().splitlines() if "comment.md" in line]
    if said is None:
        assert (done.returncode, posted) == (1, [])
        assert "nothing is posted" in done.stdout
    else:
        assert done.returncode == 0, done.stderr
        assert len(posted) == 1
        assert said in posted[0]


@pytest.mark.parametrize(
    ("number", "fine"),
    [
        ("7\n", True),
        ("0", False),
        ("7/../8", False),
        ("", False),
        ("7\n8", False),
        ("--repo", False),
        ("9" * 30, False),
    ],
)
def test_a_number_that_is_none_is_not_passed_on(tmp_path: Path, number: str, fine: bool) -> None:
    program(tmp_path / "venv" / "bin" / "fthall", f'#!/bin/sh\nexec "{sys.executable}" -m fthall "$@"\n')
    (tmp_path / "review").mkdir()
    report = {"schema": 1, "accepted": False, "refused": ["x"]}
    write_json(tmp_path / "review" / "report.json", report)
    (tmp_path / "review" / "number").write_text(number)
    done = run_step(script("comment-submission", "render", "Render"), tmp_path)
    assert (done.returncode == 0) is fine, done.stderr
    assert (tmp_path / "comment" / "number").exists() is fine
    assert (tmp_path / "comment" / "comment.md").read_text().startswith("<!-- fthall-review -->\n")


@pytest.mark.parametrize(
    ("submission", "seed", "fine"),
    [
        ("submissions/geonames/smollm2-135m/sft-seed0", "drand:5012345", True),
        ("submissions/geonames/smollm2-135m/sft-seed0", "-x", False),
        ("submissions/geonames/smollm2-135m/sft-seed0", "", False),
        ("submissions/geonames/smollm2-135m/sft-seed0", "a b", False),
        ("submissions/geonames/smollm2-135m/sft-seed0", "a\nb", False),
        ("submissions/geonames/smollm2-135m/sft-seed0", "$(touch x)", False),
        ("submissions/geonames/smollm2-135m/../sft-seed0", "a", False),
        ("submissions/geonames/smollm2-135m/sft-seed0/..", "a", False),
        ("/etc/passwd", "a", False),
        ("--out=x", "a", False),
        ("", "a", False),
    ],
)
def test_what_is_verified_is_a_submission(tmp_path: Path, submission: str, seed: str, fine: bool) -> None:
    text = script("verify", "verify", "Look at what was typed")
    done = run_step(text, tmp_path, SUBMISSION=submission, SEED=seed, BASE="")
    assert done.returncode == (0 if fine else 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("base", "fine"), [("", True), ("ada/base", True), ("a b/c", False), ("--out=x", False), ("a/b; rm x", False)]
)
def test_a_base_is_an_id_or_none(tmp_path: Path, base: str, fine: bool) -> None:
    text = script("verify", "verify", "Look at what was typed")
    done = run_step(text, tmp_path, SUBMISSION="submissions/g/b/sft-seed0", SEED="x", BASE=base)
    assert done.returncode == (0 if fine else 2)
