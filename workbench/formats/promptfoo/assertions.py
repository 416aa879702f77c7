"""Assertions on an answer, as promptfoo writes them in long and in short notation, as scorers of ours; and back.

claim = read_assertion("icontains-all:hi, you", {}, "tests.csv:2", load)    # Claim(kind='icontains', values=('hi', …
both = Assertions([[claim]])             # goes through the assertions of all tests
both.scorers()                           # [{'type': 'contains', 'name': 'icontains', …}]
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import yaml

from workbench.errors import InputError
from workbench.evalset.schema import schema_problem
from workbench.formats.promptfoo.prompts import filled_in, raw
from workbench.formats.shared.kinds import nearest, unscored, usable_pattern
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.scorers import FieldScorer, Scorer

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
}
SCHEMA = "is_json"
_SCORERS_OF = {kind: scorer for kind, (scorer, _, _) in KINDS.items()}
_JOINED = ("contains", "icontains", "not_contains", "not_icontains", "not_regex")  # several of one kind are one list
_BY_TYPE = {type_: kind for kind, (_, *types) in KINDS.items() for type_ in types if type_}
_ANCHORS = {"equals": "^({})$", "starts_with": "^({})", "ends_with": "({})$"}
_SEVERAL = "several accepted answers are written as a regular expression"
_WHOLE_TEXT = "(?s).+"  # with JSON answers, what the model said and not the object in it
_OTHERS = (
    "agent-rubric|answer-relevance|bleu|classifier|contains-html|contains-sql|contains-xml|context-faithfulness|"
    "context-recall|context-relevance|conversation-relevance|cost|factuality|finish-reason|g-eval|gleu|guardrails|"
    "is-html|is-refusal|is-sql|is-valid-function-call|is-valid-openai-function-call|is-valid-openai-tools-call|is-xml|"
    "javascript|latency|levenshtein|llm-rubric|meteor|model-graded-closedqa|model-graded-factuality|moderation|"
    "perplexity|perplexity-score|pi|python|rouge-n|rouge-l|rouge-s|ruby|search-rubric|similar|skill-used|tool-call-f1|"
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
    lost: str = ""


class Assertions:
    """What tests assert together: a scorer for each kind, and the JSON schema that all of them share, if they do."""

    def __init__(self, tests: Iterable[list[Claim]]) -> None:
        self.schema: dict[str, Any] | None = None
        self._weights: dict[str, float] = {}  # of the first assertion of a kind
        self._lost: Counter[str] = Counter()
        self._read = 0
        schemas: list[Any] = []
        for claims in tests:
            carried = [claim for claim in claims if not claim.lost]
            for claim in carried:
                self._weights.setdefault(claim.kind, claim.weight)
            schema = next((claim.values[0] for claim in carried if claim.kind == SCHEMA), None)
            if carried and schema not in schemas and len(schemas) < 2:
                schemas.append(schema)
        if len(schemas) == 1:
            self.schema = schemas[0]

    def carried(self, claims: list[Claim], ledger: Ledger) -> dict[str, Any] | None:
        """What a test expects, by kind; None where nothing of it can be carried over. The rest is lost."""
        found: dict[str, list[Any]] = {}
        losses = [self._loss(claim, found) for claim in claims]
        if not any(self._weights[kind] for kind in found):
            losses = [lost or "the test has none with a weight above 0" for lost in losses]
        for claim, lost in zip(claims, losses, strict=True):
            if lost:
                self._lost[claim.type] += 1
                ledger.add(claim.place, f"assertion '{claim.type[:60]}' is left out: {lost}")
                continue
            if claim.weight != self._weights[claim.kind]:
                what = f"weight {claim.weight:g} of '{claim.type}'"
                ledger.tally(claim.place, f"{what}: its scorer has one weight, {self._weights[claim.kind]:g}")
            if claim.metric:
                ledger.tally(claim.place, f"metric name '{claim.metric[:60]}' of '{claim.type}'")
        self._read += len(claims)
        expected = {kind: values[0] if len(values) == 1 else values for kind, values in found.items() if kind != SCHEMA}
        return None if all(losses) else expected

    def _loss(self, claim: Claim, found: dict[str, list[Any]]) -> str:
        """Why an assertion is lost; else it is added to what was found before."""
        if claim.lost:
            return claim.lost
        if claim.kind == SCHEMA and self.schema is None:
            return "an eval set has one JSON schema, and not all tests have this one"
        if claim.kind in found and claim.kind not in _JOINED:
            return "a second one of this kind; both must hold, a list would mean either"
        found.setdefault(claim.kind, []).extend(claim.values)
        return ""

    def scorers(self) -> list[dict[str, Any]]:
        """A scorer for each kind, for the items that have one."""
        found = []
        for kind in KINDS:
            if kind in self._weights and (kind != SCHEMA or self.schema):
                weight = {} if self._weights[kind] == 1 else {"weight": self._weights[kind]}
                said = {"extract": _WHOLE_TEXT} if self.schema else {}
                key = {} if kind == SCHEMA else {"key": kind, **said, "optional": True}
                found.append({**_SCORERS_OF[kind], "name": kind, **weight, **key})
        return found

    def notes(self) -> list[str]:
        """What was made of the assertions."""
        types = ", ".join(f"{type_[:40]} {number}" for type_, number in self._lost.most_common(12))
        lost = [f"{self._lost.total()} of {self._read} assertions are not carried over: {types}"] if types else []
        kinds = ", ".join(scorer["name"] for scorer in self.scorers())
        return [*lost, f"each kind of assertion is a scorer, for the items that have one: {kinds}"]


def read_assertion(given: Any, values: Mapping[str, Any], place: str, load: Callable[[str], Any]) -> Claim:
    """What an assertion says.

    Args:
        values: the test's variables, which its templates name.
        load: reads a JSON or YAML file that it names.

    Raises:
        InputError: it has no type.
    """
    assertion = _from_notation(given) if isinstance(given, str) else given
    if isinstance(assertion, dict) and "$ref" in assertion:
        assertion = {"type": "$ref"}
    if not isinstance(assertion, dict) or not isinstance(assertion.get("type"), str):
        raise InputError(f"{place}: an assertion has no 'type'. Write one, such as {{type: contains, value: …}}.")
    try:
        return _claim(assertion, values, place, load)
    except Unusable as failure:
        return Claim(place, assertion["type"], lost=str(failure))


def _claim(assertion: dict[str, Any], values: Mapping[str, Any], place: str, load: Callable[[str], Any]) -> Claim:
    type_, value, weight = assertion["type"], assertion.get("value"), assertion.get("weight", 1)
    kind = _BY_TYPE.get(type_)
    if kind is None:
        base = type_.removeprefix("not-").partition(":")[0]
        opposite = type_.startswith("not-") and base in _BY_TYPE
        raise Unusable("its opposite has a scorer, this has none" if opposite else unscored(base))
    unknown = next((key for key in assertion if key not in ("type", "value", "weight", "metric")), None)
    if unknown:
        raise Unusable(f"it has '{unknown[:60]}', which nothing here does")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1000:
        raise Unusable("its weight is no number from 0 to 1000")
    if isinstance(value, str) and value.startswith("file://"):
        value = load(value)
    else:
        try:
            value = filled_in(value, values)
        except Unusable:
            raise Unusable("its value is a template that cannot be filled in") from None
    wanted = (_usable_schema(value),) if kind == SCHEMA else _texts(kind, type_, value)
    return Claim(place, type_, kind, wanted, float(weight), str(assertion.get("metric") or ""))


def _texts(kind: str, type_: str, value: Any) -> tuple[str, ...]:
    listed = KINDS[kind][2] == type_
    value = _separated(value) if listed and isinstance(value, str) else value
    texts = [scalar_text(each) for each in (value if isinstance(value, list) and listed else [value])]
    if not texts or any(text is None or not text.strip() for text in texts):
        shape = "nothing" if value in (None, "", []) else f"a {type(value).__name__}"
        raise Unusable(f"its value is {shape}; a text is needed")
    return tuple(usable_pattern(text) if "regex" in kind else str(text) for text in texts)


def _usable_schema(given: Any) -> dict[str, Any]:
    """A JSON schema that an eval set can have; it may be JSON or YAML as a text."""
    try:
        given = yaml.safe_load(given) if isinstance(given, str) else given
        text = json.dumps(given, default=str)
        problem = _schema_problem(text) if given else "it names no JSON schema, and an eval set's JSON answers have one"
    except (yaml.YAMLError, ValueError, RecursionError):
        problem = "its JSON schema is not valid YAML"
    if problem:
        raise Unusable(problem.rstrip("."))
    schema: dict[str, Any] = json.loads(text)
    return schema


@lru_cache(maxsize=64)
def _schema_problem(text: str) -> str | None:
    problem = schema_problem(json.loads(text))
    return problem and f"its JSON schema: {problem}"


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


def kind_for(scorer: Scorer, lose: Callable[[str], None]) -> str | None:
    """The kind of assertion that says what a scorer does, or nearly; how it differs, or that there is none, is lost."""
    name = scorer.name or scorer.type
    kind, more = ("equals", frozenset[str]()) if scorer.type == "label" else nearest(scorer, _SCORERS_OF)
    if kind == SCHEMA:
        return None  # all tests share it
    said = getattr(scorer, "field", None) is None and getattr(scorer, "extract", None) in (None, _WHOLE_TEXT)
    if kind is None or not said or not isinstance(scorer, FieldScorer):
        lose(f"scorer '{name}' has no assertion: its expectations are in the metadata")
        return None
    if scorer.type == "label":
        lose(f"scorer '{name}': written as 'equals', where case and aliases count")
    elif more:
        lose(f"scorer '{name}': {', '.join(sorted(more))} count in promptfoo")
    if scorer.name not in (None, kind):
        lose(f"scorer '{name}': there its name is '{kind}'")
    return kind


def assertions_of(scorer: FieldScorer, kind: str, expectations: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The assertions that say what a scorer expects of an item, and what of that gets lost."""
    given = getattr(scorer, "pattern", None)
    values = scorer.accepted(expectations) if given is None else [given]
    texts = [text for text in map(scalar_text, values) if text is not None]
    if len(texts) < len(values):
        return [], "an expected value is no text"
    _, one, many = KINDS[kind]
    more = {} if scorer.weight == 1 else {"weight": scorer.weight}
    if len(texts) > 1 and (kind in _ANCHORS or kind == "regex"):
        parts = "|".join(f"(?:{text})" if kind == "regex" else re.escape(text) for text in texts)
        return [{"type": "regex", "value": raw(_ANCHORS.get(kind, "{}").format(parts)), **more}], _SEVERAL
    if many and (len(texts) > 1 or one == many):
        return [{"type": many, "value": raw(texts), **more}], ""
    return [{"type": one, "value": raw(text), **more} for text in texts], ""
