"""Numbers and amounts of money as values: "1.020,00 €", "(1 234.50)", "EUR 12.00 incl. 19 % VAT".

number("1,234.5 kg")            # 1234.5
amount("- 1.020,00 €")          # (Decimal('-1020.00'), 'EUR')
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any

import regex

from workbench.scorers.currencies import is_sure, only
from workbench.scorers.figures import Figure, currencies_in, plain_figures
from workbench.scorers.figures import figures as figures
from workbench.scorers.latex import without_latex

_LOOKED_AT = 200  # characters of a text
_RANGE = {"-", "–", "—", "to", "or", "bis", "oder", "à", "ou"}
_AND = {"", ",", "and", "und", "et", "y", "con"}
_SAYS_MORE = regex.compile(r"[\p{L}\p{N}]")  # behind "20 €, 50 cents": they are of something else


def number(value: Any) -> float | None:
    """A finite number, also one written as text ("1,234.5", "50 %", "12 pieces"); None for anything else.

    "1/2" is none: as a value it may be a date, or the first of two.
    """
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
    value = found[0].value() if len(found) == 1 and found[0].over is None else None
    return math.nan if value is None else float(value)


def amount(value: Any) -> tuple[Decimal, str | None] | None:
    """An amount of money and its currency (ISO 4217), where it names one; "$" for a dollar or peso that is not told.

    "pound", "krone" and others that several countries have stand for one of theirs; see `currencies`.
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
    text = without_latex(text)
    found = [figure for figure in plain_figures(text) if not figure.percent and figure.over is None]
    chosen = next((figure for figure in found if figure.currency is not None), found[0] if found else None)
    if chosen is None:
        return None
    following = None
    for left, right in pairwise(found):
        between = text[left.ends : right.begins].strip()
        if chosen in (left, right) and between in _RANGE:
            return None
        alone = between != "," or not _SAYS_MORE.search(text, right.ends)
        if left is chosen and right.cents and not left.cents and between in _AND and alone:
            following = right
    value = _in_whole(chosen)
    if value is None:
        return None
    if following is not None:
        value += (_in_whole(following) or 0) * (-1 if value < 0 else 1)
    currency = chosen.currency
    return value, currency if is_sure(currency) else only(currencies_in(text), currency)


def _in_whole(figure: Figure) -> Decimal | None:
    """An amount in dollars, not in cents."""
    value = figure.value(point_groups=True)
    return value if value is None or not figure.cents else value.scaleb(-2)
