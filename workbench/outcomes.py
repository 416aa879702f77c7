"""The outcome table: its schema, reading it from anywhere, writing it privately.

    table = read_outcomes("runs/…/outcomes.parquet")       # Parquet, CSV or JSONL, any source
    table.attrs["sample"]                                  # {'support_triage': {'n': 40, 'of': 80}}

One row is one outcome: an item × candidate × repeat after all its attempts. Only `task`, `item_id`, `model` and
`score` are required. What is missing is never read in the permissive sense.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench import project
from workbench.errors import InputError
from workbench.files import write_atomic

REQUIRED = ("task", "item_id", "model", "score")
KEY = ["task", "item_id", "model", "variant", "repeat"]
_TEXT = [
    *("task", "item_id", "model", "variant", "split", "error", "error_class", "served_model", "engine_id"),
    *("output", "prompt", "cluster", "sensitivity", "source", "run_id", "evalset_digest"),
]
_FLOAT = ["score", "cost_usd", "judge_cost_usd", "latency_s", "ttft_s", "wait_s"]
_INT = ["repeat", "attempts", "input_tokens", "output_tokens", "concurrency"]
_BOOL = ["accepted", "format_ok"]
COLUMNS = [
    *("task", "item_id", "model", "variant", "repeat", "split", "score", "accepted", "format_ok", "error"),
    *("error_class", "attempts", "input_tokens", "output_tokens", "cost_usd", "judge_cost_usd", "latency_s", "ttft_s"),
    *("wait_s", "concurrency", "served_model", "engine_id", "output", "prompt", "slice", "cluster", "sensitivity"),
    *("asked_at", "source", "run_id", "evalset_digest"),
]
_DEFAULTS: dict[str, Any] = {"variant": "default", "repeat": 0, "split": "test"}


def candidate_id(model: str, variant: str) -> str:
    """`model`, or `model#variant` for a variant other than the default."""
    return model if variant == "default" else f"{model}#{variant}"


def split_candidate(candidate: str) -> tuple[str, str]:
    """The model and the variant of a candidate's id."""
    model, _, variant = candidate.partition("#")
    return model, variant or "default"


def normalize(table: pd.DataFrame, where: str = "the outcome table") -> pd.DataFrame:
    """An outcome table with the schema's columns, types and defaults.

    Args:
        table: rows with at least the required columns.
        where: what to call it in messages.

    Returns:
        A new table; further columns are kept behind the schema's own.

    Raises:
        InputError: a required column is missing, a value has the wrong type, or an outcome stands there twice.
    """
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise InputError(f"{where}: column '{missing[0]}' is missing. Required are: {', '.join(REQUIRED)}.")
    attrs = dict(table.attrs)
    table = table.drop_duplicates(ignore_index=True) if _hashable(table) else table.reset_index(drop=True)
    for name, default in _DEFAULTS.items():
        table[name] = table[name].fillna(default) if name in table else default
    for name in COLUMNS:
        if name in table:
            table[name] = _typed(table[name], name, where)
    for name in ("task", "item_id", "model"):
        if table[name].isna().any():
            raise InputError(f"{where}: row {int(table[name].isna().argmax()) + 1} has no {name}. Fill it in.")
    scores = table["score"]
    outside = scores.notna() & ~scores.between(0, 1)
    if outside.any():
        row = int(outside.to_numpy().argmax())
        raise InputError(f"{where}: row {row + 1}: score is {scores.iloc[row]:g}. Scores run from 0 to 1.")
    twice = table.duplicated(KEY)
    if twice.any():
        first = table[KEY][twice].iloc[0]
        raise InputError(f"{where}: two different outcomes for {', '.join(map(str, first))}. Keep one of them.")
    ordered = [name for name in COLUMNS if name in table] + [name for name in table if name not in COLUMNS]
    table = table[ordered]
    table.attrs = attrs
    return table


def _hashable(table: pd.DataFrame) -> bool:
    return not ("slice" in table and table["slice"].map(lambda value: isinstance(value, dict)).any())


def _typed(column: pd.Series[Any], name: str, where: str) -> pd.Series[Any]:
    try:
        if name in _TEXT:
            return column.astype(object).map(lambda v: v if isinstance(v, str) else None if pd.isna(v) else str(v))
        if name in _FLOAT:
            return pd.to_numeric(column).astype("float64")
        if name in _INT:
            return pd.to_numeric(column).astype("Int64")
        if name in _BOOL:
            return column.map(_boolean).astype("boolean")
        if name == "asked_at":
            return pd.to_datetime(column, utc=True, format="ISO8601" if column.dtype == object else None)
        if name == "slice":
            return column.map(_slice_text)
    except (ValueError, TypeError) as failure:
        raise InputError(f"{where}: column '{name}': {str(failure).splitlines()[0]}.") from None
    return column


def _boolean(value: Any) -> Any:
    """A boolean out of what tools write: true, "False", 1; anything else but null is an error."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return pd.NA
    text = str(value).strip().casefold()
    if text in ("true", "1", "1.0"):
        return True
    if text in ("false", "0", "0.0"):
        return False
    raise ValueError(f"'{text[:20]}' is neither true nor false")


def _slice_text(value: Any) -> str | None:
    """A slice as canonical JSON text, whether it came as an object, a list of pairs or text."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    return json.dumps({k: v for k, v in dict(value).items() if v is not None}, sort_keys=True, ensure_ascii=False)


def slices_of(table: pd.DataFrame) -> pd.DataFrame:
    """The slices as columns, one a name; an empty table where there are none."""
    if "slice" not in table:
        return pd.DataFrame(index=table.index)
    parsed = [json.loads(text) if isinstance(text, str) and text.startswith("{") else {} for text in table["slice"]]
    return pd.DataFrame(parsed, index=table.index)


def read_outcomes(path: str | Path | None = None) -> pd.DataFrame:
    """Read an outcome table: Parquet, CSV or JSONL by the file's ending.

    Args:
        path: the file; the newest run's table where it is left out or empty.

    Raises:
        InputError: no such file, not such a table, or a broken column.
    """
    path = project.resolve(path) if path else latest_outcomes()
    where = project.shown(path)
    if not path.is_file():
        raise InputError(f"{where}: there is no such file.")
    readers: dict[str, Callable[[Path], Any]] = {
        ".parquet": pd.read_parquet,
        ".csv": lambda p: pd.read_csv(p, dtype={"item_id": str, "task": str, "model": str, "variant": str}),
        ".jsonl": lambda p: pd.read_json(p, lines=True, dtype={"item_id": str}),
    }
    if path.suffix not in readers:
        raise InputError(f"{where}: outcome tables are .parquet, .csv or .jsonl files.")
    try:
        table: pd.DataFrame = readers[path.suffix](path)
    except (ValueError, OSError, KeyError) as failure:
        raise InputError(f"{where}: cannot be read as {path.suffix[1:]}: {str(failure).splitlines()[0]}.") from None
    return normalize(table, where)


def write_outcomes(table: pd.DataFrame, path: Path) -> Path:
    """Write an outcome table as Parquet, whole or not at all, readable by its owner only."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue(), mode=0o600)
    return path


def latest_outcomes() -> Path:
    """The outcome table of the newest run.

    Raises:
        InputError: there is no run yet.
    """
    found = sorted(project.state("runs").glob("*/outcomes.parquet"), key=os.path.getmtime)
    if not found:
        raise InputError("there is no run yet. Start one with 'workbench run', or name an outcome table.")
    return found[-1]


def digest(table: pd.DataFrame) -> str:
    """SHA-256 of what a decision rests on: who answered what how well, at what cost and time; not of the texts."""
    import hashlib

    basis = [name for name in (*KEY, "score", "accepted", "cost_usd", "latency_s", "sensitivity") if name in table]
    rows = table.sort_values(KEY)[basis].to_csv(index=False, float_format="%.9g")
    return hashlib.sha256(rows.encode()).hexdigest()
