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

from workbench.formats.shared.cells import cell_value, is_empty
from workbench.scorers.exact import normalized
from workbench.scorers.values import amount, days, number, plain

_DISTINCT = 400  # spellings that are kept; a set of labels has fewer
_BARE = 10_000  # texts that are looked at without their punctuation
_FIELDS = 200  # keys of an object that are kept
_DEPTH = 6
_SHORT = 80  # characters of what may be a label
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?\s?%?")
_MONEY = re.compile(r"[-−(]?\s*(?:[A-Z]{1,3}\$?|[$€£¥₹])?\s*[-−]?\d[\d.,' ]*(?:[A-Z]{3}|[€$£¥₹]|zł)?\s*\)?")
_MARK = re.compile(r"[A-Z]{2,3}|[$€£¥₹]|zł")
_WORDY = re.compile(r"[^\W_]")  # a letter or a digit
_WORD = re.compile(r"[^\W\d_]{2}")
_DATE_LENGTH = 40


class Values:
    """Statistics of the values in one place: a column, a field of one, or the entries of its lists.

    Attributes:
        filled, empty: how many are there and not empty, and how many are empty; of these, `blank` are empty cells or
            lists, and say so.
        first: the line of the first that is filled.
        shapes: how many are single, list, object; list_text and object_text are JSON written as text.
        kinds: of single values, and of the entries of lists, how many are text, number, boolean; else nested.
        looks: what every text so far reads as: number, date, money.
        marked, integers: how many texts name a currency, and how many numbers are whole.
        signs: how many texts are nothing but punctuation.
        blurred: whether different texts without a word are the same once their punctuation is gone: "A-" and "A".
        spellings: the short texts and how often each occurs; None once there are too many, or a long one.
        parts: the same of what stands between ";", with `joined`, how many have one.
        longest, characters, words: of the text.
        fields: by key, of the objects; `wide` where keys are left out.
        entries: of the lists.
        names: the labels, where the source declares them.
    """

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self.filled = self.empty = self.first = self.joined = self.marked = self.integers = self.signs = 0
        self.longest = self.characters = self.words = self.blank = 0
        self.blurred = False
        self._bare: dict[str, str] = {}
        self.shapes: Counter[str] = Counter()
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
            self.empty += 1
            self.blank += value in ("", [])
            return
        self.filled += 1
        self.first = self.first or line
        read = cell_value(value)
        shape = "list" if isinstance(read, list) else "object" if isinstance(read, dict) else "single"
        self.shapes[shape if read is value else f"{shape}_text"] += 1
        if shape == "single":
            self._single(value)
        elif self._depth >= _DEPTH:
            self.wide = True
        elif isinstance(read, list):
            self.entries = self.entries or Values(self._depth + 1)
            for entry in read:
                self.entries.observe(entry, line)
                if not is_empty(entry):
                    self._single(entry)
        else:
            self.kinds["nested"] += 1
            self._object(read, line)

    def _object(self, value: dict[str, Any], line: int) -> None:
        for key, inner in value.items():
            if key in self.fields or len(self.fields) < _FIELDS:
                self.fields.setdefault(key, Values(self._depth + 1)).observe(inner, line)
            else:
                self.wide = True

    def _single(self, value: Any) -> None:
        if isinstance(value, bool):
            self.kinds["boolean"] += 1
            self.spellings = _counted(self.spellings, ["true" if value else "false"])
        elif isinstance(value, int | float):
            self.kinds["number"] += 1
            self.integers += isinstance(value, int) or value.is_integer()
            self.spellings = _counted(self.spellings, [json.dumps(value)])
        elif isinstance(value, str) and cell_value(value) is value:
            self.kinds["text"] += 1
            self._text(value.strip())
        else:
            self.kinds["nested"] += 1

    def _text(self, text: str) -> None:
        self.longest = max(self.longest, len(text))
        self.characters += len(text)
        self.words += text.count(" ") + 1
        self.signs += _WORDY.search(text) is None and not normalized(text, ["punctuation"])
        if not self.blurred and len(text) <= _SHORT and _WORD.search(text) is None and len(self._bare) < _BARE:
            self.blurred = self._bare.setdefault(normalized(text, ["case", "punctuation"]), plain(text)) != plain(text)
        self.spellings = _counted(self.spellings, [text])
        if self.parts is not None:
            pieces = [piece.strip() for piece in text.split(";") if piece.strip()]
            self.joined += len(pieces) > 1
            self.parts = _counted(self.parts, pieces)
        # A look once gone costs nothing more.
        if "number" in self.looks:
            self.integers += text.lstrip("+-−").isdigit()
            if not reads_as_number(text):
                self.looks.discard("number")
        if "date" in self.looks and not _is_date(text):
            self.looks.discard("date")
        if "money" in self.looks:
            self.marked += _MARK.search(text) is not None
            if len(text) > _DATE_LENGTH or _MONEY.fullmatch(text) is None or amount(text) is None:
                self.looks.discard("money")

    @property
    def labels(self) -> dict[str, str]:
        """By what makes a label, case and spaces aside, its most frequent spelling."""
        return grouped(self.spellings)

    @property
    def is_single(self) -> bool:
        """Whether none is a list or an object."""
        return not self.fields and self.entries is None

    @property
    def objects_only(self) -> bool:
        """Whether every value is an object, or JSON text of one."""
        return bool(self.fields) and self.filled == self.shapes["object"] + self.shapes["object_text"]

    @property
    def lists_only(self) -> bool:
        """Whether every value is a list, or JSON text of one."""
        return self.entries is not None and self.filled == self.shapes["list"] + self.shapes["list_text"]

    @property
    def texts_only(self) -> bool:
        """Whether every value is a text, also if it is JSON."""
        return not (self.kinds["number"] + self.kinds["boolean"] + self.shapes["list"] + self.shapes["object"])

    @property
    def json_texts(self) -> int:
        """How many are JSON written as text."""
        return self.shapes["list_text"] + self.shapes["object_text"]

    @property
    def numbers_only(self) -> bool:
        """Whether every value is a number, or a text that reads as one."""
        return bool(self.kinds) and set(self.kinds) <= {"text", "number"} and "number" in self.looks


def grouped(spellings: dict[str, int] | None) -> dict[str, str]:
    """Spellings that differ only in case and spaces as one: by what they share the most frequent."""
    found: dict[str, tuple[int, str]] = {}
    for spelling, count in (spellings or {}).items():
        found[plain(spelling)] = max(found.get(plain(spelling), (0, "")), (count, spelling))
    return {key: spelling for key, (_, spelling) in found.items()}


def reads_as_number(text: str) -> bool:
    """Whether a text is a number and nothing else."""
    return _NUMBER.fullmatch(text.strip()) is not None and number(text) is not None


def _is_date(text: str) -> bool:
    # No year, no date: what has fewer digits is not even tried, for reading a date is slow.
    return len(text) <= _DATE_LENGTH and sum(letter.isdigit() for letter in text) >= 3 and bool(days(text))


def _counted(found: dict[str, int] | None, texts: list[str]) -> dict[str, int] | None:
    """Counts with some more texts; None once they are no short ones, or too many."""
    if found is None:
        return None
    for text in texts:
        if len(text) > _SHORT or "\n" in text:
            return None
        found[text] = found.get(text, 0) + 1
    return found if len(found) <= _DISTINCT else None
