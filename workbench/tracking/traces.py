"""Traces: sampled outcomes with their prompt, answer, true times and scores, linked to their candidate's run.

    traced = log_traces(client, store, experiment, run)
    traced.problems                       # what is not in the store, counted there afterwards

MLflow's own way in is a queue that holds 1,000 and drops the rest, so traces and spans are handed to its client
directly, and whatever fails is told. The two-run comparison pairs traces by the preview of their request: it begins
with the item, and is the same for all candidates, whatever the variant made of the item.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.outcomes import UNSCORED
from workbench.privacy import redact, redact_outcomes
from workbench.tracking.sample import labeled, sample, sampled_rows
from workbench.words import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from workbench.evalset.items import Item
    from workbench.runner import Run
    from workbench.tracking.store import Store

_PREVIEW = 1000  # letters that the store keeps of a request or an answer in a list
_LONGEST = 20_000  # letters of a prompt or an answer in a trace
_SPANS_AT_ONCE = 100
_SERVER_THREADS = 4  # a server is asked once for each trace
_ENOUGH = 4  # failures of a store of this machine
_NOT_SHOWN = "metric.class."  # codes of labels, which are no scores


@dataclass(frozen=True)
class Traced:
    """What was to be traced, and what the store has of it."""

    wanted: int
    stored: int
    of: int
    failures: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        if self.stored == self.wanted:
            return []
        why = f": {self.failures[0]}" if self.failures else ""
        of = f"of {counted(self.wanted, 'trace')}"
        lost = counted(self.wanted - self.stored, f"{of} is", f"{of} are")
        return [f"MLflow: {lost} not in the store{why}."]

    def __str__(self) -> str:
        return f"{self.stored} of {counted(self.of, 'outcome')}, the same items for all candidates of a task"


def log_traces(client: MlflowClient, store: Store, experiment: str, run: Run) -> Traced:
    """Log a bounded sample of a run's outcomes, and count what the store then has."""
    items = sample(run.outcomes)
    rows = labeled(redact_outcomes(sampled_rows(run.outcomes, items)), items)
    told = {(name, item.id): _told(item) for name in items for item in run.tasks[name].items if item.id in items[name]}
    made = [
        _trace(row, experiment, run.tracked[row["candidate"]], told[row["task"], row["item_id"]], run.started)
        for row in _records(rows)
    ]
    failures = _send(client, store, experiment, made)
    stored = sum(_count(client, experiment, run_id) for run_id in run.tracked.values()) if made else 0
    return Traced(len(made), stored, len(run.outcomes), tuple(dict.fromkeys(failures)))


def _records(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows without what they do not have."""
    for row in rows.astype(object).where(rows.notna(), None).to_dict("records"):
        yield {str(name): value for name, value in row.items() if value is not None}


def _told(item: Item) -> tuple[str, str]:
    """An item's inputs on a line, and its key as JSON; both redacted as its texts are."""
    inputs = " | ".join(str(value) for value in item.inputs.values())
    key = json.dumps(item.expectations, ensure_ascii=False)
    return redact(" ".join(inputs.split()), item.sensitivity), redact(key, item.sensitivity)


def _trace(
    row: Mapping[str, Any], experiment: str, run_id: str, told: tuple[str, str], started: datetime
) -> tuple[Any, Any]:
    """An outcome as MLflow's trace: what it is, with its assessments; and its only span, with the texts."""
    from mlflow.entities import Span, TraceInfo, TraceLocation, TraceState

    number = secrets.token_bytes(16)
    trace_id = f"tr-{number.hex()}"
    start_ns = int(row.get("asked_at", started).timestamp() * 1000) * 1_000_000
    end_ns = start_ns + int(row.get("latency_s", 0) * 1e9)
    answer = row.get("output", row.get("error"))
    asked, answered = _cut(row.get("prompt"), _LONGEST), _cut(answer, _LONGEST)
    usage = {name: int(row[name]) for name in ("input_tokens", "output_tokens") if name in row}
    usage |= {"total_tokens": sum(usage.values())} if usage else {}
    cost = {"total_cost": float(row["cost_usd"])} if "cost_usd" in row else {}
    failed = "error_class" in row
    attributes = {
        "mlflow.traceRequestId": trace_id,
        "mlflow.spanType": "LLM",
        "mlflow.spanInputs": {"item": row["item_id"], "prompt": asked},
        "mlflow.spanOutputs": answered,
        "mlflow.llm.model": row["model"],
        **({"mlflow.chat.tokenUsage": usage} if usage else {}),
        **({"mlflow.llm.cost": cost} if cost else {}),
    }
    status = {"code": "STATUS_CODE_ERROR", "message": _cut(row.get("error"), _PREVIEW) or row.get("error_class", "")}
    span = {
        "trace_id": base64.b64encode(number).decode(),
        "span_id": base64.b64encode(secrets.token_bytes(8)).decode(),
        "parent_span_id": "",
        "name": row["candidate"],
        "start_time_unix_nano": start_ns,
        "end_time_unix_nano": end_ns,
        "status": status if failed else {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {name: json.dumps(value, ensure_ascii=False) for name, value in attributes.items()},
        "events": [],
    }
    info = TraceInfo(
        trace_id=trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=start_ns // 1_000_000,
        execution_duration=(end_ns - start_ns) // 1_000_000,
        state=TraceState.ERROR if failed else TraceState.OK,
        request_preview=_preview(row, told[0]),
        response_preview=_cut(answer, _PREVIEW),
        trace_metadata={
            "mlflow.sourceRun": run_id,
            "mlflow.trace_schema.version": "3",
            **({"mlflow.trace.tokenUsage": json.dumps(usage)} if usage else {}),
            **({"mlflow.trace.cost": json.dumps(cost)} if cost else {}),
        },
        tags={"mlflow.traceName": row["task"], **{name: str(row[name]) for name in ("item_id", "candidate", "why")}},
        assessments=_assessments(row, run_id, told[1]),
    )
    return info, Span.from_dict(span)


def _preview(row: Mapping[str, Any], inputs: str) -> str | None:
    """What the request is in a list: the item first, since pages pair two runs' traces by this text alone."""
    return _cut(f"{row['item_id']} ({row['task']}, {row['why']}) {inputs}", _PREVIEW)


def _cut(text: Any, most: int) -> str | None:
    if not isinstance(text, str) or len(text) <= most:
        return text if isinstance(text, str) else None
    told = f" … {len(text):,} characters"
    return text[: most - len(told)] + told


def _assessments(row: Mapping[str, Any], run_id: str, expected: str) -> list[Any]:
    """The same names on every trace of a task; an outcome without an answer scores 0, as in the leaderboard.

    Where a judge or a scorer failed, nothing is known of the answer: there is no score, as there is none there.
    """
    from mlflow.entities import AssessmentSource, Expectation, Feedback

    values: dict[str, Any] = {
        "score": round(float(row.get("score", 0.0)), 4),
        "accepted": bool(row.get("accepted", False)),
        "format_ok": bool(row.get("format_ok", False)),
        "error_class": row.get("error_class", "none"),
    }
    if values["error_class"] in UNSCORED:
        del values["score"], values["accepted"]
    for name, value in row.items():
        if name.startswith("metric.") and not name.startswith(_NOT_SHOWN) and math.isfinite(value):
            values[name] = round(float(value), 4)  # with its prefix: the page opens with the first three names
    source = AssessmentSource(source_type="CODE", source_id="workbench")
    from_run = {"mlflow.assessment.sourceRunId": run_id}
    made = [Feedback(name=name, value=value, source=source, metadata=from_run) for name, value in values.items()]
    return [*made, Expectation(name="expected_response", value=expected, source=source, metadata=from_run)]


def _send(client: MlflowClient, store: Store, experiment: str, made: Iterable[tuple[Any, Any]]) -> list[str]:
    """Hand traces to the store; what went wrong, by trace or by batch of spans.

    Raises:
        Exception: a server that refused one is gone.
    """
    tracing = client._tracing_client  # MLflow has no public way in that tells what it dropped
    failures: list[str] = []
    enough = 1 if store.is_server else _ENOUGH  # then the rest is not tried: each may wait for an answer in vain

    def start(trace: tuple[Any, Any]) -> Any:
        if len(failures) < enough:
            try:
                tracing.start_trace(trace[0])
                return trace[1]
            except Exception as failure:  # noqa: BLE001  (whatever MLflow raises; it is told, and counted)
                failures.append(store.said(failure))
        return None

    with ThreadPoolExecutor(_SERVER_THREADS if store.is_server else 1) as threads:
        started = [span for span in threads.map(start, made) if span is not None]
    if failures and store.is_server:
        with store.briefly():
            client.get_experiment(experiment)
    for first in range(0, len(started), _SPANS_AT_ONCE):
        try:
            tracing.log_spans(experiment, started[first : first + _SPANS_AT_ONCE])
        except Exception as failure:  # noqa: BLE001  (as above)
            failures.append(store.said(failure))
    return failures


def _count(client: MlflowClient, experiment: str, run_id: str) -> int:
    """How many traces of a run the store has together with their spans."""
    whole = f"metadata.`mlflow.sourceRun` = '{run_id}' AND tags.`mlflow.trace.spansLocation` = 'TRACKING_STORE'"
    count, token = 0, None
    while True:
        page = client.search_traces(
            locations=[experiment], filter_string=whole, max_results=500, page_token=token, include_spans=False
        )
        count, token = count + len(page), page.token
        if not token:
            return count
