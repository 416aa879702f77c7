"""Scorers: an answer and the expectations of its item to a score from 0 to 1. One concept a file.

    scorers = build_scorers([{"type": "label"}], document, labels=["billing", "bug"])
    scorers[0].score(answer, {"label": "bug"})       # Score(1.0)

A team's own is a function or a class with the decorator `@workbench.scorer("name")`; see `base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from workbench.errors import InputError
from workbench.files import Document
from workbench.scorers.answer import Answer, parse_answer
from workbench.scorers.base import SCORERS, FieldScorer, Score, Scorer, as_scorer, problem_of, scorer, total
from workbench.scorers.plugins import ScorerFailure
from workbench.scorers.validity import unusable

__all__ = [
    "Answer",
    "FieldScorer",
    "Score",
    "Scorer",
    "ScorerFailure",
    "build_scorers",
    "parse_answer",
    "problem_of",
    "scorer",
    "total",
]

_OURS = (
    *("citation", "contains", "dates", "exact", "facts", "json_fields", "json_schema", "judge", "label", "money"),
    *("multi_label", "numeric", "patterns", "rouge", "sets", "yes_no"),
)
for _module in _OURS:
    import_module(f"workbench.scorers.{_module}")  # each registers itself


def build_scorers(
    specs: Sequence[dict[str, Any]],
    document: Document,
    labels: list[str] | None = None,
    schema: dict[str, Any] | None = None,
) -> tuple[Scorer, ...]:
    """The scorers that an evalset.yaml names.

    Args:
        document: the file, for messages that point into it.
        labels: the eval set's labels, if its answers are labels.
        schema: the JSON schema of its answers, if they are JSON.

    Raises:
        InputError: an unknown type, settings that the scorer does not have, or a schema that cannot be used.
    """
    problem_of_schema = unusable(schema) if schema is not None else None
    if problem_of_schema is not None:
        raise document.error(("output", "json_schema"), f"{problem_of_schema}.")
    built: list[Scorer] = []
    for index, spec in enumerate(specs):
        name = spec.get("type")
        try:
            cls = as_scorer(SCORERS.find(name))
        except InputError as failure:
            raise document.error(("scorers", index, "type"), str(failure)) from None
        try:
            built.append(cls.model_validate(spec).bound(labels, schema))
        except ValidationError as failure:
            problem = failure.errors(include_url=False)[0]
            place = ("scorers", index, *problem["loc"])
            keys = ", ".join(field for field, about in cls.model_fields.items() if not about.exclude)
            message = problem["msg"].removeprefix("Value error, ").rstrip(".")
            message = message[:1].lower() + message[1:]
            raise document.error(place, f"{message}. Scorer '{name}' has the keys: {keys}.") from None
        except ValueError as failure:
            raise document.error(("scorers", index), f"{failure}.") from None
    if not sum(each.weight for each in built):
        raise document.error(("scorers",), "all have weight 0, so nothing makes a score. Give one a weight.")
    names = [each.name or each.type for each in built]
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise document.error(("scorers", names.index(twice)), f"'{twice}' is there twice. Give each its own 'name'.")
    return tuple(built)
