"""The slices of items as whoever looks may read them: everything that shows slices names them by this one function.

told = told_slices(rows)          # a column a name, such as `difficulty`; rows are prepared (`scores.prepare`)
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd


def told_slices(rows: pd.DataFrame) -> pd.DataFrame:
    """The values of the slices by name, as text; missing where an item has none.

    A value that only restricted items have is text of theirs, and pages, notebooks and widgets' states are kept: a
    number stands for it, as in `[restricted] 2`.

    Args:
        rows: an outcome table's rows of one task, or of several that are told apart together, with `class`.

    Returns:
        A column a name, with the index of the rows; no column where there are no slices.
    """
    if "slice" not in rows:
        return pd.DataFrame(index=rows.index)
    codes, texts = pd.factorize(rows["slice"])
    parsed = [_parts(text) for text in texts]
    is_open: set[tuple[str, str]] = set()
    for code in set(codes[(rows["class"] == "open").to_numpy()]) - {-1}:
        is_open.update(parsed[code].items())
    columns: dict[str, Any] = {}
    for name in sorted({name for parts in parsed for name in parts}):
        hidden = sorted({parts[name] for parts in parsed if name in parts and (name, parts[name]) not in is_open})
        number = {value: f"[restricted] {place}" for place, value in enumerate(hidden, 1)}
        told = [number.get(parts[name], parts[name]) if name in parts else None for parts in parsed]
        columns[name] = pd.Series([*told, None], dtype=object).to_numpy()[codes]  # -1, no slice, is the last
    return pd.DataFrame(columns, index=rows.index)


def _parts(text: Any) -> dict[str, str]:
    """An item's slices; half a character (a lone surrogate), as "\\ud800" in JSON makes, is written out."""
    try:
        parts = json.loads(str(text))
    except ValueError:
        return {}
    if not isinstance(parts, dict):
        return {}
    return {_sendable(name): _sendable(value) for name, value in parts.items() if value is not None}


def _sendable(value: Any) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()
