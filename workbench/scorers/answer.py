"""From a model's text to an answer under the eval set's output format.

parse_answer('```json\\n{"answer": "yes"}\\n```', schema=schema).value      # {'answer': 'yes'}
parse_answer("Queue: billing", labels=["billing", "bug"]).value            # 'billing'
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import regex

if TYPE_CHECKING:
    import jsonschema

_PATTERN_TIMEOUT_S = 0.2
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """A parsed answer.

    Attributes:
        text: what the model wrote.
        value: the JSON value or the label in it; None where there is none.
        format_ok: whether it keeps the output format.
        problem: why not, without repeating the text.
    """

    text: str
    value: Any
    format_ok: bool
    problem: str | None = None


def parse_answer(text: str, schema: dict[str, Any] | None = None, labels: list[str] | None = None) -> Answer:
    """Read an answer: JSON by a schema, one of the labels, or free text where neither is given."""
    if schema is not None:
        return _parse_json(text, schema)
    if labels is not None:
        return _parse_label(text, labels)
    return Answer(text, text, bool(text.strip()), None if text.strip() else "empty answer")


def _parse_json(text: str, schema: dict[str, Any]) -> Answer:
    value = _find_json(text)
    if value is None:
        return Answer(text, None, False, "no JSON object in the answer")
    try:
        failure = next(_validator(json.dumps(schema, sort_keys=True)).iter_errors(value), None)
    except RecursionError:
        return Answer(text, value, False, "nested too deep for the schema")
    if failure is None:
        return Answer(text, value, True)
    field = ".".join(str(part) for part in failure.absolute_path) or "the object"
    return Answer(text, value, False, f"breaks the schema at {field} ({failure.validator})")


def _find_json(text: str) -> dict[str, Any] | None:
    """The first JSON object: the whole text, a fenced block, or an object with text around it."""
    fenced = _FENCE.search(text)
    for candidate in (text, fenced.group(1) if fenced else "", text[text.find("{") :] if "{" in text else ""):
        try:
            value, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(candidate.strip())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@lru_cache(maxsize=64)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    import jsonschema  # 1.5 s where format checkers are installed
    from referencing import Registry

    # The schema comes with an eval set, which is untrusted: nothing is fetched, and patterns have a time-out.
    extend: Any = jsonschema.validators.extend
    timed = extend(jsonschema.Draft202012Validator, {"pattern": _pattern})
    validator: jsonschema.Draft202012Validator = timed(json.loads(schema), registry=Registry())
    return validator


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    import jsonschema

    if isinstance(instance, str):
        try:
            found = regex.search(pattern, instance, timeout=_PATTERN_TIMEOUT_S)
        except TimeoutError:
            found = None
        if not found:
            yield jsonschema.ValidationError("does not match the pattern")


def _parse_label(text: str, labels: list[str]) -> Answer:
    """The label that is the text, or the only one that is mentioned in it."""
    plain = text.strip().strip("\"'`*.:; ").casefold()
    for label in labels:
        if plain == label.casefold():
            return Answer(text, label, True)
    mentioned = [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE)]
    if len(mentioned) == 1:
        return Answer(text, mentioned[0], True)
    return Answer(text, None, False, "no label in the answer" if not mentioned else "several labels in the answer")
