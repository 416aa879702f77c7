"""Answers that the prompt gives away: announced, an input of their own, there in full, or named by a word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from workbench.audit.inputs import fingerprint, shown, strings_in
from workbench.audit.keys import FULL, label_fields
from workbench.audit.report import Finding, Level, count_of
from workbench.evalset import EvalSet, Item
from workbench.prompts import render
from workbench.scorers import Answer, FieldScorer, total
from workbench.scorers.answer import json_at, json_objects
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.yes_no import yes_or_no

_GIVEN_AWAY = 0.8
_FEW = 10  # items under which a share says little
_VERBATIM = 40  # characters of a free-text answer from which its standing in the prompt is no chance
_AROUND = " .,;:!?()[]\"'`*"  # of a value in a text
_OBJECTS_LOOKED_AT = 50  # of a text
_SURE_WORDS = (
    r"(?:label|target|solution|ground truth"
    r"|(?:correct|expected|final|gold|right|true|reference) (?:answer|label|category|class|solution))"
)
_MAYBE_WORDS = r"(?:answer|category|class)"
_SURE = re.compile(rf"(?:^|\n)[^\w\n]*(?:the )?{_SURE_WORDS}\W{{0,3}}(?:[:=]|\bis\b)\s*(.+)", re.I)
_MAYBE = re.compile(rf"(?:^|\n)[^\w\n]*{_MAYBE_WORDS}\W{{0,3}}[:=][ \t]*(.+)", re.I)
_BEFORE_JSON = re.compile(
    rf"\b(?:{_SURE_WORDS}|{_MAYBE_WORDS})\W{{0,3}}(?:[:=]|\bis\b)[\s*]*(?:```\w*\s*)?(?=\{{)", re.I
)


def leaks(evalset: EvalSet) -> Iterator[Finding]:
    """Answers that the prompt gives away."""
    announced = list(_announced(evalset))
    yield from announced
    told = {name for finding in announced for name in finding.items}
    yield from _under_its_name(evalset, told)
    yield from _telling_inputs(evalset)
    yield from _verbatim(evalset, told)
    yield from _named_labels(evalset)


def _announced(evalset: EvalSet) -> Iterator[Finding]:
    """Prompts that announce the right answer; an example that the template shows with every item is none."""
    labels, show = label_fields(evalset), shown(evalset)
    told: list[dict[str, bool]] = []  # an item's announcements, and whether they are right
    for index, item in enumerate(evalset.items):
        expected = [value for _, values in labels.values() if (value := values[index]) is not None]
        expected += [] if evalset.output_schema is not None else _texts(item)
        asked = {render(evalset, name, item).messages[-1]["content"] for name in evalset.spec.variants}
        asked.update(strings_in(show(item)))
        said = {
            said: any(_same(said, answer) for answer in expected) for text in asked for said in _announcements(text)
        }
        objects = {fingerprint(value): value for text in asked for value in _announced_objects(evalset, text)}
        told.append(said | {text: _is_key(evalset, item, value) for text, value in objects.items()})
    times = Counter(text for said in told for text in said)
    right = Counter(text for said in told for text, is_right in said.items() if is_right)
    examples = {text for text, count in times.items() if right[text] < count == len(told)}
    gives_away = [any(is_right and text not in examples for text, is_right in said.items()) for said in told]
    found = [item.id for item, away in zip(evalset.items, gives_away, strict=True) if away]
    if found:
        what = f"{count_of(found)} whose prompt announces the right answer"
        yield Finding("leaks", "error", what, "Take the answer out of the inputs", tuple(found))


def _announcements(text: str) -> Iterator[str]:
    """What a text calls the answer; a plain "Answer: yes" only at its end, for people in it may answer too."""
    yield from _SURE.findall(text)
    lines = text.rstrip().splitlines()
    for said in _MAYBE.findall(text):
        if yes_or_no(said.strip()) is None or said.strip() in lines[-1]:
            yield said


def _announced_objects(evalset: EvalSet, text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that a text calls the answer, where answers are JSON."""
    if evalset.output_schema is None:
        return
    for before in islice(_BEFORE_JSON.finditer(text), _OBJECTS_LOOKED_AT):
        value, _ = json_at(text, before.end())
        if value:
            yield value


def _is_key(evalset: EvalSet, item: Item, value: dict[str, Any]) -> bool:
    """Whether a JSON object is the item's key, or an answer with the full score."""
    if fingerprint(value) == fingerprint(item.expectations):
        return True
    if not value.keys() & item.expectations.keys():  # what is not there counts as null, which the key may be
        return False
    return total(evalset.scorers, Answer("", value, True), item.expectations).value >= FULL


def _under_its_name(evalset: EvalSet, told: set[str]) -> Iterator[Finding]:
    """Inputs with a line such as "Queue: billing", where that is the answer and such lines are nearly always right."""
    show = shown(evalset)
    for name, (classes, values) in label_fields(evalset).items():
        if re.fullmatch(f"{_SURE_WORDS}|{_MAYBE_WORDS}", name, re.I):
            continue  # announced anyway
        known = {label.casefold() for label in classes}
        line = re.compile(rf"(?:^|\n)[^\w\n]*(?:the )?{_spelled(name)}\W{{0,3}}[:=][ \t]*(.+)", re.I)
        found, lines = [], 0
        for item, value in zip(evalset.items, values, strict=True):
            said = {each.strip(_AROUND).casefold() for text in strings_in(show(item)) for each in line.findall(text)}
            lines += len(said & known)
            found += [item.id] * (value is not None and value.casefold() in said)
        nearly_always = len(found) > _GIVEN_AWAY * lines
        found = [each for each in found if each not in told]
        if found and nearly_always:
            what = f"{count_of(found)} with the right {name} on a line 'Name: …' of the inputs"
            mend = "Right where the task is to copy it; otherwise take it out of the inputs"
            yield Finding("leaks", "warning", what, mend, tuple(found))


def _texts(item: Item) -> list[str]:
    """The expected values as text, where they are single values."""
    values = [part for value in item.expectations.values() for part in (value if isinstance(value, list) else [value])]
    return [str(part).strip() for part in values if isinstance(part, str | int | float) and str(part).strip()]


def _same(found: object, answer: object) -> bool:
    one, other = (str(value).strip(_AROUND).casefold() for value in (found, answer))
    return one == other


def _telling_inputs(evalset: EvalSet) -> Iterator[Finding]:
    """Inputs that simply are the answer."""
    show = shown(evalset)
    given = [show(item) for item in evalset.items]
    n = len(given)
    for name in _expected_names(evalset) if n >= _FEW else ():
        accepted = [value if isinstance(value, list) else [value] for value in _expected(evalset, name)]
        for key in given[0]:
            equal = [
                str(inputs[key])
                for inputs, values in zip(given, accepted, strict=True)
                if isinstance(inputs.get(key), str | int | float) and any(_is(inputs[key], value) for value in values)
            ]
            if len(equal) > _GIVEN_AWAY * n and len(set(equal)) > 1:
                what = f"inputs.{key} is the expected {name} in {len(equal)} of {n} items"
                yield Finding("leaks", "error", what, "Take it out of the inputs, or out of the prompts")


def _is(given: Any, value: Any) -> bool:
    if isinstance(given, bool) and not isinstance(value, bool):
        return yes_or_no(given) == yes_or_no(value)
    return value is not None and _same(given, value)


def _expected_names(evalset: EvalSet) -> list[str]:
    """The expectations that scorers compare single values with."""
    names = []
    for scorer in evalset.scorers:
        if isinstance(scorer, JsonFieldsScorer):
            names += list(scorer.fields)
        elif isinstance(scorer, FieldScorer):
            names.append(scorer.expected_key)
    return list(dict.fromkeys(names))


def _expected(evalset: EvalSet, name: str) -> list[Any]:
    return [item.expectations.get(name) for item in evalset.items]


def _verbatim(evalset: EvalSet, told: set[str]) -> Iterator[Finding]:
    """Free-text answers, and JSON answers with the full score, that stand in the inputs."""
    if not evalset.spec.output.text and evalset.output_schema is None:
        return
    show = shown(evalset)
    items = [item for item in evalset.items if item.id not in told]
    found = [item.id for item in items if any(_holds(evalset, item, text) for text in strings_in(show(item)))]
    if found:
        stands = "text stands word for word" if evalset.spec.output.text else "JSON stands"
        what = f"{count_of(found)} whose expected {stands} in the inputs"
        mend = "Right for a task of quoting; otherwise take it out of the inputs"
        level: Level = "note" if len(found) < len(evalset.items) / 2 else "warning"
        yield Finding("leaks", level, what, mend, tuple(found))


def _holds(evalset: EvalSet, item: Item, text: str) -> bool:
    """Whether the expected answer stands in a text."""
    if evalset.output_schema is not None:
        return any(_is_key(evalset, item, value) for value in islice(json_objects(text), _OBJECTS_LOOKED_AT) if value)
    there = _plain(text)
    return any(len(answer) >= _VERBATIM and answer in there for answer in map(_plain, _texts(item)))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _named_labels(evalset: EvalSet) -> Iterator[Finding]:
    """Inputs that name the right label, and no other, nearly always."""
    show = shown(evalset)
    for name, (classes, values) in label_fields(evalset).items():
        if len(classes) < 3 or len(values) < 2 * _FEW:
            continue
        patterns = {label.casefold(): re.compile(rf"(?<!\w){_spelled(label)}(?!\w)", re.I) for label in classes}
        told = 0
        for item, value in zip(evalset.items, values, strict=True):
            text = "\n".join(strings_in(show(item)))
            told += [label for label, pattern in patterns.items() if pattern.search(text)] == [str(value).casefold()]
        if told > _GIVEN_AWAY * len(values):
            what = f"{told} of {len(values)} items name their {name} in the inputs, and no other"
            yield Finding("leaks", "warning", what, "Looking for the word would do: make sure that this is the task")


def _spelled(name: str) -> str:
    """A pattern of a label or field, "how_to" as "how to" too."""
    return re.escape(name).replace("_", "[ _-]")
