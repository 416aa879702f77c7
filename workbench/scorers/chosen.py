"""The label that a text chooses among those that it mentions.

chosen("Billing.\\n\\nThe app has a bug, too.", vocabulary(["billing", "bug"], {}))      # ('billing', None)
chosen("It is unlikely to be spam.", vocabulary(["spam", "ham"], {}))[0]                # None

What is looked at, in this order: the whole text, what stands behind "Answer:", a list of one, a choice such as
"B) Paris"; what the line behind "Answer:" mentions; the only label that is mentioned without a doubt, in a short text
or in the first or last line of a long one: a page that happens to name a label has not chosen it. Of several that are
mentioned it is the one that the text states: behind "the answer is", in a first or last line of its own, or in a
first sentence before its reason. What is corrected later is not read at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from workbench.scorers.announced import announcements, first_sentence, statements
from workbench.scorers.json_text import json_at
from workbench.scorers.spelling import AROUND, composed
from workbench.scorers.vocabulary import Vocabulary

_SHORT = 40  # words: what is longer is no answer that mentions its label, but a text that does
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_SEVERAL = "several labels in the answer"
_NONE = "no label in the answer"
_UNCHOSEN = "the answer mentions a label without choosing it"

# Where a sentence's reason begins; "as well as" begins none. What may stand first in it instead is another choice.
_REASON = re.compile(
    r"[,;]?\s+(?=(?:because|since|as(?! well)|although|though|even (?:though|if)|despite|while|whereas|over|rather than"
    r"|instead of|given|due to|considering|which|weil|da|obwohl|denn|statt|car|puisque|bien que|parce que|plutôt que"
    r"|porque|ya que|aunque|puesto que|en lugar de)\b)",
    re.IGNORECASE,
)
# "It is billing", "I would pick B", "B is the correct answer": what may stand around a label that is stated.
_LEAD = re.compile(
    r"\A\W*(?:(?:so|thus|hence|therefore),?\s)?(?:(?:it|this|that)(?:['’]s| is| would be)\s"
    r"|i(?:['’]d| would| will|['’]ll)?\s(?:say|choose|pick|select|go with|answer(?: with)?"
    r"|(?:classify|label|categorize) (?:it|this) as)\s)?(?:(?:definitely|clearly|most likely|likely|probably)\s)?"
    r"(?:(?:an?|the)\s)?(?:(?:option|choice|label|answer)\s)?",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"\sis\s(?:the\s)?(?:most\s)?(?:correct|right|best|appropriate|suitable|fitting)"
    r"(?:\s(?:answer|choice|option|label|category|one))?[.!*_]*\Z",
    re.IGNORECASE,
)
# What takes a choice back, or makes another one, if a label follows in its sentence.
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correct(?:ion|ed)|sorry|apolog\w+|on (?:second thought|reflection|closer)|scratch that"
    r"|reconsider\w*|instead(?! of)|therefore|thus|hence|conclusion|summary|overall|finally|ultimately|consequently"
    r"|should (?:rather )?be|better|more accurate(?:ly)?|i meant?|or rather|no,|hmm+"
    r"|eigentlich|korrektur|doch|daher|deshalb|finalement|donc|en fait|mejor dicho|por lo tanto|en realidad)"
    r"|(?:\A|[.!?\n])\W*(?:so|also|and|or|but|maybe|perhaps|possibly|alternatively|plus|additionally|second(?:ly)?"
    r"|aber|auch|und|oder|mais|ou|et|pero|también|y|o)\b",
    re.IGNORECASE,
)
_CORRECTIONS = 20  # that are looked at
_SENTENCE_LENGTH = 300


def chosen(said: str, known: Vocabulary) -> tuple[str | None, str | None]:
    """The label that a text chooses, or None and why there is none."""
    if said in known.labels:
        return said, None
    said = composed(said)
    announced = list(announcements(said))
    lines = [line for line in said.splitlines() if line.strip()]
    for text in (said, *announced, *_alone(said, lines)):
        label = known.of(text)
        if label is not None:
            return label, None
    for text in (*announced, *lines[: len(lines) == 1]):
        label = known.choice(text)
        if label is not None:
            return label, None
    return _mentioned(said, lines, announced[:1], known)


def _mentioned(
    said: str, lines: Sequence[str], announced: Sequence[str], known: Vocabulary
) -> tuple[str | None, str | None]:
    """The label that a text mentions, or states among those that it mentions."""
    for text in announced:
        mentioned = known.mentioned(text, announced=True)
        label = _only(mentioned) or known.yes_or_no(text, mentioned)
        if label is None and len(mentioned) > 1 and not known.only_yes_or_no(mentioned):
            sentence, rest = first_sentence(text)
            label = _label_of(sentence, known, choice=True)
            fits = label is not None and not _is_corrected(rest, label, known)
            return (label, None) if fits else (None, _SEVERAL)
        if label is not None or len(mentioned) == 1:
            return label, None if label is not None else _UNCHOSEN
    text = _short(said, lines)
    mentioned = known.mentioned(text)
    label = known.yes_or_no(text, mentioned)
    if label is None and not known.only_yes_or_no(mentioned):
        stated = _stated(said, lines, known, several=len(mentioned) > 1)
        label = next(iter(stated)) if len(stated) == 1 else None if stated else _only(mentioned)
        label = label or (None if mentioned else known.choice(said))
    if label is not None:
        return label, None
    return None, _SEVERAL if len(mentioned) > 1 else _UNCHOSEN if mentioned else _NONE


def _only(mentioned: Mapping[str, bool]) -> str | None:
    """The only label that is mentioned, if it is without a doubt."""
    return next((label for label, is_said in mentioned.items() if is_said and len(mentioned) == 1), None)


def _stated(said: str, lines: Sequence[str], known: Vocabulary, several: bool) -> set[str]:
    """The labels that a text states: behind "the answer is"; of several also in a line or a sentence of its own.

    None of them where one is corrected later.
    """
    found = [(_label_of(text, known, choice=True), rest) for text, rest in statements(said)]
    if several:
        found += _own(said, lines, known)
    labels = {label for label, _ in found if label is not None}
    return set() if any(label and _is_corrected(rest, label, known) for label, rest in found) else labels


def _own(said: str, lines: Sequence[str], known: Vocabulary) -> Iterator[tuple[str | None, str]]:
    """The label of the first or last line, or of the first sentence, each with what follows it."""
    own = [_label_of(_BULLET.sub("", line), known) for line in lines]
    if len(set(own) - {None}) > 1:
        return  # a list, or the options once more
    yield own[0], said.partition(lines[0])[2]
    yield own[-1], ""
    if _is_short(lines[0]):
        sentence, rest = first_sentence(lines[0])
        yield _label_of(sentence, known), "\n".join([rest, *lines[1:]])


def _label_of(sentence: str, known: Vocabulary, choice: bool = False) -> str | None:
    """The label that a sentence states before its reason: "B is right, because A is too small"."""
    main = _REASON.split(sentence, maxsplit=1)[0].strip()
    if sentence.rstrip(" *_\"')").endswith("?"):
        return None
    for text in (main, _LEAD.sub("", main, count=1)):
        label = known.of(_TAIL.sub("", text)) or (known.choice(text) if choice else None)
        if label is not None:
            return label
    return None


def _is_corrected(rest: str, label: str, known: Vocabulary) -> bool:
    """Whether what follows a label takes it back, or chooses another one, as "access." does behind "billing."."""
    following = rest.lstrip()
    bare, behind = first_sentence(following[:_SENTENCE_LENGTH])
    is_alone = len(bare.strip(AROUND)) > 1 or not behind.partition("\n")[0].strip()  # "A. Rome" is none
    if is_alone and known.of(bare) not in (None, label):
        return True
    for correction in islice(_CORRECTION.finditer(rest), _CORRECTIONS):
        sentence, behind = first_sentence(rest[correction.end() : correction.end() + _SENTENCE_LENGTH])
        if not any(map(str.isalnum, sentence)):
            sentence, _ = first_sentence(behind.lstrip())
        if any(is_said and other != label for other, is_said in known.mentioned(sentence).items()):
            return True
    return False


def _short(said: str, lines: Sequence[str]) -> str:
    """A text if it is short; of a long one the first and the last line, as far as they are."""
    ends = [said] if _is_short(said) else filter(_is_short, dict.fromkeys((lines[0], lines[-1])))
    return "\n".join(ends)


def _is_short(text: str) -> bool:
    return len(text.split()) <= _SHORT


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
