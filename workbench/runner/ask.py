"""One question: through the gate, from the journal or from the model, with retries, to an outcome.

attempts = await ask(question, client, journal)
outcome(question, model, attempts, machine)          # a row of the outcome table
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from workbench.catalog import Machine, Model
from workbench.client import RETRYABLE, Client
from workbench.errors import InputError
from workbench.journal import Attempt, Journal
from workbench.prices import BusyMeter, machine_cost, token_cost
from workbench.privacy import Payload, gate, redact, sensitivity_of
from workbench.runner.plan import Question
from workbench.scorers import total

MAX_RETRIES = 3
_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
# A request that failed so may have been computed, and billed, all the same.
_MAYBE_BILLED = frozenset({"timeout", "disconnected", "protocol", "content_policy", "refusal"})


class Askable(Protocol):
    """What is asked: a contestant's question, or a judge's."""

    @property
    def key(self) -> str: ...
    @property
    def body(self) -> dict[str, Any]: ...
    @property
    def payload(self) -> Payload: ...
    @property
    def format_retries(self) -> int:
        """How often an answer in a wrong format is asked for again."""

    def format_ok(self, text: str) -> bool:
        """Whether an answer keeps its format."""


def replay(question: Askable, model: Model, journal: Journal) -> list[Attempt] | None:
    """The attempts out of the journal, where they are all that would be made; else None.

    The gate comes first here too: an answer to a text that may not reach the model is not used.
    """
    gate(question.payload, model.destination())
    stored = journal.get(question.key)
    if stored is None:
        return None
    kept, complete = _consume(question, stored)
    return kept if complete else None


def _consume(question: Askable, stored: list[Attempt]) -> tuple[list[Attempt], bool]:
    """Walk through stored attempts as if they were made now, under today's number of format retries."""
    kept: list[Attempt] = []
    answers = 0
    for attempt in stored:
        kept.append(attempt)
        if attempt.text is None:
            continue
        answers += 1
        if question.format_ok(attempt.text) or answers > question.format_retries:
            return kept, True
    return kept, False


async def ask(
    question: Askable,
    client: Client,
    journal: Journal,
    meter: BusyMeter | None = None,
    broken: Callable[[], str | None] = lambda: None,
) -> list[Attempt]:
    """Ask until there is an answer in the right format, or the retries are used up.

    Args:
        meter: splits a local engine's time over the attempts; None for one that is paid by the token.
        broken: says why the engine is dead, so that nothing more is sent to it.

    Returns:
        All attempts, the deciding one last. Where that is an answer, it is in the journal by now.
    """
    attempts, complete = _consume(question, journal.get(question.key) or [])
    if complete:  # answered since the plan was made: by another process, or for an item with the same inputs
        gate(question.payload, client.endpoint.destination)
        return attempts
    answers = sum(attempt.text is not None for attempt in attempts)
    while True:
        tried = await _until_answer(question, client, meter, broken, answers)
        attempts += tried
        if tried[-1].text is None:
            return attempts
        answers += 1
        done = question.format_ok(tried[-1].text) or answers > question.format_retries
        if done:
            journal.put(question.key, attempts)
            return attempts


async def _until_answer(
    question: Askable,
    client: Client,
    meter: BusyMeter | None,
    broken: Callable[[], str | None],
    answers: int,
) -> list[Attempt]:
    """One answer, with retries of what can be retried."""
    body = question.body
    if answers and "seed" in body:  # asking again with the same seed would only repeat the answer
        body = {**body, "seed": body["seed"] + answers}
    released = gate(Payload(body, question.payload.sources), client.endpoint.destination)
    tried: list[Attempt] = []
    backoff_s = 0.0
    while True:
        if meter is None:
            attempt = await client.attempt(released)
        else:
            with meter.attempt() as share:
                attempt = await client.attempt(released)
            attempt = replace(attempt, busy_s=share.share_s)
        dead = broken() if attempt.error_class else None
        if dead:
            attempt = replace(attempt, error=dead, error_class="engine")
        tried.append(replace(attempt, backoff_s=backoff_s))
        if attempt.error_class not in RETRYABLE or len(tried) > MAX_RETRIES:
            return tried
        backoff_s = _backoff(len(tried), attempt.retry_after_s)
        await asyncio.sleep(backoff_s)


def _backoff(tries: int, retry_after_s: float | None) -> float:
    """Exponential with jitter; what the server asks for goes before."""
    if retry_after_s is not None:
        return min(retry_after_s, _MAX_BACKOFF_S)
    return float(min(_BACKOFF_S * 2 ** (tries - 1), _MAX_BACKOFF_S) * random.uniform(0.5, 1.5))


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


def attempt_cost(attempt: Attempt, model: Model, machine: Machine) -> float | None:
    """USD of one attempt, or None where it is not known."""
    if model.engine == "rules":
        return 0.0
    if model.price is None and model.zone == "local":
        return machine_cost(machine.usd_per_hour, attempt.busy_s)
    if attempt.error_class and attempt.error_class not in _MAYBE_BILLED:
        return 0.0 if model.price is not None else None
    at = datetime.fromisoformat(attempt.asked_at) if attempt.asked_at else datetime.now(UTC)
    return token_cost(model.price, str(model.model), attempt.input_tokens, attempt.output_tokens, at)


def total_cost(values: list[float | None]) -> float | None:
    """A sum in which one unknown makes the whole unknown."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _tokens(attempts: list[Attempt], name: str) -> int | None:
    """Tokens over all attempts; an answer without a count makes the sum unknown, an error counts what it says."""
    counts = [getattr(attempt, name) for attempt in attempts]
    if any(count is None and attempt.text is not None for count, attempt in zip(counts, attempts, strict=True)):
        return None
    return sum(count or 0 for count in counts)


def outcome(question: Question, model: Model, attempts: list[Attempt], machine: Machine) -> dict[str, Any]:
    """The row of the outcome table for a question and its attempts."""
    last = attempts[-1]
    item = question.item

    def kept(text: str | None) -> Any:
        # The row is labeled as its item. Where an open item's prompt has restricted examples, its texts may carry
        # them, and what redacts by the label would show them.
        own = sensitivity_of(item.sensitivity)
        return text if own == "restricted" else redact(text, question.payload.sensitivity)

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
        "input_tokens": _tokens(attempts, "input_tokens"),
        "output_tokens": _tokens(attempts, "output_tokens"),
        "cost_usd": total_cost([attempt_cost(attempt, model, machine) for attempt in attempts]),
        "latency_s": math.fsum(attempt.latency_s + attempt.backoff_s for attempt in attempts),
        "ttft_s": last.ttft_s,
        "wait_s": 0.0,
        "concurrency": last.concurrency,
        "served_model": last.served_model,
        "engine_id": last.engine_id,
        "output": kept(last.text),
        "prompt": kept(question.prompt.text),
        "slice": item.slice,
        "cluster": item.cluster,
        "sensitivity": sensitivity_of(item.sensitivity),
        "asked_at": last.asked_at,
        "source": "eval",
        "evalset_digest": question.evalset.digest,
    }
    if last.text is not None:
        row |= scored(question, last.text)
    return row


def scored(question: Question, text: str, verdicts: Mapping[str, float | None] | None = None) -> dict[str, Any]:
    """The columns of the outcome table that the scorers make of an answer.

    Args:
        verdicts: of judges, by their figure's name.
    """
    item, spec = question.item, question.evalset.spec
    answer = question.evalset.parse(text)
    try:
        score = total(question.evalset.scorers, answer, item.expectations, verdicts)
    except InputError as failure:
        raise InputError(f"item {item.id}: {failure}") from None
    columns: dict[str, Any] = {
        "score": score.value,
        "format_ok": answer.format_ok,
        "accepted": answer.format_ok and score.value >= spec.accept.min_score - 1e-9,
    }
    return columns | {f"metric.{name}": value for name, value in score.metrics.items()}
