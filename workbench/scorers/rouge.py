"""ROUGE: overlap of words with a reference text (Lin 2004), by the package rouge-score.

scorers: [{type: rouge, field: summary, metric: rougeL, weight: 0}]
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, scorer

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer as _Rouge

_WORDS = 1000  # that are looked at: the longest common subsequence takes time by the square
_WORD = re.compile(r"\S+")


@lru_cache(maxsize=8)
def _rouge(metric: str) -> _Rouge:
    from rouge_score import rouge_scorer  # 3 s: it brings nltk

    return rouge_scorer.RougeScorer([metric], use_stemmer=True)


@scorer("rouge")
class RougeScorer(FieldScorer):
    """The F-measure of a ROUGE variant over the first 1,000 words; the best over several references. See `FieldScorer`.

    It is made for English: words are stemmed, and letters other than a to z part them.

    Attributes:
        metric: which variant; rougeLsum looks at lines apart.
    """

    type: Literal["rouge"]
    metric: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rougeL"

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given = self.given_text(answer)
        if not given:
            return Score(0.0)
        references = [_beginning(str(value)) for value in self.accepted(expectations)]
        found = [_rouge(self.metric).score(each, _beginning(given))[self.metric].fmeasure for each in references]
        return Score(float(max(found)))


def _beginning(text: str) -> str:
    last = next(islice(_WORD.finditer(text), _WORDS, None), None)
    return text if last is None else text[: last.start()]
