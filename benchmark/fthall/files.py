"""Reading and writing files: hashes, and writes that are whole or absent."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fthall.errors import FthallError


def sha256(path: Path | str) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a thousand submissions are 7,000 files
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its name on success and vanishes on failure.

    Raises:
        FthallError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise FthallError(
            f"cannot write in {path.parent}: {error.strerror}; free space or choose another folder"
        ) from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise FthallError(f"cannot write {path}: {error.strerror}; free space or choose another folder") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with a final line break, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    write_text(
        path,
        "".join(json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n" for row in rows),
    )


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields; JSON would take the last of a name, and a reader the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{json.dumps(twice)[:80]} stands twice in one object")
    return found


_LINES = json.JSONDecoder(object_pairs_hook=each_once)
"""Made once: making one takes as long as reading a line with it."""


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        FthallError: missing, not JSON, or a name stands twice in an object; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=each_once)
    except FileNotFoundError:
        raise FthallError(f"no file {path}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise FthallError(f"{path} is not readable JSON: {error}") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text, as JSON Lines has them.

    Raises:
        FthallError: missing, or not UTF-8; the message names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FthallError(f"no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FthallError(f"cannot read {path}: {error}") from None
    # Not splitlines(): it also breaks at U+2028 and others, which JSON strings may hold.
    return text.removesuffix("\n").split("\n") if text else []


def json_object(line: str, where: str) -> dict[str, Any]:
    """A line that is a JSON object.

    Args:
        line: without its end.
        where: it stands, for the message.

    Raises:
        FthallError: it is none.
    """
    try:
        row = _LINES.decode(line)
    except (ValueError, RecursionError) as error:
        raise FthallError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise FthallError(f"{where}: expected a JSON object, found {type(row).__name__}")
    return row


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line.

    Raises:
        FthallError: missing, or a line is not a JSON object; the message names the file and line.
    """
    return [json_object(line, f"{path}, line {number}") for number, line in enumerate(read_lines(path), 1)]
