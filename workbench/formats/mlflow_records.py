"""MLflow's GenAI evaluation records, as JSONL, a JSON list, Parquet, or a CSV with JSON in its cells.

import_evalset("records.jsonl", "evalsets/mine")     # {"inputs": {...}, "expectations": {...}, "tags": {...}} a record
export_evalset(evalset, "mlflow_records", "records.jsonl")      # for EvaluationDataset.merge_records

Tags become slices. What MLflow has no place for is a tag of its own: workbench.id, .cluster, .sensitivity, .split.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import cell_value, is_empty
from workbench.formats.shared.export import item_rows, note_json_texts, write_objects
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.rows import Numbered, first_row, kind_of, open_rows
from workbench.formats.shared.tables import read_tables
from workbench.words import counted

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_OURS = ("id", "cluster", "sensitivity", "split")
_PREFIX = "workbench."
_OWN_TAGS = [f"{_PREFIX}{name}" for name in _OURS]
_KEEPING = "MLflow's own record-keeping"
_REASONS = {
    "outputs": "the answer of an earlier run; models answer anew",
    "source": "where MLflow has the record from",
    "tags": "MLflow's own tags (mlflow.…), and those that are no single value",
    "dataset_record_id": "the item has an id of ours in its tags",
    **dict.fromkeys(("source_type", "source_id", "created_time", "create_time", "last_update_time"), _KEEPING),
    **dict.fromkeys(("created_by", "last_updated_by", "dataset_id"), _KEEPING),
}
_KEYS = frozenset(("inputs", "expectations", "trace", *_REASONS))


class MlflowRecords(Format):
    """Records of an MLflow evaluation dataset."""

    name = "mlflow_records"
    about = "MLflow GenAI evaluation records: JSONL, JSON list, Parquet or CSV"
    mapped = True
    written = ("records are", ".jsonl", ".json")

    def sniff(self, source: Path) -> float:
        row = first_row(source) if source.is_file() and kind_of(source) != "arrow" else None
        if not row or not isinstance(row.get("inputs"), dict) or not set(row) <= _KEYS:
            return 0.0
        return 0.9 if len(row) > 1 else 0.5

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        found = Found()
        rows = open_rows(source, found)
        each = rows.each

        def records() -> Numbered:
            return ((line, _item_row(row, rows.place(line), rows.text_only)) for line, row in each())

        rows.each = records
        return read_tables([(rows, None)], options, sink, found, reasons=_REASONS)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        note_json_texts(evalset, ledger)
        write_objects(evalset, target, map(_record_of, item_rows(evalset)))
        _note_losses(evalset, ledger)


FORMATS.add("mlflow_records", MlflowRecords())


def _item_row(row: dict[str, Any], place: str, cells: bool) -> dict[str, Any]:
    """A record with its tags where an item has them; what it does not use stays under its own name."""
    item = {name: cell_value(value) for name, value in row.items()}
    if cells and "tags" in item and item["tags"] is None:
        item["sensitivity"] = None  # the row ends before them, and they may have stated one
    for name in ("inputs", "expectations", "tags"):
        if not isinstance(item.get(name), dict) and not is_empty(item.get(name)):
            raise InputError(f"{place}: field '{name}': must be an object of names and values.")
    if is_empty(item.get("inputs")):
        raise InputError(f"{place}: field 'inputs' is missing or empty. A record needs it.")
    tags: dict[str, Any] = {}
    slices: dict[str, Any] = {}
    for name, value in (item.pop("tags", None) or {}).items():
        if name in _OWN_TAGS:
            item[name.removeprefix(_PREFIX)] = value
        else:
            (tags if name.startswith("mlflow.") or isinstance(value, dict | list) else slices)[name] = value
    if is_empty(item.get("id")) and not is_empty(item.get("dataset_record_id")):
        item["id"] = item.pop("dataset_record_id")
    return item | ({"slice": slices} if slices else {}) | ({"tags": tags} if tags else {})


def _record_of(row: dict[str, Any]) -> dict[str, Any]:
    ours = {f"{_PREFIX}{name}": row[name] for name in _OURS if name in row}
    return {"inputs": row["inputs"], "expectations": row["expectations"], "tags": {**row.get("slice", {}), **ours}}


def _note_losses(evalset: EvalSet, ledger: Ledger) -> None:
    place = where(evalset.path / "items.jsonl")
    seen: set[bytes] = set()
    names: Counter[str] = Counter()
    count = 0
    for count, item in enumerate(itertools.chain(evalset.items, evalset.train), 1):  # noqa: B007
        seen.add(hashlib.blake2b(json.dumps(item.inputs, sort_keys=True).encode(), digest_size=12).digest())
        names.update(item.slice.keys())
    if again := count - len(seen):
        items = counted(again, "item repeats", "items repeat")
        what = f"{items} another's inputs: merge_records keeps one record for equal inputs"
        ledger.add(place, what)
    for name in sorted(names):
        if name.startswith("mlflow.") or name in _OWN_TAGS:
            what = f"slice '{name[:60]}' is called like a tag that has its own meaning ({counted(names[name], 'item')})"
            ledger.add(place, what)
