"""promptfoo's tests: CSV and JSONL files of test cases, and promptfooconfig.yaml with its prompts and assertions.

done = import_evalset("promptfooconfig.yaml", "evalsets/translate")    # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo", "promptfooconfig.yaml")
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import InputError
from workbench.evalset.schema import read_schema
from workbench.files import Document, read_text, write_atomic
from workbench.formats.base import FILE_LIMIT, FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import cell_value
from workbench.formats.shared.config import Config
from workbench.formats.shared.export import file_mode, items_of
from workbench.formats.shared.files import head, inside, top_keys
from workbench.formats.shared.kinds import CHECKS, nearest, texts_in, unscored, usable_pattern
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, metadata_of, one_or_all, scalar_text
from workbench.formats.shared.names import distinct, identifier
from workbench.formats.shared.prompts import Prompt, as_turns, bare_prompt
from workbench.formats.shared.rows import first_row, kind_of, open_rows
from workbench.formats.shared.structured import dump_yaml, named, read_structured
from workbench.formats.shared.templates import expression, filled_in, literal, raw
from workbench.scorers import FieldScorer, Scorer

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_SCHEMA = "is_json"
_KINDS = {_SCHEMA: {"type": "json_schema"}, **CHECKS}  # of assertions, by the name that its scorer gets
_OF_ONE = {kind: kind.replace("_", "-") for kind in _KINDS}  # the type of an assertion of one value, and of several
_OF_MANY = {
    **{"contains": "contains-all", "icontains": "icontains-all", "is_json": "contains-json"},
    **{"not_contains": "not-contains-any", "not_icontains": "not-icontains-any"},
    **{"contains_any": "contains-any", "icontains_any": "icontains-any"},
}
_BY_TYPE = {type_: kind for types in (_OF_ONE, _OF_MANY) for kind, type_ in types.items()}
_JOINED = ("contains", "icontains", "not_contains", "not_icontains", "not_regex")  # several of one kind are one list
_ANCHORS = {"equals": "^({})$", "starts_with": "^({})", "ends_with": "({})$", "regex": "{}"}
_WHOLE_TEXT = "(?s).+"  # with JSON answers, what the model said and not the object in it
_NOTATION = re.compile(r"((?:not-)?)([a-z-]+(?:-f1)?)(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?", re.DOTALL)
_SHORT = {"fn": "javascript", "eval": "javascript", "grade": "llm-rubric"}
_CONFIGS = ("promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json")
_NO_MODEL = ["echo"]  # stands where a config must name a model: it repeats the prompt
_OPTIONS = ("disableVarExpansion", "disableDefaultAsserts")
_PROMPT_KEYS = ("id", "label", "raw", "display")
_TEST_KEYS = {"vars", "assert", "metadata", "threshold", "options"}
_COMBINATIONS_AT_MOST = 10_000
_FILES = (".txt", ".md", ".j2", ".json")
_PROGRAM = re.compile(r"exec:|(?!file:)[a-z]+://|[^\n{]*\.(py|js|ts|mjs|cjs|sh|rb|pl|bash)(:\w+)?\s*$")
_LISTED = re.compile(
    r"(?:[ \t]*(?:#.*|---.*)?\r?\n)*\s*-\s+(vars|assert|description|metadata)\s*:"
    r"|\s*\[\s*\{\s*\"(vars|assert|description)\"\s*:"
)
_COLUMN = re.compile(r"(?:^|[,;\t|\"])\s*__(?:expected\d*|metadata:[^,;\t]+|threshold)\b")


class Promptfoo(Format):
    """promptfoo's test cases and configs."""

    name = "promptfoo"
    about = "promptfoo test cases (CSV, JSONL, YAML, JSON) or a promptfooconfig"
    written = ("a config is", ".yaml", ".yml")
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
        found = top_keys(source, "prompts|providers|targets|tests|defaultTest|scenarios")
        if len(found) > 1 or _LISTED.match(start):
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
    """A test with its defaults and one set of variables; `bar` is the score from which it passes."""

    place: str
    vars: dict[str, Any]
    asserts: list[tuple[str, Any]]
    metadata: dict[str, Any]
    bar: float


class _Reader:
    """Goes through the tests twice: for what they say together, and for the items."""

    def __init__(self, source: Path) -> None:
        self._source, self._found = source, Found()
        whole = read_structured(source) if kind_of(source) in ("json", "yaml") else Document(source, None, {})
        document = whole if isinstance(whole.data, dict) else Document(source, {}, {})
        self._config = Config(document, self._found.ledger)
        if ("providers", _NO_MODEL) in self._config.items():
            del self._config["providers"]
        self._rows = cache(partial(open_rows, found=self._found, header=True))
        self._weights: dict[str, float] = {}  # by kind, of its first assertion
        self._surveyed = False
        self._bar = self._survey()

    def _survey(self) -> float:
        """Find the weight of each kind, and the JSON schema; the score from which most tests pass."""
        bars, by_schema, schemas = Counter[float](), Counter[float](), list[Any]()
        for case in self._cases(Ledger()):
            with suppress(Unusable):
                expected = self._expected(case, Ledger(), Counter())
                (by_schema if expected.keys() == {_SCHEMA} else bars)[case.bar] += 1
                schema = next(iter(expected.get(_SCHEMA, ())), None)
                schemas += [schema] if len(schemas) < 2 and schema not in schemas else []
        self._found.schema = schemas[0] if len(schemas) == 1 else None
        if self._found.schema is None:  # tests that say nothing else are left out
            self._weights.pop(_SCHEMA, None)
            by_schema.clear()
        self._surveyed, bars = True, bars + by_schema
        return max(bars, key=lambda bar: (bars[bar], bar), default=1.0)

    def read(self, sink: Sink) -> Found:
        found, config, ledger = self._found, self._config, self._found.ledger
        prompts, odd = _read_prompts(config, ledger), set[str]()
        counts = Counter[str | None]()  # tests with a variable, by its name; None is all tests
        fates = Counter[str | None]()  # assertions that are lost, by type; None is the others
        if config.get("defaultTest") and not config.mapping("defaultTest"):
            config.lose("defaultTest", "a defaultTest that is no mapping: not read")
        for case in self._cases(ledger):
            with ledger.leaving_out(case.place, "a test"):
                expected = self._expected(case, ledger, fates)
                expected.pop(_SCHEMA, None)
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
        description = config.get("description")
        found.spec |= {"description": description} if isinstance(description, str) and description.strip() else {}
        found.spec |= {"output": {} if found.schema else {"text": True}, "scorers": self._scorers(fates)}
        found.spec |= {"variants": self._variants(prompts, counts, odd), "accept": {"min_score": self._bar}}
        config.note_unused(dict.fromkeys(("providers", "targets"), "belongs into models.yaml"))
        return found

    def _expected(self, case: _Case, ledger: Ledger, fates: Counter[str | None]) -> dict[str, list[Any]]:
        """What a test expects, by kind; the rest is lost. `fates` counts what is lost by type, the others as None."""
        found: dict[str, list[Any]] = {}
        for place, given in case.asserts:
            assertion = _long(given, place)
            type_ = assertion["type"]
            try:
                kind, values, weight = _read_assertion(assertion, case.vars)
                if kind == _SCHEMA and self._surveyed and self._found.schema is None:
                    raise Unusable("an eval set has one JSON schema, and not all tests have this one")
                if kind in found and kind not in _JOINED:
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
        found, said = [], {"extract": _WHOLE_TEXT} if self._found.schema else {}
        for kind in (each for each in _KINDS if each in self._weights):
            weight = {} if self._weights[kind] == 1 else {"weight": self._weights[kind]}
            key = {} if kind == _SCHEMA else {"key": kind, **said, "optional": True}
            found.append({**_KINDS[kind], "name": kind, **weight, **key})
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

    def _tests(self, ledger: Ledger) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tests of a file, or those that a config lists, or that are in files that it names."""
        if not self._config:
            yield from self._rows_of(self._source, ledger)
        for place, test in self._config.entries("tests"):
            if isinstance(test, dict) and "path" not in test:
                yield place, test
                continue
            if not isinstance(test, str | dict):
                raise InputError(f"{place}: must be a test: a mapping with vars and assert.")
            name = str(test["path"] if isinstance(test, dict) else test)
            files = [] if _PROGRAM.match(name) else inside(self._source.parent, name)
            for path in files:
                yield from self._rows_of(path, ledger)
            if not files:
                why = "a program, which is not run, or not inside the folder; nothing is fetched"
                ledger.add(place, f"tests of {named(name)}: {why}")

    def _rows_of(self, path: Path, ledger: Ledger) -> Iterator[tuple[str, dict[str, Any]]]:
        rows = self._rows(path)
        for line, row in rows.read(ledger):
            yield rows.place(line), _from_row(row) if rows.text_only else row

    def _combined(self, test: dict[str, Any], place: str, ledger: Ledger) -> Iterator[_Case]:
        """A test with what defaultTest adds: one case, or one for each combination of lists of variables."""
        default, origin = self._config.mapping("defaultTest"), self._config.place("defaultTest")
        ledger.tally_keys(place, (key for key in {**default, **test} if key not in _TEST_KEYS), "a test's key")
        given, metadata, options = (_both(default, test, key, place) for key in ("vars", "metadata", "options"))
        ledger.tally_keys(place, (key for key in options if key not in _OPTIONS), "unused option")
        alone = _both({}, test, "options", place).get("disableDefaultAsserts")
        asserts: list[tuple[str, Any]] = []
        for at, part in ((origin, {} if alone else default), (place, test)):
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


def _from_row(row: dict[str, str | None]) -> dict[str, Any]:
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


def _both(default: dict[str, Any], test: dict[str, Any], key: str, place: str) -> dict[str, Any]:
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


def _long(given: Any, place: str) -> dict[str, Any]:
    """An assertion in long notation; a text that is none in short notation is what the answer must equal."""
    if isinstance(given, str):
        match = _NOTATION.fullmatch(given.strip())
        opposite, name, threshold, value = match.groups() if match else ("", "", None, "")
        name = _SHORT.get(name, name)
        if f"{opposite}{name}" not in _BY_TYPE and name not in _BY_TYPE and not unscored(name, ""):
            return {"type": "equals", "value": given.strip()}
        more = {} if threshold is None else {"threshold": threshold}
        return {"type": f"{opposite}{name}", "value": (value or "").strip(), **more}
    assertion = given if isinstance(given, dict) else {}
    if not isinstance(type_ := "$ref" if "$ref" in assertion else assertion.get("type"), str):
        raise InputError(f"{place}: an assertion has no 'type'. Write one, such as {{type: contains, value: …}}.")
    return {**assertion, "type": type_}


def _read_assertion(assertion: dict[str, Any], values: Mapping[str, Any]) -> tuple[str, list[Any], float]:
    """The kind, the values and the weight of an assertion, whose templates name the test's variables."""
    type_, value, weight = assertion["type"], assertion.get("value"), assertion.get("weight", 1)
    kind = _BY_TYPE.get(type_)
    if kind is None:
        base = type_.removeprefix("not-").partition(":")[0]
        opposite = type_.startswith("not-") and base in _BY_TYPE
        raise Unusable("its opposite has a scorer, this has none" if opposite else unscored(base))
    if unknown := [key for key in assertion if key not in ("type", "value", "weight", "metric")]:
        raise Unusable(f"it has {named(unknown[0])}, which nothing here does")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1000:
        raise Unusable("its weight is no number from 0 to 1000")
    if isinstance(value, str) and value.startswith("file://"):
        raise Unusable("its value is in a file, which is neither read nor run")
    try:
        value = filled_in(value, values)
    except Unusable:  # what it says may repeat what is tested
        raise Unusable("its value is a template that cannot be filled in") from None
    try:
        return kind, [read_schema(value)] if kind == _SCHEMA else _texts(kind, type_, value), float(weight)
    except ValueError as failure:
        raise Unusable(str(failure)) from None


def _texts(kind: str, type_: str, value: Any) -> list[str]:
    listed = _OF_MANY.get(kind) == type_
    value = _separated(value) if listed and isinstance(value, str) else value
    texts = texts_in(value if isinstance(value, list) and listed else [value], "its value")
    return [usable_pattern(text) if "regex" in kind else text for text in texts]


def _separated(text: str) -> list[str]:
    """The values of a list in short notation: commas part them, quotes hold one together."""
    try:
        cells = next(csv.reader([text.replace("\n", " ")], skipinitialspace=True), [])
    except csv.Error:
        cells = text.split(",")
    return [cell.strip() for cell in cells if cell.strip()]


def _read_prompts(config: Config, ledger: Ledger) -> list[Prompt]:
    """The prompts of a config, each with a name of its own; what none can be made of is lost."""
    found: list[Prompt] = []
    for place, entry in config.entries("prompts"):
        about = entry if isinstance(entry, dict) else {"id": entry}
        ledger.tally_keys(place, (key for key in about if key not in _PROMPT_KEYS), "a prompt's key")
        with ledger.leaving_out(place, "a prompt"):
            for text, name in _prompt_texts(about, config.source.parent):
                turns, changes = _turns(text)
                prompt = Prompt(turns, name, place)
                prompt.names()
                found.append(prompt)
                for change in changes:
                    ledger.add(place, f"of a prompt: {change}")
    taken: list[str] = []
    for number, prompt in enumerate(found, 1):
        plain = identifier(prompt.name)[:60] if prompt.name.strip() else ""
        prompt.name = distinct(plain or ("default" if len(found) == 1 else f"prompt_{number}"), taken)
        taken.append(prompt.name)
    return found


def _prompt_texts(about: dict[str, Any], root: Path) -> Iterator[tuple[str, str]]:
    """The texts of an entry, with their names: itself, or what is in a file."""
    name, text = str(about.get("label") or ""), about.get("raw", about.get("id"))
    if not isinstance(text, str):
        raise Unusable("it is neither a text nor a file")
    file = "raw" not in about and "\n" not in text and (text.startswith("file://") or text.endswith(_FILES))
    paths = [path for path in inside(root, text) if path.suffix in _FILES] if file else []
    if (file and not paths) or (not file and "raw" not in about and _PROGRAM.match(text)):
        raise Unusable(f"{named(text)} is no text file inside the folder, but a program or elsewhere")
    if not file:
        yield text, name
    for path in paths:
        content = read_text(path, FILE_LIMIT)
        for part in [content] if path.suffix == ".json" else re.split(r"(?m)^---[ \t]*\r?$", content):
            yield part.strip(), name or path.stem


def _turns(text: str) -> tuple[list[dict[str, str]], list[str]]:
    """A prompt as it is written, a chat as JSON or a text, as turns; and what was changed to make it one."""
    chat = cell_value(text)
    if isinstance(chat, list) and chat and all(isinstance(turn, dict) and "role" in turn for turn in chat):
        return as_turns(chat)
    if chat is text and re.match(r"\s*[\[{]", text) and re.search(r"[\"']role[\"']\s*:", text):
        raise Unusable("a chat that is put together by its template")
    return as_turns(text)


def _write(evalset: EvalSet, target: Path, ledger: Ledger) -> None:
    spec, lose = evalset.spec, partial(ledger.add, where(evalset.path / "evalset.yaml"))
    if spec.output.labels is not None:
        lose("output.labels: promptfoo has no list of labels")
    kinds = [(scorer, _kind_of(evalset, scorer, lose)) for scorer in evalset.scorers]
    kept = [(scorer, kind) for scorer, kind in kinds if kind]
    lists = any(isinstance(value, list) for item in evalset.items for value in item.inputs.values())
    shared: dict[str, Any] = {"options": {"disableVarExpansion": True}} if lists else {}
    if evalset.output_schema is not None:
        alone = not any(scorer.weight for scorer, _ in kept)
        shared["assert"] = [_written_schema(evalset, alone, lose)]
    shared |= {} if spec.accept.min_score == 1 else {"threshold": spec.accept.min_score}
    document = {
        "description": spec.description,
        "prompts": _written_prompts(evalset, lose),
        "providers": _NO_MODEL,
        "defaultTest": shared,
        "tests": [_written_test(item, kept, where(evalset.path / "items.jsonl"), ledger) for item in evalset.items],
    }
    header = "# For promptfoo: put your models for `echo`, or name one: promptfoo eval -c FILE -r PROVIDER\n"
    text = header + dump_yaml({key: value for key, value in document.items() if value})
    write_atomic(target, text, file_mode(evalset))


def _written_schema(evalset: EvalSet, alone: bool, lose: Callable[[str], None]) -> dict[str, Any]:
    """The assertion that an answer keeps to the schema; `alone` where no other one has a weight."""
    given = evalset.output_schema or {}
    schema = {key: value for key, value in given.items() if key != "$schema"}
    if schema != given:
        lose("output.json_schema: its $schema, since promptfoo knows one dialect")
    weight = next((scorer.weight for scorer in evalset.scorers if scorer.type == "json_schema"), None)
    if weight is None or (alone and not weight):  # promptfoo passes no test whose weights are all 0
        lose("output.json_schema: keeping to it is an assertion of its own, of weight 1")
        weight = 1
    return {"type": "is-json", "value": raw(schema), **({} if weight == 1 else {"weight": weight})}


def _written_prompts(evalset: EvalSet, lose: Callable[[str], None]) -> list[dict[str, str]]:
    """The variants of an eval set as a list of prompts; those that cannot be said so are lost."""
    found = []
    for name, variant in evalset.spec.variants.items():
        prompt = bare_prompt(name, variant, lose)
        if prompt is None:
            lose(f"variant '{name}' is left out: its template does more than fill in inputs")
            continue
        alone = len(prompt.turns) == 1 and prompt.turns[0]["role"] == "user"
        chat = json.dumps(prompt.turns, ensure_ascii=False, indent=1)
        found.append({"label": name, "raw": prompt.turns[0]["content"] if alone else chat})
    if not found:
        lose("no variant could be written: a plain prompt stands for them")
        inputs = [name for name in evalset.items[0].inputs if name.isidentifier()]
        found = [{"label": "default", "raw": "\n".join(f"{name}: {{{{{name}}}}}" for name in inputs)}]
    return found


def _written_test(item: Item, scorers: list[tuple[Scorer, str]], items: str, ledger: Ledger) -> dict[str, Any]:
    lose, asserts, whole = partial(ledger.tally, f"{items} {item.id}"), list[dict[str, Any]](), set[str]()
    for name, value in item.inputs.items():
        if value is None:
            lose(f"input {named(name)} is null: there it is empty")
    for scorer, kind in scorers:
        if isinstance(scorer, FieldScorer) and scorer.applies(item.expectations):
            made, lost = _assertions_of(scorer, kind, item.expectations)
            asserts += made
            if lost:
                lose(f"scorer '{scorer.name or scorer.type}': {lost}")
            elif scorer.expected_key == kind:
                whole.add(kind)  # the assertions say this expectation whole
    metadata = metadata_of(item, items, ledger, expectations=whole)
    found = {"vars": raw(item.inputs), "assert": asserts, "metadata": metadata}
    return {key: value for key, value in found.items() if value}


def _kind_of(evalset: EvalSet, scorer: Scorer, lose: Callable[[str], None]) -> str | None:
    """The kind of assertion that says what a scorer does, or nearly; how it differs, or that there is none, is lost."""
    about, items = f"scorer '{scorer.name or scorer.type}'", items_of(evalset, scorer)
    kind, more = ("equals", frozenset[str]()) if scorer.type == "label" else nearest(scorer, _KINDS)
    if kind == _SCHEMA:
        return None  # all tests share it
    said = getattr(scorer, "field", None) is None and getattr(scorer, "extract", None) in (None, _WHOLE_TEXT)
    if kind is None or not said or not isinstance(scorer, FieldScorer):
        lose(f"{about} has no assertion: its expectations are in the metadata ({items})")
        return None
    if scorer.type == "label":
        lose(f"{about}: written as 'equals', where case and aliases count ({items})")
    elif more:
        lose(f"{about}: {', '.join(sorted(more))} count in promptfoo ({items})")
    if scorer.name not in (None, kind):
        lose(f"{about}: there its name is '{kind}' ({items})")
    return kind


def _assertions_of(scorer: FieldScorer, kind: str, expectations: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The assertions that say what a scorer expects of an item, and what of that gets lost."""
    given = getattr(scorer, "pattern", None)
    values = scorer.accepted(expectations) if given is None else [given]
    texts = [text for text in map(scalar_text, values) if text is not None]
    if len(texts) < len(values):
        return [], "an expected value is no text"
    one, many = _OF_ONE[kind], _OF_MANY.get(kind)
    more = {} if scorer.weight == 1 else {"weight": scorer.weight}
    if len(texts) > 1 and kind in _ANCHORS:
        parts = "|".join(f"(?:{text})" if kind == "regex" else re.escape(text) for text in texts)
        whole = {"type": "regex", "value": raw(_ANCHORS[kind].format(parts)), **more}
        return [whole], "several accepted answers are written as a regular expression"
    if many and (len(texts) > 1 or one == many):
        return [{"type": many, "value": raw(texts), **more}], ""
    return [{"type": one, "value": raw(text), **more} for text in texts], ""
