"""The requests of a load test as Parquet, without any text: for questions that the figures do not answer.

pandas.read_parquet(result.path.with_suffix(".parquet"))
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields

from workbench.files import write_atomic
from workbench.load.drive import Request
from workbench.load.figures import StepRun
from workbench.load.result import LoadResult

_STEP = ("level", "repeat", "window_start", "window_end")


def write_requests(result: LoadResult, runs: Sequence[StepRun]) -> None:
    """Write the requests beside a result's figures; times are seconds since their step began.

    Raises:
        RunError: they cannot be written.
    """
    import pandas as pd  # noqa: F401  (pyarrow looks for it)
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[object]] = {name: [] for name in (*_STEP, *(field.name for field in fields(Request)))}
    for run in runs:
        for request in run.window.requests:
            for name, value in zip(_STEP, (run.level, run.repeat, run.window.start_s, run.window.end_s), strict=True):
                columns[name].append(value)
            for field in fields(Request):
                columns[field.name].append(getattr(request, field.name))
    types = {"token_at": pa.list_(pa.float64()), "error_class": pa.string(), "ended_at": pa.float64()}
    types |= {"input_tokens": pa.int64(), "output_tokens": pa.int64()}
    table = pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(result.path.with_name(f"{result.name}.parquet"), buffer.getvalue(), 0o600)
