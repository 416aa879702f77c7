"""Regular expressions: whether the expected pattern is found in the answer. Patterns have a time-out.

scorers: [{type: regex, key: pattern}]                   # expectations: {"pattern": "^[A-Z]{2}-\\\\d{4}$"}
scorers: [{type: regex, pattern: "^\\\\d+$"}]              # the same for all items
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, scorer
from workbench.scorers.regexes import checked_pattern, is_found


@scorer("regex")
class RegexScorer(FieldScorer):
    """1 where one of the accepted patterns is found. See `FieldScorer`.

    Attributes:
        pattern: for all items; left out, each item's expectation holds its own.
        want: `none` turns it round: 1 where no pattern is found. A pattern that takes too long scores 0 either way, and
            so does an answer that is empty, or was cut off in its thoughts.
    """

    type: Literal["regex"]
    pattern: str | None = None
    want: Literal["any", "none"] = "any"

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else checked_pattern(pattern)

    @property
    def expected_key(self) -> str:
        return self.key or "pattern"

    def applies(self, expectations: dict[str, Any]) -> bool:
        return self.pattern is not None or super().applies(expectations)

    def _patterns(self, expectations: dict[str, Any]) -> list[str]:
        return [self.pattern] if self.pattern is not None else [str(each) for each in self.accepted(expectations)]

    def check(self, expectations: dict[str, Any]) -> str | None:
        if self.pattern is not None:
            return None
        problem = super().check(expectations)
        if problem:
            return problem
        try:
            for pattern in self._patterns(expectations):
                checked_pattern(pattern)
        except ValueError as failure:
            return f"expectations.{self.expected_key} is {failure}. Mend it"
        return None

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        text = self.given_text(answer)
        if text is None or (self.want == "none" and not text.strip()):
            return Score(0.0)
        try:
            found = any(is_found(pattern, text) for pattern in self._patterns(expectations))
        except TimeoutError:
            return Score(0.0)
        return Score(float(found if self.want == "any" else not found))
