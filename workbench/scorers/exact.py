"""Exact match: 1 where the answer is the expected text, or one of several accepted ones.

scorers: [{type: exact}]                          # expectations: {"answer": "Paris"} or {"answer": ["Paris", "paris"]}
scorers: [{type: exact, ignore: [case, punctuation]}]
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Literal

import regex

from workbench.scorers.announced import answered
from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, as_text, scorer
from workbench.scorers.spelling import composed
from workbench.scorers.texts import TextScorer

Ignored = Literal["case", "punctuation", "articles", "accents"]

# "$5$" is mathematics and no amount; "=> Paris", "> Paris" and "<Paris>" compare nothing, but "> 5" does.
_MATH = regex.compile(r"(?<![\w$])(\$\$?)(?=[^\s$])([^$]*)(?<=\S)\1(?![\w$])")
_ARROW = regex.compile(r"^[ \t]*(?:[=-]+>|[→⇒]|>+(?![>=]|[ \t]*[-.\p{Sc}]*\d))", regex.MULTILINE)
_TAG = regex.compile(r"<(?=/?\p{L})([^<>]*)>")
# Pictures and rulers, which say nothing beside words; units such as "°" are none.
_MARK = regex.compile(r"(?:[\p{So}|~\\--[°℀-⅏㌀-㏿]][\uFE0F\u200D]?)+", regex.VERSION1)
_WORD = regex.compile(r"\w")
# What is kept as it is, what is kept apart from its neighbors, and what falls. "1,2,3" is "1, 2, 3", "1,234" a number.
_SIGN = regex.compile(
    r"(?P<kept>(?<!\w)-(?=\p{Sc}?\.?\d)|(?<=\d)(?:\.(?=\d)|,(?=\d{3}(?!\d)))|(?<![\w.])\.(?=\d))"
    r"|(?P<apart>[\p{S}#%‰&@/\\--\p{Sk}])|[\p{P}\p{Sk}]",
    regex.VERSION1,
)


def normalized(text: str, ignore: list[Ignored]) -> str:
    """Text without what is ignored; runs of white space are always one space, hyphens and quotes are plain ones.

    Punctuation is what Unicode calls so: quotes, brackets, dashes, full stops, commas; beside words also emoji, "|",
    "~" and backslashes, an arrow or ">" that begins a line, "<" and ">" around words, "$" around mathematics.
    Signs that carry meaning are none: other symbols (+ < = $ €), # % & @ and slashes, a minus or a point before a
    number, a point within one, and a comma before three digits.
    """
    text = composed(text)
    if "accents" in ignore:
        text = "".join(part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part))
    if "case" in ignore:
        text = text.casefold()
    if "punctuation" in ignore:
        text = _without_punctuation(text)
    if "articles" in ignore:
        text = re.sub(r"\b(a|an|the)\b", " ", text, flags=re.IGNORECASE)
    return " ".join(unicodedata.normalize("NFC", text).split())


def _without_punctuation(text: str) -> str:
    text = _TAG.sub(r" \1 ", _MATH.sub(r" \2 ", _ARROW.sub(" ", text)))
    if _WORD.search(text):
        text = _MARK.sub(" ", text)
    return _SIGN.sub(lambda sign: sign["kept"] or f" {sign['apart'] or ''} ", text)


def _announced(text: str) -> str:
    """The line behind "Answer:"; all of a text that announces nothing, for its first line is no answer."""
    said = answered(text)
    return text if said == text else said.partition("\n")[0]


def nothing_left(ignore: list[Ignored], accepted: list[Any], key: str) -> str | None:
    """A problem where an expected text has nothing that is not ignored: every answer would have it."""
    if all(normalized(as_text(value), ignore) for value in accepted):
        return None
    return f"expectations.{key} has nothing but what is ignored. Change it, or 'ignore'"


@scorer("exact")
class ExactScorer(TextScorer):
    """Equality of text, white space aside, or of what stands behind "Answer:" on its line. See `TextScorer`.

    Attributes:
        ignore: what makes no difference besides.
        match: `whole`, or only how the answer `begins` or `ends`.
    """

    type: Literal["exact"]
    ignore: list[Ignored] = []
    match: Literal["whole", "begins", "ends"] = "whole"

    def check(self, expectations: dict[str, Any]) -> str | None:
        return super().check(expectations) or nothing_left(self.ignore, self.wanted(expectations), self.expected_key)

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        text = self.given_text(answer)
        if text is None:
            return Score(0.0)
        texts = {text} if self.field or self.extract else {text, _announced(text)}
        given = {normalized(each, self.ignore) for each in texts}
        return Score(float(any(self._agrees(each, value) for each in given for value in self.wanted(expectations))))

    def _agrees(self, given: str, expected: Any) -> bool:
        wanted = normalized(as_text(expected), self.ignore)
        if self.match == "begins":
            return given.startswith(wanted)
        return given.endswith(wanted) if self.match == "ends" else given == wanted
