"""A number within a tolerance: "The total is 1,204.50." against 1204.5.

scorers: [{type: numeric, tolerance: 0.01}]               # expectations: {"answer": 1204.5}
scorers: [{type: numeric, relative: 0.05, take: last}]    # the last number of a text answer, 5 % off at most
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from workbench.scorers.amounts import figures, number
from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, scorer
from workbench.scorers.texts import TextScorer
from workbench.scorers.values import near


@scorer("numeric")
class NumericScorer(TextScorer):
    """A number, equal within a tolerance. See `TextScorer`; of a text answer the `take` number counts.

    Attributes:
        tolerance: how far off is still right, absolute.
        relative: how far off is still right, as a share of the expected number.
    """

    type: Literal["numeric"]
    tolerance: float = Field(default=1e-9, ge=0)
    relative: float = Field(default=0.0, ge=0)

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        if not problem and any(number(value) is None for value in self.wanted(expectations)):
            return f"expectations.{self.expected_key} is not a number. Mend it"
        return problem

    def _given_number(self, answer: Answer) -> float | None:
        value = self.given(answer)
        value = self.given_text(answer) if value is None or isinstance(value, str) else value
        if not isinstance(value, str):
            return number(value)
        read = (figure.value(point_groups=bool(figure.currency)) for figure in figures(value))
        found = [each for each in read if each is not None]
        return number(float(found[0 if self.take == "first" else -1])) if found else None

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given = self._given_number(answer)
        expected = [number(value) for value in self.wanted(expectations)]
        return Score(float(any(near(given, value, self.tolerance, self.relative) for value in expected)))
