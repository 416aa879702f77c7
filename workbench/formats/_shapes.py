"""JSON objects of one shape: what their fields are, as a scorer's settings and as a JSON schema.

shape = Shape()
shape.observe({"total": 9.5, "paid": True})
shape.fields(), shape.schema()       # {'total': 'number', 'paid': 'boolean'}, {'type': 'object', …}
"""

from __future__ import annotations

from typing import Any

_SCHEMA_TYPES = {"text": "string", "number": "number", "boolean": "boolean", "list": "array", "object": "object"}


class Shape:
    """What values of one place are so far.

    Attributes:
        broken: they are of different kinds, or objects with different keys.
    """

    def __init__(self) -> None:
        self.broken = False
        self._kind: str | None = None
        self._nullable = False
        self._parts: dict[str, Shape] = {}

    def observe(self, value: Any) -> None:
        """Take a value into account."""
        if value is None:
            self._nullable = True
            return
        kind = _kind(value)
        if self._kind not in (None, kind) or value == {}:
            self.broken = True
            return
        first, self._kind = self._kind is None, kind
        if isinstance(value, dict):
            if first:
                self._parts = {str(key): Shape() for key in value}
            if set(self._parts) != {str(key) for key in value}:
                self.broken = True
                return
            for key, each in value.items():
                self._parts[str(key)].observe(each)
        elif isinstance(value, list):
            of = self._parts.setdefault("of", Shape())
            for each in value:
                of.observe(each)
        self.broken = self.broken or any(part.broken for part in self._parts.values())

    def fields(self) -> dict[str, Any]:
        """The settings of a `json_fields` scorer, for objects."""
        return {name: part.spec() for name, part in self._parts.items()}

    def spec(self) -> Any:
        """One value's settings: a type, or more for lists and objects."""
        if self._kind == "list":
            return {"type": "list", "of": self._parts["of"].spec() if "of" in self._parts else "text"}
        if self._kind == "object":
            return {"type": "object", "fields": self.fields()}
        return self._kind or "text"

    def schema(self) -> dict[str, Any]:
        """The JSON schema that all of them keep."""
        kind = _SCHEMA_TYPES[self._kind or "text"]
        found: dict[str, Any] = {"type": [kind, "null"] if self._nullable else kind}
        if self._kind == "object":
            found |= {
                "properties": {name: part.schema() for name, part in self._parts.items()},
                "required": list(self._parts),
                "additionalProperties": False,
            }
        if self._kind == "list" and "of" in self._parts:
            found["items"] = self._parts["of"].schema()
        return found


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "text", int: "number", float: "number", list: "list", dict: "object"}
    return kinds[type(value)]
