"""Canaries: commit, keep, reveal; and what a model that has seen the public set shows."""

import hashlib
import json
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fthall.cli import main
from fthall.errors import FthallError
from fthall.facts import canary, synthetic
from fthall.paths import data_dir


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A registry with one canary of 12 facts, and the file of its seed."""
    registry, secret = tmp_path / "canaries.yaml", tmp_path / "seed.txt"
    canary.new("first", registry, secret, keys="name", values="number", size=12, public_seed="0")
    return registry, secret


def test_a_commitment_tells_nothing_and_binds(made: tuple[Path, Path]) -> None:
    registry, secret = made
    seed = secret.read_text().strip()
    one = canary.read(registry).of("first")
    assert seed not in registry.read_text()
    assert one.seed is None
    assert one.sha256 == hashlib.sha256(f"fthall canary\nfirst\n{seed}\n".encode()).hexdigest()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    with pytest.raises(FthallError, match="the seed is not the one of canary first"):
        one.hidden("0" * 64)
    assert one.hidden(seed).seed == seed
    public, hidden = ({f.subject for f in synthetic.generate(spec)} for spec in (one.public(), one.hidden(seed)))
    assert not public & hidden


def test_revealed_anyone_can_check_it(made: tuple[Path, Path], tmp_path: Path) -> None:
    registry, secret = made
    canary.new("second", registry, tmp_path / "other.txt", keys="uuid", values="uuid", size=3, public_seed="0")
    with pytest.raises(FthallError, match="not the one of canary first"):
        canary.reveal("first", registry, tmp_path / "other.txt")
    canary.reveal("first", registry, secret)
    told = canary.read(registry)
    assert told.of("first").seed == secret.read_text().strip()
    assert told.of("first").hidden(str(told.of("first").seed))
    assert told.of("second").seed is None


def test_who_has_seen_the_public_set_shows_it() -> None:
    public, hidden = (list(synthetic.generate(synthetic.Spec(values="number", size=20, seed=s))) for s in "01")
    seen = canary.leak(
        [(f, f.answers[0]) for f in public[:6]] + [(f, "7") for f in public[6:]], [(f, "7") for f in hidden]
    )
    assert (seen.public, seen.hidden, seen.of_public, seen.of_hidden) == (6, 0, 20, 20)
    # Of 40 facts 6 are right: that all are among the first 20 has the chance C(20, 6) / C(40, 6).
    assert seen.p_value == pytest.approx(38760 / 3838380)
    assert not seen.seen
    assert canary.leak([(f, f.answers[0]) for f in public], [(f, "7") for f in hidden]).seen
    both = canary.leak([(f, f.answers[0]) for f in public], [(f, f.answers[0]) for f in hidden])
    assert not both.seen, "who knows the hidden ones as well has not learned the public ones by heart"
    with pytest.raises(ValueError, match="both sets need facts"):
        canary.leak([], [(hidden[0], "")])


@given(st.integers(0, 15), st.integers(0, 15))
def test_as_many_hidden_ones_are_never_held_against_a_model(right: int, more: int) -> None:
    facts = list(synthetic.generate(synthetic.Spec(values="number", size=30)))
    answered = [
        [(f, f.answers[0] if n < count else "") for n, f in enumerate(facts)] for count in (right, right + more)
    ]
    assert not canary.leak(answered[0], answered[1]).seen


def test_the_command(made: tuple[Path, Path], tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry, secret = made
    asked = ["canary", "ask", "first", "--model", str(tiny_base), "--registry", str(registry)]
    assert main(asked) == 2
    assert "the seed of canary first is not revealed yet" in capsys.readouterr().err
    assert main([*asked, "--seed-file", str(secret), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["public"], told["hidden"], told["of_hidden"], told["p_value"], told["seen"]) == (0, 0, 12, 1.0, False)
    assert main(["canary", "reveal", "first", "--seed-file", str(secret), "--registry", str(registry)]) == 0
    assert main(asked) == 0
    assert "right: 0 of 12 public facts, 0 of 12 hidden ones" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("first", "number", "canary first is committed already"),
        ("no spaces", "number", "name"),
        ("next", "colour", "values 'colour'; known"),
    ],
)
def test_what_cannot_be_committed(made: tuple[Path, Path], name: str, values: str, told: str, capsys) -> None:
    registry, secret = made
    before, other = registry.read_text(), secret.with_name("other.txt")
    given = ["canary", "new", name, "--values", values, "--registry", str(registry), "--seed-file"]
    assert main([*given, str(other)]) == 2
    assert told in capsys.readouterr().err
    assert registry.read_text() == before
    assert not other.exists()
    assert main([*given, str(secret)]) == 2
    assert "never written over" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("canaries: 3", "canaries"),
        ("schema: 2\ncanaries: []", "schema"),
        ("schema: 1\ncanaries: [{name: x, sha256: abc}]", "sha256"),
        ("schema: 1\ncanaries: [{name: x, sha256: " + "a" * 64 + ", size: 10000000}]", "size"),
        ("schema: 1\ncanaries: [{name: x, sha256: " + "a" * 64 + ", more: 1}]", "more"),
    ],
)
def test_registries_from_strangers(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "canaries.yaml").write_text(content)
    with pytest.raises(FthallError, match=told):
        canary.read(tmp_path / "canaries.yaml")


@pytest.mark.parametrize(("content", "told"), [(None, "cannot be read"), ("secret", "holds no seed")])
def test_files_that_hold_no_seed(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "seed.txt").write_text(content)
    with pytest.raises(FthallError, match=told):
        canary.read_seed(tmp_path / "seed.txt")


def test_the_shipped_registry_reads_and_knows_no_unknown_name() -> None:
    shipped = canary.read(data_dir("tasks") / "canaries.yaml")
    assert yaml.safe_load((data_dir("tasks") / "canaries.yaml").read_text())["schema"] == canary.SCHEMA
    with pytest.raises(FthallError, match="no canary 'nothing'"):
        shipped.of("nothing")
