"""Tables of rows in the formats people have: read row by row, written whole or not at all."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from fthall.errors import FthallError, one_line
from fthall.files import atomic

Row = dict[str, Any]
JSON_LINES, SEPARATED, ARROW = (".jsonl", ".ndjson"), (".csv", ".tsv"), (".parquet", ".arrow")
FORMATS = (*JSON_LINES, ".json", *SEPARATED, *ARROW)
_DELIMITERS = ",;\t|"
_TOGETHER = 10_000
"""Rows that Arrow is given at once."""
_BETWEEN = re.compile(r"[\s,]*")
_PIECE = 1 << 20
"""Characters of a JSON array read at once."""


def rows(source: str, split: str = "train") -> Iterator[Row]:
    """The rows of a file, of a folder that ``datasets`` saved, or of a dataset on the Hugging Face hub.

    They are read as they are asked for; memory does not grow with them.

    Raises:
        FthallError: no such file or dataset, another format, or what cannot be read as what it is called.
    """
    path = Path(source)
    if path.is_dir() or not (path.suffix in FORMATS or path.exists() or source.startswith((".", "/", "~"))):
        yield from _dataset(source, split)
        return
    check_format(path)
    if not path.is_file():
        raise FthallError(f"no file {path}")
    try:
        yield from _READERS[path.suffix](path)
    except (OSError, ValueError, csv.Error) as error:  # Arrow's own errors are ValueErrors
        if isinstance(error, UnicodeDecodeError):
            raise FthallError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
        raise FthallError(f"{path} is not readable as {path.suffix[1:]}: {one_line(error)[:120]}") from None


def write(given: Iterable[Mapping[str, Any]], path: Path, like: str = "") -> None:
    """Write rows, in the format of the file's suffix, whole or not at all.

    Args:
        given: rows with the same columns, or some of them.
        path: of the file.
        like: a CSV file whose delimiter is kept.

    Raises:
        FthallError: another format, rows that it cannot hold, or the file cannot be written.
    """
    check_format(path)
    with atomic(path) as temporary:
        if path.suffix in ARROW:
            _write_arrow(given, temporary)
            return
        with temporary.open("w", encoding="utf-8", newline="") as file:
            if path.suffix in SEPARATED:
                _write_separated(given, file, _delimiter_of(path, Path(like)))
            elif path.suffix == ".json":
                file.write("[")
                for number, row in enumerate(given):
                    file.write(f"{',' if number else ''}\n {_dumped(row)}")
                file.write("\n]\n")
            else:
                file.writelines(f"{_dumped(row)}\n" for row in given)


def check_format(path: Path) -> None:
    """Refuse a file of a format that is none of :data:`FORMATS`.

    Raises:
        FthallError: it is none.
    """
    if path.suffix not in FORMATS:
        raise FthallError(f"{path}: facts are read and written as {', '.join(FORMATS)}, not {path.suffix or 'this'!r}")


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield _object(json.loads(line), f"line {number}")
            except (ValueError, RecursionError) as error:
                raise FthallError(f"{path}, line {number}: not JSON ({error})") from None


def _json(path: Path) -> Iterator[Row]:
    """An array of objects; or objects one a line, which are called .json, too."""
    with path.open(encoding="utf-8-sig") as file:
        start = file.read(_PIECE).lstrip()
        if start[:1] != "[":
            yield from _json_lines(path)
            return
        decoder, text, at, number = json.JSONDecoder(), start, 1, 0
        while True:
            at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if text[at : at + 1] == "]":
                return
            try:
                found, end = decoder.raw_decode(text, at)
            except ValueError as error:
                if not (more := file.read(max(_PIECE, len(text) - at))):
                    raise FthallError(f"{path}, row {number + 1}: not JSON ({error})") from None
                text, at = text[at:] + more, 0
                continue
            at, number = end, number + 1
            yield _object(found, f"row {number}")


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no object but {type(value).__name__}")
    return value


def _separated(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = _delimiter(file.readline(), path)
        file.seek(0)
        for row in csv.DictReader(file, delimiter=delimiter, strict=True):
            if None in row:
                raise ValueError(f"a row has more cells than the header: {next(iter(row.values()))!r}")
            yield {name: "" if value is None else value for name, value in row.items()}


def _delimiter(header: str, path: Path) -> str:
    """The one that stands most often in the header; quotes do not count."""
    bare = "".join(header.split('"')[::2])
    most = max(_DELIMITERS, key=bare.count)
    return most if bare.count(most) else ("\t" if path.suffix == ".tsv" else ",")


def _delimiter_of(path: Path, like: Path) -> str:
    if like.suffix == path.suffix and like.is_file():
        with like.open(encoding="utf-8-sig", newline="") as file:
            return _delimiter(file.readline(), like)
    return "\t" if path.suffix == ".tsv" else ","


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(_TOGETHER):
        yield from batch.to_pylist()


def _arrow(path: Path) -> Iterator[Row]:
    """A stream, as ``datasets`` keeps them, or a file, as Arrow calls its other form."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as mapped:
        try:
            batches: Iterable[Any] = pa.ipc.open_stream(mapped)
        except pa.ArrowInvalid:
            file = pa.ipc.open_file(mapped)
            batches = (file.get_batch(number) for number in range(file.num_record_batches))
        for batch in batches:
            for start in range(0, batch.num_rows, _TOGETHER):
                yield from batch.slice(start, _TOGETHER).to_pylist()


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    **dict.fromkeys(JSON_LINES, _json_lines),
    ".json": _json,
    **dict.fromkeys(SEPARATED, _separated),
    ".parquet": _parquet,
    ".arrow": _arrow,
}


def _dataset(source: str, split: str) -> Iterator[Row]:
    """Of a folder, or an id, with ``:`` and a configuration if it has several."""
    import datasets

    try:
        if Path(source).is_dir() and any(
            (Path(source) / name).is_file() for name in ("state.json", "dataset_dict.json")
        ):
            found: Any = datasets.load_from_disk(source)
            found = found[split] if isinstance(found, datasets.DatasetDict) else found
        else:
            name, _, configuration = source.partition(":")
            found = datasets.load_dataset(name, configuration or None, split=split)
    except KeyError:
        raise FthallError(f"{source} has no split {split!r}; its splits: {', '.join(found)}") from None
    except Exception as error:  # the hub's and the builders' errors are of many kinds
        raise FthallError(
            f"{source} is no file here (read: {', '.join(FORMATS)}) and no dataset that can be loaded: "
            f"{one_line(error)[:160]}"
        ) from None
    yield from found


def _dumped(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)


def _columns(given: Iterable[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """(rows, names of all their columns): a table wants to know them before its first row."""
    listed = list(given)
    return listed, list(dict.fromkeys(name for row in listed for name in row))


def _write_separated(given: Iterable[Mapping[str, Any]], file: IO[str], delimiter: str) -> None:
    listed, columns = _columns(given)
    writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in listed)


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _write_arrow(given: Iterable[Mapping[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed, columns = _columns(given)
    try:
        table = pa.table({name: [row.get(name) for row in listed] for name in columns})
    except pa.ArrowException as error:
        raise FthallError(f"rows do not fit one table ({one_line(error)[:100]}); write .jsonl instead") from None
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    path.write_bytes(sink.getvalue())
