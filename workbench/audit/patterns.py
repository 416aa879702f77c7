"""How personal data is written: addresses, phone and card numbers, accounts, dates of birth. Plain patterns.

kinds_in("call 555-0142")                        # {'phone number'}

A number has a check sum, or a shape that few others have, or a name before it; behind the name of another number, such
as "order", it is none. Tests hold the patterns against texts that only look alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from workbench.audit.credentials import SECRETS

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|mär|okt|dez)[a-z]*\.?"
_NUMERIC = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_DATE = rf"(?:{_NUMERIC}|\d{{1,2}}\.? {_MONTH}|{_MONTH} \d{{1,2}})"
_WORDED = rf"(?:\d{{1,2}}(?:st|nd|rd|th|\.)?(?: of)? {_MONTH}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?)"
_LIVING = r"(?:19[2-9]\d|20\d\d)"  # a birth in 1776 is history
_BEFORE_2020 = r"(?:19[2-9]\d|20[01]\d)"  # "the birthday is 12.05.2026" tells of a day to come
_NUMERIC_LIVING, _NUMERIC_BEFORE_2020 = (
    rf"(?:{year}[./-]\d\d?[./-]\d\d?|\d\d?[./-]\d\d?[./-](?:{year}|\d\d))(?!\d)" for year in (_LIVING, _BEFORE_2020)
)
_MARKUP = r"[\s\"'`*_|]{0,4}"  # around a name and its value: of JSON, Markdown, a table's cells

# Between a name and its number: what says that the one is the other's, or nothing but a space.
_SAYS = rf"(?:{_MARKUP}(?:[:=#|]|\b(?:is|are|ist|lautet)\b:?){_MARKUP}|[ \t]{{0,2}}[\"'`*]{{1,3}}[ \t]{{0,2}})"
_NUMBER_WORD = r"(?:[ -]{0,2}(?:nos?\b|nr\b|numbers?\b|nummern?\b)\.?)"
_A_NUMBER = r"(\(?\+?\d[\d ()./-]{5,18}\d)(?![\w-])(?!,\d)"
_PHONE_NAME = (
    # "phones: 1234567" may be how many there are: the plural counts before a number that begins as those of phones do.
    r"(?:(?:tele(?:phone|fon)|(?:contact|customer)?phone)(?:s(?=\W{0,8}[0+]))?|t[ée]l[ée]phone|tel|fax|whatsapp"
    r"|mobil(?:funk)?|rufnummer"
    rf"|(?:(?:telefon|handy|mobil(?:funk|telefon)?|fax|contact)[ -]?(?:number|nummer|nr)))\.?{_NUMBER_WORD}?"
)
_DEVICE = rf"(?:mobile|cell|handy)(?:[ -]?phone)?{_NUMBER_WORD}?"  # a table has cells, and a mobile a year and a price
_MONEY = r"EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|PLN|RM|euros?|dollars?|pounds?|kr|points?|units?|pieces?"
_AMOUNT_BEHIND = re.compile(
    rf"[ \t]{{0,2}}(?:[€$£¥%°]|(?:{_MONEY}|pages?|people"
    r"|users?|rows?|items?|steps?|watts?|volts?|GB|MB|KB|kg|km|mm|cm|px|dpi|Hz|MHz|GHz|mAh|sold|to|x)\b)",
    re.I,
)
# "card ****4471 to pay" and "card ****4471 EUR 50" name a card: neither "to" nor the next amount's currency counts.
_MONEY_BEHIND = re.compile(rf"[ \t]{{0,2}}(?:[€$£¥%]|(?:{_MONEY})\b)(?![ \t]?\d)", re.I)
_PHONE_NAMED, _DEVICE_NAMED = (
    re.compile(rf"(?<![^\W_]){name}(?:{_SAYS}|[ \t]{{1,3}})(?!{_DATE}\b){_A_NUMBER}", re.I)
    for name in (_PHONE_NAME, _DEVICE)
)

# Country codes as the ITU gives them (E.164); North American numbers have a shape of their own.
_CODE = (
    r"(?:7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|(?:2[1-689]|35|37|38|42|50|59|67|68|69|85|87|88|96|97|99)\d)"
)
_ABROAD = re.compile(
    r"(?<![\w.,/+-])(?!\+?\d{4}-\d\d-\d\d)"
    r"(?:\+(?!\d{1,3}\.\d+(?!\d|[ ()/.-]{1,3}\d))(?!\d{1,3}(?:[.,]\d{3})+(?!\d|[ .-]\d))"  # decimals, thousands
    rf"{_CODE}|(?<!\d[ -])00{_CODE}(?=[ ./()-]))((?:[ ./()-]{{0,3}}\d){{5,12}})(?![\w-])(?![.,]\d)"
)
_LEAST_ABROAD, _LEAST_WITH_ZEROS = 9, 12  # digits, with the country's code; many a plain number begins with 00
_PHONE = re.compile(
    r"(?<![\w.,/+-])(?:"
    r"(?:\+1[ .-]?)\(?[2-9]\d\d\)?[ .-]{0,2}[2-9]\d\d[ .-]?\d{4}"
    r"|(?:1[ .-])?\([2-9]\d\d\)[ -]?[2-9]\d\d[ .-]\d{4}|(?:1-)?[2-9]\d\d([.-])[2-9]\d\d\1\d{4}"
    r"|555-01\d\d"
    r"|\(0[1-9]\d{1,4}\)[ /-]{0,3}\d(?:[ -]?\d){4,9}"
    r"|07\d{3}[ -]\d{3}[ -]?\d{3}|07[1-9]\d{8}|02\d \d{4} \d{4}"  # GB
    r"|01[567]\d[ /-]\d(?:[ -]?\d){6,7}|01(?:5\d|6[023]|7\d)\d{7,8}"  # DE
    r"|0[67](?:[ .-]\d\d){4}"  # FR
    r")(?![\w-])(?![.,]\d)"
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_SSN_NAMED = re.compile(
    rf"(?<![^\W_])(?:ssn|social security)(?: (?:no\.?|number))?(?:{_SAYS}|[ \t]{{1,2}})"
    r"\d{3}([ -]?)\d{2}\1\d{4}(?!\w)",
    re.I,
)
# What another number than a phone's is called, right before it, in the same sentence: "order no. ", "Bestellnummer: ",
# "SKU ". A noun alone may end a sentence or stand before a bracket, and what is behind is no number of its own.
_THINGS = (
    r"(?:order|item|article|model|part|sku|rma|ref|reference|ticket|invoice|serial|version|build|release"
    r"|tracking|product code|code|draw|lot|range|paragraph|isbn|issn|ean|gtin|docket|fall|akte|artikel|bestellung"
    r"|rechnung|auftrag|sendung)s?\b"
)
_OF_PHONES = r"(?:telefon|handy|mobil|ruf|fax|festnetz|privat|notfall|durchwahl|hotline|service|whatsapp|kontakt|phone)"
_OF_PERSONS = (  # "meine neue Nr." is most often a phone's
    r"(?:(?:mein|dein|sein|ihr|unser|eu[e]?r|dies|neu|alt|ander|aktuell|richtig|falsch|privat|geschäftlich|dienstlich"
    r"|persönlich|eigen|folgend)e?[nrms]?|der|die|den|unter|mit|auf)"
)
_OTHER_NUMBER = re.compile(
    rf"(?:\b{_THINGS}(?:\.?[ -]{{0,2}}(?:no|nr|number|code|id)\b\.?|(?<=\bref)\.)?"
    r"|\b(?:claim|case|account|customer|contract|policy|product|meter|member|shipment|parcel|file)s?[ -]"
    r"(?:no|nr|number|code|id)\b\.?"
    rf"|(?<!\w)(?!\w{{0,40}}{_OF_PHONES})(?!{_OF_PERSONS} nr\b)\w{{2,40}}(?:nummer|[ -]?nr\b\.?))"
    r"[ \t:#*_\"'`|=]{0,4}\Z",
    re.I,
)
# "Frage zur Rechnung: 0176 …": who asks says where to call.
_ABOUT = re.compile(rf"\bzu[rm] (?:\w{{1,40}} ){{0,2}}{_THINGS}[ \t]?:[ \t]{{0,3}}\Z", re.I)
_MOBILE = re.compile(r"01[567]|07")
_BEFORE = 60  # characters in which that name is looked for

_PATTERNS = {
    "e-mail address": re.compile(
        r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+(?!(?:png|jpe?g|gif|svg|webp|pdf)\b)[^\W\d_]{2,63}(?![\w-]|\.\w)"
        r"(?!:[\w.~-]{0,64}/)",  # git@host:team/app.git is a place of files
        re.I,
    ),
    "date of birth": re.compile(
        r"(?<![^\W_])(?:(?:date of birth|birth ?date|d\.?o\.?b\.?|geburtsdatum)\W{0,6}(?:is |ist )?"
        rf"(?:{_NUMERIC_LIVING}|{_WORDED}(?![a-z])(?:,? {_LIVING}\b|(?!\d|\.?,? ?\d{{3}})))"
        rf"|(?:birth ?day|geburtstag)(?:\W{{1,6}}{_NUMERIC_LIVING}|\W{{0,6}}(?:is|ist) {_NUMERIC_BEFORE_2020})"
        rf"|geb\.? ?(?:am )?(?:{_NUMERIC_LIVING}|{_WORDED},? {_LIVING}\b)"
        r"|(?:born|geboren|n[ée]e?) (?:(?:on|am|le) )?(?:the )?"
        rf"(?:{_NUMERIC_LIVING}|{_WORDED},? {_LIVING}\b))",
        re.I,
    ),
}
_LAST_FOUR = r"(?!(?:19|20)\d\d\b)\d{4}\b"
_ENDING = rf"\b(?:ending(?: in| with)?|ends (?:in|with)|endet auf|endend auf)\W{{0,3}}{_LAST_FOUR}"
# One star or two before a number may be Markdown's, and so is a star behind it.
_MASKS = r"(?:[ -]?(?:[*•]{4}|[xX]{4})){0,3}[ -]?" + _LAST_FOUR + r"(?!\*)"
_LAST_DIGITS = re.compile(
    r"\b(?:(?:(?:debit|credit|bank|master)? ?card|(?:kredit|giro|bank)?karte)\b[^.,\n]{0,25}"
    rf"(?:{_ENDING}|(?<![*•\w])(?:[*•]{{3,16}}|[xX]{{4}}){_MASKS})"
    r"|(?:visa|amex|mastercard)\b(?: (?:debit|credit|gold|card|account|number|no\.?)){0,3} ?"
    rf"(?:{_ENDING}|(?<![*•\w])(?:[*•]{{1,16}}|[xX]{{4}}){_MASKS}))",
    re.I,
)
_CARD = re.compile(
    r"(?<![\w.-])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d|35\d\d|62\d\d)([ -]?)\d{4}\1\d{4}\1\d{4}"
    r"|3[47]\d\d([ -]?)\d{6}\2\d{5})(?![\w-])"
)
_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,4})?(?![^\W_])", re.I)
# By country, out of the IBAN registry (SWIFT, ISO 13616).
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"(\D\D)(\d\d)",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23"
        "GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30"
        "NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20",
    )
}


_YEAR = re.compile(r"1[89]\d\d|20\d\d")
_TWO_DIGITS = re.compile(r"\d\d")  # without any, most texts need no further look


def kinds_in(text: str) -> set[str]:
    """Which kinds of personal data or secrets a text seems to hold."""
    found = {kind for kind, pattern in (*_PATTERNS.items(), *SECRETS.items()) if pattern.search(text)}
    if _TWO_DIGITS.search(text):
        found |= {kind for kind, holds in _CHECKED.items() if holds(text)}
    return found


def _has_phone(text: str) -> bool:
    return _has_phone_abroad(text) or any(True for _ in _without_other_name(_PHONE, text)) or _has_named_phone(text)


def _has_phone_abroad(text: str) -> bool:
    """Whether a number begins with a country's code: behind 00 it may be an order's, behind + an amount."""
    for match in _ABROAD.finditer(text):
        if match.group().startswith("+"):
            if _digits(match.group()) >= _LEAST_ABROAD and not _MONEY_BEHIND.match(text, match.end()):
                return True
        elif _digits(match.group()) >= _LEAST_WITH_ZEROS and not _has_other_name(match, text):
            return True
    return False


def _has_named_phone(text: str) -> bool:
    """Whether a number stands behind a phone's name: round ones, years and amounts are none."""
    for pattern, needed in ((_PHONE_NAMED, 7), (_DEVICE_NAMED, 9)):
        for match in pattern.finditer(text):
            number = match.group(1)
            own = number.startswith(("0", "(0", "+"))
            enough = _digits(number) >= (7 if own else needed)
            plain = own or not (_is_round(number) or _is_years(number))
            if enough and plain and not _AMOUNT_BEHIND.match(text, match.end()):
                return True
    return False


def _is_round(number: str) -> bool:
    """1200 1300 1400 and 2500000 are no phone numbers."""
    parts = re.findall(r"\d+", number)
    return all(part.endswith("0") for part in parts) and (len(parts) > 1 or parts[0].endswith("000"))


def _is_years(number: str) -> bool:
    """2019 2020 2021 and 1998-2004 are no phone numbers."""
    return all(_YEAR.fullmatch(part) for part in re.findall(r"\d+", number))


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


def _without_other_name(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """What a pattern finds, but for numbers that another name stands before."""
    for match in pattern.finditer(text):
        if not _has_other_name(match, text):
            yield match.group()


def _has_other_name(match: re.Match[str], text: str) -> bool:
    before = text[max(0, match.start() - _BEFORE) : match.start()]
    if not _OTHER_NUMBER.search(before):
        return False
    return not (_MOBILE.match(match.group()) and _ABOUT.search(before))


def _has_social_security_number(text: str) -> bool:
    return any(True for _ in _without_other_name(_SSN, text)) or _SSN_NAMED.search(text) is not None


def _has_last_digits(text: str) -> bool:
    return any(not _MONEY_BEHIND.match(text, match.end()) for match in _LAST_DIGITS.finditer(text))


def _has_card(text: str) -> bool:
    return any(_luhn(match.group()) for match in _CARD.finditer(text))


def _has_account(text: str) -> bool:
    return any(_mod97(match.group()) for match in _IBAN.finditer(text))


_CHECKED: dict[str, Callable[[str], bool]] = {
    "phone number": _has_phone,
    "social security number": _has_social_security_number,
    "card number": _has_card,
    "card number's last digits": _has_last_digits,
    "bank account (IBAN)": _has_account,
}


def _luhn(text: str) -> bool:
    """The check sum of card numbers (ISO/IEC 7812)."""
    digits = [int(part) for part in text if part.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _mod97(text: str) -> bool:
    """The check sum of bank accounts (ISO 13616); a word behind the country's length is no part of it."""
    length = _IBAN_LENGTHS.get(text[:2].upper(), 0)
    bare, ends = "", False
    for place, mark in enumerate(text.upper()):
        if len(bare) == length:
            ends = mark in " -"
            break
        bare += "" if mark in " -" else mark
        ends = place == len(text) - 1
    turned = bare[4:] + bare[:4]
    return ends and len(bare) == length and int("".join(str(int(part, 36)) for part in turned)) % 97 == 1
