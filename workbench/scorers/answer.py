"""From a model's text to an answer under the eval set's output format.

parse_answer('```json\\n{"answer": "yes"}\\n```', schema=schema).value      # {'answer': 'yes'}
parse_answer("<think>hm</think>Queue: billing", labels=["billing", "bug"]).value      # 'billing'

What is looked at, in this order: thoughts in `<think>` are left out; then for JSON see `objects`; for a label the whole
text, what stands behind "Answer:", a list of one, a choice such as "B) Paris", and last the only label that is
mentioned, in a short text or in the first or last line of a long one: a page that happens to name a label has not
chosen it, and neither has "not a bug".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import regex

from workbench.scorers.affirmation import YES_OR_NO, yes_or_no_said
from workbench.scorers.json_text import FENCE
from workbench.scorers.json_text import json_at as json_at
from workbench.scorers.objects import read_object

_ANNOUNCEMENTS_LOOKED_AT = 50
_SHORT = 40  # words: what is longer is no answer that mentions its label, but a text that does
_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>|\[(/?)THINK\]", re.IGNORECASE)
# What announces an answer. Beside a category, a topic or tag is no label that was asked for, but a list may be of them.
_NAMES = r"answers?|labels?|categor(?:y|ies)|class(?:es)?|choices?"
_ANNOUNCED = re.compile(rf"\b(?:{_NAMES})\b[*_\s]*(?:(?:is|are)\b[*_\s]*)?[:=]\s*", re.IGNORECASE)
_ANSWER = re.compile(
    rf"^[ \t*_#]*(?:(?:the|my) )?(?:final )?(?P<name>{_NAMES}|topics?|tags?)[ \t*_]*(?:(?:is|are)\b[ \t*_]*)?"
    r":[*_]*(?=\s*\S)",
    re.IGNORECASE | re.MULTILINE,
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_CHOICE = re.compile(r"\(?([A-Za-z])(?:\)|[.:](?!\w)|\s*$)")
_BRACKETED = re.compile(r"(?<!\w)([A-Za-z])\)")
# "A cat" and "I think" are no choices, "A is right" is, and so is "A" on a line of its own.
_WORD_BEHIND = re.compile(r" (?!(?:is|was|because|since|as|and|or|but)\b)\w")
_SENTENCE_BEGINS = re.compile(r"(?:\A|[\n.:;!?…—–-])[^\w\n]*\Z")
# Right before a label, on its line: "not a bug", "isn't really billing", "I cannot say yes", "don't think it is spam";
# but "whether or not" negates nothing.
_NEGATION = re.compile(
    r"(?<![\w-])(?<!\bor )(not|no|never|cannot|neither|nor|\w+n['’]t)"
    r"(?: (?:think|believe|say|call|see|look|seem)(?: (?:that|this|it|is|as|like))*)?"
    r"(?: (?:an?|the|any|about|for|in|to|be|really))*[ \"'`*_(\[]*\Z",
    re.IGNORECASE,
)
# Where a label may begin and end: where a word does, except in scripts that put no spaces between words; one letter of
# these says too little. "-1" is no "1", and "C++" and "C#" are no "C".
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
_ONE_WORD = r"(?!(?<=[\p{Katakana}ー])[\p{Katakana}ー])"
_SPACED = rf"[\w--{_UNSPACED}]"
_WORDS = (
    rf"(?:(?<!{_SPACED})|(?={_UNSPACED})){_ONE_WORD}(?!(?<=(?<!\w)-|\d[.,])\d)\L<spellings>"
    rf"(?:(?!{_SPACED})|(?<={_UNSPACED})){_ONE_WORD}(?!(?<=\d)[.,]\d|[+#]+(?!\w))"
)
_LETTERS = (
    rf"(?<!{_SPACED}|\.)(?!(?<=\w){_UNSPACED})(?!(?<=(?<!\w)-|\d,)\d)\L<spellings>"
    rf"(?!['’.]?{_SPACED})(?!(?<={_UNSPACED})\w)(?!(?<=\d),\d|[+#]+(?!\w))"
)
AROUND = " \t\n\"'`*_.:;,()[]{}"  # around a label; no part of it
_NEGATED_BEFORE = re.compile(r"[不非未没沒無无](?:[是有算为為]|属于|屬於)?\Z")
_NEGATED_BEHIND = re.compile(r"(?:では|じゃ|で)(?:な|あり?ません)")
_BEFORE = 60  # characters in which a negation is looked for


@dataclass(frozen=True)
class Answer:
    """A parsed answer.

    Attributes:
        text: what the model wrote.
        value: the JSON value, the label or the text in it; None where there is none.
        format_ok: whether it keeps the output format.
        problem: why not, without repeating the text.
        said: the text without thoughts.
    """

    text: str
    value: Any
    format_ok: bool
    problem: str | None = None
    said: str = ""


def parse_answer(
    text: str,
    schema: dict[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> Answer:
    """Read an answer: JSON by a schema, one of the labels, or free text where neither is given."""
    said = without_thoughts(text)
    if said is None:
        return Answer(text, None, False, "the answer ends inside its thoughts")
    if schema is not None:
        value, problem = read_object(said, schema)
    elif labels is not None:
        value, problem = _read_label(said, _vocabulary(labels, aliases or {}))
    else:
        value, problem = (said, None) if said else (None, "empty answer")
    return Answer(text, value, problem is None, problem, said)


def without_thoughts(text: str) -> str | None:
    """What is said aloud; None where a thought never ends."""
    said: list[str] = []
    begins: int | None = 0  # where what is said goes on; None within a thought
    for tag in _THOUGHT.finditer(text):
        if tag.group(1) or tag.group(2):
            if begins is not None:  # a template has opened the thought for the model
                said.clear()
            begins = tag.end()
        elif begins is not None:
            said.append(text[begins : tag.start()])
            begins = None
    return None if begins is None else "".join([*said, text[begins:]]).strip()


def listed(text: str, separator: str = "\n", known: Iterable[str] = ()) -> list[Any]:
    """The entries of a list in a text.

    It is a JSON list, also fenced, or in an object of its own; else what stands behind "Answer:", or behind "Labels:"
    if no other such name stands in the text, or below a first line that ends with ":" and is no `known` entry, or all
    of it: the lines, without bullets, and their parts.
    """
    said = _announced_list(text)
    for candidate in (text, said, *(block.group(1) for block in islice(FENCE.finditer(text), 1))):
        value, _ = json_at(candidate.strip())
        if isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        if isinstance(value, list):
            return value
    lines = [_BULLET.sub("", line) for line in _without_heading(said.splitlines(), known)]
    return [part.strip() for line in lines for part in line.split(separator) if part.strip()]


def _without_heading(lines: list[str], known: Iterable[str]) -> list[str]:
    """Lines without a first one that ends with ":"; only without its ":" where it is an entry itself."""
    heading = lines[0].rstrip(" *_") if lines else ""
    if not heading.endswith(":") or not any(line.strip() for line in lines[1:]):
        return lines
    is_entry = _plain(_BULLET.sub("", heading)) in {_plain(each) for each in known}
    return [heading[:-1], *lines[1:]] if is_entry else lines[1:]


def _announced_list(text: str) -> str:
    """What stands behind the last "Answer:", or the only "Labels:"; "Topics: a" and "Tags: b" are two lists."""
    announced = list(_ANSWER.finditer(text))
    last = announced[-1]["name"].casefold() if announced else ""
    return answered(text) if len(announced) == 1 or last.startswith("answer") else text


def answered(text: str) -> str:
    """What stands behind the last "Answer:", "Labels:" and the like that begins a line; all of a text that has none."""
    announced = next(reversed(list(_ANSWER.finditer(text))), None)
    if announced is None:
        return text
    behind = text[announced.end() :].strip()
    return behind.replace("**", "", 1) if behind.count("**") % 2 else behind  # of "**Answer: Paris**"


@dataclass(frozen=True)
class _Vocabulary:
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
        return self.names.get(_plain(text))

    def choice(self, text: str) -> str | None:
        """The label, a single letter, that a text begins with as a choice does: "B) Paris", but not "A) or B)"."""
        found = _CHOICE.match(text.strip(" \"'`*"))
        several = len({each.casefold() for each in _BRACKETED.findall(text)} & self.names.keys()) > 1
        return self.names.get(found.group(1).casefold()) if found and not several else None

    def mentioned(self, text: str, announced: bool = False) -> set[str]:
        """All labels in a text, which stands behind "Answer:" or not, without those that it directly negates."""
        lines = "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
        folded = lines.casefold()
        origin = [place for place, mark in enumerate(lines) for _ in mark.casefold()]
        found, taken = set(), set()
        for word in self.words.finditer(folded.replace("\n", " ")):
            taken.update(origin[slice(*word.span())])
            if not self._negated(folded, word):
                found.add(self.names[word.group()])
        for letter in self.letters.finditer(lines):
            known = letter.start() in taken or _is_word(lines, letter, announced)
            if not known and not self._negated(lines, letter):
                found.add(self.names[letter.group().casefold()])
        return found

    def yes_or_no(self, text: str, mentioned: set[str]) -> str | None:
        """The label that a text answers with where it mentions none but yes and no, or true and false."""
        no_other = len(mentioned) > 1 and mentioned <= {self.names.get(word) for word in YES_OR_NO}
        return self.names.get(yes_or_no_said(text) or "") if no_other else None

    def _negated(self, lines: str, label: regex.Match[str]) -> bool:
        """Whether what stands next to a label negates it.

        A word that is a label itself does not, but "neither" and "nor" always do: "neither A nor B" is "neither".
        """
        before = lines[max(0, label.start() - _BEFORE) : label.start()]
        negation = _NEGATION.search(before)
        if negation is not None:
            word = negation.group(1).casefold()
            return word in ("neither", "nor") or word not in self.names
        return bool(_NEGATED_BEFORE.search(before) or _NEGATED_BEHIND.match(lines, label.end()))


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


def _vocabulary(labels: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> _Vocabulary:
    return _compiled(tuple(labels), tuple((label, tuple(others)) for label, others in aliases.items()))


@lru_cache(maxsize=64)
def _compiled(labels: tuple[str, ...], aliases: tuple[tuple[str, tuple[str, ...]], ...]) -> _Vocabulary:
    spellings = [(composed(label), label) for label in labels]
    spellings += [(composed(other), label) for label, others in aliases for other in others]
    names: dict[str, str] = {}
    for spelling, label in spellings:
        if _plain(spelling):
            names.setdefault(_plain(spelling), label)
    words = [name for name in names if len(name) > 1]
    letters = [spelling for spelling, _ in spellings if len(spelling) == 1 and spelling.casefold() in names]
    return _Vocabulary(
        frozenset(labels),
        names,
        _any_of(_WORDS, words),
        _any_of(_LETTERS, letters),
    )


def _any_of(pattern: str, spellings: list[str]) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.VERSION1, spellings=spellings) if spellings else regex.compile(r"(?!)")


def _read_label(said: str, known: _Vocabulary) -> tuple[str | None, str | None]:
    if said in known.labels:
        return said, None
    said = composed(said)
    announced = list(_announced(said))
    lines = [line for line in said.splitlines() if line.strip()]
    for text in (said, *announced, *_alone(said, lines)):
        label = known.of(text)
        if label is not None:
            return label, None
    for text in (*announced, *lines[: len(lines) == 1]):
        label = known.choice(text)
        if label is not None:
            return label, None
    mentions = [(text, known.mentioned(text, announced=True)) for text in announced[:1]]
    mentions += [(text, known.mentioned(text)) for text in _short(said, lines)]
    for text, mentioned in mentions:
        label = next(iter(mentioned)) if len(mentioned) == 1 else known.yes_or_no(text, mentioned)
        if label is not None:
            return label, None
    if any(mentioned for _, mentioned in mentions):
        return None, "several labels in the answer"
    label = known.choice(said)
    return label, None if label is not None else "no label in the answer"


def _short(said: str, lines: Sequence[str]) -> list[str]:
    """A text if it is short; of a long one the first and the last line, as far as they are."""
    ends = [said] if _is_short(said) else filter(_is_short, dict.fromkeys((lines[0], lines[-1])))
    return ["\n".join(ends)]


def _is_short(text: str) -> bool:
    return len(text.split()) <= _SHORT


def composed(text: str) -> str:
    """Text in one of several spellings that look the same, and with one minus sign."""
    return unicodedata.normalize("NFC", text).replace("−", "-")


def _plain(text: str) -> str:
    return " ".join(text.strip(AROUND).split()).casefold()


def _announced(said: str) -> Iterator[str]:
    """What stands behind "Answer:" and the like to the end of its line, the last first."""
    for announcement in reversed(list(_ANNOUNCED.finditer(said))[-_ANNOUNCEMENTS_LOOKED_AT:]):
        behind = said[announcement.end() : announcement.end() + 1000].strip().splitlines()
        if behind:
            yield behind[0]


def _alone(said: str, lines: Sequence[str]) -> Iterator[str]:
    """A label that is in a list or object of one, or behind a bullet."""
    value, _ = json_at(said)
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        yield value
    if len(lines) == 1:
        yield _BULLET.sub("", lines[0])
