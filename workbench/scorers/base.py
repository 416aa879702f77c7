"""What every scorer is: a class with settings that scores one answer against the expectations of its item.

A team's own is a function or a class with the decorator, in a notebook or behind an entry point `workbench.scorers`:

    @workbench.scorer("polite")
    def polite(answer, expectations):
        return "please" in answer.said.lower()
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from workbench.errors import InputError
from workbench.files import StrictModel
from workbench.registry import Registry
from workbench.scorers.answer import Answer
from workbench.scorers.plugins import (
    ScorerFailure,
    figures_of,
    is_plugin,
    joined,
    no_score,
    own_copy,
    stopped,
    value_of,
)
from workbench.scorers.regexes import checked_pattern, extracted
from workbench.scorers.values import plain


@dataclass(frozen=True)
class Score:
    """A score from 0 to 1 and a scorer's further figures of the item."""

    value: float
    metrics: dict[str, float] = field(default_factory=dict)


class Scorer(StrictModel):
    """Base of all scorers; subclasses add their settings as fields.

    Attributes:
        type: the name it is registered under.
        name: what its figure is called, `metric.<name>`; the type where left out.
        weight: its part in the item's score; 0 makes it a further figure only.
        optional: it scores only the items that have its expectation; the others' scores are made without it.
    """

    asks: ClassVar[bool] = False  # whether it scores by a request of its own, to a judge
    type: str
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    weight: float = Field(default=1.0, ge=0, le=1000)
    optional: bool = False

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        """Score one answer."""
        raise TypeError(f"scorer '{self.type}' has no method score")

    def applies(self, expectations: dict[str, Any]) -> bool:
        """Whether this scorer scores an item with these expectations."""
        return not self.optional or self.check(expectations) is None

    def check(self, expectations: dict[str, Any]) -> str | None:
        """What is wrong with an item's expectations for this scorer, with the mend; None if nothing."""
        return None

    def alternatives(self, expectations: dict[str, Any]) -> list[str]:
        """Where expectations hold a list of values each of which is right, as paths such as `a.b[0]`."""
        return []

    def stratum(self, expectations: dict[str, Any]) -> str | None:
        """The label that a sample is stratified by; None where there is none."""
        return None

    def bound(self, labels: list[str] | None, schema: dict[str, Any] | None) -> Scorer:
        """This scorer, told what the eval set's answers look like.

        Raises:
            ValueError: it cannot score such answers; the message says why.
        """
        return self

    def aliases_of_labels(self) -> dict[str, list[str]]:
        """Other spellings of labels that count as them; for reading an answer."""
        return {}


class FieldScorer(Scorer):
    """Base of scorers that look at one value of the answer.

    Attributes:
        field: the field of a JSON answer (`a.b` for a nested one); None where the answer itself is the value.
        key: the expectation to compare with; `field`, or the class's own, where left out.
        extract: a regular expression that finds the value in a text answer, or in the field: its first group, or all
            of it.
        take: which match of `extract` counts.
    """

    field: str | None = None
    key: str | None = None
    extract: str | None = None
    take: Literal["first", "last"] = "first"

    @field_validator("extract")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else checked_pattern(pattern)

    @property
    def expected_key(self) -> str:
        return self.key or self.field or "answer"

    def applies(self, expectations: dict[str, Any]) -> bool:
        return not self.optional or self.expected_key in expectations

    def accepted(self, expectations: dict[str, Any]) -> list[Any]:
        """The values that are right: one, or several in a list."""
        expected = expectations.get(self.expected_key)
        return expected if isinstance(expected, list) else [expected]

    def alternatives(self, expectations: dict[str, Any]) -> list[str]:
        return [self.expected_key] if isinstance(expectations.get(self.expected_key), list) else []

    def given(self, answer: Answer) -> Any:
        """The value in the answer, or None."""
        value = answer.value if self.field is None else dig(answer.value, self.field)
        if self.extract is None:
            return value
        text = answer.said if self.field is None else value
        return extracted(self.extract, text, self.take) if isinstance(text, str) else None

    def given_text(self, answer: Answer) -> str | None:
        """The value as text: what the model said where there is no value, and none is looked for; None if nothing."""
        value = self.given(answer)
        if value is None:
            return None if self.field or self.extract else answer.said or None
        return as_text(value)

    def unread(self, answer: Answer) -> bool:
        """Whether there is no JSON that its field could be in: then nothing is right, not even that there is none."""
        return self.field is not None and answer.value is None

    def check(self, expectations: dict[str, Any]) -> str | None:
        if self.expected_key not in expectations:
            return f"scorer {self.type} needs expectations.{self.expected_key}. Add it"
        accepted = self.accepted(expectations)
        if not accepted or any(value is None or value == "" for value in accepted):
            return f"expectations.{self.expected_key} is empty. Fill it in"
        return None


def as_text(value: Any) -> str:
    """A value as it stands in an answer: text by itself, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def dig(value: Any, path: str) -> Any:
    """A field of nested objects, `a.b`; None where it is not there."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def class_figures(name: str, classes: Sequence[Any], given: Any, accepted: Collection[Any]) -> dict[str, float]:
    """The classes of an item as numbers, from which the evidence makes macro-F1 and balanced accuracy.

    `class.<name>.expected` and `class.<name>.given` are positions among the classes, -1 for none of them. Where several
    classes are accepted, the given one is the expected one if it is among them. An item that rightly has no class has
    no figures.
    """
    order = _positions(tuple(map(plain, classes)))
    answered = -1 if given is None else order.get(plain(given), -1)
    right = [order[plain(value)] for value in accepted if value is not None and plain(value) in order]
    if not right or (given is None and None in accepted):
        return {}
    expected = answered if answered in right else right[0]
    return {f"class.{name}.expected": float(expected), f"class.{name}.given": float(answered)}


@lru_cache(maxsize=256)
def _positions(classes: tuple[str, ...]) -> dict[str, int]:
    return {name: position for position, name in enumerate(classes)}


SCORERS: Registry[type[Scorer]] = Registry("workbench.scorers", "scorer")
S = TypeVar("S", bound=Callable[..., Any])


def scorer(name: str) -> Callable[[S], S]:
    """Register a scorer under the `type` that evalset.yaml uses.

    Decorates a subclass of `Scorer`, whose fields are the keys that evalset.yaml may set, or a function of
    `(answer, expectations)` that returns a number from 0 to 1, a bool, or a `Score`.
    """

    def register(thing: S) -> S:
        SCORERS.add(name, as_scorer(thing))
        return thing

    return register


def as_scorer(thing: Any) -> type[Scorer]:
    """A scorer class of what a plug-in or a cell gives: such a class, or a function."""
    if isinstance(thing, type) and issubclass(thing, Scorer):
        return thing
    if not callable(thing) or len(inspect.signature(thing).parameters) != 2:
        raise InputError("a scorer is a subclass of workbench.scorers.Scorer or a function of (answer, expectations).")

    class FunctionScorer(Scorer):
        def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
            given = thing(answer, expectations)
            return given if isinstance(given, Score) else Score(value_of(self.type, given))

    FunctionScorer.__module__ = str(getattr(thing, "__module__", None) or type(thing).__module__)  # it is not ours
    return FunctionScorer


def total(
    scorers: Sequence[Scorer],
    answer: Answer,
    expectations: dict[str, Any],
    verdicts: Mapping[str, float | None] | None = None,
) -> Score:
    """The score of an item under all scorers of its eval set: the mean by weight, with all further figures.

    Args:
        verdicts: of judges, by their figure's name; None where one gave none. A score that needs a verdict which is not
            there is NaN.

    Raises:
        ScorerFailure: a scorer failed, or gave something that is no score.
    """
    metrics: dict[str, float] = {}
    weighted = []
    further: list[tuple[str, dict[str, float]]] = []
    for each in scorers:
        figure = each.name or each.type
        if each.asks:
            verdict = (verdicts or {}).get(figure)
            if verdict is not None:
                metrics[figure] = verdict
            weighted.append((each.weight, math.nan if verdict is None and each.weight else verdict or 0.0))
            continue
        score = _scored(each, answer, expectations)
        if score is None:
            continue
        if isinstance(each, FieldScorer) and each.unread(answer):
            score = Score(0.0, score.metrics)
        weighted.append((each.weight, score.value))
        if is_plugin(type(each)):
            further.append((each.type, score.metrics))
        else:
            metrics.update(score.metrics)
        if len(scorers) > 1:
            metrics[figure] = score.value
    for name, figures in further:
        joined(metrics, figures, name)
    weights = math.fsum(weight for weight, _ in weighted)
    value = math.fsum(weight * value for weight, value in weighted) / weights
    return Score(value if math.isnan(value) else min(1.0, value), metrics)


def _scored(each: Scorer, answer: Answer, expectations: dict[str, Any]) -> Score | None:
    """One scorer's score; None where it scores no such item. A plug-in sees copies, which it may do anything to.

    Raises:
        ScorerFailure: it failed, or gave something that is no score.
    """
    foreign = is_plugin(type(each))
    if foreign:
        answer, expectations = replace(answer, value=own_copy(answer.value)), own_copy(expectations)
    try:
        if not each.applies(expectations):
            return None
        score = each.score(answer, expectations)
    except ScorerFailure:
        raise
    except Exception as failure:
        raise stopped(each.type, failure) from failure
    if not foreign and 0 <= score.value <= 1:
        return score
    if not isinstance(score, Score):
        raise no_score(each.type, score)
    return Score(value_of(each.type, score.value), figures_of(each.type, score.metrics))


def problem_of(scorers: Sequence[Scorer], expectations: dict[str, Any]) -> str | None:
    """What is wrong with an item's expectations for the scorers of its eval set; None if nothing."""
    handed = {id(each): own_copy(expectations) if is_plugin(type(each)) else expectations for each in scorers}
    applying = [each for each in scorers if each.asks or each.applies(handed[id(each)])]
    for each in applying:
        problem = each.check(handed[id(each)])
        if problem:
            return problem
    if not sum(each.weight for each in applying):
        return "no scorer has what it needs to score this item. Add an expectation that one of them looks at"
    return None
