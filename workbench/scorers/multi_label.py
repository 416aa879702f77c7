"""Several labels at once: how well the given set of labels agrees with the expected set.

scorers: [{type: multi_label, field: topics}]               # F1 of the two sets
scorers: [{type: multi_label, separator: ";", match: exact}]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from workbench.scorers.answer import Answer, listed
from workbench.scorers.base import FieldScorer, Score, scorer
from workbench.scorers.values import plain

_NONE = {"none", "no label", "no labels", "n/a"}


@scorer("multi_label")
class MultiLabelScorer(FieldScorer):
    """A set of labels, regardless of order and case. See `FieldScorer`; here a list is the set, not alternatives.

    Where no label is expected, "none" says so.

    Attributes:
        separator: between the labels of a text, in the answer and in the expectation.
        match: `f1`, `jaccard` (shared labels over all labels), or `exact`.
    """

    type: Literal["multi_label"]
    separator: str = Field(default=",", min_length=1)
    match: Literal["f1", "jaccard", "exact"] = "f1"

    @property
    def expected_key(self) -> str:
        return self.key or self.field or "labels"

    def alternatives(self, expectations: dict[str, Any]) -> list[str]:
        return []  # a list is the set

    def check(self, expectations: dict[str, Any]) -> str | None:
        value = expectations.get(self.expected_key)
        if not isinstance(value, list | str):
            return f"scorer multi_label needs expectations.{self.expected_key}: a list of labels. Add it"
        return None

    def labels_of(self, value: Any, known: Iterable[str] = ()) -> set[str]:
        """The labels in a list, or in a text with separators, bullets or lines between them, or below "Labels:".

        A first line "Bug:" is a label where that is a `known` one.
        """
        if isinstance(value, str):
            value = listed(value, self.separator, known)
        parts = value if isinstance(value, list) else []
        labels = {plain(str(part).strip(" \"'[]*-")) for part in parts if part is not None}
        return labels - {""}

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        value = self.given(answer)
        expected = self.labels_of(expectations[self.expected_key])
        given = self.labels_of(answer.said if value is None and not self.field else value, expected)
        if not expected and given <= _NONE:
            given = set()
        shared, either = len(given & expected), len(given | expected)
        if self.match == "exact" or not either:
            return Score(float(given == expected))
        return Score(shared / either if self.match == "jaccard" else 2 * shared / (len(given) + len(expected)))
