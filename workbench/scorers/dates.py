"""A date in any usual spelling: "14. März 2026" against 2026-03-14.

scorers: [{type: date, field: due}]
scorers: [{type: date, day_first: true}]       # how 03/04/2026 reads; left out, either way counts
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import field_validator

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, scorer
from workbench.scorers.values import LANGUAGES, days, known_languages


@scorer("date")
class DateScorer(FieldScorer):
    """The same day. See `FieldScorer`.

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
        found = self._days(given) if given else frozenset()
        return Score(float(any(found & self._days(value) for value in self.accepted(expectations))))
