"""Tables of any kind as rows: CSV, TSV, JSONL, a JSON or YAML list, Parquet, Arrow; piece by piece, again and again.

rows = open_rows(Path("tests.csv"), found)
for line, row in rows.read(found.ledger): ...      # the line that a row begins on, and its cells as JSON values
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import read_json, read_jsonl
from workbench.formats.base import Found, check_readable, where
from workbench.formats.shared.cells import cell_value, csv_rows, headless, unnamed
from workbench.formats.shared.files import head_of
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.structured import read_structured

Row = dict[str, Any]
Numbered = Iterator[tuple[int, Row]]

_HEAD = 65536  # bytes of a file that are looked at to find out what it is
_BATCH = 1000
_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **{".json": "json", ".arrow": "arrow", ".yaml": "yaml", ".yml": "yaml"},
}
_YAML_LIST = re.compile(rb"(?:[ \t]*(?:#.*|---.*)?\r?\n)*\s*-\s+[\w$]+\s*:")  # whatever the file is called
_LISTS = ("data", "rows", "items", "examples", "records", "samples", "goldens", "test_cases")


@dataclass
class Rows:
    """A table that can be read again and again.

    Attributes:
        source: the file.
        each: makes its rows anew.
        unit: what stands between the file's name and a row's number in messages.
        text_only: its cells are all text, as in CSV; None where a row ends before its last column.
        sparse: its objects have every key of the column, null where there is none, as in Parquet.
    """

    source: Path
    each: Callable[[], Numbered]
    unit: str = ":"
    text_only: bool = False
    sparse: bool = False

    def __iter__(self) -> Numbered:
        return self.read(Ledger())

    def read(self, ledger: Ledger) -> Numbered:
        """The rows, one by one, and what of them JSON cannot hold."""
        for line, row in self.each():
            try:
                plain = {str(name): self._plain(value) for name, value in row.items()}
            except RecursionError:
                raise InputError(f"{self.place(line)}: nested too deep.") from None
            except UnicodeEncodeError:
                what = "half a character (a lone surrogate), which no file can hold."
                raise InputError(f"{self.place(line)}: {what}") from None
            if self.text_only and None in plain.values():
                ledger.tally(self.place(line), "fewer cells than columns: those that are missing count as empty")
            for name, value in row.items() if self.sparse else ():  # only such files hold more than JSON can
                if odd := _odd(value):
                    ledger.tally(self.place(line), f"column '{str(name)[:60]}': {odd}, left out")
            yield line, plain

    def place(self, line: int) -> str:
        """A row as messages name it."""
        return f"{self._file}{self.unit}{line}"

    @cached_property
    def _file(self) -> str:
        return where(self.source)  # once: it looks at the disk

    def _plain(self, value: Any) -> Any:
        """A value as JSON can hold it."""
        if isinstance(value, str):
            value.encode()
            return value
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else None  # NaN is how tables write a missing number
        if isinstance(value, dict):
            return {self._plain(str(key)): self._plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(inner) for inner in value]
        if isinstance(value, date | datetime | time):
            return value.isoformat()
        if isinstance(value, Decimal):
            return float(value) if Decimal(str(float(value))) == value else str(value)
        return None if isinstance(value, bytes) else str(value)


def _odd(value: Any) -> str | None:
    """What of a value JSON cannot hold."""
    if isinstance(value, bytes):
        return "binary data (an image?)"
    if isinstance(value, float) and math.isinf(value):
        return "a number that is not finite"
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((odd for each in inner if (odd := _odd(each))), None)


def kind_of(source: Path) -> str | None:
    """csv, jsonl, json, yaml, parquet or arrow: by a file's name, else by its beginning; None where neither tells."""
    kind = _KINDS.get(source.suffix.lower())
    head = head_of(source, _HEAD)
    if kind in ("jsonl", "csv", None) and _YAML_LIST.match(head):
        return "yaml"
    if kind in ("jsonl", "csv") and re.match(rb"\s*\[\s*\{", head):
        return "json"
    if kind in ("json", None) and head.lstrip()[:1] == b"{":
        first, _, rest = head.strip().partition(b"\n")
        # Many a .json is JSONL: its first line is whole by itself, and more lines follow.
        return "jsonl" if _is_json(first) and (rest.strip() or kind is None) else "json"
    if kind is None:
        return "parquet" if head[:4] == b"PAR1" else "json" if head.lstrip()[:1] == b"[" else None
    return kind


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def json_lines(source: Path) -> Numbered:
    """The objects of a JSONL file with their line numbers, one by one; passes over a byte order mark and blank lines.

    Raises:
        InputError: a line is not a JSON object, or longer than the limit.
    """
    for document in read_jsonl(source):
        yield document.line(()), document.data


def open_rows(source: Path, found: Found, *, header: bool = False) -> Rows:
    """A file as a table.

    Args:
        found: takes what was guessed to read it, and what of the file is no row.
        header: the first line of a CSV names the columns, whatever it looks like.

    Raises:
        InputError: it is none, or broken; what stands further on is found when it is read.
    """
    check_readable(source)
    if source.is_dir():
        raise InputError(f"{where(source)}: a folder, not a table. Name a file, or say --format huggingface.")
    kind = kind_of(source) or "csv"
    if kind == "csv":
        columns = 0 if header else headless(source)
        if columns:
            names = ", ".join(unnamed(columns))
            found.notes.append(f"the first line looks like data, so the columns have no names; they are called {names}")
        return Rows(source, lambda: csv_rows(source, header=not columns), text_only=True)
    if kind == "json":
        data = _json_list(source, found)
        return Rows(source, lambda: iter(enumerate(data, 1)), unit=" item ")
    if kind == "yaml":
        document = read_structured(source)
        _check_objects(document.data, source)
        return Rows(source, lambda: ((document.line((n,)), row) for n, row in enumerate(document.data)))
    if kind == "jsonl":
        return Rows(source, lambda: json_lines(source))
    return Rows(source, lambda: _columnar(source, kind), unit=" row ", sparse=True)


def first_row(source: Path) -> Row | None:
    """The first row of a file; None where there is none, or it is broken, or the file is not UTF-8."""
    kind = kind_of(source)
    try:
        if kind == "json":
            head = head_of(source, _HEAD).decode("utf-8-sig", errors="replace")
            row, _ = json.JSONDecoder().raw_decode(head.lstrip(" \t\r\n["))
        elif kind in ("yaml", None):
            return None
        else:
            row = next(iter(open_rows(source, Found())))[1]
    except (StopIteration, ValueError, RecursionError, InputError):
        return None
    if kind == "csv":
        return {name: cell_value(cell) for name, cell in row.items()}
    return row if isinstance(row, dict) else None


def _json_list(source: Path, found: Found) -> list[Row]:
    data = read_json(source)
    if isinstance(data, dict):
        name = next((name for name in _LISTS if isinstance(data.get(name), list)), None)
        if name is None:
            what = "one JSON object, not a list of rows. Wrap rows in [ … ], or write each on a line."
            raise InputError(f"{where(source)}: {what}")
        found.notes.append(f"the rows are those of the list '{name}'")
        for key in data:
            if key != name:
                found.ledger.add(f"{where(source)} key {key[:60]}", "not used")
        data = data[name]
    _check_objects(data, source)
    rows: list[Row] = data
    return rows


def _check_objects(data: Any, source: Path) -> None:
    if not isinstance(data, list):
        raise InputError(f"{where(source)}: must be a list of JSON objects, one a row.")
    wrong = next((place for place, row in enumerate(data, 1) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise InputError(f"{where(source)} item {wrong}: must be a JSON object: column names and values.")


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
            yield from (whole.get_batch(index) for index in range(whole.num_record_batches))
        else:
            yield from stream
