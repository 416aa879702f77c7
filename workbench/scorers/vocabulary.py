"""How the labels of an eval set are written, and which of them a text mentions.

known = vocabulary(["spam", "ham"], {"ham": ["legit"]})
known.of(" **Spam**. ")                                     # 'spam'
known.mentioned("It is legit, not spam.")                   # {'ham': True}: whether it is said without a doubt
known.mentioned("I cannot say whether it is spam.")         # {'spam': False}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

from workbench.scorers.affirmation import YES_OR_NO, yes_or_no_said
from workbench.scorers.negation import asked, dismissed_choice, negated, taken_back
from workbench.scorers.spelling import AROUND, composed

_CHOICE = re.compile(r"\(?([A-Za-z])(?:\)|[.:](?!\w)|\s*$)")
_BRACKETED = re.compile(r"(?<!\w)([A-Za-z])\)")
# "A cat" and "I think" are no choices, "A is right" is, and so is "A" on a line of its own.
_WORD_BEHIND = re.compile(r" (?!(?:is|was|because|since|as|and|or|but)\b)\w")
_SENTENCE_BEGINS = re.compile(r"(?:\A|[\n.:;!?…—–-])[^\w\n]*\Z")
_BEFORE = 60  # characters in which a sentence's beginning is looked for
# Where a label may begin and end: where a word does, except in scripts that put no spaces between words; one letter of
# these says too little. "-1" is no "1", "C++" and "C#" are no "C", and "pre-approved" is not "approved".
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
_ONE_WORD = r"(?!(?<=[\p{Katakana}ー])[\p{Katakana}ー])"
_SPACED = rf"[\w--{_UNSPACED}]"
_WORDS = (
    rf"(?:(?<!{_SPACED}|{_SPACED}-)|(?={_UNSPACED})){_ONE_WORD}(?!(?<=(?<!\w)-|\d[.,])\d)\L<spellings>"
    rf"(?:(?!{_SPACED})|(?<={_UNSPACED})){_ONE_WORD}(?!(?<=\d)[.,]\d|[+#]+(?!\w)|-(?:free|less)\b)"
)
_LETTERS = (
    rf"(?<!{_SPACED}|\.)(?!(?<=\w){_UNSPACED})(?!(?<=(?<!\w)-|\d,)\d)\L<spellings>"
    rf"(?!['’.]?{_SPACED})(?!(?<={_UNSPACED})\w)(?!(?<=\d),\d|[+#]+(?!\w))"
)


@dataclass(frozen=True)
class Vocabulary:
    """How the labels of an eval set are written.

    Attributes:
        labels: the labels themselves.
        names: label by plain spelling, aliases included.
        words: finds the spellings in a plain text, the longest first: "not spam" is no "spam".
        letters: finds spellings of one character outside of words, as they are written: "a" and "I" are words of most
            sentences.
    """

    labels: frozenset[str]
    names: dict[str, str]
    words: regex.Pattern[str]
    letters: regex.Pattern[str]

    def of(self, text: str) -> str | None:
        """The label that a text is, without regard to case, quotes and what else stands around."""
        return self.names.get(bare(text))

    def choice(self, text: str) -> str | None:
        """The label, a single letter, that a text begins with as a choice does: "B) Paris", but not "A) or B)"."""
        text = text.strip(" \"'`*")
        found = _CHOICE.match(text)
        several = len({each.casefold() for each in _BRACKETED.findall(text)} & self.names.keys()) > 1
        if not found or several or dismissed_choice(text[found.end(1) :]):
            return None
        return self.names.get(found.group(1).casefold())

    def mentioned(self, text: str, announced: bool = False) -> dict[str, bool]:
        """All labels in a text, which stands behind "Answer:" or not, without those that it directly negates.

        Each with whether it is said without a doubt somewhere.
        """
        lines = "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
        folded = lines.casefold()
        origin = [place for place, mark in enumerate(lines) for _ in mark.casefold()]
        found: dict[str, bool] = {}
        taken = set()
        after = 0
        for word in self.words.finditer(folded.replace("\n", " ")):
            taken.update(origin[slice(*word.span())])
            if negated(folded, *word.span(), self.names):
                after = word.end()
            else:
                self._note(found, self.names[word.group()], folded, word.span(), after, announced)
        after = 0
        for letter in self.letters.finditer(lines):
            if letter.start() in taken or _is_word(lines, letter, announced):
                continue
            if negated(lines, *letter.span(), self.names):
                after = letter.end()
            else:
                self._note(found, self.names[letter.group().casefold()], lines, letter.span(), after, announced)
        return found

    def _note(
        self, found: dict[str, bool], label: str, text: str, span: tuple[int, int], after: int, announced: bool
    ) -> None:
        if not found.get(label):
            found[label] = self._is_said(text, *span, after, announced)

    def _is_said(self, text: str, start: int, end: int, after: int, announced: bool) -> bool:
        """Whether a mention is no doubt and no question; a question may end in a guess: "It has a tower. Is it B?"."""
        if taken_back(text, start, end, self.names, after):
            return False
        guessed = announced or (end - start == 1 and _SENTENCE_ENDS.search(text, 0, start) is not None)
        return guessed or not asked(text, end)

    def yes_or_no(self, text: str, mentioned: Mapping[str, bool]) -> str | None:
        """The label that a text answers with where it mentions none but yes and no, or true and false."""
        return self.names.get(yes_or_no_said(text) or "") if self.only_yes_or_no(mentioned) else None

    def only_yes_or_no(self, mentioned: Mapping[str, bool]) -> bool:
        """Whether several labels are mentioned, and none but yes and no, or true and false."""
        return len(mentioned) > 1 and mentioned.keys() <= {self.names.get(word) for word in YES_OR_NO}


_SENTENCE_ENDS = re.compile(r"[.!](?=\s)|\n")


def _is_word(lines: str, letter: regex.Match[str], announced: bool) -> bool:
    """Whether a letter is an article or a pronoun: one that a word follows on its line.

    A capital "A" is one only where a sentence begins: neither in "I take A here" nor right behind "Answer:".
    """
    if letter.group() not in ("a", "A", "I") or not _WORD_BEHIND.match(lines, letter.end()):
        return False
    if letter.group() != "A":
        return True
    before = lines[max(0, letter.start() - _BEFORE) : letter.start()]
    return _SENTENCE_BEGINS.search(before) is not None and not (announced and not before.strip(AROUND))


def bare(text: str) -> str:
    """A text's plain spelling, without what stands around."""
    return " ".join(text.strip(AROUND).split()).casefold()


def vocabulary(labels: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> Vocabulary:
    """The labels of an eval set, and other spellings that count as them."""
    return _compiled(tuple(labels), tuple((label, tuple(others)) for label, others in aliases.items()))


@lru_cache(maxsize=64)
def _compiled(labels: tuple[str, ...], aliases: tuple[tuple[str, tuple[str, ...]], ...]) -> Vocabulary:
    spellings = [(composed(label), label) for label in labels]
    spellings += [(composed(other), label) for label, others in aliases for other in others]
    names: dict[str, str] = {}
    for spelling, label in spellings:
        if bare(spelling):
            names.setdefault(bare(spelling), label)
    words = [name for name in names if len(name) > 1]
    letters = [spelling for spelling, _ in spellings if len(spelling) == 1 and spelling.casefold() in names]
    return Vocabulary(
        frozenset(labels),
        names,
        _any_of(_WORDS, words),
        _any_of(_LETTERS, letters),
    )


def _any_of(pattern: str, spellings: list[str]) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.VERSION1, spellings=spellings) if spellings else regex.compile(r"(?!)")
