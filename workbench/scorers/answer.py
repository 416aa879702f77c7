"""From a model's text to an answer under the eval set's output format.

parse_answer('```json\\n{"answer": "yes"}\\n```', schema=schema).value      # {'answer': 'yes'}
parse_answer("<think>hm</think>Queue: billing", labels=["billing", "bug"]).value      # 'billing'

What is looked at, in this order: thoughts in `<think>` are left out; then for JSON the whole text, fenced blocks, and
objects with text around, the first that meets the schema; for a label the whole text, what stands behind "Answer:", a
list of one, a choice such as "B) Paris", and last the only label that is mentioned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import regex

if TYPE_CHECKING:
    import jsonschema

_PATTERN_TIMEOUT_S = 0.2
_OBJECTS_LOOKED_AT = 50  # each try may read to the text's end
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_END_OF_THOUGHT = re.compile(r"^.*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ANNOUNCED = re.compile(
    r"\b(?:final answer|answer|label|category|class|choice)\b[*_]*\s*(?:is\b)?[*_]*\s*[:=]\s*", re.I
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_CHOICE = re.compile(r"\(?([A-Za-z])(?:[).:]|\s*$)")


@dataclass(frozen=True)
class Answer:
    """A parsed answer.

    Attributes:
        text: what the model wrote.
        value: the JSON value, the label or the text in it; None where there is none.
        format_ok: whether it keeps the output format.
        problem: why not, without repeating the text.
        said: the text without thoughts.
    """

    text: str
    value: Any
    format_ok: bool
    problem: str | None = None
    said: str = ""


def parse_answer(
    text: str,
    schema: dict[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> Answer:
    """Read an answer: JSON by a schema, one of the labels, or free text where neither is given."""
    said = without_thoughts(text)
    if said is None:
        return Answer(text, None, False, "the answer ends inside its thoughts")
    if schema is not None:
        value, problem = _read_json(said, schema)
    elif labels is not None:
        value, problem = _read_label(said, labels, aliases or {})
    else:
        value, problem = (said, None) if said else (None, "empty answer")
    return Answer(text, value, problem is None, problem, said)


def without_thoughts(text: str) -> str | None:
    """What is said aloud; None where a thought never ends."""
    said = _THOUGHT.sub("", text)
    said = _END_OF_THOUGHT.sub("", said)  # a template may have opened the thought for the model
    return None if _OPEN_THOUGHT.search(said) else said.strip()


def _read_json(said: str, schema: dict[str, Any]) -> tuple[Any, str | None]:
    first: tuple[Any, str] | None = None
    for value in _json_objects(said):
        problem = schema_problem(value, schema)
        if problem is None:
            return value, None
        first = first or (value, problem)
    return first or (None, "no JSON object in the answer")


def _json_objects(said: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that an answer may mean: the whole text, fenced blocks, objects with text around."""
    texts = [said, *(block.strip() for block in _FENCE.findall(said))]
    for text in texts:
        value, _ = _decoded(text)
        if isinstance(value, dict):
            yield value
    start = said.find("{")
    for _ in range(_OBJECTS_LOOKED_AT):
        if start < 0:
            return
        value, length = _decoded(said[start:])
        if isinstance(value, dict):
            yield value
        start = said.find("{", start + max(length, 1))


def _decoded(text: str) -> tuple[Any, int]:
    try:
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except (ValueError, RecursionError):
        return None, 0


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def schema_problem(value: Any, schema: dict[str, Any]) -> str | None:
    """Where a value breaks a JSON schema, without repeating the value; None where it keeps it."""
    try:
        failure = next(_validator(json.dumps(schema, sort_keys=True)).iter_errors(value), None)
    except RecursionError:
        return "nested too deep for the schema"
    if failure is None:
        return None
    field = ".".join(str(part) for part in failure.absolute_path) or "the object"
    return f"breaks the schema at {field} ({failure.validator})"


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


def _read_label(
    said: str, labels: Sequence[str], aliases: Mapping[str, Sequence[str]]
) -> tuple[str | None, str | None]:
    names = {_plain(label): label for label in labels}
    for label, others in aliases.items():
        names.update({_plain(other): label for other in others})
    for text in _places(said):
        if _plain(text) in names:
            return names[_plain(text)], None
        choice = _CHOICE.match(text.strip(" \"'`*"))
        if choice and len(choice.group(1)) == 1 and choice.group(1).casefold() in names:
            return names[choice.group(1).casefold()], None
    mentioned = {label for name, label in names.items() if _mentions(said, name, label)}
    if len(mentioned) == 1:
        return mentioned.pop(), None
    return None, "no label in the answer" if not mentioned else "several labels in the answer"


def _plain(text: str) -> str:
    return " ".join(text.strip(" \t\n\"'`*_.:;,()[]{}").split()).casefold()


def _places(said: str) -> Iterator[str]:
    """Where a label stands by itself: the whole text, behind the last announcement, a list or object of one."""
    yield said
    announced = list(_ANNOUNCED.finditer(said))
    if announced:
        behind = said[announced[-1].end() :].strip().splitlines()
        if behind:
            yield behind[0]
    value, _ = _decoded(said)
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        yield value
    lines = [line for line in said.splitlines() if line.strip()]
    if len(lines) == 1:
        yield _BULLET.sub("", lines[0])


def _mentions(said: str, name: str, label: str) -> bool:
    # A single letter is a word of its own in most sentences ("a", "I"): it counts only as it is written in the labels.
    flags = 0 if len(label) == 1 else re.IGNORECASE
    wanted = label if len(label) == 1 else name
    return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", said, flags) is not None
