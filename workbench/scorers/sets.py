"""Set F1: how many of the expected entries a list has, and how many it made up, in whatever order.

scorers: [{type: set_f1, field: skills}]
scorers: [{type: set_f1, field: payments, of: money}]
"""

from __future__ import annotations

import re
from typing import Any, Literal

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, Scorer, scorer
from workbench.scorers.lists import json_list, listed
from workbench.scorers.schemas import field_schema
from workbench.scorers.values import FieldSpec, compared, similarity

_BETWEEN = re.compile(r"\s*;\s*|,\s+")
_BRACKETS = re.compile(r"\A[\[({](.*)[\])}]\Z", re.DOTALL)


@scorer("set_f1")
class SetF1Scorer(FieldScorer):
    """F1 of two lists, entries paired one to one. See `FieldScorer`; here a list is the set, not alternatives.

    A text answer is a JSON list, or has an entry a line, bullets and signs around it aside. A single line that is no
    expected entry is several with ", " or ";" between them, if each could be an entry.

    Attributes:
        of: what the entries are; see `values.FieldSpec`.
    """

    type: Literal["set_f1"]
    of: FieldSpec = FieldSpec(type="text")

    def bound(self, labels: list[str] | None, schema: dict[str, Any] | None) -> Scorer:
        entries = field_schema(schema, self.field or "").get("items")
        return self.model_copy(update={"of": self.of.with_schema(entries, schema)})

    def alternatives(self, expectations: dict[str, Any]) -> list[str]:
        return []  # a list is the set

    def check(self, expectations: dict[str, Any]) -> str | None:
        expected = expectations.get(self.expected_key)
        if not isinstance(expected, list):
            return f"scorer set_f1 needs expectations.{self.expected_key}: a list. Add it"
        if self.of.type not in ("list", "object") and any(similarity(self.of, each, each) != 1 for each in expected):
            return f"an entry of expectations.{self.expected_key} is no {self.of.type}. Mend it"
        return None

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given = self.given(answer)
        if isinstance(given, str):
            given = self._entries(given, expectations[self.expected_key])
        counts = compared(FieldSpec(type="list", of=self.of), given, expectations[self.expected_key])
        figures = {
            "precision": counts.right / counts.given if counts.given else 1.0,
            "recall": counts.right / counts.expected if counts.expected else 1.0,
        }
        return Score(
            counts.f1, {f"{self.name or self.field or 'set'}.{name}": value for name, value in figures.items()}
        )

    def _entries(self, text: str, expected: list[Any]) -> list[Any]:
        found = listed(text, known=(each for each in expected if isinstance(each, str)))
        if len(found) != 1 or not isinstance(found[0], str) or json_list(text) is not None:
            return found
        line, is_text = found[0], self.of.type in ("text", "label")
        if self.of.type in ("list", "object") or (
            is_text and any(similarity(self.of, line, each) for each in expected)
        ):
            return found
        parts = [part.strip() for part in _BETWEEN.split(_BRACKETS.sub(r"\1", line)) if part.strip()]
        return parts if all(similarity(self.of, part, part) == 1 for part in parts) else found
