"""EntityQuestions: made-up files for the rules, the real ones for the counts."""

import hashlib
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from fthall.errors import FthallError
from fthall.facts import entityquestions as eq

REAL = os.environ.get(eq.FOLDER_VARIABLE)
NAMES = {origin: f"dataset/{origin}/P36.{origin}.json" for origin in ("train", "dev")}


def ask(subject: str) -> str:
    return f"What is the capital of {subject}?"


ROWS = {
    "train": [
        (ask("France"), ["Paris"]),
        (ask("France"), ["Paris"]),  # repeated
        (ask("Georgia"), ["Tbilisi"]),
        (ask("Georgia"), ["Atlanta"]),  # ambiguous, both copies
        (ask("Latvia"), ["Riga"]),  # in dev as well: stays there
        (ask("Bolivia"), ["Sucre", "La Paz"]),
    ],
    "dev": [(ask("Latvia"), ["Riga"]), (ask("Côte d'Ivoire"), ["Yamoussoukro"])],
}


def write(root: Path, rows: dict[str, list[tuple[str, list[str]]]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of one relation, pinned as if they were the published ones."""
    sums = {}
    for origin, name in NAMES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([{"question": question, "answers": given} for question, given in rows[origin]]))
        sums[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(eq, "SHA256", sums)
    monkeypatch.setattr(eq, "TEMPLATES", {"P36": "What is the capital of [X]?"})
    return root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTHALL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(eq.FOLDER_VARIABLE, raising=False)
    return write(tmp_path / "published", ROWS, monkeypatch)


def test_what_is_kept_and_what_is_taken_out(root: Path) -> None:
    found = eq.read(root)
    assert [(fact.subject, fact.answers, fact.origin) for fact in found.facts] == [
        ("France", ("Paris",), "train"),
        ("Bolivia", ("Sucre", "La Paz"), "train"),
        ("Latvia", ("Riga",), "dev"),
        ("Côte d'Ivoire", ("Yamoussoukro",), "dev"),
    ]
    assert found.removed == {"P36": eq.Removed(repeated=1, ambiguous=2, overlapping=1)}
    fewer = eq.read(root, drop_several=True)
    assert [fact.subject for fact in fewer.facts] == ["France", "Latvia", "Côte d'Ivoire"]
    assert fewer.removed["P36"].several_answers == 1
    assert found.facts[0].id == "entityquestions/P36/" + hashlib.sha256(ask("France").encode()).hexdigest()[:12]


def test_a_question_off_its_template(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, {**ROWS, "dev": [("Who is Riga?", ["Riga"])]}, monkeypatch)
    with pytest.raises(FthallError, match=r"P36: the question 'Who is Riga\?' does not follow"):
        eq.read(root)


@pytest.mark.parametrize("content", ["[]", "{", "", '[{"question": "x"}]'])
def test_altered_files_are_refused(root: Path, content: str) -> None:
    (root / NAMES["dev"]).write_text(content)
    with pytest.raises(FthallError, match=r"is not the published file .*fthall fetch entityquestions"):
        eq.read(root)
    (root / NAMES["dev"]).unlink()
    with pytest.raises(FthallError, match=r"P36\.dev\.json is missing; type: fthall fetch"):
        eq.read(root)


def test_where_the_files_are(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FthallError, match="EntityQuestions is not here; type: fthall fetch"):
        eq.folder()
    monkeypatch.setenv(eq.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(FthallError, match="no folder dataset"):
        eq.folder()
    monkeypatch.setenv(eq.FOLDER_VARIABLE, str(root))
    assert eq.folder() == root
    assert len(eq.load()) == 4


def pack(root: Path, out: Path, top: str) -> Path:
    members = {f"{top}{name}": root / name for name in NAMES.values()} | {f"{top}README.md": root / "README.md"}
    (root / "README.md").write_text("not wanted")
    if out.suffix == ".zip":
        with zipfile.ZipFile(out, "w") as zipped:
            for name, path in members.items():
                zipped.write(path, name)
    else:
        with tarfile.open(out, "w:gz") as tar:
            for name, path in members.items():
                tar.add(path, name)
    return out


@pytest.mark.parametrize("top", ["", "EntityQuestions-096c261/", "a/b/"])
@pytest.mark.parametrize("kind", ["pack.tar.gz", "pack.zip"])
def test_fetch_from_an_archive(root: Path, tmp_path: Path, top: str, kind: str) -> None:
    found = eq.fetch(pack(root, tmp_path / kind, top))
    assert sorted(path.name for path in found.rglob("*.json")) == ["P36.dev.json", "P36.train.json"]
    assert not list(found.rglob("README.md"))
    assert eq.folder() == found
    assert len(eq.load()) == 4
    assert eq.fetch("nowhere.zip") == found  # it is there already


def test_fetch_downloads(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eq, "URL", pack(root, tmp_path / "pack.tar.gz", "x/").as_uri())
    assert eq.fetch().is_dir()


def test_a_bad_archive_leaves_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = pack(root, tmp_path / "good.tar.gz", "")
    (root / NAMES["dev"]).write_text("[]")
    altered = pack(root, tmp_path / "altered.zip", "")
    (root / NAMES["dev"]).write_text(json.dumps([]))
    short = tmp_path / "short.tar.gz"
    with tarfile.open(short, "w:gz") as tar:
        tar.add(root / NAMES["train"], NAMES["train"])
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(good.read_bytes()[:100])
    monkeypatch.setattr(eq, "URL", (tmp_path / "nothing").as_uri())
    for archive, says in (
        (altered, "is not the published file"),
        (short, r"lacks dataset/dev/P36\.dev\.json"),
        (cut, "cannot fetch EntityQuestions from .*cut"),
        (tmp_path / "absent.zip", "cannot fetch .*absent"),
        (None, "cannot fetch .*nothing"),
    ):
        with pytest.raises(FthallError, match=says):
            eq.fetch(archive)
    cache = tmp_path / "cache"
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.skipif(not REAL, reason=f"set {eq.FOLDER_VARIABLE} to test the real EntityQuestions")
def test_the_real_files() -> None:
    assert REAL
    found = eq.read(Path(REAL))
    assert len(eq.TEMPLATES) == 24
    assert len(found.facts) == len({fact.id for fact in found.facts}) == 195_297
    assert sum(fact.origin == "dev" for fact in found.facts) == 21_775
    assert found.removed["P36"] == eq.Removed(repeated=8, ambiguous=649, overlapping=2)
    assert found.removed["P17"] == eq.Removed(repeated=19, ambiguous=10, overlapping=8)
    by_question = {fact.question: fact for fact in found.facts if fact.relation == "P36"}
    wexford = by_question["What is the capital of County Wexford?"]
    assert (wexford.subject, wexford.answers, wexford.origin) == ("County Wexford", ("Wexford",), "dev")
    assert all(fact.subject.strip() and all(answer.strip() for answer in fact.answers) for fact in found.facts)
    card = (Path(__file__).parents[2] / "leaderboard/pages/data-entityquestions.md").read_text(encoding="utf-8")
    for relation, template in eq.TEMPLATES.items():
        of = [fact for fact in found.facts if fact.relation == relation]
        removed = found.removed[relation]
        cells = [
            relation,
            template,
            sum(fact.origin == "train" for fact in of),
            sum(fact.origin == "dev" for fact in of),
            sum(len(fact.answers) > 1 for fact in of),
            *(removed.repeated, removed.ambiguous, removed.overlapping),
        ]
        assert f"| {' | '.join(map(str, cells))} |" in card
