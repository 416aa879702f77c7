"""promptfoo's assertions as scorers: what each asks for, and how several of a test keep their meaning.

kept, lost = claims(case, suite)         # {'contains': [Claim(…), Claim(…)]}, [Lost(place, type, why)]
KINDS["contains"].scorer                 # {'type': 'contains', 'ignore': []}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from workbench.errors import InputError
from workbench.formats._metadata import scalar_text
from workbench.formats._promptfoo_cases import Case, Suite, filled
from workbench.formats._promptfoo_strings import assertion_from, separated
from workbench.formats._sources import inside
from workbench.formats._templates import TemplateFailure
from workbench.scorers.regexes import checked_pattern


@dataclass(frozen=True)
class Kind:
    """One kind of assertion that a scorer can stand for.

    Attributes:
        scorer: the scorer's settings.
        joins: several of a test are one list; otherwise a list means any of its values, so there can be only one.
        one, many: what it is written as.
    """

    scorer: dict[str, Any]
    one: str
    many: str = ""
    joins: bool = False


KINDS = {
    "equals": Kind({"type": "exact"}, "equals"),
    "starts_with": Kind({"type": "exact", "match": "begins"}, "starts-with"),
    "ends_with": Kind({"type": "exact", "match": "ends"}, "ends-with"),
    "contains": Kind({"type": "contains", "ignore": []}, "contains", "contains-all", joins=True),
    "icontains": Kind({"type": "contains"}, "icontains", "icontains-all", joins=True),
    "contains_any": Kind({"type": "contains", "want": "any", "ignore": []}, "contains-any", "contains-any"),
    "icontains_any": Kind({"type": "contains", "want": "any"}, "icontains-any", "icontains-any"),
    "not_contains": Kind(
        {"type": "contains", "want": "none", "ignore": []}, "not-contains", "not-contains-any", joins=True
    ),
    "not_icontains": Kind({"type": "contains", "want": "none"}, "not-icontains", "not-icontains-any", joins=True),
    "regex": Kind({"type": "regex"}, "regex"),
    "not_regex": Kind({"type": "regex", "want": "none"}, "not-regex", joins=True),
    "rouge_n": Kind({"type": "rouge", "metric": "rouge1"}, "rouge-n"),
    "rouge_l": Kind({"type": "rouge", "metric": "rougeL"}, "rouge-l"),
}
JSON_KINDS = {"schema": "is_json", "object": "equals_json"}  # what their scorers are called
GRADED = ("rouge_n", "rouge_l")  # their score is no 0 or 1; the assertion has a threshold of its own
GRADED_THRESHOLD = 0.75  # promptfoo's default
_BY_TYPE = {kind.one: key for key, kind in KINDS.items()} | {k.many: key for key, k in KINDS.items() if k.many}
_JSON_TYPES = ("is-json", "contains-json")
_READ = {"type", "value", "threshold", "weight", "metric"}
_CHANGES_MEANING = {"transform", "contextTransform", "config", "provider", "rubricPrompt", "normalizeUnicode"}
_REASONS = {
    "javascript": "it is a program, which is not run",
    "python": "it is a program, which is not run",
    "ruby": "it is a program, which is not run",
    "webhook": "it asks a server",
    "similar": "it compares embeddings",
    "latency": "time is measured apart: limits.p95_latency_s",
    "cost": "cost is measured apart",
    "select-best": "it compares answers of several models",
    "max-score": "it compares answers of several models",
}
_JUDGED = ("llm-rubric", "factuality", "model-graded", "g-eval", "answer-relevance", "context-", "pi", "classifier")


@dataclass(frozen=True)
class Claim:
    """An assertion that can be carried over.

    Attributes:
        kind: of `KINDS`; `schema`, whose value is the JSON schema; or `object`, whose value is the expected JSON.
        values: what the answer is held against.
    """

    place: str
    type: str
    kind: str
    values: tuple[Any, ...]
    weight: float = 1.0
    metric: str = ""
    threshold: float | None = None


@dataclass(frozen=True)
class Lost:
    """An assertion that cannot be carried over, and why."""

    place: str
    type: str
    why: str


class _NotCarried(Exception):
    pass


def claims(case: Case, suite: Suite) -> tuple[dict[str, list[Claim]], list[Lost]]:
    """A test's assertions by kind, and those that are lost.

    Raises:
        InputError: one has no type.
    """
    kept: dict[str, list[Claim]] = {}
    lost: list[Lost] = []
    for place, assertion in case.asserts:
        for part in _parts(place, assertion):
            kind = str(part.get("type"))
            try:
                claim = _claim(part, place, case, suite)
            except _NotCarried as failure:
                lost.append(Lost(place, kind, str(failure)))
                continue
            earlier = kept.setdefault(claim.kind, [])
            if earlier and not (claim.kind in KINDS and KINDS[claim.kind].joins):
                lost.append(Lost(place, kind, "a second one of this kind; both must hold, a list would mean either"))
            else:
                earlier.append(claim)
    return kept, lost


def _parts(place: str, assertion: Any) -> Iterator[dict[str, Any]]:
    """An assertion, or those of an assert-set that asks for all of them."""
    if isinstance(assertion, str):
        assertion = assertion_from(assertion)
    if not isinstance(assertion, dict) or not isinstance(assertion.get("type"), str):
        raise InputError(f"{place}: an assertion has no 'type'. Write one, such as {{type: contains, value: …}}.")
    inner = assertion.get("assert")
    if assertion["type"] == "assert-set" and isinstance(inner, list) and set(assertion) == {"type", "assert"}:
        for part in inner:
            yield from _parts(place, part)
    else:
        yield assertion


def _claim(assertion: dict[str, Any], place: str, case: Case, suite: Suite) -> Claim:
    kind = assertion["type"]
    if kind == "assert-set":
        return _alternatives(assertion, place, case, suite)
    changed = sorted(_CHANGES_MEANING & set(assertion))
    unknown = sorted(set(assertion) - _READ - _CHANGES_MEANING)
    if kind not in _BY_TYPE and kind not in _JSON_TYPES:
        raise _NotCarried(_reason(kind))
    if changed or unknown:
        raise _NotCarried(f"it has '{(changed or unknown)[0][:60]}', which nothing here does")
    weight = assertion.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1000:
        raise _NotCarried("its weight is no number from 0 to 1000")
    value = _value(assertion, case, suite)
    key, values = _json_claim(kind, value) if kind in _JSON_TYPES else _text_claim(kind, value)
    threshold = None
    if key in GRADED:
        threshold = assertion.get("threshold", GRADED_THRESHOLD)
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise _NotCarried("its threshold is no number from 0 to 1")
    return Claim(place, kind, key, values, float(weight), str(assertion.get("metric") or ""), threshold)


def _reason(kind: str) -> str:
    if kind.startswith("not-") and kind.removeprefix("not-") in _BY_TYPE:
        return "its opposite has a scorer, this has none"
    base = kind.removeprefix("not-").partition(":")[0]
    if base.startswith(_JUDGED):
        return "it needs a model as a judge"
    return _REASONS.get(base, "no scorer does this")


def _value(assertion: dict[str, Any], case: Case, suite: Suite) -> Any:
    value = assertion.get("value")
    if isinstance(value, str) and value.startswith("file://"):
        files = inside(suite.root, value)
        if not files or files[0].suffix.lower() not in (".txt", ".md", ".json", ".yaml", ".yml"):
            raise _NotCarried(f"its value is the file '{value[7:67]}', which is not there or not read")
        value = suite.data_of(files[0])
    try:
        return filled(value, case.vars)
    except TemplateFailure:
        raise _NotCarried("its value is a template that cannot be filled in") from None


def _text_claim(kind: str, value: Any) -> tuple[str, tuple[Any, ...]]:
    key = _BY_TYPE[kind]
    if kind == "equals" and isinstance(value, dict):
        return "object", (value,)
    listed = KINDS[key].many == kind
    if listed and isinstance(value, str):
        value = separated(value)
    given = value if isinstance(value, list) and listed else [value]
    texts = [scalar_text(each) for each in given]
    if not texts or any(text is None or not text.strip() for text in texts):
        shape = "nothing" if value in (None, "", []) else f"a {type(value).__name__}"
        raise _NotCarried(f"its value is {shape}; a text is needed")
    if key in ("regex", "not_regex"):
        for text in texts:
            try:
                checked_pattern(str(text))
            except ValueError:
                raise _NotCarried("its regular expression is of a dialect that is not read here") from None
    return key, tuple(texts)


def _json_claim(kind: str, value: Any) -> tuple[str, tuple[Any, ...]]:
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise _NotCarried("its JSON schema cannot be read") from None
    if value in (None, ""):
        raise _NotCarried("it names no JSON schema, and an eval set's JSON answers have one")
    problem = _schema_problem(value)
    if problem:
        raise _NotCarried(f"its JSON schema {problem}")
    return "schema", (json.loads(json.dumps(value, default=str)),)


def _schema_problem(schema: Any) -> str | None:
    """Why an eval set cannot have this JSON schema."""
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if not isinstance(schema, dict) or schema.get("type") != "object":
        return "is not of an object (type: object)"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        lookup = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver().lookup
        for name in _references(schema):
            if not name.startswith("#"):
                return "refers to another file"
            lookup(name)
    except (jsonschema.SchemaError, Unresolvable, RecursionError):
        return "is not a valid one"
    return None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)
    elif isinstance(schema, dict):
        for key, part in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(part, str):
                yield part
            yield from _references(part)


def _alternatives(assertion: dict[str, Any], place: str, case: Case, suite: Suite) -> Claim:
    """An assert-set of which one is enough, all of one kind: the list of accepted answers."""
    inner, threshold = assertion.get("assert"), assertion.get("threshold")
    if not isinstance(inner, list) or not inner or not isinstance(threshold, int | float):
        raise _NotCarried("an assert-set with a weight or threshold is scored as one; no scorer does this")
    parts = [_claim(part, place, case, suite) for each in inner for part in _parts(place, each)]
    first = parts[0]
    alike = all((each.kind, each.weight, each.metric) == (first.kind, first.weight, first.metric) for each in parts)
    one_of = first.kind in KINDS and not KINDS[first.kind].joins and first.kind not in GRADED
    either = one_of or first.kind == "object"
    if not alike or not either or not 0 < threshold <= 1 / len(parts) or set(assertion) - {*_READ, "assert"}:
        raise _NotCarried("an assert-set with a threshold, and not one of a kind of which one is enough")
    weight = assertion.get("weight", 1)
    weight = float(weight) if isinstance(weight, int | float) and 0 <= weight <= 1000 else 1.0
    values = tuple(value for each in parts for value in each.values)
    if first.kind == "object" and merged(values) is None:
        raise _NotCarried("its accepted JSON values are not those of single fields")
    return Claim(place, "assert-set", first.kind, values, weight, str(assertion.get("metric") or ""))


def merged(objects: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Several accepted objects as one, a field's accepted values in a list; None where that is not the same."""
    found: dict[str, list[Any]] = {}
    for each in objects:
        if set(each) != set(objects[0]):
            return None
        for name, value in each.items():
            if value not in found.setdefault(name, []):
                found[name].append(value)
    several = [values for values in found.values() if len(values) > 1]
    if any(isinstance(value, list | dict) for values in several for value in values):
        return None
    if math.prod(map(len, found.values())) != len(objects):
        return None
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def expected(found: list[Claim]) -> Any:
    """The expectation that the claims of one kind make: a value, or the list of them."""
    values = [value for claim in found for value in claim.values]
    return values[0] if len(values) == 1 else values
