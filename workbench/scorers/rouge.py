"""ROUGE: overlap of words with a reference text (Lin 2004), by the package rouge-score.

scorers: [{type: rouge, field: summary, metric: rougeL, weight: 0}]
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, scorer

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer as _Rouge

_TEXT_LIMIT = 20_000  # the longest common subsequence takes time by the square


@lru_cache(maxsize=8)
def _rouge(metric: str) -> _Rouge:
    from rouge_score import rouge_scorer  # 3 s: it brings nltk

    return rouge_scorer.RougeScorer([metric], use_stemmer=True)


@scorer("rouge")
class RougeScorer(FieldScorer):
    """The F-measure of a ROUGE variant; the best over several references. See `FieldScorer`.

    Attributes:
        metric: which variant; rougeLsum looks at lines apart.
    """

    type: Literal["rouge"]
    metric: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rougeL"

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given = self.given_text(answer)
        if not given:
            return Score(0.0)
        references = [str(value)[:_TEXT_LIMIT] for value in self.accepted(expectations)]
        found = [_rouge(self.metric).score(each, given[:_TEXT_LIMIT])[self.metric].fmeasure for each in references]
        return Score(float(max(found)))
