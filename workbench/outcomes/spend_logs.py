"""A LiteLLM proxy's own log as outcomes: rows of its table LiteLLM_SpendLogs, as JSON, JSONL or CSV.

    table = read_outcomes("spend_logs.jsonl")      # it is told by its columns; source is 'production'

Nobody scored these answers: `score` is NaN. What the log says is task, candidate, cost, tokens and times. A deployment
of our own export has the first two in its id, `<group>/<link>:<candidate>`; any other row counts as restricted,
under the name of its group, and its model is the name that LiteLLM sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from workbench.errors import InputError
from workbench.outcomes.schema import split_candidate

_TELLING = ("request_id", "spend", "startTime", "endTime", "model")
_ID = re.compile(r"(?P<group>[^/:]+)/\d+:(?P<candidate>[^@]+)(@\d+)?")
_OPEN = "-open"
# One row a question; the log has others, such as embeddings and health checks.
_QUESTIONS = ("completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses")


def is_spend_log(table: pd.DataFrame) -> bool:
    """Whether a table is LiteLLM's log and no outcome table."""
    return "score" not in table and all(name in table for name in _TELLING)


def from_spend_log(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The questions of a spend log as rows of an outcome table.

    Costs are LiteLLM's `spend` in USD; 0 for tokens that were paid for means that it knows no price: unknown. A time to
    first token that is the time to the last one is of an answer that was not streamed: unknown.

    Raises:
        InputError: a time cannot be read.
    """
    if "call_type" in table:
        table = table[table["call_type"].isin(_QUESTIONS)]
    table = table.reset_index(drop=True)
    start, end = (_times(table, name, where) for name in ("startTime", "endTime"))
    first = _times(table, "completionStartTime", where)
    streamed = first.notna() & (first < end)
    about = [_object(value) for value in _column(table, "metadata")]
    named = [
        _named(*row)
        for row in zip(*(_column(table, name) for name in ("model_id", "model_group", "model")), about, strict=True)
    ]
    failed = pd.Series(
        [
            status == "failure" or facts.get("status") == "failure"
            for status, facts in zip(_column(table, "status"), about, strict=True)
        ],
        dtype=bool,
    )
    tokens = pd.to_numeric(pd.Series(_column(table, "total_tokens")), errors="coerce").fillna(0)
    cached = pd.Series([str(value).casefold() == "true" for value in _column(table, "cache_hit")], dtype=bool)
    spend = pd.to_numeric(table["spend"], errors="coerce")
    errors = [_object(facts.get("error_information")) for facts in about]
    return pd.DataFrame(
        {
            "task": [one["task"] for one in named],
            "item_id": table["request_id"].astype(str),
            "model": [one["model"] for one in named],
            "variant": [one["variant"] for one in named],
            "score": float("nan"),
            "error": [
                str(error.get("error_code") or "failed") if bad else None
                for error, bad in zip(errors, failed, strict=True)
            ],
            "error_class": [
                error.get("error_class") if bad else None for error, bad in zip(errors, failed, strict=True)
            ],
            "attempts": [1 + int(facts.get("attempted_retries") or 0) for facts in about],
            "input_tokens": _column(table, "prompt_tokens"),
            "output_tokens": _column(table, "completion_tokens"),
            "cost_usd": spend.mask((spend == 0) & ~cached & ((tokens > 0) | failed)),
            "latency_s": (end - start).dt.total_seconds(),
            "ttft_s": (first - start).dt.total_seconds().where(streamed),
            "served_model": _column(table, "model"),
            "sensitivity": [one["sensitivity"] for one in named],
            "asked_at": start,
            "source": "production",
        }
    )


def _named(model_id: Any, group: Any, model: Any, facts: Mapping[str, Any]) -> dict[str, str]:
    """Task, candidate and sensitivity of a row."""
    ours = _ID.fullmatch(model_id) if isinstance(model_id, str) else None
    asked = str(facts.get("original_model_group") or group or "").partition("/")[0]
    if ours is None:  # whose group is whose cannot be told: restricted
        return {
            "task": asked or "unknown",
            "model": str(model or "unknown").replace("#", "_"),
            "variant": "default",
            "sensitivity": "restricted",
        }
    name, variant = split_candidate(ours["candidate"])
    is_open = ours["group"].endswith(_OPEN)
    return {
        "task": ours["group"].removesuffix(_OPEN),
        "model": name,
        "variant": variant,
        "sensitivity": "internal" if is_open else "restricted",
    }


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    """A column's values, with None for what is missing."""
    if name not in table:
        return [None] * len(table)
    return [None if value is None or value != value else value for value in table[name].tolist()]


def _times(table: pd.DataFrame, name: str, where: str) -> pd.Series[Any]:
    try:
        return pd.Series(pd.to_datetime(pd.Series(_column(table, name), dtype=object), utc=True, format="ISO8601"))
    except (ValueError, TypeError):
        raise InputError(f"{where}: column '{name}' has a value that is no date and time.") from None


def _object(value: Any) -> dict[str, Any]:
    """A JSON column's object, whether it came as one or as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
