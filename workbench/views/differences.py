"""Where texts and answers differ: words of a text, fields of a JSON answer.

words("due in May", "due in June")           # [Part("due in ", False), Part("June", True)]
fields([{"queue": "bug"}, {"queue": "billing"}])
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from workbench.words import counted

_WORDS = re.compile(r"\s*(?:\w+|[^\w\s])\s*|\s+")  # with the space around, or it would match everywhere
_MOST_WORDS = 1500  # of both texts: comparing more takes too long for somebody who pages through
_MOST_PAIRS = 20_000  # of equal words: a text that says one thing over and over takes as long
_MOST_FIELDS = 200
ABSENT = "—"  # what a field shows where an answer does not have it


def sendable(text: str) -> str:
    """A text as a page can hold it: half a character (a lone surrogate), as "\\ud800" in JSON makes, is written out."""
    return text.encode("utf-8", "backslashreplace").decode()


class Part(NamedTuple):
    """A piece of a text, and whether it is not in the other one."""

    text: str
    differs: bool


class Row(NamedTuple):
    """A field of several answers: its path, each one's value, and which differ from the first."""

    path: str
    values: list[str]
    differs: list[bool]


def words(reference: str, text: str) -> list[Part]:
    """A text in pieces, those marked that are not in the reference, whatever the space between them.

    A long text, or one that repeats itself, is not compared: nothing is marked.
    """
    own, theirs = _WORDS.findall(text), [word.strip() for word in _WORDS.findall(reference)]
    bare = [word.strip() for word in own]
    if theirs == bare or len(theirs) + len(own) > _MOST_WORDS:
        return [Part(text, False)]
    often = Counter(theirs)
    if sum(often[word] for word in bare) > _MOST_PAIRS:
        return [Part(text, False)]
    parts = []
    for kind, _, _, first, last in SequenceMatcher(None, theirs, bare, autojunk=False).get_opcodes():
        if last > first:
            parts.append(Part("".join(own[first:last]), kind != "equal"))
    return parts


def nearest(references: Sequence[str], text: str) -> list[Part]:
    """A text in pieces as `words` has them, against that one of some references from which it differs least."""
    against = [words(reference, text) for reference in references]
    return min(against, key=lambda parts: sum(len(part.text) for part in parts if part.differs))


def parsed(text: str) -> Any:
    """An answer as JSON, where it is an object or a list; else None. A fence around it is taken off."""
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if not body.startswith(("{", "[")):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def fields(answers: Sequence[Any], several: Collection[str] = ()) -> list[Row]:
    """JSON answers field by field, in the order in which fields first come; the first answer is the reference.

    Args:
        answers: parsed JSON; None where an answer is none.
        several: paths where the reference has a list of values that are each right.
    """
    flat = [_leaves(answer, () if at else several) for at, answer in enumerate(answers)]
    paths = list(dict.fromkeys(path for each in flat for path in each))
    rows = []
    for path in paths[:_MOST_FIELDS]:
        values = [each.get(path, [ABSENT]) for each in flat]
        differs = [not set(each) <= set(values[0]) for each in values]
        rows.append(Row(path or "(all)", [" or ".join(each) for each in values], differs))
    if len(paths) > _MOST_FIELDS:
        rows.append(
            Row(f"… {counted(len(paths) - _MOST_FIELDS, 'more field')}", [""] * len(answers), [False] * len(answers))
        )
    return rows


def _leaves(value: Any, several: Collection[str]) -> dict[str, list[str]]:
    """A value's leaves by their paths, each as what is shown; without recursion, for it may be nested deeply.

    Args:
        several: paths where a list is one leaf, of several texts.
    """
    found: dict[str, list[str]] = {}
    stack = [] if value is None else [("", value)]
    while stack:
        path, here = stack.pop()
        inner: list[tuple[str, Any]] = []
        if isinstance(here, dict):
            inner = [(f"{path}.{key}" if path else str(key), each) for key, each in here.items()]
        elif isinstance(here, list):
            inner = [(f"{path}[{index}]", each) for index, each in enumerate(here)]
        if inner and path in several:
            found[sendable(path)] = [_leaf(each) for _, each in inner]
        elif inner:
            stack += reversed(inner)
        else:
            found[sendable(path)] = [_leaf(here)]
    return found


def _leaf(value: Any) -> str:
    """A value as it is shown: text bare, but in quotes where it would read as another value, or as none."""
    bare = isinstance(value, str) and value.strip() not in ("", ABSENT) and not _is_json(value)
    return sendable(value if bare else json.dumps(value, ensure_ascii=False))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
