"""From what a table's answers are to an output format, a scorer, and expectations in the form that it reads.

form = answer_form({"answer": values}, named=False)      # values: see _values
form.spec, form.expectations({"answer": "Yes"})          # {'output': {'labels': ['Yes', 'No']}, …}, {'label': 'Yes'}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError
from workbench.formats.table.values import Values, is_empty
from workbench.formats.base import cell_value
from workbench.scorers.base import SCORERS, FieldScorer, as_scorer
from workbench.scorers.values import number, plain

_LABELS = 100  # at most; more of them are no classes
_REPEATS = 3  # items for each label, on average, or they are no labels either
_ENUM, _ENUM_REPEATS, _ENUM_LENGTH = 20, 5, 40  # the same for a field of a JSON answer, where a list gives more away
_LONG_WORDS = 8  # words of an answer, on average, from which on it is compared by overlap
_FIELD_LENGTH = 120
_CODES = 10  # whole numbers up to here that repeat are grades or classes, not quantities
_LISTED_LABELS = 6000  # characters of labels that a made-up prompt may hold
_PARTIAL = 0.8
_PLURAL = re.compile(r"(?:^|_)(?:labels|tags|categories|topics|classes|emotions|intents|genres)$")
_MONEY = re.compile(r"total|amount|price|cost|fee|tax|vat|balance|salary|payment|discount|revenue", re.IGNORECASE)
# What stands around a label is no part of it when an answer is read.
_AROUND = " \t\n\"'`*_.:;,()[]{}"
# For judges and retrieval: none of our scorers reads it.
UNREAD = frozenset(
    {"expected_facts", "guidelines", "expected_retrieved_context", "retrieved_context", "reference_contexts", "context"}
)
_MAIN = ("expected_response", "answer", "label", "labels", "answers", "expected_output", "reference", "target")
Expect = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass
class AnswerForm:
    """How the answers of a table are asked for and scored.

    Attributes:
        spec: output, scorers and accept of evalset.yaml.
        schema: of JSON answers.
        note: what was chosen, and why.
        ask: a sentence for a prompt that says what an answer looks like.
        unread: expectations that no scorer reads.
        labels: the classes, where answers are one of some.
    """

    spec: dict[str, Any]
    expect: Expect
    note: str
    schema: dict[str, Any] | None = None
    ask: str | None = None
    unread: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def expectations(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """An item's expectations; None where it has no answer that can be scored."""
        found = self.expect(raw)
        if found is None:
            return None
        return found | {name: raw[name] for name in self.unread if not is_empty(raw.get(name))}


def answer_form(
    found: dict[str, Values], *, text_only: bool = False, named: bool = True, scorer: str | None = None
) -> AnswerForm:
    """Choose how answers are scored.

    Args:
        found: the expectations' values by name.
        text_only: they come from cells that can hold text only, so a number is one that looks like it.
        named: the names are the source's own and stay; else the one answer gets the name that its scorer looks for.
        scorer: the type that the user wants.

    Raises:
        InputError: there is none that could be scored, or no such scorer.
    """
    scored = {name: values for name, values in found.items() if name not in UNREAD and values.filled}
    if not scored:
        raise InputError(f"nothing that a scorer reads is expected: {', '.join(found) or 'no answers'}.")
    if len(scored) > 1:  # a field may be null throughout
        scored = {name: values for name, values in found.items() if name not in UNREAD}
    main = next((name for name in _MAIN if name in scored), None)
    rest = {name: values for name, values in scored.items() if name != main}
    if main and (main == "expected_response" or scorer or not all(map(_is_field, rest.values()))):
        scored = {main: scored[main]}
    if len(scored) > 1:
        form = _fields_form(
            scored, lambda raw: raw if any(not is_empty(raw.get(name)) for name in scored) else None, text_only
        )
    else:
        name, values = next(iter(scored.items()))
        form = _one(name, values, text_only, named, scorer)
    form.unread = tuple(name for name in found if name not in scored)
    return form


def _is_field(values: Values) -> bool:
    return values.scalars.longest <= _FIELD_LENGTH


def _one(name: str, values: Values, text_only: bool, named: bool, scorer: str | None) -> AnswerForm:
    if values.objects_only and set(values.fields) == {"text", "answer_start"}:  # SQuAD's
        inner = _one(name, values.fields["text"], text_only, named, scorer)
        inner.note += "; answer_start, where an answer stands in the text, is not used"
        texts = inner.expect
        inner.expect = lambda raw: texts({name: raw[name]["text"]} if isinstance(raw.get(name), dict) else {})
        return inner
    if values.objects_only and not values.wide and scorer in (None, "json_fields"):

        def parts(raw: dict[str, Any]) -> dict[str, Any] | None:
            value = raw.get(name)
            value = cell_value(value) if isinstance(value, str) else value
            return value if isinstance(value, dict) else None

        return _fields_form(values.fields, parts, text_only=False)
    return _value_form(name, values, named, scorer)


# A single value: a label, a number, text.


@dataclass
class _Choice:
    """A scorer for single values, and what goes with it."""

    type: str
    why: str
    ask: str | None = None
    settings: dict[str, Any] | None = None
    labels: tuple[str, ...] = ()
    convert: Callable[[Any], Any] = lambda value: value
    accept: float = 1


def _value_form(name: str, values: Values, named: bool, scorer: str | None) -> AnswerForm:
    choice = _chosen(name, values) if scorer is None else _wanted(scorer, values)
    default = _default_key(choice.type)
    key = name if named else default
    spec = {"type": choice.type, **({} if key == default else {"key": key}), **(choice.settings or {})}

    def expect(raw: dict[str, Any]) -> dict[str, Any] | None:
        value = raw.get(name)
        value = cell_value(value) if isinstance(value, str) else value
        if isinstance(value, list) and choice.type not in ("multi_label", "set_f1"):
            several = [choice.convert(_scalar(each)) for each in value if not is_empty(each)]
            return {key: several} if several else None
        if is_empty(value):
            return None
        return {key: choice.convert(_scalar(value) if isinstance(value, dict) else value)}

    if values.entries is not None and choice.type not in ("multi_label", "set_f1"):
        choice.why += "; of several answers in a list any one is right"
    return AnswerForm(
        {
            "output": {"labels": list(choice.labels)} if choice.labels else {"text": True},
            "scorers": [spec],
            "accept": {"min_score": choice.accept},
        },
        expect,
        f"answers are scored by {choice.type}, accepted from {choice.accept:g}: {choice.why}",
        ask=choice.ask,
        labels=choice.labels,
    )


def _scalar(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _default_key(scorer: str) -> str:
    if scorer in ("label", "multi_label", "regex"):
        return {"label": "label", "multi_label": "labels", "regex": "pattern"}[scorer]
    cls = as_scorer(SCORERS.find(scorer))
    if issubclass(cls, FieldScorer):
        return "answer"
    about = cls.model_fields.get("key")
    return about.default if about is not None and isinstance(about.default, str) else "answer"


def _wanted(scorer: str, values: Values) -> _Choice:
    why = "as it was asked for"
    if scorer == "label":
        found = _label_choice(values.scalars, min_count=0)
        return _Choice("label", why, found.ask, None, found.labels, found.convert) if found else _Choice("label", why)
    if scorer in ("numeric", "multi_label", "set_f1"):
        return _Choice(scorer, why)
    return _Choice(scorer, why, accept=0.5 if scorer == "rouge" else 1, convert=_as_text)


def _chosen(name: str, values: Values) -> _Choice:
    single = values.scalars
    plural = _PLURAL.search(name.casefold()) is not None and values.lists_only
    # What the source declares comes before any guess.
    if values.names and not plural:
        return _declared(values.names)
    return (
        (_joined(values, single, plural) if values.entries is None or plural else None)
        or _yes_no(single)
        or (None if _is_quantity(single) else _label_choice(single, _REPEATS))
        or _measured(single)
        or _text(single)
    )


def _declared(names: list[str]) -> _Choice:
    labels = tuple(dict.fromkeys(names))
    if len(labels) < 2 or len(labels) > 1000 or _collide(list(labels)):
        return _Choice("exact", "the source declares its labels", settings={"ignore": ["case"]})
    return _Choice("label", f"the source declares {len(labels)} labels", _one_of(labels), None, labels)


def _groups(spellings: dict[str, int] | None) -> dict[str, str]:
    """By what makes a label, case and spaces aside, its most frequent spelling."""
    groups: dict[str, tuple[int, str]] = {}
    for spelling, count in (spellings or {}).items():
        groups[plain(spelling)] = max(groups.get(plain(spelling), (0, "")), (count, spelling))
    return {key: spelling for key, (_, spelling) in groups.items()}


def _collide(labels: list[str]) -> bool:
    bare = [label.strip(_AROUND).casefold() for label in labels]
    return "" in bare or len(set(bare)) < len(bare)


def _yes_no(single: Values) -> _Choice | None:
    said = {spelling.casefold() for spelling in single.spellings or {}}
    pairs = [pair for pair in (("yes", "no"), ("true", "false")) if said and said <= set(pair)]
    if not pairs or set(single.kinds) - {"text", "boolean"}:
        return None
    pair = ("yes", "no") if single.kinds["boolean"] else pairs[0]
    first = next(iter(single.spellings or {}))
    style = str.title if first.istitle() else str.upper if first.isupper() else str.lower
    labels = tuple(map(style, pair))

    def convert(value: Any) -> str:
        return labels[str(value).strip().casefold() in ("no", "false")]

    why = "all answers are yes or no" if pair[0] == "yes" else "all answers are true or false"
    return _Choice("label", why, _one_of(labels), None, labels, convert)


def _is_quantity(single: Values) -> bool:
    """Whether answers are numbers and no grades: a set of numbers that happen to repeat is no set of classes."""
    if not _all_numbers(single):
        return False
    values = [number(spelling) for spelling in single.spellings or {}]
    whole = single.spellings is not None and single.integers == single.filled
    return not (whole and all(value is not None and abs(value) <= _CODES for value in values))


def _all_numbers(single: Values) -> bool:
    kinds = set(single.kinds)
    return kinds == {"number"} or (kinds in ({"text"}, {"text", "number"}) and "number" in single.looks)


def _label_choice(single: Values, min_count: int) -> _Choice | None:
    groups = _groups(single.spellings)
    enough = single.filled >= min_count * len(groups)
    if not 2 <= len(groups) <= _LABELS or not enough or single.kinds["nested"] or _collide(list(groups.values())):
        return None
    labels = tuple(sorted(groups.values(), key=lambda label: (number(label) is None, number(label) or 0, plain(label))))

    def convert(value: Any) -> str:
        text = json.dumps(value) if isinstance(value, bool | int | float) else str(value)
        return groups.get(plain(text), text)

    why = f"{single.filled} answers are one of {len(labels)} that repeat"
    if len(groups) < len(single.spellings or {}):
        why += " (spellings that differ only in case or spaces are one label)"
    return _Choice("label", why, _one_of(labels), None, labels, convert)


def _one_of(labels: tuple[str, ...]) -> str | None:
    if sum(map(len, labels)) > _LISTED_LABELS:
        return None
    if len(labels) > 12:
        return "Answer with one of these only:\n" + "\n".join(labels)
    return f"Answer with one of these only: {', '.join(labels)}"


def _joined(values: Values, single: Values, plural: bool) -> _Choice | None:
    """Several labels at once: joined by ';' in a cell, or a list in a column that is called by a plural."""
    parts = values.entries.spellings if plural and values.entries else single.parts
    count = sum((parts or {}).values())
    groups = _groups(parts)
    if (
        not (single.joined or plural)
        or set(single.kinds) != {"text"}
        or not 2 <= len(groups) <= _LABELS
        or count < _REPEATS * len(groups)
    ):
        return None
    listed = tuple(sorted(groups.values(), key=plain))
    ask = f'Answer with all of these that apply, separated by ";": {", ".join(listed)}'
    shape = "lists" if plural else "cells"
    why = f'{shape} hold several of {len(groups)} labels; the score is F1, and an answer separates them by ";"'
    ask_short = ask if len(ask) <= _LISTED_LABELS else None
    return _Choice("multi_label", why, ask_short, {"separator": ";"}, accept=_PARTIAL)


def _measured(single: Values) -> _Choice | None:
    kinds = set(single.kinds)
    if _all_numbers(single):
        return _Choice("numeric", "all answers are numbers", "Answer with the number only.")
    if kinds == {"text"} and "date" in single.looks:
        return _Choice("date", "all answers are dates", "Answer with the date only.")
    if kinds == {"text"} and "money" in single.looks and single.marked:
        return _Choice("money", "all answers are amounts of money", "Answer with the amount only.")
    return None


def _as_number(value: Any) -> Any:
    """A number that was written as text; others as they are."""
    if not isinstance(value, str) or "%" in value:
        return value
    found = number(value)
    return value if found is None else int(found) if found.is_integer() and abs(found) < 2**53 else found


def _text(single: Values) -> _Choice:
    words = single.words / max(single.kinds["text"], 1)
    if words >= _LONG_WORDS:
        why = f"answers are texts of {words:.0f} words on average, compared by the overlap of words (rougeL)"
        return _Choice("rouge", why, settings={"metric": "rougeL"}, accept=0.5, convert=_as_text)
    why = (
        "answers are short texts that do not repeat; they must be equal but for case and punctuation. "
        "Where more words around them are fine, take --scorer contains"
    )
    ask = "Give the answer only, without an explanation."
    return _Choice("exact", why, ask, {"ignore": ["case", "punctuation"]}, convert=_as_text)


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | int | float) else value


# An object: JSON answers, compared field by field.


def _fields_form(
    fields: dict[str, Values], parts: Callable[[dict[str, Any]], dict[str, Any] | None], text_only: bool
) -> AnswerForm:
    count = max((values.filled for values in fields.values()), default=0)
    count = max([count, *(values.filled + values.kinds["empty"] for values in fields.values())])
    made = {name: _field(name, values, count, text_only) for name, values in fields.items()}
    types = {name: spec for name, (spec, _) in made.items()}
    cells = {name for name, (_, schema) in made.items() if text_only and not _is_text(schema)}

    def expect(raw: dict[str, Any]) -> dict[str, Any] | None:
        found = parts(raw)
        if found is None:
            return None
        return {name: _conform(found.get(name), spec, name in cells) for name, spec in types.items()}

    shown = ", ".join(f"{name}: {spec if isinstance(spec, str) else spec['type']}" for name, spec in types.items())
    return AnswerForm(
        {
            "output": {"json_schema": "schema.json"},
            "scorers": [{"type": "json_fields", "fields": types}],
            "accept": {"min_score": _PARTIAL},
        },
        expect,
        f"answers are objects, compared field by field (json_fields; {shown}), accepted from {_PARTIAL}; "
        "the schema is made from the values, and an empty value counts as null",
        schema=_object_schema({name: schema for name, (_, schema) in made.items()}),
        ask=f"Answer with a JSON object with these keys: {', '.join(types)}",
    )


def _is_text(schema: dict[str, Any]) -> bool:
    types = schema.get("type", "string")
    return not {"number", "integer", "boolean"} & {types} if isinstance(types, str) else "string" in types


def _object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _field(name: str, values: Values, count: int, text_only: bool) -> tuple[Any, dict[str, Any]]:
    """A field's type for json_fields and its JSON schema."""
    nullable = values.filled < count
    if values.objects_only and not values.wide:
        inner = {key: _field(key, each, values.filled, text_only) for key, each in values.fields.items()}
        schema = _object_schema({key: each for key, (_, each) in inner.items()})
        spec: Any = {"type": "object", "fields": {key: each for key, (each, _) in inner.items()}}
        return spec, _nullable(schema, nullable)
    if values.lists_only and values.entries is not None:
        of, items = _field(name, values.entries, values.entries.filled, text_only)
        return {"type": "list", "of": of}, _nullable({"type": "array", "items": items}, nullable)
    # A cell that can only hold text says by its looks what it is; in JSON a text is meant as one.
    return _scalar_field(name, values.scalars, nullable, text_only and not values.json_texts)


def _scalar_field(name: str, single: Values, nullable: bool, looks: bool) -> tuple[str, dict[str, Any]]:
    kinds = set(single.kinds)
    cells = looks and kinds == {"text"}
    booleans = {spelling.casefold() for spelling in single.spellings or {"": 0}} <= {"true", "false"}
    if kinds == {"boolean"} or (cells and booleans):
        return "boolean", _nullable({"type": "boolean"}, nullable)
    money = _MONEY.search(name) is not None
    if kinds == {"number"} or (cells and "number" in single.looks):
        whole = single.integers == single.filled and not money
        return "money" if money else "number", _nullable({"type": "integer" if whole else "number"}, nullable)
    if kinds != {"text"}:
        names = {"number": "number", "boolean": "boolean"}
        types = sorted({names.get(kind, "string") for kind in kinds} or {"string"})
        return "text", _nullable({"type": types[0] if len(types) == 1 else types}, nullable)
    schema: dict[str, Any] = {"type": "string", "maxLength": max(20, math.ceil(2 * single.longest / 10) * 10)}
    if "date" in single.looks:
        return "date", _nullable(schema, nullable)
    if "money" in single.looks and (money or single.marked):
        return "money", _nullable(schema, nullable)
    if "number" in single.looks and single.integers < single.filled:
        return "number", _nullable(schema, nullable)
    labels = _groups(single.spellings)
    few = 2 <= len(labels) <= _ENUM and single.filled >= _ENUM_REPEATS * len(labels)
    if few and single.longest <= _ENUM_LENGTH and "number" not in single.looks:
        enum: list[Any] = sorted(single.spellings or {}, key=plain)
        return "label", {"enum": [*enum, None] if nullable else enum}
    return "text", _nullable(schema, nullable)


def _nullable(schema: dict[str, Any], nullable: bool) -> dict[str, Any]:
    if not nullable:
        return schema
    types = schema["type"]
    return {**schema, "type": [*([types] if isinstance(types, str) else types), "null"]}


def _conform(value: Any, spec: Any, cell: bool = False) -> Any:
    """An expected value in the shape of its field's type; of a cell that is no JSON also as a number or a boolean."""
    value = cell_value(value) if isinstance(value, str) else value
    if is_empty(value):
        return [] if isinstance(value, list) and isinstance(spec, dict) and spec["type"] == "list" else None
    if isinstance(spec, dict) and spec["type"] == "list":
        entries = value if isinstance(value, list) else [value]
        return [_conform(entry, spec["of"]) for entry in entries if not is_empty(entry)]
    if isinstance(spec, dict):
        inside = value if isinstance(value, dict) else {}
        return {name: _conform(each, spec["fields"].get(name, "text")) for name, each in inside.items()}
    if isinstance(value, list):
        return [_conform(entry, spec) for entry in value]
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if cell and spec == "boolean":
        return value.strip().casefold() == "true"
    return _as_number(value) if cell else value
