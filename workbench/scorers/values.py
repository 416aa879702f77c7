"""Values compared as what they are: labels, text, numbers, dates, money, ordinals, lists and objects of these.

similarity(FieldSpec(type="date"), "14. März 2026", "2026-03-14")       # 1.0
compared(FieldSpec(type="list", of=FieldSpec(type="text")), ["a", "b"], ["b", "c"])   # Counts(right=1, given=2, …)
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, model_validator

from workbench.files import StrictModel

Kind = Literal["label", "text", "number", "date", "money", "boolean", "ordinal", "list", "object"]
LANGUAGES = ("en", "de", "fr", "es")
_CENT = Decimal("0.005")
_LISTED_AT_MOST = 1000  # entries of a list that are looked at: a matching takes n³
_DATE_LENGTH = 60
_MONEY_LENGTH = 40
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_NUMERIC_DATE = re.compile(r"\s*\d{1,4}\s*[-/.]\s*\d{1,2}\s*[-/.]\s*\d{1,4}\s*")
_SYMBOLS = {"€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN", "RM": "MYR", "Fr.": "CHF"}
_CURRENCY = re.compile(r"(?<![A-Za-z])([A-Z]{3})(?![A-Za-z])|€|£|¥|₹|zł")


class FieldSpec(StrictModel):
    """How a value is compared; in evalset.yaml its type alone, or an object.

    Attributes:
        type: what the value is.
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

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"type": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _whole(self) -> FieldSpec:
        if self.type == "list" and self.of is None:
            raise ValueError("a list needs 'of': what its entries are, such as {type: list, of: text}")
        if self.type == "object" and not self.fields:
            raise ValueError("an object needs 'fields'")
        return self

    def with_schema(self, schema: Any) -> FieldSpec:
        """The same with the levels of an ordinal, or a label's classes, out of the answer's JSON schema.

        Raises:
            ValueError: an ordinal has no levels.
        """
        schema = schema if isinstance(schema, dict) else {}
        update: dict[str, Any] = {}
        if self.type in ("ordinal", "label") and self.levels is None:
            enum = [value for value in schema.get("enum", []) if isinstance(value, str | int)]
            if self.type == "ordinal" and len(enum) < 2:
                raise ValueError("an ordinal needs its levels in order: 'levels', or an enum in the JSON schema")
            update["levels"] = enum or None
        if self.of is not None:
            update["of"] = self.of.with_schema(schema.get("items"))
        if self.fields:
            properties = schema.get("properties", {})
            update["fields"] = {name: spec.with_schema(properties.get(name)) for name, spec in self.fields.items()}
        return self.model_copy(update=update)


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
    """Counts over a value's leaves; null and absent are the same, a list's order does not matter.

    A list of alternatives stands for a single value that is right in several ways.
    """
    if spec.type == "list":
        return _lists(spec.of or spec, _entries(given), _entries(expected))
    if spec.type == "object":
        left, right = _object(given), _object(expected)
        return sum(
            (compared(inner, left.get(name), right.get(name)) for name, inner in spec.fields.items()), start=NOTHING
        )
    accepted = expected if isinstance(expected, list) else [expected]
    if given is None:
        return NOTHING if None in accepted else Counts(0.0, 0, 1)
    wanted = [value for value in accepted if value is not None]
    best = max((similarity(spec, given, value) for value in wanted), default=0.0)
    return Counts(best, 1, 1 if wanted else 0)


def _entries(value: Any) -> list[Any]:
    entries = value if isinstance(value, list) else [] if value is None else [value]
    return [entry for entry in entries if entry is not None][:_LISTED_AT_MOST]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _lists(spec: FieldSpec, given: Sequence[Any], expected: Sequence[Any]) -> Counts:
    """Entries are paired so that most of them agree; what is left over counts as given, or as expected, in vain."""
    total = NOTHING
    for entry in given:
        total += Counts(0.0, compared(spec, entry, None).given, 0)
    for entry in expected:
        total += Counts(0.0, 0, compared(spec, None, entry).expected)
    pairs = [[compared(spec, left, right).right for right in expected] for left in given]
    return total + Counts(matched(pairs), 0, 0)


def matched(similarities: Sequence[Sequence[float]]) -> float:
    """The largest sum over pairs, each row and each column used once at most."""
    if not similarities or not similarities[0]:
        return 0.0
    from scipy.optimize import linear_sum_assignment  # the assignment problem (Jonker-Volgenant, Crouse 2016)

    rows, columns = linear_sum_assignment(similarities, maximize=True)
    return math.fsum(similarities[int(row)][int(column)] for row, column in zip(rows, columns, strict=True))


def similarity(spec: FieldSpec, given: Any, expected: Any) -> float:
    """How right a single value is: 1 or 0, and in between for an ordinal that is some levels off."""
    if spec.type == "ordinal":
        return _ordinal(spec.levels or [], given, expected)
    return float(_same(spec, given, expected))


def _same(spec: FieldSpec, given: Any, expected: Any) -> bool:
    if spec.type == "number":
        left, right = number(given), number(expected)
        if left is None or right is None:
            return False
        return abs(left - right) <= max(spec.tolerance or 1e-9, spec.relative * abs(right))
    if spec.type == "money":
        return _same_money(given, expected, _CENT if spec.tolerance is None else Decimal(str(spec.tolerance)))
    if spec.type == "date":
        languages = tuple(spec.languages)
        right_days = days(str(expected), spec.day_first, languages)
        return bool(days(str(given), spec.day_first, languages) & right_days)
    if spec.type == "boolean":
        return isinstance(given, bool) and given == expected
    if isinstance(given, dict | list):
        return False
    if spec.type == "label":
        return plain(_unaliased(given, spec.aliases)) == plain(_unaliased(expected, spec.aliases))
    return plain(given) == plain(expected)


def _unaliased(value: Any, aliases: dict[str, list[str]]) -> Any:
    return next((label for label, others in aliases.items() if plain(value) in map(plain, others)), value)


def _ordinal(levels: Sequence[str | int], given: Any, expected: Any) -> float:
    order = {plain(level): position for position, level in enumerate(levels)}
    if isinstance(given, dict | list) or plain(given) not in order or plain(expected) not in order:
        return 0.0
    return 1 - abs(order[plain(given)] - order[plain(expected)]) / (len(levels) - 1)


def plain(value: Any) -> str:
    """Text without regard to case, spaces and a full stop at the end."""
    return " ".join(str(value).casefold().split()).rstrip(".")


def number(value: Any) -> float | None:
    """A finite number, also one written as text ("1,234.5", "50 %"); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        read = amount(value) if isinstance(value, str) else None
        return None if read is None else float(read[0])
    return found if math.isfinite(found) else None


def _same_money(given: Any, expected: Any, tolerance: Decimal) -> bool:
    left, right = amount(given), amount(expected)
    if left is None or right is None or abs(left[0] - right[0]) >= tolerance + Decimal("1e-9"):
        return False
    return left[1] is None or right[1] is None or left[1] == right[1]


def amount(value: Any) -> tuple[Decimal, str | None] | None:
    """An amount of money and its currency (ISO 4217), where it names one; a bare "$" names none.

    Separators of thousands and decimals are told apart by what follows them: "1.020,00", "1,020" and "1 020" are 1020.
    """
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return None
    return _amount(str(value).strip()[:_MONEY_LENGTH])


@lru_cache(maxsize=65536)
def _amount(text: str) -> tuple[Decimal, str | None] | None:
    from price_parser import Price

    found = Price.fromstring(text).amount
    if found is None:
        return None
    negative = re.search(r"^[^\d]*[-−(]\s*[^\d\s]*\s*\d|\d\s*-\s*$", text) is not None
    currency = _CURRENCY.search(text)
    code = None if currency is None else currency.group(1) or _SYMBOLS[currency.group()]
    return (-found if negative else found), code


@lru_cache(maxsize=65536)
def days(text: str, day_first: bool | None = None, languages: tuple[str, ...] = LANGUAGES) -> frozenset[date]:
    """The days that a date may mean: several where day and month cannot be told apart; none where it is no date."""
    iso = _ISO.match(text.strip())
    if iso:
        try:
            return frozenset([date(*map(int, iso.groups()))])
        except ValueError:
            return frozenset()
    if not text.strip() or len(text) > _DATE_LENGTH:
        return frozenset()
    orders = ["DMY", "MDY"] if day_first is None else ["DMY"] if day_first else ["MDY"]
    if not _NUMERIC_DATE.fullmatch(text):
        orders = orders[:1]  # with the month in letters there is one reading
    found = (_day(text, order, languages) for order in orders)
    return frozenset(day for day in found if day is not None)


def _day(text: str, order: str, languages: tuple[str, ...]) -> date | None:
    import dateparser

    settings: Any = {
        "REQUIRE_PARTS": ["day", "month", "year"],
        "STRICT_PARSING": True,
        "PARSERS": ["absolute-time"],
        "DATE_ORDER": order,
    }
    try:
        found = dateparser.parse(text, languages=list(languages), settings=settings)
    except (ValueError, OverflowError, RecursionError):
        return None
    return found.date() if found else None
