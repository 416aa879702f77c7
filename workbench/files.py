"""Reading the user's files: one clear error that names the file, the line, the field and the mend.

document = read_yaml(path)                       # data, and the line of every field
spec = document.parse(EvalSetFile)               # a pydantic model, or an InputError
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from workbench import project
from workbench.errors import InputError, RunError
from workbench.strict import Place, Unusable, brief, on_one_line, parse_json, parse_yaml

LINE_LIMIT = 16 << 20  # bytes of one line of a JSONL file
YAML_LIMIT = 2 << 20  # bytes; reading them takes some 5 s


class StrictModel(BaseModel):
    """Base of all file schemas: an unknown key is an error, values are not coerced in silence."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=(), allow_inf_nan=False
    )


M = TypeVar("M", bound=BaseModel)


def plain_data(value: Any) -> Any:
    """A value that JSON can hold; for fields that may hold anything.

    Raises:
        ValueError: YAML made a date, or a number that is not finite, of some part of it.
    """
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, date):
            raise ValueError(f"{part} is a date to YAML. Quote it")
        if isinstance(part, float) and not math.isfinite(part):
            raise ValueError(f"{part} is no number that JSON can hold")
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    return value


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
        field = brief(".".join(brief(str(part)) for part in place), 120)
        problem = on_one_line(problem if len(problem) <= 300 else f"{problem[:200]} … {problem[-90:]}")
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
        order = {"extra_forbidden": 2, "value_error": 1}
        first = max(problems, key=lambda p: (len(p["loc"]), -around[p["loc"][:-1]], order.get(p["type"], 0)))
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
    if kind == "string_type" and isinstance(given, date):
        return "must be text, but YAML reads a date. Quote it."
    if kind == "string_type" and isinstance(given, int | float):
        return f"must be text, but is a number{f' (it says {given!r})' if show else ''}. Quote it."
    if kind == "string_type":
        return (
            f"must be text, but is {'null' if given is None else 'a list' if isinstance(given, list) else 'a mapping'}."
        )
    if kind == "model_type":
        return "must be a mapping of keys to values."
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    if kind == "value_error":
        # Our own messages say all that is needed, and may begin with a name; what they refuse may hold a password.
        return f"{message}."
    shown = f" (it says {given!r})" if show and len(repr(given)) < 60 else ""
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
            raise InputError(f"{project.shown(path)}: larger than {limit >> 20} MiB. See whether it is the right file.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{project.shown(path)}: there is no such file.") from None
    except UnicodeDecodeError as failure:
        line = failure.object.count(b"\n", 0, failure.start) + 1
        raise InputError(f"{project.shown(path)}:{line}: not UTF-8 text. Save it as UTF-8.") from None
    except OSError as failure:
        raise InputError(f"{project.shown(path)}: cannot be read ({failure.strerror}).") from None


def read_yaml(path: Path) -> Document:
    """A YAML mapping with the lines of its fields; safe tags only, no duplicate keys, and no bombs.

    Raises:
        InputError: where it is not valid YAML, not a mapping, repeats a key, or holds too much.
    """
    text = read_text(path, YAML_LIMIT)
    try:
        data, lines = parse_yaml(text)
    except Unusable as failure:
        raise InputError(f"{_where(path, failure)}: {failure}.") from None
    if not isinstance(data, dict):
        raise InputError(f"{project.shown(path)}:1: must be a mapping of keys to values, such as 'schema: 1'.")
    return Document(path, data, lines)


def _where(path: Path, failure: Unusable) -> str:
    return project.shown(path) if failure.line is None else f"{project.shown(path)}:{failure.line}"


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        InputError: naming the line where it stops being JSON.
    """
    text = read_text(path)
    try:
        return parse_json(text)
    except Unusable as failure:
        if failure.line is None and "\n" not in text.rstrip():
            failure.line = 1
        raise InputError(f"{_where(path, failure)}: not valid JSON: {failure}.") from None


def read_jsonl(path: Path) -> Iterator[Document]:
    """The objects of a JSONL file, one by one, each as a document of its own line.

    Raises:
        InputError: where a line is not a JSON object.
    """
    for number, _, line in text_lines(path):
        yield Document(path, json_line(path, number, line), {(): number}, private=True)


def opened(path: Path) -> BinaryIO:
    """A file to read bytes from.

    Raises:
        InputError: there is none.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{project.shown(path)}: there is no such file.") from None
    except OSError as failure:
        raise InputError(f"{project.shown(path)}: cannot be read ({failure.strerror}).") from None


def text_lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """The lines of a text file that are not blank, one by one: number (from 1), offset in bytes, text.

    A byte order mark is dropped.

    Raises:
        InputError: no such file, not UTF-8, or a line over `LINE_LIMIT` bytes.
    """
    with opened(path) as file:
        for number, offset, _, line in lines_of(path, file):
            yield number, offset, line


def lines_of(path: Path, file: BinaryIO) -> Iterator[tuple[int, int, int, str]]:
    """The lines of an open file: number, offset, length in bytes, text. See `text_lines`."""
    offset = number = 0
    try:
        while raw := file.readline(LINE_LIMIT + 1):
            number += 1
            if len(raw) > LINE_LIMIT:
                where = f"{project.shown(path)}:{number}"
                raise InputError(f"{where}: a line over {LINE_LIMIT >> 20} MiB. Each line holds one JSON object.")
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            if line.strip():
                yield number, offset, len(raw), line
            offset += len(raw)
    except UnicodeDecodeError:
        raise InputError(f"{project.shown(path)}:{number}: not UTF-8 text. Save it as UTF-8.") from None
    except OSError as failure:
        raise InputError(f"{project.shown(path)}: cannot be read ({failure.strerror}).") from None


def json_line(path: Path, number: int, line: str) -> dict[str, Any]:
    """A line of a JSONL file as the object that it holds.

    Raises:
        InputError: it is none, or repeats a key.
    """
    try:
        data = parse_json(line)
    except Unusable as failure:
        where = f"{project.shown(path)}:{number}"
        raise InputError(f"{where}: not valid JSON: {failure}. Each line holds one JSON object.") from None
    if not isinstance(data, dict):
        where = f"{project.shown(path)}:{number}"
        raise InputError(f'{where}: must be a JSON object such as {{"id": …, "inputs": …}}.')
    return data


def line_not_utf8(path: Path) -> int:
    """The number of a file's first line that is not UTF-8; of the first where all are."""
    with opened(path) as file:
        return next((number for number, line in enumerate(file, 1) if not _is_utf8(line)), 1)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def write_atomic(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    _replace(path, [content.encode() if isinstance(content, str) else content], mode)


def write_lines(path: Path, lines: Iterable[str], mode: int = 0o644) -> None:
    """Write lines as they come, whole or not at all."""
    _replace(path, (f"{line}\n".encode() for line in lines), mode)


def write_pieces(path: Path, pieces: Iterable[bytes], mode: int = 0o644) -> None:
    """Write pieces as they come, whole or not at all."""
    _replace(path, pieces, mode)


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
