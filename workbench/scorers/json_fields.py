"""Field F1 of a JSON answer: how many of the expected values it has right, and how many it made up.

scorers: [{type: json_fields, fields: {number: text, date: date, total: money, currency: label}}]
scorers: [{type: json_fields, average: mean, fields: {queue: label, priority: ordinal, churn_risk: boolean}}]
scorers: [{type: json_fields, fields: {lines: {type: list, of: {type: object, fields: {sku: text, units: number}}}}}]
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, Scorer, class_figures, scorer
from workbench.scorers.schemas import resolved
from workbench.scorers.values import NOTHING, Counts, FieldSpec, compared, is_blank, similarity, unaliased

_LABELS_OF_A_FIELD = 100


@scorer("json_fields")
class JsonFieldsScorer(Scorer):
    """F1 over the values of the named fields, each compared as its type; null, empty text and absent are the same.

    A list of expected values stands for a field that is right in several ways (for a `list` field it is the list).
    An answer without a JSON object is right about nothing, not even about what is null.

    "null", "None" and "n/a" are made up where null is expected, unless the JSON schema takes text alone there, so that
    nothing else could be said. Other ways to say it ("not specified") always are: tell models how to.

    Attributes:
        fields: the fields to compare and their types; see `values.FieldSpec`.
        average: `f1` over all values of the item, or the `mean` of the fields' scores.
    """

    type: Literal["json_fields"]
    fields: dict[str, FieldSpec] = Field(min_length=1)
    average: Literal["f1", "mean"] = "f1"

    def bound(self, labels: list[str] | None, schema: dict[str, Any] | None) -> Scorer:
        if schema is None:
            raise ValueError("scorer json_fields needs JSON answers: output: {json_schema: FILE}")
        properties = resolved(schema, schema).get("properties", {})
        told = {}
        for name, spec in self.fields.items():
            try:
                told[name] = spec.with_schema(properties.get(name), schema)
            except ValueError as failure:
                raise ValueError(f"field {name}: {failure}") from None
        return self.model_copy(update={"fields": told})

    def applies(self, expectations: dict[str, Any]) -> bool:
        return not self.optional or not self.fields.keys().isdisjoint(expectations)

    def check(self, expectations: dict[str, Any]) -> str | None:
        for name, spec in self.fields.items():
            if name not in expectations:
                return f"scorer json_fields needs expectations.{name} (null where the text does not say). Add it"
            expected = expectations[name]
            if expected == [] and spec.type != "list":
                return f"expectations.{name} accepts nothing: the list is empty. Fill it in"
            problem = _unfit(spec, expected)
            if problem:
                return f"expectations.{name} is not {problem}. Mend it"
        return None

    def alternatives(self, expectations: dict[str, Any]) -> list[str]:
        named = self.fields.items()
        return [path for name, spec in named for path in _several(spec, expectations.get(name), name)]

    def stratum(self, expectations: dict[str, Any]) -> str | None:
        for name, spec in self.fields.items():
            if spec.type == "label" and spec.levels:
                return next((str(value) for value in _alternatives(expectations[name]) if value is not None), None)
        return None

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        read = isinstance(answer.value, dict)
        given = answer.value if read else {}
        counts = {name: compared(spec, given.get(name), expectations[name]) for name, spec in self.fields.items()}
        metrics = {f"field.{name}": each.f1 if read else 0.0 for name, each in counts.items()}
        for name, spec in self.fields.items():
            classes = [False, True] if spec.type == "boolean" else spec.levels or []
            if 2 <= len(classes) <= _LABELS_OF_A_FIELD:
                value = _class_of(spec, given.get(name)) if read else ""
                metrics.update(class_figures(name, classes, value, _alternatives(expectations[name])))
        if not read:
            return Score(0.0, metrics)
        if self.average == "mean":
            return Score(math.fsum(each.f1 for each in counts.values()) / len(counts), metrics)
        total: Counts = sum(counts.values(), start=NOTHING)
        return Score(total.f1, metrics)


def _class_of(spec: FieldSpec, value: Any) -> Any:
    """A value as the class that it is compared as."""
    if is_blank(value):
        return None
    if spec.type == "boolean":
        return value if isinstance(value, bool) else ""
    return unaliased(value, spec.aliases) if spec.type == "label" else value


def _several(spec: FieldSpec, expected: Any, path: str) -> Iterator[str]:
    """The paths at which an expected value is a list of alternatives."""
    if spec.type == "object":
        for name, inner in spec.fields.items():
            yield from _several(inner, expected.get(name) if isinstance(expected, dict) else None, f"{path}.{name}")
    elif not isinstance(expected, list):
        return
    elif spec.type == "list":
        for index, entry in enumerate(expected):
            yield from _several(spec.of or spec, entry, f"{path}[{index}]")
    else:
        yield path


def _alternatives(expected: Any) -> list[Any]:
    return expected if isinstance(expected, list) else [expected]


def _unfit(spec: FieldSpec, expected: Any) -> str | None:
    """What an expected value should be and is not; None where it is."""
    if expected is None:
        return None
    if spec.type == "list":
        if not isinstance(expected, list):
            return "a list"
        return next((problem for entry in expected if (problem := _unfit(spec.of or spec, entry))), None)
    if spec.type == "object":
        if not isinstance(expected, dict):
            return "an object"
        unknown = set(expected) - set(spec.fields)
        if unknown:
            return f"an object of the fields {', '.join(spec.fields)}"
        return next(
            (problem for name, value in expected.items() if (problem := _unfit(spec.fields[name], value))), None
        )
    for value in _alternatives(expected):
        if value is not None and similarity(spec, value, value) != 1:
            levels = f" ({', '.join(map(str, spec.levels))})" if spec.type == "ordinal" and spec.levels else ""
            article = "an" if spec.type == "ordinal" else "a"
            return f"{article} {spec.type}{levels}"
    return None
