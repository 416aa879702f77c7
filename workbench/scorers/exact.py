"""Exact match: 1 where the answer is the expected text, or one of several accepted ones.

scorers: [{type: exact}]                          # expectations: {"answer": "Paris"} or {"answer": ["Paris", "paris"]}
scorers: [{type: exact, ignore: [case, punctuation]}]
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Literal

import regex

from workbench.scorers.answer import Answer, answered
from workbench.scorers.base import FieldScorer, Score, as_text, scorer

Ignored = Literal["case", "punctuation", "articles", "accents"]

_MINUS = regex.compile(r"[\p{Pd}−]")
# What is kept as it is, what is kept apart from its neighbors, and what falls.
_SIGN = regex.compile(
    r"(?P<kept>(?<!\w)-(?=\p{Sc}?\.?\d)|(?<=\d)[.,](?=\d)|(?<![\w.])\.(?=\d))|(?P<apart>[\p{S}#%‰&@/\\--\p{Sk}])|[\p{P}\p{Sk}]",
    regex.VERSION1,
)


def normalized(text: str, ignore: list[Ignored]) -> str:
    """Text without what is ignored; runs of white space are always one space.

    Punctuation is what Unicode calls so: quotes, brackets, dashes, full stops, commas. Signs that carry meaning are
    none: symbols (+ < = $ €), # % & @ and slashes, a minus or a point before a number, a point or comma within one.
    """
    if "accents" in ignore:
        text = "".join(part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part))
    if "case" in ignore:
        text = text.casefold()
    if "punctuation" in ignore:
        text = _SIGN.sub(_without_punctuation, _MINUS.sub("-", text))
    if "articles" in ignore:
        text = re.sub(r"\b(a|an|the)\b", " ", text, flags=re.IGNORECASE)
    return " ".join(unicodedata.normalize("NFC", text).split())


def _without_punctuation(sign: regex.Match[str]) -> str:
    return sign["kept"] or f" {sign['apart'] or ''} "


def nothing_left(ignore: list[Ignored], accepted: list[Any], key: str) -> str | None:
    """A problem where an expected text has nothing that is not ignored: every answer would have it."""
    if all(normalized(as_text(value), ignore) for value in accepted):
        return None
    return f"expectations.{key} has nothing but what is ignored. Change it, or 'ignore'"


@scorer("exact")
class ExactScorer(FieldScorer):
    """Equality of text, white space aside, or of what stands behind "Answer:" on its line. See `FieldScorer`.

    Attributes:
        ignore: what makes no difference besides.
        match: `whole`, or only how the answer `begins` or `ends`.
    """

    type: Literal["exact"]
    ignore: list[Ignored] = []
    match: Literal["whole", "begins", "ends"] = "whole"

    def check(self, expectations: dict[str, Any]) -> str | None:
        return super().check(expectations) or nothing_left(self.ignore, self.accepted(expectations), self.expected_key)

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        text = self.given_text(answer)
        if text is None:
            return Score(0.0)
        texts = {text} if self.field or self.extract else {text, answered(text).partition("\n")[0]}
        given = {normalized(each, self.ignore) for each in texts}
        return Score(float(any(self._agrees(each, value) for each in given for value in self.accepted(expectations))))

    def _agrees(self, given: str, expected: Any) -> bool:
        wanted = normalized(as_text(expected), self.ignore)
        if self.match == "begins":
            return given.startswith(wanted)
        return given.endswith(wanted) if self.match == "ends" else given == wanted
