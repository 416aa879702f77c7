"""promptfoo's tests: CSV and JSONL files of test cases, and promptfooconfig.yaml with its prompts and assertions.

done = import_evalset("promptfooconfig.yaml", "evalsets/translate")    # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo", "promptfooconfig.yaml")
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.formats.promptfoo import export
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import item_fields
from workbench.formats.promptfoo.asserts import GRADED, JSON_KINDS, KINDS, Claim, Lost, claims, expected, merged
from workbench.formats.promptfoo.cases import CONFIGS, Case, Suite
from workbench.formats.promptfoo.prompts import Prompt, is_usable, plain_prompt, read_prompts
from workbench.formats.promptfoo.shapes import Shape
from workbench.formats.shared.files import head, refuse_mapping
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, check_readable, where

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

WHOLE_TEXT = "(?s).+"  # with JSON answers, what the model said and not the object in it
_USED = {"prompts", "tests", "defaultTest", "scenarios", "description", "assertionTemplates", "$schema"}
_TOP = re.compile(r"^(prompts|providers|targets|tests|defaultTest|scenarios)\s*:", re.MULTILINE)
_LISTED = re.compile(r"(?:[ \t]*(?:#.*|---.*)?\r?\n)*\s*-\s+(vars|assert|description|metadata)\s*:")
_COLUMN = re.compile(
    r"(?:^|[,;\t|\"])\s*__(?:expected\d*|metadata:[^,;\t]+|threshold|metric|prefix|suffix|description)\b"
)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_Kept = dict[str, list[Claim]]


@dataclass
class _Plan:
    """What all tests together decide: which kinds can be scored, with which weights, under which names."""

    weights: dict[str, Counter[float]] = field(default_factory=dict)
    metrics: dict[str, set[str]] = field(default_factory=dict)  # two at most: one, or several
    tests: int = 0
    schemas: int = 0
    first_schema: Any = None
    same_schema: bool = True
    objects: int = 0
    shape: Shape = field(default_factory=Shape)
    names: Counter[str] = field(default_factory=Counter)
    containers: set[str] = field(default_factory=set)
    bars: Counter[float] = field(default_factory=Counter)
    own: set[str] = field(default_factory=set)
    around: tuple[str, str] | None = None
    wrapped: int = 0
    same_around: bool = True
    carried: int = 0

    def observe(self, case: Case, kept: _Kept) -> None:
        """First time through: the assertions, and what stands around the prompt."""
        if not kept:
            return
        self.tests += 1
        around = (case.prefix, case.suffix)
        self.around = around if self.around is None else self.around
        self.same_around = self.same_around and around == self.around
        self.wrapped += around != ("", "")
        for kind, found in kept.items():
            self.weights.setdefault(kind, Counter()).update(claim.weight for claim in found)
            names = self.metrics.setdefault(kind, set())
            names |= {claim.metric for claim in found if len(names) < 2}
        if "schema" in kept:
            schema = kept["schema"][0].values[0]
            self.first_schema = schema if self.schemas == 0 else self.first_schema
            self.same_schema = self.same_schema and schema == self.first_schema
            self.schemas += 1
        if "object" in kept:
            self.objects += 1
            for value in kept["object"][0].values:
                self.shape.observe(value)

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of all answers, if every test asks for the same one."""
        return self.first_schema if self.same_schema and self.schemas == self.tests else None

    @property
    def compares_objects(self) -> bool:
        """Whether every test expects a JSON object, all of one shape."""
        clash = set(self.shape.fields()) & {*KINDS, *JSON_KINDS} if self.objects else set()
        return bool(self.objects) and self.objects == self.tests and not self.shape.broken and not clash

    def weight(self, kind: str) -> float:
        """The weight of most assertions of a kind."""
        return max(self.weights[kind].items(), key=lambda each: (each[1], each[0]))[0]

    def name(self, kind: str) -> str:
        """What a kind's scorer is called: its metric, where all assertions have the same."""
        found = self.metrics[kind]
        metric = next(iter(found)) if len(found) == 1 else ""
        own = JSON_KINDS.get(kind, kind)
        others = [name for other, names in self.metrics.items() if other != kind for name in (*names, other)]
        return metric if _NAME.fullmatch(metric) and metric not in others and metric != own else own

    def split(self, kept: _Kept) -> tuple[_Kept, list[Lost]]:
        """What of a test is carried over, and what cannot be because of the other tests."""
        carried, lost = dict(kept), []
        if self.schema is None:
            why = "an eval set has one JSON schema, and not all tests have this one"
            lost += [Lost(claim.place, claim.type, why) for claim in carried.pop("schema", [])]
        if not self.compares_objects:
            why = "a JSON value can be compared only where all tests have one, with the same fields"
            lost += [Lost(claim.place, claim.type, why) for claim in carried.pop("object", [])]
        if carried and not any(self.weight(kind) for kind in carried):
            why = "the test has none with a weight above 0"
            lost += [Lost(claim.place, claim.type, why) for found in carried.values() for claim in found]
            carried = {}
        return carried, lost

    def survey(self, case: Case, carried: _Kept) -> None:
        """Second time through: the tests that are carried over."""
        self.carried += 1
        self.names.update(case.vars.keys())
        self.containers |= {name for name, value in case.vars.items() if isinstance(value, dict | list | bool)}
        self.bars[_bar(case, carried)] += 1

    @property
    def missing(self) -> set[str]:
        """The variables that some tests do not have."""
        return {name for name, count in self.names.items() if count < self.carried}


def _bar(case: Case, carried: _Kept) -> float:
    """The score with which a test passes: its threshold, or all assertions, where a graded one needs less than 1."""
    if case.threshold is not None:
        return case.threshold
    parts = [
        (claim.weight, 1.0 if claim.threshold is None else claim.threshold) for c in carried.values() for claim in c
    ]
    total = sum(weight for weight, _ in parts)
    return round(sum(weight * bar for weight, bar in parts) / total, 4) if total else 1.0


class Promptfoo(Format):
    """promptfoo's test cases and configs."""

    name = "promptfoo"
    about = "promptfoo test cases (CSV, JSONL, YAML, JSON) or a promptfooconfig"
    suffix = ".yaml"

    def sniff(self, source: Path) -> float:
        if source.is_dir():
            return 0.9 if any((source / name).is_file() for name in CONFIGS) else 0.0
        start = head(source)
        first = start.lstrip().partition("\n")[0]
        if first.startswith("{"):
            return _sniffed_object(first, start)
        if _COLUMN.search(first):
            return 0.95
        if _LISTED.match(start) or re.match(r"\s*\[\s*\{\s*\"(vars|assert|description)\"\s*:", start):
            return 0.9
        found = len(set(_TOP.findall(start)))
        return 0.0 if source.suffix.lower() in (".csv", ".tsv") else 0.9 if found > 1 else 0.4 if found else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        source = _config_of(source)
        check_readable(source)
        refuse_mapping(source, options, self.name)
        if options.scorer:
            raise InputError(f"{where(source)}: its tests bring their own assertions. Leave --scorer out.")
        suite, ledger, plan = Suite(source), Ledger(), _Plan()
        for case in suite.cases(Ledger()):
            plan.observe(case, claims(case, suite)[0])
        prompts = _wrapped(read_prompts(suite, ledger), plan, ledger)
        passthrough = not prompts and suite.config and not suite.config.get("prompts")
        for case in suite.cases(Ledger()):
            carried, _ = plan.split(claims(case, suite)[0])
            if carried:
                plan.survey(case, carried)
                for prompt in prompts:
                    prompt.try_on(case)
        if passthrough and plan.names["prompt"] == plan.carried > 0:  # promptfoo's default
            prompts = [Prompt(where(source), "default", [{"role": "user", "content": "{{ prompt }}"}])]
        lost, seen = _carry(suite, plan, ledger, sink)
        for key in suite.config:
            if key not in _USED and suite.config[key] is not None:
                ledger.add(suite.place(key), _unused(key, suite.config[key]))
        notes = _notes(plan, lost, seen)
        spec = _spec(suite, plan, prompts, ledger, notes)
        return Found(spec, _schema(plan), ledger.losses(), notes)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        return export.write(evalset, target)


def _sniffed_object(first: str, start: str) -> float:
    try:
        keys = set(json.loads(first))
    except (ValueError, RecursionError):
        if re.match(r"\{\s*\"(vars|assert)\"\s*:", first):
            return 0.9  # a line that is longer than what was looked at
        found = len(set(re.findall(r"\"(prompts|providers|targets|tests|defaultTest|scenarios)\"\s*:", start)))
        return 0.9 if found > 1 else 0.0
    if keys & {"prompts", "providers", "tests"}:
        return 0.9 if "tests" in keys else 0.3
    return 0.9 if "vars" in keys else 0.8 if "assert" in keys else 0.0


def _config_of(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = next((source / name for name in CONFIGS if (source / name).is_file()), None)
    if found is None:
        raise InputError(f"{where(source)}: has no promptfooconfig.yaml. Name the file with the tests.")
    return found


def _carry(suite: Suite, plan: _Plan, ledger: Ledger, sink: Sink) -> tuple[Counter[str], int]:
    """Hand over every item, and write down what is lost; the lost assertions by type, and how many there were."""
    lost_types: Counter[str] = Counter()
    count = 0
    for case in suite.cases(ledger):
        kept, lost = claims(case, suite)
        carried, more = plan.split(kept)
        count += len(lost) + sum(map(len, kept.values()))
        for each in (*lost, *more):
            lost_types[each.type] += 1
            ledger.add(each.place, f"assertion '{each.type[:60]}' is left out: {each.why}")
        if not carried:
            ledger.tally(case.place, "a test is left out: it has no assertion that can be carried over")
            continue
        _note_changes(carried, plan, ledger)
        fields, left, beside = _own_fields(case)
        plan.own |= {name for name in fields if name != "slice"}
        for key, what in left.items():
            ledger.tally(case.place, f"metadata '{key[:60]}' is {what}")
        sink({**fields, "inputs": case.vars, "expectations": {**beside, **dict(_expectations(carried))}})
    return lost_types, count


def _own_fields(case: Case) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """An item's fields out of metadata, what of it is lost, and expectations that our export keeps there."""
    metadata = dict(case.metadata)
    more = metadata.pop("expectations") if isinstance(metadata.get("expectations"), dict) else {}
    fields, lost = item_fields(metadata)
    lost |= {key: "an expectation that an assertion would make" for key in more if key in KINDS}
    return fields, lost, {key: value for key, value in more.items() if key not in KINDS}


def _expectations(carried: _Kept) -> Iterator[tuple[str, Any]]:
    for kind, found in carried.items():
        if kind == "object":
            yield from (merged(found[0].values) or {}).items()
        elif kind != "schema":
            yield kind, expected(found)


def _note_changes(carried: _Kept, plan: _Plan, ledger: Ledger) -> None:
    for kind, found in carried.items():
        for claim in found:
            if claim.weight != plan.weight(kind):
                what = f"weight {claim.weight:g} of '{claim.type}'"
                ledger.tally(claim.place, f"{what}: its scorer has one weight, {plan.weight(kind):g}")
            if claim.metric and claim.metric != plan.name(kind):
                ledger.tally(claim.place, f"metric name '{claim.metric[:60]}' of '{claim.type}'")


def _unused(key: str, value: Any) -> str:
    count = f" ({len(value)})" if isinstance(value, list | dict) else ""
    where_else = " belongs into models.yaml" if key in ("providers", "targets") else " is not used"
    return f"'{key}'{count}{where_else}"


def _spec(suite: Suite, plan: _Plan, prompts: list[Prompt], ledger: Ledger, notes: list[str]) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    description = suite.config.get("description")
    if isinstance(description, str) and description.strip():
        spec["description"] = description
    spec["variants"] = _variants(plan, prompts, ledger, notes)
    text: dict[str, Any] = {"text": True}
    spec["output"] = {} if plan.schema is not None or plan.compares_objects else text
    spec["scorers"] = [_scorer(kind, plan) for kind in (*JSON_KINDS, *KINDS) if _is_scored(kind, plan)]
    bars = plan.bars.most_common()
    spec["accept"] = {"min_score": max(bars, key=lambda each: (each[1], each[0]))[0] if bars else 1.0}
    if len(bars) > 1:
        shown = ", ".join(f"{bar:g} ({count} tests)" for bar, count in bars[:8])
        ledger.add(
            where(suite.source), f"tests pass with different scores: {shown}; here {spec['accept']['min_score']:g}"
        )
    return spec


def _is_scored(kind: str, plan: _Plan) -> bool:
    dropped = (kind == "schema" and plan.schema is None) or (kind == "object" and not plan.compares_objects)
    return kind in plan.weights and not dropped


def _scorer(kind: str, plan: _Plan) -> dict[str, Any]:
    weight = plan.weight(kind)
    common = {"name": plan.name(kind), **({} if weight == 1 else {"weight": weight})}
    if kind == "schema":
        return {"type": "json_schema", **common}
    if kind == "object":
        return {"type": "json_fields", **common, "fields": plan.shape.fields()}
    json_answers = plan.schema is not None or plan.compares_objects
    said = {"extract": WHOLE_TEXT} if json_answers else {}
    return {**KINDS[kind].scorer, **common, "key": kind, **said, "optional": True}


def _schema(plan: _Plan) -> dict[str, Any] | None:
    if plan.schema is not None:
        return plan.schema
    return plan.shape.schema() if plan.compares_objects else None


def _variants(plan: _Plan, prompts: list[Prompt], ledger: Ledger, notes: list[str]) -> dict[str, Any]:
    kept = [prompt for prompt in prompts if not prompt.failures]
    for prompt in prompts:
        if prompt.failures:
            why = f"it cannot be rendered for {prompt.failures} tests, first {prompt.first}"
            ledger.add(prompt.place, f"prompt '{prompt.name}' is left out: {why}")
    if not kept:
        notes.append("there is no prompt, so a plain one shows the variables: " + ", ".join(list(plan.names)[:20]))
        return {"default": plain_prompt(list(plan.names), plan.missing)}
    named: set[str] = set().union(*(prompt.names() for prompt in kept))
    nowhere = sorted(named - set(plan.names))
    if nowhere:
        notes.append(f"the prompts name variables that no test has; they are empty: {', '.join(nowhere[:10])}")
    odd = sorted(plan.containers & named - {prompt.turns for prompt in kept})
    if odd:
        notes.append(f"prompts show objects, lists and true/false in Python's notation: {', '.join(odd[:10])}")
    missing = plan.missing | set(nowhere)
    return {prompt.name: prompt.variant(missing) for prompt in kept}


def _wrapped(prompts: list[Prompt], plan: _Plan, ledger: Ledger) -> list[Prompt]:
    """Prompts with what all tests put before and after them."""
    if not plan.wrapped or plan.around is None:
        return prompts
    texts = [prompt for prompt in prompts if not prompt.chat]
    if not plan.same_around or len(texts) < len(prompts) or not prompts:
        why = "they differ" if not plan.same_around else "they stand around a text, and there are chats or no prompts"
        ledger.add("options.prefix, options.suffix", f"{plan.wrapped} tests have one: {why}")
        return prompts
    for prompt in prompts:
        prompt.messages[0]["content"] = plan.around[0] + prompt.messages[0]["content"] + plan.around[1]
    return [prompt for prompt in prompts if is_usable(prompt, ledger)]


def _notes(plan: _Plan, lost: Counter[str], count: int) -> list[str]:
    notes = []
    if lost:
        kinds = ", ".join(f"{kind[:40]} {number}" for kind, number in lost.most_common(12))
        notes.append(f"{lost.total()} of {count} assertions are not carried over: {kinds}")
    if plan.own:
        notes.append(f"metadata of these names is the item's own: {', '.join(sorted(plan.own))}")
    scored = [kind for kind in (*JSON_KINDS, *KINDS) if _is_scored(kind, plan)]
    kinds = ", ".join(f"{JSON_KINDS.get(kind, kind)} ({plan.weights[kind].total()})" for kind in scored)
    notes.append(f"each kind of assertion is a scorer, for the items that have one: {kinds or 'none'}")
    if any(kind in scored for kind in GRADED):
        notes.append(
            "rouge-n's own threshold is part of accept.min_score; the words are counted by rouge-score's stemmer"
        )
    if "object" in scored:
        notes.append("equals with a JSON object: its fields are compared one by one, text without regard to case")
    if any(bar < 1 for bar in plan.bars) and len(scored) > 1:
        notes.append(
            "with a threshold below 1: several assertions of one kind weigh as one here, in promptfoo each weighs"
        )
    return notes


FORMATS.add("promptfoo", Promptfoo())
