"""ROUGE: overlap of words with a reference text (Lin 2004), by the package rouge-score.

scorers: [{type: rouge, field: summary, metric: rougeL, weight: 0}]
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import regex

from workbench.scorers.answer import Answer
from workbench.scorers.base import FieldScorer, Score, scorer
from workbench.scorers.spelling import composed

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer as _Rouge

_WORDS = 1000  # that are looked at: the longest common subsequence takes time by the square
_STEMMED = 3  # letters up to which a word stays as it is, as in the original
# Where a script puts no spaces between words, each of its letters stands for one.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|(?:(?![{_UNSPACED}])[\p{{L}}\p{{M}}\p{{Nd}}])+")


class _Words:
    """The words of a text for rouge-score, of any language; those of English as the package has them, stemmed."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stemmer = PorterStemmer()

    def tokenize(self, text: str) -> list[str]:
        """The words, in lower case."""
        words = _WORD.findall(composed(text).lower())
        return [self._stemmer.stem(word) if len(word) > _STEMMED and word.isascii() else word for word in words]


@lru_cache(maxsize=8)
def _rouge(metric: str) -> _Rouge:
    from rouge_score import rouge_scorer  # 3 s: it brings nltk

    return rouge_scorer.RougeScorer([metric], tokenizer=_Words())


@scorer("rouge")
class RougeScorer(FieldScorer):
    """The F-measure of a ROUGE variant over the first 1,000 words; the best over several references. See `FieldScorer`.

    Words of the letters a to z are stemmed as English ones. Letters of any other script are words too; in Chinese,
    Japanese, Thai and their like each by itself.

    Attributes:
        metric: which variant; rougeLsum looks at lines apart.
    """

    type: Literal["rouge"]
    metric: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rougeL"

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        fewest = 2 if self.metric == "rouge2" else 1
        if problem:
            return problem
        most = max(len(_WORD.findall(composed(str(value)))) for value in self.accepted(expectations))
        if most >= fewest:
            return None
        # Not even the same text would score.
        need = f"has {most} {'word' if most == 1 else 'words'}, and {self.metric} needs {fewest}"
        return f"expectations.{self.expected_key} {need}. Change it, or the scorer"

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
