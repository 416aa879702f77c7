"""Facts: F1 of what an answer's lists say against reference facts, without a judge.

scorers: [{type: facts, fields: {decisions: {}, action_items: {text: task, compare: {owner: name, due: date}}}}]
expectations: {"facts": [
    {"field": "decisions", "terms": [["launch", "release"], ["12 may", "may 12"]]},
    {"field": "action_items", "terms": [["budget"], ["draft", "write"]], "owner": "Dana", "due": "2026-05-08"}]}

An entry states a fact if it has, of every group of terms, at least one at the beginning of a word. Entries and facts
are paired one to one. What is in neither is a fact missed, or an entry made up; an `optional` fact counts neither way.
With `recall: true` it is the share of facts found (fact recall), and a text answer is one entry.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

from workbench.files import StrictModel
from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, Scorer, scorer
from workbench.scorers.spelling import composed
from workbench.scorers.values import days, plain

_ENTRIES_LOOKED_AT = 100  # what stands behind them counts as made up


class FactField(StrictModel):
    """A list of the answer that states facts.

    Attributes:
        text: the entries' field that is searched, where they are objects; all of them where left out.
        compare: further fields of an entry, and how each is compared: `name` (one may be a part of the other),
            `date`, or `text`. Each is an equal part of the entry's credit, beside its text.
    """

    text: str | None = None
    compare: dict[str, Literal["name", "date", "text"]] = {}


@scorer("facts")
class FactsScorer(Scorer):
    """F1 of facts over the named lists.

    Attributes:
        fields: the lists of the answer; see `facts.FactField`. For a text answer, leave it empty and set `recall`.
        key: the expectation with the facts.
        recall: score the share of facts found, and let further entries pass.
    """

    type: Literal["facts"]
    fields: dict[str, FactField] = {}
    key: str = "facts"
    recall: bool = Field(default=False)

    def bound(self, labels: list[str] | None, schema: dict[str, Any] | None) -> Scorer:
        if not self.fields and not self.recall:
            raise ValueError("scorer facts needs 'fields', or 'recall: true' for an answer in plain text")
        return self

    def applies(self, expectations: dict[str, Any]) -> bool:
        return not self.optional or self.key in expectations

    def check(self, expectations: dict[str, Any]) -> str | None:
        facts = expectations.get(self.key)
        if not isinstance(facts, list) or not all(isinstance(fact, dict) for fact in facts):
            return f"scorer facts needs expectations.{self.key}: a list of facts. Add it"
        for index, fact in enumerate(facts):
            problem = self._unfit(fact)
            if problem:
                return f"expectations.{self.key}[{index}] {problem}. Mend it"
        return None

    def _unfit(self, fact: dict[str, Any]) -> str | None:
        terms = fact.get("terms")
        if not isinstance(terms, list) or not terms or not all(_is_group(group) for group in terms):
            return 'needs "terms": a list of groups, each a list of alternatives'
        if self.fields and fact.get("field") not in list(self.fields):
            return f'needs "field": one of {", ".join(self.fields)}'
        if not isinstance(fact.get("optional", False), bool):
            return 'has an "optional" that is neither true nor false'
        compare = self.fields[fact["field"]].compare if self.fields else {}
        missing = next((name for name in compare if name not in fact), None)
        if missing:
            return f'needs "{missing}" (null where the text does not say)'
        for name in (name for name, kind in compare.items() if kind == "date"):
            if not all(value is None or days(str(value)) for value in _alternatives(fact[name])):
                return f'has a "{name}" that is not a date'
        unknown = set(fact) - {"field", "terms", "optional", *compare}
        return f"has keys that nothing looks at: {', '.join(sorted(unknown))}" if unknown else None

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        if not self.fields:
            return self._recall_of_text(answer.said, expectations[self.key]) if answer.said else Score(0.0)
        if not isinstance(answer.value, dict):  # right about nothing, not even that there are no facts
            figures = [*(f"facts.{name}" for name in self.fields), "facts.precision", "facts.recall"]
            return Score(0.0, dict.fromkeys(figures, 0.0))
        value = answer.value
        right = given = expected = 0.0
        metrics = {}
        for name, spec in self.fields.items():
            facts = [fact for fact in expectations[self.key] if fact["field"] == name]
            entries = value.get(name)
            entries = entries if isinstance(entries, list) else []
            found, counted, wanted = _pair(spec, entries[:_ENTRIES_LOOKED_AT], facts)
            counted += len(entries[_ENTRIES_LOOKED_AT:])
            right, given, expected = right + found, given + counted, expected + wanted
            metrics[f"facts.{name}"] = 2 * found / (counted + wanted) if counted + wanted else 1.0
        recall = right / expected if expected else 1.0
        metrics |= {"facts.precision": right / given if given else 1.0, "facts.recall": recall}
        f1 = 2 * right / (given + expected) if given + expected else 1.0
        return Score(min(1.0, recall if self.recall else f1), metrics)

    def _recall_of_text(self, text: str, facts: list[dict[str, Any]]) -> Score:
        wanted = [fact for fact in facts if not fact.get("optional")]
        found = sum(states(text, fact["terms"]) for fact in wanted)
        return Score(found / len(wanted) if wanted else 1.0)


def _pair(spec: FactField, entries: list[Any], facts: list[dict[str, Any]]) -> tuple[float, int, int]:
    """Credit for the facts that count, entries that count, and facts that count."""
    if not entries or not facts:
        return 0.0, len(entries), sum(not fact.get("optional") for fact in facts)
    from scipy.optimize import linear_sum_assignment

    credit = [[_credit(spec, entry, fact) for fact in facts] for entry in entries]
    # A fact that counts goes before an optional one, so that an entry is not spent on what brings nothing.
    value = [
        [each - (0.001 if fact.get("optional") and each else 0) for each, fact in zip(row, facts, strict=True)]
        for row in credit
    ]
    rows, columns = linear_sum_assignment(value, maximize=True)
    pairs = [(row, column) for row, column in zip(rows, columns, strict=True) if credit[row][column] > 0]
    optional = sum(bool(facts[column].get("optional")) for _, column in pairs)
    right = sum(credit[row][column] for row, column in pairs if not facts[column].get("optional"))
    return right, len(entries) - optional, sum(not fact.get("optional") for fact in facts)


def _credit(spec: FactField, entry: Any, fact: dict[str, Any]) -> float:
    if isinstance(entry, dict):
        text = entry.get(spec.text) if spec.text else " ".join(str(part) for part in entry.values())
    else:
        text = entry
    if not isinstance(text, str) or not states(text, fact["terms"]):
        return 0.0
    fields = entry if isinstance(entry, dict) else {}
    parts = [1.0, *(_agrees(kind, fields.get(name), fact.get(name)) for name, kind in spec.compare.items())]
    return sum(parts) / len(parts)


def _agrees(kind: str, given: Any, expected: Any) -> float:
    accepted = _alternatives(expected)
    if given is None or given == "":
        return float(None in accepted)
    for value in accepted:
        if value is None:
            continue
        if kind == "date" and days(str(given)) & days(str(value)):
            return 1.0
        if kind == "text" and plain(given) == plain(value):
            return 1.0
        if kind == "name" and _same_name(str(given), str(value)):
            return 1.0
    return 0.0


def _alternatives(expected: Any) -> list[Any]:
    return expected if isinstance(expected, list) else [expected]


def _is_group(group: Any) -> bool:
    """Whether it is a list of terms, none of them so empty that every text has it."""
    return isinstance(group, list) and bool(group) and all(str(term).strip() for term in group)


def _same_name(given: str, expected: str) -> bool:
    left, right = set(re.findall(r"\w+", given.casefold())), set(re.findall(r"\w+", expected.casefold()))
    return bool(left and right) and (left <= right or right <= left)


def states(text: str, terms: list[list[str]]) -> bool:
    """Whether a text has, of every group, at least one alternative at the beginning of a word."""
    plain_text = " ".join(composed(text).casefold().split())
    return all(any(_at_word(str(term)).search(plain_text) for term in group) for group in terms)


@lru_cache(maxsize=16384)
def _at_word(term: str) -> re.Pattern[str]:
    words = " ".join(composed(term).casefold().split())
    return re.compile((r"\b" if re.match(r"\w", words) else "") + re.escape(words))
