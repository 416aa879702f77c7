"""Label match: 1 where the answer is the expected label, or one of several accepted ones.

scorers: [{type: label}]                                     # the answer is the label itself
scorers: [{type: label, field: queue}]                       # the label is a field of a JSON answer
scorers: [{type: label, aliases: {billing: [invoices]}}]     # other spellings that count as the label
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, Scorer, class_figures, scorer
from workbench.scorers.schemas import field_schema
from workbench.scorers.values import plain, unaliased


@scorer("label")
class LabelScorer(FieldScorer):
    """Exact match of a label, regardless of case and spaces.

    Attributes:
        aliases: other spellings by label.
        key: the expectation that holds the label, or a list of accepted ones; `field`, or `label`, by default.
    """

    type: Literal["label"]
    aliases: dict[str, list[str]] = {}
    labels: list[str] | None = Field(default=None, exclude=True)

    @property
    def expected_key(self) -> str:
        return self.key or self.field or "label"

    def bound(self, labels: list[str] | None, schema: dict[str, Any] | None) -> Scorer:
        if self.field is not None:
            enum = field_schema(schema, self.field).get("enum")
            labels = [value for value in enum if isinstance(value, str)] if isinstance(enum, list) else None
        known = self.labels or labels
        unknown = sorted(set(self.aliases) - set(known or self.aliases))
        if unknown:
            raise ValueError(f"aliases are of labels ({', '.join(known or [])}), and '{unknown[0]}' is none")
        spelled = {plain(label): label for label in known or self.aliases}
        for label, other in ((label, other) for label, others in self.aliases.items() for other in others):
            if spelled.setdefault(plain(other), label) != label:
                raise ValueError(f"'{other}' is an alias of '{label}', and stands for '{spelled[plain(other)]}' too")
        return self.model_copy(update={"labels": known})

    def aliases_of_labels(self) -> dict[str, list[str]]:
        return self.aliases if self.field is None else {}

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        if problem:
            return problem
        if self.labels and not {str(label) for label in self.accepted(expectations)} <= set(self.labels):
            shown = ", ".join(self.labels[:20]) + (", …" if len(self.labels) > 20 else "")
            # The label is not repeated: it may be restricted.
            return f"expectations.{self.expected_key} is not among the labels ({shown}). Mend one of them"
        return None

    def stratum(self, expectations: dict[str, Any]) -> str | None:
        return str(self.accepted(expectations)[0])

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given = self.given(answer)
        if given is not None:
            given = unaliased(given, self.aliases)
        accepted = self.accepted(expectations)
        right = given is not None and plain(given) in {plain(label) for label in accepted}
        name = self.name or self.field or "label"
        return Score(float(right), class_figures(name, self.labels or [], given, accepted))
