"""Answers that are JSON objects: a type for each field, the schema, and expected values in their shape.

form = fields_form({"total": values, "paid": values}, dict)      # json_fields: {'total': 'money', …}
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from workbench.formats.base import cell_value
from workbench.formats.table.form import PARTIAL, AnswerForm, Expect
from workbench.formats.table.values import Values, is_empty
from workbench.scorers.values import number, plain

_ENUM, _ENUM_REPEATS, _ENUM_LENGTH = 20, 5, 40  # labels at most, items for each, characters of one
_MONEY = re.compile(r"total|amount|price|cost|fee|tax|vat|balance|salary|payment|discount|revenue", re.IGNORECASE)
Schema = dict[str, Any]


def fields_form(fields: dict[str, Values], parts: Expect, text_only: bool = False) -> AnswerForm:
    """Answers whose fields are compared one by one.

    Args:
        parts: the expected object of a row.
        text_only: values come from cells that can hold text only, so a number is one that looks like it.
    """
    count = max((values.filled + values.kinds["empty"] for values in fields.values()), default=0)
    made = {name: _field(name, values, count, text_only) for name, values in fields.items()}
    types = {name: spec for name, (spec, _) in made.items()}
    cells = {name for name, (_, schema) in made.items() if text_only and _is_no_text(schema)}

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
            "accept": {"min_score": PARTIAL},
        },
        expect,
        f"answers are objects, compared field by field (json_fields; {shown}), accepted from {PARTIAL}; "
        "the schema is made from the values, and an empty value counts as null",
        schema=_object({name: schema for name, (_, schema) in made.items()}),
        ask=f"Answer with a JSON object with these keys: {', '.join(types)}",
    )


def _is_no_text(schema: Schema) -> bool:
    types = schema.get("type", "string")
    return bool({"number", "integer", "boolean"} & set([types] if isinstance(types, str) else types)) and (
        isinstance(types, str) or "string" not in types
    )


def _object(properties: dict[str, Any]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _field(name: str, values: Values, count: int, text_only: bool) -> tuple[Any, Schema]:
    """A field's type for json_fields and its JSON schema."""
    nullable = values.filled < count
    if values.objects_only and not values.wide:
        inner = {key: _field(key, each, values.filled, text_only) for key, each in values.fields.items()}
        schema = _object({key: each for key, (_, each) in inner.items()})
        spec: Any = {"type": "object", "fields": {key: each for key, (each, _) in inner.items()}}
    elif values.lists_only and values.entries is not None:
        of, items = _field(name, values.entries, values.entries.filled, text_only)
        spec, schema = {"type": "list", "of": of}, {"type": "array", "items": items}
    else:
        # A cell that can only hold text says by its looks what it is; in JSON a text is meant as one.
        spec, schema = _single(name, values.scalars, text_only and not values.json_texts)
    if nullable and "enum" in schema:
        return spec, {"enum": [*schema["enum"], None]}
    if nullable:
        types = schema["type"]
        schema["type"] = [*([types] if isinstance(types, str) else types), "null"]
    return spec, schema


def _single(name: str, single: Values, looks: bool) -> tuple[str, Schema]:
    kinds = set(single.kinds)
    cells = looks and kinds == {"text"}
    money = _MONEY.search(name) is not None
    booleans = {spelling.casefold() for spelling in single.spellings or {"": 0}} <= {"true", "false"}
    if kinds == {"boolean"} or (cells and booleans):
        return "boolean", {"type": "boolean"}
    if kinds == {"number"} or (cells and "number" in single.looks):
        whole = single.integers == single.filled and not money
        return "money" if money else "number", {"type": "integer" if whole else "number"}
    if kinds != {"text"}:
        types = sorted({kind if kind in ("number", "boolean") else "string" for kind in kinds} or {"string"})
        return "text", {"type": types[0] if len(types) == 1 else types}
    schema: Schema = {"type": "string", "maxLength": max(20, math.ceil(2 * single.longest / 10) * 10)}
    if "date" in single.looks:
        return "date", schema
    if "money" in single.looks and (money or single.marked):
        return "money", schema
    if "number" in single.looks and single.integers < single.filled:
        return "number", schema
    few = 2 <= len(single.labels) <= _ENUM and single.filled >= _ENUM_REPEATS * len(single.labels)
    if few and single.longest <= _ENUM_LENGTH and "number" not in single.looks:
        return "label", {"enum": sorted(single.spellings or {}, key=plain)}
    return "text", schema


def _conform(value: Any, spec: Any, cell: bool = False) -> Any:
    """An expected value in the shape of its field's type; of a cell that is no JSON also as a number or a boolean."""
    value = cell_value(value) if isinstance(value, str) else value
    kind = spec["type"] if isinstance(spec, dict) else spec
    if is_empty(value):
        return [] if isinstance(value, list) and kind == "list" else None
    if kind == "list":
        entries = value if isinstance(value, list) else [value]
        return [_conform(entry, spec["of"]) for entry in entries if not is_empty(entry)]
    if kind == "object":
        inside = value if isinstance(value, dict) else {}
        return {name: _conform(each, spec["fields"].get(name, "text")) for name, each in inside.items()}
    if isinstance(value, list):
        return [_conform(entry, spec) for entry in value]
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if cell and kind == "boolean":
        return value.strip().casefold() == "true"
    return _as_number(value) if cell else value


def _as_number(value: Any) -> Any:
    """A number that was written as text; others as they are."""
    found = number(value) if isinstance(value, str) and "%" not in value else None
    return value if found is None else int(found) if found.is_integer() and abs(found) < 2**53 else found
