"""What all tests of a promptfoo suite decide together: the scorers and their weights, one schema, one threshold.

plan.observe(kept) for every test; then plan.split(kept) says what of a test is carried over, and plan.survey(…) adds
up what is; plan.scorers(), plan.bar(), plan.notes(…) are the result.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from workbench.formats.promptfoo.asserts import GRADED, KINDS, SCHEMA, Claim, Lost
from workbench.formats.promptfoo.cases import Case

WHOLE_TEXT = "(?s).+"  # with JSON answers, what the model said and not the object in it
Kept = dict[str, list[Claim]]


@dataclass
class Plan:
    """What is known after each of the passes over the tests."""

    weights: dict[str, Counter[float]] = field(default_factory=dict)
    tests: int = 0
    schemas: list[Any] = field(default_factory=list)  # that differ; two at most
    with_schema: int = 0
    names: Counter[str] = field(default_factory=Counter)
    containers: set[str] = field(default_factory=set)
    bars: Counter[float] = field(default_factory=Counter)
    carried: int = 0

    def observe(self, kept: Kept) -> None:
        """First time through: the assertions."""
        self.tests += bool(kept)
        for kind, found in kept.items():
            self.weights.setdefault(kind, Counter()).update(claim.weight for claim in found)
        if SCHEMA in kept:
            self.with_schema += 1
            schema = kept[SCHEMA][0].values[0]
            if schema not in self.schemas and len(self.schemas) < 2:
                self.schemas.append(schema)

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of all answers, if every test asks for the same one."""
        return self.schemas[0] if len(self.schemas) == 1 and self.with_schema == self.tests else None

    def weight(self, kind: str) -> float:
        """The weight of most assertions of a kind."""
        return max(self.weights[kind].items(), key=lambda each: (each[1], each[0]))[0]

    def split(self, kept: Kept) -> tuple[Kept, list[Lost]]:
        """What of a test is carried over, and what cannot be because of the other tests."""
        carried, lost = dict(kept), []
        if self.schema is None:
            why = "an eval set has one JSON schema, and not all tests have this one"
            lost += [Lost(claim.place, claim.type, why) for claim in carried.pop(SCHEMA, [])]
        if carried and not any(self.weight(kind) for kind in carried):
            why = "the test has none with a weight above 0"
            lost += [Lost(claim.place, claim.type, why) for found in carried.values() for claim in found]
            carried = {}
        return carried, lost

    def survey(self, case: Case, carried: Kept) -> None:
        """Second time through: the tests that are carried over."""
        self.carried += 1
        self.names.update(case.vars.keys())
        self.containers |= {name for name, value in case.vars.items() if isinstance(value, dict | list | bool)}
        self.bars[_bar(case, carried)] += 1

    @property
    def missing(self) -> set[str]:
        """The variables that some tests do not have."""
        return {name for name, count in self.names.items() if count < self.carried}

    @property
    def bar(self) -> float:
        """The score with which most tests pass."""
        return max(self.bars.items(), key=lambda each: (each[1], each[0]))[0] if self.bars else 1.0

    def _kinds(self) -> list[str]:
        return [kind for kind in (*([SCHEMA] if self.schema else []), *KINDS) if kind in self.weights]

    def scorers(self) -> list[dict[str, Any]]:
        """A scorer for each kind of assertion."""
        said = {"extract": WHOLE_TEXT} if self.schema is not None else {}
        found = []
        for kind in self._kinds():
            weight = self.weight(kind)
            common = {"name": kind, **({} if weight == 1 else {"weight": weight})}
            if kind == SCHEMA:
                found.append({"type": "json_schema", **common})
            else:
                found.append({**KINDS[kind].scorer, **common, "key": kind, **said, "optional": True})
        return found

    def notes(self, lost: Counter[str], count: int) -> list[str]:
        """What was made of the assertions; `lost` by type, `count` in all."""
        notes = []
        if lost:
            kinds = ", ".join(f"{kind[:40]} {number}" for kind, number in lost.most_common(12))
            notes.append(f"{lost.total()} of {count} assertions are not carried over: {kinds}")
        kinds = ", ".join(f"{kind} ({self.weights[kind].total()})" for kind in self._kinds())
        notes.append(f"each kind of assertion is a scorer, for the items that have one: {kinds or 'none'}")
        if set(GRADED) & set(self.weights):
            notes.append("rouge-n's own threshold is part of accept.min_score; rouge-score's stemmer counts the words")
        if any(bar < 1 for bar in self.bars) and len(self._kinds()) > 1:
            notes.append(
                "with a threshold below 1: several assertions of one kind weigh as one here, in promptfoo each weighs"
            )
        return notes


def _bar(case: Case, carried: Kept) -> float:
    """The score with which a test passes: its threshold, or all assertions, where a graded one needs less than 1."""
    if case.threshold is not None:
        return case.threshold
    found = [claim for claims in carried.values() for claim in claims]
    total = sum(claim.weight for claim in found)
    part = sum(claim.weight * (1.0 if claim.threshold is None else claim.threshold) for claim in found)
    return round(part / total, 4) if total else 1.0
