"""Label match: 1 where the answer is the expected label, or one of several accepted ones.

scorers: [{type: label}]                   # the answer is the label itself
scorers: [{type: label, field: queue}]     # the label is a field of a JSON answer
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from workbench.scorers import Answer, Score, Scorer, scorer


@scorer("label")
class LabelScorer(Scorer):
    """Exact match of a label, regardless of case.

    Attributes:
        field: the field of a JSON answer; None where the answer is the label.
        key: the expectation that holds the label (a string, or a list of accepted ones); `field` by default.
    """

    type: Literal["label"]
    field: str | None = None
    key: str | None = None
    labels: list[str] | None = Field(default=None, exclude=True)

    @property
    def _key(self) -> str:
        return self.key or self.field or "label"

    def _accepted(self, expectations: dict[str, Any]) -> list[str]:
        expected = expectations.get(self._key)
        return [str(label) for label in expected] if isinstance(expected, list) else [str(expected)]

    def with_labels(self, labels: list[str] | None) -> Scorer:
        return self.model_copy(update={"labels": self.labels or labels})

    def check(self, expectations: dict[str, Any]) -> str | None:
        if self._key not in expectations:
            return f"scorer label needs expectations.{self._key}. Add it"
        if expectations[self._key] in (None, "", []):
            return f"expectations.{self._key} has no label. Fill it in"
        if self.labels and not set(self._accepted(expectations)) <= set(
            self.labels
        ):  # not repeated: it may be restricted
            return f"expectations.{self._key} is not among the labels ({', '.join(self.labels)}). Mend one of them"
        return None

    def stratum(self, expectations: dict[str, Any]) -> str | None:
        return self._accepted(expectations)[0]

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        value = answer.value
        if self.field is not None:
            value = value.get(self.field) if isinstance(value, dict) else None
        given = None if value is None else str(value).strip().casefold()
        return Score(float(given in [label.casefold() for label in self._accepted(expectations)]))
