"""Models' answers by today's key, and against each other: whether two say the same is for the set's scorers to tell.

answers = Answers(evalset)
answers.score(item, "Answer: billing").value                 # by the key as it is now
answers.same(item, "Answer: billing", '"Billing."')          # True
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workbench.audit.keys import FULL
from workbench.evalset import EvalSet, Item
from workbench.scorers import Answer, FieldScorer, Score, total
from workbench.scorers.amounts import figures
from workbench.scorers.announced import answered
from workbench.scorers.base import dig
from workbench.scorers.dates import DateScorer, only_days
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.lists import listed, spelled
from workbench.scorers.multi_label import MultiLabelScorer
from workbench.scorers.values import days

# Scorers for which what an answer says can stand as the key of another one.
_COMPARED = (
    *("label", "yes_no", "exact", "numeric", "date", "money", "multi_label", "set_f1", "contains", "citation"),
    "json_fields",
)


class Answers:
    """Reads and scores the answers to an eval set; what was read is kept."""

    def __init__(self, evalset: EvalSet) -> None:
        self._evalset = evalset
        self._read: dict[str, Answer] = {}
        self._counting = [each for each in evalset.scorers if each.weight and not each.asks]

    @property
    def can_score(self) -> bool:
        """Whether no score takes a judge's verdict."""
        return not any(each.weight and each.asks for each in self._evalset.scorers)

    @property
    def incomparable(self) -> list[str]:
        """The scorers under which answers cannot be held against each other, but for equal texts."""
        return sorted({each.type for each in self._evalset.scorers if each.weight and each.type not in _COMPARED})

    def score(self, item: Item, text: str) -> Score:
        """The score of an answer by the item's key."""
        return total(self._evalset.scorers, self._parsed(text), item.expectations)

    def same(self, item: Item, one: str, other: str) -> bool:
        """Whether two answers to an item say the same: as written, or as its scorers see it."""
        left, right = self._parsed(one), self._parsed(other)
        if _plain(left) == _plain(right):
            return bool(_plain(left))
        if not self._counting or not (left.format_ok and right.format_ok):
            return False
        key = self._as_key(item, left)
        return key is not None and self._counts(right, key)

    def _parsed(self, text: str) -> Answer:
        if text not in self._read:
            self._read[text] = self._evalset.parse(text)
        return self._read[text]

    def _counts(self, answer: Answer, key: dict[str, Any]) -> bool:
        applying = [each for each in self._counting if each.applies(key)]
        return bool(applying) and total(applying, answer, key).value >= FULL

    def _as_key(self, item: Item, answer: Answer) -> dict[str, Any] | None:
        """Expectations by which an answer is right; None where it does not say what could be one."""
        key = dict(item.expectations)
        for each in self._counting:
            if not each.applies(item.expectations):
                continue
            if isinstance(each, JsonFieldsScorer):
                given = answer.value if isinstance(answer.value, dict) else {}
                key.update({name: given.get(name) for name in each.fields})
            elif isinstance(each, FieldScorer) and each.type in _COMPARED:
                value = next((value for value in _readings(each, answer) if _is_right(each, answer, key, value)), None)
                if value is None:
                    return None
                key[each.expected_key] = value
            else:
                return None
        usable = all(each.check(key) is None for each in self._counting if each.applies(key))
        return key if usable and self._counts(answer, key) else None


def _is_right(scorer: FieldScorer, answer: Answer, key: dict[str, Any], value: Any) -> bool:
    """Whether an answer says a value, as its scorer sees it."""
    told = {**key, scorer.expected_key: value}
    return scorer.check(told) is None and scorer.score(answer, told).value >= FULL


def _readings(scorer: FieldScorer, answer: Answer) -> Iterator[Any]:
    """What an answer may say: its value, what it announces, and the numbers or the date in it."""
    value = dig(answer.value, scorer.field) if scorer.field and not scorer.extract else scorer.given(answer)
    text = scorer.given_text(answer)
    if isinstance(scorer, MultiLabelScorer):
        yield sorted(
            scorer.labels_of(value if isinstance(value, list) else text or "", set(map(spelled, scorer.labels or ())))
        )
        return
    if scorer.type == "set_f1":
        yield value if isinstance(value, list) else listed(text or "")
        return
    if isinstance(value, bool | int | float):
        yield value
    if text is None:
        return
    yield answered(text).partition("\n")[0].strip()
    yield text
    if scorer.type == "numeric":
        numbers = [each.value(point_groups=bool(each.currency)) for each in figures(text)]
        yield from (float(each) for each in reversed(numbers) if each is not None)
    if isinstance(scorer, DateScorer):
        first, languages = scorer.day_first, tuple(scorer.languages)
        found = sorted(each.isoformat() for each in only_days(text, lambda part: days(part, first, languages)))
        if found:
            yield found


def _plain(answer: Answer) -> str:
    """What is said without thoughts, without regard to case and white space."""
    return " ".join((answer.said or answer.text).casefold().split())
