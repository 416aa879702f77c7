"""promptfoo's test cases, one by one: out of CSV, JSONL, YAML and JSON, with defaults and lists filled in.

suite = Suite(Path("promptfooconfig.yaml"))
for case in suite.cases(Ledger()): ...        # Case(place='promptfooconfig.yaml:7', vars={…}, asserts=(…), …)
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import Document
from workbench.formats.base import csv_rows, json_lines, where
from workbench.formats.promptfoo.notation import from_row
from workbench.formats.shared.files import head, inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.rows import Rows
from workbench.formats.shared.structured import read_structured
from workbench.formats.shared.templates import is_template, rendered
from workbench.strict import Place

CONFIGS = ("promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json")
_CASE_KEYS = {"vars", "assert", "metadata", "threshold", "options", "description"}
_READ = _CASE_KEYS - {"description"}
_OPTIONS = {"disableVarExpansion", "disableDefaultAsserts"}
_PROGRAMS = (".py", ".js", ".ts", ".mjs", ".cjs")
_COMBINATIONS_AT_MOST = 10_000


@dataclass(frozen=True)
class Case:
    """A test: what the prompt is filled with, and what is asserted of the answer.

    Attributes:
        place: file and line.
        asserts: each with its own place.
        threshold: the score with which it passes; None where every assertion must.
    """

    place: str
    vars: dict[str, Any]
    asserts: tuple[tuple[str, Any], ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None


@dataclass(frozen=True)
class _Raw:
    """A test as it is written, before defaults, and the places of its assertions."""

    place: str
    test: dict[str, Any]
    places: list[str]

    def part(self, key: str, kind: type) -> Any:
        """A list or mapping of the test; empty where it has none."""
        value = self.test.get(key)
        if value is not None and not isinstance(value, kind):
            raise InputError(f"{self.place}: '{key}' must be a {'list' if kind is list else 'mapping'}. Mend it.")
        return value or kind()


class Suite:
    """The tests of a source, which can be gone through again and again.

    Attributes:
        root: the folder that nothing is read outside of.
        config: the mapping of a promptfooconfig; empty for a file of tests alone.
    """

    def __init__(self, source: Path) -> None:
        self.source, self.root = source, source.parent
        self.config: dict[str, Any] = {}
        self._documents: dict[Path, Document] = {}
        self._document = self.read(source) if kind_of(source) == "structured" else None
        if self._document and isinstance(self._document.data, dict) and set(self._document.data) - _CASE_KEYS:
            self.config = self._document.data

    def place(self, *place: str | int) -> str:
        """A place in the source's own document."""
        return _at(self._document, place) if self._document is not None else where(self.source)

    def read(self, path: Path) -> Document:
        """A YAML or JSON file, read once."""
        if path not in self._documents:
            self._documents[path] = read_structured(path)
        return self._documents[path]

    def cases(self, ledger: Ledger) -> Iterator[Case]:
        """Every test, filled in; one that cannot be is a loss."""
        default = _Raw(where(self.source), {}, [])
        if isinstance(self.config.get("defaultTest"), dict) and self._document is not None:
            default = _raw({"vars": {}} | self.config["defaultTest"], self._document, ("defaultTest",))
        elif self.config.get("defaultTest") is not None:
            ledger.add(self.place("defaultTest"), "a defaultTest that is no mapping: not read")
        if self._document is None:
            raws = _rows(self.source)
        elif self.config:
            raws = self._listed(self.config.get("tests"), self._document, ("tests",), ledger)
        else:
            raws = self._listed(self._document.data, self._document, (), ledger)
        for raw in raws:
            yield from _filled(raw, default, ledger)

    def _listed(self, tests: Any, document: Document, place: Place, ledger: Ledger) -> Iterator[_Raw]:
        """The tests of a list, a file's name, or a list of both."""
        listed = isinstance(tests, list)
        for index, test in enumerate(tests if listed else [] if tests is None else [tests]):
            here: Place = (*place, index) if listed else place
            if isinstance(test, str):
                yield from self._named(test, _at(document, here), ledger)
            elif not isinstance(test, dict):
                raise document.error(here, "must be a test: a mapping with vars and assert.")
            elif "path" in test and not _CASE_KEYS & set(test):
                ledger.add(_at(document, here), "tests made by a program: not run; save what it makes as YAML")
            else:
                yield _raw(test, document, here)

    def _named(self, name: str, place: str, ledger: Ledger) -> Iterator[_Raw]:
        files = inside(self.root, name)
        if not files or any(path.suffix.lower() in _PROGRAMS for path in files):
            ledger.add(place, f"tests of '{name[:60]}': {_why_not_read(name)}")
            return
        for path in files:
            if kind_of(path) != "structured":
                yield from _rows(path)
                continue
            document = self.read(path)
            yield from self._listed(document.data, document, (), ledger)


def kind_of(path: Path) -> str:
    """How a file is read: csv, jsonl, or structured (YAML or JSON as a whole); by what it holds before its name."""
    start = head(path).lstrip()
    if path.suffix.lower() in (".csv", ".tsv"):
        return "csv"
    if start.startswith("{"):
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            return "jsonl"
        try:
            return "jsonl" if _CASE_KEYS & set(json.loads(start.splitlines()[0])) else "structured"
        except (ValueError, RecursionError):
            return "structured"
    if start.startswith(("[", "-", "#")) or re.match(r"[\w$#]+\s*:", start):
        return "structured"
    return "csv" if "__" in start.partition("\n")[0] else "structured"


def _at(document: Document, place: Place) -> str:
    """A place in a document: its line, or the path of keys where lines are not known."""
    if document.lines:
        return where(document.path, document.line(place))
    return " ".join([where(document.path), *(str(part + 1 if isinstance(part, int) else part) for part in place)])


def _raw(test: dict[str, Any], document: Document, place: Place) -> _Raw:
    here = _at(document, place)
    if test and not _CASE_KEYS & set(test):
        return _Raw(here, *_row_of(test, here))
    asserts = test.get("assert")
    count = len(asserts) if isinstance(asserts, list) else 0
    return _Raw(here, test, [_at(document, (*place, "assert", n)) for n in range(count)])


def _rows(path: Path) -> Iterator[_Raw]:
    if kind_of(path) == "csv":
        for line, row in csv_rows(path):
            yield _Raw(where(path, line), *from_row(row, where(path, line)))
        return
    rows = Rows(path, lambda: json_lines(path))
    for line, test in rows:
        here, asserts = rows.place(line), test.get("assert")
        count = len(asserts) if isinstance(asserts, list) else 0
        places = [f"{here} assert {n + 1}" for n in range(count)]
        yield _Raw(here, test, places) if _CASE_KEYS & set(test) else _Raw(here, *_row_of(test, here))


def _row_of(test: dict[str, Any], place: str) -> tuple[dict[str, Any], list[str]]:
    """A JSON object that has a table's columns."""
    texts = {str(key): "" if value is None else scalar_text(value) for key, value in test.items()}
    return from_row({k: json.dumps(test[k], ensure_ascii=False) if t is None else t for k, t in texts.items()}, place)


def _filled(raw: _Raw, default: _Raw, ledger: Ledger) -> Iterator[Case]:
    """What a test becomes with what defaultTest adds to it: one case, or one for each combination of its lists."""
    for part in (raw, default):
        for key in part.test.keys() - _READ:
            ledger.tally(part.place, key if key.startswith("column ") else f"a test's key '{key[:60]}'")
        for key in part.part("options", dict).keys() - _OPTIONS:
            ledger.tally(part.place, f"option '{str(key)[:60]}': nothing here does this")
    own = raw.part("options", dict)
    parts = [raw] if own.get("disableDefaultAsserts") else [default, raw]
    asserts = tuple(each for part in parts for each in zip(part.places, part.part("assert", list), strict=True))
    metadata = {**default.part("metadata", dict), **raw.part("metadata", dict)}
    given = default.test.get("threshold") if raw.test.get("threshold") is None else raw.test["threshold"]
    whole_lists = {**default.part("options", dict), **own}.get("disableVarExpansion") is True
    try:
        values = {str(name): value for part in (default, raw) for name, value in _variables(part).items()}
        threshold = _threshold(given, raw.place, ledger)
        for each in _combinations(values, whole_lists, raw.place):
            yield Case(raw.place, _composed(each, raw.place, ledger), asserts, metadata, threshold)
    except Unusable as failure:
        ledger.tally(raw.place, f"a test is left out: {failure}")


def _variables(raw: _Raw) -> dict[str, Any]:
    given = raw.test.get("vars") or {}
    if not isinstance(given, dict):
        raise Unusable("its variables are in another file, which is not read")
    for name, value in given.items():
        if isinstance(value, str) and value.startswith("file://"):
            raise Unusable(f"variable '{str(name)[:60]}' is a file, which is not read")
    return given


def _threshold(value: Any, place: str, ledger: Ledger) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1
    if 0 <= number <= 1:
        return number
    ledger.tally(place, "a threshold that is no number from 0 to 1")
    return None


def _combinations(given: dict[str, Any], whole_lists: bool, place: str) -> Iterator[dict[str, Any]]:
    """A test's variables: one set, or every combination where some are lists."""
    choices: dict[str, list[Any]] = {}
    count = 1
    for name, value in given.items():
        several = isinstance(value, list) and bool(value) and isinstance(value[0], str) and not whole_lists
        choices[name] = ["" if each is None else each for each in (value if several else [value])]
        count *= len(choices[name])
        if count > _COMBINATIONS_AT_MOST:
            raise InputError(
                f"{place}: its variables have more than {_COMBINATIONS_AT_MOST} combinations. Split the test."
            )
    for combination in itertools.product(*choices.values()):
        yield dict(zip(choices, combination, strict=True))


def _why_not_read(name: str) -> str:
    if "://" in name and not name.startswith("file://"):
        return "not a file here; nothing is fetched"
    if re.search(r"\.(py|js|ts|mjs|cjs|rb|sh)\b", name):
        return "a program, which is not run"
    return "no such file inside the folder"


def _composed(values: dict[str, Any], place: str, ledger: Ledger) -> dict[str, Any]:
    """Variables may name each other."""
    found = dict(values)
    for name, value in values.items():
        try:
            found[name] = filled(value, {other: found[other] for other in found if other != name})
        except Unusable:
            ledger.tally(place, f"variable '{name[:60]}' holds a template that cannot be filled in; it stands as it is")
    return found


def filled(value: Any, values: dict[str, Any]) -> Any:
    """A value with the templates in its texts filled in.

    Raises:
        Unusable: one cannot be.
    """
    if isinstance(value, str):
        return rendered(value, values) if is_template(value) else value
    if isinstance(value, list):
        return [filled(each, values) for each in value]
    return {key: filled(each, values) for key, each in value.items()} if isinstance(value, dict) else value
