"""What a text announces as its answer: "Answer: billing", "The answer is B because A is too small".

answered("It is long. \\nAnswer: 42")                         # '42'
list(announcements("So the category: **billing**, I think"))    # ['**billing**, I think']
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.scorers.negation import doubted

_MOST = 50  # announcements that are looked at
# Beside a category, a topic or tag is no label that was asked for, but a list may be of them.
_NAMES = r"answers?|labels?|categor(?:y|ies)|class(?:es)?|choices?"
_ANNOUNCED = re.compile(rf"\b(?:{_NAMES})\b[*_\s]*(?:(?:is|are)\b[*_\s]*)?[:=]\s*", re.IGNORECASE)
ANSWER = re.compile(
    rf"^[ \t*_#]*(?:(?:the|my) )?(?:final )?(?P<name>{_NAMES}|topics?|tags?)[ \t*_]*(?:(?:is|are)\b[ \t*_]*)?"
    r":[*_]*(?=\s*\S)",
    re.IGNORECASE | re.MULTILINE,
)
_KIND = r"(?:answer|label|category|class|classification|choice|option)"
_GOOD = r"(?:(?:final|correct|right|best|only|most|likely|appropriate|proper|suitable|fitting)\s){0,3}"
_IS = re.compile(
    rf"(?:\b(?:the|my)\s{_GOOD}{_KIND}|^[ \t*_#]*{_GOOD}answer)\b(?:\s(?:to|for|of|in|here)\b[^\n.:;!?,]{{0,40}}?)?"
    r"[*_]*\s(?:is|would be|should be|must be|will be)(?!\s*(?:not\b|n['’]t))\s+(?=\S)"
    r"|\b(?:die|meine|la|ma|mi)\s(?:\w+\s)?(?:antwort|kategorie|klasse|réponse|catégorie|classe|option|respuesta"
    r"|categoría|clase|opción|etiqueta)(?:\s\w+)?\s(?:ist|lautet|wäre|est|serait|es|sería)\s+(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
# "if the answer is", "some may say that the answer is"; but "I think the answer is".
_SUPPOSED = re.compile(
    r"\b(?:(?:when|where|unless|suppose|assuming|provided)|(?<!\bi )(?:say|think|believe|argue|claim|conclude)s?)"
    r"(?:\sthat)?\s\Z",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?…][\"'`*_)\]]*(?=\s|\Z)|\n")


def announcements(said: str) -> Iterator[str]:
    """What stands behind "Answer:" and the like to the end of its line, the last first."""
    for announcement in reversed(list(_ANNOUNCED.finditer(said))[-_MOST:]):
        behind = said[announcement.end() : announcement.end() + 1000].strip().splitlines()
        if behind:
            yield behind[0]


def statements(said: str) -> Iterator[tuple[str, str]]:
    """The sentences behind "the answer is", each with what follows it; none that is supposed, denied or doubted."""
    for found in list(_IS.finditer(said))[-_MOST:]:
        before = said[max(0, found.start() - 30) : found.start()]
        if not _SUPPOSED.search(before) and not doubted(said, found.start()):
            yield first_sentence(said[found.end() :])


def first_sentence(text: str) -> tuple[str, str]:
    """The first sentence of a text, at most its first line, and what follows."""
    end = _SENTENCE.search(text)
    return (text, "") if end is None else (text[: end.end()].strip(), text[end.end() :])


def answered(text: str) -> str:
    """What stands behind the last "Answer:", "Labels:" and the like that begins a line; all of a text that has none."""
    announced = next(reversed(list(ANSWER.finditer(text))), None)
    if announced is None:
        return text
    behind = text[announced.end() :].strip()
    return behind.replace("**", "", 1) if behind.count("**") % 2 else behind  # of "**Answer: Paris**"
