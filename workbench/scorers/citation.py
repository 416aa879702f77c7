"""Citations: the clause that an answer relies on, or the span of text that it quotes.

scorers: [{type: citation, field: clause, weight: 0}]            # "Section 7.2" is 7.2, and "see clause 7.2" too
scorers: [{type: citation, field: quote, match: span}]           # word overlap with the expected span
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Literal

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, as_text, scorer
from workbench.scorers.exact import normalized

_LEAD = re.compile(
    r"^(?:(?:(?:clause|section|sec|article|art|paragraph|para|rule|no|item)s?(?![^\W\d_])|§)\W*)+", re.IGNORECASE
)
_SEVERAL = re.compile(r",|;|/|\band\b|&|\+", re.IGNORECASE)
_LOOKED_AT = 200  # characters: what is longer is no citation, but a text with some
_NUMBER = r"\d[\w.]*(?:\s?\((?:[a-z]{1,2}|[ivx]{1,5}|\d{1,3})\))*"
_REFERENCE = re.compile(
    r"(?:\b(?:clause|section|sec|article|art|paragraph|para|rule)s?\b|§)[\s.:§]*"
    rf"({_NUMBER}(?:\s?(?:[,;&+/–-]|\b(?:and|or|to)\b)\s?{_NUMBER})*)"
    rf"|(?<![\w.,/-])(?=\d{{1,3}}\.\d)({_NUMBER})(?![/-]?\w)",
    re.IGNORECASE,
)


def references(text: str) -> set[str]:
    """The clauses that a short text cites: what a word such as "clause" stands before, and numbers such as 7.2."""
    if len(text) > _LOOKED_AT:
        return set()
    cited = (named or dotted for named, dotted in _REFERENCE.findall(text))
    return {clause(number) for numbers in cited for number in re.findall(_NUMBER, numbers, re.IGNORECASE)}


def clause(text: str) -> str:
    """A reference without what stands around its number: "Clause 7.2 (b)." is "7.2(b)"."""
    bare = _LEAD.sub("", " ".join(text.split())).strip(" .:\"'")
    return re.sub(r"\s+", "", bare).casefold()


def overlap(given: str, expected: str) -> float:
    """F1 of the words that two spans share, as in SQuAD (Rajpurkar et al. 2016)."""
    left = Counter(normalized(given, ["case", "punctuation", "articles"]).split())
    right = Counter(normalized(expected, ["case", "punctuation", "articles"]).split())
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


@scorer("citation")
class CitationScorer(FieldScorer):
    """The cited reference, or quoted span, against the accepted ones. See `FieldScorer`.

    Attributes:
        match: `reference`: 1 where all that is cited is accepted, also in a short text; `span`: the largest word
            overlap.
    """

    type: Literal["citation"]
    match: Literal["reference", "span"] = "reference"

    @property
    def expected_key(self) -> str:
        return self.key or self.field or "citation"

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        value = self.given(answer)
        cites = [as_text(each) for each in value if each is not None] if isinstance(value, list) else None
        given = self.given_text(answer) if cites is None else ", ".join(cites)
        accepted = [str(value) for value in self.accepted(expectations)]
        if not given:
            return Score(0.0)
        if self.match == "span":
            return Score(max(overlap(given, value) for value in accepted))
        wanted = {clause(value) for value in accepted}
        cited = {clause(given)} if clause(given) in wanted else {clause(part) for part in _SEVERAL.split(given)} - {""}
        if not cited <= wanted and not isinstance(value, dict | list):
            cited = references(given)
        return Score(float(bool(cited) and cited <= wanted))
