"""Validity under a JSON schema: 1 where the answer keeps the eval set's output format.

scorers: [{type: json_schema, weight: 0}]         # as a further figure beside the score
"""

from __future__ import annotations

from typing import Any, Literal

from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, Scorer, scorer


@scorer("json_schema")
class JsonSchemaScorer(Scorer):
    """Whether the answer is valid; reading it has checked that already, with patterns under a time-out."""

    type: Literal["json_schema"]

    def bound(self, labels: list[str] | None, schema: dict[str, Any] | None) -> Scorer:
        if schema is None:
            raise ValueError("scorer json_schema needs JSON answers: output: {json_schema: FILE}")
        return self

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        return Score(float(answer.format_ok))
