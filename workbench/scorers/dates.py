"""A date in any usual spelling: "14. März 2026" against 2026-03-14, and "It is 14 March 2026.", its only date.

scorers: [{type: date, field: due}]
scorers: [{type: date, day_first: true}]       # how 03/04/2026 reads; left out, either way counts
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

from pydantic import field_validator

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, scorer
from workbench.scorers.values import LANGUAGES, days, known_languages

_LOOKED_AT = 200  # characters: what is longer is no answer with a date, but a text with one
_MONTH = r"[^\W\d_]{3,12}\.?"
_DATE = re.compile(
    r"(?<![\w./-])(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}\s?([-/.])\s?\d{1,2}\s?\2\s?\d{4})(?![\d/-]|\.\d)"
    rf"|(?<![\w./-])\d{{1,2}}(?:st|nd|rd|th|\.)?(?:\s|-)(?:(?:of|de)\s)?{_MONTH}(?:\s|,\s|-|\sde\s)\d{{4}}(?!\w)"
    rf"|\b{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}(?!\w)",
    re.IGNORECASE,
)
# "9 or" before 10 March 2026, "to 12" behind it: more days than one are meant.
_OR = r"(?:[-–—/&]|(?:to|or|and|until|till|bis|oder|und|ou|et|[àao]|y)\b)"
_DAY = r"\d{1,2}(?:st|nd|rd|th|\.)?"
_RANGE_BEFORE = re.compile(rf"(?:(?<!\d){_DAY}(?:\s{_MONTH})?|{_MONTH}\s{_DAY})\s?{_OR}\s?(?:the\s)?$", re.IGNORECASE)
_RANGE_BEHIND = re.compile(rf"\s?{_OR}\s?(?:the\s|{_MONTH}\s)?{_DAY}(?![\d:])", re.IGNORECASE)


def only_days(text: str, days_of: Callable[[str], frozenset[date]]) -> frozenset[date]:
    """The days that the only date in a short text may mean; none where there are several different ones, or a range."""
    if len(text) > _LOOKED_AT:
        return frozenset()
    found: list[frozenset[date]] = []
    for each in _DATE.finditer(text):
        if _RANGE_BEFORE.search(text[: each.start()]) or _RANGE_BEHIND.match(text, each.end()):
            return frozenset()
        found.append(days_of(each.group()))
    return frozenset.intersection(*named) if (named := [days for days in found if days]) else frozenset()


@scorer("date")
class DateScorer(FieldScorer):
    """The same day. See `FieldScorer`; of a short text its only date counts.

    Attributes:
        day_first: how an all-numeric date reads that could be either.
        languages: of month names (ISO 639-1).
    """

    type: Literal["date"]
    day_first: bool | None = None
    languages: list[str] = list(LANGUAGES)

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: list[str]) -> list[str]:
        return known_languages(languages)

    def _days(self, value: Any) -> frozenset[date]:
        return days(str(value), self.day_first, tuple(self.languages))

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        if not problem and not all(self._days(value) for value in self.accepted(expectations)):
            return f"expectations.{self.expected_key} is not a date. Write it as YYYY-MM-DD"
        return problem

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given = None if isinstance(self.given(answer), dict | list) else self.given_text(answer)
        found = (self._days(given) or only_days(given, self._days)) if given else frozenset()
        return Score(float(any(found & self._days(value) for value in self.accepted(expectations))))
