"""Tables of any kind as rows: CSV, TSV, JSONL, a JSON list, Parquet, Arrow. Read piece by piece, as often as needed.

rows = open_rows(Path("tests.csv"))
for number, row in rows: ...            # the line that a row begins on, and its cells as JSON values
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import read_json
from workbench.formats.base import Loss, cell_value, check_readable, csv_rows, json_lines, where
from workbench.formats.shared.files import head_of
from workbench.formats.shared.names import known_name
from workbench.scorers.values import number

Row = dict[str, Any]
Numbered = Iterator[tuple[int, Row]]

_HEAD = 65536  # bytes of a file that are looked at to find out what it is
_PEEKED_ROWS = 100
_BATCH = 1000
_LONG_NAME = 40  # characters; and
_WORDS = 5  # that make a sentence, not a name
_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **{".json": "json", ".arrow": "arrow"},
}
_LISTS = ("data", "rows", "items", "examples", "records", "samples", "goldens", "test_cases")
_DATED = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


@dataclass
class Rows:
    """A table that can be read again and again.

    Attributes:
        source: the file.
        unit: what stands between the file's name and a row's number in messages.
        text_only: its cells are all text, as in CSV.
        sparse: its objects have every key of the column, null where there is none, as in Parquet.
        notes: what was guessed to read it.
        losses: what of the file is no row.
        odd: by column, what the last row held that JSON cannot hold.
    """

    source: Path
    each: Callable[[], Numbered]
    unit: str = ":"
    text_only: bool = False
    sparse: bool = False
    notes: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    odd: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Numbered:
        for line, row in self.each():
            self.odd = {}
            try:
                yield line, {str(name): self._plain(str(name), value) for name, value in row.items()}
            except RecursionError:
                raise InputError(f"{self.place(line)}: nested too deep.") from None
            except UnicodeEncodeError:
                raise InputError(
                    f"{self.place(line)}: half a character (a lone surrogate), which no file can hold."
                ) from None

    def place(self, line: int) -> str:
        """A row as messages name it."""
        return f"{self._file}{self.unit}{line}"

    @cached_property
    def _file(self) -> str:
        return where(self.source)  # once: it looks at the disk

    def _plain(self, column: str, value: Any) -> Any:
        """A value as JSON can hold it; what it cannot hold is noted in `odd`."""
        if isinstance(value, str):
            value.encode()
            return value
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return self._finite(column, value)
        if isinstance(value, dict):
            return {_text(key): self._plain(column, inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(column, inner) for inner in value]
        if isinstance(value, date | datetime | time):
            return value.isoformat()
        if isinstance(value, Decimal):
            return float(value) if Decimal(str(float(value))) == value else str(value)
        if isinstance(value, bytes):
            self.odd[column] = "binary data (an image?)"
            return None
        return str(value)

    def _finite(self, column: str, value: float) -> float | None:
        if math.isinf(value):
            self.odd[column] = "a number that is not finite"
        return value if math.isfinite(value) else None  # NaN is how tables write a missing number


def _text(key: Any) -> str:
    str(key).encode()
    return str(key)


def kind_of(source: Path) -> str | None:
    """csv, jsonl, json, parquet or arrow: by a file's name, else by its beginning; None where neither tells."""
    kind = _KINDS.get(source.suffix.lower())
    head = head_of(source, _HEAD)
    if kind in ("json", None) and head.lstrip()[:1] == b"{":
        first, _, rest = head.strip().partition(b"\n")
        # Many a .json is JSONL: its first line is whole by itself, and more lines follow.
        return "jsonl" if _is_json(first) and (rest.strip() or kind is None) else "json"
    if kind is None:
        return "parquet" if head[:4] == b"PAR1" else "json" if head.lstrip()[:1] == b"[" else None
    return kind


def open_rows(source: Path) -> Rows:
    """A file as a table.

    Raises:
        InputError: it is none, or broken; what stands further on is found when it is read.
    """
    check_readable(source)
    if source.is_dir():
        raise InputError(f"{where(source)}: a folder, not a table. Name a file, or say --format huggingface.")
    kind = kind_of(source) or "csv"
    if kind == "csv":
        return _open_csv(source)
    if kind == "json":
        return _open_json(source)
    if kind == "jsonl":
        return Rows(source, lambda: json_lines(source))
    return Rows(source, lambda: _columnar(source, kind), unit=" row ", sparse=True)


def first_row(source: Path) -> Row | None:
    """The first row of a file, from its first few KB; None where there is none, or it is broken."""
    kind = kind_of(source)
    head = head_of(source, _HEAD).decode("utf-8-sig", errors="replace")
    try:
        if kind == "jsonl":
            found: Any = json.loads(next(line for line in head.splitlines() if line.strip()))
        elif kind == "json":
            found, _ = json.JSONDecoder().raw_decode(head.lstrip(" \t\r\n["))
        elif kind == "csv":
            found = {name: cell_value(cell) for name, cell in next(iter(_open_csv(source)))[1].items()}
        elif kind is not None:
            found = next(iter(_columnar(source, kind)))[1]
        else:
            return None
    except (StopIteration, ValueError, RecursionError, InputError):
        return None
    return found if isinstance(found, dict) else None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _open_csv(source: Path) -> Rows:
    start = []
    for _, row in csv_rows(source, header=False):
        start.append(list(row.values()))
        if len(start) > _PEEKED_ROWS:
            break
    rows = Rows(source, lambda: csv_rows(source), text_only=True)
    if start and not _is_header(start[0], start[1:]):
        rows.each = lambda: csv_rows(source, header=False)
        names = ", ".join(f"column_{place + 1}" for place in range(len(start[0])))
        rows.notes.append(f"the first line looks like data, so the columns have no names; they are called {names}")
    return rows


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Whether a CSV's first row names the columns; data that follow look like it where it is data itself."""
    if any(known_name(name) for name in first):
        return True
    for place, cell in enumerate(first):
        column = [row[place] for row in rest if place < len(row) and row[place].strip()]
        if cell.strip() and (cell in column or _alike(cell, column)):
            return False
    return True


def _alike(cell: str, column: list[str]) -> bool:
    """Whether a cell is a number, a sentence or JSON, which no column is called, and so is most of what follows it."""
    for kind in (_is_number, _is_sentence, _is_container):
        if kind(cell):
            return not column or sum(map(kind, column)) > len(column) / 2
    return False


def _is_number(cell: str) -> bool:
    text = cell.strip().lstrip("+-−$€£")
    return _DATED.fullmatch(text) is not None or (text[:1].isdigit() and number(text) is not None)


def _is_sentence(cell: str) -> bool:
    text = cell.strip()
    return len(text) > _LONG_NAME or len(text.split()) >= _WORDS or (" " in text and text[-1] in ".?!")


def _is_container(cell: str) -> bool:
    return isinstance(cell_value(cell), dict | list)


def _open_json(source: Path) -> Rows:
    data = read_json(source)
    rows = Rows(source, lambda: iter(()), unit=" item ")
    if isinstance(data, dict):
        name = next((name for name in _LISTS if isinstance(data.get(name), list)), None)
        if name is None:
            raise InputError(
                f"{where(source)}: one JSON object, not a list of rows. Wrap rows in [ … ], or write each on a line."
            )
        rows.notes.append(f"the rows are those of the list '{name}'")
        rows.losses += [Loss(f"{where(source)} key {key[:60]}", "not used") for key in data if key != name]
        data = data[name]
    if not isinstance(data, list):
        raise InputError(f"{where(source)}: must be a list of JSON objects, one a row.")
    wrong = next((place for place, row in enumerate(data, 1) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise InputError(f"{where(source)} item {wrong}: must be a JSON object: column names and values.")
    rows.each = lambda: iter(enumerate(data, 1))
    return rows


def _columnar(source: Path, kind: str) -> Numbered:
    import pyarrow as pa

    line = 0
    try:
        for batch in _parquet_batches(source) if kind == "parquet" else _arrow_batches(source):
            for row in batch.to_pylist():
                line += 1
                yield line, row
    except (pa.ArrowException, OSError, ValueError) as failure:
        about = str(failure).splitlines()[0][:100] if str(failure) else type(failure).__name__
        raise InputError(f"{where(source)}: not a readable {kind.capitalize()} file ({about}).") from None


def _parquet_batches(source: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(batch_size=_BATCH, row_groups=[group])


def _arrow_batches(source: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.memory_map(str(source)) as file:
        try:
            stream = pa.ipc.open_stream(file)  # what datasets writes
        except pa.ArrowInvalid:
            whole = pa.ipc.open_file(file)
            for index in range(whole.num_record_batches):
                yield whole.get_batch(index)
            return
        yield from stream


def file_metadata(source: Path) -> dict[bytes, bytes]:
    """The metadata of a Parquet or Arrow file's schema; empty where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if kind_of(source) == "parquet":
            return dict(pq.read_schema(source).metadata or {})
        with pa.memory_map(str(source)) as file:
            return dict(pa.ipc.open_stream(file).schema.metadata or {})
    except (pa.ArrowException, OSError, ValueError):
        return {}
