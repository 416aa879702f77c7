"""promptfoo's tests: CSV and JSONL files of test cases, and promptfooconfig.yaml with its prompts and assertions.

done = import_evalset("promptfooconfig.yaml", "evalsets/translate")    # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo", "promptfooconfig.yaml")

Here is the config as a whole; its three notations, each with its way back, are `cases`, `assertions` and `prompts`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import Document, write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.promptfoo.assertions import Assertions, Claim, kind_for, read_assertion
from workbench.formats.promptfoo.cases import Case, cases_of, from_row, written_test
from workbench.formats.promptfoo.prompts import PROGRAM, Prompt, plain_variant, raw, read_prompts, written_prompts
from workbench.formats.shared.export import file_mode, items_of
from workbench.formats.shared.files import head, inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields
from workbench.formats.shared.rows import first_row, kind_of, open_rows
from workbench.formats.shared.structured import dump_yaml, read_structured
from workbench.scorers import Scorer

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_CONFIGS = ("promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json")
_CONFIG_KEYS = {"prompts", "tests", "defaultTest", "description", "$schema"}
_NO_MODEL = ["echo"]  # stands where a config must name a model: it repeats the prompt

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


class _Reader:
    """Goes through the tests twice: for what they assert together, and for the items."""

    def __init__(self, source: Path) -> None:
        self._source, self._root, self._found = source, source.parent, Found()
        whole = read_structured(source) if kind_of(source) in ("json", "yaml") else Document(source, None, {})
        self._config = whole if isinstance(whole.data, dict) else Document(source, {}, {})
        self._odd: set[str] = set()  # variables that are no text or number
        self._rows = cache(partial(open_rows, found=self._found, header=True))

    def read(self, sink: Sink) -> Found:
        found, config, names = self._found, self._config.data, Counter[str]()
        bars, firsts = Counter[float](), dict[float, str]()  # tests by threshold, and where the first is
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
            sink(fields, place=case.place)
            bars[bar := 1.0 if case.threshold is None else case.threshold] += 1
            firsts.setdefault(bar, case.place)
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
        usual = self._usual(bars, firsts)
        found.schema, found.notes = asserted.schema, [*found.notes, *asserted.notes()]
        description = config.get("description")
        found.spec |= {"description": description} if isinstance(description, str) and description.strip() else {}
        found.spec |= {
            "variants": self._variants(
                [prompt for prompt in prompts if prompt.name not in failed], names, bars.total()
            ),
            "output": {} if found.schema else {"text": True},
            "scorers": asserted.scorers(),
            "accept": {"min_score": usual},
        }
        return found

    def _usual(self, bars: Counter[float], firsts: dict[float, str]) -> float:
        """The score from which most tests pass; that others differ is a loss."""
        ordered = sorted(bars, key=lambda bar: (bars[bar], bar), reverse=True) or [1.0]
        if len(bars) > 1:
            shown = ", ".join(f"{bar:g} ({bars[bar]} tests, first {firsts[bar]})" for bar in ordered[:8])
            what = f"tests pass with different scores: {shown}; here {ordered[0]:g}"
            self._found.ledger.add(where(self._source), what)
        return ordered[0]

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

    def _claims(self, case: Case) -> list[Claim]:
        return [read_assertion(given, case.vars, place, self._load) for place, given in case.asserts]

    def _load(self, name: str) -> Any:
        """A file that an assertion names."""
        files = [path for path in inside(self._root, name) if path.suffix.lower() in (".json", ".yaml", ".yml")]
        if not files:
            raise Unusable(f"its value is the file '{name[7:67]}', which is not there or not read")
        return read_structured(files[0]).data

    def _cases(self, ledger: Ledger) -> Iterator[Case]:
        """Every test, filled in; one that cannot be is a loss."""
        default, origin = self._config.data.get("defaultTest") or {}, self._place("defaultTest")
        if not isinstance(default, dict):
            ledger.add(origin, "a defaultTest that is no mapping: not read")
            default = {}
        for place, test in self._listed(ledger) if self._config.data else self._file(self._source, ledger):
            try:
                yield from cases_of(test, place, default, origin, ledger)
            except Unusable as failure:
                ledger.tally(place, f"a test is left out: {failure}")

    def _file(self, path: Path, ledger: Ledger) -> Iterator[tuple[str, dict[str, Any]]]:
        rows = self._rows(path)
        for line, row in rows.read(ledger):
            yield rows.place(line), from_row(row) if rows.text_only else row

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
                    yield from self._file(path, ledger)
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
    kinds = [_kind(evalset, scorer, partial(ledger.add, place)) for scorer in evalset.scorers]
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
        "tests": [written_test(item, kept, where(evalset.path / "items.jsonl"), ledger) for item in evalset.items],
    }
    header = "# For promptfoo: put your models for `echo`, or name one: promptfoo eval -c FILE -r PROVIDER\n"
    text = header + dump_yaml({key: value for key, value in document.items() if value})
    write_atomic(target, text, file_mode(evalset))


def _kind(evalset: EvalSet, scorer: Scorer, lose: Callable[[str], None]) -> str | None:
    """The kind of assertion for a scorer; what is lost says of how many items."""
    return kind_for(scorer, lambda what: lose(f"{what} ({items_of(evalset, scorer)})"))
