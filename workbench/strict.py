"""JSON and YAML in the strict sense: what is read can be written again as it was, and nothing in it is a bomb.

parse_json('{"a": 1, "a": 2}')           # an Unusable: key 'a' stands there twice
parse_yaml("a: 1\\nb: [2]")               # ({'a': 1, 'b': [2]}, {(): 1, ('a',): 1, ('b',): 2, ('b', 0): 2})
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

import yaml

Place = tuple[str | int, ...]
VALUES_LIMIT = 50_000  # of a YAML text, those behind an alias counted each time
DEPTH_LIMIT = 100
_NUMBER_LIMIT = 300  # characters of a number in YAML; PyYAML takes time by the square
_SHOWN = 60  # characters of a name in a message
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOO_MANY = f"over {VALUES_LIMIT} values, those behind an alias counted each time. Write fewer"
_TOO_DEEP = f"nested over {DEPTH_LIMIT} levels deep, or an alias within itself. Write it flatter"
_HALF = "half a character (a lone surrogate), which no file can hold"


class Unusable(ValueError):
    """A text that is not valid, or holds what another file could not; `line` is where, if that is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


def brief(text: str, limit: int = _SHOWN) -> str:
    """Somebody else's name or words as a message can show them: on one line, and not long."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return on_one_line(cut)


def on_one_line(text: str) -> str:
    """A text with its control characters and odd spaces written out."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        Unusable: it is not valid JSON, repeats a key, or holds what no other file can: a number that is none or not
            finite, half a character, hundreds of levels.
    """
    try:
        data = _DECODER.decode(text)
    except json.JSONDecodeError as failure:
        raise Unusable(f"{failure.msg.removesuffix(' at')} at column {failure.colno}", failure.lineno) from None
    except RecursionError:
        raise Unusable("nested too deep") from None
    except Unusable:
        raise
    except ValueError as failure:  # an integer that is too long
        raise Unusable(str(failure).split(";")[0]) from None
    deep = text.count("{") + text.count("[") > DEPTH_LIMIT
    if deep or "\\ud" in text or "\\uD" in text:  # only an escape can make half a character
        _check_tree(data)
    return data


def _check_tree(data: Any) -> None:
    level, depth = [data], 0
    while level:
        if depth > DEPTH_LIMIT:
            raise Unusable(f"nested over {DEPTH_LIMIT} levels deep")
        below: list[Any] = []
        for part in level:
            if isinstance(part, str) and _SURROGATE.search(part):
                raise Unusable(_HALF)
            if isinstance(part, dict):
                below += part
                below += part.values()
            elif isinstance(part, list):
                below += part
        level, depth = below, depth + 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys stand there once: the last of two sensitivities would win in silence."""
    data = dict(pairs)
    if len(data) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise Unusable(f"key '{brief(twice)}' stands there twice")
    return data


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Unusable("a number that is too large")
    return number


def _no_number(text: str) -> float:
    raise Unusable(f"{text} is no number in JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_number)


class _Loader(yaml.SafeLoader):
    """Safe tags for what JSON also has, and dates."""

    yaml_constructors = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if str(tag).rpartition(":")[2] not in ("binary", "omap", "pairs", "set")
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._count += 1
        self._depth += 1
        if self._count > VALUES_LIMIT or self._depth > DEPTH_LIMIT:
            peek: Any = self.peek_event
            raise Unusable(_TOO_MANY if self._count > VALUES_LIMIT else _TOO_DEEP, _line(peek()))
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
            # What PyYAML raises for a value that does not fit its tag, such as !!bool maybe.
            value = f"'{brief(node.value)}'" if isinstance(node, yaml.ScalarNode) else "this"
            raise yaml.constructor.ConstructorError(
                None, None, f"{value} is no {_kind(node)}", node.start_mark
            ) from None


def parse_yaml(text: str) -> tuple[Any, dict[Place, int]]:
    """The value of a YAML text, and the line (from 1) of each of its fields.

    Raises:
        Unusable: it is not valid YAML, repeats a key, has a key that is no text, or holds too much.
    """
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _walk(node, (), lines, [0])
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as failure:
        line = failure.problem_mark.line + 1 if failure.problem_mark else None
        what = brief(failure.problem or "cannot be parsed", 2 * _SHOWN)
        raise Unusable(f"not valid YAML: {what}. Check indent and quotes", line) from None
    except yaml.reader.ReaderError as failure:
        line = text.count("\n", 0, failure.position) + 1
        raise Unusable(
            f"not valid YAML: character U+{failure.character:04X} may not stand there. Remove it", line
        ) from None
    except RecursionError:
        raise Unusable(_TOO_DEEP) from None


def _walk(node: Any, place: Place, lines: dict[Place, int], count: list[int]) -> None:
    """Note the line of every field, and refuse bombs before anything is made of them."""
    lines.setdefault(place, _line(node))
    count[0] += 1
    if count[0] > VALUES_LIMIT:
        raise Unusable(_TOO_MANY, _line(node))
    if len(place) > DEPTH_LIMIT:
        raise Unusable(_TOO_DEEP, _line(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = _key(key)
            if name in seen:
                raise Unusable(f"key '{brief(name)}' stands here a second time. Keep one of them", _line(key))
            seen.add(name)
            lines[(*place, name)] = _line(key)
            _walk(value, (*place, name), lines, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*place, index), lines, count)
    else:
        _check_scalar(node)


def _key(node: Any) -> str:
    if _kind(node) not in ("str", "merge"):
        shown = f"'{brief(node.value)}' as a key" if isinstance(node, yaml.ScalarNode) else "a key"
        raise Unusable(f"{shown} must be text, but YAML reads it as {_kind(node)}. Quote it", _line(node))
    _check_scalar(node)
    return str(node.value)


def _check_scalar(node: Any) -> None:
    if _SURROGATE.search(node.value):
        raise Unusable(f"{_HALF}. Write the character itself", _line(node))
    if len(node.value) > _NUMBER_LIMIT and _kind(node) != "str":
        raise Unusable(f"a number of over {_NUMBER_LIMIT} digits. Quote it if it is text", _line(node))


def _kind(node: Any) -> str:
    return str(node.tag).rpartition(":")[2]


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
