"""Test suites as promptfoo writes them: rows or documents, defaults and other files, lists of variables combined.

suite = Suite(Path("promptfooconfig.yaml"))
for case in suite.cases(ledger): ...        # Case(place='promptfooconfig.yaml:7', vars={…}, asserts=[…], …)
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import InputError
from workbench.files import Document
from workbench.formats.base import where
from workbench.formats.shared.cells import csv_rows
from workbench.formats.shared.files import head, inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.rows import json_lines, kind_of
from workbench.formats.shared.structured import read_structured
from workbench.formats.shared.templates import filled_in
from workbench.strict import Place

_CASE_KEYS = {"vars", "assert", "metadata", "threshold", "options", "description"}
_COMBINATIONS_AT_MOST = 10_000
PROGRAM = re.compile(r"exec:|(?!file:)[a-z]+://|[^\n{]*\.(py|js|ts|mjs|cjs|sh|rb|pl|bash)(:\w+)?\s*$")


class _Test(NamedTuple):
    """A test as it is written, and its assertions with their places."""

    place: str
    given: dict[str, Any]
    asserts: list[tuple[str, Any]]

    def part(self, key: str) -> dict[str, Any]:
        """A mapping of the test; empty where it has none."""
        value = self.given.get(key) or {}
        if not isinstance(value, dict):
            raise InputError(f"{self.place}: '{key}' must be a mapping. Mend it.")
        return value


class Case(NamedTuple):
    """A test with its defaults and one set of variables; `threshold` is None where every assertion must hold."""

    place: str
    vars: dict[str, Any]
    asserts: list[tuple[str, Any]]
    metadata: dict[str, Any]
    threshold: float | None


class Suite:
    """The tests of a source, which can be gone through again and again.

    Attributes:
        root: the folder that nothing is read outside of.
        config: the mapping of a promptfooconfig; empty for a file of tests alone.
    """

    def __init__(self, source: Path) -> None:
        self.source, self.root = source, source.parent
        self._documents: dict[Path, Document] = {}
        self._own = self.read(source) if _is_whole(source) else Document(source, None, {})
        data = self._own.data
        self.config = data if isinstance(data, dict) and set(data) - _CASE_KEYS else {}

    def place(self, *place: str | int) -> str:
        """A place in the source's own document."""
        return _at(self._own, place)

    def read(self, path: Path) -> Document:
        """A YAML or JSON file, read once."""
        if path not in self._documents:
            self._documents[path] = read_structured(path)
        return self._documents[path]

    def cases(self, ledger: Ledger) -> Iterator[Case]:
        """Every test, filled in; one that cannot be is a loss."""
        default, given = _Test(where(self.source), {}, []), self.config.get("defaultTest")
        if isinstance(given, dict):
            default = _test({"vars": {}} | given, self._own, ("defaultTest",))
        elif given is not None:
            ledger.add(self.place("defaultTest"), "a defaultTest that is no mapping: not read")
        if self.config:
            tests = self._listed(self.config.get("tests"), self._own, ("tests",), ledger)
        else:
            tests = self._file(self.source, ledger)
        for test in tests:
            yield from _filled_in(test, default, ledger)

    def _file(self, path: Path, ledger: Ledger) -> Iterator[_Test]:
        """The tests of a file: a list of them, or rows."""
        if _is_whole(path):
            yield from self._listed(self.read(path).data, self.read(path), (), ledger)
        elif kind_of(path) == "jsonl":
            for line, given in json_lines(path):
                yield _test(given, Document(path, given, {(): line}), ())
        else:
            for line, row in csv_rows(path):
                yield _from_row(row, where(path, line))

    def _listed(self, tests: Any, document: Document, place: Place, ledger: Ledger) -> Iterator[_Test]:
        """The tests of a list, a file's name, or a list of both."""
        for index, test in enumerate(tests if isinstance(tests, list) else [] if tests is None else [tests]):
            here: Place = (*place, index) if isinstance(tests, list) else place
            if isinstance(test, str):
                files = [] if PROGRAM.match(test) else inside(self.root, test)
                if not files:
                    why = "a program, which is not run, or not inside the folder; nothing is fetched"
                    ledger.add(_at(document, here), f"tests of '{test[:60]}': {why}")
                for path in files:
                    yield from self._file(path, ledger)
            elif not isinstance(test, dict):
                raise document.error(here, "must be a test: a mapping with vars and assert.")
            elif "path" in test and not _CASE_KEYS & set(test):
                ledger.add(_at(document, here), "tests made by a program: not run; save what it makes as YAML")
            else:
                yield _test(test, document, here)


def _is_whole(path: Path) -> bool:
    """Whether a file is YAML or JSON as a whole, not rows; by what it holds before its name."""
    start, suffix = head(path).lstrip(), path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return False
    if suffix in (".yaml", ".yml") or re.match(r"[-\[#]|[\w$]+\s*:", start):
        return True
    return kind_of(path) not in ("jsonl", "csv") and "__" not in start.partition("\n")[0]


def _at(document: Document, place: Place) -> str:
    """A place in a document: the line of the nearest part that has one, and the way on from there."""
    end = next((end for end in range(len(place), 0, -1) if place[:end] in document.lines), 0)
    line = where(document.path, document.lines.get(place[:end]))
    return " ".join([line, *(str(part + 1 if isinstance(part, int) else part) for part in place[end:])])


def _test(given: dict[str, Any], document: Document, place: Place) -> _Test:
    here = _at(document, place)
    if given and not _CASE_KEYS & set(given):  # an object that has a table's columns
        texts = {key: "" if value is None else scalar_text(value) for key, value in given.items()}
        return _from_row({str(k): json.dumps(given[k]) if text is None else text for k, text in texts.items()}, here)
    asserts = given.get("assert") or []
    if not isinstance(asserts, list):
        raise InputError(f"{here}: 'assert' must be a list. Mend it.")
    return _Test(here, given, [(_at(document, (*place, "assert", n)), each) for n, each in enumerate(asserts)])


def _from_row(row: dict[str, str], place: str) -> _Test:
    """A row of a table as a test. What nothing reads stands in it under its column's name."""
    test = _Test(place, {"vars": {}, "metadata": {}}, [])
    for column, cell in row.items():
        if not column.startswith("__"):
            test.given["vars"][column] = cell
        elif cell.strip() and column.startswith("__expected"):
            test.asserts.append((f"{place} {column.partition('#')[0]}", cell))
        elif cell.strip() and column.startswith("__metadata:"):
            name = column.removeprefix("__metadata:")
            test.given["metadata"][name.removesuffix("[]")] = [cell] if name.endswith("[]") else cell
        elif cell.strip():
            test.given["threshold" if column == "__threshold" else f"column {column}"] = cell.strip()
    return test


def _filled_in(test: _Test, default: _Test, ledger: Ledger) -> Iterator[Case]:
    """What a test becomes with what defaultTest adds to it: one case, or one for each combination of its lists."""
    for part in (test, default):
        for key in part.given:
            if key not in _CASE_KEYS - {"description"}:
                ledger.tally(part.place, key if key.startswith("column ") else f"a test's key '{key[:60]}'")
        for key in part.part("options"):
            if key not in ("disableVarExpansion", "disableDefaultAsserts"):
                ledger.tally(part.place, f"option '{str(key)[:60]}': nothing here does this")
    options = {**default.part("options"), **test.part("options")}
    asserts = test.asserts if test.part("options").get("disableDefaultAsserts") else [*default.asserts, *test.asserts]
    metadata = {**default.part("metadata"), **test.part("metadata")}
    given = test.given.get("threshold")
    given = default.given.get("threshold") if given is None else given
    try:
        values = {**_variables(default), **_variables(test)}
        threshold = _threshold(given, test.place, ledger)
        for each in _combinations(values, options.get("disableVarExpansion") is True, test.place):
            yield Case(test.place, _composed(each, test.place, ledger), asserts, metadata, threshold)
    except Unusable as failure:
        ledger.tally(test.place, f"a test is left out: {failure}")


def _variables(test: _Test) -> dict[str, Any]:
    given = test.given.get("vars") or {}
    if not isinstance(given, dict):
        raise Unusable("its variables are in another file, which is not read")
    for name, value in given.items():
        if isinstance(value, str) and value.startswith("file://"):
            raise Unusable(f"variable '{str(name)[:60]}' is a file, which is not read")
    return {str(name): value for name, value in given.items()}


def _threshold(value: Any, place: str, ledger: Ledger) -> float | None:
    try:
        number = None if value is None else float(value)
    except (TypeError, ValueError):
        number = -1
    if number is None or 0 <= number <= 1:
        return number
    ledger.tally(place, "a threshold that is no number from 0 to 1")
    return None


def _combinations(given: dict[str, Any], whole_lists: bool, place: str) -> Iterator[dict[str, Any]]:
    """A test's variables: one set, or every combination where some are lists."""
    choices: list[list[Any]] = []
    for value in given.values():
        several = isinstance(value, list) and bool(value) and isinstance(value[0], str) and not whole_lists
        choices.append(["" if each is None else each for each in (value if several else [value])])
    if math.prod(map(len, choices)) > _COMBINATIONS_AT_MOST:
        what = f"its variables have more than {_COMBINATIONS_AT_MOST} combinations. Split the test."
        raise InputError(f"{place}: {what}")
    for combination in itertools.product(*choices):
        yield dict(zip(given, combination, strict=True))


def _composed(values: dict[str, Any], place: str, ledger: Ledger) -> dict[str, Any]:
    """Variables may name each other."""
    found = dict(values)
    for name, value in values.items():
        try:
            found[name] = filled_in(value, {other: found[other] for other in found if other != name})
        except Unusable:
            ledger.tally(place, f"variable '{name[:60]}' holds a template that cannot be filled in; it stands as it is")
    return found
