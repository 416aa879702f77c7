"""From what a judge wrote to its verdict, or to none where it cannot be told.

verdict_in('{"reason": "polite", "verdict": "Pass"}', ("pass", "fail"))        # 'pass'

A judge quotes the answer that it judges, which may hold a verdict of its own, and a later verdict may take back an
earlier one. So all verdicts in a text have to be the same: to read none is better than to read the opposite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from workbench.scorers.answer import without_thoughts

_OPENINGS = 1000  # of what may be an object
_SPELLINGS = {"passed": "pass", "passes": "pass", "failed": "fail", "fails": "fail"}
_MARKS = " \t\r\n.!*_`'\""
# A line of its own: "Verdict: pass", "**My final verdict:** FAIL."
_LINE = re.compile(
    r"^[ \t>#*_-]*(?:(?:my|the|final|overall)[ \t]+)*verdict[ \t*_]*[:=][ \t*_\"'`]*(?P<word>[a-z]+)[ \t*_\"'`.!]*\r?$",
    re.IGNORECASE | re.MULTILINE,
)
# The end of an object whose reason has quotes that break it.
_END = re.compile(r"[{,]\s*\"verdict\"\s*:\s*\"(?P<word>[a-z]+)\.?\"\s*,?\s*\}", re.IGNORECASE)
# Anywhere; what the request itself says, "pass"|"fail", is none.
_MENTION = re.compile(r"\bverdict\b[\"'*_\s\\]*[:=][\"'*_\s\\]*(?P<word>[a-z]+)\b(?![\"'\s]*[|/])", re.IGNORECASE)


def verdict_in(text: str, choices: tuple[str, ...]) -> str | None:
    """The verdict of a judge's text; None where it has none, or several that differ.

    It stands in a JSON object, or on a line of its own behind "Verdict:". What is thought does not count.

    Args:
        text: what the judge wrote.
        choices: the verdicts that it may give.
    """
    said = without_thoughts(text)
    if said is None:
        return None
    objects, rest = _objects(said)
    stated = {choice for value in objects if (choice := _choice(value, choices))}
    stated |= {choice for each in (_LINE, _END) for choice in _words(each, rest, choices)}
    mentioned = stated | set(_words(_MENTION, rest, choices))
    return stated.pop() if len(stated) == len(mentioned) == 1 else None


def _choice(value: Any, choices: tuple[str, ...]) -> str | None:
    if not isinstance(value, str):
        return None
    word = value.strip(_MARKS).casefold()
    word = _SPELLINGS.get(word, word)
    return word if word in choices else None


def _words(pattern: re.Pattern[str], text: str, choices: tuple[str, ...]) -> Iterator[str]:
    for found in pattern.finditer(text):
        choice = _choice(found["word"], choices)
        if choice is not None:
            yield choice


class _Pairs(list[tuple[str, Any]]):
    """An object as its pairs, so that a key that stands there twice is seen; a list is none."""


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs)  # a reason may have line breaks as they are


def _objects(said: str) -> tuple[list[Any], str]:
    """What outermost JSON objects say under "verdict", and the text around them."""
    values: list[Any] = []
    around: list[str] = []
    after = start = 0
    unread = 4 * len(said) + 100_000  # characters that may still be read
    for _ in range(_OPENINGS):
        opening = said.find("{", start)
        if opening < 0 or unread < 0:
            break
        try:
            pairs, end = _DECODER.raw_decode(said, opening)
        except json.JSONDecodeError as failure:
            unread -= failure.pos - opening
            start = opening + 1
            continue
        except (ValueError, RecursionError):
            unread -= 20_000
            start = opening + 1
            continue
        unread -= end - opening
        values += [value for key, value in pairs if key.strip().casefold() == "verdict"]
        around.append(said[after:opening])
        after = start = end
    return values, "\n\n".join([*around, said[after:]])
