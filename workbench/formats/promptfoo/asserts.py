"""promptfoo's assertions as scorers: what each asks for, and how several of a test keep their meaning.

kept, lost = claims(case, suite)         # {'contains': [Claim(…), Claim(…)]}, [Lost(place, type, why)]
KINDS["contains"].scorer                 # {'type': 'contains', 'ignore': []}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from workbench.errors import InputError
from workbench.formats.promptfoo.cases import Case, Suite, filled
from workbench.formats.promptfoo.notation import assertion_from, separated
from workbench.formats.shared.files import inside
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.scorers.regexes import checked_pattern


@dataclass(frozen=True)
class Kind:
    """One kind of assertion that a scorer can stand for.

    Attributes:
        scorer: the scorer's settings.
        one, many: what it is written as.
        joins: several of a test are one list; otherwise a list means any of its values, so there can be only one.
    """

    scorer: dict[str, Any]
    one: str
    many: str = ""
    joins: bool = False


def _contains(one: str, many: str, want: str, case: bool, joins: bool) -> Kind:
    ignore: dict[str, Any] = {"ignore": []} if case else {}
    wanted = {"want": want} if want != "all" else {}
    return Kind({"type": "contains", **wanted, **ignore}, one, many, joins)


KINDS = {
    "equals": Kind({"type": "exact"}, "equals"),
    "starts_with": Kind({"type": "exact", "match": "begins"}, "starts-with"),
    "ends_with": Kind({"type": "exact", "match": "ends"}, "ends-with"),
    "contains": _contains("contains", "contains-all", "all", case=True, joins=True),
    "icontains": _contains("icontains", "icontains-all", "all", case=False, joins=True),
    "contains_any": _contains("contains-any", "contains-any", "any", case=True, joins=False),
    "icontains_any": _contains("icontains-any", "icontains-any", "any", case=False, joins=False),
    "not_contains": _contains("not-contains", "not-contains-any", "none", case=True, joins=True),
    "not_icontains": _contains("not-icontains", "not-icontains-any", "none", case=False, joins=True),
    "regex": Kind({"type": "regex"}, "regex"),
    "not_regex": Kind({"type": "regex", "want": "none"}, "not-regex", joins=True),
    "rouge_n": Kind({"type": "rouge", "metric": "rouge1"}, "rouge-n"),
    "rouge_l": Kind({"type": "rouge", "metric": "rougeL"}, "rouge-l"),
}
SCHEMA = "is_json"  # the kind of what holds an answer against a JSON schema
GRADED = ("rouge_n", "rouge_l")  # their score is no 0 or 1; the assertion has a threshold of its own
_GRADED_THRESHOLD = 0.75  # promptfoo's default
_BY_TYPE = {kind.one: key for key, kind in KINDS.items()} | {k.many: key for key, k in KINDS.items() if k.many}
_JSON_TYPES = ("is-json", "contains-json")
_READ = {"type", "value", "threshold", "weight", "metric"}
_REASONS = {
    **dict.fromkeys(("javascript", "python", "ruby"), "it is a program, which is not run"),
    **dict.fromkeys(("select-best", "max-score"), "it compares answers of several models"),
    "assert-set": "a set of assertions is scored as one, which no scorer does",
    "webhook": "it asks a server",
    "similar": "it compares embeddings",
    "latency": "time is measured apart: limits.p95_latency_s",
    "cost": "cost is measured apart",
}
_JUDGED = ("llm-rubric", "factuality", "model-graded", "g-eval", "answer-relevance", "context-", "pi", "classifier")


@dataclass(frozen=True)
class Claim:
    """An assertion that can be carried over.

    Attributes:
        kind: of `KINDS`; or `SCHEMA`, whose value is the JSON schema.
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


def claims(case: Case, suite: Suite) -> tuple[dict[str, list[Claim]], list[Lost]]:
    """A test's assertions by kind, and those that are lost.

    Raises:
        InputError: one has no type.
    """
    kept: dict[str, list[Claim]] = {}
    lost: list[Lost] = []
    for place, given in case.asserts:
        assertion = assertion_from(given) if isinstance(given, str) else given
        if isinstance(assertion, dict) and "$ref" in assertion:
            lost.append(Lost(place, "$ref", "references are not followed; write the assertion out"))
            continue
        if not isinstance(assertion, dict) or not isinstance(assertion.get("type"), str):
            raise InputError(f"{place}: an assertion has no 'type'. Write one, such as {{type: contains, value: …}}.")
        try:
            claim = _claim(assertion, place, case, suite)
        except Unusable as failure:
            lost.append(Lost(place, assertion["type"], str(failure)))
            continue
        earlier = kept.setdefault(claim.kind, [])
        if earlier and not (claim.kind in KINDS and KINDS[claim.kind].joins):
            why = "a second one of this kind; both must hold, a list would mean either"
            lost.append(Lost(place, claim.type, why))
        else:
            earlier.append(claim)
    return kept, lost


def _claim(assertion: dict[str, Any], place: str, case: Case, suite: Suite) -> Claim:
    kind = assertion["type"]
    if kind not in _BY_TYPE and kind not in _JSON_TYPES:
        raise Unusable(_reason(kind))
    unknown = sorted(set(assertion) - _READ)
    if unknown:
        raise Unusable(f"it has '{unknown[0][:60]}', which nothing here does")
    weight = _real(assertion.get("weight", 1), 1000, "weight")
    value = _value(assertion.get("value"), case, suite)
    key, values = (SCHEMA, (_schema(value),)) if kind in _JSON_TYPES else _texts(kind, value)
    given = assertion.get("threshold", _GRADED_THRESHOLD)
    threshold = _real(given, 1, "threshold") if key in GRADED else None
    return Claim(place, kind, key, values, weight, str(assertion.get("metric") or ""), threshold)


def _real(value: Any, most: float, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Unusable(f"its {name} is no number from 0 to {most}")
    return float(value)


def _reason(kind: str) -> str:
    base = kind.removeprefix("not-").partition(":")[0]
    if kind.startswith("not-") and base in _BY_TYPE:
        return "its opposite has a scorer, this has none"
    return "it needs a model as a judge" if base.startswith(_JUDGED) else _REASONS.get(base, "no scorer does this")


def _value(value: Any, case: Case, suite: Suite) -> Any:
    if isinstance(value, str) and value.startswith("file://"):
        files = [path for path in inside(suite.root, value) if path.suffix.lower() in (".json", ".yaml", ".yml")]
        if not files:
            raise Unusable(f"its value is the file '{value[7:67]}', which is not there or not read")
        return suite.read(files[0]).data
    try:
        return filled(value, case.vars)
    except Unusable:
        raise Unusable("its value is a template that cannot be filled in") from None


def _texts(kind: str, value: Any) -> tuple[str, tuple[Any, ...]]:
    key = _BY_TYPE[kind]
    listed = KINDS[key].many == kind
    if listed and isinstance(value, str):
        value = separated(value)
    texts = [scalar_text(each) for each in (value if isinstance(value, list) and listed else [value])]
    if not texts or any(text is None or not text.strip() for text in texts):
        shape = "nothing" if value in (None, "", []) else f"a {type(value).__name__}"
        raise Unusable(f"its value is {shape}; a text is needed")
    for text in texts if key in ("regex", "not_regex") else ():
        try:
            checked_pattern(str(text))
        except ValueError:
            raise Unusable("its regular expression is of a dialect that is not read here") from None
    return key, tuple(texts)


def _schema(value: Any) -> dict[str, Any]:
    """A JSON schema that an eval set can have."""
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        schema = yaml.safe_load(value) if isinstance(value, str) else value
        if schema in (None, ""):
            raise Unusable("it names no JSON schema, and an eval set's JSON answers have one")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise Unusable("its JSON schema is not of an object (type: object)")
        jsonschema.Draft202012Validator.check_schema(schema)
        lookup = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver().lookup
        for name in _references(schema):
            if not name.startswith("#"):
                raise Unusable("its JSON schema refers to another file")
            lookup(name)
        found: dict[str, Any] = json.loads(json.dumps(schema, default=str))
        return found
    except (yaml.YAMLError, ValueError, jsonschema.SchemaError, Unresolvable, RecursionError):
        raise Unusable("its JSON schema is not a valid one") from None


def _references(schema: Any) -> Iterator[str]:
    parts = schema if isinstance(schema, list) else schema.values() if isinstance(schema, dict) else ()
    for part in parts:
        yield from _references(part)
    if isinstance(schema, dict):
        yield from (schema[key] for key in ("$ref", "$dynamicRef") if isinstance(schema.get(key), str))
