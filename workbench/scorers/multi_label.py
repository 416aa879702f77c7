"""Several labels at once: how well the given set of labels agrees with the expected set.

scorers: [{type: multi_label, field: topics}]               # F1 of the two sets
scorers: [{type: multi_label, separator: ";", match: exact}]
scorers: [{type: multi_label, labels: [bug, billing, terms and conditions]}]
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, field_validator

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, Scorer, scorer
from workbench.scorers.lists import json_list, labels_in, spelled
from workbench.scorers.schemas import field_schema, resolved

_NONE = {"none", "no label", "no labels", "n/a"}
_NAMES = r"(?:labels?|tags?|topics?|categor(?:y|ies)|classes|options|answers?)"
# "None of the above", "no labels apply", "The answer is none."
_NOTHING = re.compile(
    rf"(?:(?:the )?(?:\w+ )?{_NAMES}(?: that appl(?:y|ies))?(?: is| are|:)\s*)?\W*"
    r"(?:none(?: of (?:the|these|them|those)(?: \w+){0,2})?(?: appl(?:y|ies)| fits?| match(?:es)?)?"
    rf"|no (?:applicable |relevant |suitable |matching |such )?{_NAMES}(?: appl(?:y|ies)| fits?| match(?:es)?| found)?"
    r"|not applicable|n/a|null|nil)\W*",
    re.IGNORECASE,
)


@lru_cache(maxsize=64)
def _spelled(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(spelled, labels))


@scorer("multi_label")
class MultiLabelScorer(FieldScorer):
    """A set of labels, regardless of order and case. See `FieldScorer`; here a list is the set, not alternatives.

    Where no label is expected, "none" says so, and so does "no labels apply".

    Attributes:
        separator: between the labels of a text, in the answer and in the expectation.
        match: `f1`, `jaccard` (shared labels over all labels), or `exact`.
        labels: all that there are; out of the answer's JSON schema where left out. An answer is read by these and the
            expected ones: "bug and billing" is two labels where one of them is known, and it is none itself.
    """

    type: Literal["multi_label"]
    separator: str = Field(default=",", min_length=1)
    match: Literal["f1", "jaccard", "exact"] = "f1"
    labels: list[str] | None = Field(default=None, min_length=1)

    @field_validator("labels")
    @classmethod
    def _filled(cls, labels: list[str] | None) -> list[str] | None:
        if not all(map(spelled, labels or [])):
            raise ValueError("a label is empty. Write a word that a model can answer")
        return labels

    @property
    def expected_key(self) -> str:
        return self.key or self.field or "labels"

    def bound(self, labels: list[str] | None, schema: dict[str, Any] | None) -> Scorer:
        if labels is not None:
            raise ValueError(
                "scorer multi_label needs answers of several labels, and with output.labels an answer is one. "
                "Write output: {text: true}, and the labels as the scorer's own"
            )
        if self.labels is not None or self.field is None:
            return self
        enum = resolved(field_schema(schema, self.field).get("items"), schema).get("enum")
        found = [value for value in enum if isinstance(value, str)] if isinstance(enum, list) else []
        return self.model_copy(update={"labels": found or None})

    def alternatives(self, expectations: dict[str, Any]) -> list[str]:
        return []  # a list is the set

    def check(self, expectations: dict[str, Any]) -> str | None:
        value = expectations.get(self.expected_key)
        if not isinstance(value, list | str):
            return f"scorer multi_label needs expectations.{self.expected_key}: a list of labels. Add it"
        if self.labels and not self.labels_of(value) <= _spelled(tuple(self.labels)):
            shown = ", ".join(self.labels[:20]) + (", …" if len(self.labels) > 20 else "")
            # The label is not repeated: it may be restricted.
            return f"expectations.{self.expected_key} has one that is not among the labels ({shown}). Mend one of them"
        return None

    def labels_of(self, value: Any, known: Collection[str] | None = None) -> set[str]:
        """The labels in a list, or in a text with separators, bullets or lines between them, or below "Labels:".

        Args:
            known: spelled labels by which an answer is read, see `lists.labels_in`; None for an expectation.
        """
        parts = json_list(value) if isinstance(value, str) else value
        if isinstance(value, str) and parts is None:
            says_none = known is not None and spelled(value) not in known and _NOTHING.fullmatch(value.strip())
            return set() if says_none else set(labels_in(value, self.separator, known or ()))
        entries = parts if isinstance(parts, list) else []
        return {spelled(str(part)) for part in entries if part is not None} - {""}

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        value = self.given(answer)
        expected = self.labels_of(expectations[self.expected_key])
        known = expected | _spelled(tuple(self.labels or ()))
        given = self.labels_of(answer.said if value is None and not self.field else value, known)
        if not expected and given <= _NONE - known:
            given = set()
        shared, either = len(given & expected), len(given | expected)
        if self.match == "exact" or not either:
            return Score(float(given == expected))
        return Score(shared / either if self.match == "jaccard" else 2 * shared / (len(given) + len(expected)))
