"""From a question and its attempts to a row of the outcome table: what it cost, how long it took, how good it is.

outcome(question, model, attempts, machine)          # a row of the outcome table
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from workbench.catalog import Machine, Model
from workbench.journal import Attempt
from workbench.prices import BATCH_SHARE, machine_cost, token_cost
from workbench.privacy import gate, highest, redact, sensitivity_of
from workbench.runner.question import Question
from workbench.scorers import ScorerFailure, total

# A request that failed so may have been computed, and billed, all the same.
_MAYBE_BILLED = frozenset({"timeout", "disconnected", "protocol", "content_policy", "refusal"})


def ask_rules(question: Question, model: Model) -> list[Attempt]:
    """The rules' answer: computed in this process, through the same gate."""
    gate(question.payload, model.destination())
    assert question.evalset.rules is not None
    asked_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    started = time.perf_counter()
    text, error, error_class = None, None, None
    try:
        text = question.evalset.rules.answer(question.item.inputs)
        if text is None:
            error, error_class = "no rule matches: the rules abstain", "no_match"
    except TimeoutError as failure:
        error, error_class = str(failure), "timeout"
    return [
        Attempt(
            text,
            error,
            error_class,
            input_tokens=0,
            output_tokens=0,
            latency_s=time.perf_counter() - started,
            served_model="rules",
            engine_id="rules",
            asked_at=asked_at,
        )
    ]


def maybe_billed(attempt: Attempt) -> bool:
    """Whether a failed attempt may be on the bill: one that had begun to answer is."""
    return attempt.error_class in _MAYBE_BILLED or (attempt.error_class is not None and attempt.ttft_s is not None)


def attempt_cost(attempt: Attempt, model: Model, machine: Machine) -> float | None:
    """USD of one attempt, or None where it is not known."""
    if model.engine == "rules":
        return 0.0
    if model.price is None and model.zone == "local":
        return machine_cost(machine.usd_per_hour, attempt.busy_s)
    if attempt.error_class and not maybe_billed(attempt):
        return 0.0 if model.price is not None else None
    at = datetime.fromisoformat(attempt.asked_at) if attempt.asked_at else datetime.now(UTC)
    cost = token_cost(model.price, str(model.model), attempt.input_tokens, attempt.output_tokens, at)
    halved = attempt.batch and model.engine == "openai"  # a hosted API's batch; one on this machine is what it is
    return cost * BATCH_SHARE if cost is not None and halved else cost


def worst_cost(model: Model, input_tokens: int, output_tokens: int) -> float:
    """USD that one request costs at most; NaN where its price is not known, 0 for this machine's time."""
    if model.engine == "rules" or (model.price is None and model.zone == "local"):
        return 0.0
    cost = token_cost(model.price, str(model.model), input_tokens, output_tokens, datetime.now(UTC))
    return math.nan if cost is None else cost


def total_cost(values: list[float | None]) -> float | None:
    """A sum in which one unknown makes the whole unknown."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _latency_s(attempts: list[Attempt]) -> float | None:
    """Over all attempts and the waits between them; one that is not known makes the whole unknown."""
    known = [attempt.latency_s + attempt.backoff_s for attempt in attempts if attempt.latency_s is not None]
    return math.fsum(known) if len(known) == len(attempts) else None


def _tokens(attempts: list[Attempt], name: str) -> int | None:
    """Tokens over all attempts; an answer without a count makes the sum unknown, an error counts what it says."""
    counts = [getattr(attempt, name) for attempt in attempts]
    if any(count is None and attempt.text is not None for count, attempt in zip(counts, attempts, strict=True)):
        return None
    return sum(count or 0 for count in counts)


def spent(attempts: list[Attempt], model: Model, machine: Machine) -> dict[str, Any]:
    """The columns of the outcome table for tokens, cost and times, over all attempts."""
    return {
        "input_tokens": _tokens(attempts, "input_tokens"),
        "output_tokens": _tokens(attempts, "output_tokens"),
        "cost_usd": total_cost([attempt_cost(attempt, model, machine) for attempt in attempts]),
        "latency_s": _latency_s(attempts),
        "ttft_s": attempts[-1].ttft_s,
    }


def outcome(question: Question, model: Model, attempts: list[Attempt], machine: Machine) -> dict[str, Any]:
    """The row of the outcome table for a question and its attempts."""
    last = attempts[-1]
    item = question.item

    own = sensitivity_of(item.sensitivity)

    def kept(text: str | None) -> Any:
        # The row is labeled as its item. Where an open item's prompt has restricted examples, its texts may carry
        # them, and what redacts by the label would show them.
        return text if own == "restricted" else redact(text, highest(question.prompt.sources))

    row: dict[str, Any] = {
        "task": question.evalset.name,
        "item_id": item.id,
        "model": question.model,
        "variant": question.variant,
        "repeat": question.repeat,
        "split": "test",
        "score": math.nan,
        "accepted": False,
        "format_ok": False,
        "error": kept(last.error),
        "error_class": last.error_class,
        "attempts": len(attempts),
        # Apart from errors of the connection: only an answer in a wrong format is followed by another attempt.
        "format_retries": sum(attempt.text is not None for attempt in attempts[:-1]),
        **spent(attempts, model, machine),
        "wait_s": math.fsum(attempt.wait_s for attempt in attempts),
        "concurrency": last.concurrency,
        "served_model": last.served_model,
        "engine_id": last.engine_id,
        "output": kept(last.text),
        "prompt": kept(question.prompt.text),
        "slice": item.slice,
        "cluster": item.cluster,
        "sensitivity": own,
        "asked_at": last.asked_at,
        "source": "eval",
        "evalset_digest": question.evalset.digest,
    }
    if last.text is not None:
        row |= scored(question, last.text)
    return row


def scored(question: Question, text: str, verdicts: Mapping[str, float | None] | None = None) -> dict[str, Any]:
    """The columns of the outcome table that the scorers make of an answer; where one fails, there is no score.

    Args:
        verdicts: of judges, by their figure's name.
    """
    item, spec = question.item, question.evalset.spec
    answer = question.evalset.parse(text)
    try:
        score = total(question.evalset.scorers, answer, item.expectations, verdicts)
    except ScorerFailure as failure:
        nothing = {"score": math.nan, "format_ok": answer.format_ok, "accepted": False}
        return nothing | {"error": f"item {item.id}: {failure}", "error_class": "scorer"}
    columns: dict[str, Any] = {
        "score": score.value,
        "format_ok": answer.format_ok,
        "accepted": answer.format_ok and score.value >= spec.accept.min_score - 1e-9,
    }
    return columns | {f"metric.{name}": value for name, value in score.metrics.items()}
