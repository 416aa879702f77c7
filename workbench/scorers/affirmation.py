"""Yes or no in a text, with the reasons that stand around it.

yes_or_no_said("No, because there is no consent. It is true that …")     # 'no'
yes_or_no_said("Yes or no? Hard to say.")                                  # None
"""

from __future__ import annotations

import re

YES_OR_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_WORD = r"\b(?:yes|no|true|false)\b"
_NOT_BOTH = rf"\b(?!(?:\W*(?:or|and)\W*|\s*/\s*){_WORD})"
_YES_OR_NO = rf"(?P<word>{_WORD}){_NOT_BOTH}"
_ANSWER_LINE = re.compile(
    r"^[ \t*_#>]*(?:(?:the|my) )?(?:final answer\b(?:[*_\s]*is\b)?|answer\b(?:[*_\s]*is\b)?[*_\s]*[:=])[\W_]*"
    + _YES_OR_NO,
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER_IS = re.compile(
    r"(?P<supposed>\b(?:if|whether|when|where|unless|suppose|assuming|provided)\s(?:that\s)?(?:(?:the|my|your|an)\s)?)?"
    rf"\banswer(?:[*_\s]*is\b|[*_\s]*[:=])[\W_]*{_YES_OR_NO}",
    re.IGNORECASE,
)
_FIRST = r"\W*(?:(?:final\s+)?answer\W+(?:is\W+)?)?"
_BEGINS_CLEARLY = re.compile(
    rf"{_FIRST}{_YES_OR_NO}(?=[*_\"'`”’)\]]*(?:[.,;:!—–]|\s+-|[ \t]*(?:\n|\Z)))", re.IGNORECASE
)
# What begins "No consent was given" and "No one said yes", but not "No clause is there, so yes" or "No doubt: yes".
_TURN = r"(?:[,:–—]|\s-\s|\b(?:and|but|so|hence|thus|therefore|doubt|question|wonder|problem)\b)"
_BEGINS = re.compile(
    rf"{_FIRST}(?!no[ \t]++(?!because\b|since\b|as\b|\()(?:(?!{_TURN})[^\n.;!?])*+{_TURN}[^\n.;!?]*\b(?:yes|true)\b)"
    rf"{_YES_OR_NO}",
    re.IGNORECASE,
)


def yes_or_no_said(text: str) -> str | None:
    """The yes, no, true or false that a text answers with, whatever reason it gives; None where there is none, or both.

    It is the last that stands behind an "Answer:" that begins a line; else the text's first word, if a sign or the
    line's end follows it; else what stands behind "answer is", where all of these agree; else the first word.
    """
    announces = "answer" in text.casefold()  # what follows takes long where it is not
    found = (
        (_answer_line(text) if announces else None)
        or _BEGINS_CLEARLY.match(text)
        or (_answer_is(text) if announces else None)
        or _BEGINS.match(text)
    )
    return None if found is None or _both(text[found.start("word") :]) else found["word"].casefold()


def _answer_line(text: str) -> re.Match[str] | None:
    return next(reversed(list(_ANSWER_LINE.finditer(text))), None)


def _answer_is(text: str) -> re.Match[str] | None:
    """The last "answer is" of those that are not only supposed; None where they do not agree."""
    found = [each for each in _ANSWER_IS.finditer(text) if not each["supposed"]]
    return found[-1] if len({YES_OR_NO[each["word"].casefold()] for each in found}) == 1 else None


def _both(text: str) -> bool:
    """Whether a text is nothing but yes and no: "yes, no", but not "yes, true" or "yes, no doubt"."""
    meant = set()
    for word in re.finditer(r"[^\W_]+", text):
        if word.group().casefold() not in YES_OR_NO:
            return False
        meant.add(YES_OR_NO[word.group().casefold()])
    return len(meant) > 1
