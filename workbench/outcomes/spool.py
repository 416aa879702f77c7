"""The outcome table as a run writes it: in row groups, as outcomes come, so that a million of them need no memory.

    with Spool(folder) as spool:
        spool.add(row)                   # a dict with the design's columns
    folder / "outcomes.parquet"          # there once the spool is closed, whole or not at all

Within a row group the rows are in the order of their keys; a table that fits one is sorted as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd  # noqa: F401  (pyarrow looks for it in the first array that it makes, in mid-run)
import pyarrow as pa
import pyarrow.parquet as pq

from workbench import project
from workbench.errors import JournalError
from workbench.outcomes.schema import BOOL, COLUMNS, FLOAT, INT

_GROUP_ROWS = 10_000
_ORDER = ("task", "model", "variant", "item_id", "repeat")
FILE = "outcomes.parquet"


def _type(name: str) -> pa.DataType:
    if name in FLOAT or name.startswith("metric."):
        return pa.float64()
    if name in INT:
        return pa.int64()
    if name in BOOL:
        return pa.bool_()
    return pa.timestamp("ms", "UTC") if name == "asked_at" else pa.string()


def _column(name: str, values: list[Any]) -> pa.Array:
    if name == "asked_at":
        return pa.array([text or None for text in values], pa.string()).cast(pa.timestamp("ms", "UTC"))
    if name == "slice":
        values = [_slice(value) for value in values]
    return pa.array(values, _type(name), from_pandas=name not in FLOAT)


def _slice(value: Mapping[str, str] | None) -> str | None:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value is not None else None


class Spool:
    """Writes rows to Parquet, privately.

    Attributes:
        rows: written so far.
        path: of the table.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.rows = 0
        self._folder = folder
        self._held: list[Mapping[str, Any]] = []
        self._metrics: dict[str, None] = {}
        self._parts: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._digest = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in an outcome."""
        self._held.append(row)
        self.rows += 1
        if len(self._held) >= _GROUP_ROWS:
            self._flush()

    def digest(self) -> str:
        """What the table says, whatever the order of its rows: who answered what how well and at what cost.

        Times are no part of it; those of the rules are measured anew each time.
        """
        self._digest_held()
        return f"{self._digest:064x}"

    def _digest_held(self) -> None:
        """Sum up the rows that were not yet: a sum does not hang on their order."""
        for row in self._held[self._digested :]:
            told = [row.get(name) for name in _TOLD]
            told += [row[name] for name in sorted(row) if name.startswith("metric.")]
            self._digest += int.from_bytes(hashlib.sha256(repr(told).encode()).digest())
        self._digest %= 1 << 256
        self._digested = len(self._held)

    _digested = 0

    def _flush(self) -> None:
        if not self._held:
            return
        self._digest_held()
        held = sorted(self._held, key=lambda row: tuple(row[name] for name in _ORDER))
        new = {name: None for row in held for name in row if name.startswith("metric.") and name not in self._metrics}
        if new and self._writer is not None:  # Parquet wants to know all columns beforehand
            self._writer.close()
            self._writer = None
        self._metrics |= new
        judged = any("judge_cost_usd" in row for row in held)
        names = [name for name in COLUMNS if name != "judge_cost_usd" or judged or "judge_cost_usd" in self._metrics]
        if judged:
            self._metrics["judge_cost_usd"] = None
        names += sorted(name for name in self._metrics if name.startswith("metric."))
        group = pa.table({name: _column(name, [row.get(name) for row in held]) for name in names})
        if self._writer is not None and self._writer.schema != group.schema:
            self._writer.close()
            self._writer = None
        try:
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._part(), group.schema)
            self._writer.write_table(group)
        except OSError as failure:
            raise self._broken(failure) from None
        self._held, self._digested = [], 0

    def _part(self) -> Path:
        part = self._folder / f"{FILE}.part{len(self._parts)}"
        project.private_file(part)
        self._parts.append(part)
        return part

    def close(self) -> None:
        """Put the table in its place.

        Raises:
            JournalError: it cannot be written.
        """
        try:
            self._flush()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if not self._parts:
                empty = pa.schema([(name, _type(name)) for name in COLUMNS if name != "judge_cost_usd"])
                pq.write_table(empty.empty_table(), self._part())
            whole = self._parts[0] if len(self._parts) == 1 else self._joined()
            os.replace(whole, self.path)
        except (OSError, pa.ArrowException) as failure:
            raise self._broken(failure) from None
        finally:
            self._remove_parts()

    def _joined(self) -> Path:
        """One file of several whose columns differ."""
        schemas = [pq.read_schema(part) for part in self._parts]
        fields = {field.name: field for schema in schemas for field in schema}
        known = [name for name in COLUMNS if name in fields]
        schema = pa.schema([fields[name] for name in known + sorted(set(fields) - set(known))])
        whole = self._folder / f"{FILE}.whole"
        project.private_file(whole)
        self._parts.append(whole)
        with pq.ParquetWriter(whole, schema) as writer:
            for part in self._parts[:-1]:
                with pq.ParquetFile(part) as file:
                    for index in range(file.num_row_groups):
                        group = file.read_row_group(index)
                        for field in schema:
                            if field.name not in group.column_names:
                                group = group.append_column(field, pa.nulls(len(group), field.type))
                        writer.write_table(group.select(schema.names))
        return whole

    def _remove_parts(self) -> None:
        for part in self._parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()
        self._remove_parts()

    def _broken(self, failure: Exception) -> JournalError:
        return JournalError(
            f"{project.shown(self.path)}: cannot be written ({failure}). Free space or mend permissions."
        )

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


_TOLD = (
    "task",
    "item_id",
    "model",
    "variant",
    "repeat",
    "score",
    "accepted",
    "format_ok",
    "error_class",
    "cost_usd",
    "sensitivity",
)
