"""What a JSON schema of answers must be: a valid one, of an object, that leads nowhere outside of itself.

schema_problem({"type": "array"})        # 'the top must be an object: {"type": "object", …}.'
read_schema("type: object")              # {'type': 'object'}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import yaml

from workbench.strict import brief


def schema_problem(schema: Any) -> str | None:
    """Why no eval set can have a schema, as the rest of a message; None where it can."""
    import jsonschema  # 1.5 s where format checkers are installed
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as failure:
        place = ".".join(map(str, failure.absolute_path)) or "the top"
        return f"not a JSON schema: {brief(failure.message, 160)} (at {brief(place, 120)})."
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return 'the top must be an object: {"type": "object", …}.'
    lookup = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver().lookup
    for reference in _references(schema):
        try:
            if not reference.startswith("#"):
                raise Unresolvable(ref=reference)
            lookup(reference)
        except (Unresolvable, ValueError, LookupError, TypeError):
            return f"$ref '{brief(reference)}' is not in this file."
    return None


def read_schema(given: Any) -> dict[str, Any]:
    """A JSON schema, or one that is written as a text in JSON or YAML.

    Raises:
        ValueError: no eval set can have it; the message says why.
    """
    try:
        if isinstance(given, str) and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(given)):
            raise ValueError("its JSON schema has aliases, which may stand for more than can be read")
        text = json.dumps(yaml.safe_load(given) if isinstance(given, str) else given, default=str)
    except (yaml.YAMLError, RecursionError):
        raise ValueError("its JSON schema is not valid YAML") from None
    if text in ("null", "{}", '""'):
        raise ValueError("it names no JSON schema, and an eval set's JSON answers have one")
    if problem := _problem(text):
        raise ValueError(f"its JSON schema: {problem.rstrip('.')}")
    schema: dict[str, Any] = json.loads(text)
    return schema


@lru_cache(maxsize=64)  # many items may bring the same one
def _problem(text: str) -> str | None:
    return schema_problem(json.loads(text))


def _references(schema: Any) -> Iterator[str]:
    """Every $ref of a JSON schema; nothing is fetched, so each has to lead into the schema itself."""
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)
    elif isinstance(schema, dict):
        for key, part in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(part, str):
                yield part
            yield from _references(part)
