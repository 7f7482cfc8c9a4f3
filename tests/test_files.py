"""Files: whole or absent, and one clear line where they cannot be read."""

import hashlib
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fthall.errors import FthallError
from fthall.files import atomic, read_json, read_jsonl, sha256, write_json, write_jsonl, write_text


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = b"abc" * 700_000  # more than one chunk
    (tmp_path / "f").write_bytes(content)
    assert sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_atomic_writes_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("x")
        assert not path.exists()
    assert path.read_text() == "x"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_leaves_nothing_new_behind(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FthallError, match="No space left on device; free space") as caught, atomic(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FthallError, match="cannot write in"):
        write_text(tmp_path / "file" / "a", "x")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_refused_and_nothing_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_jsonl(tmp_path / "a.jsonl", [{"x": value}])
    assert list(tmp_path.iterdir()) == []


def test_exact_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": [1]})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "é": [\n    1\n  ]\n}\n'.encode()
    write_jsonl(tmp_path / "a.jsonl", [{"é": 1}, {"b": "c d"}])
    assert (tmp_path / "a.jsonl").read_bytes() == '{"é":1}\n{"b":"c d"}\n'.encode()


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.none()), max_size=4))
def test_json_lines_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    write_jsonl(path, rows)
    assert read_jsonl(path) == rows


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1c", "\r", "\n"])
def test_line_separators_inside_strings_come_back(tmp_path: Path, separator: str) -> None:
    rows = [{"prediction": f"a{separator}b"}, {"prediction": "c"}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert read_jsonl(tmp_path / "a.jsonl") == rows


DEEP = b"[" * 100_000


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}", DEEP, b"1" * 5000])
def test_unreadable_json_is_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(FthallError, match=r"bad\.json") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'{"a": 1}\n{', "line 2"),
        (b'{"a": 1}\n\n{"a": 1}\n', "line 2"),
        (b"[1]\n", "line 1: expected a JSON object, found list"),
        (b'{"a": 1}\n' + DEEP, "line 2"),
        (b"\xff", "bad.jsonl"),
    ],
)
def test_unreadable_json_lines_name_file_and_line(tmp_path: Path, content: bytes, where: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(FthallError) as caught:
        read_jsonl(path)
    assert "bad.jsonl" in str(caught.value)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_missing_file_and_folder(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(FthallError, match=r"no file .*gone"):
        read(tmp_path / "gone")
    with pytest.raises(FthallError, match="Is a directory"):
        read(tmp_path)


def test_empty_json_lines_file_has_no_rows(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [])
    assert read_jsonl(tmp_path / "a.jsonl") == []
