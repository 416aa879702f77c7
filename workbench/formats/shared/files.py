"""Files that a source names, read without leaving its folder; YAML with lines; files written whole or not at all.

document = read_structured(path)             # YAML or JSON as JavaScript's tools read it: `yes` is a text
inside(root, "prompts/*.txt")                # the files that it means, none of them outside of root
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import InputError, RunError
from workbench.files import Document, read_text
from workbench.formats.base import FILE_LIMIT, Options, check_readable, where
from workbench.strict import Place, Unusable, parse_json

_VALUES_AT_MOST = 5_000_000  # aliases of aliases can stand for more than any memory holds
_FILES_AT_MOST = 10_000
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


def refuse_mapping(source: Path, options: Options, format: str) -> None:
    """A format whose columns have fixed names takes no mapping.

    Raises:
        InputError: the user gave one.
    """
    if options.mapping:
        raise InputError(f"{where(source)}: {format} names its columns itself. Leave --map out, or say --format table.")


def head(path: Path, size: int = 8192) -> str:
    """The beginning of a file, for a guess at what it is; empty for a folder and for what cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8-sig", errors="ignore")
    except OSError:
        return ""


def inside(root: Path, name: str, base: Path | None = None) -> list[Path]:
    """The files that a name or pattern means, from `base` or else from `root`; only those inside root.

    A link that leads out of root counts as what it leads to.
    """
    name = name.removeprefix("file://").replace("\0", "")
    if not name or Path(name).is_absolute():
        return [path for path in [Path(name)] if name and _is_kept(path, root)]
    for folder in dict.fromkeys([base or root, root]):
        try:
            found = sorted(folder.glob(name)) if any(mark in name for mark in "*?[") else [folder / name]
        except (ValueError, NotImplementedError, OSError):
            return []
        kept = [path for path in found[:_FILES_AT_MOST] if _is_kept(path, root)]
        if kept:
            return kept
    return []


def folder_inside(root: Path, name: str) -> Path | None:
    """The folder that a name means, if it is one inside root."""
    return root / name if name and "\0" not in name and _is_kept(root / name, root, folder=True) else None


def _is_kept(path: Path, root: Path, folder: bool = False) -> bool:
    try:
        there = path.is_dir() if folder else path.is_file()
        return there and path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return False


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


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file line by line, whole or not at all.

    Raises:
        InputError: it cannot be made there.
        RunError: the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as failure:
        raise InputError(f"{where(path)}: cannot be written ({failure.strerror}).") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except IsADirectoryError:
        Path(name).unlink(missing_ok=True)
        raise InputError(f"{where(path)}: is a folder. Name a file.") from None
    except OSError as failure:
        Path(name).unlink(missing_ok=True)
        raise RunError(f"{where(path)}: cannot be written ({failure.strerror}). Free space, then again.") from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
