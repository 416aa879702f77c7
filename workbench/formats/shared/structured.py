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
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"^[-+]?(?:[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_NUMERIC = list("-+.0123456789")
_NO_JSON = ("binary", "set", "omap", "pairs")


class Function(str):
    """What `!function` names. It is never imported."""

    @property
    def about(self) -> str:
        """What it is, for a message."""
        return f"a Python function ({self[:60]}), which is never imported"


class _CoreLoader(_BASE):  # type: ignore[misc]
    """YAML 1.2's core types, as JavaScript's loaders read them: `yes`, `12:30` and dates are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}


class _PythonLoader(_BASE):  # type: ignore[misc]
    """YAML as Python's tools read it, with `!function`; a date stays the text that it is."""


def _int(loader: Any, node: Any) -> Any:
    base = {"0o": 8, "0x": 16}.get(node.value.lstrip("+-")[:2], 10)
    return int(node.value, base) if len(node.value) < 1000 else node.value


def _float(loader: Any, node: Any) -> Any:
    value = loader.construct_yaml_float(node)
    return value if math.isfinite(value) else node.value


def _text(loader: Any, node: Any) -> Any:
    return loader.construct_scalar(node)


for _name, _pattern, _first in (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INT, _NUMERIC),
    ("float", _FLOAT, _NUMERIC),
    ("merge", re.compile(r"^<<$"), ["<"]),
):
    _CoreLoader.add_implicit_resolver(_TAG + _name, _pattern, _first)
_CoreLoader.add_constructor(f"{_TAG}int", _int)
_PythonLoader.add_constructor("!function", lambda loader, node: Function(loader.construct_scalar(node)))
for _loader in (_CoreLoader, _PythonLoader):
    _loader.add_constructor(f"{_TAG}float", _float)
    _loader.add_constructor(f"{_TAG}timestamp", _text)


def named(value: Any) -> str:
    """What somebody else's file calls something, or says of it, as a message can show it."""
    return f"of {value.about}," if isinstance(value, Function) else f"'{str(value)[:60]}'"


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
    return Document(path, data, lines, private=True)


def _json(path: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except Unusable as failure:
        if path.suffix.lower() == ".json":
            raise InputError(f"{where(path, failure.line)}: not valid JSON: {failure}. Mend it.") from None
        return None  # YAML's flow style begins like JSON


def _yaml(path: Path, text: str, loader_class: Any, lines: dict[Place, int]) -> Any:
    loader = None
    try:
        loader = loader_class(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _walk(node, (), lines, {}) > _VALUES_AT_MOST:
            raise Unusable("its aliases stand for more than can be read. Write the parts out")
        return loader.construct_document(node)
    except Unusable as failure:
        raise InputError(f"{where(path, failure.line)}: {failure}.") from None
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


def _walk(node: Any, place: Place, lines: dict[Place, int], sizes: dict[int, int]) -> int:
    """Note the line of every part; how many values it stands for, those behind an alias counted each time."""
    if id(node) in sizes:
        return sizes[id(node)]  # an aliased part keeps the lines of its first place
    sizes[id(node)] = _VALUES_AT_MOST + 1  # a part that holds itself
    lines.setdefault(place, node.start_mark.line + 1)
    kind = node.tag.removeprefix(_TAG)
    if kind in _NO_JSON:
        raise Unusable(f"holds what JSON has no word for ({kind}). Write it as text", node.start_mark.line + 1)
    size = 1
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in names and name != "<<":
                raise Unusable(f"key '{name[:60]}' stands here a second time. Keep one of them", line)
            names.add(name)
            lines[(*place, name)] = line
            size += _walk(key, (*place, name), lines, sizes) + _walk(value, (*place, name), lines, sizes)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_walk(value, (*place, index), lines, sizes) for index, value in enumerate(node.value))
    else:
        node.value.encode()  # half a character, which no file can hold, is an error
    sizes[id(node)] = size
    return size


def dump_yaml(data: Any) -> str:
    """YAML that both 1.1 and 1.2 readers read as the same values."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern in (("int", _INT), ("float", _FLOAT)):  # such texts are quoted
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, _NUMERIC)
