"""promptfoo's assertions, in long notation or in short: what they say as expectations, and back.

assertion = long_form("contains-any: cat, dog", "tests.csv:2")           # {'type': 'contains-any', 'value': 'cat, dog'}
read_assertion(assertion, {"text": "Miau"})                              # 'contains_any', ['cat', 'dog'], 1.0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from workbench.errors import InputError
from workbench.evalset import EvalSet
from workbench.evalset.schema import read_schema
from workbench.formats.shared.export import items_of
from workbench.formats.shared.kinds import CHECKS, nearest, texts_in, unscored, usable_pattern
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.structured import named
from workbench.formats.shared.templates import filled_in, raw
from workbench.scorers import FieldScorer, Scorer

SCHEMA = "is_json"
KINDS = {SCHEMA: {"type": "json_schema"}, **CHECKS}  # of assertions, by the name that its scorer gets
JOINED = ("contains", "icontains", "not_contains", "not_icontains", "not_regex")  # several of one kind are one list
WHOLE_TEXT = "(?s).+"  # with JSON answers, what the model said and not the object in it
_OF_ONE = {kind: kind.replace("_", "-") for kind in KINDS}  # the type of an assertion of one value, and of several
_OF_MANY = {
    **{"contains": "contains-all", "icontains": "icontains-all", "is_json": "contains-json"},
    **{"not_contains": "not-contains-any", "not_icontains": "not-icontains-any"},
    **{"contains_any": "contains-any", "icontains_any": "icontains-any"},
}
_BY_TYPE = {type_: kind for types in (_OF_ONE, _OF_MANY) for kind, type_ in types.items()}
_ANCHORS = {"equals": "^({})$", "starts_with": "^({})", "ends_with": "({})$", "regex": "{}"}
_NOTATION = re.compile(r"((?:not-)?)([a-z-]+(?:-f1)?)(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?", re.DOTALL)
_PART = re.compile(r'"((?:\\["\\]|""|\\(?!["\\])|[^"\\])*)"\s*(?:,|\Z)|(?!")([^,]*)')
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r'\\(["\\])|""')
_SHORT = {"fn": "javascript", "eval": "javascript", "grade": "llm-rubric"}


def long_form(given: Any, place: str) -> dict[str, Any]:
    """An assertion in long notation; a text that is none in short notation is what the answer must equal.

    Raises:
        InputError: it has no type.
    """
    if isinstance(given, str):
        match = _NOTATION.fullmatch(given.strip())
        opposite, name, threshold, value = match.groups() if match else ("", "", None, "")
        name = _SHORT.get(name, name)
        if f"{opposite}{name}" not in _BY_TYPE and name not in _BY_TYPE and not unscored(name, ""):
            return {"type": "equals", "value": given.strip()}
        more = {} if threshold is None else {"threshold": threshold}
        name, said = f"{opposite}{name}", (value or "").strip()
        parts = _separated(said) if _is_list(name) else None
        return {"type": name, "value": said if parts is None else parts, **more}
    assertion = given if isinstance(given, dict) else {}
    if not isinstance(type_ := "$ref" if "$ref" in assertion else assertion.get("type"), str):
        raise InputError(f"{place}: an assertion has no 'type'. Write one, such as {{type: contains, value: …}}.")
    return {**assertion, "type": type_}


def read_assertion(assertion: dict[str, Any], values: Mapping[str, Any]) -> tuple[str, list[Any], float]:
    """The kind, the values and the weight of an assertion in long notation.

    Args:
        values: the test's variables, which templates of the assertion may name.

    Raises:
        Unusable: no scorer does what it says.
    """
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
        return kind, [read_schema(value)] if kind == SCHEMA else _texts(kind, type_, value), float(weight)
    except ValueError as failure:
        raise Unusable(str(failure)) from None


def _is_list(type_: str) -> bool:
    """Whether an assertion of this type has a list of values."""
    kind = _BY_TYPE.get(type_, SCHEMA)
    return kind != SCHEMA and _OF_MANY.get(kind) == type_


def _texts(kind: str, type_: str, value: Any) -> list[str]:
    if isinstance(value, str) and _is_list(type_) and (value := _separated(value)) is None:
        raise Unusable("its value is a list whose quotes do not match")
    texts = texts_in(value if isinstance(value, list) and _is_list(type_) else [value], "its value")
    return [usable_pattern(text) if "regex" in kind else text for text in texts]


def _separated(text: str) -> list[str] | None:
    """The values of a list that is one text: commas part them; quotes hold one together, with "" or \\" for a quote.

    None where its quotes do not match.
    """
    found, place = list[str](), 0
    while (place := _GAP.match(text, place).end()) < len(text):  # type: ignore[union-attr]  # it matches everywhere
        part = _PART.match(text, place)
        if part is None:
            return None
        found.append(part[2].strip() if part[1] is None else _ESCAPED.sub(lambda mark: mark[1] or '"', part[1]))
        place = part.end()
    return found


def kind_of(evalset: EvalSet, scorer: Scorer, lose: Callable[[str], None]) -> str | None:
    """The kind of assertion that says what a scorer does, or nearly; how it differs, or that there is none, is lost."""
    about, items = f"scorer '{scorer.name or scorer.type}'", items_of(evalset, scorer)
    kind, more = ("equals", frozenset[str]()) if scorer.type == "label" else nearest(scorer, KINDS)
    if kind == SCHEMA:
        return None  # all tests share it
    said = getattr(scorer, "field", None) is None and getattr(scorer, "extract", None) in (None, WHOLE_TEXT)
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


def assertions_of(scorer: FieldScorer, kind: str, expectations: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
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


def schema_assertion(evalset: EvalSet, alone: bool, lose: Callable[[str], None]) -> dict[str, Any]:
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
