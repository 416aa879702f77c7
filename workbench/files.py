"""Reading the user's files: one clear error that names the file, the line, the field and the mend.

document = read_yaml(path)                       # data, and the line of every field
spec = document.parse(EvalSetFile)               # a pydantic model, or an InputError
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from workbench import project
from workbench.errors import InputError, RunError

Place = tuple[str | int, ...]
LINE_LIMIT = 16 << 20  # bytes of one line of a JSONL file


class StrictModel(BaseModel):
    """Base of all file schemas: an unknown key is an error, values are not coerced in silence."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), allow_inf_nan=False
    )


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """A parsed file with the line (from 1) of each of its fields."""

    path: Path
    data: Any
    lines: dict[Place, int]
    private: bool = False  # its values may be restricted: messages do not repeat them

    def line(self, place: Place) -> int:
        """The line of a field, or of its nearest parent that has one."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(self, place: Place, problem: str) -> InputError:
        """An InputError that points at a field of this file."""
        field = ".".join(str(part) for part in place)
        where = f"{project.shown(self.path)}:{self.line(place)}"
        return InputError(f"{where}: field '{field}': {problem}" if field else f"{where}: {problem}")

    def parse(self, model: type[M]) -> M:
        """This file as a pydantic model.

        Raises:
            InputError: naming file, line, field and the mend of the first problem.
        """
        try:
            return model.model_validate(self.data)
        except ValidationError as failure:
            raise self._explained(failure, model) from None

    def _explained(self, failure: ValidationError, model: type[BaseModel]) -> InputError:
        # A union reports every member's errors: the longest path, and the fewest errors, are of the one that was meant.
        problems = failure.errors(include_url=False, include_input=True)
        around = Counter(problem["loc"][:-1] for problem in problems)
        first = max(problems, key=lambda p: (len(p["loc"]), -around[p["loc"][:-1]], p["type"] == "extra_forbidden"))
        here = self._field(first["loc"], missing=first["type"] == "missing")
        return self.error(here, _mend(first, model, here, show=not self.private))

    def _field(self, loc: Place, missing: bool) -> Place:
        """A place in this file: without the tags that pydantic adds for members of a union and for keys."""
        kept: Place = ()
        here = self.data
        for index, part in enumerate(loc):
            inside: Any = here if isinstance(here, dict) else dict(enumerate(here)) if isinstance(here, list) else {}
            if part in inside:
                here = inside[part]
                kept += (part,)
            elif missing and index == len(loc) - 1:
                kept += (part,)
        return kept


def _mend(problem: Any, model: type[BaseModel], place: Place, show: bool) -> str:
    """A pydantic problem in the words of somebody who edits a file."""
    kind, given = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        return f"unknown key. Remove it, or see which keys there are: {_keys_near(model, place)}."
    if kind == "missing":
        return "is missing. Add it."
    if kind == "string_type" and isinstance(given, bool):
        return f"must be text, but YAML reads {str(given).lower()} (also yes, no, on, off) as a boolean. Quote it."
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    # Our own messages say all that is needed, and what they refuse may hold a password.
    shown = f" (it says {given!r})" if show and kind != "value_error" and len(repr(given)) < 60 else ""
    return f"{message[:1].lower()}{message[1:]}{shown}."


def _keys_near(model: type[BaseModel], place: Place) -> str:
    """The keys that the model has at the level of an unknown one."""
    here: list[Any] = [model]
    for part in place[:-1]:
        here = [deeper for annotation in here for deeper in _below(annotation, part)]
    keys = [key for annotation in here for key in _fields(annotation)]
    return ", ".join(dict.fromkeys(keys))


def _fields(annotation: Any) -> dict[str, Any]:
    """The annotations of a model's fields, by their names in the file; none for what is no model."""
    fields: dict[str, Any] = getattr(annotation, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in fields.items() if not field.exclude}


def _below(annotation: Any, part: str | int) -> list[Any]:
    """What an annotation says of one of its fields, values or items; each member of a union apart."""
    inner = getattr(annotation, "__args__", ())
    found = _fields(annotation).get(str(part)) if not inner else inner[-1]
    members = getattr(found, "__args__", ()) if isinstance(found, UnionType) else ()
    return list(members or [found])


def read_text(path: Path, limit: int = 64 << 20) -> str:
    """A text file as UTF-8 (a byte order mark is dropped).

    Raises:
        InputError: no such file, not UTF-8, or larger than `limit` bytes.
    """
    try:
        if path.stat().st_size > limit:
            raise InputError(f"{project.shown(path)}: larger than {limit >> 20} MiB. Is it the right file?")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{project.shown(path)}: there is no such file.") from None
    except UnicodeDecodeError as failure:
        raise InputError(f"{project.shown(path)}: not UTF-8 text (byte {failure.start}). Save it as UTF-8.") from None
    except OSError as failure:
        raise InputError(f"{project.shown(path)}: cannot be read ({failure.strerror}).") from None


def read_yaml(path: Path) -> Document:
    """A YAML mapping with the lines of its fields; safe tags only, no duplicate keys.

    Raises:
        InputError: where it is not valid YAML, not a mapping, or repeats a key.
    """
    text = read_text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Place, int] = {}
        _walk(path, node, (), lines)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as failure:
        line = failure.problem_mark.line + 1 if failure.problem_mark else 1
        what = failure.problem or "cannot be parsed"
        raise InputError(f"{project.shown(path)}:{line}: not valid YAML: {what}. Check indent and quotes.") from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as failure:
        # The last two are what PyYAML raises for a tag that does not fit, such as !!bool maybe.
        raise InputError(f"{project.shown(path)}: not valid YAML: {str(failure).splitlines()[0]}.") from None
    if not isinstance(data, dict):
        raise InputError(f"{project.shown(path)}:1: must be a mapping of keys to values, such as 'schema: 1'.")
    return Document(path, data, lines)


def _walk(path: Path, node: Any, place: Place, lines: dict[Place, int]) -> None:
    if node is None:
        return
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                where = f"{project.shown(path)}:{key.start_mark.line + 1}"
                raise InputError(f"{where}: key '{name}' stands here a second time. Keep one of them.")
            seen.add(name)
            lines[(*place, name)] = key.start_mark.line + 1
            _walk(path, value, (*place, name), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(path, value, (*place, index), lines)


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        InputError: naming the line where it stops being JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as failure:
        line = getattr(failure, "lineno", 1)
        raise InputError(f"{project.shown(path)}:{line}: not valid JSON: {_json_problem(failure)}.") from None


def _json_problem(failure: Exception) -> str:
    """What is wrong and in which column; the line is named by who asks."""
    if isinstance(failure, json.JSONDecodeError):
        return f"{failure.msg} at column {failure.colno}"
    return str(failure).split(";")[0]


def read_jsonl(path: Path) -> Iterator[Document]:
    """The objects of a JSONL file, one by one, each as a document of its own line.

    Raises:
        InputError: where a line is not a JSON object.
    """
    for number, _, line in text_lines(path):
        yield Document(path, json_line(path, number, line), {(): number}, private=True)


def text_lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """The lines of a text file that are not blank, one by one: number (from 1), offset in bytes, text.

    A byte order mark is dropped.

    Raises:
        InputError: no such file, not UTF-8, or a line over `LINE_LIMIT` bytes.
    """
    try:
        with path.open("rb") as file:
            offset = number = 0
            while raw := file.readline(LINE_LIMIT + 1):
                number += 1
                if len(raw) > LINE_LIMIT:
                    where = f"{project.shown(path)}:{number}"
                    raise InputError(f"{where}: a line over {LINE_LIMIT >> 20} MiB. Each line holds one JSON object.")
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if line.strip():
                    yield number, offset, line
                offset += len(raw)
    except FileNotFoundError:
        raise InputError(f"{project.shown(path)}: there is no such file.") from None
    except UnicodeDecodeError:
        raise InputError(f"{project.shown(path)}:{number}: not UTF-8 text. Save it as UTF-8.") from None
    except OSError as failure:
        raise InputError(f"{project.shown(path)}: cannot be read ({failure.strerror}).") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys stand there once: the last of two sensitivities would win in silence."""
    data = dict(pairs)
    if len(data) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"key '{twice}' stands there twice")
    if any(_broken_text(text) for pair in pairs for text in pair):
        raise ValueError("half a character (a lone surrogate), which no file can hold")
    return data


def _broken_text(text: Any) -> bool:
    return isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text)


def json_line(path: Path, number: int, line: str) -> dict[str, Any]:
    """A line of a JSONL file as the object that it holds.

    Raises:
        InputError: it is none, or repeats a key.
    """
    where = f"{project.shown(path)}:{number}"
    try:
        data = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as failure:
        raise InputError(
            f"{where}: not valid JSON: {_json_problem(failure)}. Each line holds one JSON object."
        ) from None
    if not isinstance(data, dict):
        raise InputError(f'{where}: must be a JSON object such as {{"id": …, "inputs": …}}.')
    return data


def write_atomic(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    _replace(path, [content.encode() if isinstance(content, str) else content], mode)


def write_lines(path: Path, lines: Iterable[str], mode: int = 0o644) -> None:
    """Write lines as they come, whole or not at all."""
    _replace(path, (f"{line}\n".encode() for line in lines), mode)


def _replace(path: Path, pieces: Iterable[bytes], mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as failure:
        raise InputError(f"{project.shown(path)}: cannot be written ({failure.strerror}).") from None
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.chmod(name, mode)
        os.replace(name, path)
    except IsADirectoryError:
        Path(name).unlink(missing_ok=True)
        raise InputError(f"{project.shown(path)}: is a folder. Name a file.") from None
    except OSError as failure:
        Path(name).unlink(missing_ok=True)
        raise RunError(
            f"{project.shown(path)}: cannot be written ({failure.strerror}). Free space, then again."
        ) from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
