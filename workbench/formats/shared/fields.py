"""Answers that are JSON objects: a type for each field, the schema, and expected values in their shape.

types, schema, shaped = typed_fields({"total": values, "paid": values})      # {'total': 'money', 'paid': 'boolean'}, …
shaped({"total": "9.00"})                                                    # {'total': '9.00', 'paid': None}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from workbench.formats.shared.cells import cell_value, is_empty
from workbench.formats.shared.values import Values
from workbench.scorers.values import number, plain

_ENUM, _ENUM_REPEATS, _ENUM_LENGTH = 20, 5, 40  # labels at most, items for each, characters of one
_MONEY = re.compile(r"total|amount|price|cost|fee|tax|vat|balance|salary|payment|discount|revenue", re.IGNORECASE)
Schema = dict[str, Any]


def typed_fields(
    fields: dict[str, Values], text_only: bool = False
) -> tuple[dict[str, Any], Schema, Callable[[dict[str, Any]], dict[str, Any]]]:
    """The fields' types for json_fields, the schema of the object, and what brings an expected one into its shape.

    Args:
        text_only: values come from cells that can hold text only, so a number is one that looks like it.
    """
    count = max((values.filled + values.empty for values in fields.values()), default=0)
    made = {name: _field(name, values, count, text_only) for name, values in fields.items()}
    types = {name: spec for name, (spec, _) in made.items()}
    schema = _object({name: schema for name, (_, schema) in made.items()})
    cells = {name for name, (_, schema) in made.items() if text_only and "string" not in _types(schema)}

    def shaped(found: dict[str, Any]) -> dict[str, Any]:
        return {name: _conform(found.get(name), spec, name in cells) for name, spec in types.items()}

    return types, schema, shaped


def _types(schema: Schema) -> list[str]:
    types = schema.get("type", "string")
    return [types] if isinstance(types, str) else types


def _object(properties: dict[str, Any]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _field(name: str, values: Values, count: int, text_only: bool) -> tuple[Any, Schema]:
    """A field's type for json_fields and its JSON schema."""
    if values.objects_only and not values.wide:
        inner = {key: _field(key, each, values.filled, text_only) for key, each in values.fields.items()}
        schema = _object({key: each for key, (_, each) in inner.items()})
        spec: Any = {"type": "object", "fields": {key: each for key, (each, _) in inner.items()}}
    elif values.lists_only and values.entries is not None:
        of, items = _field(name, values.entries, values.entries.filled, text_only)
        spec, schema = {"type": "list", "of": of}, {"type": "array", "items": items}
    else:
        # A cell that can only hold text says by its looks what it is; in JSON a text is meant as one.
        spec, schema = _single(name, values, text_only and not values.json_texts)
    if values.filled < count and "enum" in schema:
        schema = {"enum": [*schema["enum"], None]}
    elif values.filled < count:
        schema["type"] = [*_types(schema), "null"]
    return spec, schema


def _single(name: str, values: Values, looks: bool) -> tuple[str, Schema]:
    kinds = set(values.kinds)
    money = _MONEY.search(name) is not None
    booleans = {spelling.casefold() for spelling in values.spellings or {"": 0}} <= {"true", "false"}
    if kinds == {"boolean"} or (looks and kinds == {"text"} and booleans):
        return "boolean", {"type": "boolean"}
    if kinds == {"number"} or (looks and kinds == {"text"} and values.numbers_only):
        whole = values.integers == values.kinds.total() and not money
        return "money" if money else "number", {"type": "integer" if whole else "number"}
    if kinds != {"text"}:
        types = sorted({kind if kind in ("number", "boolean") else "string" for kind in kinds} or {"string"})
        return "text", {"type": types[0] if len(types) == 1 else types}
    schema: Schema = {"type": "string", "maxLength": max(20, math.ceil(2 * values.longest / 10) * 10)}
    if "date" in values.looks:
        return "date", schema
    if "money" in values.looks and (money or values.marked):
        return "money", schema
    if "number" in values.looks and values.integers < values.kinds.total():
        return "number", schema
    few = 2 <= len(values.labels) <= _ENUM and values.kinds.total() >= _ENUM_REPEATS * len(values.labels)
    if few and values.longest <= _ENUM_LENGTH and "number" not in values.looks:
        return "label", {"enum": sorted(values.spellings or {}, key=plain)}
    return "text", schema


def _conform(value: Any, spec: Any, cell: bool = False) -> Any:
    """An expected value in the shape of its field's type; of a cell that is no JSON also as a number or a boolean."""
    value = cell_value(value)
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
