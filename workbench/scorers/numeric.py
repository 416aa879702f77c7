"""A number within a tolerance: "The total is 1,204.50." against 1204.5.

scorers: [{type: numeric, tolerance: 0.01}]               # expectations: {"answer": 1204.5}
scorers: [{type: numeric, relative: 0.05, take: last}]    # the last number of a text answer, 5 % off at most
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import regex
from pydantic import Field

from workbench.scorers.amounts import number
from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, scorer
from workbench.scorers.figures import Figure, plain_figures
from workbench.scorers.latex import without_latex
from workbench.scorers.texts import TextScorer
from workbench.scorers.values import near

_ANNOUNCEMENTS_LOOKED_AT = 50
_ANNOUNCED_WITHIN = 1000  # characters
# What announces the number that is meant, wherever it stands; "if the answer is 5" and "the answer is not 5" do not.
_ANNOUNCED = regex.compile(
    r"""
    (?<!\b(?:if|whether|suppose|wrong|incorrect|wenn|falls|ob|si)\s(?:the\s|an?\s|die\s|la\s)?)(?<!\p{L})
    (?:answer|antwort|réponse|respuesta)[*_\s]*+
    (?:(?:is|was|would\sbe|must\sbe|ist|lautet|est|es)\b[*_\s]*+[:=]?|[:=])
    [*_\s]*+(?!(?:not|nicht|pas|no)\b)
    |\\boxed\s?\{
    |^[ \t]*+\#{4}\s?(?=[^\s\p{L}\d]*+\d)(?!\d+[.)]\s)
    """,
    regex.VERBOSE | regex.IGNORECASE | regex.MULTILINE,
)
_SENTENCE_ENDS = regex.compile(r"[.!?][*_]*(?=\s+\p{Lu}|\s*\Z)|\n")
_LATEX_FRACTION = regex.compile(r"\\[dt]?frac(?!\p{L})")  # no points out of so many
_BRACE_ENDS = regex.compile(r"\}")
_MARKER = regex.compile(r"^[ \t]*(\d{1,3})[.)][ \t]+(?=\S)", regex.MULTILINE)


def meant(text: str, take: Literal["first", "last"] = "first") -> Figure | None:
    """The figure that a text means, its numbered lists aside: the first or the last that can be read.

    Where the text announces its answer ("Answer: 42", "the answer is 42", `\\boxed{42}`, "#### 42"), it is looked for
    in what is announced last, to the end of its sentence, then in what follows, and then in all of the text.
    """
    text = without_latex(text)
    markers = set(_markers(text))
    found = [each for each in plain_figures(text) if each.value() is not None and each.begins not in markers]
    begins = [each.begins for each in found]
    first, last = 0, len(found)
    for announced in reversed(list(_ANNOUNCED.finditer(text))[-_ANNOUNCEMENTS_LOOKED_AT:]):
        index = bisect_left(begins, announced.end())
        if index < bisect_left(begins, _end_of_announced(text, announced)):
            first, last = index, bisect_left(begins, _end_of_announced(text, announced, found[index].ends))
            break
        if not first and index < last:
            first = index
    return None if not found else found[first if take == "first" else last - 1]


def _end_of_announced(text: str, announced: regex.Match[str], after: int | None = None) -> int:
    """Where an announced answer ends: with its braces or its sentence, and before brackets behind its first figure."""
    begins, until = announced.end(), announced.end() + _ANNOUNCED_WITHIN
    ends = _BRACE_ENDS.search(text, begins, until) if announced.group().endswith("{") else None
    ends = ends or _SENTENCE_ENDS.search(text, begins, until)
    place = ends.start() if ends else min(until, len(text))
    aside = -1 if after is None else text.find(" (", after, place)
    return place if aside < 0 else aside


def _markers(text: str) -> Iterator[int]:
    """Where the numbers of a numbered list stand: 1, 2, … before its lines, or the only one before a lone number."""
    lines = list(_MARKER.finditer(text))
    counted = len(lines) > 1 and [int(line.group(1)) for line in lines] == list(range(1, len(lines) + 1))
    for line in lines:
        rest = text[line.end() : line.end() + 100].partition("\n")[0]
        if counted or (not rest[0].isalpha() and number(rest) is not None):
            yield line.start(1)


@scorer("numeric")
class NumericScorer(TextScorer):
    """A number, equal within a tolerance. See `TextScorer`; of a text the `take` number counts.

    Where a text announces its answer ("Answer: 42", "the answer is 42", "\\boxed{42}", "#### 42"), it is the `take`
    number of that; of several announced answers the last counts. The numbers of a numbered list do not count.
    "7/10" is 0.7. Where a number above 1 is expected, it is 7 as well, as in "Rating: 7/10".

    Attributes:
        tolerance: how far off is still right, absolute.
        relative: how far off is still right, as a share of the expected number.
    """

    type: Literal["numeric"]
    tolerance: float = Field(default=1e-9, ge=0)
    relative: float = Field(default=0.0, ge=0)

    def check(self, expectations: dict[str, Any]) -> str | None:
        problem = super().check(expectations)
        if not problem and any(number(value) is None for value in self.wanted(expectations)):
            return f"expectations.{self.expected_key} is not a number. Mend it"
        return problem

    def _given_numbers(self, answer: Answer) -> tuple[float | None, float | None]:
        """The answer's number; and the numerator of a fraction that may be so many points."""
        value = self.given(answer)
        value = self.given_text(answer) if value is None or isinstance(value, str) else value
        if not isinstance(value, str):
            return number(value), None
        found = meant(value, self.take)
        if found is None:
            return None, None
        return _finite(found.value()), None if _LATEX_FRACTION.search(value) else _finite(found.numerator())

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        given, points = self._given_numbers(answer)
        return Score(float(any(self._is_right(given, points, number(value)) for value in self.wanted(expectations))))

    def _is_right(self, given: float | None, points: float | None, expected: float | None) -> bool:
        if near(given, expected, self.tolerance, self.relative):
            return True
        return expected is not None and expected > 1 and near(points, expected, self.tolerance, self.relative)


def _finite(value: Decimal | None) -> float | None:
    return None if value is None else number(float(value))
