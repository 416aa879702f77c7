"""What the columns of a Hugging Face dataset are: the names behind the numbers of a ClassLabel, also in lists of them.

labels = labels_of({"label": {"_type": "ClassLabel", "names": ["neg", "pos"]}}, "folder", found)
rows = named(rows, labels)               # 'pos' for 1, and in a CSV for the text 1
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from workbench.formats.base import Found
from workbench.formats.shared.cells import cell_value
from workbench.formats.shared.rows import Numbered, Row, Rows, kind_of

Features = dict[str, Any]  # by column, as dataset_info.json or a card says

_POSITION = re.compile(r"\s*-?[0-9]{1,9}\s*")  # of a label, in a cell


class Label(NamedTuple):
    """The names of a column's labels, and whether a value is a list of them."""

    names: list[str]
    listed: bool


def by_name(features: Any) -> Features:
    """The features of dataset_info.json (by name), or of a card (a list)."""
    if isinstance(features, list):
        features = {str(each.get("name")): each for each in features if isinstance(each, dict)}
    return features if isinstance(features, dict) else {}


def labels_of(features: Features, place: str, found: Found) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    for name, about in features.items():
        entry = _entry(about)
        names = _names(about) or _names(entry)
        if names is not None:
            labels[name] = Label(names, _names(about) is None)
        elif "ClassLabel" in str(about) or "class_label" in str(about):
            found.ledger.add(place, f"column '{name[:60]}': the names of labels further inside are not read")
    return labels


def _entry(about: Any) -> Any:
    """What a list is of, in any of the spellings; None where it is none."""
    if isinstance(about, list):
        return about[0] if len(about) == 1 else None
    keys = ("feature", "sequence", "list") if isinstance(about, dict) else ()
    return next((about[key] for key in keys if key in about), None)


def _names(about: Any) -> list[str] | None:
    """The names of a ClassLabel; None where it is none, or has none."""
    if not isinstance(about, dict):
        return None
    about = about.get("dtype") if isinstance(about.get("dtype"), dict) else about
    label = about if about.get("_type") == "ClassLabel" else about.get("class_label")
    names = label.get("names") if isinstance(label, dict) else None
    if isinstance(names, dict):  # the card counts them out: {'0': neg, '1': pos}
        numbered = {str(key): name for key, name in names.items()}
        names = [numbered.get(str(index)) for index in range(len(numbered))]
    if not isinstance(names, list) or not names or None in names:
        return None
    return [str(name).lower() if isinstance(name, bool) else str(name) for name in names]


def file_features(source: Path) -> Any:
    """The features that datasets writes into a Parquet or Arrow file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if kind_of(source) == "parquet":
            metadata = pq.read_schema(source).metadata
        else:
            with pa.memory_map(str(source)) as file:
                metadata = pa.ipc.open_stream(file).schema.metadata
        return json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def named(rows: Rows, labels: dict[str, Label]) -> Rows:
    """The rows with names for the numbers of classes."""
    each = rows.each

    def decoded() -> Numbered:
        return ((line, _decoded(row, labels, rows.text_only)) for line, row in each())

    rows.each = decoded
    return rows


def _decoded(row: Row, labels: dict[str, Label], cells: bool) -> Row:
    """A row with names for numbers; a number without a name (-1: not labeled) becomes null, or an empty cell."""

    def name(value: Any, names: list[str]) -> Any:
        value = cell_value(value) if cells else value
        if isinstance(value, list):
            return [name(each, names) for each in value]
        if cells and isinstance(value, str) and _POSITION.fullmatch(value):
            return name(int(value), names) or ""
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        return names[value] if 0 <= value < len(names) else None

    return {key: name(value, labels[key].names) if key in labels else value for key, value in row.items()}
