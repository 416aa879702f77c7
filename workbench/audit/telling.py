"""Inputs that are the answer: under whatever name, however deep, in whatever spelling its scorer accepts.

list(telling_inputs(evalset))     # [Finding("leaks", "error", "inputs.meta.team is the expected queue in 198 of …", …)]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from workbench.audit.inputs import fingerprint, shown
from workbench.audit.keys import FULL
from workbench.audit.report import Finding, Level
from workbench.evalset import EvalSet, Item
from workbench.scorers import Answer, FieldScorer, total
from workbench.scorers.currencies import token_of
from workbench.scorers.figures import plain_figures
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.latex import without_latex
from workbench.scorers.multi_label import MultiLabelScorer
from workbench.scorers.values import FieldSpec, Kind, compared, days_of
from workbench.scorers.yes_no import yes_or_no

AROUND = " \u00a0.,;:!?()[]\"'`*“”„‘’«»"  # of a value in a text
FEW = 10  # items under which a share says little
GIVEN_AWAY = 0.8
_BY_CHANCE = 0.6  # Cohen's kappa up to which two values of which one is frequent may agree
_TRIED = 50  # items that show whether a comparison is worth making with all
_YES_OR_NO = {"yes", "no", "true", "false"}
_A_VALUE = 80  # characters up to which a text is one value
_WORD = re.compile(r"[^\W\d_]+")
_AND = {"and", "und", "et", "y", "con"}  # "20 euros and 50 cents"
_CLOCK = {"t", "z", "utc", "gmt", "am", "pm"}
_DAYS = (  # of the week; "Fr" and "Fri." begin one
    *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    *("montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonnabend", "sonntag"),
    *("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    *("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
)
_LABELED_DATE = re.compile(r"[^\W\d_]\s*:|[(\[]")  # "Due: 3 May 2024", "3 May 2024 (signed)"
_PARSED: dict[str, Kind] = {"money": "money", "numeric": "number", "date": "date"}

_OF_A_RECORD = "Right where the task is to copy it; otherwise take it out of the inputs, or out of the prompts"

Compare = Callable[[Any, Any], bool]


def telling_inputs(evalset: EvalSet) -> Iterator[Finding]:
    """Inputs that simply are the answer, all of it or a field, in nearly all items that have one."""
    show = shown(evalset)
    given = [dict(_leaves(show(item))) for item in evalset.items]
    paths = dict.fromkeys(path for each in given for path in each)
    told: set[str] = set()
    if evalset.output_schema is not None and len(given) >= FEW:
        yield from _whole_keys(evalset, given, paths, told)
    for name, compare, expected in _fields(evalset):
        asked = [index for index, value in enumerate(expected) if value not in (None, "", [])]
        for path in paths if len(asked) >= FEW else ():
            if any(path == each or path.startswith(f"{each}.") for each in told):
                continue
            pairs = [(given[index].get(path), expected[index]) for index in asked]
            count = _agreeing(pairs, compare)
            if count:
                told.add(path)
                what = f"inputs.{path} is the expected {name} in {count} of {len(asked)} items"
                level: Level = "warning" if _in_a_record(evalset, given, path, name) else "error"
                mend = _OF_A_RECORD if level == "warning" else "Take it out of the inputs, or out of the prompts"
                yield Finding("leaks", level, what, mend)


def _in_a_record(evalset: EvalSet, given: Sequence[dict[str, Any]], path: str, name: str) -> bool:
    """Whether a part of the inputs stands in an object of the key's own fields, as one does that is to be corrected.

    The whole object is not the key: that is told before.
    """
    above, _, own = path.rpartition(".")
    if not above or own != name:
        return False
    pairs = zip(evalset.items, given, strict=True)
    records = sum(
        isinstance(value := inputs.get(above), dict) and len(value.keys() & item.expectations.keys()) > 1
        for item, inputs in pairs
    )
    return records > GIVEN_AWAY * len(given)


def _leaves(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every part of nested inputs with its path, objects and lists too; a list of one is that one."""
    for name, part in value.items():
        path = f"{before}{name}"
        while isinstance(part, list) and len(part) == 1:
            part = part[0]  # noqa: PLW2901
        yield path, part
        if isinstance(part, dict):
            yield from _leaves(part, f"{path}.")


def _whole_keys(
    evalset: EvalSet, given: Sequence[dict[str, Any]], paths: dict[str, None], told: set[str]
) -> Iterator[Finding]:
    """Objects among the inputs that are the key."""
    for path in paths:
        found = tuple(
            item.id
            for item, inputs in zip(evalset.items, given, strict=True)
            if isinstance(value := inputs.get(path), dict) and is_key(evalset, item, value)
        )
        if len(found) > GIVEN_AWAY * len(given):
            told.add(path)
            what = f"inputs.{path} is the expected answer in {len(found)} of {len(given)} items"
            yield Finding("leaks", "error", what, "Take it out of the inputs, or out of the prompts", found)


def is_key(evalset: EvalSet, item: Item, value: dict[str, Any]) -> bool:
    """Whether a JSON object is the item's key, or an answer with the full score."""
    if fingerprint(value) == fingerprint(item.expectations):
        return True
    if not value.keys() & item.expectations.keys():  # what is not there counts as null, which the key may be
        return False
    return total(evalset.scorers, Answer("", value, True), item.expectations).value >= FULL


def _fields(evalset: EvalSet) -> Iterator[tuple[str, Compare, list[Any]]]:
    """The expectations that scorers compare values with: the name, how to compare, and each item's."""
    seen = set()
    for scorer in evalset.scorers:
        if isinstance(scorer, MultiLabelScorer):
            name = scorer.expected_key
            yield name, _same_labels(scorer), [item.expectations.get(name) for item in evalset.items]
            continue
        if isinstance(scorer, JsonFieldsScorer):
            named: dict[str, FieldSpec | None] = dict(scorer.fields)
        elif isinstance(scorer, FieldScorer):
            kind = _PARSED.get(scorer.type)
            named = {scorer.expected_key: None if kind is None else FieldSpec(type=kind)}
        else:
            continue
        for name, spec in named.items():
            if name not in seen:
                seen.add(name)
                are_alternatives = not isinstance(scorer, FieldScorer) or any(
                    scorer.alternatives(item.expectations) for item in evalset.items
                )
                compare = _comparison(spec, are_alternatives)
                yield name, compare, [item.expectations.get(name) for item in evalset.items]


def _same_labels(scorer: MultiLabelScorer) -> Compare:
    def compare(given: Any, expected: Any) -> bool:
        labels = scorer.labels_of(expected)
        return isinstance(given, str | list) and bool(labels) and scorer.labels_of(given) == labels

    return compare


def _comparison(spec: FieldSpec | None, are_alternatives: bool) -> Compare:
    def compare(given: Any, expected: Any) -> bool:
        if given is None or given == "":
            return False
        values = expected if isinstance(expected, list) else [expected]
        if isinstance(given, list | dict):
            if spec is not None and spec.type in ("list", "object"):
                return compared(spec, given, expected).f1 >= FULL
            return isinstance(given, list) and not are_alternatives and _plain_set(given) == _plain_set(values)
        if not are_alternatives and len(values) > 1:
            return False
        if any(_is(given, value) for value in values):
            return True
        return spec is not None and _parsed_alike(spec, given, expected)

    return compare


def _plain_set(values: Sequence[Any]) -> set[str]:
    return {_plain(value) for value in values}


def _parsed_alike(spec: FieldSpec, given: Any, expected: Any) -> bool:
    """Whether a short value is the expected one by what it means, such as "RM 12.30" and 12.3."""
    if spec.type not in ("money", "number", "date") or compared(spec, given, expected).right < FULL:
        return False
    return not isinstance(given, str) or (len(given) <= _A_VALUE and "\n" not in given and _only_a_value(spec, given))


def _only_a_value(spec: FieldSpec, text: str) -> bool:
    """Whether a text is nothing but the date, amount or number in it, and no sentence that it can be read out of."""
    if spec.type == "date":
        return _only_a_date(spec, text)
    text = without_latex(text)
    between, at = [], 0
    for figure in plain_figures(text):
        between.append(text[at : figure.begins])
        at = figure.ends
    unit = text[at:].strip(AROUND)
    if spec.type == "number" and len(unit.split()) == 1 and not any(map(_words, between)):
        return True  # "12 pieces", "90 km/h"
    return not any(_words(part) for part in (*between, unit))


def _words(text: str) -> list[str]:
    """The words of what stands beside figures, without currencies."""
    left = text.strip(AROUND)
    if left.casefold() in _AND or token_of(left) is not None:
        return []
    return [word for word in _WORD.findall(left) if token_of(word) is None]


def _only_a_date(spec: FieldSpec, text: str) -> bool:
    words = {word.casefold() for word in _WORD.findall(text)} - _CLOCK
    if not words:
        return True
    if _LABELED_DATE.search(text):
        return False
    without = " ".join(_WORD.sub(" ", text).split()).strip(AROUND)
    if not days_of(spec, without):
        return True  # its month is a word, and such a date is read from words of dates alone
    return all(len(word) > 1 and any(day.startswith(word) for day in _DAYS) for word in words)


def _agreeing(pairs: Sequence[tuple[Any, Any]], compare: Compare) -> int:
    """How many inputs are the expected value, where these are nearly all, and more than chance explains; else 0."""
    tried = pairs[:: max(1, len(pairs) // _TRIED)]
    if sum(compare(*pair) for pair in tried) < GIVEN_AWAY / 2 * len(tried):
        return 0
    equal = [given for given, expected in pairs if compare(given, expected)]
    if len(equal) <= GIVEN_AWAY * len(pairs) or len({str(each) for each in equal}) < 2:
        return 0
    left, right = (Counter(_plain(pair[side]) for pair in pairs) for side in (0, 1))
    chance = sum(count * right[value] for value, count in left.items()) / len(pairs) ** 2
    return len(equal) if len(equal) / len(pairs) - chance > _BY_CHANCE * (1 - chance) else 0


def _plain(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return (yes_or_no(value) or "") if isinstance(value, bool) else str(value).strip(AROUND).casefold()


def same(found: object, answer: object) -> bool:
    """Whether two values are the same but for case and marks around them."""
    one, other = (str(value).strip(AROUND).casefold() for value in (found, answer))
    return one == other


def _is(given: Any, value: Any) -> bool:
    if isinstance(given, bool) and not isinstance(value, bool):
        return yes_or_no(given) == yes_or_no(value)
    if isinstance(value, bool) and isinstance(given, str):
        return given.strip(AROUND).casefold() in _YES_OR_NO and yes_or_no(given) == yes_or_no(value)
    return value is not None and same(given, value)
