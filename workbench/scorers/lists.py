"""The entries of a list that a text is, or announces.

listed("Here they are:\\n- **a**\\n- `b`")                            # ['a', 'b']
divided("bug and terms and conditions", {"terms and conditions"})     # ['bug', 'terms and conditions']
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import islice, pairwise
from typing import Any

from workbench.scorers.announced import ANSWER, answered
from workbench.scorers.json_text import FENCE, json_at
from workbench.scorers.negation import denies, doubted
from workbench.scorers.values import plain
from workbench.scorers.vocabulary import bare

_ENTRY = re.compile(r"'((?:[^'\\\n]|\\.)*+)'")
_LITERAL = re.compile(rf"\[\s*{_ENTRY.pattern}(?:\s*,\s*{_ENTRY.pattern})*+\s*,?\s*\]")  # as Python writes a list
_DIVIDED = 300  # characters of a part that may be several labels
_AROUND = " \t\"'`()[]{}*-"  # around a label
_SIGN = re.compile(r"\s*(?:[-*•–—+·◦▪‣]\s+)+")
_COUNT = re.compile(r"\s*(?:(?P<dotted>\d+)\.|\(?(?P<number>\d+)\)|\(?(?P<letter>[a-zA-Z])\))\s+")
_CHECKED, _UNCHECKED = re.compile(r"^\s*(?:[-*•+]\s+)?\[[xX✓]\]\s+"), re.compile(r"^\s*(?:[-*•+]\s+)?\[ ?\]\s+")
_CHECKED_BOX = re.compile(r"\s*\[[xX✓]\]\s+")
_DIGITS = 9  # of a count that are read
_PAIRS = ("**", "*", "`", '"', "'")  # around an entry
_TAGGED = re.compile(r"<(answer|labels?|output)>([^<]*+)</\1>", re.IGNORECASE)
_AND = r"(?:and|und|et|y|&)"
_BETWEEN = re.compile(rf"\s*[,;|]\s*(?:{_AND}\s)?|\s{_AND}\s", re.IGNORECASE)
_LEADING_AND = re.compile(rf"\s*{_AND}\s", re.IGNORECASE)
_REASON = re.compile(r"[:(]|\s[-–—]\s")  # "bug: it crashes", "bug (it crashes)"
_NO = re.compile(
    r"\W*(?:no|false|none|n/?a|nein|non|absent|not (?:applicable|present|mentioned)|does(?: not|n't) apply)\W*",
    re.IGNORECASE,
)
_RATED = re.compile(r"\W*(?:\d|maybe|perhaps|possibly|low\b)", re.IGNORECASE)
_NAMES = r"(?:labels?|tags?|topics?|categor(?:y|ies)|classes|answers?)"
_SENTENCE = re.compile(rf"\A[^\n:;,]{{0,60}}?\b{_NAMES}\b[^\n:;,]{{0,30}}?(?::|\s(?:are|is)\s)\s*(?=\S)", re.IGNORECASE)


def listed(text: str, separator: str = "\n", known: Iterable[str] = ()) -> list[Any]:
    """The entries of a list in a text.

    It is a JSON list, also fenced, or the only one in an object; else what stands behind "Answer:", or behind "Labels:"
    if no other such name stands in the text, or below a first line that ends with ":" and is no `known` entry, or all
    of it: the lines, without bullets, and their parts. A box without a check is no entry beside one with it.
    """
    entries = json_list(text)
    if entries is None:
        entries = [part.strip() for line in lines(text, known) for part in line.split(separator) if part.strip()]
    return entries


def json_list(text: str) -> list[Any] | None:
    """A list that is written in JSON, or as Python writes one."""
    said = _announced_list(text)
    for candidate in (text, said, *(block.group(1) for block in islice(FENCE.finditer(text), 1))):
        written = candidate.strip()
        value, _ = json_at(written)
        if isinstance(value, dict):
            value = _in_object(value)
        if value is None and _LITERAL.fullmatch(written):
            value = [entry.replace("\\'", "'") for entry in _ENTRY.findall(written)]
        if isinstance(value, list):
            return value
    return None


def _in_object(value: dict[str, Any]) -> Any:
    """The only list in an object, or the keys of those of its values that are true."""
    if value and all(isinstance(each, bool) for each in value.values()):
        return [name for name, is_so in value.items() if is_so]
    inner = [each for each in value.values() if isinstance(each, list)]
    return inner[0] if len(inner) == 1 else None


def lines(text: str, known: Iterable[str] = ()) -> list[str]:
    """The lines of a list, each an entry or several, without what marks them as a list's."""
    known = list(known)
    found = _without_heading(_unwrapped(text).splitlines(), {bare(each) for each in known})
    own = {plain(each) for each in known}
    if any(_CHECKED.match(line) for line in found):
        found = [line for line in found if not _UNCHECKED.match(line) or plain(_SIGN.sub("", line, count=1)) in own]
    kinds = _counting(found) - {count.lastgroup for count in map(_COUNT.match, own) if count}
    return [_undecorated(_unmarked(line, own, kinds), own) for line in found]


def _counting(found: list[str]) -> set[str | None]:
    """The kinds of counts that count up, line by line: those of "4. May" and "6. June" do not, and are the entries'."""
    counts: dict[str | None, list[tuple[int, int]]] = {}
    for place, count in enumerate(map(_COUNT.match, filter(str.strip, found)), start=1):
        if count:
            counts.setdefault(count.lastgroup, []).append((place, _value(count)))
    return {
        kind
        for kind, values in counts.items()
        if values[0][1] <= values[0][0]
        and all(after in (1, before + 1) for (_, before), (_, after) in pairwise(values))
    }


def _value(count: re.Match[str]) -> int:
    """The number of a count; of "a)" it is 1."""
    written = count[count.lastgroup or 0]
    return ord(written.casefold()) - ord("a") + 1 if written.isalpha() else int(written[:_DIGITS])


def _unmarked(line: str, known: Collection[str], kinds: Collection[str | None]) -> str:
    """A line without its bullet, box or count; one that is a known entry as it is written stays so."""
    for mark in (_CHECKED_BOX, _SIGN, _CHECKED_BOX):
        if not _is_known(line, known) and (found := mark.match(line)):
            line = line[found.end() :]
            if mark is _SIGN:
                kinds = ()  # a number behind a bullet is the entry's own
    count = None if _is_known(line, known) else _COUNT.match(line)
    if count is None:
        return line
    rest = line[count.end() :]
    return _SIGN.sub("", rest, count=1) if count.lastgroup in kinds or _is_known(rest, known) else line


def _is_known(line: str, known: Collection[str]) -> bool:
    return plain(line) in known or (not _SIGN.match(line) and spelled(line) in known)


def _undecorated(entry: str, known: Collection[str]) -> str:
    """An entry without signs around it that are not its own."""
    entry = entry.strip().rstrip(",;").rstrip()
    for sign in _PAIRS:
        inner = entry[len(sign) : -len(sign)]
        if (
            entry.startswith(sign)
            and entry.endswith(sign)
            and inner
            and sign not in inner
            and plain(entry) not in known
        ):
            entry = inner.strip()
    return entry


def _unwrapped(text: str) -> str:
    """What stands in a tag, behind "Answer:" or in a fence, where that is the list."""
    tagged = list(_TAGGED.finditer(text))
    said = tagged[0].group(2).strip() if len(tagged) == 1 else _announced_list(text)
    fences = list(islice(FENCE.finditer(said), 2))
    if len(fences) == 1:
        around = said[: fences[0].start()] + said[fences[0].end() :]
        if not around.strip() or around.strip().endswith(":"):
            return fences[0].group(1)
    return said


def _without_heading(found: list[str], known: Collection[str]) -> list[str]:
    """Lines without a first one that ends with ":"; only without its ":" where it is an entry itself."""
    heading = found[0].rstrip(" *_") if found else ""
    if not heading.endswith(":") or not any(line.strip() for line in found[1:]):
        return found
    is_entry = bare(_COUNT.sub("", _SIGN.sub("", heading, count=1), count=1)) in known
    return [heading[:-1], *found[1:]] if is_entry else found[1:]


def _announced_list(text: str) -> str:
    """What stands behind the last "Answer:", or the only "Labels:"; "Topics: a" and "Tags: b" are two lists."""
    announced = list(ANSWER.finditer(text))
    last = announced[-1]["name"].casefold() if announced else ""
    return answered(text) if len(announced) == 1 or last.startswith("answer") else text


def labels_in(text: str, separator: str, known: Collection[str]) -> list[str]:
    """The labels of a list in a text, as `spelled`.

    Args:
        separator: what stands between the labels of a line.
        known: spelled labels. Only beside these a part is divided at an "and", and ends where a reason begins.
    """
    found: list[str] = []
    for line in lines(_without_sentence(text, known), known):
        reasoned = _reasoned(line, known)
        found += divided_all(line.split(separator), known) if reasoned is None else reasoned
    return [label for label in found if label]


def spelled(label: str) -> str:
    """A label without regard to case, spaces and what stands around it."""
    return plain(label.strip(_AROUND))


def divided_all(parts: Iterable[str], known: Collection[str]) -> list[str]:
    """The labels of parts; see `divided`."""
    return [label for part in parts if part.strip() for label in divided(part, known)]


def divided(part: str, known: Collection[str]) -> list[str]:
    """A part of a list as one label; as several where it is none that is known, and some of these are."""
    whole = spelled(part)
    if whole in known or not known or len(part) > _DIVIDED:
        return [whole]
    leading = _LEADING_AND.match(part)
    if leading and spelled(part[leading.end() :]) in known:
        return [spelled(part[leading.end() :])]
    for between in _BETWEEN.finditer(part):
        sides = part[: between.start()], part[between.end() :]
        if any(spelled(side) in known for side in sides):
            return [whole] if _denies(part, known) else divided_all(sides, known)
    reasoned = _reasoned(part, known)
    return [whole] if reasoned is None else reasoned


def _reasoned(text: str, known: Collection[str]) -> list[str] | None:
    """The label of "bug: it crashes"; none of "bug: no"; None where it may be otherwise, or names another label."""
    reason = _REASON.search(text)
    head = spelled(text[: reason.start()]) if reason else ""
    if reason is None or head not in known:
        return None
    behind = text[reason.end() :]
    if _NO.fullmatch(behind):
        return []
    unclear = _RATED.match(behind) or denies(behind) or any(other in plain(behind) for other in known if other != head)
    return None if unclear else [head]


def _denies(part: str, known: Collection[str]) -> bool:
    """Whether there is a negation in a part, beside those of labels such as "non-compliant"."""
    rest = plain(part)
    for label in known:
        rest = rest.replace(label, " ")
    return denies(rest)


def _without_sentence(text: str, known: Collection[str]) -> str:
    """What stands behind "Here are the labels: " or "The labels are ", where it begins with one that is known."""
    sentence = _SENTENCE.match(text) if known and ANSWER.search(text) is None else None
    if sentence is None:
        return text
    heading, behind = sentence.group().rstrip(" :"), text[sentence.end() :]
    begins = set(divided(behind.split("\n", 1)[0], known)) & set(known)
    return behind if begins and not doubted(heading, len(heading)) else text
