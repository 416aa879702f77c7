"""Regular expressions that come with eval sets, which are untrusted: refused where they are too large, and timed.

checked_pattern(r"\\d+")              # itself; a ValueError where it is no pattern
extracted(r"total (\\d+)", text)      # its first group; None where it is not found, or takes too long
taken_out([",", r"\\$"], "$1,204")     # '1204'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import regex

PATTERN_TIMEOUT_S = 0.2
_LONGEST_PATTERN = 10_000
_LARGEST_PATTERN = 100_000  # written out, `(a{1000}){1000}` would take hundreds of megabytes
_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d{1,9})(?:,\d*)?\}|.", re.DOTALL)


def checked_pattern(pattern: str) -> str:
    """A regular expression that compiles, in little memory.

    Raises:
        ValueError: it does not.
    """
    if len(pattern) > _LONGEST_PATTERN or _written_out(pattern) > _LARGEST_PATTERN:
        raise ValueError("a regular expression that is too large, or repeats too much")
    try:
        compiled(pattern)
    except (regex.error, RecursionError, OverflowError) as failure:
        raise ValueError(f"not a regular expression: {failure}") from None
    return pattern


def _written_out(pattern: str) -> int:
    """How many parts a pattern has once its repeats are written out."""
    groups, last = [0], 0
    for part in _PART.finditer(pattern):
        if part.group() == "(":
            groups.append(0)
            last = 0
        elif part.group() == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif part.group(1):
            more = last * (int(part.group(1)) - 1)
            last += more
            groups[-1] += more
        else:
            last = 1
            groups[-1] += 1
    return sum(groups)


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> regex.Pattern[str]:
    """The compiled pattern."""
    return regex.compile(pattern)


def is_found(pattern: str, text: str) -> bool:
    """Whether a pattern is found.

    Raises:
        TimeoutError: it took longer than its time-out.
    """
    return compiled(pattern).search(text, timeout=PATTERN_TIMEOUT_S) is not None


def taken_out(patterns: Sequence[str], text: str) -> str | None:
    """A text without what patterns find, one after another; None where one takes longer than its time-out."""
    try:
        for pattern in patterns:
            text = compiled(pattern).sub("", text, timeout=PATTERN_TIMEOUT_S)
    except TimeoutError:
        return None
    return text


def extracted(pattern: str, text: str, take: str = "first") -> str | None:
    """What a pattern finds: its first group, or the whole match; None where it takes longer than its time-out."""
    match = None
    try:
        for match in compiled(pattern).finditer(text, timeout=PATTERN_TIMEOUT_S):  # noqa: B007
            if take == "first":
                break
    except TimeoutError:
        return None
    if match is None:
        return None
    return next((group for group in match.groups() if group is not None), match.group())
