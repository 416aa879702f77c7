"""Answers that the prompt gives away: announced, an input of their own, there in full, or named by a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from workbench.audit.inputs import shown, strings_in
from workbench.audit.keys import label_fields
from workbench.audit.report import Finding, Level, count_of
from workbench.evalset import EvalSet, Item
from workbench.prompts import render
from workbench.scorers import FieldScorer
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.yes_no import yes_or_no

_GIVEN_AWAY = 0.8
_FEW = 10  # items under which a share says little
_VERBATIM = 40  # characters of a free-text answer from which its standing in the prompt is no chance
_AROUND = " .,;:!?()[]\"'`*"  # of a value in a text
_SURE = re.compile(
    r"(?:^|\n)[^\w\n]*(?:the )?(?:label|target|solution|ground truth"
    r"|(?:correct|expected|final|gold|right|true|reference) (?:answer|label|category|class|solution))"
    r"\W{0,3}(?:[:=]|\bis\b)\s*(.+)",
    re.I,
)
_MAYBE = re.compile(r"(?:^|\n)[^\w\n]*(?:answer|category|class)\W{0,3}[:=][ \t]*(.+)", re.I)


def leaks(evalset: EvalSet) -> Iterator[Finding]:
    """Answers that the prompt gives away."""
    yield from _announced(evalset)
    yield from _telling_inputs(evalset)
    yield from _verbatim(evalset)
    yield from _named_labels(evalset)


def _announced(evalset: EvalSet) -> Iterator[Finding]:
    labels, show = label_fields(evalset), shown(evalset)
    found = []
    for index, item in enumerate(evalset.items):
        expected = [value for _, values in labels.values() if (value := values[index]) is not None]
        expected += [] if evalset.output_schema is not None else _texts(item)
        asked = {render(evalset, name, item).messages[-1]["content"] for name in evalset.spec.variants}
        asked.update(strings_in(show(item)))
        if any(_same(said, answer) for text in asked for said in _announcements(text) for answer in expected):
            found.append(item.id)
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


def _verbatim(evalset: EvalSet) -> Iterator[Finding]:
    """Free-text answers that stand in the inputs."""
    if not evalset.spec.output.text:
        return
    show = shown(evalset)
    found = []
    for item in evalset.items:
        there = [_plain(text) for text in strings_in(show(item))]
        expected = [_plain(text) for text in _texts(item)]
        if any(len(answer) >= _VERBATIM and answer in text for answer in expected for text in there):
            found.append(item.id)
    if found:
        what = f"{count_of(found)} whose expected text stands word for word in the inputs"
        mend = "Right for a task of quoting; otherwise take it out of the inputs"
        level: Level = "note" if len(found) < len(evalset.items) / 2 else "warning"
        yield Finding("leaks", level, what, mend, tuple(found))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _named_labels(evalset: EvalSet) -> Iterator[Finding]:
    """Inputs that name the right label, and no other, nearly always."""
    show = shown(evalset)
    for name, (classes, values) in label_fields(evalset).items():
        if len(classes) < 3 or len(values) < 2 * _FEW:
            continue
        words = {label: re.escape(label).replace("_", "[ _-]") for label in classes}
        patterns = {label.casefold(): re.compile(rf"(?<!\w){word}(?!\w)", re.I) for label, word in words.items()}
        told = 0
        for item, value in zip(evalset.items, values, strict=True):
            text = "\n".join(strings_in(show(item)))
            told += [label for label, pattern in patterns.items() if pattern.search(text)] == [str(value).casefold()]
        if told > _GIVEN_AWAY * len(values):
            what = f"{told} of {len(values)} items name their {name} in the inputs, and no other"
            yield Finding("leaks", "warning", what, "Looking for the word would do: make sure that this is the task")
