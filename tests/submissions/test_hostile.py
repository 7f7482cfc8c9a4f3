"""Submissions that are good but for one thing: refused for that thing, in one line, with nothing run or written."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attacks import ASKED, ATTACKS, BASE, HASHES, ITEMS, RIGHT, SILENT, SIZES, TRACK, At, make_release, write_good
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fthall import submissions
from fthall.answers import LETTERS, judge
from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.leaderboard import site
from fthall.records import Answer, Outcome, Release, Split
from fthall.submissions import check, evidence, pinned


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    make_release(folder / "release")
    return folder


@pytest.fixture(scope="module")
def release(place: Path) -> Release:
    return splits.load(str(place / "release"))


@pytest.fixture(scope="module")
def good(place: Path, release: Release) -> Path:
    return write_good(place / "good", release)


def test_the_good_one_is_good(good: Path, release: Release) -> None:
    one = submissions.validate(good, release)
    assert one.evidenced
    assert one.card.checkpoint is not None
    assert one.results.agreement is not None
    assert len(one.results.agreement.differing) == 2
    assert one.trained_questions == {*HASHES}
    assert [point.epoch for point in one.run.trajectory] == [0, 1, 2]


# Attacks


@pytest.fixture(scope="module")
def built(place: Path, release: Release, good: Path) -> Mapping[str, Path | None]:
    """Where each attack lies; None where this machine cannot make it."""
    found: dict[str, Path | None] = {}
    for n, (name, (edit, _, _)) in enumerate(ATTACKS.items()):
        folder = place / "attacks" / str(n) / TRACK / "sft-seed0"
        shutil.copytree(good, folder)
        try:
            moved = edit(At(folder, release))
        except OSError:
            found[name] = None
        else:
            found[name] = moved if isinstance(moved, Path) else folder
    return found


def snapshot(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder, and whether it was changed."""
    found = {}
    for path in [root, *root.rglob("*")]:
        told = path.lstat()
        found[str(path)] = (told.st_mode, told.st_size, told.st_mtime_ns)
    return found


def refusal(folder: Path, release: Release) -> str:
    with pytest.raises(FthallError) as caught:
        submissions.validate(folder, release)
    message = str(caught.value)
    assert message.isprintable()  # one line, and nothing that could play with a terminal
    assert len(message) < 700
    return message


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_for_what_it_does(
    name: str, built: Mapping[str, Path | None], release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built[name]
    if folder is None:
        pytest.skip("this machine does not let it be made")
    root = next(parent for parent in folder.parents if parent.parent.name == "attacks")
    monkeypatch.chdir(root)
    before = snapshot(root)
    _, where, says = ATTACKS[name]
    message = refusal(folder, release)
    assert says
    assert says in message
    assert where in message
    assert snapshot(root) == before


def test_there_are_many_and_their_reasons_differ(built: Mapping[str, Path | None], release: Release) -> None:
    made = [folder for folder in built.values() if folder]
    assert len(made) >= 200
    reasons = Counter(
        refusal(folder, release).replace(str(folder.parents[2]), "").split("(found")[0] for folder in made
    )
    assert len(reasons) > 0.75 * len(made)
    assert max(reasons.values()) <= 8


def test_what_is_odd_but_true_is_taken(tmp_path: Path, release: Release) -> None:
    """Nothing of this changes what is claimed."""
    at = At(write_good(tmp_path, release), release)
    at.put("submission.yaml", b"\xef\xbb\xbf# a remark\r\n" + at.text("submission.yaml").replace("\n", "\r\n").encode())
    at.put("samples/held.jsonl", at.text("samples/held.jsonl").replace("\n", "\r\n"))
    at.results(lambda r: r["trajectory"].reverse())
    at.results(lambda r: r["trajectory"][-1].update(epoch=-0.0))
    at.results(lambda r: r["counts"]["held"].update(wrong=r["counts"]["held"].pop("wrong")))
    one = submissions.validate(at.folder, release)
    assert one.evidenced
    assert [point.epoch for point in one.run.trajectory] == [0, 1, 2]


class Tags(HTMLParser):
    """The tags of a page and the names and addresses in their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in ("href", "src") and value:
                self.addresses.add(value.split(":")[0] if ":" in value else "")


MARKUP = (
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '"\' onmouseover=alert(1) x="',
    "[x](javascript:alert(1)) ![y](x) `z`",
    "{{ 7*7 }}{% raw %} ${7*7} &lt;b&gt;",
    "<svg/onload=alert(1)><!-- ]]>",
)


def _tags(page: Path) -> Tags:
    found = Tags()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_markup_in_what_is_shown_is_text(tmp_path: Path, release: Release) -> None:
    fields = ("title", "description", "contact", "hardware", "command")
    at = At(write_good(tmp_path / "plain", release), release)
    plain = _tags(site.render(tmp_path / "plain", tmp_path / "plain-site", release=release))
    for n, text in enumerate(MARKUP):
        at = At(write_good(tmp_path / str(n), release), release)
        at.card(**dict.fromkeys(fields, text), authors=[text], hyperparameters={"a": text})
        page = site.render(tmp_path / str(n), tmp_path / f"{n}-site", release=release)
        found = _tags(page)
        assert found.found == plain.found, text
        assert found.addresses == plain.addresses, text
        assert "7*7" not in text or text[:9] in page.read_text(encoding="utf-8")  # no template is filled in it
        assert text in submissions.validate(at.folder, release).card.title


# Claims


def _answer(at: At, split: Split, row: int, outcome: Outcome) -> str:
    """A text that is judged so."""
    return {
        Outcome.CORRECT: at.release.splits[split][row].answers[0],
        Outcome.WRONG: "Atlantis",
        Outcome.ABSTAINED: "I don't know",
    }[outcome]


def _was(split: Split, row: int) -> Outcome:
    correct, silent = RIGHT[split], SILENT.get(split, 0)
    return Outcome.CORRECT if row < correct else Outcome.ABSTAINED if row < correct + silent else Outcome.WRONG


SPLITS = st.sampled_from(list(Split))


@st.composite
def claims(draw: st.DrawFn) -> tuple[str, Any]:
    """One claim, changed: what kind, and to what. None leaves what is shown as it is."""
    kind = draw(
        st.sampled_from(
            [
                "count",
                "point",
                "epoch",
                "points",
                "letter",
                "last",
                "answer",
                "answers",
                "differing",
                "card",
                "compared",
            ]
        )
    )
    split = draw(SPLITS)
    row = draw(st.integers(0, SIZES[split] - 1))
    match kind:
        case "count":
            outcome = draw(st.sampled_from(list(Outcome)))
            by = draw(st.integers(-SIZES[split], 3 * SIZES[split]).filter(bool))
            return kind, (split, outcome, by, draw(st.none() | st.sampled_from([o for o in Outcome if o != outcome])))
        case "point":
            at = draw(st.sampled_from([n for n, said in enumerate(ASKED) if split in said["outcomes"]]))
            was = ASKED[at]["outcomes"][split].count("c")
            whole = st.integers(0, SIZES[split]).filter(lambda k: k != was).map(lambda k: 100 * k / SIZES[split])
            any_share = st.floats(0, 100).filter(lambda share: abs(share - 100 * was / SIZES[split]) > 1e-3)
            return kind, (at, split, draw(whole | any_share | st.none()))
        case "epoch":
            at = draw(st.integers(0, 2))
            return kind, (at, draw((st.floats(0, 1e5) | st.integers(0, 2)).filter(lambda e: e != at)))
        case "points":
            at = draw(st.integers(0, 2))
            return kind, (at, draw(st.booleans()), draw(st.integers(3, 100_000)))
        case "letter":  # of an earlier epoch only how many are right is shown
            at = draw(st.sampled_from([n for n in (0, 1) if split in ASKED[n]["outcomes"]]))
            was = ASKED[at]["outcomes"][split][row]
            return kind, (at, split, row, draw(st.sampled_from("wa")) if was == "c" else "c")
        case "last":  # of the last, every letter is that of an answer; of two it is said that they are not
            named = split is Split.HELD and row in (0, SIZES[split] - 1)
            was = ASKED[2]["outcomes"][split][row]
            answered = str(_was(split, row))[0]
            return kind, (2, split, row, answered if named else draw(st.sampled_from([x for x in "cwa" if x != was])))
        case "answer":
            was = _was(split, row)
            return kind, [(split, row, draw(st.sampled_from([o for o in Outcome if o is not was])))]
        case "answers":  # two exchanged: the counts stay as they are
            rows = range(SIZES[split])
            other = [n for n in rows if _was(split, n) is not _was(split, row)]
            if not other:
                return "answer", [(split, row, Outcome.WRONG)]
            at = draw(st.sampled_from(other))
            return kind, [(split, row, _was(split, at)), (split, at, _was(split, row))]
        case "differing":
            return kind, (draw(st.sampled_from(["add", "drop", "replace", "foreign"])), split, row)
        case "compared":
            return kind, draw(st.integers(0, 2**40).filter(lambda n: n != ITEMS))
    hexes = st.text("0123456789abcdef", min_size=64, max_size=64)
    slug = st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}", fullmatch=True)
    field = draw(st.sampled_from(["release", "base_weights_sha256", "track", "entry", "seed", "trained_on"]))
    value: st.SearchStrategy[Any] = {
        "release": hexes,
        "base_weights_sha256": hexes.filter(lambda one: one != BASE["weights_sha256"]),
        "track": st.tuples(slug, slug).map("/".join).filter(lambda one: one != TRACK),
        "entry": slug.filter(lambda one: one != "sft"),
        "seed": st.integers(1, 2**63 - 1),
        "trained_on": st.lists(st.sampled_from([*map(str, Split), "all", "Known", ""]), max_size=4).filter(
            lambda said: not (said and set(said) <= {"known", "unknown"} and len(set(said)) == len(said))
        ),
    }[field]
    return kind, (field, draw(value))


def _put(row: int, text: str, rows: list[Any]) -> None:
    rows[row]["prediction"] = text


def apply(at: At, kind: str, change: Any) -> None:
    match kind:
        case "count":
            split, outcome, by, at_cost_of = change

            def counted(r: Any) -> None:
                r["counts"][split][outcome] += by
                if at_cost_of:
                    r["counts"][split][at_cost_of] -= by

            at.results(counted)
        case "point":
            at.results(lambda r: r["trajectory"][change[0]].update({change[1]: change[2]}))
        case "epoch":
            at.results(lambda r: r["trajectory"][change[0]].update(epoch=change[1]))
        case "points":
            number, drop, epoch = change
            at.results(
                lambda r: (
                    r["trajectory"].pop(number)
                    if drop
                    else r["trajectory"].append({**r["trajectory"][number], "epoch": epoch})
                )
            )
        case "letter" | "last":
            epoch, split, row, letter = change

            def written(rows: list[Any]) -> None:
                said = rows[epoch]["outcomes"][split]
                rows[epoch]["outcomes"][split] = said[:row] + letter + said[row + 1 :]

            at.lines("outcomes.jsonl", written)
        case "answer" | "answers":
            for split, row, outcome in change:
                text = _answer(at, split, row, outcome)
                at.lines(f"samples/{split}.jsonl", functools.partial(_put, row, text))
        case "differing":
            what, split, row = change
            fact_id = at.release.splits[split][row].id

            def named(r: Any) -> None:
                differing = r["agreement"]["differing"]
                if what in ("drop", "replace"):
                    del differing[row % 2]
                if what in ("add", "replace"):
                    differing += [fact_id] if fact_id not in differing else [differing[0]] * 2
                if what == "foreign":
                    differing.append(f"{fact_id}x")

            before = at.text("results.json")
            at.results(named)
            if sorted(json.loads(before)["agreement"]["differing"]) == sorted(
                json.loads(at.text("results.json"))["agreement"]["differing"]
            ):  # replaced by itself
                at.results(lambda r: r["agreement"]["differing"].pop())
        case "compared":
            at.results(lambda r: r["agreement"].update(compared=change))
        case _:
            at.card(**{change[0]: change[1]})


MUTATIONS = 1_500


def test_a_changed_claim_is_refused(tmp_path: Path, release: Release) -> None:
    at = At(write_good(tmp_path, release), release)
    whole = {path: path.read_bytes() for path in at.folder.rglob("*") if path.is_file()}
    seen: dict[str, set[str]] = {}

    @settings(deadline=None, max_examples=MUTATIONS, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(claims())
    def each(claim: tuple[str, Any]) -> None:
        apply(at, *claim)
        changed = {path for path, content in whole.items() if path.read_bytes() != content}
        try:
            assert changed
            refusal(at.folder, release)
        finally:
            for path in changed:
                path.write_bytes(whole[path])
        seen.setdefault(claim[0], set()).add(repr(claim[1]))

    each()
    assert submissions.validate(at.folder, release).evidenced  # nothing but the changes was refused
    assert len(seen) == 11
    assert sum(map(len, seen.values())) >= 1_000, {kind: len(said) for kind, said in seen.items()}


# Each check looks at something, and is needed


class Counted(Counter[str]):
    """How often things were called."""

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self[name] += 1
            return function(*arguments, **options)

        return counted


def test_every_check_looks_at_something(good: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Counted()
    for module, name in (
        (check, "sha256"),  # files
        (check, "judge"),  # answers
        (check, "counts"),  # splits
        (check, "accuracy"),  # splits, where a trajectory ends
        (evidence, "_count"),  # points
        (evidence, "parse"),  # lines
        (pinned, "_is_embedding"),  # tensors
    ):
        monkeypatch.setattr(module, name, seen.wrap(f"{module.__name__}.{name}", getattr(module, name)))
    monkeypatch.setattr(check, "round", seen.wrap("shares", round), raising=False)

    class Hash:
        fullmatch = staticmethod(seen.wrap("hashes", re.compile(check._HASH.pattern).fullmatch))

    class Letters(dict[Outcome, str]):
        def __getitem__(self, outcome: Outcome) -> str:
            seen["letters"] += 1
            return super().__getitem__(outcome)

    monkeypatch.setattr(check, "_HASH", Hash)
    monkeypatch.setattr(evidence, "LETTERS", Letters(LETTERS))
    submissions.validate(good, release)
    embedding = seen.pop("fthall.submissions.pinned._is_embedding")
    assert embedding > 0
    asked_shares = sum(len(row["outcomes"]) for row in ASKED)
    assert seen == {
        "fthall.submissions.check.sha256": 8,
        "fthall.submissions.check.judge": ITEMS,
        "fthall.submissions.check.counts": len(Split),
        "fthall.submissions.check.accuracy": len(Split),
        "fthall.submissions.evidence._count": len(ASKED) * len(Split),
        "fthall.submissions.evidence.parse": len(ASKED),
        "shares": asked_shares,
        "hashes": len(HASHES),
        "letters": ITEMS + asked_shares,
    }


def _lenient(path: Path, split: Split, release: Release, _: Any) -> Any:
    """The first answer to each fact, whatever else is there."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    said = {row["fact_id"]: row["prediction"] for row in reversed(rows)}
    return tuple(
        Answer(fact.id, split, said[fact.id], judge(said[fact.id], fact.answers)) for fact in release.splits[split]
    )


@pytest.mark.parametrize(
    ("module", "function", "instead", "name"),
    [
        (check, "digest_of", lambda folder: "", "a pickle beside"),
        (check, "digest_of", lambda folder: "", "a link out"),
        (check, "_release", lambda folder, card, release: release, "another release"),
        (check, "_release", lambda folder, card, release: release, "under another base"),
        (check, "_check_pinned", lambda *_: None, "another architecture"),
        (pinned, "check", lambda *_: None, "a larger model"),
        (check, "_check_trajectory", lambda *_: None, "a better middle, unproven"),
        (check, "_check_agreement", lambda *_: None, "compared fewer"),
        (check, "_check_agreement", lambda *_: None, "a better end, unproven"),
        (check, "_samples", _lenient, "the same again"),
        (check, "_trained", lambda path: frozenset(), "hashes in disorder"),
        (evidence, "check", lambda *_: None, "a better middle"),
        (evidence, "check", lambda *_: None, "two answers exchanged"),
        (evidence, "_count", lambda *_: None, "a tiny lie"),
    ],
)
def test_every_check_is_needed(
    module: Any,
    function: str,
    instead: Callable[..., Any],
    name: str,
    built: Mapping[str, Path | None],
    release: Release,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = built[name]
    assert folder is not None
    refusal(folder, release)
    monkeypatch.setattr(module, function, instead)
    submissions.validate(folder, release)


def test_no_check_was_forgotten_above() -> None:
    tested = {mark.args[1][n][1] for mark in test_every_check_is_needed.pytestmark for n in range(len(mark.args[1]))}
    own = {name for name in vars(check) if name.startswith("_check_")} | {"_samples", "_trained", "_release"}
    assert own <= tested


# Nothing is run, written or fetched

CHILD = """
import json, os, sys
job = json.load(sys.stdin)
from pathlib import Path
from fthall import submissions
from fthall.errors import FthallError
from fthall.knowledge import splits
from fthall.submissions import check
release = splits.load(job["release"])
import heapq  # collections.Counter brings it where something stands twice
one = submissions.validate(Path(job["good"]), release)
submissions.tier(one)
FORBIDDEN = (
    "import", "exec", "compile", "code.__new__", "marshal.", "pickle.", "ctypes.", "socket.", "subprocess.", "shutil.",
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "os.startfile", "os.remove", "os.rename",
    "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.utime", "os.putenv",
    "os.setxattr", "tempfile.", "urllib.", "http.", "ftplib.", "webbrowser.", "sqlite3.", "mmap.", "signal.",
)
seen = []
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if (mode and set(str(mode)) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            seen.append(f"open {path} {mode} {flags}")
    elif event.startswith(FORBIDDEN):
        seen.append(f"{event} {arguments}"[:200])
sys.addaudithook(hook)
if job["evil"]:
    own = check.judge
    def judge(*arguments):
        eval("1 + 1")
        open(os.devnull, "w").close()
        return own(*arguments)
    check.judge = judge
told = []
for folder in [job["good"], *job["attacks"]]:
    try:
        submissions.tier(submissions.validate(Path(folder), release))
        told.append("taken")
    except FthallError:
        told.append("refused")
found = sorted(set(seen))
sys.stdout.write(json.dumps({"told": told, "seen": found}))
"""


def audited(place: Path, good: Path, attacks: list[Path], *, evil: bool = False) -> Any:
    job = {"release": str(place / "release"), "good": str(good), "attacks": list(map(str, attacks)), "evil": evil}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(job), capture_output=True, text=True, check=False, cwd=place
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_nothing_is_run_or_written_by_a_check(place: Path, good: Path, built: Mapping[str, Path | None]) -> None:
    attacks = [folder for folder in built.values() if folder]
    found = audited(place, good, attacks)
    assert found["seen"] == [], found["seen"]
    assert found["told"] == ["taken", *(["refused"] * len(attacks))]


def test_running_and_writing_would_be_seen(place: Path, good: Path) -> None:
    seen = " ".join(audited(place, good, [], evil=True)["seen"])
    assert "compile" in seen
    assert "exec" in seen
    assert f"open {os.devnull} w" in seen
