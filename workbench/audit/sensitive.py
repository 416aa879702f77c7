"""Personal data and secrets in items that are not marked as restricted.

Plain patterns by default, with check sums where a number has one. With the extra `pii` installed, Presidio looks too.
Only kinds and ids are reported, never what was found.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from workbench.audit.report import Finding, Fix
from workbench.audit.texts import strings_in
from workbench.evalset import EvalSet, Item

Detector = Literal["auto", "patterns", "presidio"]

_PATTERNS = {
    "e-mail address": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"),
    "phone number": re.compile(
        r"(?<![\w.,/-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}"
        r"|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}|555-01\d\d)(?![\w-])"
    ),
    "social security number": re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"),
    "date of birth": re.compile(r"\b(?:date of birth|d\.?o\.?b\.?|born on)\W{0,3}\d", re.I),
    "card number's last digits": re.compile(
        r"\b(?:card|visa)\b[^.\n]{0,25}\b(?:ending|ends)\b(?: in| with)?\W{0,2}\d{4}\b", re.I
    ),
}
_SECRETS = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "access key": re.compile(
        r"\b(?:sk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[abpr]-[A-Za-z0-9-]{20,}"
        r"|AIza[0-9A-Za-z_-]{35}|hf_[A-Za-z0-9]{30,})"
    ),
    "web token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "password": re.compile(r"\b(?:password|passwd|pwd)\s*(?:is|[:=])\s*(?=\S*\d)\S{6,}", re.I),
}
_DIGITS = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)")


def kinds_in(text: str) -> set[str]:
    """Which kinds of personal data or secrets a text seems to hold."""
    found = {kind for kind, pattern in (*_PATTERNS.items(), *_SECRETS.items()) if pattern.search(text)}
    if any(_luhn(match.group()) for match in _DIGITS.finditer(text)):
        found.add("card number")
    if any(_mod97(match.group()) for match in _IBAN.finditer(text)):
        found.add("bank account (IBAN)")
    return found


def _luhn(text: str) -> bool:
    """The check sum of card numbers (ISO/IEC 7812), from a first digit that cards have."""
    digits = [int(part) for part in text if part.isdigit()]
    if digits[0] not in (3, 4, 5, 6) or len(digits) < 13:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _mod97(text: str) -> bool:
    """The check sum of bank accounts (ISO 13616)."""
    bare = text.replace(" ", "")
    turned = bare[4:] + bare[:4]
    return 15 <= len(bare) <= 34 and int("".join(str(int(part, 36)) for part in turned)) % 97 == 1


def presidio_installed() -> bool:
    """Whether the extra `pii` is there."""
    from importlib.util import find_spec

    return find_spec("presidio_analyzer") is not None


@lru_cache(maxsize=1)
def _presidio() -> Any:
    """Presidio's recognizers that need no language model, which it would download."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Blank(SpacyNlpEngine):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.nlp = {"en": spacy.blank("en")}

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])


_SURE = 0.5
_LOOKED_FOR = [
    "CREDIT_CARD",
    "CRYPTO",
    "EMAIL_ADDRESS",
    "IBAN_CODE",
    "PHONE_NUMBER",
    "US_SSN",
    "US_PASSPORT",
    "MEDICAL_LICENSE",
]


def presidio_kinds_in(text: str) -> set[str]:
    """The same by Presidio."""
    found = _presidio().analyze(text=text[:100_000], language="en", entities=_LOOKED_FOR, score_threshold=_SURE)
    return {result.entity_type.replace("_", " ").lower() for result in found}


def unmarked(evalset: EvalSet, detector: Detector = "auto") -> Iterator[Finding]:
    """Items that may reach a hosted model and seem to hold personal data or secrets."""
    if detector == "presidio" and not presidio_installed():
        from workbench.errors import InputError

        raise InputError("the detector presidio is not installed. Install it: pip install 'workbench[pii]'.")
    use_presidio = detector == "presidio" or (detector == "auto" and presidio_installed())
    by_kind: dict[str, list[str]] = defaultdict(list)
    flagged: dict[str, None] = {}
    for item in (*evalset.items, *evalset.train):
        if item.sensitivity == "restricted":
            continue
        for kind in _kinds_of(item, use_presidio):
            by_kind[kind].append(item.id)
            flagged[item.id] = None
    if not flagged:
        return
    kinds = ", ".join(f"{kind} ({len(ids)})" for kind, ids in sorted(by_kind.items()))
    what = f"items that are not restricted and seem to hold {kinds}"
    mend = "Set sensitivity: restricted (--fix does), or take it out"
    yield Finding("personal data", "error", what, mend, tuple(flagged), Fix(restrict=tuple(flagged)))


def _kinds_of(item: Item, use_presidio: bool) -> set[str]:
    text = "\n".join(strings_in([item.inputs, item.expectations]))
    return kinds_in(text) | (presidio_kinds_in(text) if use_presidio else set())
