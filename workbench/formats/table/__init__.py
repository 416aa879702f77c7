"""Plain tables: CSV, TSV, JSONL, JSON list, Parquet, by a mapping of columns or a guess; also deepeval's and ragas'.

import_evalset("tests.csv", "evalsets/mine", options=Options(mapping={"inputs.text": "question", "id": "qid"}))
export_evalset(evalset, "table", "items.csv")        # or .tsv, .jsonl, .json: what an item is, a row
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink
from workbench.formats.shared.export import spec_losses
from workbench.formats.shared.rows import first_row, kind_of, open_rows
from workbench.formats.table.read import import_parts
from workbench.formats.table.write import item_rows, write_csv, write_objects

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class Table(Format):
    """A table, with columns of any name."""

    name = "table"
    about = "a table: CSV, TSV, JSONL, JSON list or Parquet"
    suffix = ".jsonl"

    def sniff(self, source: Path) -> float:
        if not source.is_file() or kind_of(source) in (None, "arrow"):
            return 0.0
        return 0.3 if first_row(source) else 0.1  # whatever is more special goes before

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        return import_parts([(open_rows(source), None)], options, sink)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        delimiter = _DELIMITERS.get(target.suffix.lower())
        if delimiter is not None:
            return [*spec_losses(evalset), *write_csv(evalset, target, delimiter)]
        write_objects(target, item_rows(evalset), "a table is written as .jsonl, .json, .csv or .tsv")
        return spec_losses(evalset)


FORMATS.add("table", Table())
