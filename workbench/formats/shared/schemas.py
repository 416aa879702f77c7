"""JSON schemas of other tools, as far as an eval set can have them: of an object, valid, and whole in one file.

usable_schema({"type": "object", "properties": {"city": {"type": "string"}}})      # itself, or an Unusable
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from workbench.formats.shared.ledger import Unusable


def usable_schema(schema: Any) -> dict[str, Any]:
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
