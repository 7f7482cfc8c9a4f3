"""Where a pull request is acted out: repositories, the workflows' machines, and stand-ins for what is elsewhere.

The repositories are real: what lies in a checkout becomes ``main`` of another, strangers fork that, and a pull request
is the merge commit GitHub would make. The ``run:`` scripts are those of the YAML, run in folders laid out as
actions/checkout does. Three things stand in for others: instead of the steps that install, a program runs the package
of the checkout that would be installed (or those of the reviews are run, which needs the package index); instead of
GitHub's ``gh``, one that answers from git by ``jq``; instead of the Hugging Face hub, a server on this machine, so that
what fetches from it is the real code. Facts that do not ship are not fetched.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from fthall.files import read_json, sha256, write_json, write_text

REPOSITORY = "upstream/fthall"
GH = """#!/bin/sh
# Of gh, what the workflow uses: answers are files, and a comment is put where it can be read.
[ "$1" = pr ] && exec cp "$7" "$GITHUB/posted.md"
shift
while [ $# -gt 0 ]; do
  case "$1" in
    --jq) filter=$2; shift ;;
    --method) shift ;;
    --field) body=${2#body=@}; shift ;;
    --*) ;;
    *) path=$1 ;;
  esac
  shift
done
[ -n "$body" ] && exec cp "$body" "$GITHUB/posted.md"
exec jq --raw-output "$filter" "$GITHUB/$path.json"
"""


class Hub(ThreadingHTTPServer):
    """Of the Hugging Face hub, what it takes to fetch a commit of a repository: its tree, and its files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folders: dict[str, Path] = {}
        """By ``owner/name@commit``."""
        self.hashes: dict[Path, str] = {}
        self.sent: list[str] = []
        """Paths of the files that were fetched."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Its ``HF_ENDPOINT``."""
        return f"http://127.0.0.1:{self.server_port}"

    def publish(self, where: str, folder: Path) -> None:
        """Serve a folder as ``owner/name@commit``."""
        self.folders[where] = folder
        self.hashes |= {file: sha256(file) for file in folder.iterdir() if file.is_file()}


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        """A file's size and hash."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """A file, or the list of all of a commit."""
        self._answer(with_body=True)

    def log_message(self, *_: Any) -> None:
        """Nothing is told."""

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        if tree := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            folder = self.server.folders.get(f"{tree[1]}@{tree[2]}")
            files = sorted(folder.iterdir()) if folder else []
            rows = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": self.server.hashes[file][:40]}
                for file in files
                if file in self.server.hashes
            ]
            told = json.dumps(rows).encode()
            self._head(200 if folder else 404, {"Content-Type": "application/json", "Content-Length": str(len(told))})
            self.wfile.write(told)
            return
        asked = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)", path)
        folder = self.server.folders.get(f"{asked[1]}@{asked[2]}") if asked else None
        if not asked or folder is None or (file := folder / asked[3]) not in self.server.hashes:
            self._head(404, {"X-Error-Code": "EntryNotFound", "Content-Length": "0"})
            return
        size = str(file.stat().st_size)
        self._head(200, {"ETag": f'"{self.server.hashes[file]}"', "X-Repo-Commit": asked[2], "Content-Length": size})
        if with_body:
            self.server.sent.append(path)
            with file.open("rb") as source:
                shutil.copyfileobj(source, self.wfile, 1 << 20)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


@dataclass(frozen=True, slots=True)
class Asked:
    """A pull request, opened."""

    number: int
    head: str
    tiers: tuple[str, ...]
    """Of its submissions, by ``fthall validate`` in the fork; none where it does not get that far."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What the two workflows made of a pull request."""

    report: Mapping[str, Any]
    comment: str | None
    """As it is posted; none if it is not."""
    said: str
    """The last line of the job that posts."""
    seconds: float


class Stage:
    """An upstream repository, those who fork it, and the machines its workflows run on."""

    def __init__(self, root: Path, tree: Path, hub: Hub, *, items: int | None = None, install: bool = False) -> None:
        self.root, self.items, self.install = root, items, install
        self.upstream, self.github = root / "upstream.git", root / "github"
        self.requests = 0
        root.mkdir(parents=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "HF_", "PYTHON", "FTHALL_ENTITY"))}
        self.environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **{"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
            **{"HF_ENDPOINT": hub.address, "HF_HOME": str(root / "hub"), "HF_HUB_DISABLE_XET": "1"},
        }
        self._begin(tree)

    def _begin(self, tree: Path) -> None:
        """The upstream repository, with one commit: all files of a checkout that git does not ignore."""
        self.git(self.root, "init", "--quiet", "--bare", "--initial-branch=main", str(self.upstream))
        first = self.root / "first"
        for name in self.git(tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
            if name and (tree / name).is_file():
                (first / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(tree / name, first / name)
        self.git(first, "init", "--quiet", "--initial-branch=main")
        self.git(first, "add", "--all", "--force")
        self.git(first, "commit", "--quiet", "--message=What is there")
        self.git(first, "push", "--quiet", str(self.upstream), "main")
        shutil.rmtree(first)

    def git(self, place: Path, *arguments: str) -> str:
        """What git says."""
        command = ["git", "-c", "advice.detachedHead=false", *arguments]
        return subprocess.run(  # noqa: S603
            command, cwd=place, env=self.environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
        ).stdout.strip()

    def fthall(self, tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the package of a checkout, in it."""
        environment = self.environment | {"PYTHONPATH": str(tree / "benchmark")}
        command = [sys.executable, "-m", "fthall", *arguments]
        return subprocess.run(command, cwd=tree, env=environment, check=False, capture_output=True, encoding="utf-8")  # noqa: S603

    # Strangers

    def propose(self, branch: str, change: Callable[[Path], Sequence[Path]]) -> Asked:
        """Fork, commit what ``change`` does to the fork, and open a pull request with it.

        Args:
            branch: a name.
            change: gets the fork's checkout; returns the folders of submissions in it that its author would validate.
        """
        with self.workspace() as place:
            fork, here = place / "fork.git", place / "here"
            self.git(place, "clone", "--quiet", "--bare", str(self.upstream), str(fork))
            self.git(place, "clone", "--quiet", str(fork), str(here))
            tiers = []
            for folder in change(here):
                done = self.fthall(here, "validate", str(folder.relative_to(here)))
                tiers += re.findall(r"; ([a-z-]+)\)$", done.stdout, re.MULTILINE) or [done.stderr.strip()]
            self.git(here, "switch", "--quiet", "--create", branch)
            self.git(here, "add", "--all")
            self.git(here, "commit", "--quiet", f"--message=Submit {branch}")
            self.git(here, "push", "--quiet", "--set-upstream", "origin", branch)
            self.requests += 1
            pull = f"refs/pull/{self.requests}"
            self.git(self.upstream, "fetch", "--quiet", str(fork), f"{branch}:{pull}/head")
        head = self.git(self.upstream, "rev-parse", f"{pull}/head")
        tree = self.git(self.upstream, "merge-tree", "--write-tree", "main", head)
        both = ("-p", "main", "-p", head)
        merge = self.git(self.upstream, "commit-tree", tree, *both, "-m", f"Merge {head} into main")
        self.git(self.upstream, "update-ref", f"{pull}/merge", merge)
        return Asked(self.requests, head, tuple(tiers))

    # The workflows

    def review(self, asked: Asked) -> Reviewed:
        """Run ``validate-submission.yml`` as the pull request has it, and ``comment-submission.yml`` as main has it."""
        began = time.monotonic()
        with self.workspace() as place:
            report = self._validate(place, asked)
            shutil.rmtree(place / "pull")
            comment, said = self._comment(place, asked)
        return Reviewed(report, comment, said, time.monotonic() - began)

    def _validate(self, place: Path, asked: Asked) -> Mapping[str, Any]:
        self.checkout("refs/heads/main", place / "base")
        self.checkout(f"refs/pull/{asked.number}/merge", place / "pull", depth=2)
        name = "validate-submission"
        self._installed(place / "pull", name, place, place / "base", place / "temp" / "venv" / "bin")
        self._step(place / "pull", name, "Review", place, variables={"NUMBER": str(asked.number)})
        return dict(read_json(place / "report" / "report.json"))

    def _comment(self, place: Path, asked: Asked) -> tuple[str | None, str]:
        code, temporary, posted = place / "code", place / "temp", self.github / "posted.md"
        self.checkout("refs/heads/main", code)
        shutil.rmtree(temporary)
        shutil.copytree(place / "report", temporary / "review")
        self._installed(code, "comment-submission", code, code, temporary / "venv" / "bin", temporary)
        done = self._step(code, "comment-submission", "Render", code, temporary)
        if done.returncode:
            return None, done.stderr.strip().splitlines()[-1]
        program(place / "bin" / "gh", GH)
        changed = self.git(self.upstream, "diff", "--no-renames", "--name-only", "main", asked.head).splitlines()
        told = self.github / "repos" / REPOSITORY
        write_json(told / "pulls" / f"{asked.number}.json", {"head": {"sha": asked.head}})
        write_json(told / "pulls" / str(asked.number) / "files.json", [{"filename": name} for name in changed])
        write_json(told / "issues" / str(asked.number) / "comments.json", [])
        posted.unlink(missing_ok=True)
        variables = {"REPOSITORY": REPOSITORY, "HEAD_SHA": asked.head, "GITHUB": str(self.github), "GH_TOKEN": "none"}
        variables["PATH"] = f"{place / 'bin'}{os.pathsep}{self.environment['PATH']}"
        done = self._step(code, "comment-submission", "Post, or replace", place, temporary, variables)
        return (posted.read_text(encoding="utf-8") if posted.exists() else None), (done.stdout + done.stderr).strip()

    def merge(self, asked: Asked) -> None:
        """A maintainer presses the button."""
        self.git(self.upstream, "update-ref", "refs/heads/main", f"refs/pull/{asked.number}/merge")

    def verify(self, submission: str, seed: str) -> tuple[Mapping[str, Any] | None, str]:
        """Run ``verify.yml``, and commit the file that comes of it.

        Returns:
            The maintainers' file, if there is one, and the last line that was said.
        """
        with self.workspace() as place:
            self.checkout("refs/heads/main", place)
            more = f" --items {self.items}" if self.items else ""
            self._program(place / ".venv" / "bin", place, more)
            typed = {"SUBMISSION": submission, "SEED": seed}
            for step in ("Look at what was typed", "fthall verify "):
                done = self._step(place, "verify", step, place, variables=typed)
                if done.returncode:
                    break
            said = (done.stdout + done.stderr).strip().splitlines()[-1]
            file = Path(submission.removeprefix("submissions/") + ".json")
            if not (place / "verified" / file).exists():
                return None, said
            record = read_json(place / "verified" / file)
            write_json(place / "leaderboard" / "verified" / file, record)
            self.git(place, "add", "leaderboard/verified")
            self.git(place, "commit", "--quiet", f"--message=Asked again: {submission}")
            self.git(place, "push", "--quiet", str(self.upstream), "HEAD:refs/heads/main")
            return dict(record), said

    def site(self) -> str:
        """Run what ``pages.yml`` builds with; the front page."""
        with self.workspace() as place:
            self.checkout("refs/heads/main", place)
            self._program(place / ".venv" / "bin", place)
            (place / ".venv" / ".installed").touch()  # make takes it that the environment is there
            # Not the checks of what was built: they install programs from elsewhere.
            done = self._step(place, "pages", "make site", place)
            if done.returncode:
                raise RuntimeError(done.stderr)
            return (place / "site" / "index.html").read_text(encoding="utf-8")

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A machine's folder; it is gone afterwards."""
        place = self.root / "workspace"
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place)

    def checkout(self, ref: str, into: Path, depth: int = 1) -> None:
        """Do what actions/checkout does."""
        into.mkdir(exist_ok=True)
        self.git(into, "init", "--quiet")
        self.git(into, "fetch", "--quiet", "--no-tags", f"--depth={depth}", self.upstream.as_uri(), ref)
        self.git(into, "checkout", "--quiet", "--detach", "FETCH_HEAD")

    def _step(
        self,
        tree: Path,
        workflow: str,
        which: str,
        place: Path,
        temporary: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a step's script as the runner does."""
        environment = self.environment | {"RUNNER_TEMP": str(temporary or place / "temp"), **(variables or {})}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script(tree, workflow, which)]
        return subprocess.run(command, cwd=place, env=environment, check=False, capture_output=True, encoding="utf-8")  # noqa: S603

    def _installed(
        self, tree: Path, workflow: str, place: Path, code: Path, programs: Path, temporary: Path | None = None
    ) -> None:
        if not self.install:
            self._program(programs, code)
            return
        done = self._step(tree, workflow, "Install the checks", place, temporary)
        if done.returncode:
            raise RuntimeError(done.stderr)

    def _program(self, programs: Path, code: Path, more: str = "") -> None:
        """``fthall``, as if the package of a checkout had been installed."""
        place, python = shlex.quote(str(code / "benchmark")), shlex.quote(sys.executable)
        program(programs / "fthall", f'#!/bin/sh\nPYTHONPATH={place} exec {python} -m fthall "$@"{more}\n')


def program(path: Path, text: str) -> None:
    """Write one."""
    write_text(path, text)
    path.chmod(0o755)


def script(tree: Path, workflow: str, which: str) -> str:
    """The script of the one step of a workflow whose name begins so, or that runs such a command."""
    said = yaml.safe_load((tree / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8"))
    steps = [step for job in said["jobs"].values() for step in job["steps"] if "run" in step]
    (found,) = (s["run"] for s in steps if s.get("name", "").startswith(which) or which in s["run"])
    return str(found)
