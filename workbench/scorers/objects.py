r"""The JSON object that an answer means, where it writes one, several, or a skeleton first.

read_object('Sure: {"a": 1}', {"type": "object"})                          # ({'a': 1}, None)
read_object('{"a": 1}\nCorrected:\n{"a": 2}', {"type": "object"})          # ({'a': 2}, None)

The first that meets the schema counts: of the whole text, fenced blocks, and objects with text around. Another one does
where the line before it says that it corrects. One with nothing in it gives way to a later one that fills it in: that
follows at once or is announced as the answer, or where the line before the first calls it a draft or a template.
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
# What may stand before "corrected" where nothing else says what is: "Invoice 7 (corrected):" is another document.
_ALONE = re.compile(
    r"\A\W*(?:(?:wait|actually|sorry|oops|ok(?:ay)?|so|now|here(?:['’]s)?|is|are|this|it|with|my|the|a|hier|die|der|das"
    r"|la|le|el|final|again|and)\b\W*)*\Z",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"\b{_THING}\b", re.IGNORECASE)
_SENTENCE_ENDS = re.compile(r"[.!?]\s+")
# What announces an object that fills in a skeleton; beside what begins another document it does not.
_FILLS_IN = re.compile(
    r"\b(?:answer|result|output|response|filled|completed?|extracted|after (?:reading|extracti(?:on|ng))|final"
    r"|here(?:['’]s| is)|(?:the|my) json|antwort|ergebnis|ausgefüllt"
    r"|réponse|résultat|rempli|respuesta|resultado|completad[oa])\b",
    re.IGNORECASE,
)
_IS_OTHER = re.compile(
    r"\b(?:examples?|if|would|could|might|previous|other|another|next|different|beispiel\w*|wenn|wäre|exemple|autre"
    r"|serait|ejemplo|otr[oa]|sería|si)\b",
    re.IGNORECASE,
)
_ANOTHER_DOCUMENT = re.compile(
    r"^\W*(?:document|text|input|question|invoice|e-?mail|message|ticket|letter|user|human|task|instruction|dokument"
    r"|rechnung|frage|aufgabe|texte|facture|documento|texto|factura|pregunta)\b[^\n]{0,40}:",
    re.IGNORECASE | re.MULTILINE,
)
_DRAFT = re.compile(
    r"\b(?:draft|template|skeleton|placeholders?|blank|entwurf|vorlage|brouillon|modèle|borrador|plantilla)\b"
    r"|\A\W*(?:(?:the|output|json|expected|required|das|le|el)\s)*(?:format|schema|structure|schéma|formato|esquema)\b",
    re.IGNORECASE,
)
_BY_IT = re.compile(r"\b(?:answer|based|following|according|using|by|as|in|from)\b", re.IGNORECASE)


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
    line = _line_before(said, later, meant.ends)
    is_heading = line.rstrip(" *_").endswith(":") or len(re.findall(r"\w+", line)) <= _HEADING
    if is_heading and _corrects(line):
        return True
    return _is_skeleton(meant.value) and not _is_skeleton(later.value) and _fills_in(said, later, meant, line)


def _line_before(said: str, found: _Found, after: int = 0) -> str:
    """The line before an object, or what stands before it on its line."""
    before = said[max(after, found.begins - _LINE_LOOKED_AT) : found.begins]
    return next(reversed(_OPENED_FENCE.sub("", before).rstrip().splitlines()), "")


def _corrects(line: str) -> bool:
    """Whether a line says that what follows corrects the answer, and not that a document is corrected."""
    sentence = _SENTENCE_ENDS.split(line.rstrip())[-1]
    found = _CORRECTS.search(sentence)
    if found is None or _CORRECTS_NOTHING.search(sentence) is not None:
        return False
    return _NAMED.search(sentence) is not None or _ALONE.match(sentence[: found.start()]) is not None


def _fills_in(said: str, later: _Found, meant: _Found, line: str) -> bool:
    """Whether an object fills in a skeleton before it, and is no example and no other document's."""
    if _has_dots(meant.value):
        return True
    between = said[meant.ends : later.begins].replace("```json", "").replace("```", "")
    if not any(map(str.isalnum, between)):
        return True
    if _IS_OTHER.search(line) or _CORRECTS_NOTHING.search(line) or _ANOTHER_DOCUMENT.search(between):
        return False
    heading = _line_before(said, meant)
    return _FILLS_IN.search(line) is not None or (_DRAFT.search(heading) is not None and _BY_IT.search(heading) is None)


def _has_dots(value: dict[str, Any]) -> bool:
    """Whether a text in an object is "...", which is no answer."""
    return any(isinstance(leaf, str) and leaf.strip() in ("...", "…") for leaf in _leaves(value))


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
