"""CSV and its kin as rows of cells: delimiter and quotes found out, JSON in cells, and whether there is a header.

for line, row in csv_rows(Path("tests.csv")): ...      # 2, {'text': 'Hi', 'label': 'greeting'}
cell_value('["a", "b"]')                                # ['a', 'b']; other text as it is
"""

from __future__ import annotations

import ast
import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import line_not_utf8
from workbench.formats.base import LINE_LIMIT, where
from workbench.formats.shared.names import known_name
from workbench.scorers.values import number

_PEEKED_BYTES = 65536
_PEEKED_ROWS = 100
_LONG_NAME = 40  # characters; and
_LONGEST_LIST = 100_000  # characters
_WORDS = 5  # that make a sentence, not a name
_DATED = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


def csv_rows(source: Path, header: bool = True) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The rows of a CSV file with the line that each begins on, one by one; the delimiter is found out.

    A cell that a short row lacks is None.

    Args:
        header: the first row names the columns; otherwise they are column_1, column_2, ….

    Raises:
        InputError: not UTF-8, a row with more cells than columns, or a column named twice.
    """
    csv.field_size_limit(LINE_LIMIT)
    names: list[str] = []
    line = 1
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            start = file.read(_PEEKED_BYTES)
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t|", key=lambda mark: _regular(start, mark)), strict=True)
            for cells in reader:
                first, line = line, reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if not names:
                    names = _names(cells, where(source, first)) if header else unnamed(len(cells))
                    if header:
                        continue
                if len(cells) > len(names):
                    what = f"{len(cells)} cells for {len(names)} columns. Quote cells that hold commas."
                    raise InputError(f"{where(source, first)}: {what}")
                yield first, dict(itertools.zip_longest(names, cells))
    except csv.Error as failure:
        raise InputError(f"{where(source, line)}: not valid CSV: {failure}. Check the quotes.") from None
    except UnicodeDecodeError:
        place = where(source, line_not_utf8(source))
        raise InputError(f"{place}: not UTF-8 text. Save it as UTF-8.") from None
    except OSError as failure:
        raise InputError(f"{where(source)}: cannot be read ({failure.strerror}).") from None


def csv_lines(rows: Iterable[list[str]], delimiter: str = ",") -> Iterator[str]:
    """Rows of cells as the lines of a CSV file, without their ends."""
    for row in rows:
        out = io.StringIO()
        # With these ends a cell that holds either of them is quoted; without, it would break the row.
        csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerow(row)
        yield out.getvalue().removesuffix("\r\n")


def unnamed(count: int) -> list[str]:
    """What columns without a header are called."""
    return [f"column_{place + 1}" for place in range(count)]


def _names(cells: list[str], place: str) -> list[str]:
    names: list[str] = []
    for position, cell in enumerate(cells):
        name = cell.strip()
        # promptfoo allows several __expected columns without numbers
        if name and name in names and not name.startswith("__expected"):
            raise InputError(f"{place}: column '{name}' is there twice. Rename one of them.")
        names.append(f"{name}#{position}" if name in names else name)
    return names


def _regular(start: str, mark: str) -> tuple[int, int]:
    """How well a mark parts the first rows into the same number of cells."""
    try:
        rows = [row for row in csv.reader(io.StringIO(start), delimiter=mark) if row][:20]
    except csv.Error:
        return (0, 0)
    widths = [len(row) for row in rows[:-1] or rows]
    return (sum(width == widths[0] > 1 for width in widths), widths[0]) if widths else (0, 0)


def cell_value(text: Any) -> Any:
    """A CSV cell: JSON where it holds an object or a list, otherwise what it is."""
    if not isinstance(text, str) or not text or not (text[0] in "{[" or text[0].isspace()):
        return text  # most are
    stripped = text.strip()
    if stripped[:1] in ("{", "[") and stripped[-1:] in ("}", "]"):
        try:
            value = json.loads(stripped)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # NaN, half a character: no JSON for others
        except (ValueError, RecursionError):
            return text
        if isinstance(value, dict | list):
            return value
    return text


def cell_text(value: Any) -> str:
    """A value as a cell holds it: text by itself, nothing for null, anything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def written_list(text: str) -> Any:
    """A list that is written as a text, in JSON's or Python's notation; any other text as it is."""
    if text[:1] != "[" or text[-1:] != "]" or len(text) > _LONGEST_LIST:
        return text
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            found = read(text)
            return found if isinstance(found, list) else text
    return text


def is_empty(value: Any) -> bool:
    """Whether there is nothing: null, blank text, an empty list or object."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})


def headless(source: Path) -> int:
    """How many columns a CSV has whose first row is data already; 0 where it names the columns, or there is none."""
    peeked = itertools.islice(csv_rows(source, header=False), _PEEKED_ROWS + 1)
    first, *rest = [[cell or "" for cell in row.values()] for _, row in peeked] or [[]]
    return 0 if not first or _is_header(first, rest) else len(first)


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Whether a CSV's first row names the columns; data that follow look like it where it is data itself."""
    if any(known_name(name) for name in first):
        return True
    for place, cell in enumerate(first):
        column = [row[place] for row in rest if place < len(row) and row[place].strip()]
        if cell.strip() and (cell in column or _alike(cell, column)):
            return False
    return True


def _alike(cell: str, column: list[str]) -> bool:
    """Whether a cell is a number, a sentence or JSON, which no column is called, and so is most of what follows it."""
    for kind in (_is_number, _is_sentence, _is_container):
        if kind(cell):
            return not column or sum(map(kind, column)) > len(column) / 2
    return False


def _is_number(cell: str) -> bool:
    text = cell.strip().lstrip("+-−$€£")
    return _DATED.fullmatch(text) is not None or (text[:1].isdigit() and number(text) is not None)


def _is_sentence(cell: str) -> bool:
    text = cell.strip()
    return len(text) > _LONG_NAME or len(text.split()) >= _WORDS or (" " in text and text[-1] in ".?!")


def _is_container(cell: str) -> bool:
    return isinstance(cell_value(cell), dict | list)
