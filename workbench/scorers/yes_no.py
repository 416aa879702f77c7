"""Yes or no: 1 where the answer agrees with the expected one, whatever reason is given.

scorers: [{type: yes_no, field: answer}]
"""

from __future__ import annotations

import re
from typing import Any, Literal

from workbench.scorers import Answer, Score, Scorer, scorer

_WORD = re.compile(r"\W*(yes|no|true|false)\b", re.IGNORECASE)
_MEANS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


def _yes_or_no(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    found = _WORD.match(value) if isinstance(value, str) else None
    return _MEANS[found.group(1).casefold()] if found else None


@scorer("yes_no")
class YesNoScorer(Scorer):
    """Agreement of a yes/no answer.

    Attributes:
        field: the field of a JSON answer; None where a text answer begins with it.
        key: the expectation that holds yes or no; `field`, or `answer`, by default.
    """

    type: Literal["yes_no"]
    field: str | None = None
    key: str | None = None

    @property
    def _key(self) -> str:
        return self.key or self.field or "answer"

    def check(self, expectations: dict[str, Any]) -> str | None:
        if _yes_or_no(expectations.get(self._key)) is None:
            return f'scorer yes_no needs expectations.{self._key}: "yes" or "no"'
        return None

    def stratum(self, expectations: dict[str, Any]) -> str | None:
        return _yes_or_no(expectations[self._key])

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        value = answer.value
        if self.field is not None:
            value = value.get(self.field) if isinstance(value, dict) else None
        return Score(float(_yes_or_no(value) == _yes_or_no(expectations[self._key])))
