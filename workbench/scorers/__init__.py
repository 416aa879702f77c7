"""Scorers: an answer and the expectations of its item to a score from 0 to 1.

    scorers = build_scorers([{"type": "label"}], labels=["billing", "bug"], document=document)
    scorers[0].score(answer, {"label": "bug"})       # Score(1.0)

A team's own scorer is a class with the decorator `@workbench.scorer("name")`, or an entry point in the group
`workbench.scorers`; its fields are the keys that evalset.yaml may set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from workbench.files import Document, StrictModel
from workbench.scorers.answer import Answer, parse_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Answer", "Score", "Scorer", "build_scorers", "parse_answer", "scorer"]


@dataclass(frozen=True)
class Score:
    """A score from 0 to 1 and a scorer's further figures of the item."""

    value: float
    metrics: dict[str, float] = field(default_factory=dict)


class Scorer(StrictModel):
    """Base of all scorers; subclasses add their settings as fields."""

    type: str

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        """Score one answer."""
        raise TypeError(f"scorer '{self.type}' has no method score")

    def check(self, expectations: dict[str, Any]) -> str | None:
        """What is wrong with an item's expectations for this scorer, with the mend; None if nothing."""
        return None

    def stratum(self, expectations: dict[str, Any]) -> str | None:
        """The label that a sample is stratified by; None where there is none."""
        return None

    def with_labels(self, labels: list[str] | None) -> Scorer:
        """This scorer, told the eval set's labels."""
        return self


_REGISTRY: dict[str, type[Scorer]] = {}
S = TypeVar("S", bound=type[Scorer])


def scorer(name: str) -> Callable[[S], S]:
    """Register a scorer class under the `type` that evalset.yaml uses."""

    def register(cls: S) -> S:
        _REGISTRY[name] = cls
        return cls

    return register


def _find(name: str) -> type[Scorer] | None:
    if name not in _REGISTRY:
        from importlib.metadata import entry_points

        for entry in entry_points(group="workbench.scorers", name=name):
            _REGISTRY.setdefault(name, entry.load())
    return _REGISTRY.get(name)


def build_scorers(specs: Sequence[dict[str, Any]], labels: list[str] | None, document: Document) -> tuple[Scorer, ...]:
    """The scorers that an evalset.yaml names.

    Raises:
        InputError: an unknown type, or settings that the scorer does not have.
    """
    built: list[Scorer] = []
    for index, spec in enumerate(specs):
        name = spec.get("type")
        cls = _find(name) if isinstance(name, str) else None
        if cls is None:
            raise document.error(
                ("scorers", index, "type"), f"there is no scorer '{name}'. There are: {', '.join(sorted(_REGISTRY))}."
            )
        try:
            built.append(cls.model_validate(spec).with_labels(labels))
        except ValidationError as failure:
            problem = failure.errors(include_url=False)[0]
            place = ("scorers", index, *problem["loc"])
            keys = ", ".join(cls.model_fields)
            raise document.error(place, f"{problem['msg'].lower()}. Scorer '{name}' has the keys: {keys}.") from None
    return tuple(built)


from workbench.scorers import json_fields, label, yes_no  # noqa: F401  (they register themselves)
