"""Assertions as promptfoo writes them, in long and in short notation, as scorers; and why one cannot be carried over.

claims_of(case, suite)          # [Claim(place='tests.csv:2 __expected', type='icontains', values=('hi',), …)]
SCORERS_OF["icontains"]         # {'type': 'contains'}
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from workbench.errors import InputError
from workbench.formats.shared.files import inside
from workbench.formats.shared.kinds import nearest
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.suites import Case, Suite
from workbench.formats.shared.templates import filled_in, is_template
from workbench.scorers import FieldScorer, Scorer
from workbench.scorers.regexes import checked_pattern

# By kind the scorer that stands for it, and the types of assertion that it is written as: of one value, of several.
KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "is_json": ({"type": "json_schema"}, "is-json", "contains-json"),
    "equals": ({"type": "exact"}, "equals", ""),
    "starts_with": ({"type": "exact", "match": "begins"}, "starts-with", ""),
    "ends_with": ({"type": "exact", "match": "ends"}, "ends-with", ""),
    "contains": ({"type": "contains", "ignore": []}, "contains", "contains-all"),
    "icontains": ({"type": "contains"}, "icontains", "icontains-all"),
    "contains_any": ({"type": "contains", "want": "any", "ignore": []}, "contains-any", "contains-any"),
    "icontains_any": ({"type": "contains", "want": "any"}, "icontains-any", "icontains-any"),
    "not_contains": ({"type": "contains", "want": "none", "ignore": []}, "not-contains", "not-contains-any"),
    "not_icontains": ({"type": "contains", "want": "none"}, "not-icontains", "not-icontains-any"),
    "regex": ({"type": "regex"}, "regex", ""),
    "not_regex": ({"type": "regex", "want": "none"}, "not-regex", ""),
    "rouge_n": ({"type": "rouge", "metric": "rouge1"}, "rouge-n", ""),
    "rouge_l": ({"type": "rouge", "metric": "rougeL"}, "rouge-l", ""),
}
SCHEMA = "is_json"
SCORERS_OF = {kind: scorer for kind, (scorer, _, _) in KINDS.items()}
_BY_TYPE = {type_: kind for kind, (_, *types) in KINDS.items() for type_ in types if type_}
# Several of these are one list; for the others a list means any of its values, so a test can have only one.
_JOINED = ("contains", "icontains", "not_contains", "not_icontains", "not_regex")
GRADED = {"rouge_n": 0.75, "rouge_l": 0.75}  # their score is no 0 or 1; an assertion has a threshold, or this one
_ANCHORS = {"equals": "^({})$", "starts_with": "^({})", "ends_with": "({})$", "regex": "{}"}
WHOLE_TEXT = "(?s).+"  # with JSON answers, what the model said and not the object in it
_REASONS = {
    **dict.fromkeys(("javascript", "python", "ruby"), "it is a program, which is not run"),
    **dict.fromkeys(("select-best", "max-score"), "it compares answers of several models"),
    **{"assert-set": "a set of assertions is scored as one, which no scorer does", "webhook": "it asks a server"},
    **{"similar": "it compares embeddings", "latency": "time is measured apart: limits.p95_latency_s"},
    **{"cost": "cost is measured apart", "$ref": "references are not followed; write the assertion out"},
}
_JUDGED = ("llm-rubric", "factuality", "model-graded", "g-eval", "answer-relevance", "context-", "pi", "classifier")
_OTHERS = (
    "agent-rubric|answer-relevance|bleu|classifier|contains-html|contains-sql|contains-xml|context-faithfulness|"
    "context-recall|context-relevance|conversation-relevance|cost|factuality|finish-reason|g-eval|gleu|guardrails|"
    "is-html|is-refusal|is-sql|is-valid-function-call|is-valid-openai-function-call|is-valid-openai-tools-call|is-xml|"
    "javascript|latency|levenshtein|llm-rubric|meteor|model-graded-closedqa|model-graded-factuality|moderation|"
    "perplexity|perplexity-score|pi|python|rouge-s|ruby|search-rubric|similar|skill-used|tool-call-f1|"
    "trace-error-spans|trace-span-count|trace-span-duration|trajectory:goal-success|trajectory:step-count|"
    "trajectory:tool-args-match|trajectory:tool-sequence|trajectory:tool-used|webhook|word-count"
)
_NOTATION = re.compile(rf"((?:not-)?(?:{'|'.join(_BY_TYPE)}|{_OTHERS}))(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?", re.DOTALL)
_PROGRAMS = {
    "javascript": re.compile(r"(?:javascript|fn|eval):|file://.*\.(?:js|ts|mjs|cjs)(?::|$)", re.DOTALL),
    "python": re.compile(r"python:|file://.*\.py(?::|$)", re.DOTALL),
    "llm-rubric": re.compile(r"grade:"),
}


class Claim(NamedTuple):
    """An assertion: what the answer is held against, or why (`lost`) it cannot be carried over."""

    place: str
    type: str
    kind: str = ""
    values: tuple[Any, ...] = ()
    weight: float = 1.0
    metric: str = ""
    threshold: float = 1.0
    lost: str = ""


def claims_of(case: Case, suite: Suite) -> list[Claim]:
    """A test's assertions.

    Raises:
        InputError: one has no type.
    """
    found: list[Claim] = []
    for place, given in case.asserts:
        assertion = _from_notation(given) if isinstance(given, str) else given
        if isinstance(assertion, dict) and "$ref" in assertion:
            assertion = {"type": "$ref"}
        if not isinstance(assertion, dict) or not isinstance(assertion.get("type"), str):
            raise InputError(f"{place}: an assertion has no 'type'. Write one, such as {{type: contains, value: …}}.")
        try:
            claim = _claim(assertion, place, case, suite)
            if claim.kind not in _JOINED and any(claim.kind == other.kind for other in found):
                raise Unusable("a second one of this kind; both must hold, a list would mean either")
        except Unusable as failure:
            claim = Claim(place, assertion["type"], lost=str(failure))
        found.append(claim)
    return found


def _claim(assertion: dict[str, Any], place: str, case: Case, suite: Suite) -> Claim:
    type_, value = assertion["type"], assertion.get("value")
    kind = _BY_TYPE.get(type_)
    if kind is None:
        raise Unusable(_why_not(type_))
    unknown = next((key for key in assertion if key not in ("type", "value", "threshold", "weight", "metric")), None)
    if unknown:
        raise Unusable(f"it has '{unknown[:60]}', which nothing here does")
    weight = _real(assertion.get("weight", 1), 1000, "weight")
    threshold = _real(assertion.get("threshold", GRADED[kind]), 1, "threshold") if kind in GRADED else 1.0
    if isinstance(value, str) and value.startswith("file://"):
        files = [path for path in inside(suite.root, value) if path.suffix.lower() in (".json", ".yaml", ".yml")]
        if not files:
            raise Unusable(f"its value is the file '{value[7:67]}', which is not there or not read")
        value = suite.read(files[0]).data
    else:
        try:
            value = filled_in(value, case.vars)
        except Unusable:
            raise Unusable("its value is a template that cannot be filled in") from None
    values = (_usable_schema(value),) if kind == SCHEMA else _texts(kind, type_, value)
    return Claim(place, type_, kind, values, weight, str(assertion.get("metric") or ""), threshold)


def _why_not(type_: str) -> str:
    base = type_.removeprefix("not-").partition(":")[0]
    if type_.startswith("not-") and base in _BY_TYPE:
        return "its opposite has a scorer, this has none"
    return "it needs a model as a judge" if base.startswith(_JUDGED) else _REASONS.get(base, "no scorer does this")


def _real(value: Any, most: float, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Unusable(f"its {name} is no number from 0 to {most}")
    return float(value)


def _texts(kind: str, type_: str, value: Any) -> tuple[str, ...]:
    listed = KINDS[kind][2] == type_
    value = _separated(value) if listed and isinstance(value, str) else value
    texts = [scalar_text(each) for each in (value if isinstance(value, list) and listed else [value])]
    if not texts or any(text is None or not text.strip() for text in texts):
        shape = "nothing" if value in (None, "", []) else f"a {type(value).__name__}"
        raise Unusable(f"its value is {shape}; a text is needed")
    try:
        return tuple(checked_pattern(str(text)) if "regex" in kind else str(text) for text in texts)
    except ValueError:
        raise Unusable("its regular expression is of a dialect that is not read here") from None


def _usable_schema(schema: Any) -> dict[str, Any]:
    """A JSON schema that an eval set can have; it may be JSON or YAML as a text.

    Raises:
        Unusable: it is none, or not of an object, or leads elsewhere.
    """
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        schema = yaml.safe_load(schema) if isinstance(schema, str) else schema
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unusable("its JSON schema is not a valid one") from None
    if schema in (None, ""):
        raise Unusable("it names no JSON schema, and an eval set's JSON answers have one")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Unusable("its JSON schema is not of an object (type: object)")
    references = list(_references(schema))
    if not all(name.startswith("#") for name in references):
        raise Unusable("its JSON schema refers to another file")
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        lookup = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver().lookup
        for name in references:
            lookup(name)
        found: dict[str, Any] = json.loads(json.dumps(schema, default=str))
        return found
    except (ValueError, jsonschema.SchemaError, Unresolvable, RecursionError):
        raise Unusable("its JSON schema is not a valid one") from None


def _references(schema: Any) -> Iterator[str]:
    parts = schema if isinstance(schema, list) else schema.values() if isinstance(schema, dict) else ()
    for part in parts:
        yield from _references(part)
    if isinstance(schema, dict):
        yield from (schema[key] for key in ("$ref", "$dynamicRef") if isinstance(schema.get(key), str))


def _from_notation(text: str) -> dict[str, Any]:
    """An assertion in short notation, such as `icontains:hi`; any other text is what the answer must equal."""
    text = text.strip()
    for type_, pattern in _PROGRAMS.items():
        if pattern.match(text):
            return {"type": type_, "value": text}
    match = _NOTATION.fullmatch(text)
    if match is None:
        return {"type": "equals", "value": text}
    type_, threshold, value = match.groups()
    return {"type": type_, "value": (value or "").strip()} | ({"threshold": float(threshold)} if threshold else {})


def _separated(text: str) -> list[str]:
    """The values of a list in short notation: commas part them, quotes hold one together."""
    try:
        cells = next(csv.reader([text.replace("\n", " ")], skipinitialspace=True), [])
    except csv.Error:
        cells = text.split(",")
    return [cell.strip() for cell in cells if cell.strip()]


def nearest_kind(scorer: Scorer, lose: Callable[[str], None]) -> str | None:
    """The kind of assertion that says what a scorer does, or nearly; how it differs is lost."""
    name = scorer.name or scorer.type
    kind, more = ("equals", frozenset[str]()) if scorer.type == "label" else nearest(scorer, SCORERS_OF)
    if getattr(scorer, "field", None) or getattr(scorer, "extract", None) not in (None, WHOLE_TEXT):
        return None
    if scorer.type == "label":
        lose(f"scorer '{name}': written as 'equals', where case and aliases count")
    elif kind and more:
        lose(f"scorer '{name}': {', '.join(sorted(more))} count in promptfoo")
    if kind and scorer.name not in (None, kind):
        lose(f"scorer '{name}': there its name is '{kind}'")
    return kind


def assertions_of(
    scorer: Scorer, kind: str | None, expectations: dict[str, Any], bar: float, lose: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The assertions that say what a scorer expects of an item; none, and a loss, where none does.

    Args:
        bar: the threshold of a graded one.
    """
    name = scorer.name or scorer.type
    if kind is None or not isinstance(scorer, FieldScorer):
        lose(f"scorer '{name}' has no assertion: its expectations are in the metadata")
        return []
    pattern = getattr(scorer, "pattern", None)
    values = scorer.accepted(expectations) if pattern is None else [pattern]
    texts = [text for text in map(scalar_text, values) if text is not None]
    if len(texts) < len(values) or (len(texts) > 1 and kind in GRADED):
        lose(f"scorer '{name}': several references, or none that is a text")
        return []
    _, one, many = KINDS[kind]
    more = {**({"threshold": bar} if kind in GRADED else {}), **weight_of(scorer)}
    try:
        if len(texts) > 1 and kind in _ANCHORS:
            parts = [f"(?:{text})" if kind == "regex" else re.escape(text) for text in texts]
            either = literal(_ANCHORS[kind].format("|".join(parts)))
            lose(f"scorer '{name}': several accepted answers are written as a regular expression")
            return [{"type": "regex", "value": either, **more}]
        if many and (len(texts) > 1 or one == many):
            return [{"type": many, "value": literal(texts), **more}]
        return [{"type": one, "value": literal(text), **more} for text in texts]
    except Unusable as failure:
        lose(f"scorer '{name}': {failure}")
        return []


def weight_of(scorer: Scorer) -> dict[str, Any]:
    """A scorer's weight as an assertion has it."""
    return {} if scorer.weight == 1 else {"weight": scorer.weight}


def literal(value: Any) -> Any:
    """A value whose texts promptfoo takes as they are, not as templates or names of files.

    Raises:
        Unusable: a text cannot be marked so.
    """
    if isinstance(value, list):
        return [literal(each) for each in value]
    if isinstance(value, dict):
        return {key: literal(each) for key, each in value.items()}
    if not isinstance(value, str) or not (is_template(value) or value.startswith("file://")):
        return value
    if "endraw" in value:
        raise Unusable("a text with a template that ends a raw block: promptfoo would fill it in")
    return f"{{% raw %}}{value}{{% endraw %}}"
