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

FILE = "outcomes.parquet"
_GROUP_ROWS = 10_000
_KNOWN = frozenset(COLUMNS)
_ORDER = ("task", "model", "variant", "item_id", "repeat")
_TOLD = ("task", "item_id", "model", "variant", "repeat", "score", "accepted", "format_ok", "error_class", "cost_usd")
_ATTRS = "PANDAS_ATTRS"  # where pandas keeps a table's attrs
_OPTIONAL = "judge_cost_usd"  # there only where something was judged


class Spool:
    """Writes rows to Parquet, privately.

    Args:
        folder: where the table goes.
        attrs: what pandas finds in `attrs` of the table, such as the sample that was taken.

    Attributes:
        path: of the table.
        rows: taken in so far.
    """

    def __init__(self, folder: Path, attrs: Mapping[str, Any] | None = None) -> None:
        self._attrs = dict(attrs or {})
        self.path = folder / FILE
        self.rows = 0
        self._held: list[Mapping[str, Any]] = []
        self._further: set[str] = set()  # columns that not every row has
        self._parts: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._digest = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in an outcome.

        Raises:
            JournalError: it cannot be written.
        """
        self._held.append(row)
        self.rows += 1
        self._digest += _digest_of(row)
        if len(self._held) >= _GROUP_ROWS:
            self._flush()

    @property
    def digest(self) -> str:
        """What the table says, whatever the order of its rows: who answered what how well and at what cost.

        Times are no part of it; those of the rules are measured anew each time.
        """
        return f"{self._digest % (1 << 256):064x}"

    def close(self) -> None:
        """Put the table in its place.

        Raises:
            JournalError: it cannot be written.
        """
        try:
            self._flush()
            self._end_part()
            if not self._parts:
                pq.write_table(self._schema().empty_table(), self._new_part())
            os.replace(self._parts[0] if len(self._parts) == 1 else self._joined(), self.path)
        except (OSError, pa.ArrowException) as failure:
            raise self._broken(failure) from None
        finally:
            self._remove_parts()

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._end_part()
        self._remove_parts()

    def _flush(self) -> None:
        """Write what is held as a row group. Parquet wants to know all columns beforehand: a new one begins a part."""
        if not self._held:
            return
        held = sorted(self._held, key=lambda row: tuple(row[name] for name in _ORDER))
        new = {name for row in held for name in row if name == _OPTIONAL or name.startswith("metric.")} - self._further
        try:
            if new:
                self._further |= new
                self._end_part()
            schema = self._schema()
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._new_part(), schema)
            self._writer.write_table(pa.table([_column(field, held) for field in schema], schema=schema))
        except (OSError, pa.ArrowException) as failure:
            raise self._broken(failure) from None
        self._held = []

    def _schema(self) -> pa.Schema:
        further = self._further
        names = [name for name in COLUMNS if name != _OPTIONAL or name in further]
        schema = pa.schema([(name, _type(name)) for name in [*names, *sorted(further - {_OPTIONAL})]])
        return schema.with_metadata({_ATTRS: json.dumps(self._attrs)})

    def _new_part(self) -> Path:
        part = self.path.with_suffix(f".part{len(self._parts)}")
        project.private_file(part)
        self._parts.append(part)
        return part

    def _end_part(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _joined(self) -> Path:
        """One file of several parts, the later of which have more columns."""
        parts, schema = list(self._parts), self._schema()
        whole = self._new_part()
        with pq.ParquetWriter(whole, schema) as writer:
            for part in parts:
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


def _digest_of(row: Mapping[str, Any]) -> int:
    """Of what one row says; the sum over all rows does not hang on their order."""
    told = [row.get(name) for name in _TOLD]
    told += [row["sensitivity"], row.get(_OPTIONAL), *(row[name] for name in sorted(row.keys() - _KNOWN))]
    return int.from_bytes(hashlib.sha256(repr(told).encode()).digest())


def _type(name: str) -> pa.DataType:
    if name in FLOAT or name.startswith("metric."):
        return pa.float64()
    if name in INT:
        return pa.int64()
    if name in BOOL:
        return pa.bool_()
    return pa.timestamp("ms", "UTC") if name == "asked_at" else pa.string()


def _column(field: pa.Field, rows: list[Mapping[str, Any]]) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    if field.name == "asked_at":
        return pa.array([text or None for text in values], pa.string()).cast(field.type)
    if field.name == "slice":
        values = [None if each is None else json.dumps(each, sort_keys=True, ensure_ascii=False) for each in values]
    return pa.array(values, field.type)
