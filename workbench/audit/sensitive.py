"""Personal data and secrets in items that are not marked as restricted.

Plain patterns by default, with check sums where a number has one. With the extra `pii` installed, Presidio looks too.
Only kinds and ids are reported, never what was found.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal, get_args

from workbench.audit.credentials import SECRETS
from workbench.audit.inputs import fingerprint, shown, strings_in
from workbench.audit.presidio import installed as presidio_installed
from workbench.audit.presidio import kinds_in as presidio_kinds_in
from workbench.audit.report import Finding, Fix, count_of
from workbench.errors import InputError
from workbench.evalset import EvalSet, Item

Detector = Literal["auto", "patterns", "presidio"]

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|mär|okt|dez)[a-z]*\.?"
_DATE = rf"(?:\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}|\d{{1,2}}\.? {_MONTH}|{_MONTH} \d{{1,2}})"
_WORDED = rf"(?:\d{{1,2}}(?:st|nd|rd|th|\.)?(?: of)? {_MONTH}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?)"
_LIVING = r"(?:19[2-9]\d|20\d\d)"  # a birth in 1776 is history
_PATTERNS = {
    "e-mail address": re.compile(
        r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+(?!(?:png|jpe?g|gif|svg|webp|pdf)\b)[^\W\d_]{2,63}(?![\w-])", re.I
    ),
    "phone number": re.compile(
        r"(?<![\w.,/+-])(?:\+[1-9]\d{0,2}[ .-]?(?:\(?\d{1,4}\)?[ ./-]?){2,5}\d{2,4}"
        r"|(?:1[ .-])?\([2-9]\d\d\)[ -]?[2-9]\d\d[ .-]\d{4}|(?:1-)?[2-9]\d\d([.-])[2-9]\d\d\1\d{4}"
        r"|555-01\d\d"
        r"|07\d{3}[ -]\d{3}[ -]?\d{3}|01[567]\d[ /-]\d{7,8}|0[67](?:[ .-]\d\d){4})(?![\w-])"  # mobile: GB, DE, FR
    ),
    "social security number": re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
    "date of birth": re.compile(
        rf"\b(?:(?:date of birth|d\.?o\.?b\.?|geburtsdatum)\W{{0,3}}(?:is )?{_DATE}"
        r"|(?:born|geboren|n[ée]e?) (?:(?:on|am|le) )?(?:the )?"
        rf"(?:\d{{1,2}}[./-]\d{{1,2}}[./-]\d|{_WORDED},? {_LIVING}\b))",
        re.I,
    ),
    "card number's last digits": re.compile(
        r"\b(?:(?:debit|credit|bank|master)? ?card|visa|amex)\b[^.\n]{0,25}\b"
        r"(?:ending(?: in| with)?|ends (?:in|with))\W{0,2}(?!(?:19|20)\d\d\b)\d{4}\b",
        re.I,
    ),
}
# A number after its name; a call log's date is none.
_PHONE_NAMED = re.compile(
    r"\b(?:tel|telephone|telefon|phone|mobile|cell|fax|whatsapp|handy)(?:[ -]?(?:no|nr|number))?"
    r"\.?\s{0,2}[:#]?\s{0,2}(?:is )?"
    rf"(?!{_DATE}\b)(\(?\d[\d ()./-]{{5,18}}\d)(?![\w-])",
    re.I,
)
_CARD = re.compile(
    r"(?<![\w.-])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d|35\d\d|62\d\d)([ -]?)\d{4}\1\d{4}\1\d{4}"
    r"|3[47]\d\d([ -]?)\d{6}\2\d{5})(?![\w-])"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)")
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


def kinds_in(text: str) -> set[str]:
    """Which kinds of personal data or secrets a text seems to hold."""
    found = {kind for kind, pattern in (*_PATTERNS.items(), *SECRETS.items()) if pattern.search(text)}
    if any(sum(map(str.isdigit, match.group(1))) >= 7 for match in _PHONE_NAMED.finditer(text)):
        found.add("phone number")
    if any(_luhn(match.group()) for match in _CARD.finditer(text)):
        found.add("card number")
    if any(_mod97(match.group()) for match in _IBAN.finditer(text)):
        found.add("bank account (IBAN)")
    return found


def _luhn(text: str) -> bool:
    """The check sum of card numbers (ISO/IEC 7812)."""
    digits = [int(part) for part in text if part.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _mod97(text: str) -> bool:
    """The check sum of bank accounts (ISO 13616); what stands behind the country's length is no part of it."""
    bare = text.replace(" ", "")[: _IBAN_LENGTHS.get(text[:2], 0)]
    turned = bare[4:] + bare[:4]
    return len(bare) == _IBAN_LENGTHS.get(text[:2]) and int("".join(str(int(part, 36)) for part in turned)) % 97 == 1


def unmarked(evalset: EvalSet, detector: Detector = "auto") -> Iterator[Finding]:
    """Items that may reach a hosted model and seem to hold personal data or secrets.

    Raises:
        InputError: there is no such detector, or it is not installed.
    """
    if detector not in get_args(Detector):
        raise InputError(f"there is no detector '{detector}'. There are: {', '.join(get_args(Detector))}.")
    if detector == "presidio" and not presidio_installed():
        raise InputError("the detector presidio is not installed. Install it: pip install 'workbench[pii]'.")
    use_presidio = detector == "presidio" or (detector == "auto" and presidio_installed())
    by_kind: dict[str, list[str]] = defaultdict(list)
    flagged: dict[str, None] = {}
    for item in chain(evalset.items, evalset.train):
        if item.sensitivity == "restricted":
            continue
        for kind in _kinds_of(item, use_presidio):
            by_kind[kind].append(item.id)
            flagged[item.id] = None
    if not flagged:
        return
    kinds = ", ".join(f"{kind} ({len(ids)})" for kind, ids in sorted(by_kind.items()))
    what = f"{count_of(list(flagged))} not marked restricted that may hold personal data or secrets ({kinds})"
    mend = "Set sensitivity: restricted (--fix does), or take it out"
    yield Finding("personal data", "error", what, mend, tuple(flagged), fix=Fix(restrict=tuple(flagged)))


def _kinds_of(item: Item, use_presidio: bool) -> set[str]:
    text = "\n".join(_all_text([item.inputs, item.expectations, item.slice]))
    return kinds_in(text) | (presidio_kinds_in(text) if use_presidio else set())


def _all_text(value: Any) -> Iterator[str]:
    """Every text and number; one that has a name behind it, for `{"phone": 5550142}` says as much as a sentence."""
    if isinstance(value, dict):
        for name, part in value.items():
            for text in _all_text(part):
                yield f"{str(name).replace('_', ' ')}: {text}"
    elif isinstance(value, list):
        for part in value:
            yield from _all_text(part)
    else:
        yield from strings_in(value)


def twins_of_restricted(evalset: EvalSet) -> Iterator[Finding]:
    """Items that may reach a hosted model, with the inputs of one that may not."""
    show = shown(evalset)
    kept_back = {
        fingerprint(show(item)) for item in chain(evalset.items, evalset.train) if item.sensitivity == "restricted"
    }
    if not kept_back:
        return
    twins = tuple(
        item.id
        for item in chain(evalset.items, evalset.train)
        if item.sensitivity != "restricted" and fingerprint(show(item)) in kept_back
    )
    if twins:
        what = f"{count_of(twins)} not marked restricted with the inputs of one that is"
        mend = "Mark both alike (--fix marks them restricted)"
        yield Finding("sensitivity", "error", what, mend, twins, fix=Fix(restrict=twins))
