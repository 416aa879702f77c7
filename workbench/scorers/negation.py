"""Whether the words around a label take it back: "not spam", "unlikely to be spam", "Dies ist kein Spam", "Spam?".

taken_back("I do not know whether it is spam.", 28, 32, names={"spam"})      # True

English, German, French and Spanish. What is taken back wrongly is an answer that is not read; what is not taken back
is one that is read as its opposite. So it is enough that a negation or a doubt stands before the label in its clause.
"""

from __future__ import annotations

import re
from collections.abc import Container

_BEFORE = 240  # characters in which a clause's beginning is looked for
_BEHIND = 60
# Right before a label, on its line: "not a bug", "isn't really billing", "I cannot say yes", "don't think it is spam";
# but "whether or not" negates nothing.
_BESIDE = re.compile(
    r"(?<![\w-])(?<!\bor )(not|no|never|cannot|neither|nor|\w+n['’]t)"
    r"(?: (?:think|believe|say|call|see|look|seem)(?: (?:that|this|it|is|as|like))*)?"
    r"(?: (?:an?|the|any|about|for|in|to|be|really))*[ \"'`*_(\[]*\Z",
    re.IGNORECASE,
)
_NEGATED_BEFORE = re.compile(r"[不非未没沒無无](?:[是有算为為]|属于|屬於)?\Z")
_NEGATED_BEHIND = re.compile(r"(?:では|じゃ|で)(?:な|あり?ません)")

# Where a clause begins: behind a sentence, an arrow, a turn such as "but", and a comma that a new subject follows.
_CLAUSE = re.compile(
    r"[\n;:…—]|[.!?]['\"’”)*_]*(?=\s)|→|⇒|=>|->|\s[-=](?=\s)|\((?![^()]*\))"
    r"|\b(?<!anything )(?:but|however|instead(?! of)|sondern|aber|mais|sino|pero)\b"
    r"|\b(?:and|und|et|y) (?=(?:it|this|so|i|we"
    r"|(?:(?:is|ist|est|es) )?(?:therefore|thus|hence|daher|deshalb|donc|por (?:lo )?tanto))\b)"
    r"|,\s(?=(?:so|which|that|th(?:is|ese)|it|therefore|thus|hence|then|the|i|we|making|"
    r"indicating|(?:maybe|perhaps|possibly|probably|likely|rather)(?! than|,)"
    r"|suggesting|meaning|placing|clearly(?!,)"
    r"|daher|also|deshalb|somit|weshalb|was auf|ist|es|das|dies"
    r"|donc|alors|ce qui|c['’]est|cela|il|l['’]\w+ (?:est|semble|serait)"
    r"|por (?:lo que|(?:lo )?tanto|eso)|entonces|luego|lo que (?:indica|sugiere|significa)|as[ií] que|est[eoa])\b)",
    re.IGNORECASE,
)
# Negations that negate nothing about what follows them.
_EMPTY = re.compile(
    r"\b(?:no|without(?: an?y?)?|keine?|ohne(?: jeden)?|sans(?: aucun)?|pas de|aucun|sin(?: ninguna)?"
    r"|no (?:hay|cabe)(?: ninguna)?|beyond(?: an?y?| all)?(?: reasonable)?)\s(?:doubt|question|zweifel|doute|duda)\b"
    r"|\b(?:keine|ohne)\sfrage\b(?!\s(?:von|des|der|nach)\b)|\A\W*si\s?,"
    r"|\b(?:not|nicht|pas|no|non)\s(?:only|just|merely|simply|nur|bloß|seulement|s[oó]lo|solamente)\b"
    r"|\b(?:cannot|\w+n['’]t)(?:\s\w+){0,2}\sanything\s(?:but|other than|else than)\b"
    r"|\bno(?:thing|ne)?(?:\s\w+)?\s(?:but|other than|else than)\b|\bhelp but\b|\bno matter\b"
    r"|\bwhether\b.*\bor not\b|\bor not\b|\bas if\b|\b(?:no|non)\s?,"
    r"|\bif (?:i|we|one|you) (?:had|have|has|must)\b|\bif (?:any|anything|asked|forced|necessary|needed)\b",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\b(?:"
    r"not|no|never|cannot|neither|nor|none|nothing|nobody|\w+n['’]t|without|hardly|barely|scarcely|unlikely|unable"
    r"|unsure|uncertain|unclear|unrelated|impossible|improbable|doubt|doubtful|lacks"
    r"|(?<!\bder )(?<!\bden )(?<!\bdem )(?<!\bam )lack|lacking|absence|less|whether|if"
    r"|far from|free (?:of|from)|rather than|instead of|anything but|other than|except"
    r"|please (?:provide|send|share|give|paste|enter|supply|specify|tell|include|forward|upload)"
    r"|need (?:more|further|additional|the|to (?:see|know|read))"
    r"|nichts?|kein(?:e[nmrs]?)?|nie|niemals|weder|ohne|kaum|unwahrscheinlich|unklar|ob|statt|anstatt|anstelle"
    r"|falls(?! (?:(?:\w+ ){0,2}(?:under|into|within)|in (?:the|this|that|an?|your|our)|on|to)\b)"
    r"|keineswegs|keinesfalls|bitte (?:geben|gib|senden|schicken?|teilen?|nennen?)"
    r"|ne|pas|non|jamais|aucune?|sans|ni|rien|peu probable|plutôt que|au lieu de|si"
    r"|veuillez (?:fournir|envoyer|donner|partager|indiquer|préciser|coller)"
    r"|nunca|jamás|(?<!\ba )(?<!\bthe )sin|ning[uú]na?|nada|tampoco|en lugar de|en vez de"
    r"|por favor,? (?:proporcion\w*|env[ií]\w*|compart\w*|indi\w*|especifi\w*)"
    r")(?!\w)|\bn['’](?=\w)",
    re.IGNORECASE,
)
# Behind a label: "spam is unlikely", "B is not the answer", "Spam ist das nicht."
_DISMISSED = re.compile(
    r"[\"'`*_)\]]*\s(?:(?:is|was|ist|est|es)\s(?:not|no|nicht|pas)\b(?=\s(?:an?|the|right|correct|applicable|likely)\b)"
    r"|(?:isn|wasn)['’]t\b(?=\s(?:an?|the|right|correct|applicable|likely)\b)"
    r"|(?:do(?:es)?(?: not|n['’]t)) (?:apply|fit|match)\b|(?:is|seems|appears) (?:very |most |highly )?unlikely\b"
    r"|(?:is|can be) (?:ruled out|excluded)\b|[^.!?\n;,]*\b(?:not|nicht)\s*(?=[.!\n]|\Z))",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"[\"'`*_)\].:]*\s(?:is|are|was|would be|seems|ist|est|es)\s(?:\w+\s)?"
    r"(?:wrong|incorrect|false|not|too|falsch|fau(?:x|sse)|incorrect[oae]|fals[oa]|pas)\b",
    re.IGNORECASE,
)
_ASKED = re.compile(r"[^.!?\n;]*\?(?!\W*(?:yes|ja|oui|s[ií]|definitely|absolutely|correct)\b)", re.IGNORECASE)
_OR = re.compile(r"\W*,?\s(?:or|nor|oder|ou|o|ni)\b", re.IGNORECASE)
_COMMA = re.compile(r",\s(?:an?|the|ein|eine|une?|una?)?\s?[\"'`*_(\[]*\Z", re.IGNORECASE)


def negated(text: str, start: int, end: int, names: Container[str]) -> bool:
    """Whether what stands right beside a label negates it.

    A word that is a label itself does not, but "neither" and "nor" always do: "neither A nor B" is "neither".
    """
    before = text[max(0, start - 60) : start]
    negation = _BESIDE.search(before)
    if negation is not None:
        word = negation.group(1).casefold()
        return word in ("neither", "nor") or word not in names
    return bool(_NEGATED_BEFORE.search(before) or _NEGATED_BEHIND.match(text, end))


def taken_back(text: str, start: int, end: int, names: Container[str], after: int = 0) -> bool:
    """Whether a label's clause denies or doubts it, or does without it.

    Args:
        names: plain spellings of labels; a word that is one negates nothing.
        after: where what is looked at begins at the earliest: a negation before belongs to another label.
    """
    behind = text[end : end + _BEHIND].partition("\n")[0]
    behind = behind if len(behind) < _BEHIND else f"{behind}…"  # what is cut off does not end
    dismissed = _DISMISSED.match(behind) or (end - start == 1 and _WRONG.match(behind))
    return bool(dismissed) or doubted(text, start, names, after, listed=_OR.match(behind) is not None)


def doubted(text: str, place: int, names: Container[str] = (), after: int = 0, *, listed: bool = False) -> bool:
    """Whether a negation or a doubt stands before a place of a text in its clause.

    Args:
        listed: the place is in an enumeration: a comma before it begins no clause.
    """
    before = text[max(after, place - _BEFORE) : place]
    if not listed and _COMMA.search(before):
        return False
    begins = max((clause.end() for clause in _CLAUSE.finditer(before)), default=0)
    words = _DOUBT.finditer(_EMPTY.sub(" ", before[begins:]))
    return any(word.group().casefold() not in names for word in words)


def denies(text: str) -> bool:
    """Whether a negation or a doubt stands anywhere in a text."""
    return _DOUBT.search(_EMPTY.sub(" ", text)) is not None


def asked(text: str, end: int) -> bool:
    """Whether the sentence that goes on at a place asks, and is not answered with yes."""
    return _ASKED.match(text[end : end + _BEFORE]) is not None


def dismissed_choice(text: str) -> bool:
    """Whether what stands behind a choice calls it wrong: "A) is wrong"."""
    return _WRONG.match(text[:_BEHIND]) is not None
