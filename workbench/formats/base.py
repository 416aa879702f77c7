"""What every format is, and what it hands over: items one by one, the rest of an eval set, and what was lost.

A format is a small module that registers one `Format`. It never runs what a file holds: no pickle, no code, jinja only
in the sandbox, sizes limited.
"""

from __future__ import annotations

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workbench import project
from workbench.errors import InputError
from workbench.registry import Registry

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

LINE_LIMIT = 16 << 20  # characters of a line, or a cell
FILE_LIMIT = 64 << 20  # bytes of what is read whole (YAML, JSON); JSONL, CSV and Parquet are read piece by piece
_LFS = b"version https://git-lfs.github.com/spec/"


class Sink(Protocol):
    """Takes one item in the form of items.jsonl; `id` may be left out. Of split `train` it goes to train.jsonl."""

    def __call__(self, item: dict[str, Any], /, *, split: Literal["test", "train"] = "test") -> None: ...


@dataclass(frozen=True)
class Loss:
    """Something that the eval set cannot hold.

    Attributes:
        place: file and line (or row, or key) where it stands.
        what: what it is and what became of it, in a line.
    """

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass
class Options:
    """What the user said about an import.

    Attributes:
        mapping: column by place: {"inputs.text": "question", "expectations.label": "answer", "slice.topic": "subject"}.
        sensitivity: of items that do not state their own; None leaves them out, so they count as restricted.
        online: whether a data hub may be asked.
        scorer: a scorer's type, instead of the one that the format guesses.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    sensitivity: str | None = None
    online: bool = False
    scorer: str | None = None


@dataclass
class Found:
    """What a source holds, apart from its items.

    Attributes:
        spec: the rest of evalset.yaml: description, variants, output, scorers, accept, generation where known.
        schema: the JSON schema of answers, if there is one.
        losses: what could not be carried over, in the order of the source.
        notes: what was guessed, for the user to confirm.
    """

    spec: dict[str, Any]
    schema: dict[str, Any] | None = None
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Format(ABC):
    """One tool's files.

    Attributes:
        name: what `--format` calls it.
        about: a line that says what it reads.
        suffix: of the file that an export writes.
    """

    name: str
    about: str
    suffix: str = ""

    @abstractmethod
    def sniff(self, source: Path) -> float:
        """How sure it is, from 0 to 1, that a file or folder is of this format."""

    @abstractmethod
    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        """Hand every item to `sink`, and return the rest.

        Raises:
            InputError: the source is broken; the message names file, line and mend.
        """

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        """Write an eval set as this tool's file.

        Returns:
            What the tool's format cannot hold.

        Raises:
            InputError: it cannot be written at all.
        """
        raise InputError(f"format {self.name} can be imported, not exported.")


FORMATS: Registry[Format] = Registry("workbench.formats", "format")


def where(source: Path, number: int | None = None) -> str:
    """A place in a source as messages show it."""
    return project.shown(source) if number is None else f"{project.shown(source)}:{number}"


def check_readable(source: Path) -> None:
    """Refuse what is no text of data: a git-LFS pointer, a missing file.

    Raises:
        InputError: saying what it is and how to mend it.
    """
    if not source.exists():
        raise InputError(f"{where(source)}: there is no such file or folder.")
    if source.is_file():
        with source.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                raise InputError(
                    f"{where(source)}: a git-LFS pointer, not the data. Fetch the file: git lfs pull --include "
                    f"{source.name}"
                )


def json_lines(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers, one by one; passes over a byte order mark and blank lines.

    Raises:
        InputError: a line is not a JSON object, or longer than the limit.
    """
    from workbench.files import read_jsonl

    for document in read_jsonl(source):
        yield document.line(()), document.data


def csv_rows(source: Path, header: bool = True) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with the line that each begins on, one by one; the delimiter is found out.

    Args:
        header: the first row names the columns; otherwise they are column_1, column_2, ….

    Raises:
        InputError: not UTF-8, a row with more cells than columns, or a column named twice.
    """
    csv.field_size_limit(LINE_LIMIT)
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            start = file.read(65536)
            file.seek(0)
            reader = csv.reader(file, dialect=_dialect(start), strict=True)
            yield from _rows(source, reader, header)
    except UnicodeDecodeError:
        raise InputError(f"{where(source)}: not UTF-8 text. Save it as UTF-8.") from None
    except OSError as failure:
        raise InputError(f"{where(source)}: cannot be read ({failure.strerror}).") from None


def _rows(source: Path, reader: Any, header: bool) -> Iterator[tuple[int, dict[str, str]]]:
    names: list[str] | None = None
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as failure:
            raise InputError(f"{where(source, line)}: not valid CSV: {failure}. Check the quotes.") from None
        first, line = line, reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = [cell.strip() for cell in cells] if header else [f"column_{n + 1}" for n in range(len(cells))]
            twice = next((name for n, name in enumerate(names) if name and name in names[:n]), None)
            # promptfoo allows several __expected columns without numbers
            if twice is not None and not twice.startswith("__expected"):
                raise InputError(f"{where(source, first)}: column '{twice}' is there twice. Rename one of them.")
            if header:
                continue
        if len(cells) > len(names):
            raise InputError(
                f"{where(source, first)}: {len(cells)} cells for {len(names)} columns. Quote cells that hold commas."
            )
        row: dict[str, str] = {}
        for position, (name, cell) in enumerate(zip(names, cells, strict=False)):
            row[name if name not in row else f"{name}#{position}"] = cell
        yield first, row


def _dialect(start: str) -> type[csv.Dialect]:
    class Found(csv.excel):
        delimiter = max(",;\t|", key=lambda mark: _regular(start, mark))

    return Found


def _regular(start: str, mark: str) -> tuple[int, int]:
    """How well a mark parts the first rows into the same number of cells."""
    try:
        rows = [row for row in csv.reader(io.StringIO(start), delimiter=mark) if row][:20]
    except csv.Error:
        return (0, 0)
    widths = [len(row) for row in rows[:-1] or rows]
    return (sum(width == widths[0] > 1 for width in widths), widths[0]) if widths else (0, 0)


def cell_value(text: str) -> Any:
    """A CSV cell: JSON where it holds an object or a list, text otherwise."""
    stripped = text.strip()
    if stripped[:1] in "{[" and stripped[-1:] in "}]" and stripped:
        try:
            value = json.loads(stripped)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # NaN, half a character: no JSON for others
        except (ValueError, RecursionError):
            return text
        if isinstance(value, dict | list):
            return value
    return text


def identifier(text: str) -> str:
    """A name that a template can use: letters, digits and underscores."""
    name = re.sub(r"\W+", "_", text.strip()).strip("_") or "value"
    return name if not name[0].isdigit() else f"_{name}"
