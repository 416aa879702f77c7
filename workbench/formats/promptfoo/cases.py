"""promptfoo's test cases: rows of a table or mappings with vars, assert and metadata, as items; and back.

from_row({"text": "hi", "__expected": "icontains:hi"})            # {'vars': {'text': 'hi'}, 'assert': [...], …}
for case in cases_of(test, "tests.csv:2", default, "", ledger):   # one, or one for each combination of lists
    case.vars, case.asserts
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from workbench.errors import InputError
from workbench.evalset import Item
from workbench.formats.promptfoo.assertions import assertions_of
from workbench.formats.promptfoo.prompts import filled_in, raw
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import metadata_of

_TEST_KEYS = {"vars", "assert", "metadata", "threshold", "options"}
_OPTIONS = {"disableVarExpansion", "disableDefaultAsserts"}
_COMBINATIONS_AT_MOST = 10_000


class Case(NamedTuple):
    """A test with its defaults and one set of variables; `threshold` is None where every assertion must hold."""

    place: str
    vars: dict[str, Any]
    asserts: list[tuple[str, Any]]
    metadata: dict[str, Any]
    threshold: float | None


def from_row(row: dict[str, str | None]) -> dict[str, Any]:
    """A row of a table as a test. What nothing reads stands in it under its column's name."""
    test: dict[str, Any] = {"vars": {}, "metadata": {}, "assert": []}
    for column, cell in row.items():
        if cell is None:  # the row ends before it: it may have been marked, so it counts as restricted
            test["metadata"] |= {"sensitivity": None} if column == "__metadata:sensitivity" else {}
        elif not column.startswith("__"):
            test["vars"][column] = cell
        elif cell.strip() and column.startswith("__expected"):
            test["assert"].append(cell)
        elif cell.strip() and column.startswith("__metadata:"):
            name = column.removeprefix("__metadata:")
            test["metadata"][name.removesuffix("[]")] = [cell] if name.endswith("[]") else cell
        elif cell.strip():
            test["threshold" if column == "__threshold" else column] = cell
    return test


def cases_of(test: dict[str, Any], place: str, default: dict[str, Any], origin: str, ledger: Ledger) -> Iterator[Case]:
    """What a test becomes with what defaultTest (of `origin`) adds: one case, or one for each combination of lists."""
    for key in {**default, **test}:
        if key not in _TEST_KEYS:
            ledger.tally(place, f"a test's key '{str(key)[:60]}'")
    parts: dict[str, dict[str, Any]] = {}
    for key, part in itertools.product(("vars", "metadata", "options"), (default, test)):
        given = part.get(key) or {}
        if key == "vars" and isinstance(given, str):
            raise Unusable("its variables are in another file, which is not read")
        if not isinstance(given, dict):
            raise InputError(f"{place}: '{key}' must be a mapping. Mend it.")
        parts[key] = {**parts.get(key, {}), **given}
    for key in parts["options"]:
        if key not in _OPTIONS:
            ledger.tally(place, f"option '{str(key)[:60]}': nothing here does this")
    asserts: list[tuple[str, Any]] = []
    alone = (test.get("options") or {}).get("disableDefaultAsserts")
    for at, given in (("" if alone else origin, default.get("assert") or []), (place, test.get("assert") or [])):
        if not isinstance(given, list):
            raise InputError(f"{at}: 'assert' must be a list. Mend it.")
        asserts += [(f"{at} assert {number}", each) for number, each in enumerate(given, 1) if at]
    threshold = test.get("threshold", default.get("threshold"))
    try:
        threshold = None if threshold is None else float(threshold)
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError
    except (TypeError, ValueError):
        ledger.tally(place, "a threshold that is no number from 0 to 1")
        threshold = None
    for each in _combinations(parts["vars"], parts["options"].get("disableVarExpansion") is True, place):
        for name, value in each.items():  # variables may name each other
            try:
                each[name] = filled_in(value, {other: each[other] for other in each if other != name})
                if isinstance(value, str) and each[name].count("\r") < value.count("\r"):
                    ledger.tally(place, f"variable '{name[:60]}' is a template: its line ends are \\n here")
            except Unusable:
                what = f"variable '{name[:60]}' holds a template that cannot be filled in; it stands as it is"
                ledger.tally(place, what)
        yield Case(place, each, asserts, parts["metadata"], threshold)


def _combinations(given: dict[str, Any], whole_lists: bool, place: str) -> Iterator[dict[str, Any]]:
    choices: list[list[Any]] = []
    for name, value in given.items():
        if isinstance(value, str) and value.startswith("file://"):
            raise Unusable(f"variable '{str(name)[:60]}' is a file, which is not read")
        several = isinstance(value, list) and bool(value) and isinstance(value[0], str) and not whole_lists
        choices.append(["" if each is None else each for each in (value if several else [value])])
    if math.prod(map(len, choices)) > _COMBINATIONS_AT_MOST:
        what = f"its variables have more than {_COMBINATIONS_AT_MOST} combinations. Split the test."
        raise InputError(f"{place}: {what}")
    return (dict(zip(map(str, given), combination, strict=True)) for combination in itertools.product(*choices))


def written_test(item: Item, scorers: list[tuple[Any, str]], items: str, ledger: Ledger) -> dict[str, Any]:
    lose, asserts, whole = partial(ledger.tally, f"{items} {item.id}"), list[dict[str, Any]](), set[str]()
    for name, value in item.inputs.items():
        if value is None:
            lose(f"input '{name[:60]}' is null: there it is empty")
    for scorer, kind in scorers:
        if scorer.applies(item.expectations):
            made, lost = assertions_of(scorer, kind, item.expectations)
            asserts += made
            if lost:
                lose(f"scorer '{scorer.name or scorer.type}': {lost}")
            elif made and scorer.expected_key == kind:
                whole.add(kind)  # the assertions say this expectation whole
    found = {"vars": raw(item.inputs), "assert": asserts}
    found["metadata"] = metadata_of(item, items, ledger, expectations=whole)
    return {key: value for key, value in found.items() if value}
