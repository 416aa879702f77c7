"""Field F1 of a JSON answer: how many of the expected fields it has right, and how many it made up.

scorers: [{type: json_fields, fields: {number: text, date: date, total: number, currency: label}}]
"""

from __future__ import annotations

import math
from datetime import date
from typing import Any, Literal

from pydantic import Field

from workbench.scorers import Answer, Score, Scorer, scorer

FieldType = Literal["label", "text", "number", "date", "boolean"]
_CENT = 0.005  # numbers are amounts: equal to the cent


def _text(value: Any) -> str:
    return " ".join(str(value).casefold().split()).rstrip(".")


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None


def same(kind: FieldType, given: Any, expected: Any) -> bool:
    """Whether a field's value is the expected one, compared as its type."""
    if kind == "number":
        left, right = _number(given), _number(expected)
        return left is not None and right is not None and abs(left - right) < _CENT
    if kind == "date":
        day = _date(given)
        return day is not None and day == _date(expected)
    if kind == "boolean":
        return isinstance(given, bool) and given == expected
    return not isinstance(given, dict | list) and _text(given) == _text(expected)


@scorer("json_fields")
class JsonFieldsScorer(Scorer):
    """Micro F1 over the named fields of one answer; null and absent are the same.

    Attributes:
        fields: the fields to compare and their types.
    """

    type: Literal["json_fields"]
    fields: dict[str, FieldType] = Field(min_length=1)

    def check(self, expectations: dict[str, Any]) -> str | None:
        missing = [name for name in self.fields if name not in expectations]
        if missing:
            return f"scorer json_fields needs expectations.{missing[0]} (null where the text does not say). Add it"
        for name, kind in self.fields.items():
            expected = expectations[name]
            if expected is not None and not same(kind, expected, expected):
                return f"expectations.{name} is not a {kind}. Mend it"
        return None

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given = answer.value if isinstance(answer.value, dict) else {}
        expected_count = given_count = right = 0
        metrics = {}
        for name, kind in self.fields.items():
            expected, value = expectations[name], given.get(name)
            expected_count += expected is not None
            given_count += value is not None
            hit = expected is not None and value is not None and same(kind, value, expected)
            right += hit
            metrics[f"field.{name}"] = float(hit or (expected is None and value is None))
        total = expected_count + given_count
        return Score(2 * right / total if total else 1.0, metrics)
