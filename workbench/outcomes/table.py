"""The outcome table as a DataFrame: read from anywhere, normalized, written privately.

    table = read_outcomes("runs/…/outcomes.parquet")       # Parquet, CSV or JSONL, any source
    table.attrs["sample"]                                  # {'support_triage': {'n': 40, 'of': 80}}

One row is one outcome: an item × candidate × repeat after all its attempts. Only `task`, `item_id`, `model` and
`score` are required. What is missing is never read in the permissive sense.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_integer_dtype, is_numeric_dtype

from workbench import project
from workbench.errors import InputError
from workbench.files import write_atomic
from workbench.outcomes.schema import BOOL, COLUMNS, DEFAULTS, FLOAT, INT, KEY, REQUIRED, RUN_FILE, TEXT
from workbench.outcomes.spend_logs import from_spend_log, is_spend_log


class HasOutcomes(Protocol):
    """What has an outcome table, such as a run."""

    @property
    def outcomes(self) -> pd.DataFrame:
        """The table."""


def table_of(outcomes: pd.DataFrame | HasOutcomes) -> pd.DataFrame:
    """An outcome table, also where a run was given for it.

    Raises:
        InputError: neither was given.
    """
    table = outcomes if isinstance(outcomes, pd.DataFrame) else getattr(outcomes, "outcomes", None)
    if not isinstance(table, pd.DataFrame):
        what = type(outcomes).__name__
        raise InputError(f"outcomes: an outcome table or a run is wanted, not a {what}. wb.read_outcomes reads a file.")
    return table


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
    table = table.reset_index(drop=True)
    for name in COLUMNS:
        if name in table:
            table[name] = _typed(table[name], name, where)
    for name, default in DEFAULTS.items():
        table[name] = table[name].fillna(default) if name in table else default
    for name in ("task", "item_id", "model"):
        if table[name].isna().any():
            raise InputError(f"{where}: row {int(table[name].isna().argmax()) + 1} has no {name}. Fill it in.")
    for name in ("model", "variant"):
        # 'a#b' is variant b of model a: a name with '#' would take another model's identity, and its zone.
        if any("#" in each or not each for each in table[name].unique()):
            raise InputError(f"{where}: column '{name}': a name is empty or has a '#', which parts model and variant.")
    scores = table["score"]
    outside = scores.notna() & ~scores.between(0, 1)
    if outside.any():
        row = int(outside.to_numpy().argmax())
        raise InputError(f"{where}: row {row + 1}: score is {scores.iloc[row]:g}. Scores run from 0 to 1.")
    if table.duplicated(KEY).any():
        table = _without_repetitions(table, where)
    ordered = [name for name in COLUMNS if name in table] + [name for name in table if name not in COLUMNS]
    table = table[ordered]
    table.attrs = attrs
    return table


def _without_repetitions(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The table without rows that stand there twice; two that differ are an error."""
    further = [name for name in table if name not in COLUMNS and table[name].dtype == object]
    same = table.assign(**{str(name): table[name].map(repr) for name in further})  # such as lists: they have no hash
    table = table[~same.duplicated()].reset_index(drop=True)
    twice = table.duplicated(KEY)
    if twice.any():
        first = table[KEY][twice].iloc[0]
        raise InputError(f"{where}: two different outcomes for {', '.join(map(str, first))}. Keep one of them.")
    return table


def _typed(column: pd.Series[Any], name: str, where: str) -> pd.Series[Any]:
    try:
        return _converted(column, name)
    except (ValueError, TypeError, OverflowError):
        # Without the value: where columns are mixed up it may be restricted text.
        row = next((row for row, value in enumerate(column, 1) if not _fits(value, name)), 1)
        raise InputError(f"{where}: row {row}: column '{name}' has a value that is {_wrong(name)}.") from None


def _converted(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    kept = _as_it_is(column, name)
    if kept is not None:
        return kept
    if name in TEXT:
        return column.astype(object).map(lambda v: v if isinstance(v, str) else None if _null(v) else str(v))
    if name in FLOAT:
        return _numbers(column).astype("float64")
    if name in INT:
        return _numbers(column).astype("Int64")
    if name in BOOL:
        return column.astype(object).map(_boolean).astype("boolean")
    if name == "asked_at":
        if is_numeric_dtype(column):
            return pd.to_datetime(column, utc=True, unit=_unit(column))
        return pd.to_datetime(column, utc=True, format="ISO8601")
    if name == "slice":
        return column.astype(object).map(_slice_text)
    return column


def _as_it_is(column: pd.Series[Any], name: str) -> pd.Series[Any] | None:
    """A column that needs no look at each of its values, such as those of a table of ours; else None."""
    if name in FLOAT and is_numeric_dtype(column) and not is_bool_dtype(column):
        return column.astype("float64")
    if name in INT and is_integer_dtype(column):
        return column.astype("Int64")
    if name in BOOL and is_bool_dtype(column):
        return column.astype("boolean")
    if name in TEXT and isinstance(column.dtype, pd.StringDtype):
        texts = column.astype(object)
        return texts.where(column.notna(), None) if column.hasnans else texts
    if name in TEXT and infer_dtype(column, skipna=True) in ("string", "empty"):
        texts = column.astype(object)
        return texts.where(texts.notna(), None)
    if name == "slice" and infer_dtype(column, skipna=True) == "string":
        known = {text: _slice_text(text) for text in column.dropna().unique()}
        return column.astype(object).map(known.get)
    return None


def _fits(value: Any, name: str) -> bool:
    """Whether a single value has the type of its column."""
    try:
        _converted(pd.Series([value], dtype=object), name)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _wrong(name: str) -> str:
    if name in BOOL:
        return "neither true nor false"
    if name in (*FLOAT, *INT):
        return f"not a {'whole ' if name in INT else ''}number"
    return "not a date and time such as 2026-01-31T12:00:00Z" if name == "asked_at" else "not text or an object"


def _unit(column: pd.Series[Any]) -> Literal["s", "ms", "us", "ns"]:
    """The unit of times since 1970 that are from this century."""
    largest = column.abs().max()
    return "s" if largest < 1e11 else "ms" if largest < 1e14 else "us" if largest < 1e17 else "ns"


def _null(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_numeric(column.astype(object).map(lambda value: None if _null(value) else value))


def _boolean(value: Any) -> Any:
    """A boolean out of what tools write: true, "False", 1; anything else but null is an error."""
    if _null(value):
        return pd.NA
    text = str(value).strip().casefold()
    if text in ("true", "1", "1.0"):
        return True
    if text in ("false", "0", "0.0"):
        return False
    raise ValueError("neither true nor false")


def _slice_text(value: Any) -> str | None:
    """A slice as canonical JSON text, whether it came as an object, a list of pairs or text."""
    if _null(value):
        return None
    if isinstance(value, str):
        if value.startswith("{"):
            json.loads(value)  # or a ValueError: later steps rely on it
        return value
    return json.dumps({k: v for k, v in dict(value).items() if v is not None}, sort_keys=True, ensure_ascii=False)


def read_outcomes(path: str | Path | None = None) -> pd.DataFrame:
    """Read an outcome table: Parquet, CSV, JSONL or JSON by the file's ending; also a LiteLLM proxy's spend log.

    Args:
        path: the file; the newest run's table where it is left out or empty.

    Returns:
        The table. Its `attrs` say more of a run's own table: `sample`, `mlflow_run`, and `engines`, by model what a
        managed engine took (`load_s`, `busy_s`, `memory_bytes`, `gpu_memory_bytes`, `weights_bytes`, and whether it was
        `constrained` to JSON schemas).

    Raises:
        InputError: no such file, not such a table, or a broken column.
    """
    path = project.resolve(path) if path else latest_outcomes()
    where = project.shown(path)
    if not path.is_file():
        raise InputError(f"{where}: there is no such file.")
    readers: dict[str, Callable[[Path], Any]] = {
        ".parquet": pd.read_parquet,
        ".csv": _read_csv,
        ".jsonl": lambda p: pd.read_json(p, lines=True, dtype=False, precise_float=True),
        ".json": lambda p: pd.read_json(p, dtype=False, precise_float=True),
    }
    if path.suffix not in readers:
        raise InputError(f"{where}: outcome tables are .parquet, .csv, .jsonl or .json files.")
    try:
        table: pd.DataFrame = readers[path.suffix](path)
    except (ValueError, OSError, KeyError) as failure:
        raise InputError(f"{where}: cannot be read as {path.suffix[1:]}: {str(failure).splitlines()[0]}.") from None
    table = normalize(from_spend_log(table, where) if is_spend_log(table) else table, where)
    table.attrs |= _noted(path)
    return table


def _noted(path: Path) -> dict[str, Any]:
    """What the run that a table belongs to noted beside it: what its engines took, and where it is tracked."""
    try:
        noted = json.loads(path.with_name(RUN_FILE).read_text())
        found = {"mlflow_run": noted.get("links", {}).get("run_id"), "engines": noted.get("engines")}
    except (OSError, ValueError, AttributeError):
        return {}
    return {name: value for name, value in found.items() if value}


def _read_csv(path: Path) -> pd.DataFrame:
    """Text columns as they stand: an answer `001` or `null` is no number and no gap."""
    text = [*TEXT, "slice"]
    nulls: dict[Any, Any] = {
        name: [""] if name in text else ["", "nan", "NaN", "NA", "<NA>", "null", "None"]
        for name in pd.read_csv(path, nrows=0).columns
    }
    return pd.read_csv(path, dtype=dict.fromkeys(text, str), na_values=nulls, keep_default_na=False)


def write_outcomes(table: pd.DataFrame, path: Path) -> Path:
    """Write an outcome table as Parquet, whole or not at all, readable by its owner only."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue(), mode=0o600)
    return path


def latest_outcomes(models: Collection[str] | None = None) -> Path:
    """The outcome table of the newest run.

    Args:
        models: only of a run that asked none but these; where there is no such run, of the newest.

    Raises:
        InputError: there is no run yet.
    """
    found = sorted(project.kept("runs").glob("*/outcomes.parquet"), key=os.path.getmtime, reverse=True)
    if not found:
        raise InputError("there is no run yet. Start one with 'workbench run', or name an outcome table.")
    if models is not None:
        for path in found:
            if set(pd.read_parquet(path, columns=["model"])["model"].unique()) <= set(models):
                return path
    return found[0]


def digest(table: pd.DataFrame, times: bool = True) -> str:
    """SHA-256 of what a decision rests on: who answered what how well, at what cost and time; not of the texts.

    Args:
        table: an outcome table.
        times: whether latencies count; those of the rules are measured anew each time.
    """
    import hashlib

    figures = ("score", "accepted", "cost_usd", "sensitivity", *(("latency_s",) if times else ()))
    metrics = sorted(str(name) for name in table if str(name).startswith("metric."))
    basis = [name for name in (*KEY, *figures, *metrics) if name in table]
    rows = table.sort_values(KEY)[basis].to_csv(index=False, float_format="%.9g")
    return hashlib.sha256(rows.encode()).hexdigest()
