"""Presidio's recognizers of personal numbers: national ids, bank accounts, wallets. The optional extra `pii`.

kinds_in("My NHS number is 943 476 5919.")       # {'UK_NHS'}

No language model is used, which Presidio would download, and no recognizer that asks the network. Plain numbers pass a
check sum one time in ten by chance: they count only with a word before them that says what they are.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from workbench.errors import InputError

# By name, for versions differ in which they have. What our own patterns find with fewer false alarms is left out.
_BY_FORM = ("Crypto", "FiPersonalIdentityCode", "Iban", "ItFiscalCode")
_BY_WORD = (
    *("AuMedicare", "AuTfn", "CaSin", "DeSocialSecurity", "DeTaxId", "EsNie", "EsNif", "InAadhaar", "KrRrn", "NgNin"),
    *("MedicalLicense", "Nhs", "PlPesel", "SePersonnummer", "SgFin", "ThTnin", "TrNationalId", "UkNino"),
)
_SURE = 0.5
_BEFORE = 40  # characters in which the word is looked for


def installed() -> bool:
    """Whether the extra `pii` is there."""
    from importlib.util import find_spec

    return find_spec("presidio_analyzer") is not None


@lru_cache(maxsize=1)
def _recognizers() -> tuple[tuple[Any, re.Pattern[str] | None], ...]:
    """Each recognizer, with the words of which one has to stand before what it finds."""
    try:
        from presidio_analyzer import predefined_recognizers
    except ImportError as failure:
        raise InputError(
            f"the detector presidio cannot be loaded ({failure}). Install it anew, or take patterns."
        ) from None

    found = []
    for name in (*_BY_FORM, *_BY_WORD):
        kind = getattr(predefined_recognizers, f"{name}Recognizer", None)
        if kind is None:
            continue
        recognizer = kind()
        words = "|".join(map(re.escape, recognizer.context or ["\0"]))
        found.append((recognizer, re.compile(rf"\b(?:{words})\b", re.I) if name in _BY_WORD else None))
    return tuple(found)


def kinds_in(text: str) -> set[str]:
    """Which kinds of personal numbers a text seems to hold, by Presidio's names.

    Raises:
        InputError: Presidio is installed, and broken.
    """
    found = set()
    for recognizer, words in _recognizers():
        for result in recognizer.analyze(text, recognizer.supported_entities, None) or []:
            before = text[max(0, result.start - _BEFORE) : result.start]
            if result.score >= _SURE and (words is None or words.search(before)):
                found.add(str(result.entity_type))
    return found
