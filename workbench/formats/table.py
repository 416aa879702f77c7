"""Plain tables: CSV, TSV, JSONL, JSON list, Parquet, by a mapping of columns or a guess; also deepeval's and ragas'.

import_evalset("tests.csv", "evalsets/mine", options=Options(mapping={"inputs.text": "question", "id": "qid"}))
export_evalset(evalset, "table", "items.csv")        # or .tsv, .jsonl, .json: what an item is, a row
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import write_lines
from workbench.formats.base import FORMATS, LINE_LIMIT, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import cell_value
from workbench.formats.shared.export import item_rows, write_objects
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.rows import first_row, kind_of, open_rows
from workbench.formats.shared.tables import read_tables
from workbench.formats.shared.values import reads_as_number

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_ORDER = ("id", "inputs.", "expectations.", "slice.", "cluster", "sensitivity", "split")


class Table(Format):
    """A table, with columns of any name."""

    name = "table"
    about = "a table: CSV, TSV, JSONL, JSON list or Parquet"
    mapped = True
    written = ("a table is", ".jsonl", ".json", ".csv", ".tsv")

    def sniff(self, source: Path) -> float:
        if not source.is_file() or kind_of(source) in (None, "arrow", "yaml"):
            return 0.0
        return 0.3 if first_row(source) else 0.1  # whatever is more special goes before

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        found = Found()
        return read_tables([(open_rows(source, found), None)], options, sink, found)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        delimiter = _DELIMITERS.get(target.suffix.lower())
        if delimiter is None:
            write_objects(target, item_rows(evalset))
        else:
            _write_csv(evalset, target, delimiter, ledger)


FORMATS.add("table", Table())


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
    rows = ([_cell(_flat(item).get(name)) for name in names] for item in item_rows(evalset))
    write_lines(target, _lines(itertools.chain([names], rows), delimiter))


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    """An item by places: id, inputs.NAME, …."""
    flat = {key: value for key, value in item.items() if not isinstance(value, dict)}
    for group in ("inputs", "expectations", "slice"):
        flat |= {f"{group}.{name}": value for name, value in item.get(group, {}).items()}
    return flat


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


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
    return "a text that is JSON may be read back as a list or an object" if value != cell_value(value) else None


def _lines(rows: Iterable[list[str]], delimiter: str) -> Iterator[str]:
    """Rows of cells as the lines of a CSV file, without their ends."""
    for row in rows:
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator="").writerow(row)
        yield out.getvalue()
