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
_CLEARLY = r"(?=[*_\"'`”’)\]}$]*(?:[.,;:!—–]|\s+-|[ \t]*(?:\n|\Z)))"
_ASIDE = r"(?:\s*\([^()\n]{0,20}\))?"  # "Answer (yes/no): yes"
_ANSWER_LINE = re.compile(
    rf"^[ \t*_#>]*(?:(?:the|my) )?(?:final answer\b(?:[*_\s]*is\b)?|answer\b{_ASIDE}(?:[*_\s]*is\b)?[*_\s]*[:=])[\W_]*"
    + _YES_OR_NO,
    re.IGNORECASE | re.MULTILINE,
)
_IS = r"(?:is|would be|should be|must be|will be)\b"
# "no if the notice was late", but "no if the notice was late, which it was"; "no unless" is a no.
_AS_IT_WAS = (
    r"[^.!?\n]{0,200}?,\s(?:which|as|and)\s(?:it|he|she|they|this|that)\s(?:is|was|are|were|does|did|has|had)"
    r"\s*(?:[.!\n]|\Z)"
)
_ONLY_IF = rf"(?!\s+(?:only|if|where|when|provided)\b(?!{_AS_IT_WAS}))"
_ANSWER_IS = re.compile(
    r"(?P<supposed>\b(?:if|whether|when|where|unless|suppose|assuming|provided"
    r"|(?:not|cannot|\w{2,7}n['’]t)\s(?:think|believe|say|know|agree))\s(?:that\s)?(?:(?:the|my|your|an)\s)?)?"
    rf"\banswer(?:\s(?:to|for)\s[^\n.:;!?,]{{1,60}}?)?(?:[*_\s]*{_IS}|[*_\s]*[:=])[\W_]*{_YES_OR_NO}{_ONLY_IF}",
    re.IGNORECASE,
)
# "Verdict: yes", "Yes/No: yes", "A: yes"; "Result: no change" says neither.
_HEAD = r"(?:(?:final|short)\s)?(?:response|output|conclusion|verdict|result|decision|yes(?:/|\sor\s)no|a(?=\s*:))"
_HEAD_LINE = re.compile(
    rf"^[ \t*_#>]*(?:(?:the|my)\s)?{_HEAD}\b{_ASIDE}(?:[*_\s]*is\b)?[*_\s]*[:=][\W_]*{_YES_OR_NO}{_CLEARLY}",
    re.IGNORECASE | re.MULTILINE,
)
_THEREFORE = re.compile(
    r"(?:\A|[.!?\n])[ \t*_\"'(]*+(?:therefore|thus|hence|consequently|so|overall|in (?:conclusion|summary|short)),?\s"
    rf"[\W_]*{_YES_OR_NO}{_CLEARLY}",
    re.IGNORECASE,
)
_FIRST = r"\W*(?:(?:final\s+)?answer\W+(?:is\W+)?)?"
_YOU_ARE_WELCOME = r"\W*+(?:(?:certainly|sure|of course|okay|ok|absolutely|definitely|indeed|correct|right)[,.!]+\s)?"
_BEGINS_CLEARLY = re.compile(rf"{_YOU_ARE_WELCOME}{_FIRST}{_YES_OR_NO}{_CLEARLY}", re.IGNORECASE)
_BOXED = re.compile(rf"\\boxed\{{(?:\\text\w*\{{)?\W*{_YES_OR_NO}\W*\}}", re.IGNORECASE)
_ONE_LINE = re.compile(r"\A\s*\d{1,2}[.)]\s++(?=.*\Z)")  # "1. Yes", alone
_QUESTION = re.compile(r"\A[^\n]{1,2000}\?[*_\"')]*[ \t]*\n+(?=[^\n]*\S)")  # and the answer below it
_SIGNS = r"(?:[^\w\n]|_)*+"
_ALONE = re.compile(rf"^{_SIGNS}{_YES_OR_NO}{_SIGNS}$", re.IGNORECASE | re.MULTILINE)
# What begins "No consent was given" and "No one said yes", but not "No clause is there, so yes" or "No doubt: yes".
_TURN = r"(?:[,:–—]|\s-\s|\b(?:and|but|so|hence|thus|therefore|doubt|question|wonder|problem)\b)"
_BEGINS = re.compile(
    rf"{_FIRST}(?!no[ \t]++(?!because\b|since\b|as\b|\()(?:(?!{_TURN})[^\n.;!?])*+{_TURN}[^\n.;!?]*\b(?:yes|true)\b)"
    rf"{_YES_OR_NO}",
    re.IGNORECASE,
)


def yes_or_no_said(text: str) -> str | None:
    """The yes, no, true or false that a text answers with, whatever reason it gives; None where there is none, or both.

    It is the last that is boxed, or stands behind an "Answer:" that begins a line; else the text's first word, or the
    first below a question, if a sign or the line's end follows it; else what stands behind "answer is", "Verdict:" or
    "Therefore,", or on lines of its own, where all of these agree; else the first word.
    """
    text = _ONE_LINE.sub("", text)
    found = _announced(text) or _BEGINS_CLEARLY.match(text) or _below_a_question(text) or _concluded(text)
    found = found or _BEGINS.match(text)
    return None if found is None or _both(text[found.start("word") :]) else found["word"].casefold()


def _announced(text: str) -> re.Match[str] | None:
    """The last that is boxed, or behind the last "Answer:" that begins a line."""
    boxed = list(_BOXED.finditer(text)) if "\\boxed" in text else []
    # What follows takes long where it is not.
    lines = _ANSWER_LINE.finditer(text) if "answer" in text.casefold() else iter(())
    return next(reversed(boxed or list(lines)), None)


def _below_a_question(text: str) -> re.Match[str] | None:
    question = _QUESTION.match(text)
    return None if question is None else _BEGINS_CLEARLY.match(text, question.end())


def _concluded(text: str) -> re.Match[str] | None:
    """The last conclusion of those of its kind that are not only supposed; None where they do not agree."""
    folded = text.casefold()
    if "answer" in folded:
        found = [each for each in _ANSWER_IS.finditer(text) if not each["supposed"]]
        if found:
            return _agreed(found)
    for kind in (_HEAD_LINE, _THEREFORE):
        found = list(kind.finditer(text))
        if found:
            return _agreed(found)
    alone = list(_ALONE.finditer(text))
    return _agreed(alone) if alone and not text[alone[-1].end() :].strip() else None


def _agreed(found: list[re.Match[str]]) -> re.Match[str] | None:
    return found[-1] if len({YES_OR_NO[each["word"].casefold()] for each in found}) == 1 else None


def _both(text: str) -> bool:
    """Whether a text is nothing but yes and no: "yes, no", but not "yes, true" or "yes, no doubt"."""
    meant = set()
    for word in re.finditer(r"[^\W_]+", text):
        if word.group().casefold() not in YES_OR_NO:
            return False
        meant.add(YES_OR_NO[word.group().casefold()])
    return len(meant) > 1
