"""What a model takes: memory, load time, tokens a second, cost per accepted answer.

    resources(rows, engines.get("smollm2-w8a8"))["tokens_per_s"]

Load time and memory are the run's own notes on its engines; the rest comes out of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.economics import cost_per_accepted, quantile
from workbench.scores import with_score
from workbench.servers.gpus import list_gpus

_NOTED = ("load_s", "memory_bytes", "gpu_memory_bytes", "weights_bytes")


def answers(own: pd.DataFrame) -> dict[str, Any]:
    """Cost and latency of one model's rows, of one task or all."""
    own = with_score(own)
    items = own.groupby(["task", "item_id"], sort=True)  # repeats are no further items
    unknown = np.full(items.ngroups, math.nan)
    cost_usd = items["cost_usd"].sum(skipna=False).to_numpy(float) if "cost_usd" in own else unknown
    accepted = (
        items["accepted"].sum().to_numpy(float) if "accepted" in own else None
    )  # what is not told is not accepted
    cost = cost_per_accepted(cost_usd, accepted)
    latency_s = items["latency_s"].mean(skipna=False).to_numpy(float) if "latency_s" in own else unknown
    return {
        "cost_per_accepted_usd": cost.value,
        "cost_lo": cost.lo,
        "cost_hi": cost.hi,
        "latency_p50_s": quantile(latency_s, 0.5),
    }


def engine(own: pd.DataFrame, noted: Mapping[str, Any] | None) -> dict[str, Any]:
    """Load time, memory and speed of the engine behind all of one model's rows.

    Args:
        own: every row of the model: those of one task would share the engine with others that are left out.
        noted: what the run noted on the engine, if it did: `load_s`, `busy_s`, `memory_bytes`, `gpu_memory_bytes`,
            `weights_bytes`.
    """
    noted = noted or {}
    found: dict[str, Any] = {name: _number(noted.get(name)) for name in _NOTED}
    rate, source = _tokens_per_s(own, _number(noted.get("busy_s")))
    return found | {"tokens_per_s": rate, "tokens_per_s_from": source}


def notes(table: pd.DataFrame) -> list[str]:
    """What a reader of the memory should know, of a report's table: on a GPU it need not be the weights'."""
    told = table[table["gpu_memory_bytes"].notna()] if "gpu_memory_bytes" in table else table.iloc[:0]
    if told["engine"].str.startswith("vllm").any():
        return [
            "vLLM takes the share of a GPU that it is given (gpu_memory_utilization), whatever its weights need, so "
            "GPU memory does not tell variants apart: compare 'weights'"
        ]
    managed = table[table["memory_bytes"].notna()] if "memory_bytes" in table else table.iloc[:0]
    managed = managed[~managed["engine"].str.startswith("llamacpp")]  # it computes on the CPU
    if managed.empty or len(told) or not list_gpus():
        return []
    return [
        "GPU memory is not known: this machine has a GPU, but nvidia-smi named none of the engines' processes, as in "
        "containers and of builds for the CPU: compare 'weights'"
    ]


def _tokens_per_s(own: pd.DataFrame, busy_s: float) -> tuple[float, str | None]:
    """Generated tokens over the time with a request in flight, and where that time is from.

    The rows come first: an answer out of the journal brings the time of its own run, which a run's note on its engine
    does not have.
    """
    if "output_tokens" not in own or own["output_tokens"].isna().any():
        return math.nan, None
    tokens = float(own["output_tokens"].sum())
    in_flight_s = _in_flight_s(own)
    if in_flight_s > 0:
        return tokens / in_flight_s, "time in flight, by the rows"
    if busy_s > 0:
        return tokens / busy_s, "the engine's busy time"
    return math.nan, None


def _in_flight_s(own: pd.DataFrame) -> float:
    """The length of time in which at least one request was in flight; NaN where the rows do not tell."""
    if not {"asked_at", "latency_s"} <= set(own) or own["asked_at"].isna().any() or own["latency_s"].isna().any():
        return math.nan
    starts = own["asked_at"].astype("datetime64[ns, UTC]").astype("int64").to_numpy() / 1e9
    ends = starts + own["latency_s"].to_numpy(float)
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    gaps = np.maximum(starts[1:] - ends[:-1], 0.0).sum()
    return float(ends[-1] - starts[0] - gaps) if len(starts) else math.nan


def _number(value: Any) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known else math.nan
