r"""The JSON object that an answer means, where it writes one, several, or a skeleton first.

read_object('Sure: {"a": 1}', {"type": "object"})                          # ({'a': 1}, None)
read_object('{"a": 1}\nCorrected:\n{"a": 2}', {"type": "object"})          # ({'a': 2}, None)

The first that meets the schema counts: of the whole text, fenced blocks, and objects with text around. Another one does
where the line before it says that it corrects, or where the first has nothing in it and a later one has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from workbench.scorers.json_text import FENCE, json_at
from workbench.scorers.validity import schema_problem

_OBJECTS_LOOKED_AT = 50
_OPENINGS_LOOKED_AT = 1000  # of what may be an object; each try may read to the text's end
_LINE_LOOKED_AT = 200  # characters before an object
_HEADING = 3  # words of a line that announces without a colon
_OPENING = re.compile(r'\{\s*["}]')
_OPENED_FENCE = re.compile(r"```[a-zA-Z0-9]*\s*\Z")
_PLACEHOLDERS = {"", "...", "…"}
_THING = (
    r"(?:answers?|json|version|object|output|result|response|data|antwort|fassung|réponse|résultat|respuesta|versión)"
)
# A line that ends with "corrected", "my updated answer is:", "final JSON" and the like.
_CORRECTS = re.compile(
    rf"\b(?:corrected|corrections?|revised|revision|updated?|fixed|final(?=\s*:|\W+{_THING})"
    r"|korrigiert\w*|korrektur|berichtigt\w*|aktualisiert\w*|endgültig\w*"
    rf"|corrigé\w*|révisé\w*|(?:réponse|version) finale|corregid[oa]s?|corrección|actualizad[oa]s?|respuesta final)"
    rf"(?:\W+(?:{_THING}|is|here|below|as|follows|now|the|lautet|est|es|ist))*\W*\Z",
    re.IGNORECASE,
)
_CORRECTS_NOTHING = re.compile(
    r"\b(?:no|not|never|without|before|if|example|original|previous|first|kein\w*|nicht|ohne|vor|pas|sans|avant|sin|antes)\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Found:
    """An object and where it stands."""

    value: dict[str, Any]
    begins: int
    ends: int


def read_object(said: str, schema: dict[str, Any]) -> tuple[Any, str | None]:
    """The object that a text means, and why it does not meet the schema; None where there is no object."""
    meant: _Found | None = None
    unmet: tuple[Any, str] | None = None
    for found in islice(_found(said), _OBJECTS_LOOKED_AT):
        try:
            problem = schema_problem(found.value, schema)
        except TimeoutError:
            return (found.value, "a pattern of the schema took too long") if meant is None else (meant.value, None)
        if problem is not None:
            unmet = unmet or (found.value, problem)
            continue
        if meant is None or _takes_over(said, found, meant):
            meant = found
        if said.find("{", meant.ends) < 0:
            break
    return (meant.value, None) if meant is not None else unmet or (None, "no JSON object in the answer")


def json_objects(said: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that an answer may mean: the whole text, fenced blocks, objects with text around."""
    return (found.value for found in _found(said))


def _found(said: str) -> Iterator[_Found]:
    after = 0
    if said.startswith("{"):
        value, end = json_at(said)
        after = end if isinstance(value, dict) else 1
        if isinstance(value, dict):
            yield _Found(value, 0, end)
    for block in FENCE.finditer(said):
        inside = block.group(1)
        value, end = json_at(inside.strip())
        if isinstance(value, dict):
            begins = block.start(1) + len(inside) - len(inside.lstrip())
            yield _Found(value, begins, begins + end)
    unread = 4 * len(said) + 100_000  # characters that may still be read
    for _ in range(_OPENINGS_LOOKED_AT):
        opening = _OPENING.search(said, after)
        if opening is None or unread < 0:
            return
        value, end = json_at(said, opening.start())
        unread -= end - opening.start()
        after = opening.start() + 1
        if isinstance(value, dict):
            after = end
            yield _Found(value, opening.start(), end)


def _takes_over(said: str, later: _Found, meant: _Found) -> bool:
    """Whether an object counts in place of one before it."""
    if later.begins < meant.ends:
        return False
    if _is_skeleton(meant.value) and not _is_skeleton(later.value):
        return True
    before = said[max(meant.ends, later.begins - _LINE_LOOKED_AT) : later.begins]
    line = next(reversed(_OPENED_FENCE.sub("", before).rstrip().splitlines()), "")
    is_heading = line.rstrip(" *_").endswith(":") or len(re.findall(r"\w+", line)) <= _HEADING
    return is_heading and _CORRECTS.search(line) is not None and _CORRECTS_NOTHING.search(line) is None


def _is_skeleton(value: dict[str, Any]) -> bool:
    """Whether an object has nothing in it but nulls and empty texts, and beside such texts zeros and false."""
    leaves = list(_leaves(value))
    texts = [leaf for leaf in leaves if isinstance(leaf, str)]
    if any(text.strip() not in _PLACEHOLDERS for text in texts):
        return False
    return all(isinstance(leaf, str) or leaf is None or (not leaf and bool(texts)) for leaf in leaves)


def _leaves(value: Any) -> Iterator[Any]:
    """What is in an object and the lists and objects in it, which are not nested without end."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value
