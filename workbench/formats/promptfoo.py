"""promptfoo's tests: CSV and JSONL files of test cases, and promptfooconfig.yaml with its prompts and assertions.

done = import_evalset("promptfooconfig.yaml", "evalsets/translate")    # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo", "promptfooconfig.yaml")
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import read_text, write_atomic
from workbench.formats.base import FILE_LIMIT, FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.assertions import (
    GRADED,
    KINDS,
    SCHEMA,
    SCORERS_OF,
    WHOLE_TEXT,
    Claim,
    assertions_of,
    claims_of,
    literal,
    nearest_kind,
    weight_of,
)
from workbench.formats.shared.export import one_or_all
from workbench.formats.shared.files import head, inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, metadata_of
from workbench.formats.shared.names import identifier
from workbench.formats.shared.prompts import Prompt, bare_turns, plain_variant, turns_of
from workbench.formats.shared.rows import first_row
from workbench.formats.shared.structured import dump_yaml, read_structured
from workbench.formats.shared.suites import PROGRAM, Case, Suite

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_CONFIGS = ("promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json")
_USED = {"prompts", "tests", "defaultTest", "description", "$schema"}
_PROMPT_FILES = (".txt", ".md", ".j2", ".json", ".yaml", ".yml")
_DUMPED = re.compile(r"\s*\{\{-?\s*([A-Za-z_]\w*)\s*\|\s*dump(?:\(\s*\d*\s*\))?\s*-?\}\}\s*")
_FOREIGN = {"env", "_conversation"}  # promptfoo's own variables: values of a run, not of a test

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
        if first[:1] in ("{", "["):
            keys = set(first_row(source) or {})
            if keys & {"vars", "tests"} or _LISTED.match(start) or len(set(_TOP.findall(start))) > 1:
                return 0.9
            return 0.8 if "assert" in keys else 0.3 if keys & {"prompts", "providers"} else 0.0
        if _COLUMN.search(first):
            return 0.95
        if source.suffix.lower() in (".csv", ".tsv"):
            return 0.0
        found = len(set(_TOP.findall(start)))
        return 0.9 if _LISTED.match(start) or found > 1 else 0.4 if found else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.is_dir():
            source = next((source / name for name in _CONFIGS if (source / name).is_file()), source / _CONFIGS[0])
        if options.scorer:
            raise InputError(f"{where(source)}: its tests bring their own assertions. Leave --scorer out.")
        return _Reader(Suite(source)).read(sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        try:
            _Writer(evalset, ledger).write(target)
        except Unusable as failure:
            raise InputError(f"{where(evalset.path)}: {failure}.") from None


FORMATS.add("promptfoo", Promptfoo())


def _read_prompts(suite: Suite, ledger: Ledger) -> list[Prompt]:
    """The prompts of a config that tests can fill in, each with a name of its own; the others are losses."""
    given = suite.config.get("prompts")
    prompts: list[Prompt] = []
    for index, entry in enumerate(given if isinstance(given, list) else [] if given is None else [given]):
        place = suite.place("prompts", index)
        try:
            for prompt in _prompts_of(entry, place, suite, ledger):
                if foreign := prompt.names() & _FOREIGN:
                    raise Unusable(f"it uses '{min(foreign)}', which no test holds")
                prompts.append(prompt)
        except Unusable as failure:
            ledger.add(place, f"a prompt is left out: {failure}")
    taken: set[str] = set()
    for number, prompt in enumerate(prompts, 1):
        unnamed = "default" if len(prompts) == 1 else f"prompt_{number}"
        base = identifier(prompt.name)[:60] if prompt.name.strip() else unnamed
        endings = itertools.chain([""], (f"_{again}" for again in itertools.count(2)))
        prompt.name = next(base + ending for ending in endings if base + ending not in taken)
        taken.add(prompt.name)
    return prompts


def _prompts_of(entry: Any, place: str, suite: Suite, ledger: Ledger) -> Iterator[Prompt]:
    about = entry if isinstance(entry, dict) else {"id": entry}
    for key in about:
        if key not in ("id", "label", "raw", "display"):
            ledger.add(place, f"key '{str(key)[:60]}' of a prompt")
    name, raw, text = str(about.get("label") or ""), about.get("raw"), about.get("id")
    if isinstance(raw, str):
        found = [(raw, place, name)]
    elif not isinstance(text, str):
        raise Unusable("it is neither a text nor a file")
    elif files := _prompt_files(suite, text):
        found = [(each, where(path), name or path.stem) for path in files for each in _texts_of(path)]
    elif text.startswith("file://") or PROGRAM.match(text):
        raise Unusable(f"'{text[:60]}' is no text file inside the folder, but a program or elsewhere")
    else:
        found = [(text, place, name)]
    for text, at, name in found:
        dumped = _DUMPED.fullmatch(text)
        turns, changes = ([], []) if dumped else turns_of(text)
        for change in changes:
            ledger.add(at, f"of a prompt: {change}")
        yield Prompt(turns, name, at, own=dumped[1] if dumped else "")


def _prompt_files(suite: Suite, name: str) -> list[Path]:
    named = "\n" not in name and ("*" in name or Path(name).suffix.lower() in _PROMPT_FILES)
    return [path for path in inside(suite.root, name) if path.suffix.lower() in _PROMPT_FILES] if named else []


def _texts_of(path: Path) -> list[str]:
    """The prompts of a file: a chat, or texts between lines of three dashes."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return [json.dumps(read_structured(path).data)]
    text = read_text(path, FILE_LIMIT)
    parts = [text] if path.suffix.lower() == ".json" else re.split(r"(?m)^---[ \t]*\r?$", text)
    return [part.strip() for part in parts if part.strip()]


class _Reader:
    """Goes through the tests twice: for what they assert together, and for the items."""

    def __init__(self, suite: Suite) -> None:
        self._suite, self._found = suite, Found()
        self._weights: dict[str, Counter[float]] = {}
        self._bars: Counter[float] = Counter()
        self._lost: Counter[str] = Counter()
        self._names: Counter[str] = Counter()  # of variables, with how many items have them
        self._containers: set[str] = set()
        self._own: set[str] = set()
        self._count = 0

    def read(self, sink: Sink) -> Found:
        found, config = self._found, self._suite.config
        self._observe()
        prompts = _read_prompts(self._suite, found.ledger)
        failures, first = Counter[str](), dict[str, str]()
        for case in self._suite.cases(found.ledger):
            if self._carry(case, sink):
                for prompt in prompts:
                    try:
                        prompt.try_on(case.vars)
                    except Unusable as failure:
                        failures[prompt.name] += 1
                        first.setdefault(prompt.name, f"{case.place}: {failure}")
        for prompt in prompts:
            if failures[prompt.name]:
                why = f"cannot be rendered for {failures[prompt.name]} tests, first {first[prompt.name]}"
                found.ledger.add(prompt.place, f"prompt '{prompt.name}' is left out: it {why}")
        for key, value in config.items():
            if key not in _USED and value is not None:
                size = f" ({len(value)})" if isinstance(value, list | dict) else ""
                fate = "belongs into models.yaml" if key in ("providers", "targets") else "is not used"
                found.ledger.add(self._suite.place(key), f"'{key[:60]}'{size} {fate}")
        self._describe([prompt for prompt in prompts if not failures[prompt.name]])
        return found

    def _observe(self) -> None:
        """First time through: the assertions."""
        schemas: list[Any] = []
        tests = with_schema = 0
        for case in self._suite.cases(Ledger()):
            claims = [claim for claim in claims_of(case, self._suite) if not claim.lost]
            tests += bool(claims)
            for claim in claims:
                self._weights.setdefault(claim.kind, Counter())[claim.weight] += 1
                if claim.kind == SCHEMA:
                    with_schema += 1
                    if claim.values[0] not in schemas and len(schemas) < 2:
                        schemas.append(claim.values[0])
        if len(schemas) == 1 and with_schema == tests:
            self._found.schema = schemas[0]

    def _weight(self, kind: str) -> float:
        """The weight of most assertions of a kind."""
        return max(self._weights[kind].items(), key=lambda each: (each[1], each[0]))[0]

    def _carried(self, case: Case) -> list[Claim]:
        """The assertions of a test that are carried over; the others are losses."""
        claims = claims_of(case, self._suite)
        self._count += len(claims)
        if self._found.schema is None:
            why = "an eval set has one JSON schema, and not all tests have this one"
            claims = [claim._replace(lost=why) if claim.kind == SCHEMA else claim for claim in claims]
        if not any(self._weight(claim.kind) for claim in claims if not claim.lost):
            why = "the test has none with a weight above 0"
            claims = [claim._replace(lost=claim.lost or why) for claim in claims]
        for claim in claims:
            if claim.lost:
                self._lost[claim.type] += 1
                self._found.ledger.add(claim.place, f"assertion '{claim.type[:60]}' is left out: {claim.lost}")
        return [claim for claim in claims if not claim.lost]

    def _carry(self, case: Case, sink: Sink) -> bool:
        """Hand over a test's item, and write down what is lost."""
        ledger, claims = self._found.ledger, self._carried(case)
        if not claims:
            ledger.tally(case.place, "a test is left out: it has no assertion that can be carried over")
            return False
        for claim in claims:
            if claim.weight != self._weight(claim.kind):
                what = f"weight {claim.weight:g} of '{claim.type}'"
                ledger.tally(claim.place, f"{what}: its scorer has one weight, {self._weight(claim.kind):g}")
            if claim.metric:
                ledger.tally(claim.place, f"metric name '{claim.metric[:60]}' of '{claim.type}'")
        metadata = dict(case.metadata)
        beside = metadata.pop("expectations") if isinstance(metadata.get("expectations"), dict) else {}  # our export's
        fields = item_fields(metadata, case.place, ledger)
        self._own |= fields.keys() - {"slice"}
        for key in beside:
            if key in KINDS:
                ledger.tally(case.place, f"metadata '{key}' is an expectation that an assertion would make")
        expectations = {key: value for key, value in beside.items() if key not in KINDS}
        for kind in dict.fromkeys(claim.kind for claim in claims if claim.kind != SCHEMA):
            expectations[kind] = one_or_all([value for claim in claims if claim.kind == kind for value in claim.values])
        total = sum(claim.weight for claim in claims)
        part = sum(claim.weight * claim.threshold for claim in claims)  # a graded one needs less than 1
        bar = round(part / total, 4) if total else 1.0
        self._bars[bar if case.threshold is None else case.threshold] += 1
        self._names.update(case.vars.keys())
        self._containers |= {name for name, value in case.vars.items() if isinstance(value, dict | list | bool)}
        sink({**fields, "inputs": case.vars, "expectations": expectations})
        return True

    def _describe(self, prompts: list[Prompt]) -> None:
        """Prompts and scorers, and what was guessed of them."""
        found, description = self._found, self._suite.config.get("description")
        bar = max(self._bars.items(), key=lambda each: (each[1], each[0]))[0] if self._bars else 1.0
        if len(self._bars) > 1:
            shown = ", ".join(f"{bar:g} ({count} tests)" for bar, count in self._bars.most_common(8))
            what = f"tests pass with different scores: {shown}; here {bar:g}"
            found.ledger.add(where(self._suite.source), what)
        kinds = [kind for kind in KINDS if kind in self._weights and (kind != SCHEMA or found.schema)]
        found.spec |= {"description": description} if isinstance(description, str) and description.strip() else {}
        found.spec |= {
            "variants": self._variants(prompts),
            "output": {} if found.schema else {"text": True},
            "scorers": [self._scorer(kind) for kind in kinds],
            "accept": {"min_score": bar},
        }
        notes = found.notes
        if self._lost:
            types = ", ".join(f"{type_[:40]} {count}" for type_, count in self._lost.most_common(12))
            notes.append(f"{self._lost.total()} of {self._count} assertions are not carried over: {types}")
        counts = ", ".join(f"{kind} ({self._weights[kind].total()})" for kind in kinds)
        notes.append(f"each kind of assertion is a scorer, for the items that have one: {counts or 'none'}")
        if GRADED.keys() & self._weights.keys():
            notes.append("rouge-n's own threshold is part of accept.min_score; rouge-score's stemmer counts the words")
        if min(self._bars, default=1) < 1 < len(kinds):
            notes.append("several assertions of one kind weigh as one here; in promptfoo each weighs")
        if self._own:
            notes.append(f"metadata of these names is the item's own: {', '.join(sorted(self._own))}")

    def _scorer(self, kind: str) -> dict[str, Any]:
        weight = {} if self._weight(kind) == 1 else {"weight": self._weight(kind)}
        if kind == SCHEMA:
            return {**SCORERS_OF[kind], "name": kind, **weight}
        said = {"extract": WHOLE_TEXT} if self._found.schema else {}
        return {**SCORERS_OF[kind], "name": kind, **weight, "key": kind, **said, "optional": True}

    def _variants(self, prompts: list[Prompt]) -> dict[str, Any]:
        missing = {name for name, count in self._names.items() if count < self._bars.total()}
        notes = self._found.notes
        if not prompts:
            shown = ", ".join(list(self._names)[:20])
            notes.append(f"there is no prompt, so a plain one shows the variables: {shown}")
            return {"default": plain_variant(self._names, missing)}
        named = set().union(*(prompt.names() for prompt in prompts))
        nowhere = sorted(named - set(self._names))
        if nowhere:
            notes.append(f"the prompts name variables that no test has; they are empty: {', '.join(nowhere[:10])}")
        if odd := sorted(self._containers & named - {prompt.own for prompt in prompts}):
            notes.append(f"prompts show objects, lists and true/false in Python's notation: {', '.join(odd[:10])}")
        return {prompt.name: prompt.variant({*missing, *nowhere}) for prompt in prompts}


class _Writer:
    def __init__(self, evalset: EvalSet, ledger: Ledger) -> None:
        self._evalset, self._ledger = evalset, ledger
        self._spec, self._items = where(evalset.path / "evalset.yaml"), where(evalset.path / "items.jsonl")
        self._kinds = [nearest_kind(scorer, partial(ledger.add, self._spec)) for scorer in evalset.scorers]

    def write(self, target: Path) -> None:
        evalset = self._evalset
        if evalset.spec.output.labels is not None:
            self._ledger.add(self._spec, "output.labels: promptfoo has no list of labels")
        document = {
            "description": evalset.spec.description,
            "prompts": self._prompts(),
            "defaultTest": self._default(),
            "tests": [self._test(item) for item in evalset.items],
        }
        header = "# For promptfoo: add `providers`, or name one: promptfoo eval -c FILE -r PROVIDER\n"
        write_atomic(target, header + dump_yaml({key: value for key, value in document.items() if value}))

    def _prompts(self) -> list[dict[str, str]]:
        found = []
        for name, variant in self._evalset.spec.variants.items():
            turns, first = bare_turns(variant), variant.messages[0]
            own = getattr(first, "turns", None) if len(variant.messages) == 1 else None
            if turns is None and own is None:
                what = f"variant '{name}' is left out: its template does more than fill in inputs"
                self._ledger.add(self._spec, what)
                continue
            if variant.examples:
                what = f"variant '{name}': its {variant.examples} examples of train.jsonl are not in its prompt"
                self._ledger.add(self._spec, what)
            if turns:
                raw = turns[0]["content"] if len(turns) == 1 else json.dumps(turns, ensure_ascii=False, indent=1)
            found.append({"label": name, "raw": raw if turns else f"{{{{ {own} | dump }}}}"})
        if not found:
            self._ledger.add(self._spec, "no variant could be written: a plain prompt stands for them")
            inputs = [name for name in self._evalset.items[0].inputs if name.isidentifier()]
            found = [{"label": "default", "raw": "\n".join(f"{name}: {{{{{name}}}}}" for name in inputs)}]
        return found

    def _default(self) -> dict[str, Any]:
        """What all tests share: the JSON schema, the threshold, and that lists are values."""
        values = [value for item in self._evalset.items for value in item.inputs.values()]
        lists = any(isinstance(value, list) and value and isinstance(value[0], str) for value in values)
        found: dict[str, Any] = {"options": {"disableVarExpansion": True}} if lists else {}
        schema, bar = self._evalset.output_schema, self._evalset.spec.accept.min_score
        if schema is not None:
            weights = [weight_of(each) for each in self._evalset.scorers if each.type == "json_schema"]
            if not weights:
                what = "output.json_schema: keeping to it is an assertion of its own, of weight 1"
                self._ledger.add(self._spec, what)
            found["assert"] = [{"type": "is-json", "value": literal(schema), **(weights or [{}])[0]}]
        if bar != 1 or any(scorer.type == "rouge" for scorer in self._evalset.scorers):
            found["threshold"] = bar
        return found

    def _test(self, item: Item) -> dict[str, Any]:
        place = f"{self._items} {item.id}"
        lose, values = partial(self._ledger.tally, place), {}
        for name, value in item.inputs.items():
            if value is None:
                lose(f"input '{name[:60]}' is null: there it is empty")
            try:
                values[name] = literal(value)
            except Unusable as failure:
                lose(str(failure))
                values[name] = value
        asserts: list[dict[str, Any]] = []
        said: set[str] = set()  # expectations that the assertions say whole
        for scorer, kind in zip(self._evalset.scorers, self._kinds, strict=True):
            if scorer.applies(item.expectations) and scorer.type != "json_schema":
                made = assertions_of(scorer, kind, item.expectations, self._evalset.spec.accept.min_score, lose)
                asserts += made
                if made and kind and kind == getattr(scorer, "expected_key", "") and made[0]["type"] in KINDS[kind][1:]:
                    said.add(kind)
        rest = {name: value for name, value in item.expectations.items() if name not in said}
        metadata = {**metadata_of(item, self._items, self._ledger), **({"expectations": rest} if rest else {})}
        return {"vars": values, **({"assert": asserts} if asserts else {}), "metadata": metadata}
