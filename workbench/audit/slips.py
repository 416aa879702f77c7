"""Texts that are one but for a slip of the pen, a number before them, or their numbers.

list(slips(["lock my card please now", "lokc my card please now"], [0, 0]))     # [(0, 1)]

A cosine says little about short texts, where one swapped letter changes every tenth feature; here words are compared.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations
from typing import Any

from workbench.audit.inputs import strings_in, words_of

_LETTERS = 20  # of a text under which two that are spelled alike may well be two
_WORDS, _WORDS_FOR_TWO, _MOST_WORDS = 4, 8, 60  # of a text with one slip, with two, and of one that is short
_SAYING = 5  # words beside numbers from which a text says what the numbers are about
_NUMBERS_BEFORE = 3  # such as "[#12345]", or "12 -"
_SHARED, _MANY = 0.9, 20  # the share of texts that is nearly all of them, where there are so many
_COMMON = 100  # texts with the same part, from which it is part of a form
_KNOWN_FROM = 4  # letters of a word that a slip may turn into another known one
_NUMBER = re.compile(r"(?<![\w./])(?<!\w-)\d+(?:[.,:/-]\d+)*(?![\w/])(?!\.\w)")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_WORD = re.compile(r"[^\W\d_]{2,}")


def but_for_numbers(inputs: dict[str, Any]) -> str | None:
    """The text of inputs with a 0 for each number; None where none stands among words.

    A number that is an input of its own, or part of a name such as "img_12.png", tells what the words are about.
    """
    texts = list(strings_in(inputs))
    masked = [_NUMBER.sub("0", text) if len(_WORD.findall(text)) >= _SAYING else text for text in texts]
    return " ".join(words_of(" ".join(masked))) if masked != texts else None


def spelled_alike(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of texts that differ in spaces and hyphens alone, or in a number before or behind one of them."""
    words = [[_bare(word) for word in _HYPHEN.sub(" ", text).split()] for text in texts]
    places: dict[str, int] = {}
    for index, each in enumerate(words):
        key = "".join(each)
        if len(key) >= _LETTERS and places.setdefault(key, index) != index:
            yield places[key], index
    for index, each in enumerate(words):
        kept = _without_numbers_around(each)
        other = places.get("".join(kept)) if len(kept) < len(each) else None
        if other is not None and other != index:
            yield min(index, other), max(index, other)


def _bare(word: str) -> str:
    """A word without brackets and marks around it; "[#12]" is "12"."""
    return word.lstrip("#*_~|[{(<\"'").rstrip("*_~|]})>\"':") or word


def _without_numbers_around(words: list[str]) -> list[str]:
    first, last = 0, len(words)
    while first < min(_NUMBERS_BEFORE, last) and not words[first].isalpha() and not _WORD.search(words[first]):
        first += 1
    while last > max(first, len(words) - _NUMBERS_BEFORE) and not _WORD.search(words[last - 1]):
        last -= 1
    return words[first:last]


def slips(texts: Sequence[str], answers: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Pairs of texts with the same answer that differ in a letter of a word, or in one each of two words.

    With another answer the letter may be the point. Two texts of as many words that differ in k of them share one of
    k + 1 parts, so only those that do are compared (the pigeonhole principle).
    """
    words = _own_words([[_bare(word) for word in text.split()] for text in texts])
    known = Counter(word for own in words for word in set(own))
    parts: dict[tuple[Hashable, ...], list[int]] = defaultdict(list)
    for index, own in enumerate(words):
        if _WORDS <= len(own) <= _MOST_WORDS and sum(map(len, own)) >= _LETTERS:
            count = _slips_allowed(own) + 1
            for number in range(count):
                part = tuple(own[len(own) * number // count : len(own) * (number + 1) // count])
                parts[(len(own), number, part, answers[index])].append(index)
    seen = set()
    for alike in parts.values():
        if len(alike) > _COMMON:
            continue
        for pair in combinations(alike, 2):
            if pair not in seen and _are_slips(words[pair[0]], words[pair[1]], known):
                seen.add(pair)
                yield pair


def _own_words(words: list[list[str]]) -> list[list[str]]:
    """The words of each text that are not in nearly all texts, as those of an instruction before each question are."""
    if len(words) < _MANY:
        return words
    counts = Counter(word for each in words for word in set(each))
    return [[word for word in each if counts[word] <= _SHARED * len(words)] for each in words]


def _slips_allowed(words: Sequence[str]) -> int:
    return 1 if len(words) < _WORDS_FOR_TWO else 2


def _are_slips(one: Sequence[str], other: Sequence[str], known: Counter[str]) -> bool:
    allowed = _slips_allowed(one)
    for left, right in zip(one, other, strict=True):
        if left != right:
            allowed -= 1
            if allowed < 0 or not _is_slip(left, right, known):
                return False
    return True


def _is_slip(one: str, other: str, known: Counter[str]) -> bool:
    """Whether two words are one but for a letter, or two that are swapped; numbers are never.

    "in" and "on" are two words; of two short ones, one must be none that is known from elsewhere.
    """
    if any(mark.isdigit() for mark in one + other):
        return False
    if max(len(one), len(other)) < _KNOWN_FROM and min(known[one], known[other]) > 1:
        return False
    short, long = sorted((one, other), key=len)
    first = next((at for at, (left, right) in enumerate(zip(short, long, strict=False)) if left != right), len(short))
    if len(short) < len(long):
        return short[first:] == long[first + 1 :]
    rest = first + 1
    return short[rest:] == long[rest:] or (
        short[first : first + 2] == long[first : first + 2][::-1] and short[first + 2 :] == long[first + 2 :]
    )
