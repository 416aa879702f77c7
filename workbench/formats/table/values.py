"""What the values in one place of a table are, found in one pass and bounded memory: kinds, looks, distinct ones.

values = Values()
values.observe({"total": "9.00"}, line=1)
values.fields["total"].looks          # {'money', 'number'}: what every text so far could be
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from workbench.formats.base import cell_value
from workbench.scorers.values import amount, days, number, plain

DISTINCT = 400  # spellings that are kept; a set of labels has fewer
FIELDS = 200  # keys of an object that are kept
_DEPTH = 6
SHORT = 80  # characters of what may be a label
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?\s?%?")
_MONEY = re.compile(r"[-−(]?\s*(?:[A-Z]{1,3}\$?|[$€£¥₹])?\s*[-−]?\d[\d.,' ]*(?:[A-Z]{3}|[€$£¥₹]|zł)?\s*\)?")
_MARK = re.compile(r"[A-Z]{2,3}|[$€£¥₹]|zł")
_DATE_LENGTH = 40


class Values:
    """Statistics of the values in one place: a column, a field of one, or the entries of its lists.

    Attributes:
        filled: how many are there and not empty.
        first: the line of the first of them.
        kinds: how many are text, number, boolean, list, object; list_text and object_text are JSON written as text.
        looks: what every text so far reads as: number, date, money.
        marked: how many name a currency.
        spellings: the short ones and how often each occurs; None once there are too many, or a long one.
        parts: the same of what stands between ";", with `joined`, how many have one.
        longest, characters, words: of the text.
        fields: by key, of the objects; `wide` where keys are left out.
        entries: of the lists; `listed` is the number of lists that have any.
        names: the labels, where the source declares them.
    """

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self.filled = self.first = self.joined = self.marked = self.integers = 0
        self.longest = self.characters = self.words = 0
        self.kinds: Counter[str] = Counter()
        self.looks = {"number", "date", "money"}
        self.spellings: dict[str, int] | None = {}
        self.parts: dict[str, int] | None = {}
        self.fields: dict[str, Values] = {}
        self.entries: Values | None = None
        self.wide = False
        self.names: list[str] | None = None

    def observe(self, value: Any, line: int) -> None:
        """Take a value into account."""
        if is_empty(value):
            self.kinds["empty"] += 1
            return
        self.filled += 1
        self.first = self.first or line
        if isinstance(value, str):
            self._text(value, line)
        elif isinstance(value, bool):
            self.kinds["boolean"] += 1
            self._spelling("true" if value else "false")
        elif isinstance(value, int | float):
            self.kinds["number"] += 1
            self.integers += isinstance(value, int) or value.is_integer()
            self._spelling(json.dumps(value))
        else:
            self.kinds["list" if isinstance(value, list) else "object"] += 1
            self._container(value, line)

    def _text(self, text: str, line: int) -> None:
        value = cell_value(text)
        if not isinstance(value, str):
            self.kinds["list_text" if isinstance(value, list) else "object_text"] += 1
            self._container(value, line)
            return
        self.kinds["text"] += 1
        stripped = text.strip()
        self.longest = max(self.longest, len(stripped))
        self.characters += len(stripped)
        self.words += stripped.count(" ") + 1
        self._spelling(stripped)
        if self.parts is not None:
            pieces = [piece.strip() for piece in stripped.split(";") if piece.strip()]
            self.joined += len(pieces) > 1
            self.parts = _counted(self.parts, pieces)
        self._look(stripped)

    def _look(self, text: str) -> None:
        """Strike out what a text cannot be read as; a look once gone costs nothing more."""
        if "number" in self.looks:
            if not reads_as_number(text):
                self.looks.discard("number")
            else:
                self.integers += text.lstrip("+-−").isdigit()
        if "date" in self.looks and not _is_date(text):
            self.looks.discard("date")
        if "money" in self.looks:
            if len(text) > _DATE_LENGTH or _MONEY.fullmatch(text) is None or amount(text) is None:
                self.looks.discard("money")
            else:
                self.marked += _MARK.search(text) is not None

    def _spelling(self, text: str) -> None:
        if self.spellings is not None:
            self.spellings = _counted(self.spellings, [text])

    def _container(self, value: Any, line: int) -> None:
        if self._depth >= _DEPTH:
            self.wide = True
        elif isinstance(value, list):
            self.entries = self.entries or Values(self._depth + 1)
            for entry in value:
                self.entries.observe(entry, line)
        else:
            for key, inner in value.items():
                if key not in self.fields:
                    if len(self.fields) >= FIELDS:
                        self.wide = True
                        continue
                    self.fields[key] = Values(self._depth + 1)
                self.fields[key].observe(inner, line)

    @property
    def labels(self) -> dict[str, str]:
        """By what makes a label, case and spaces aside, its most frequent spelling."""
        return grouped(self.spellings)

    @property
    def objects_only(self) -> bool:
        """Whether every value is an object, or JSON text of one."""
        return bool(self.fields) and self.filled == self.kinds["object"] + self.kinds["object_text"]

    @property
    def lists_only(self) -> bool:
        """Whether every value is a list, or JSON text of one."""
        return self.entries is not None and self.filled == self.kinds["list"] + self.kinds["list_text"]

    @property
    def json_texts(self) -> int:
        """How many are JSON written as text."""
        return self.kinds["list_text"] + self.kinds["object_text"]

    @property
    def scalars(self) -> Values:
        """The statistics of single values: of the lists' entries too, where a list stands for several accepted ones.

        Its kinds are text, number and boolean, and `nested` for what is no single value.
        """
        both = Values()
        for part in (self, self.entries) if self.entries else (self,):
            both.looks &= part.looks
            both.longest = max(both.longest, part.longest)
            for name in ("joined", "marked", "integers", "characters", "words"):
                setattr(both, name, getattr(both, name) + getattr(part, name))
            both.spellings, both.parts = _merged(both.spellings, part.spellings), _merged(both.parts, part.parts)
            for kind, count in part.kinds.items():
                if count and kind != "empty" and not (part is self and kind in ("list", "list_text")):
                    both.kinds[kind if kind in ("text", "number", "boolean") else "nested"] += count
        both.filled = sum(both.kinds.values())
        both.names = self.names
        return both


def grouped(spellings: dict[str, int] | None) -> dict[str, str]:
    """Spellings that differ only in case and spaces as one: by what they share the most frequent."""
    found: dict[str, tuple[int, str]] = {}
    for spelling, count in (spellings or {}).items():
        found[plain(spelling)] = max(found.get(plain(spelling), (0, "")), (count, spelling))
    return {key: spelling for key, (_, spelling) in found.items()}


def is_empty(value: Any) -> bool:
    """Whether there is nothing: null, blank text, an empty list or object."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})


def reads_as_number(text: str) -> bool:
    """Whether a text is a number and nothing else."""
    return _NUMBER.fullmatch(text.strip()) is not None and number(text) is not None


def _is_date(text: str) -> bool:
    # No year, no date: what has fewer digits is not even tried, for reading a date is slow.
    return len(text) <= _DATE_LENGTH and sum(letter.isdigit() for letter in text) >= 3 and bool(days(text))


def _counted(found: dict[str, int], texts: list[str]) -> dict[str, int] | None:
    for text in texts:
        if len(text) > SHORT or "\n" in text:
            return None
        found[text] = found.get(text, 0) + 1
    return found if len(found) <= DISTINCT else None


def _merged(left: dict[str, int] | None, right: dict[str, int] | None) -> dict[str, int] | None:
    if left is None or right is None:
        return None
    both = dict(left)
    for text, count in right.items():
        both[text] = both.get(text, 0) + count
    return both if len(both) <= DISTINCT else None
