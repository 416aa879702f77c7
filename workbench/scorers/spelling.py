"""Spellings that look the same as one: typographic hyphens, quotes and spaces are plain ones.

composed("non‑compliant: the tenant’s “notice”")        # 'non-compliant: the tenant\\'s "notice"'
"""

from __future__ import annotations

import unicodedata

AROUND = " \t\n\"'`*_.:;,()[]{}"  # around a label; no part of it

# A dash that parts a sentence (U+2014) is no hyphen. What joins letters or emoji (U+200C, U+200D) is not invisible.
_HYPHENS = "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_APOSTROPHES = "\u2018\u2019\u201a\u201b\u02bc\u00b4\u1ffd\uff07"
_QUOTES = "\u201c\u201d\u201e\u201f\uff02"
_SPACES = "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"
_PLAIN: dict[int, str | None] = {
    **dict.fromkeys(map(ord, _HYPHENS), "-"),
    **dict.fromkeys(map(ord, _APOSTROPHES), "'"),
    **dict.fromkeys(map(ord, _QUOTES), '"'),
    **dict.fromkeys(map(ord, _SPACES), " "),
    **dict.fromkeys(map(ord, _INVISIBLE)),
}


def composed(text: str) -> str:
    """A text of which all spellings that look the same are one: letters with accents, hyphens, quotes and spaces."""
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_PLAIN))
