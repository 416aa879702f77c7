"""Values compared as what they are: labels, text, numbers, dates, money, ordinals, lists and objects of these.

similarity(FieldSpec(type="date"), "14. März 2026", "2026-03-14")       # 1.0
compared(FieldSpec(type="list", of=FieldSpec(type="text")), ["a", "b"], ["b", "c"])   # Counts(right=1, given=2, …)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from workbench.files import StrictModel
from workbench.scorers.amounts import amount as amount
from workbench.scorers.amounts import number as number
from workbench.scorers.currencies import same_currency
from workbench.scorers.schemas import resolved, wants_text
from workbench.scorers.spelling import composed

Kind = Literal["label", "text", "number", "date", "money", "boolean", "ordinal", "list", "object"]
LANGUAGES = ("en", "de", "fr", "es")
_CENT = Decimal("0.005")
_SHORT = 200  # characters of a text whose plain form is kept
_PAIRS_LOOKED_AT = 1_000_000  # of entries of two lists; what is given beyond them counts as given in vain
_A_LITTLE = 1e-6
_NULL_WORDS = frozenset({"null", "none", "n/a"})
_DATE_LENGTH = 60
_PIVOT = {False: 2000, True: 1900}  # of a year of two digits from 69 on, as in POSIX
_ISO = re.compile(r"(?<!\w)(\d{4})-(\d\d)-(\d\d)(?:[T ]\d\d:?\d\d[\d:.,+-]*)?(?![\d-])")
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)")
_CLOCK = r"(?:[T,\s]+\d\d?:\d\d.*)?"
_NUMERIC_DATE = re.compile(rf"(\d{{1,4}})\s?[-/.]\s?(\d{{1,2}})\s?[-/.]\s?(\d{{1,4}}){_CLOCK}")
# "Date: ", "Freitag, den ", " (signed)"
_AROUND_DATE = re.compile(
    r"^[^\W\d]+(?: [^\W\d]+)?:\s*|\b(?:den|vom|el|on)\s+(?=\d|the\b)|\s*\([^()]*\)$", re.IGNORECASE
)


class FieldSpec(StrictModel):
    """How a value is compared; in evalset.yaml its type alone, or an object.

    Attributes:
        type: what the value is: label, text, number, date, money, boolean, ordinal, list or object.
        tolerance: number and money: how far off is still right, absolute (half a cent for money where left out).
        relative: number: how far off is still right, as a share of the expected value.
        levels: ordinal: the levels in their order; out of the answer's JSON schema where left out.
        day_first: date: how 03/04/2026 reads; either way where left out, as when it is copied out of a document.
        languages: date: the languages of month names.
        aliases: label: other spellings that count as a label.
        of: list: what its entries are.
        fields: object: what its fields are.
    """

    type: Kind
    tolerance: float | None = Field(default=None, ge=0)
    relative: float = Field(default=0.0, ge=0)
    levels: list[str | int] | None = Field(default=None, min_length=2)
    day_first: bool | None = None
    languages: list[str] = list(LANGUAGES)
    aliases: dict[str, list[str]] = {}
    of: FieldSpec | None = None
    fields: dict[str, FieldSpec] = {}
    _null_in_words: bool = PrivateAttr(default=False)  # the answer's JSON schema takes text, and no null

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"type": given} if isinstance(given, str) else given

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: list[str]) -> list[str]:
        return known_languages(languages)

    @model_validator(mode="after")
    def _whole(self) -> FieldSpec:
        if self.type == "list" and self.of is None:
            raise ValueError("a list needs 'of': what its entries are, such as {type: list, of: text}")
        if self.type == "object" and not self.fields:
            raise ValueError("an object needs 'fields'")
        return self

    def with_schema(self, schema: Any, root: Any = None) -> FieldSpec:
        """The same with the levels of an ordinal, or a label's classes, out of the answer's JSON schema.

        Args:
            schema: the part of it that is about this value.
            root: the whole of it, into which a $ref leads.

        Raises:
            ValueError: an ordinal has no levels.
        """
        null_in_words = wants_text(schema, root)
        schema = resolved(schema, root)
        update: dict[str, Any] = {}
        if self.type in ("ordinal", "label") and self.levels is None:
            enum = [value for value in schema.get("enum", []) if isinstance(value, str | int)]
            if self.type == "ordinal" and len(enum) < 2:
                raise ValueError("an ordinal needs its levels in order: 'levels', or an enum in the JSON schema")
            update["levels"] = enum or None
        levels: list[Any] | None = update.get("levels", self.levels)
        unknown = sorted(set(map(plain, self.aliases)) - set(map(plain, levels or self.aliases)))
        if unknown:
            raise ValueError(f"aliases are of labels ({', '.join(map(str, levels or []))}), and '{unknown[0]}' is none")
        if self.of is not None:
            update["of"] = self.of.with_schema(schema.get("items"), root)
        if self.fields:
            properties = schema.get("properties", {})
            update["fields"] = {
                name: spec.with_schema(properties.get(name), root) for name, spec in self.fields.items()
            }
        told = self.model_copy(update=update)
        told._null_in_words = null_in_words
        return told

    def is_null(self, value: Any) -> bool:
        """Whether a given value says that there is none: null, empty text; a word where null is not allowed."""
        if not isinstance(value, str):
            return value is None
        return is_blank(value) or (self._null_in_words and plain(value) in _NULL_WORDS)


@dataclass(frozen=True)
class Counts:
    """How many values were right (an ordinal may be partly), given and expected."""

    right: float
    given: int
    expected: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.right + other.right, self.given + other.given, self.expected + other.expected)

    @property
    def f1(self) -> float:
        """F1: 1 where nothing was expected and nothing given."""
        values = self.given + self.expected
        return 2 * self.right / values if values else 1.0


NOTHING = Counts(0.0, 0, 0)


def compared(spec: FieldSpec, given: Any, expected: Any) -> Counts:
    """Counts over a value's leaves; null, empty text and absent are the same, a list's order does not matter.

    A list of alternatives stands for a single value that is right in several ways. Where null is right, a word for it
    is too if the JSON schema of answers takes text alone; see `FieldSpec.is_null`.
    """
    if spec.type == "list":
        return _lists(spec.of or spec, _entries(given), _entries(expected))
    if spec.type == "object":
        left, right = _object(given), _object(expected)
        return sum(
            (compared(inner, left.get(name), right.get(name)) for name, inner in spec.fields.items()), start=NOTHING
        )
    accepted = expected if isinstance(expected, list) else [expected]
    may_be_null = any(map(is_blank, accepted))
    if is_blank(given) or (may_be_null and spec.is_null(given)):
        return NOTHING if may_be_null else Counts(0.0, 0, 1)
    return Counts(_right(spec, given, expected), 1, int(not all(map(is_blank, accepted))))


def _right(spec: FieldSpec, given: Any, expected: Any) -> float:
    """`compared(…).right` alone: it is asked for every pair of two lists."""
    if spec.type == "list":
        return compared(spec, given, expected).right
    if spec.type == "object":
        left, right = _object(given), _object(expected)
        return math.fsum([_right(inner, left.get(name), right.get(name)) for name, inner in spec.fields.items()])
    if is_blank(given) or is_blank(expected):
        return 0.0
    if isinstance(expected, list):
        return max((similarity(spec, given, value) for value in expected if not is_blank(value)), default=0.0)
    if type(given) is type(expected) is str and given == expected:
        return 1.0  # most are
    return similarity(spec, given, expected)


def _entries(value: Any) -> list[Any]:
    entries = value if isinstance(value, list) else [] if value is None else [value]
    return [entry for entry in entries if not is_blank(entry)]


def is_blank(value: Any) -> bool:
    """Whether a value is null, or text with nothing in it."""
    return value is None or (isinstance(value, str) and not value.strip())


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _lists(spec: FieldSpec, given: Sequence[Any], expected: Sequence[Any]) -> Counts:
    """Entries are paired so that most of them agree; what is left over counts as given, or as expected, in vain."""
    if spec.type in ("text", "label") and not any(isinstance(entry, list) for entry in expected):
        left = Counter(_spelling(spec, entry) for entry in given if not isinstance(entry, dict | list))
        right = Counter(_spelling(spec, entry) for entry in expected)
        return Counts((left & right).total(), len(given), len(expected))
    looked_at = given[: _PAIRS_LOOKED_AT // max(1, len(expected))]
    pairs = [[_right(spec, left, right) for right in expected] for left in looked_at]
    for column, entry in enumerate(expected):
        if _may_be_null(spec, entry):  # pairing what may be left out makes more expected: so it goes last
            without = compared(spec, None, entry).expected
            for row, left in enumerate(looked_at):
                if pairs[row][column] > 0:
                    pairs[row][column] -= _A_LITTLE * (compared(spec, left, entry).expected - without)
    total = NOTHING
    unpaired, missed = set(range(len(given))), set(range(len(expected)))
    for row, column in matched(pairs):
        if pairs[row][column] > 0:
            total += compared(spec, given[row], expected[column])
            unpaired.remove(row)
            missed.remove(column)
    for row in unpaired:
        total += Counts(0.0, compared(spec, given[row], None).given, 0)
    for column in missed:
        total += Counts(0.0, 0, compared(spec, None, expected[column]).expected)
    return total


def _may_be_null(spec: FieldSpec, expected: Any) -> bool:
    """Whether null is one of several accepted values, somewhere in it."""
    if spec.type == "object":
        return any(_may_be_null(inner, _object(expected).get(name)) for name, inner in spec.fields.items())
    if spec.type == "list":
        return any(_may_be_null(spec.of or spec, entry) for entry in _entries(expected))
    return isinstance(expected, list) and any(map(is_blank, expected))


def matched(similarities: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """The pairs of rows and columns with the largest sum, each row and each column used once at most."""
    if not similarities or not similarities[0]:
        return []
    from scipy.optimize import linear_sum_assignment  # the assignment problem (Jonker-Volgenant, Crouse 2016)

    rows, columns = linear_sum_assignment(similarities, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


def similarity(spec: FieldSpec, given: Any, expected: Any) -> float:
    """How right a single value is: 1 or 0, and in between for an ordinal that is some levels off."""
    if spec.type == "ordinal":
        return _ordinal(spec.levels or [], given, expected)
    return float(_same(spec, given, expected))


def _same(spec: FieldSpec, given: Any, expected: Any) -> bool:
    if spec.type == "number":
        return near(number(given), number(expected), spec.tolerance or 1e-9, spec.relative)
    if spec.type == "money":
        return _same_money(given, expected, _CENT if spec.tolerance is None else Decimal(str(spec.tolerance)))
    if spec.type == "date":
        return not days_of(spec, given).isdisjoint(days_of(spec, expected))
    if spec.type == "boolean":
        return isinstance(given, bool) and given == expected
    if isinstance(given, dict | list):
        return False
    return _spelling(spec, given) == _spelling(spec, expected)


def near(given: float | None, expected: float | None, tolerance: float, relative: float) -> bool:
    """Whether a number is within a tolerance, which itself is still right: 1.1 is 0.1 off 1.0."""
    if given is None or expected is None:
        return False
    rounding = 4 * math.ulp(max(abs(given), abs(expected)))
    return abs(given - expected) <= max(tolerance, relative * abs(expected)) + rounding


def _spelling(spec: FieldSpec, value: Any) -> str:
    return plain(unaliased(value, spec.aliases) if spec.type == "label" else value)


def unaliased(value: Any, aliases: dict[str, list[str]]) -> Any:
    """The label that a value is another spelling of; else the value."""
    if not aliases:
        return value
    return next((label for label, others in aliases.items() if plain(value) in map(plain, others)), value)


def _ordinal(levels: Sequence[str | int], given: Any, expected: Any) -> float:
    order = {plain(level): position for position, level in enumerate(levels)}
    if isinstance(given, dict | list) or plain(given) not in order or plain(expected) not in order:
        return 0.0
    return 1 - abs(order[plain(given)] - order[plain(expected)]) / (len(levels) - 1)


def plain(value: Any) -> str:
    """Text without regard to case, spaces, how hyphens and quotes are set, and a full stop at the end."""
    text = value if isinstance(value, str) else str(value)
    return _folded(text) if len(text) <= _SHORT else _folded.__wrapped__(text)


@lru_cache(maxsize=16384)
def _folded(text: str) -> str:
    return " ".join(composed(text).casefold().split()).rstrip(". ")


def _same_money(given: Any, expected: Any, tolerance: Decimal) -> bool:
    left, right = amount(given), amount(expected)
    if left is None or right is None or abs(left[0] - right[0]) > tolerance:
        return False
    return same_currency(left[1], right[1])


def days_of(spec: FieldSpec, value: Any) -> frozenset[date]:
    """The days that a value may mean; none where it is no text."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return frozenset()
    return days(str(value), spec.day_first, tuple(spec.languages))


def known_languages(languages: list[str]) -> list[str]:
    """Languages whose dates can be read.

    Raises:
        ValueError: one is not known, or there is none.
    """
    from dateparser.data.languages_info import language_order  # 0.4 s

    unknown = next((language for language in languages if language not in language_order), None)
    if unknown is not None or not languages:
        raise ValueError(f"'{unknown or ''}' is no language, such as {', '.join(LANGUAGES)}")
    return languages


@lru_cache(maxsize=65536)
def days(text: str, day_first: bool | None = None, languages: tuple[str, ...] = LANGUAGES) -> frozenset[date]:
    """The days that a date may mean: several where day and month cannot be told apart; none where it is no date."""
    text = text.strip().rstrip(".")
    if len(text) > _DATE_LENGTH or not any(mark.isdigit() for mark in text):
        return frozenset()
    iso = _ISO.findall(text) or _COMPACT.findall(text) * bool(_COMPACT.fullmatch(text))
    if iso:
        several = len(set(iso)) > 1 or any(mark.isdigit() for mark in _ISO.sub("", _COMPACT.sub("", text)))
        return frozenset() if several else _calendar(iso)
    numeric = _NUMERIC_DATE.fullmatch(text)
    if numeric is None:
        found = _named_day(text, languages)
        return frozenset() if found is None else frozenset([found])
    first, second, third = numeric.groups()
    if len(first) == 4:
        return _calendar([(first, second, third)])
    year = third if len(third) == 4 else str(_PIVOT[int(third) >= 69] + int(third)) if len(third) == 2 else "0"
    by_day, by_month = _calendar([(year, second, first)]), _calendar([(year, first, second)])
    if day_first is None:
        return by_day | by_month
    return (by_day or by_month) if day_first else (by_month or by_day)


def _calendar(parts: Sequence[tuple[str, str, str]]) -> frozenset[date]:
    """The days of years, months and days; without those that no calendar has."""
    found = set()
    for year, month, day in parts:
        with suppress(ValueError):
            found.add(date(int(year), int(month), int(day)))
    return frozenset(found)


def _named_day(text: str, languages: tuple[str, ...]) -> date | None:
    """The day of a date with its month in letters."""
    import dateparser

    settings: Any = {
        "REQUIRE_PARTS": ["day", "month", "year"],
        "STRICT_PARSING": True,
        "PARSERS": ["absolute-time"],
        "DATE_ORDER": "DMY",
    }
    try:
        found = dateparser.parse(_AROUND_DATE.sub("", text), languages=list(languages), settings=settings)
    except (ValueError, OverflowError, RecursionError):
        return None
    return found.date() if found else None
