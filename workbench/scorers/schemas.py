"""What the JSON schema of answers says of one value in them, wherever it says so.

schema = {"$defs": {"Queue": {"enum": ["billing", "bug"]}}, "properties": {"queue": {"$ref": "#/$defs/Queue"}}}
field_schema(schema, "queue")        # {'enum': ['billing', 'bug']}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

_STEPS = 50  # a $ref may lead back to itself


def resolved(part: Any, root: Any) -> dict[str, Any]:
    """A part of a schema itself, where it is a $ref into the schema, or a choice between one thing and null.

    These two are how pydantic writes an enum, a model, and a field that may be null. Keywords beside them stay.
    """
    return _resolved(part, root)[0]


def wants_text(part: Any, root: Any) -> bool:
    """Whether a part of a schema takes text and nothing else: who has to say that there is none cannot say null."""
    itself, may_be_null = _resolved(part, root)
    return itself.get("type") == "string" and not may_be_null


def _resolved(part: Any, root: Any) -> tuple[dict[str, Any], bool]:
    may_be_null = False
    for _ in range(_STEPS):
        if not isinstance(part, dict):
            return {}, may_be_null
        key = next((key for key in ("$ref", "anyOf", "oneOf", "allOf") if key in part), None)
        if key is None:
            return part, may_be_null
        inner = _pointed(part[key], root) if key == "$ref" else _only(part[key])
        if not isinstance(inner, dict):
            return part, may_be_null
        may_be_null = may_be_null or (key in ("anyOf", "oneOf") and len(part[key]) > 1)
        part = {**inner, **{name: value for name, value in part.items() if name != key}}
    return {}, may_be_null


def field_schema(root: Any, path: str) -> dict[str, Any]:
    """What a schema says of a field, `a.b` for a nested one; empty where it says nothing."""
    part = resolved(root, root)
    for name in path.split("."):
        properties = part.get("properties")
        part = resolved(properties.get(name) if isinstance(properties, dict) else None, root)
    return part


def _pointed(reference: Any, root: Any) -> Any:
    """What a JSON pointer such as "#/$defs/Queue" leads to; None where it leads nowhere."""
    place = root
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    for name in unquote(reference[2:]).split("/"):
        place = place.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return place


def _only(choices: Any) -> Any:
    """The only one of some schemas that is not null; None where there are several."""
    some = [each for each in choices if each != {"type": "null"}] if isinstance(choices, list) else []
    return some[0] if len(some) == 1 else None
