"""Contains: whether the expected phrases occur in the answer (or must not).

scorers: [{type: contains, key: mentions}]               # expectations: {"mentions": ["refund", "14 days"]}
scorers: [{type: contains, key: banned, want: none}]
"""

from __future__ import annotations

from typing import Any, Literal

from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, as_text, scorer
from workbench.scorers.exact import Ignored, normalized, nothing_left
from workbench.scorers.texts import TextScorer


@scorer("contains")
class ContainsScorer(TextScorer):
    """Phrases in the answer. See `TextScorer`.

    Attributes:
        want: `all`: the share of the phrases that occur; `any`: 1 where one does; `none`: 1 where none does. Where
            there is no answer, or an empty one, nothing is right.
        ignore: what makes no difference.
    """

    type: Literal["contains"]
    want: Literal["all", "any", "none"] = "all"
    ignore: list[Ignored] = ["case"]

    def check(self, expectations: dict[str, Any]) -> str | None:
        return super().check(expectations) or nothing_left(self.ignore, self.wanted(expectations), self.expected_key)

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        text = self.given_text(answer)
        if text is None or not text.strip():
            return Score(0.0)
        given = normalized(text, self.ignore)
        found = [normalized(as_text(phrase), self.ignore) in given for phrase in self.wanted(expectations)]
        if self.want == "all":
            return Score(sum(found) / len(found))
        return Score(float(any(found) if self.want == "any" else not any(found)))
