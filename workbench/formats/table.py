"""Plain tables: CSV, TSV, JSONL, JSON list, Parquet, by a mapping of columns or a guess; also deepeval's and ragas'.

import_evalset("tests.csv", "evalsets/mine", options=Options(mapping={"inputs.text": "question", "id": "qid"}))
export_evalset(evalset, "table", "items.csv")        # or .tsv, .jsonl, .json, .parquet: what an item is, a row
"""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import write_atomic, write_lines
from workbench.formats.base import FORMATS, LINE_LIMIT, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import cell_text, cell_value, csv_lines
from workbench.formats.shared.export import JSON_TEXT, file_mode, item_rows, note_json_texts, write_objects
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.names import CLUSTERS, IDS, METADATA, normal
from workbench.formats.shared.rows import Numbered, Rows, first_row, kind_of, open_rows
from workbench.formats.shared.tables import read_tables
from workbench.formats.shared.values import reads_as_number

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_CHAT, _ANSWER = "messages", "completion"
_BESIDE_CHATS = {
    *IDS,
    *CLUSTERS,
    *METADATA,
    "tools",
    "functions",
    "parallel_tool_calls",
    "sensitivity",
    "split",
    "source",
}
_PEEKED = 100  # rows
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_GROUPS = ("inputs", "expectations", "slice")
_ORDER = ("id", "inputs.", "expectations.", "slice.", "cluster", "sensitivity", "split")


class Table(Format):
    """A table, with columns of any name."""

    name = "table"
    about = "a table: CSV, TSV, JSONL, JSON list or Parquet"
    mapped = True
    written = ("a table is", ".jsonl", ".json", ".csv", ".tsv", ".parquet")

    def sniff(self, source: Path) -> float:
        if not source.is_file() or kind_of(source) in (None, "arrow", "yaml"):
            return 0.0
        return 0.3 if first_row(source) else 0.1  # whatever is more special goes before

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        found = Found()
        return read_tables([(_answered(open_rows(source, found), options, found), None)], options, sink, found)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        suffix = target.suffix.lower()
        if suffix in _DELIMITERS:
            _write_csv(evalset, target, _DELIMITERS[suffix], ledger)
            return
        note_json_texts(evalset, ledger)
        if suffix == ".parquet":
            _write_parquet(evalset, target, ledger)
        else:
            write_objects(evalset, target, item_rows(evalset))


FORMATS.add("table", Table())


def _answered(rows: Rows, options: Options, found: Found) -> Rows:
    """Rows of chats as a model is tuned on them: the assistant's last turn is the answer, in a column of its own.

    Beside another column that may hold what is expected, such as a verdict on the chat, that turn is part of it.
    """
    first = [row for _, row in itertools.islice(rows, _PEEKED)]
    others = {normal(name) for row in first for name in row} - {_CHAT, *_BESIDE_CHATS}
    if options.mapping or others or not first or not _ends(first[0].get(_CHAT)):
        return rows
    found.notes.append(f"the last turn of each chat in '{_CHAT}' is the expected answer, as the assistant gave it")

    def each() -> Numbered:
        for line, row in rows.each():
            turns = cell_value(row.get(_CHAT))
            yield line, {**row, _CHAT: turns[:-1], _ANSWER: turns[-1]["content"]} if _ends(turns) else row

    return replace(rows, each=each)


def _ends(turns: Any) -> bool:
    """Whether a chat's last turn, but not its only one, is a text of the assistant."""
    turns = cell_value(turns)
    last = turns[-1] if isinstance(turns, list) and len(turns) > 1 else None
    return isinstance(last, dict) and last.get("role") == "assistant" and isinstance(last.get("content"), str)


def _write_csv(evalset: EvalSet, target: Path, delimiter: str, ledger: Ledger) -> None:
    """Items as a CSV whose columns are places; what a cell cannot tell apart is a loss."""
    columns: dict[str, None] = {}
    for item in item_rows(evalset):
        place = f"{where(evalset.path / 'items.jsonl')} {item['id']}"
        for column, value in _flat(item).items():
            columns[column] = None
            if isinstance(value, str) and len(value) > LINE_LIMIT:
                raise InputError(f"{place}: too long for a cell. Write .jsonl.")
            if problem := _unlike_cell(value, column):
                ledger.tally(f"{place} {column}", problem)
    names = sorted(columns, key=lambda name: next(n for n, start in enumerate(_ORDER) if name.startswith(start)))
    rows = ([cell_text(_flat(item).get(name)) for name in names] for item in item_rows(evalset))
    write_lines(target, csv_lines(itertools.chain([names], rows), delimiter), file_mode(evalset))


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    """An item by places: id, inputs.NAME, …."""
    flat = {key: value for key, value in item.items() if not isinstance(value, dict)}
    for group in _GROUPS:
        flat |= {f"{group}.{name}": value for name, value in item.get(group, {}).items()}
    return flat


def _unlike_cell(value: Any, column: str) -> str | None:
    """How a value is changed by being written into a cell; None where it is not."""
    if value is None:
        return "null is an empty cell"
    if not isinstance(value, str):
        return None if isinstance(value, dict | list) else "a number or boolean may be read back as text"
    if not value.strip():
        return "an empty text is read back as nothing"
    if column.startswith("expectations.") and reads_as_number(value):
        return "a text of digits may be read back as a number"
    return JSON_TEXT if value != cell_value(value) else None


def _write_parquet(evalset: EvalSet, target: Path, ledger: Ledger) -> None:
    """Items as columns, objects and lists as they are; held in memory, since a column has one type for all items."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat, place, out = [_flat(row) for row in item_rows(evalset)], where(evalset.path / "items.jsonl"), io.BytesIO()
    for name in dict.fromkeys(name for row in flat for name in row):
        if not _is_column([row.get(name) for row in flat]):
            _as_text(flat, name, place, ledger)
    rows = [_nested(row) for row in flat]
    try:
        names = dict.fromkeys(name for row in rows for name in row)
        table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
        pq.write_table(table, out)
    except pa.ArrowException:  # what it says repeats values
        raise InputError(f"{place}: holds an object without keys, which no column can. Write .jsonl.") from None
    for row, written in zip(rows, table.to_pylist(), strict=True):
        if json.dumps(row, sort_keys=True) != json.dumps(_as_read(written), sort_keys=True):
            what = "a column does not tell null from a missing key, or a whole number among others from 1.0"
            ledger.tally(f"{place} {row['id']}", what)
    write_atomic(target, out.getvalue(), file_mode(evalset))


def _is_column(values: list[Any]) -> bool:
    """Whether values are of one type, and a number is one that 64 bits hold."""
    import pyarrow as pa

    try:
        pa.array(values)
    except (pa.ArrowException, OverflowError):
        return False
    return True


def _as_text(rows: list[dict[str, Any]], name: str, place: str, ledger: Ledger) -> None:
    """Make the values in one place texts, as in a cell: JSON where they are none."""
    for row in rows:
        if row.get(name) is not None and not isinstance(row[name], str):
            what = f"{name[:60]} is written as JSON text: not all in its column are of one type"
            ledger.tally(f"{place} {row['id']}", what)
            row[name] = cell_text(row[name])


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """An item of its values by places."""
    item: dict[str, Any] = {}
    for name, value in row.items():
        group, dot, key = name.partition(".")
        if dot and group in _GROUPS:
            item.setdefault(group, {})[key] = value
        else:
            item[name] = value
    return item


def _as_read(row: dict[str, Any]) -> dict[str, Any]:
    """A row of columns as an import reads it: what is null in it, or in a group of it, is not there."""
    groups = {name: _as_read(value) for name, value in row.items() if isinstance(value, dict) and name in _GROUPS}
    return {name: value for name, value in row.items() if value is not None} | groups
