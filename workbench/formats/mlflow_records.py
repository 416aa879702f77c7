"""MLflow's GenAI evaluation records, as JSONL, a JSON list, Parquet, or a CSV with JSON in its cells.

import_evalset("records.jsonl", "evalsets/mine")     # {"inputs": {...}, "expectations": {...}, "tags": {...}} a record
export_evalset(evalset, "mlflow_records", "records.jsonl")      # for EvaluationDataset.merge_records

Tags become slices. What MLflow has no place for is a tag of its own: workbench.id, .cluster, .sensitivity, .split.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, cell_value, where
from workbench.formats.shared.export import spec_losses
from workbench.formats.shared.rows import Numbered, Rows, first_row, kind_of, open_rows
from workbench.formats.table.read import import_parts
from workbench.formats.table.values import is_empty
from workbench.formats.table.write import item_rows, write_objects

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_OURS = ("id", "cluster", "sensitivity", "split")
_PREFIX = "workbench."
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
    suffix = ".jsonl"

    def sniff(self, source: Path) -> float:
        row = first_row(source) if source.is_file() and kind_of(source) != "arrow" else None
        if not row or not isinstance(row.get("inputs"), dict) or not set(row) <= _KEYS:
            return 0.0
        return 0.9 if len(row) > 1 else 0.5

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        rows = open_rows(source)
        rows.each = _records(rows)
        return import_parts([(rows, None)], options, sink, reasons=_REASONS)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        write_objects(target, map(_record_of, item_rows(evalset)), "records are written as .jsonl or .json")
        return [*spec_losses(evalset), *_losses(evalset)]


FORMATS.add("mlflow_records", MlflowRecords())


def _records(rows: Rows) -> Any:
    """The rows as items' rows, read anew each time."""
    each = rows.each

    def read() -> Numbered:
        for line, row in each():
            yield line, _item_row(rows, line, row)

    return read


def _item_row(rows: Rows, line: int, row: dict[str, Any]) -> dict[str, Any]:
    """A record with its tags where an item has them; what it does not use stays under its own name."""
    item = {name: cell_value(value) if isinstance(value, str) else value for name, value in row.items()}
    for name in ("inputs", "expectations", "tags"):
        if not isinstance(item.get(name), dict) and not is_empty(item.get(name)):
            raise InputError(f"{rows.place(line)}: field '{name}': must be an object of names and values.")
    if is_empty(item.get("inputs")):
        raise InputError(f"{rows.place(line)}: field 'inputs' is missing or empty. A record needs it.")
    tags = dict(item.pop("tags", None) or {})
    slices = {}
    for name in list(tags):
        if name.startswith(_PREFIX) and name.removeprefix(_PREFIX) in _OURS:
            item[name.removeprefix(_PREFIX)] = tags.pop(name)
        elif not name.startswith("mlflow.") and not isinstance(tags[name], dict | list):
            slices[name] = tags.pop(name)
    if is_empty(item.get("id")) and not is_empty(item.get("dataset_record_id")):
        item["id"] = item.pop("dataset_record_id")
    return item | ({"slice": slices} if slices else {}) | ({"tags": tags} if tags else {})


def _record_of(row: dict[str, Any]) -> dict[str, Any]:
    ours = {f"{_PREFIX}{name}": row[name] for name in _OURS if name in row}
    return {"inputs": row["inputs"], "expectations": row["expectations"], "tags": {**row.get("slice", {}), **ours}}


def _losses(evalset: EvalSet) -> Iterator[Loss]:
    place = where(evalset.path / "items.jsonl")
    seen: set[bytes] = set()
    again = 0
    names: set[str] = set()
    for item in itertools.chain(evalset.items, evalset.train):
        key = hashlib.blake2b(json.dumps(item.inputs, sort_keys=True).encode(), digest_size=12).digest()
        again += key in seen
        seen.add(key)
        names |= item.slice.keys()
    if again:
        yield Loss(place, f"{again} items repeat another's inputs: merge_records keeps one record for equal inputs")
    for name in sorted(names):
        if name.startswith("mlflow.") or (name.startswith(_PREFIX) and name.removeprefix(_PREFIX) in _OURS):
            yield Loss(place, f"slice '{name[:60]}' is called like a tag that has its own meaning")
