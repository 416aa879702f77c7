"""Figures in a text, as people and models write them: "1.020,00 €", "4.2 × 10^3", "2½", "minus 5", "$1.5M", "12{,}345".

[figure.value() for figure in figures("1,234.5 of 2 million")]     # [Decimal('1234.5'), Decimal('2000000')]
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, DecimalException

import regex

from workbench.scorers.currencies import SIGNS, WORDS, closest, is_sure, token_of
from workbench.scorers.latex import without_latex

_LONGEST = 40  # characters of a figure
_SCALES = {
    **{"hundred": 2, "k": 3, "thousand": 3, "tausend": 3, "tsd": 3, "mille": 3, "lakh": 5, "lakhs": 5, "crore": 7},
    "mil": 3,  # in Spanish; alone it may be a million, or no number at all
    **dict.fromkeys(["million", "millions", "millionen", "millón", "millones", "mio", "mln", "mn"], 6),
    **dict.fromkeys(["billion", "billions", "milliarde", "milliarden", "milliard", "milliards", "mrd", "mds", "bn"], 9),
    **dict.fromkeys(["trillion", "trillions", "billionen", "billón", "billones"], 12),
}
# Letters that scale what they are attached to; "5m" and "5 M" do so only beside a currency. "T€" are thousands.
_ATTACHED = {"k": 3, "K": 3, "M": 6, "B": 9}
_BEFORE_MONEY = {"k": 3, "K": 3, "T": 3, "m": 6, "M": 6, "MM": 6, "b": 9, "B": 9, "Md": 9}
_BEHIND_MONEY = {**_BEFORE_MONEY, "T": 12}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻−–", "0123456789+---")
_FIGURE = regex.compile(
    r"""
    (?P<open>\(\s?)?
    (?:
        (?P<minus>(?<![\w.,)])[-−–‐‑](?!\s))
        |(?P<dash>(?<=^|[:=][*_]*\p{Zs}?)[-−–]\s)                            # "Total - 5" has none
        |(?P<word>(?<!\p{L})(?i:minus|negative|moins|menos)\s)
    )?
    (?:(?P<before>(?<!\p{L})\L<signs>\s?\$?|\$)\s?(?P<inner>[-−]\s?)?)?
    # "Q3" and "A-3" are no figures, "EUR3" and "_3_" are; nor are "x^2" and "√2".
    (?(before)|(?<![\p{L}\d]_{0,3}|\p{L}[-–‐‑]|\^[({]?[-−]?|√[({]?))
    (?P<figure>
        \d{1,3}(?P<group>[.,'’_\p{Zs}])\d{3}(?:(?P=group)\d{3})*(?!\d)(?:[.,]\d+)?
        |\d+(?:[.,]\d+)*
        |(?<!\w)\.\d+
        |(?=[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])
    )
    (?:
        \p{Zs}?(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])
        # "2 1/2", and "1/2", but neither "1/2/2026", "26/0091", "25-26/318", "6/5B" nor "$10/2"
        |(?<=(?<![\d.,])\d{1,3})\p{Zs}(?P<part>[1-9][0-9]?)[/⁄](?P<over>[1-9][0-9]{0,2})(?![\w/⁄]|[-.,]\d)
        |(?(before)(?!)|(?<!(?:[/⁄]\p{Zs}?|\d[-–])\d{1,9})(?<!(?<![\d.,])0\d{1,9}))
            \p{Zs}?[/⁄]\p{Zs}?(?P<over>[1-9][0-9]{0,3})(?![\w/⁄]|[-.,]\d|\p{Zs}?[/⁄]\p{Zs}?\d)
    )?
    (?:[eE](?P<exponent>[-+]?[0-9]{1,3})(?!\w))?
    (?:\p{Zs}?(?P<ten>[×x*·⋅∙]\p{Zs}?10)(?=\^|\*\*\d|[⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹]))?
    (?P<raised>
        \^[({]?(?P<power>[-+−–]?[0-9]{1,3}(?![\d.,]*\d))?[)}]?
        |\*\*(?P<power>[0-9]{1,3})(?!\d)
        |(?P<power>[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3})
    )?
    # Behind a space none of "T-shirt", "b/c", "M.N." and "K. Smith" scales; "$2 M. It grew" does.
    (?:
        (?!\p{Zs}(?:MM|Md|[kKMBTmb])(?:-\p{L}|/\p{L}(?!\p{L})|\.(?!\p{Zs}\p{Lu}\p{Ll}*\p{Zs}\p{Ll})\p{Zs}?\p{L}))
        (?:(?P<letter>\p{Zs}?(?:MM|Md|[kKMBTmb])(?:(?![\w²])|(?=\L<signs>(?!\p{L}))))
        |(?P<scale>(?:\p{Zs}?(?i:\L<scales>)\.?(?!\p{L})){1,2}))
    )?
    (?:\p{Zs}?(?P<percent>%|(?i:percent|per\scent|prozent|pour\scent|por\sciento)\b))?
    (?:\p{Zs}?(?P<cents>¢|(?i:cents?|centimes?|céntimos?|centavos?|pence|rappen)(?!\p{L})))?
    (?P<trailing>[-−](?=\p{Zs}?\L<signs>\s*$))?
    (?:
        \p{Zs}?(?(scale)(?:(?i:d['’]|de\s|of\s))?)(?P<after>(?(letter)|(?<!\p{L}))\L<signs>(?!\p{L})|\$)
        |[\p{Zs}-]?(?(scale)(?:(?i:d['’]|de\s|of\s))?)(?P<after>(?<!\p{L})(?i:\L<words>)(?!\p{L}))
    )?
    (?P<close>\s?\))?
    (?(close)(?:\p{Zs}?(?P<outside>(?:\L<signs>|(?i:\L<words>))(?!\p{L})))?)
    (?P<behind>\s?[-−]\s*$)?
    """,
    regex.VERBOSE,
    signs=list(SIGNS),
    words=list(WORDS),
    scales=list(_SCALES),
)
_CURRENCY = regex.compile(r"(?<!\p{L})(?:\L<signs>|(?i:\L<words>))(?!\p{L})", signs=list(SIGNS), words=list(WORDS))
# What may stand before brackets of their own on a line or in a cell; behind ":" those of a mere "(4)" are no minus.
_CELL = regex.compile(r"(?:\A|[\n\t|])[\s*_>]*(?P<money>\L<signs>\s?)?\Z", signs=list(SIGNS))
_NAMED_CELL = regex.compile(r"[:=][\s*_]*(?P<money>\L<signs>\s?)?\Z", signs=list(SIGNS))
_CELL_ENDS = regex.compile(r"[ *_.]*(?:[\n\t|]|\Z)")
_NO_WORDS = regex.compile(r"(?:\s?°\s?[CFK]\b)?[^\p{L}\p{N}]*\Z")
# What stands before "minus" where it is a sign, and takes nothing away from what comes before.
_NO_OPERAND = """is was are were be been being equals equal to of at by from about around approximately roughly nearly
    almost exactly only or than reads read gets get gives give yields ist war sind sei waren beträgt gleich auf von bei
    um etwa rund ungefähr oder est était sont à environ ou vaut es era son a unos igual o de
    it's it’s that's that’s c'est c’est""".split()  # noqa: SIM905
_SIGN_EXPECTED = regex.compile(r"(?:(?:\A|[\n.!?:=(\[{\"“'*|>~≈])\s*|(?<!\p{L})(?i:\L<words>)\s)\Z", words=_NO_OPERAND)
_SEPARATORS = regex.compile(r"['’_\s]")
_MARKS = regex.compile("[.,]")
_NO_DIGIT = regex.compile(r"\D")
_LETTERS = regex.compile(r"\p{L}+")
_OPERAND = regex.compile(r"[\d%)\]]\s?\Z")
_BEFORE = 60  # characters that are looked at before a figure


@dataclass(frozen=True)
class Figure:
    """A number in a text.

    Attributes:
        written: its digits and separators; empty where it is a fraction alone, as "½" is.
        sign: -1 or 1; 0 where it cannot be told.
        power: the power of ten that it is multiplied with; None where it is written as a power of something else.
        fraction: what is added, as numerator and denominator: 1 and 2 of "2½".
        over: what it is divided by: 2 of "1/2".
        currency: what is right beside it; see `currencies.token_of`.
        percent: whether it is a share.
        cents: whether it counts hundredths of a currency.
        begins, ends: where it stands in the text without LaTeX.
    """

    written: str
    sign: int
    power: int | None
    fraction: tuple[int, int] | None
    over: int | None
    currency: str | None
    percent: bool
    cents: bool
    begins: int
    ends: int

    def value(self, point_groups: bool | None = None) -> Decimal | None:
        """The number; None where its separators make no sense, or its sign or power cannot be told.

        Args:
            point_groups: whether "1.020" is 1020, as an amount of money is written, and not 1.02; "1,020" always is.
                Left out, it is beside a currency other than dollars and others that several countries have.
        """
        digits = _digits(self.written, is_sure(self.currency) if point_groups is None else point_groups)
        if digits is None or len(digits) > _LONGEST or not self.sign or self.power is None:
            return None
        try:
            found = Decimal(digits or 0)
            if self.fraction is not None:
                found += Decimal(self.fraction[0]) / self.fraction[1]
            return self.sign * (found / self.over if self.over is not None else found).scaleb(self.power)
        except DecimalException:  # a division by zero, or digits of a script that this Python does not know
            return None

    def numerator(self) -> Decimal | None:
        """The 7 of "7/10", which may be points of so many, and the 24 of "24/7"; None of what is more than 1."""
        value = self.value()
        if self.over is None or value is None or self.power != 0:
            return None
        return replace(self, over=None).value() if value <= 1 or (self.written, self.over) == ("24", 7) else None


def _digits(written: str, point_groups: bool) -> str | None:
    """A number with a decimal point at most, and no other separators."""
    if written.isdecimal():
        return written  # most are
    bare = _SEPARATORS.sub("", written)
    marks = [mark for mark in bare if mark in ".,"]
    if not marks:
        return bare
    head, mark, tail = bare.rpartition(marks[-1])
    if len(marks) == 1:
        may_group = (point_groups or mark == ",") and bare == written
        groups = may_group and len(tail) == 3 and len(head) <= 3 and head.lstrip("0") != ""
    else:
        groups = len(set(marks)) == 1  # "1,234,567"
    whole = _MARKS.split(head)
    if groups:
        return "".join([*whole, tail]) if len(tail) == 3 else None
    if mark in head or (len(whole) > 1 and len(whole[-1]) != 3):
        return None
    return f"{''.join(whole) or '0'}.{tail}"


def figures(text: str) -> Iterator[Figure]:
    """The numbers in a text, one by one."""
    return plain_figures(without_latex(text))


def plain_figures(text: str) -> Iterator[Figure]:
    """The numbers in a text that `without_latex` gave."""
    for found in _FIGURE.finditer(text):
        named = [name for name in (found["before"], found["after"], found["outside"]) if name]
        tokens = [token_of(name.rstrip()) or token_of(name.rstrip("$ ")) or "$" for name in named]
        fraction = _fraction(found)
        yield Figure(
            written=found["figure"],
            sign=_sign(found, text),
            power=_power(found),
            fraction=fraction,
            over=int(found["over"]) if found["over"] and fraction is None else None,
            currency=closest(tokens),
            percent=found["percent"] is not None,
            cents=found["cents"] is not None,
            begins=found.start(),
            ends=found.end(),
        )


def currencies_in(text: str) -> set[str]:
    """What currencies a text names, as `currencies.token_of` has them."""
    return {token for found in _CURRENCY.finditer(text) if (token := token_of(found.group())) is not None}


def _fraction(found: regex.Match[str]) -> tuple[int, int] | None:
    if found["vulgar"]:
        numerator, _, denominator = unicodedata.normalize("NFKC", found["vulgar"]).partition("⁄")
        return int(numerator), int(denominator)
    return (int(found["part"]), int(found["over"])) if found["part"] else None


def _power(found: regex.Match[str]) -> int | None:
    """The power of ten; None where it is one of something else, such as "2^10", or of what is no number."""
    scale = _scale(found)
    if scale is None:
        return None
    power = int(found["exponent"] or 0) + scale
    if not found["raised"]:
        return power
    if not found["power"] or not (found["ten"] or found["figure"] == "10"):
        return None
    return power + int(found["power"].translate(_SUPERSCRIPTS)) - (0 if found["ten"] else 1)


def _scale(found: regex.Match[str]) -> int | None:
    if found["scale"]:
        words = _LETTERS.findall(found["scale"].casefold())
        return sum(_SCALES[word] for word in words) if words != ["mil"] else None
    letter = (found["letter"] or "").strip()
    if found["after"]:
        return _BEFORE_MONEY.get(letter, 0)
    if found["before"]:
        return _BEHIND_MONEY.get(letter, 0)
    return _ATTACHED.get(letter, 0) if letter == found["letter"] else 0


def _sign(found: regex.Match[str], text: str) -> int:
    if found["word"]:
        return _sign_in_words(found, text)
    if found["dash"]:
        return 1 if _is_bullet(found, text) else -1
    if found["minus"] or found["inner"] or found["trailing"] or found["behind"]:
        return -1
    return -1 if found["open"] and found["close"] and _is_accounting(found, text) else 1


def _sign_in_words(found: regex.Match[str], text: str) -> int:
    """Of "minus 5": -1 as a sign, 1 in "7 minus 5", and 0 in "costs minus 5", which may take 5 away from something."""
    place = found.start("word")
    if _OPERAND.search(text[max(0, place - 2) : place]):
        return 1
    if found["open"] or found["word"].casefold().startswith("negative"):
        return -1
    return -1 if _SIGN_EXPECTED.search(text, max(0, place - _BEFORE), place) else 0


def _is_bullet(found: regex.Match[str], text: str) -> bool:
    """Whether a dash and a space begin an entry of a list, and no amount or lone figure."""
    if found.start("dash") or found["dash"].startswith("−") or found["before"] or found["after"]:
        return False
    return _NO_WORDS.match(text, found.end()) is None


def _is_accounting(found: regex.Match[str], text: str) -> bool:
    """Whether brackets around a figure are a minus, as in accounts, and do not repeat a number in words.

    They stand alone: they are the whole text, or a line or a cell of a table. Those of an amount may have something
    behind them, or "Total:" before them.
    """
    place = found.start("open")
    own = _CELL.search(text, max(0, place - _BEFORE), place)
    cell = own or _NAMED_CELL.search(text, max(0, place - _BEFORE), place)
    if cell is None:
        return False
    money = cell["money"] or found["before"] or found["after"] or found["outside"]
    if money or _NO_DIGIT.search(found["figure"]):
        return True
    return own is not None and _CELL_ENDS.match(text, found.end()) is not None
