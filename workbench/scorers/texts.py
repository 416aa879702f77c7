"""Scorers of texts of which some parts do not count: taken out of the answer, and out of what it is compared with.

scorers: [{type: exact, without: [",", "\\\\$", "(?s).*#### "]}]       # "$1,204" is "so it costs #### 1204"
"""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer
from workbench.scorers.regexes import checked_pattern, taken_out


class TextScorer(FieldScorer):
    """Base of scorers that hold a text against accepted ones. See `FieldScorer`.

    Attributes:
        without: regular expressions; whatever they find is left out on both sides, by one after another. An answer on
            which one takes too long is no answer.
    """

    without: list[str] = []

    @field_validator("without")
    @classmethod
    def _compile(cls, patterns: list[str]) -> list[str]:
        return [checked_pattern(pattern) for pattern in patterns]

    def given_text(self, answer: Answer) -> str | None:
        text = super().given_text(answer)
        return text if text is None else taken_out(self.without, text)

    def wanted(self, expectations: dict[str, Any]) -> list[Any]:
        """The values that are right, without what does not count; a text on which a pattern takes too long is empty."""
        values = self.accepted(expectations)
        return [(taken_out(self.without, value) or "") if isinstance(value, str) else value for value in values]

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        if (
            problem
            or not self.without
            or all(value is not None and str(value).strip() for value in self.wanted(expectations))
        ):
            return problem
        return f"expectations.{self.expected_key} has nothing but what 'without' takes out. Change one of them"
