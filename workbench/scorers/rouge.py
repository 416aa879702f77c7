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
_COUNTED = re.compile(r"[a-z0-9]+")


@lru_cache(maxsize=8)
def _rouge(metric: str) -> _Rouge:
    from rouge_score import rouge_scorer  # 3 s: it brings nltk

    return rouge_scorer.RougeScorer([metric], use_stemmer=True)


@scorer("rouge")
class RougeScorer(FieldScorer):
    """The F-measure of a ROUGE variant over the first 1,000 words; the best over several references. See `FieldScorer`.

    It is made for English: words are stemmed, and letters other than a to z part them. A reference that is mostly
    of others, or has no word (rouge2: not two), is refused: not even the same text would score.

    Attributes:
        metric: which variant; rougeLsum looks at lines apart.
    """

    type: Literal["rouge"]
    metric: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rougeL"

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        unseen = None if problem else next(filter(None, map(self._unseen, self.accepted(expectations))), None)
        return problem or (unseen and f"expectations.{self.expected_key} {unseen}")

    def _unseen(self, reference: Any) -> str | None:
        """Why not even the same text would score; None where it would."""
        text = _beginning(str(reference)).lower()
        letters = sum(map(str.isalpha, text))
        if 2 * sum("a" <= letter <= "z" for letter in text) < letters:
            return (
                f"is written in other letters than a to z, which are all that {self.metric} looks at. "
                "Take another scorer, such as contains or a judge"
            )
        words, fewest = len(_COUNTED.findall(text)), 2 if self.metric == "rouge2" else 1
        return (
            f"has {words} words, and {self.metric} needs {fewest}. Change it, or the scorer" if words < fewest else None
        )

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
