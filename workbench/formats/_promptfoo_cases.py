"""promptfoo's test cases, one by one: out of CSV, JSONL, YAML and JSON, with defaults, files and lists filled in.

suite = Suite(Path("promptfooconfig.yaml"))
for case in suite.cases(Ledger()): ...        # Case(place='promptfooconfig.yaml:7', vars={…}, asserts=(…), …)
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import Document, read_text
from workbench.formats._ledger import Ledger
from workbench.formats._metadata import scalar_text
from workbench.formats._promptfoo_strings import from_row
from workbench.formats._refs import without_refs
from workbench.formats._rows import Rows
from workbench.formats._sources import head, inside, read_structured
from workbench.formats._templates import TemplateFailure, is_template, rendered
from workbench.formats.base import FILE_LIMIT, csv_rows, json_lines, where
from workbench.strict import Place

CONFIGS = ("promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json")
_CASE_KEYS = {"vars", "assert", "metadata", "threshold", "options", "description"}
_SEEN = {"vars", "assert", "metadata", "threshold", "options"}
_HONORED = {"prefix", "suffix", "disableVarExpansion", "disableDefaultAsserts"}
_OPTIONS = {
    "transform": ": a program, not run; answers are scored as they are given",
    "transformVars": ": a program, not run; variables stay as they are written",
    "storeOutputAs": ": no test sees the answer to another one",
}
_TEXTS = {".txt", ".md", ".json", ".yaml", ".yml", ".csv", ".html", ".xml", ".j2", ".jsonl", ".tsv", ".log", ".text"}
_COMBINATIONS_AT_MOST = 10_000


class Unusable(Exception):
    """A test that cannot be carried over; the message says why."""


@dataclass(frozen=True)
class Case:
    """A test: what the prompt is filled with, and what is asserted of the answer.

    Attributes:
        place: file and line.
        asserts: each with its own place.
        threshold: the score with which it passes; None where every assertion must.
        prefix, suffix: what stands around the prompt.
    """

    place: str
    vars: dict[str, Any]
    asserts: tuple[tuple[str, dict[str, Any]], ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class _Raw:
    """A test as it is written, before defaults."""

    place: str
    test: dict[str, Any]
    places: tuple[str, ...] = ()  # of its assertions
    base: Path | None = None


class Suite:
    """The tests of a source, which can be gone through again and again.

    Attributes:
        root: the folder that nothing is read outside of.
        config: the mapping of a promptfooconfig; empty for a file of tests alone.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.root = source.parent
        self.config: dict[str, Any] = {}
        self._document: Document | None = None
        self._parts: dict[Path, Document] = {}
        if kind_of(source) == "structured":
            self._document = self._read(source)
            if isinstance(self._document.data, dict) and set(self._document.data) - _CASE_KEYS:
                self.config = self._document.data

    def place(self, *place: str | int) -> str:
        """A place in the source's own document."""
        return _at(self._document, place) if self._document is not None else where(self.source)

    def cases(self, ledger: Ledger) -> Iterator[Case]:
        """Every test, filled in; one that cannot be is a loss."""
        default = self._default()
        for raw in self._raws(ledger):
            yield from self._filled(raw, default, ledger)
        if self.config:
            yield from self._scenarios(default, ledger)

    # Where tests come from

    def _raws(self, ledger: Ledger) -> Iterator[_Raw]:
        if self._document is None:
            yield from self._rows(self.source)
        elif self.config:
            yield from self._listed(self.config.get("tests"), self._document, ("tests",), self.root, ledger)
        else:
            yield from self._listed(self._document.data, self._document, (), self.root, ledger)

    def _listed(self, tests: Any, document: Document, place: Place, base: Path, ledger: Ledger) -> Iterator[_Raw]:
        """The tests of a list, a file's name, or a list of both."""
        if tests is None:
            return
        if isinstance(tests, str):
            yield from self._named(tests, _at(document, place), base, ledger)
            return
        if isinstance(tests, dict):
            yield self._raw(tests, document, place, base)
            return
        for index, test in enumerate(tests) if isinstance(tests, list) else ():
            here: Place = (*place, index)
            if isinstance(test, str):
                yield from self._named(test, _at(document, here), base, ledger)
            elif not isinstance(test, dict):
                raise document.error(here, "must be a test: a mapping with vars and assert.")
            elif isinstance(test.get("$values", test.get("$expand")), str):
                yield from self._named(test.get("$values") or test["$expand"], _at(document, here), base, ledger)
            elif "path" in test and not _CASE_KEYS & set(test):
                ledger.add(_at(document, here), "tests made by a program: not run; save what it makes as YAML")
            else:
                yield self._raw(test, document, here, base)

    def _raw(self, test: dict[str, Any], document: Document, place: Place, base: Path) -> _Raw:
        if not _CASE_KEYS & set(test) and test:
            test = from_row({str(key): _row_text(value) for key, value in test.items()}, where(document.path))[0]
        asserts = test.get("assert")
        count = len(asserts) if isinstance(asserts, list) else 0
        return _Raw(_at(document, place), test, tuple(_at(document, (*place, "assert", n)) for n in range(count)), base)

    def _named(self, name: str, place: str, base: Path, ledger: Ledger) -> Iterator[_Raw]:
        files = inside(self.root, name, base)
        if not files or any(path.suffix.lower() in (".py", ".js", ".ts", ".mjs", ".cjs") for path in files):
            ledger.add(place, f"tests of '{name[:60]}': {_why_not_read(name, bool(files))}")
            return
        for path in files:
            if kind_of(path) != "structured":
                yield from self._rows(path)
                continue
            document = self._read(path)
            yield from self._listed(document.data, document, (), path.parent, ledger)

    def _rows(self, path: Path) -> Iterator[_Raw]:
        file = where(path)
        if kind_of(path) != "jsonl":
            for line, row in csv_rows(path):
                test, places = from_row(row, f"{file}:{line}")
                yield _Raw(f"{file}:{line}", test, tuple(places), path.parent)
            return
        for line, test in Rows(path, lambda: json_lines(path)):
            here = f"{file}:{line}"
            if _CASE_KEYS & set(test):
                asserts = test.get("assert")
                count = len(asserts) if isinstance(asserts, list) else 0
                yield _Raw(here, test, tuple(f"{here} assert {n + 1}" for n in range(count)), path.parent)
            else:
                row, places = from_row({key: _row_text(value) for key, value in test.items()}, here)
                yield _Raw(here, row, tuple(places), path.parent)

    def _scenarios(self, default: _Raw, ledger: Ledger) -> Iterator[Case]:
        """Every test of a scenario with every set of its config."""
        assert self._document is not None
        for document, place, scenario in self._all_scenarios(ledger):
            for key in set(scenario) - {"config", "tests", "description"}:
                ledger.tally(_at(document, place), f"key '{key}' of a scenario")
            configs, tests = scenario.get("config"), scenario.get("tests")
            if not isinstance(configs, list) or tests is None:
                raise document.error(place, "a scenario needs a list 'config' and 'tests'.")
            base = document.path.parent
            raws = list(self._listed(configs, document, (*place, "config"), base, ledger))
            for config, raw in itertools.product(raws, self._listed(tests, document, (*place, "tests"), base, ledger)):
                yield from self._filled(raw, default, ledger, config)

    def _all_scenarios(self, ledger: Ledger) -> Iterator[tuple[Document, Place, dict[str, Any]]]:
        assert self._document is not None
        listed = self.config.get("scenarios") or []
        for index, scenario in enumerate(listed if isinstance(listed, list) else [listed]):
            place: Place = ("scenarios", index)
            if isinstance(scenario, dict):
                yield self._document, place, scenario
                continue
            files = inside(self.root, str(scenario)) if isinstance(scenario, str) else []
            if not files:
                ledger.add(_at(self._document, place), f"a scenario: {_why_not_read(str(scenario), False)}")
            for path in files:
                document = self._read(path)
                single = isinstance(document.data, dict)
                for number, part in enumerate([document.data] if single else document.data):
                    if isinstance(part, dict):
                        yield document, () if single else (number,), part

    def _default(self) -> _Raw:
        given = self.config.get("defaultTest")
        if isinstance(given, str):
            files = inside(self.root, given)
            if not files:
                raise InputError(f"{self.place('defaultTest')}: {_why_not_read(given, False)}. Mend its name.")
            document = self._read(files[0])
            return self._raw(document.data, document, (), files[0].parent)
        if isinstance(given, dict) and self._document is not None:
            raw = self._raw({"vars": {}, **given}, self._document, ("defaultTest",), self.root)
            return replace(raw, place=self.place("defaultTest"))
        return _Raw(where(self.source), {})

    def _read(self, path: Path) -> Document:
        if path not in self._parts:
            document = read_structured(path)
            self._parts[path] = replace(document, data=without_refs(document, self.root))
        return self._parts[path]

    # What a test becomes

    def _filled(self, raw: _Raw, default: _Raw, ledger: Ledger, config: _Raw | None = None) -> Iterator[Case]:
        for part in (raw, default) if config is None else (raw, config, default):
            _check_kinds(part)
            for key in part.test:
                if key not in _SEEN:
                    ledger.tally(part.place, key if key.startswith("column ") else f"a test's key '{key}'")
            for key in part.test.get("options") or {}:
                if key not in _HONORED:
                    ledger.tally(part.place, f"option '{key}'{_OPTIONS.get(key, '')}")
        try:
            whole = self._joined(self._joined(default, config) if config else default, raw)
            options, metadata = whole.test["options"], whole.test["metadata"]
            threshold = self._threshold(whole.test["threshold"], raw.place, ledger)
            asserts = tuple(zip(whole.places, whole.test["assert"], strict=True))
            around = str(options.get("prefix") or ""), str(options.get("suffix") or "")
            for values in self._combinations(whole.test["vars"], options, raw):
                yield Case(raw.place, _composed(values, raw.place, ledger), asserts, metadata, threshold, *around)
        except Unusable as failure:
            ledger.tally(raw.place, f"a test is left out: {failure}")

    def _joined(self, first: _Raw, own: _Raw) -> _Raw:
        """A test with what defaultTest (or a scenario's config) adds to it."""
        skip = (own.test.get("options") or {}).get("disableDefaultAsserts")
        kept = first.test.get("threshold") if own.test.get("threshold") is None else own.test["threshold"]
        test = {
            "vars": self._variables(first) | self._variables(own),
            "assert": [*([] if skip else first.test.get("assert") or []), *(own.test.get("assert") or [])],
            "options": {**(first.test.get("options") or {}), **(own.test.get("options") or {})},
            "metadata": {**(first.test.get("metadata") or {}), **(own.test.get("metadata") or {})},
            "threshold": kept,
        }
        return _Raw(own.place, test, (*(() if skip else first.places), *own.places), own.base)

    def _threshold(self, value: Any, place: str, ledger: Ledger) -> float | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number <= 1:
            ledger.tally(place, "a threshold that is no number from 0 to 1")
            return None
        return number

    def _combinations(self, given: dict[str, Any], options: dict[str, Any], raw: _Raw) -> Iterator[dict[str, Any]]:
        """A test's variables: one set, or every combination where some are lists."""
        choices: dict[str, list[Any]] = {}
        count = 1
        for name, value in given.items():
            values = [value]
            if isinstance(value, str) and value.startswith("file://"):
                values = self._contents(name, value, raw)
            elif isinstance(value, list) and value and isinstance(value[0], str):
                values = [value] if options.get("disableVarExpansion") else value
            choices[name] = ["" if each is None else each for each in values]
            count *= len(values)
            if count > _COMBINATIONS_AT_MOST:
                raise InputError(
                    f"{raw.place}: its variables have more than {_COMBINATIONS_AT_MOST} combinations. Split the test."
                )
        for combination in itertools.product(*choices.values()):
            yield dict(zip(choices, combination, strict=True))

    def _variables(self, raw: _Raw) -> dict[str, Any]:
        given = raw.test.get("vars") or {}
        if isinstance(given, dict):
            return {str(name): value for name, value in given.items()}
        found: dict[str, Any] = {}
        for name in given if isinstance(given, list) else [given]:
            files = inside(self.root, str(name), raw.base)
            if not files:
                raise Unusable(f"its variables are in '{str(name)[:60]}': {_why_not_read(str(name), False)}")
            for path in files:
                part = self._read(path).data
                if not isinstance(part, dict):
                    raise InputError(f"{where(path)}: must be a mapping of variables.")
                found |= {str(key): value for key, value in part.items()}
        return found

    def _contents(self, variable: str, name: str, raw: _Raw) -> list[Any]:
        files = inside(self.root, name, raw.base)
        if not files or any(path.suffix.lower() not in _TEXTS for path in files):
            raise Unusable(f"variable '{variable[:60]}' is '{name[:60]}': {_why_not_read(name, bool(files))}")
        return [self.text_of(path) for path in files]

    def text_of(self, path: Path) -> str:
        """What a variable that names this file stands for: its text; of YAML, the same as JSON."""
        if path.suffix.lower() in (".yaml", ".yml"):
            return json.dumps(self._read(path).data, ensure_ascii=False, separators=(",", ":"))
        return read_text(path, FILE_LIMIT).strip()

    def data_of(self, path: Path) -> Any:
        """What a file that stands for an assertion's value holds."""
        structured = path.suffix.lower() in (".yaml", ".yml", ".json")
        return self._read(path).data if structured else self.text_of(path)


def kind_of(path: Path) -> str:
    """How a file is read: csv, jsonl, or structured (YAML or JSON as a whole); by what it holds before its name."""
    start = head(path).lstrip()
    if path.suffix.lower() in (".csv", ".tsv"):
        return "csv"
    if start.startswith("{"):
        first = start.splitlines()[0]
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            return "jsonl"
        try:
            return "jsonl" if _CASE_KEYS & set(json.loads(first)) else "structured"
        except (ValueError, RecursionError):
            return "structured"
    if start.startswith(("[", "-")) or re.match(r"[\w$#]+\s*:", start) or start.startswith("#"):
        return "structured"
    return "csv" if "__" in start.partition("\n")[0] else "structured"


def _at(document: Document, place: Place) -> str:
    """A place in a document: its line, or the path of keys where lines are not known."""
    if document.lines:
        return where(document.path, document.line(place))
    return " ".join([where(document.path), *(str(part + 1 if isinstance(part, int) else part) for part in place)])


def _check_kinds(raw: _Raw) -> None:
    for key, kind in (("assert", list), ("options", dict), ("metadata", dict)):
        if raw.test.get(key) is not None and not isinstance(raw.test[key], kind):
            raise InputError(f"{raw.place}: '{key}' must be a {'list' if kind is list else 'mapping'}. Mend it.")


def _why_not_read(name: str, there: bool) -> str:
    if "://" in name and not name.startswith("file://"):
        return "not a file here; nothing is fetched"
    if re.search(r"\.(py|js|ts|mjs|cjs|rb|sh)\b", name):
        return "a program, which is not run"
    return "not a kind of file that is read" if there else "no such file inside the folder"


def _row_text(value: Any) -> str:
    text = scalar_text(value)
    return text if text is not None else "" if value is None else json.dumps(value, ensure_ascii=False)


def _composed(values: dict[str, Any], place: str, ledger: Ledger) -> dict[str, Any]:
    """Variables may name each other."""
    found = dict(values)
    for name, value in values.items():
        try:
            found[name] = filled(value, {other: found[other] for other in found if other != name})
        except TemplateFailure:
            ledger.tally(place, f"variable '{name[:60]}' holds a template that cannot be filled in; it stands as it is")
    return found


def filled(value: Any, values: dict[str, Any]) -> Any:
    """A value with the templates in its texts filled in.

    Raises:
        TemplateFailure: one cannot be.
    """
    if isinstance(value, str):
        return rendered(value, values) if is_template(value) else value
    if isinstance(value, list):
        return [filled(each, values) for each in value]
    if isinstance(value, dict):
        return {key: filled(each, values) for key, each in value.items()}
    return value
