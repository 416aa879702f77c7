"""An amount of money in any usual spelling: "1.020,00 €" against "1020.00 EUR".

"$12" is 12 USD, 12 CAD or any other dollar or peso, and no 12 EUR.

scorers: [{type: money, field: total}]
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from workbench.scorers.amounts import amount
from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, scorer
from workbench.scorers.values import FieldSpec, similarity


@scorer("money")
class MoneyScorer(FieldScorer):
    """The same amount, and the same currency where both name one. See `FieldScorer`.

    Attributes:
        tolerance: how far off is still right.
    """

    type: Literal["money"]
    tolerance: float = Field(default=0.005, ge=0)

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        if not problem and any(amount(value) is None for value in self.accepted(expectations)):
            return f"expectations.{self.expected_key} is not an amount of money, such as 1020.00. Mend it"
        return problem

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        spec = FieldSpec(type="money", tolerance=self.tolerance)
        value = self.given(answer)
        given = value if isinstance(value, int | float | dict | list) else self.given_text(answer)
        return Score(max((similarity(spec, given, value) for value in self.accepted(expectations)), default=0.0))
