"""Numbers and amounts of money as people write them: "1.020,00 €", "(1 234.50)", "EUR 12.00 incl. 19 % VAT".

number("1,234.5 kg")            # 1234.5
amount("- 1.020,00 €")          # (Decimal('-1020.00'), 'EUR')
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import pairwise
from typing import Any

import regex

_LOOKED_AT = 200  # characters of a text
_LONGEST = 40  # characters of a figure
_CODES = """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
    SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED
    VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG""".split()  # noqa: SIM905  (ISO 4217)
_SIGNS = {
    **{"€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "₴": "UAH", "₪": "ILS"},
    **{"US$": "USD", "CA$": "CAD", "C$": "CAD", "AU$": "AUD", "A$": "AUD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD"},
    **{"R$": "BRL", "MX$": "MXN", "zł": "PLN", "Kč": "CZK", "RM": "MYR", "Fr.": "CHF", "SFr.": "CHF", "₫": "VND"},
    **{"euro": "EUR", "euros": "EUR", "Euro": "EUR", "Euros": "EUR", "eur": "EUR", "Eur": "EUR"},
    **{"usd": "USD", "gbp": "GBP", "chf": "CHF", "jpy": "JPY"},
}
# Their sign is a bare "$" at home; "R$" of BRL and the like never stand without their letter.
_DOLLARS = frozenset(
    {"ARS", "AUD", "BBD", "BMD", "BND", "BSD", "BZD", "CAD", "CLP", "COP", "CUP", "DOP", "FJD", "GYD", "HKD", "JMD"}
    | {"KYD", "LRD", "MXN", "NAD", "NZD", "SBD", "SGD", "SRD", "TTD", "TWD", "USD", "UYU", "XCD"}
)
_CURRENCIES = {**{code: code for code in _CODES}, **_SIGNS}
_SCALES = {"k": 3, "thousand": 3, "tsd": 3, "million": 6, "mio": 6, "billion": 9, "bn": 9, "mrd": 9}
_RANGE = {"-", "–", "—", "to", "or", "bis", "oder", "à", "ou"}
_CURRENCY = regex.compile(r"(?<!\p{L})\L<currencies>(?!\p{L})", currencies=list(_CURRENCIES))
_FIGURE = regex.compile(
    r"""
    (?P<open>\(\s?)?
    (?:(?P<minus>(?<![\w.,)])[-−–](?!\s)|(?<=^|[:=]\s?)[-−]\s))?     # "Total - 5" has none
    (?:(?P<before>(?<!\p{L})\L<currencies>\s?\$?|\$)\s?(?P<inner>[-−]\s?)?)?
    (?(before)|(?<![\p{L}\d_]|\p{L}[-–]))                             # "Q3" and "A-3" are no figures, "EUR3" is
    (?P<figure>
        \d{1,3}(?P<group>[.,'’\s])\d{3}(?:(?P=group)\d{3})*(?!\d)(?:[.,]\d+)?
        |\d+(?:[.,]\d+)*
        |(?<!\w)\.\d+
    )
    (?:[eE](?P<exponent>[-+]?[0-9]{1,3})(?!\w))?
    (?:(?P<scale>[kK](?![\w²])|\s?(?i:thousand|million|billion|tsd|mio|mrd|bn)(?!\p{L})))?
    (?:\s?(?P<percent>%|percent\b|per\scent\b))?
    (?:\s?(?P<after>(?<!\p{L})\L<currencies>(?!\p{L})|\$))?
    (?P<close>\s?\))?
    (?P<behind>\s?[-−]\s*$)?
    """,
    regex.VERBOSE,
    currencies=list(_CURRENCIES),
)


@dataclass(frozen=True)
class Figure:
    """A number in a text.

    Attributes:
        written: its digits and separators.
        sign: -1 or 1.
        power: the power of ten that it is multiplied with.
        currency: ISO 4217, of a currency right beside it; empty for a bare "$".
        percent: whether it is a share.
        begins, ends: where it stands.
    """

    written: str
    sign: int
    power: int
    currency: str | None
    percent: bool
    begins: int
    ends: int

    def value(self, point_groups: bool = False) -> Decimal | None:
        """The number; None where its separators make no sense.

        Args:
            point_groups: whether "1.020" is 1020, as an amount of money is written, and not 1.02; "1,020" always is.
        """
        digits = _digits(self.written, point_groups)
        if digits is None or len(digits) > _LONGEST:
            return None
        try:
            return self.sign * Decimal(digits).scaleb(self.power)
        except InvalidOperation:  # digits of a script that this Python does not know
            return None


def _digits(written: str, point_groups: bool) -> str | None:
    """A number with a decimal point at most, and no other separators."""
    bare = regex.sub(r"['’\s]", "", written)
    marks = [mark for mark in bare if mark in ".,"]
    if not marks:
        return bare
    head, mark, tail = bare.rpartition(marks[-1])
    if len(marks) == 1:
        may_group = (point_groups or mark == ",") and bare == written
        groups = may_group and len(tail) == 3 and len(head) <= 3 and head.lstrip("0") != ""
    else:
        groups = len(set(marks)) == 1  # "1,234,567"
    whole = regex.split("[.,]", head)
    if groups:
        return "".join([*whole, tail]) if len(tail) == 3 else None
    if mark in head or (len(whole) > 1 and len(whole[-1]) != 3):
        return None
    return f"{''.join(whole) or '0'}.{tail}"


def figures(text: str) -> Iterator[Figure]:
    """The numbers in a text, one by one."""
    for found in _FIGURE.finditer(text):
        named = [name for name in (found["before"], found["after"]) if name]
        codes = [_CURRENCIES.get(name.rstrip()) or _CURRENCIES.get(name.rstrip("$ ")) for name in named]
        negative = found["minus"] or found["inner"] or found["behind"] or (found["open"] and found["close"])
        yield Figure(
            written=found["figure"],
            sign=-1 if negative else 1,
            power=int(found["exponent"] or 0) + _SCALES.get((found["scale"] or "").strip().casefold(), 0),
            currency=next((code for code in codes if code), "" if named else None),
            percent=found["percent"] is not None,
            begins=found.start(),
            ends=found.end(),
        )


def number(value: Any) -> float | None:
    """A finite number, also one written as text ("1,234.5", "50 %", "12 pieces"); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        found = _only_number(value) if isinstance(value, str) and len(value) <= _LOOKED_AT else math.nan
    return found if math.isfinite(found) else None


@lru_cache(maxsize=65536)
def _only_number(text: str) -> float:
    """The number in a text; NaN where there is none, or several."""
    found = list(figures(text))
    value = found[0].value(point_groups=found[0].currency is not None) if len(found) == 1 else None
    return math.nan if value is None else float(value)


def amount(value: Any) -> tuple[Decimal, str | None] | None:
    """An amount of money and its currency (ISO 4217), where it names one; "$" for a dollar or peso that is not told.

    Separators of thousands and decimals are told apart by what follows them: "1.020,00", "1,020" and "1 020" are 1020.
    Of several numbers the first beside a currency counts, else the first that is no percentage; a range is no amount.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (Decimal(str(value)) if isinstance(value, float) else Decimal(value), None) if finite(value) else None
    return _amount(value.strip()[: _LOOKED_AT + 1]) if isinstance(value, str) else None


def finite(value: float) -> bool:
    """Whether a number can be computed with."""
    return isinstance(value, int) or math.isfinite(value)


@lru_cache(maxsize=65536)
def _amount(text: str) -> tuple[Decimal, str | None] | None:
    if len(text) > _LOOKED_AT:  # not in the middle of a figure
        text = text[:_LOOKED_AT].rsplit(maxsplit=1)[0]
    found = [figure for figure in figures(text) if not figure.percent]
    chosen = next((figure for figure in found if figure.currency is not None), found[0] if found else None)
    if chosen is None:
        return None
    for left, right in pairwise(found):
        if chosen in (left, right) and text[left.ends : right.begins].strip() in _RANGE:
            return None
    value = chosen.value(point_groups=True)
    return None if value is None else (value, chosen.currency or _named_beside(text, chosen.currency == ""))


def _named_beside(text: str, dollar: bool) -> str | None:
    """The only currency that a text names; of an amount in dollars the dollar that it is."""
    codes = {_CURRENCIES[sign.group()] for sign in _CURRENCY.finditer(text)}
    codes &= _DOLLARS if dollar else codes
    if len(codes) == 1:
        return codes.pop()
    return "$" if dollar or ("$" in text and not codes) else None


def same_currency(one: str | None, other: str | None) -> bool:
    """Whether two currencies of `amount` may be the same; one that is not named may be any, "$" any dollar or peso."""
    if one is None or other is None or one == other:
        return True
    return (one == "$" and other in _DOLLARS) or (other == "$" and one in _DOLLARS)
