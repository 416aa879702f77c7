"""The items of an eval set as rows: objects in the form of items.jsonl, or cells whose columns are places.

write_objects(Path("items.jsonl"), item_rows(evalset), "…")
losses = write_csv(evalset, Path("items.csv"), ",")
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.evalset import EvalSet, Item
from workbench.files import write_lines
from workbench.formats.base import LINE_LIMIT, Loss, cell_value, where
from workbench.formats.shared.ledger import Ledger
from workbench.formats.table.values import reads_as_number


def item_rows(evalset: EvalSet) -> Iterator[dict[str, Any]]:
    """The items in the form of items.jsonl; with their split where there are examples too."""
    for split, items in (("test", evalset.items), ("train", evalset.train)):
        for item in items:
            yield {**item_row(item), **({"split": split} if evalset.train else {})}


def item_row(item: Item) -> dict[str, Any]:
    """An item as a line of items.jsonl."""
    return item.model_dump(exclude_none=True, exclude_defaults=True) | {
        "inputs": item.inputs,
        "expectations": item.expectations,
    }


def write_objects(target: Path, rows: Iterable[dict[str, Any]], otherwise: str) -> None:
    """Write objects as they come, as JSONL or a JSON list by the file's name.

    Raises:
        InputError: another suffix; it says what there is `otherwise`.
    """
    lines: Iterator[str] = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    if target.suffix.lower() == ".json":
        lines = _json_list(lines)
    elif target.suffix.lower() not in (".jsonl", ".ndjson"):
        raise InputError(f"{where(target)}: {otherwise}. Name such a file.")
    write_lines(target, lines)


def _json_list(lines: Iterator[str]) -> Iterator[str]:
    held = "["
    for number, line in enumerate(lines):
        yield held + ("," if number else "")
        held = line
    yield held
    yield "]"


def write_csv(evalset: EvalSet, target: Path, delimiter: str) -> list[Loss]:
    """Items as a CSV whose columns are places; what a cell cannot tell apart is a loss."""
    columns: dict[str, None] = {}
    changed = Ledger()
    for item in item_rows(evalset):
        for column, value in _flat(item).items():
            columns[column] = None
            if isinstance(value, str) and len(value) > LINE_LIMIT:
                raise InputError(f"item {item['id']}: too long for a cell. Write .jsonl.")
            problem = _unlike_cell(value, column)
            if problem:
                changed.tally(f"{where(evalset.path / 'items.jsonl')} {item['id']} {column}", problem)
    groups = ("id", "inputs.", "expectations.", "slice.", "cluster", "sensitivity", "split")
    names = sorted(columns, key=lambda name: next(n for n, group in enumerate(groups) if name.startswith(group)))
    rows = ([_cell(_flat(item).get(name)) for name in names] for item in item_rows(evalset))
    write_lines(target, _lines(itertools.chain([names], rows), delimiter))
    return changed.losses()


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
    if isinstance(value, str):
        if not value.strip():
            return "an empty text is read back as nothing"
        if column.startswith("expectations.") and reads_as_number(value):
            return "a text of digits may be read back as a number"
        return "a text that is JSON may be read back as a list or an object" if value != cell_value(value) else None
    if value is None:
        return "null is an empty cell"
    return None if isinstance(value, dict | list) else "a number or boolean may be read back as text"


def _lines(rows: Iterable[list[str]], delimiter: str) -> Iterator[str]:
    """Rows of cells as the lines of a CSV file, without their ends."""
    for row in rows:
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator="").writerow(row)
        yield out.getvalue()
