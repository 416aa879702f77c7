"""promptfoo's tests, of a config or in a file of their own, as items and scorers; and items as tests.

Suite(partial(tests_in, rows), found).read(sink)             # each kind of assertion is a scorer of its own
default, tests = written_suite(evalset, ledger)              # what all tests say, and each by itself
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from workbench.errors import InputError
from workbench.evalset import EvalSet, Item
from workbench.formats.base import Found, Sink, where
from workbench.formats.shared.assertions import (
    JOINED,
    KINDS,
    SCHEMA,
    WHOLE_TEXT,
    assertions_of,
    kind_of,
    long_form,
    read_assertion,
    schema_assertion,
)
from workbench.formats.shared.cells import cell_value
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import BESIDE, item_fields, metadata_of, one_or_all
from workbench.formats.shared.prompts import Prompt
from workbench.formats.shared.rows import Rows
from workbench.formats.shared.structured import named
from workbench.formats.shared.templates import expression, filled_in, literal, raw
from workbench.scorers import FieldScorer, Scorer

Test = dict[str, Any]
_KEYS = {"vars", "assert", "metadata", "threshold", "options"}
_OPTIONS = ("disableVarExpansion", "disableDefaultAsserts")
_COMBINATIONS_AT_MOST = 10_000


class _Case(NamedTuple):
    """A test with its defaults and one set of variables; `bar` is the score from which it passes."""

    place: str
    vars: dict[str, Any]
    asserts: list[tuple[str, Any]]
    metadata: dict[str, Any]
    bar: float


class Suite:
    """Tests, which are gone through twice: for what they say together, and for the items.

    Args:
        tests: makes them anew, each with its place; takes what of them is lost.
        found: takes what is read, apart from the items.
        default: what every test says besides; and where it stands.
    """

    def __init__(
        self,
        tests: Callable[[Ledger], Iterator[tuple[str, Test]]],
        found: Found,
        default: Test | None = None,
        origin: str = "",
    ) -> None:
        self._tests, self._found, self._default, self._origin = tests, found, default or {}, origin
        self._weights: dict[str, float] = {}  # by kind, of its first assertion
        self._surveyed = False
        self._bar = self._survey()

    def _survey(self) -> float:
        """Find the weight of each kind, and the JSON schema; the score from which most tests pass."""
        bars, by_schema, schemas = Counter[float](), Counter[float](), list[Any]()
        for case in self._cases(Ledger()):
            with suppress(Unusable):
                expected = self._expected(case, Ledger(), Counter())
                (by_schema if expected.keys() == {SCHEMA} else bars)[case.bar] += 1
                schema = next(iter(expected.get(SCHEMA, ())), None)
                schemas += [schema] if len(schemas) < 2 and schema not in schemas else []
        self._found.schema = schemas[0] if len(schemas) == 1 else None
        if self._found.schema is None:  # tests that say nothing else are left out
            self._weights.pop(SCHEMA, None)
            by_schema.clear()
        self._surveyed, bars = True, bars + by_schema
        return max(bars, key=lambda bar: (bars[bar], bar), default=1.0)

    def read(self, sink: Sink, prompts: Iterable[Prompt] = ()) -> None:
        """Hand every item to `sink`, and say of the eval set what all tests say together.

        Args:
            prompts: of which those that cannot be rendered for every test are lost.
        """
        ledger, prompts, odd = self._found.ledger, list(prompts), set[str]()
        counts = Counter[str | None]()  # tests with a variable, by its name; None is all tests
        fates = Counter[str | None]()  # assertions that are lost, by type; None is the others
        for case in self._cases(ledger):
            with ledger.leaving_out(case.place, "a test"):
                expected = self._expected(case, ledger, fates)
                expected.pop(SCHEMA, None)
                said = {kind: one_or_all(values) for kind, values in expected.items()}
                sink(item_fields(case.metadata, case.place, ledger, case.vars, said), place=case.place)
                if case.bar != self._bar:
                    ledger.tally(case.place, f"a test passes from a score of {case.bar:g}; here from {self._bar:g}")
                counts.update([None, *case.vars])
                odd |= {name for name, value in case.vars.items() if isinstance(value, dict | list | bool)}
                for prompt in prompts[:]:
                    try:
                        prompt.try_on(case.vars)
                    except Unusable as failure:
                        prompts.remove(prompt)
                        what = f"it cannot be rendered for all tests, first {case.place}: {failure}"
                        ledger.add(prompt.place, f"prompt '{prompt.name}' is left out: {what}")
        self._found.spec |= {"output": {} if self._found.schema else {"text": True}, "scorers": self._scorers(fates)}
        self._found.spec |= {"variants": self._variants(prompts, counts, odd), "accept": {"min_score": self._bar}}

    def _expected(self, case: _Case, ledger: Ledger, fates: Counter[str | None]) -> dict[str, list[Any]]:
        """What a test expects, by kind; the rest is lost. `fates` counts what is lost by type, the others as None."""
        found: dict[str, list[Any]] = {}
        for place, given in case.asserts:
            assertion = long_form(given, place)
            type_ = assertion["type"]
            try:
                kind, values, weight = read_assertion(assertion, case.vars)
                if kind == SCHEMA and self._surveyed and self._found.schema is None:
                    raise Unusable("an eval set has one JSON schema, and not all tests have this one")
                if kind in found and kind not in JOINED:
                    raise Unusable("a second one of this kind; both must hold, a list would mean either")
            except Unusable as failure:
                ledger.add(place, f"assertion {named(type_)} is left out: {failure}")
                fates[type_] += 1
                continue
            found.setdefault(kind, []).extend(values)
            fates[None] += 1
            if weight != (usual := self._weights.setdefault(kind, weight)):
                ledger.tally(place, f"weight {weight:g} of '{type_}': its scorer has one weight, {usual:g}")
            if assertion.get("metric"):
                ledger.tally(place, f"metric name {named(assertion['metric'])} of '{type_}'")
        if not found:
            raise Unusable("it has no assertion that can be carried over")
        if not any(self._weights[kind] for kind in found):
            raise Unusable("none of its assertions has a weight above 0")
        return found

    def _scorers(self, fates: Counter[str | None]) -> list[dict[str, Any]]:
        """A scorer for each kind, for the items that have one."""
        found, said = [], {"extract": WHOLE_TEXT} if self._found.schema else {}
        for kind in (each for each in KINDS if each in self._weights):
            weight = {} if self._weights[kind] == 1 else {"weight": self._weights[kind]}
            key = {} if kind == SCHEMA else {"key": kind, **said, "optional": True}
            found.append({**KINDS[kind], "name": kind, **weight, **key})
        lost = Counter({type_: number for type_, number in fates.items() if type_ is not None})
        types = ", ".join(f"{type_[:40]} {number}" for type_, number in lost.most_common(12))
        about = [f"{lost.total()} of {fates.total()} assertions are not carried over: {types}"] if lost else []
        kinds = ", ".join(scorer["name"] for scorer in found)
        self._found.notes += [*about, f"each kind of assertion is a scorer, for the items that have one: {kinds}"]
        return found

    def _variants(self, prompts: list[Prompt], counts: Counter[str | None], odd: set[str]) -> dict[str, Any]:
        names, notes = [name for name in counts if name is not None], self._found.notes
        missing = {name for name in names if counts[name] < counts[None]}
        if not prompts:
            notes.append(f"there is no prompt, so a plain one shows the variables: {', '.join(names[:20])}")
            values = [f"{{{{ {expression(name, name in missing)} }}}}" for name in names]
            lines = [f"{literal(name)}: {value}" for name, value in zip(names, values, strict=True)]
            content = "\n".join(lines if len(lines) > 1 else values)
            return {"default": {"messages": [{"role": "user", "content": content}]}}
        nowhere = sorted(set().union(*(prompt.names() for prompt in prompts)) - set(names))
        if nowhere:
            notes.append(f"the prompts name variables that no test has; they are empty: {', '.join(nowhere[:10])}")
        if odd:
            which = ", ".join(sorted(odd)[:10])
            notes.append(f"prompts show objects, lists and true/false in Python's notation: {which}")
        return {prompt.name: prompt.variant({*missing, *nowhere}) for prompt in prompts}

    def _cases(self, ledger: Ledger) -> Iterator[_Case]:
        """Every test, filled in; one that cannot be is a loss."""
        for place, test in self._tests(ledger):
            with ledger.leaving_out(place, "a test"):
                yield from self._combined(test, place, ledger)

    def _combined(self, test: Test, place: str, ledger: Ledger) -> Iterator[_Case]:
        """A test with its defaults: one case, or one for each combination of lists of variables."""
        default = self._default
        ledger.tally_keys(place, (key for key in {**default, **test} if key not in _KEYS), "a test's key")
        given, metadata, options = (_both(default, test, key, place) for key in ("vars", "metadata", "options"))
        ledger.tally_keys(place, (key for key in options if key not in _OPTIONS), "unused option")
        alone = _both({}, test, "options", place).get("disableDefaultAsserts")
        asserts: list[tuple[str, Any]] = []
        for at, part in ((self._origin, {} if alone else default), (place, test)):
            if not isinstance(listed := part.get("assert") or [], list):
                raise InputError(f"{at}: 'assert' must be a list. Mend it.")
            asserts += [(f"{at} assert {number}", each) for number, each in enumerate(listed, 1)]
        bar = _bar(test.get("threshold", default.get("threshold")), place, ledger)
        for each in _combinations(given, options.get("disableVarExpansion") is True, place):
            for name, value in each.items():  # variables may name each other
                try:
                    each[name] = filled_in(value, {other: each[other] for other in each if other != name})
                    if isinstance(value, str) and each[name].count("\r") < value.count("\r"):
                        ledger.tally(place, f"variable {named(name)} is a template: its line ends are \\n here")
                except Unusable:
                    what = f"variable {named(name)} holds a template that cannot be filled in; it stands as it is"
                    ledger.tally(place, what)
            yield _Case(place, each, asserts, metadata, bar)


def tests_in(rows: Rows, ledger: Ledger) -> Iterator[tuple[str, Test]]:
    """The tests of a file, with their places: rows of a table, or objects that are tests already."""
    for line, row in rows.read(ledger):
        yield rows.place(line), of_row(row) if rows.text_only else row


def of_row(row: dict[str, str | None]) -> Test:
    """A row of a table as a test. What nothing reads stands in it under its column's name."""
    test: Test = {"vars": {}, "metadata": {}, "assert": []}
    for column, cell in row.items():
        if cell is None:  # the row ends before it: it may have been marked, so it counts as restricted
            test["metadata"] |= {"sensitivity": None} if column == "__metadata:sensitivity" else {}
        elif not column.startswith("__"):
            test["vars"][column] = cell
        elif cell.strip() and column.startswith("__expected"):
            test["assert"].append(cell)
        elif cell.strip() and column.startswith("__metadata:"):
            name = column.removeprefix("__metadata:")
            value = cell_value(cell) if name in BESIDE else cell
            test["metadata"][name.removesuffix("[]")] = [cell] if name.endswith("[]") else value
        elif cell.strip():
            test["threshold" if column == "__threshold" else column] = cell
    return test


def _both(default: Test, test: Test, key: str, place: str) -> dict[str, Any]:
    """What a test says in a mapping, and what its defaults say besides."""
    found: dict[str, Any] = {}
    for given in (default.get(key) or {}, test.get(key) or {}):
        if key == "vars" and isinstance(given, str):
            raise Unusable("its variables are in another file, which is not read")
        if not isinstance(given, dict):
            raise InputError(f"{place}: '{key}' must be a mapping. Mend it.")
        found |= given
    return found


def _bar(given: Any, place: str, ledger: Ledger) -> float:
    with suppress(TypeError, ValueError):
        if given is None or 0 <= float(given) <= 1:
            return 1.0 if given is None else float(given)
    ledger.tally(place, "a threshold that is no number from 0 to 1")
    return 1.0


def _combinations(given: dict[str, Any], whole_lists: bool, place: str) -> Iterator[dict[str, Any]]:
    choices: list[list[Any]] = []
    for name, value in given.items():
        if isinstance(value, str) and value.startswith("file://"):
            raise Unusable(f"variable {named(name)} is a file, which is not read")
        several = isinstance(value, list) and bool(value) and isinstance(value[0], str) and not whole_lists
        choices.append(["" if each is None else each for each in (value if several else [value])])
    if math.prod(map(len, choices)) > _COMBINATIONS_AT_MOST:
        what = f"its variables have more than {_COMBINATIONS_AT_MOST} combinations. Split the test."
        raise InputError(f"{place}: {what}")
    return (dict(zip(map(str, given), combination, strict=True)) for combination in itertools.product(*choices))


def written_suite(evalset: EvalSet, ledger: Ledger) -> tuple[Test, Iterator[Test]]:
    """What all tests of an eval set say, and each test by itself; what no test can say is lost."""
    lose = partial(ledger.add, where(evalset.path / "evalset.yaml"))
    if evalset.spec.output.labels is not None:
        lose("output.labels: promptfoo has no list of labels")
    kinds = [(scorer, kind_of(evalset, scorer, lose)) for scorer in evalset.scorers]
    kept = [(scorer, kind) for scorer, kind in kinds if kind]
    lists = any(isinstance(value, list) for item in evalset.items for value in item.inputs.values())
    default: Test = {"options": {"disableVarExpansion": True}} if lists else {}
    if evalset.output_schema is not None:
        alone = not any(scorer.weight for scorer, _ in kept)
        default["assert"] = [schema_assertion(evalset, alone, lose)]
    bar = evalset.spec.accept.min_score
    return default | ({} if bar == 1 else {"threshold": bar}), (
        _written(item, kept, where(evalset.path / "items.jsonl"), ledger) for item in evalset.items
    )


def _written(item: Item, scorers: list[tuple[Scorer, str]], items: str, ledger: Ledger) -> Test:
    lose, asserts, whole = partial(ledger.tally, f"{items} {item.id}"), list[dict[str, Any]](), set[str]()
    for name, value in item.inputs.items():
        if value is None:
            lose(f"input {named(name)} is null: there it is empty")
    for scorer, kind in scorers:
        if isinstance(scorer, FieldScorer) and scorer.applies(item.expectations):
            made, lost = assertions_of(scorer, kind, item.expectations)
            asserts += made
            if lost:
                lose(f"scorer '{scorer.name or scorer.type}': {lost}")
            elif scorer.expected_key == kind:
                whole.add(kind)  # the assertions say this expectation whole
    metadata = metadata_of(item, items, ledger, expectations=whole)
    found = {"vars": raw(item.inputs), "assert": asserts, "metadata": metadata}
    return {key: value for key, value in found.items() if value}
