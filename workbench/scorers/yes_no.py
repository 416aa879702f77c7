"""Yes or no: 1 where the answer agrees with the expected one, whatever reason is given.

scorers: [{type: yes_no, field: answer}]
"""

from __future__ import annotations

from typing import Any, Literal

from workbench.scorers.affirmation import YES_OR_NO, yes_or_no_said
from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, class_figures, scorer
from workbench.scorers.json_text import FENCE, json_at


def yes_or_no(value: Any) -> str | None:
    """`yes` or `no`, for a boolean and for text that answers with it; None for anything else, "yes or no" too."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and (inner := _in_json(value)) is not None:
        return yes_or_no(inner)
    said = yes_or_no_said(value) if isinstance(value, str) else None
    return None if said is None else YES_OR_NO[said]


def _in_json(text: str) -> str | bool | None:
    """The answer in a JSON object, also a fenced one: its `answer`, or its only value."""
    fenced = FENCE.search(text)
    written = (fenced.group(1) if fenced else text).strip()
    value = json_at(written)[0] if written.startswith("{") else None
    inner = (value.get("answer") if len(value) > 1 else next(iter(value.values()), None)) if value else None
    return inner if isinstance(inner, str | bool) and not _is_object(inner) else None


def _is_object(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("{", "```"))


@scorer("yes_no")
class YesNoScorer(FieldScorer):
    """Agreement of a yes/no answer. See `FieldScorer`; the expectation is `field`, or `answer`, by default."""

    type: Literal["yes_no"]

    def check(self, expectations: dict[str, Any]) -> str | None:
        if yes_or_no(expectations.get(self.expected_key)) is None:
            return f'scorer yes_no needs expectations.{self.expected_key}: "yes" or "no"'
        return None

    def stratum(self, expectations: dict[str, Any]) -> str | None:
        return yes_or_no(expectations[self.expected_key])

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given, expected = yes_or_no(self.given(answer)), yes_or_no(expectations[self.expected_key])
        figures = class_figures(self.name or self.field or "answer", ["no", "yes"], given, [expected])
        return Score(float(given == expected), figures)
