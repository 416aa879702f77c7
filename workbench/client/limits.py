"""What a server says about its limits: how long to wait, and what is left until when.

retry_after({"retry-after": "2"})                                                          # 2.0
remaining({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2s"})       # [Left("tokens", 0, 62.0)]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Kind = Literal["requests", "tokens"]
# How vendors name what is left of a limit, and when it is full again: OpenAI and those like it; Anthropic.
_NAMES: tuple[tuple[Kind, str, str], ...] = (
    ("requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("requests", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("tokens", "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("requests", "ratelimit-remaining", "ratelimit-reset"),
)


class Left(NamedTuple):
    """What is left of a limit, and the seconds until it is full again."""

    kind: Kind
    amount: int
    reset_s: float


def remaining(headers: Mapping[str, str]) -> list[Left]:
    """What a response says is left of the limits; empty where it says nothing that can be read."""
    found = []
    for kind, left, reset in _NAMES:
        if left in headers:
            amount, wait_s = headers[left].strip(), _duration(headers.get(reset, ""))
            if amount.isascii() and amount.isdigit() and wait_s is not None:
                found.append(Left(kind, int(amount[:12]), wait_s))
    return found


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait, stated as a number or as a date; None where it does not say."""
    precise = headers.get("retry-after-ms", "").strip()
    if precise.isascii() and precise.isdigit():
        return int(precise[:12]) / 1000
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # no date, or one without a time zone, or beyond all years
        return None


def _duration(text: str) -> float | None:
    """Seconds out of `1m2.5s`, `120ms`, plain seconds or a date in ISO 8601."""
    text = text.strip()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    try:
        if "T" in text:
            until = datetime.fromisoformat(text)
            return max((until - datetime.now(UTC)).total_seconds(), 0.0) if until.tzinfo else None
        seconds = float(text)
        return seconds if 0 <= seconds < 1e6 else None
    except ValueError:
        return None
