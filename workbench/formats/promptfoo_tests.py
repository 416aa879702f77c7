"""promptfoo's tests without a config: CSV with `__expected` columns, JSONL, a list in YAML or JSON.

done = import_evalset("tests.csv", "evalsets/translate")               # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo_tests", "tests.csv")                # or .jsonl, .json, .yaml
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import write_atomic, write_lines
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.assertions import long_form, read_assertion
from workbench.formats.shared.cells import cell_text, csv_lines
from workbench.formats.shared.export import file_mode, write_objects
from workbench.formats.shared.files import head
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.rows import first_row, open_rows
from workbench.formats.shared.structured import dump_yaml, named
from workbench.formats.shared.suites import Suite, Test, tests_in, written_suite

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_LISTED = re.compile(
    r"(?:[ \t]*(?:#.*|---.*)?\r?\n)*\s*-\s+(vars|assert|description|metadata|threshold)\s*:"
    r"|\s*\[\s*\{\s*\"(vars|assert|description)\"\s*:"
)
_COLUMN = re.compile(r"(?:^|[,;\t|\"])\s*__(?:expected\d*|metadata:[^,;\t]+|threshold)\b")


class PromptfooTests(Format):
    """promptfoo's files of test cases."""

    name = "promptfoo_tests"
    about = "promptfoo test cases (CSV, JSONL, a YAML or JSON list)"
    written = ("tests are", ".csv", ".jsonl", ".json", ".yaml", ".yml")
    keeps = frozenset({"output", "scorers", "accept"})

    def sniff(self, source: Path) -> float:
        if source.is_dir():
            return 0.0
        start = head(source)
        first = start.lstrip().partition("\n")[0]
        if _COLUMN.search(first) and first[:1] not in ("{", "["):
            return 0.95
        if source.suffix.lower() in (".csv", ".tsv"):
            return 0.0
        keys = set(first_row(source) or {}) if first[:1] in ("{", "[") else set()
        if "tests" in keys:  # a config
            return 0.0
        return 0.9 if _LISTED.match(start) or "vars" in keys else 0.8 if "assert" in keys else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if options.scorer:
            raise InputError(f"{where(source)}: tests bring their own assertions. Leave --scorer out.")
        found = Found()
        Suite(partial(tests_in, open_rows(source, found, header=True)), found).read(sink)
        return found

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        try:
            default, tests = written_suite(evalset, ledger)
            whole = [_whole(default, test) for test in tests]
        except Unusable as failure:
            raise InputError(f"{where(evalset.path)}: {failure}.") from None
        suffix = target.suffix.lower()
        if suffix == ".csv":
            write_lines(target, csv_lines(_rows(evalset, whole, ledger)), file_mode(evalset))
        elif suffix in (".yaml", ".yml"):
            write_atomic(target, dump_yaml(whole), file_mode(evalset))
        else:
            write_objects(evalset, target, whole)


FORMATS.add("promptfoo_tests", PromptfooTests())


def _whole(default: Test, test: Test) -> Test:
    """A test with what in a config all tests would share."""
    asserts = [*default.get("assert", []), *test.get("assert", [])]
    return {**test, **default, **({"assert": asserts} if asserts else {})}


def _rows(evalset: EvalSet, tests: list[Test], ledger: Ledger) -> Iterator[list[str]]:
    """The tests as rows of a table, the columns' names first; what no cell can say is lost."""
    inputs = dict.fromkeys(name for test in tests for name in test.get("vars", {}))
    places = (f"{where(evalset.path / 'items.jsonl')} {item.id}" for item in evalset.items)
    rows = [_row(test, inputs, partial(ledger.tally, place)) for test, place in zip(tests, places, strict=True)]
    columns = sorted(dict.fromkeys(chain.from_iterable(rows)), key=_order)
    yield columns
    yield from ([row.get(name, "") for name in columns] for row in rows)


def _order(column: str) -> tuple[int, int]:
    """Variables go first, then assertions by their number, metadata, the threshold."""
    number = column.removeprefix("__expected")
    if column.startswith("__"):
        return (1, int(number)) if number.isdigit() else (3 if column == "__threshold" else 2, 0)
    return (0, 0)


def _row(test: Test, inputs: Iterable[str], lose: Callable[[str], None]) -> dict[str, str]:
    """A test by columns."""
    row: dict[str, str] = {}
    for name in inputs:
        if name.startswith("__"):
            lose(f"input {named(name)} is left out: promptfoo has columns of its own with such names")
        else:
            row |= _cell(name, f"input {named(name)}", test.get("vars", {}).get(name), lose)
    for name, value in test.get("metadata", {}).items():
        row |= _cell(f"__metadata:{name}", f"metadata {named(name)}", cell_text(value), lose)
    row |= _expected(test.get("assert", []), lose)
    return row | ({"__threshold": cell_text(test["threshold"])} if "threshold" in test else {})


def _cell(column: str, what: str, value: Any, lose: Callable[[str], None]) -> dict[str, str]:
    if column != column.strip() or column.endswith(("[]", ":")) or not column:
        lose(f"{what} is left out: no column can be called so")
        return {}
    if not isinstance(value, str):
        lose(f"{what} is no text, or not there: a cell makes it one")
    return {column: cell_text(value)}


def _expected(assertions: list[dict[str, Any]], lose: Callable[[str], None]) -> dict[str, str]:
    """Assertions by columns, in short notation, which has no weights."""
    found: list[str] = []
    for assertion in assertions:
        weight = assertion.get("weight", 1)
        short = _short({**assertion, "weight": 1}) if weight else None
        if short is None:
            why = "no cell can say it (the space around it?)" if weight else "without its weight of 0 it would count"
            lose(f"assertion {named(assertion['type'])} is left out: {why}")
        elif weight != 1:
            lose(f"weight {weight:g} of {named(assertion['type'])}: in a table all weigh the same")
        found += [short] if short else []
    return {f"__expected{number}": short for number, short in enumerate(found, 1)}


def _short(assertion: dict[str, Any]) -> str | None:
    """An assertion in short notation; None where that cannot say it, as space around a value."""
    value = assertion["value"]
    short = f"{assertion['type']}:{','.join(map(_quoted, value)) if isinstance(value, list) else cell_text(value)}"
    try:
        same = read_assertion(long_form(short, ""), {}) == read_assertion(assertion, {})
    except Unusable:
        return None
    return short if same else None


def _quoted(text: str) -> str:
    """A value of a list, in quotes where it would otherwise be read as several, or as another one."""
    plain = text == text.strip() != "" and not any(mark in text for mark in ',"\n\r')
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'
