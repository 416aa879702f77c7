"""Validity under a JSON schema. It comes with an eval set, which is untrusted: nothing is fetched, patterns are timed.

schema_problem({"answer": "maybe"}, schema)      # 'breaks the schema at answer (enum)'; None where it is valid
unusable(schema)                                 # why the workbench does not use a schema; None where it does
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from workbench.scorers.regexes import checked_pattern, is_found

if TYPE_CHECKING:
    import jsonschema


def unusable(schema: dict[str, Any]) -> str | None:
    """Why answers cannot be checked against a schema within bounds; None where they can."""
    keywords = set()
    for keyword, value in _keywords(schema):
        keywords.add(keyword)
        patterns = [value] if keyword == "pattern" else value if keyword == "patternProperties" else []
        for pattern in patterns:
            try:
                checked_pattern(str(pattern))
            except ValueError as failure:
                return f"a '{keyword}' is {failure}"
    if {"patternProperties", "unevaluatedProperties"} <= keywords:
        # jsonschema looks for such properties by itself, without a time-out.
        return "'patternProperties' and 'unevaluatedProperties' cannot stand in one schema. Use 'additionalProperties'"
    return None


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every keyword of a schema and of what is in it; a property's name is none."""
    if isinstance(schema, list):
        for part in schema:
            yield from _keywords(part)
    elif isinstance(schema, dict):
        for keyword, value in schema.items():
            if keyword in ("properties", "patternProperties", "$defs", "dependentSchemas") and isinstance(value, dict):
                yield keyword, value
                yield from _keywords(list(value.values()))
            elif keyword not in ("enum", "const", "default", "examples"):
                yield keyword, value
                yield from _keywords(value)


def schema_problem(value: Any, schema: dict[str, Any]) -> str | None:
    """Where a value breaks a JSON schema, without repeating what is in the value; None where it keeps it.

    Raises:
        TimeoutError: a pattern of the schema took too long.
    """
    written = json.dumps(schema, sort_keys=True)
    try:
        failure = next(_validator(written).iter_errors(value), None)
    except (RecursionError, ArithmeticError):
        return "cannot be checked: nested too deep, or a number too large"
    if failure is None:
        return None
    # A field that the schema does not name was made up by the model: it may hold anything.
    path = (
        str(part) if isinstance(part, int) or json.dumps(part) in written else "?" for part in failure.absolute_path
    )
    return f"breaks the schema at {'.'.join(path) or 'the object'} ({failure.validator})"


@lru_cache(maxsize=64)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    import jsonschema  # 1.5 s where format checkers are installed
    from referencing import Registry

    extend: Any = jsonschema.validators.extend
    bounded = extend(
        jsonschema.Draft202012Validator,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
            "uniqueItems": _unique_items,
        },
    )
    validator: jsonschema.Draft202012Validator = bounded(json.loads(schema), registry=Registry())
    return validator


def _failure(problem: str) -> jsonschema.ValidationError:
    import jsonschema

    return jsonschema.ValidationError(problem)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not is_found(pattern, instance):
        yield _failure("does not match the pattern")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, dict):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if is_found(pattern, name):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, inner: Any, instance: Any, schema: dict[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in schema.get("properties", {}) or any(is_found(pattern, name) for pattern in patterns):
            continue
        if inner is False:
            yield _failure("has a further property")
            return
        yield from validator.descend(value, inner, path=name)


def _unique_items(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """As jsonschema's own, which takes time by the square where entries are objects."""
    if unique and isinstance(instance, list) and len({_hashable(entry) for entry in instance}) < len(instance):
        yield _failure("has an entry twice")


def _hashable(value: Any) -> Any:
    """Equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, _hashable(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return "array", *(_hashable(inner) for inner in value)
    return isinstance(value, bool), value
