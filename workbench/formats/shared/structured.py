"""YAML and JSON of other tools, with the lines of their parts; and YAML that all of them read as the same values.

document = read_structured(path)             # as JavaScript's tools read it: `yes` is a text
document = read_structured(path, python=True)       # as Python's do, with `!function`
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import InputError
from workbench.files import Document, read_text
from workbench.formats.base import FILE_LIMIT, check_readable, where
from workbench.strict import Place, Unusable, parse_json

_VALUES_AT_MOST = 5_000_000  # aliases of aliases can stand for more than any memory holds
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"^[-+]?(?:[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_NUMERIC = list("-+.0123456789")


class Function(str):
    """What `!function` names. It is never imported."""


class _CoreLoader(_BASE):  # type: ignore[misc]
    """YAML 1.2's core types, as JavaScript's loaders read them: `yes`, `12:30` and dates are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}


def _int(loader: Any, node: Any) -> Any:
    text = loader.construct_scalar(node)
    base = {"0o": 8, "0x": 16}.get(text.lstrip("+-")[:2], 10)
    return int(text, base) if len(text) < 1000 else text


def _float(loader: Any, node: Any) -> Any:
    return _finite(loader.construct_scalar(node))


for _tag, _pattern, _first in (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INT, _NUMERIC),
    ("float", _FLOAT, _NUMERIC),
    ("merge", re.compile(r"^<<$"), ["<"]),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _int)
_CoreLoader.add_constructor("tag:yaml.org,2002:float", _float)


class _PythonLoader(_BASE):  # type: ignore[misc]
    """YAML as Python's tools read it, with `!function`; a date stays the text that it is."""


_PythonLoader.add_constructor("!function", lambda loader, node: Function(loader.construct_scalar(node)))
_PythonLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def read_structured(path: Path, python: bool = False) -> Document:
    """A YAML or JSON file, a mapping or a list, with the lines of its parts (a JSON file has none).

    Args:
        python: read YAML as Python's tools do (1.1, `!function`), not as JavaScript's do (1.2).

    Raises:
        InputError: it is neither, repeats a key, or stands for too much.
    """
    check_readable(path)
    text = read_text(path, FILE_LIMIT)
    if not text.strip():
        raise InputError(f"{where(path)}: is empty.")
    lines: dict[Place, int] = {}
    data = _json(path, text) if text.lstrip()[:1] in ("{", "[") else None
    if data is None:
        data = _yaml(path, text, _PythonLoader if python else _CoreLoader, lines)
    if not isinstance(data, dict | list):
        raise InputError(f"{where(path, 1)}: must be a mapping or a list.")
    _check_size(path, data)
    return Document(path, data, lines, private=True)


def _json(path: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except Unusable as failure:
        if path.suffix.lower() == ".json":
            raise InputError(f"{where(path, failure.line)}: not valid JSON: {failure}. Mend it.") from None
        return None  # YAML's flow style begins like JSON


def _finite(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _yaml(path: Path, text: str, loader_class: Any, lines: dict[Place, int]) -> Any:
    loader = None
    try:
        loader = loader_class(text)
        node = loader.get_single_node()
        _note_lines(path, node, (), lines, set())
        return None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as failure:
        line = failure.problem_mark.line + 1 if failure.problem_mark else 1
        what = failure.problem or "cannot be parsed"
        raise InputError(f"{where(path, line)}: not valid YAML: {what}. Check indent and quotes.") from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError) as failure:
        said = (str(failure).splitlines() or [type(failure).__name__])[0]
        raise InputError(f"{where(path)}: not valid YAML: {said[:60]}.") from None
    finally:
        if loader is not None:
            loader.dispose()


def _note_lines(path: Path, node: Any, place: Place, lines: dict[Place, int], seen: set[int]) -> None:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))  # an aliased part keeps the lines of its first place
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in names and name != "<<":
                at = where(path, key.start_mark.line + 1)
                raise InputError(f"{at}: key '{name[:60]}' stands here a second time. Keep one of them.")
            names.add(name)
            lines[(*place, name)] = key.start_mark.line + 1
            _note_lines(path, value, (*place, name), lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(path, value, (*place, index), lines, seen)


def _check_scalar(path: Path, value: Any) -> None:
    kept = value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
    if not kept:
        raise InputError(f"{where(path)}: holds what JSON has no word for ({type(value).__name__}). Write it as text.")
    str(value).encode()


def _check_size(path: Path, data: Any) -> None:
    sizes: dict[int, int] = {}
    too_much = InputError(f"{where(path)}: its aliases stand for more than can be read. Write the parts out.")

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            _check_scalar(path, value)
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = _VALUES_AT_MOST + 1  # a part that holds itself
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(size(part) for part in parts)
        return sizes[id(value)]

    try:
        if size(data) > _VALUES_AT_MOST:
            raise too_much
    except RecursionError:
        raise too_much from None
    except UnicodeEncodeError:
        raise InputError(f"{where(path)}: half a character (a lone surrogate), which no file can hold.") from None


def dump_yaml(data: Any) -> str:
    """YAML that both 1.1 and 1.2 readers read as the same values."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern in (("int", _INT), ("float", _FLOAT)):  # such texts are quoted
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _NUMERIC)
