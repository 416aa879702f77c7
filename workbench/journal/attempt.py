"""One request and what came of it, and the key that an answer is kept under.

attempt = Attempt("red", output_tokens=1, latency_s=0.02)
key = request_key(identity, body, repeat=0)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(slots=True)
class Attempt:
    """One request and what came of it.

    Attributes:
        text: the answer; None where there was an error.
        error_class: None, or what kind of error: connection (never reached), disconnected, timeout, rate_limit, server,
            auth, bad_request, not_found, context_length, content_policy, refusal, protocol, engine, no_match, expired
            (a batch ended without it).
        latency_s: from sending, with connecting where it was needed, to the last byte; None in a batch, which does not
            tell.
        ttft_s: from sending to the first text.
        wait_s: waited before it was sent, for a place, a limit or a pause of its endpoint.
        backoff_s: waited before this attempt because the last one failed.
        busy_s: share of a local engine's busy time.
        concurrency: requests in flight when it was sent, this one included; None in a batch.
        asked_at: UTC, ISO 8601.
        batch: whether it was answered in a batch, at a batch's price.
    """

    text: str | None
    error: str | None = None
    error_class: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = 0.0
    ttft_s: float | None = None
    wait_s: float = 0.0
    backoff_s: float = 0.0
    busy_s: float | None = None
    concurrency: int | None = 1
    served_model: str | None = None
    engine_id: str | None = None
    asked_at: str = ""
    retry_after_s: float | None = None
    batch: bool = False


_DEFAULTS = {field.name: field.default for field in fields(Attempt) if field.name != "text"}
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def to_record(attempts: list[Attempt]) -> str:
    """Attempts as JSON; what is as usual is left out."""
    rows = []
    for attempt in attempts:
        row: dict[str, Any] = {"text": attempt.text}
        for name, usual in _DEFAULTS.items():
            value = getattr(attempt, name)
            if value != usual:
                row[name] = value
        rows.append(row)
    return _encode(rows)


def from_record(record: str) -> list[Attempt]:
    """The attempts of a record; fields of a later version are passed over.

    Raises:
        ValueError: it is none.
    """
    try:
        rows = json.loads(record)
        found = [Attempt(row.pop("text"), **{k: v for k, v in row.items() if k in _DEFAULTS}) for row in rows]
    except (TypeError, AttributeError, KeyError) as failure:
        raise ValueError(str(failure)) from None
    if not found:
        raise ValueError("a record is empty")
    return found


def request_key(identity: Mapping[str, Any], body: Mapping[str, Any], repeat: int) -> str:
    """SHA-256 of who is asked, what exactly, and the how-manieth time.

    Zone, price, limits and scorers are no part of it: they apply afresh to an answer out of the journal.
    """
    return hashlib.sha256(canonical([identity, body, repeat]).encode()).hexdigest()
