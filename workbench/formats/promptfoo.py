"""promptfoo's tests: CSV and JSONL files of test cases, and promptfooconfig.yaml with its prompts and assertions.

done = import_evalset("promptfooconfig.yaml", "evalsets/translate")    # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo", "promptfooconfig.yaml")
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import InputError
from workbench.files import Document, write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.assertions import Assertions, Claim, assertions_of, kind_for, read_assertion
from workbench.formats.shared.files import head, inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, metadata_of
from workbench.formats.shared.prompts import PROGRAM, Prompt, plain_variant, read_prompts, written_prompts
from workbench.formats.shared.rows import first_row, kind_of, open_rows
from workbench.formats.shared.structured import dump_yaml, read_structured
from workbench.formats.shared.templates import filled_in, raw

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_CONFIGS = ("promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json")
_CONFIG_KEYS = {"prompts", "tests", "defaultTest", "description", "$schema"}
_TEST_KEYS = {"vars", "assert", "metadata", "threshold", "options"}
_NO_MODEL = ["echo"]  # stands where a config must name a model: it repeats the prompt
_OPTIONS = {"disableVarExpansion", "disableDefaultAsserts"}
_COMBINATIONS_AT_MOST = 10_000

_NAMES = "prompts|providers|targets|tests|defaultTest|scenarios"
_TOP = re.compile(rf"^({_NAMES})\s*:|\"({_NAMES})\"\s*:", re.MULTILINE)
_LISTED = re.compile(
    r"(?:[ \t]*(?:#.*|---.*)?\r?\n)*\s*-\s+(vars|assert|description|metadata)\s*:"
    r"|\s*\[\s*\{\s*\"(vars|assert|description)\"\s*:"
)
_COLUMN = re.compile(
    r"(?:^|[,;\t|\"])\s*__(?:expected\d*|metadata:[^,;\t]+|threshold|metric|prefix|suffix|description)\b"
)


class Promptfoo(Format):
    """promptfoo's test cases and configs."""

    name = "promptfoo"
    about = "promptfoo test cases (CSV, JSONL, YAML, JSON) or a promptfooconfig"
    keeps = frozenset({"variants", "output", "scorers", "accept"})

    def sniff(self, source: Path) -> float:
        if source.is_dir():
            return 0.9 if any((source / name).is_file() for name in _CONFIGS) else 0.0
        start = head(source)
        first = start.lstrip().partition("\n")[0]
        if _COLUMN.search(first) and first[:1] not in ("{", "["):
            return 0.95
        if source.suffix.lower() in (".csv", ".tsv"):
            return 0.0
        found = len(set(_TOP.findall(start)))
        if found > 1 or _LISTED.match(start):
            return 0.9
        keys = set(first_row(source) or {}) if first[:1] in ("{", "[") else set()
        return 0.9 if keys & {"vars", "tests"} else 0.8 if "assert" in keys else 0.4 if found else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.is_dir():
            source = next((source / name for name in _CONFIGS if (source / name).is_file()), source / _CONFIGS[0])
        if options.scorer:
            raise InputError(f"{where(source)}: its tests bring their own assertions. Leave --scorer out.")
        return _Reader(source).read(sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        try:
            _write(evalset, target, ledger)
        except Unusable as failure:
            raise InputError(f"{where(evalset.path)}: {failure}.") from None


FORMATS.add("promptfoo", Promptfoo())


class _Case(NamedTuple):
    """A test with its defaults and one set of variables; `threshold` is None where every assertion must hold."""

    place: str
    vars: dict[str, Any]
    asserts: list[tuple[str, Any]]
    metadata: dict[str, Any]
    threshold: float | None


def _from_row(row: dict[str, str]) -> dict[str, Any]:
    """A row of a table as a test. What nothing reads stands in it under its column's name."""
    test: dict[str, Any] = {"vars": {}, "metadata": {}, "assert": []}
    for column, cell in row.items():
        if not column.startswith("__"):
            test["vars"][column] = cell
        elif cell.strip() and column.startswith("__expected"):
            test["assert"].append(cell)
        elif cell.strip() and column.startswith("__metadata:"):
            name = column.removeprefix("__metadata:")
            test["metadata"][name.removesuffix("[]")] = [cell] if name.endswith("[]") else cell
        elif cell.strip():
            test["threshold" if column == "__threshold" else column] = cell
    return test


def _cases(test: dict[str, Any], place: str, default: dict[str, Any], origin: str, ledger: Ledger) -> Iterator[_Case]:
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
            except Unusable:
                what = f"variable '{name[:60]}' holds a template that cannot be filled in; it stands as it is"
                ledger.tally(place, what)
        yield _Case(place, each, asserts, parts["metadata"], threshold)


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


class _Reader:
    """Goes through the tests twice: for what they assert together, and for the items."""

    def __init__(self, source: Path) -> None:
        self._source, self._root, self._found = source, source.parent, Found()
        whole = read_structured(source) if kind_of(source) in ("json", "yaml") else Document(source, None, {})
        self._config = whole if isinstance(whole.data, dict) else Document(source, {}, {})
        self._odd: set[str] = set()  # variables that are no text or number
        self._rows = cache(partial(open_rows, found=self._found, header=True))

    def read(self, sink: Sink) -> Found:
        found, config, bars, names = self._found, self._config.data, Counter[float](), Counter[str]()
        asserted, failed = Assertions(map(self._claims, self._cases(Ledger()))), dict[str, str]()
        prompts = read_prompts(self._entries("prompts"), self._root, found.ledger)
        for case in self._cases(found.ledger):
            expected = asserted.carried(self._claims(case), found.ledger)
            if expected is None:
                found.ledger.tally(case.place, "a test is left out: it has no assertion that can be carried over")
                continue
            fields = item_fields(case.metadata, case.place, found.ledger)
            fields["expectations"] |= expected
            fields["inputs"] |= case.vars
            sink(fields)
            bars[1.0 if case.threshold is None else case.threshold] += 1
            names.update(list(case.vars))  # of a mapping it would add the values
            self._odd |= {name for name, value in case.vars.items() if isinstance(value, dict | list | bool)}
            for prompt in prompts:
                try:
                    prompt.try_on(case.vars)
                except Unusable as failure:
                    failed.setdefault(
                        prompt.name, f"it cannot be rendered for all tests, first {case.place}: {failure}"
                    )
        self._note_unused(prompts, failed)
        bar = max(bars.items(), key=lambda each: (each[1], each[0]), default=(1.0, 0))[0]
        if len(bars) > 1:
            shown = ", ".join(f"{bar:g} ({count} tests)" for bar, count in bars.most_common(8))
            found.ledger.add(where(self._source), f"tests pass with different scores: {shown}; here {bar:g}")
        found.schema, found.notes = asserted.schema, [*found.notes, *asserted.notes()]
        description = config.get("description")
        found.spec |= {"description": description} if isinstance(description, str) and description.strip() else {}
        found.spec |= {
            "variants": self._variants(
                [prompt for prompt in prompts if prompt.name not in failed], names, bars.total()
            ),
            "output": {} if found.schema else {"text": True},
            "scorers": asserted.scorers(),
            "accept": {"min_score": bar},
        }
        return found

    def _note_unused(self, prompts: list[Prompt], failed: dict[str, str]) -> None:
        for prompt in prompts:
            if prompt.name in failed:
                self._found.ledger.add(prompt.place, f"prompt '{prompt.name}' is left out: {failed[prompt.name]}")
        for key, value in self._config.data.items():
            if key in _CONFIG_KEYS or value is None or (key == "providers" and value == _NO_MODEL):
                continue
            size = f" ({len(value)})" if isinstance(value, list | dict) else ""
            fate = "belongs into models.yaml" if key in ("providers", "targets") else "is not used"
            self._found.ledger.add(self._place(key), f"'{key[:60]}'{size} {fate}")

    def _place(self, *place: str | int) -> str:
        return where(self._source, self._config.line(place))

    def _entries(self, key: str) -> Iterator[tuple[str, Any]]:
        given = self._config.data.get(key) or []
        for index, entry in enumerate(given if isinstance(given, list) else [given]):
            yield self._place(key, index), entry

    def _claims(self, case: _Case) -> list[Claim]:
        return [read_assertion(given, case.vars, place, self._load) for place, given in case.asserts]

    def _load(self, name: str) -> Any:
        """A file that an assertion names."""
        files = [path for path in inside(self._root, name) if path.suffix.lower() in (".json", ".yaml", ".yml")]
        if not files:
            raise Unusable(f"its value is the file '{name[7:67]}', which is not there or not read")
        return read_structured(files[0]).data

    def _cases(self, ledger: Ledger) -> Iterator[_Case]:
        """Every test, filled in; one that cannot be is a loss."""
        default, origin = self._config.data.get("defaultTest") or {}, self._place("defaultTest")
        if not isinstance(default, dict):
            ledger.add(origin, "a defaultTest that is no mapping: not read")
            default = {}
        for place, test in self._listed(ledger) if self._config.data else self._file(self._source):
            try:
                yield from _cases(test, place, default, origin, ledger)
            except Unusable as failure:
                ledger.tally(place, f"a test is left out: {failure}")

    def _file(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        rows = self._rows(path)
        for line, row in rows:
            yield rows.place(line), _from_row(row) if rows.text_only else row

    def _listed(self, ledger: Ledger) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tests that a config lists, or files of them that it names."""
        for place, test in self._entries("tests"):
            if isinstance(test, dict) and "path" not in test:
                yield place, test
            elif not isinstance(test, str | dict):
                raise InputError(f"{place}: must be a test: a mapping with vars and assert.")
            else:
                name = str(test.get("path") if isinstance(test, dict) else test)
                files = [] if PROGRAM.match(name) else inside(self._root, name)
                for path in files:
                    yield from self._file(path)
                if not files:
                    why = "a program, which is not run, or not inside the folder; nothing is fetched"
                    ledger.add(place, f"tests of '{name[:60]}': {why}")

    def _variants(self, prompts: list[Prompt], names: Counter[str], count: int) -> dict[str, Any]:
        missing = {name for name, number in names.items() if number < count}
        if not prompts:
            shown = ", ".join(list(names)[:20])
            self._found.notes.append(f"there is no prompt, so a plain one shows the variables: {shown}")
            return {"default": plain_variant(names, missing)}
        nowhere = sorted(set().union(*(prompt.names() for prompt in prompts)) - set(names))
        if nowhere:
            what = f"the prompts name variables that no test has; they are empty: {', '.join(nowhere[:10])}"
            self._found.notes.append(what)
        if self._odd:
            what = (
                f"prompts show objects, lists and true/false in Python's notation: {', '.join(sorted(self._odd)[:10])}"
            )
            self._found.notes.append(what)
        return {prompt.name: prompt.variant({*missing, *nowhere}) for prompt in prompts}


def _write(evalset: EvalSet, target: Path, ledger: Ledger) -> None:
    spec, place = evalset.spec, where(evalset.path / "evalset.yaml")
    if spec.output.labels is not None:
        ledger.add(place, "output.labels: promptfoo has no list of labels")
    kinds = [kind_for(scorer, partial(ledger.add, place)) for scorer in evalset.scorers]
    kept = [(scorer, kind) for scorer, kind in zip(evalset.scorers, kinds, strict=True) if kind]
    lists = any(isinstance(value, list) for item in evalset.items for value in item.inputs.values())
    shared: dict[str, Any] = {"options": {"disableVarExpansion": True}} if lists else {}
    if evalset.output_schema is not None:
        schema = {key: value for key, value in evalset.output_schema.items() if key != "$schema"}
        if schema != evalset.output_schema:
            ledger.add(place, "output.json_schema: its $schema, since promptfoo knows one dialect")
        weights = [scorer.weight for scorer in evalset.scorers if scorer.type == "json_schema"]
        alone = not any(scorer.weight for scorer, _ in kept)  # promptfoo passes no test whose weights are all 0
        if not weights or (alone and not weights[0]):
            ledger.add(place, "output.json_schema: keeping to it is an assertion of its own, of weight 1")
            weights = [1]
        weight = {} if weights[0] == 1 else {"weight": weights[0]}
        shared["assert"] = [{"type": "is-json", "value": raw(schema), **weight}]
    shared |= {} if spec.accept.min_score == 1 else {"threshold": spec.accept.min_score}
    document = {
        "description": spec.description,
        "prompts": written_prompts(evalset, partial(ledger.add, place)),
        "providers": _NO_MODEL,
        "defaultTest": shared,
        "tests": [_written_test(item, kept, where(evalset.path / "items.jsonl"), ledger) for item in evalset.items],
    }
    header = "# For promptfoo: put your models for `echo`, or name one: promptfoo eval -c FILE -r PROVIDER\n"
    write_atomic(target, header + dump_yaml({key: value for key, value in document.items() if value}))


def _written_test(item: Item, scorers: list[tuple[Any, str]], items: str, ledger: Ledger) -> dict[str, Any]:
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
