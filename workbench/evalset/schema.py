"""What a JSON schema of answers must be: a valid one, of an object, that leads nowhere outside of itself.

schema_problem({"type": "array"})        # 'the top must be an object: {"type": "object", …}.'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
