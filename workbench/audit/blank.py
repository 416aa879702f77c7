"""Items that ask nothing: everything that the prompts show of them is empty.

blank = blank_items(evalset)                     # ('st-012',)
filled(evalset, blank)                           # the set without them, for checks that compare texts
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from workbench.audit.inputs import shown
from workbench.audit.report import Finding, count_of
from workbench.evalset import EvalSet


def blank_items(evalset: EvalSet) -> tuple[str, ...]:
    """The ids of items whose inputs are empty, as far as a prompt or a rule reads them; none where none is read."""
    show = shown(evalset)
    return tuple(
        item.id
        for item in chain(evalset.items, evalset.train)
        if (inputs := show(item)) and all(map(_is_blank, inputs.values()))
    )


def _is_blank(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_blank, value.values() if isinstance(value, dict) else value))
    return value is None or (isinstance(value, str) and not value.strip())


def filled(evalset: EvalSet, blank: tuple[str, ...]) -> EvalSet:
    """The eval set without these items."""
    if not blank:
        return evalset
    left_out = set(blank)
    items, train = (tuple(item for item in part if item.id not in left_out) for part in (evalset.items, evalset.train))
    return replace(evalset, items=items, train=train)


def empty_inputs(blank: tuple[str, ...]) -> Iterator[Finding]:
    """Items that ask nothing."""
    if blank:
        what = f"{count_of(blank)} with empty inputs: the prompt asks nothing"
        yield Finding("inputs", "error", what, "Fill the inputs in, or drop the items", blank)
