"""Answers that the prompt gives away: announced, an input of their own, there in full, or named by a word."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from workbench.audit.inputs import fingerprint, objects_in, shown, strings_in
from workbench.audit.keys import label_fields
from workbench.audit.report import Finding, Level, count_of
from workbench.audit.telling import AROUND, FEW, GIVEN_AWAY, is_key, same, telling_inputs
from workbench.evalset import EvalSet, Item
from workbench.prompts import render
from workbench.scorers.json_text import json_at
from workbench.scorers.objects import json_objects

_VERBATIM = 40  # characters of a free-text answer from which its standing in the prompt is no chance
_OBJECTS_LOOKED_AT = 50  # of a text
# In English, German, French and Spanish.
_KINDS = (
    r"answer|label|category|class|solution|antwort|lösung|kategorie|klasse|réponse|catégorie|classe|respuesta|clase"
)
_RIGHT = r"correct|expected|final|gold|right|true|reference|richtige|korrekte|erwartete|wahre|bonne|vraie"
_SURE_WORDS = (
    r"(?:label|target|solution|ground truth|(?:muster)?lösung|étiquette|etiqueta|solución"
    rf"|(?:{_RIGHT}) (?:{_KINDS})"
    rf"|(?:{_KINDS}|categoría|solución) (?:correcte?|attendue?|exacte?|juste|correct[ao]|esperad[ao]))"
)
_MAYBE_WORDS = r"(?:answer|category|class|antwort|kategorie|klasse|réponse|catégorie|classe|respuesta|categoría|clase)"
_ARTICLE = r"(?:(?:the|die|la|le|el) )?"
_IS = r"(?:[:=]|\b(?:is|ist|lautet|est|es)\b)"
_SURE = re.compile(rf"(?:^|\n)[^\w\n]*{_ARTICLE}{_SURE_WORDS}\W{{0,3}}{_IS}\s*(.+)", re.I)
_MAYBE = re.compile(rf"(?:^|\n)[^\w\n]*{_MAYBE_WORDS}\W{{0,3}}[:=][ \t]*(.+)", re.I)
# "[label=billing]", "(correct answer: billing)", "<label>billing</label>", {"id": 7, "label": "billing"}
_BRACKETED = re.compile(rf"[\[({{<,]\s*[\"']?{_SURE_WORDS}[\"']?\s*[:=>]\s*[\"']?([^\])}}<>\n\"',;]+)", re.I)
_YES_OR_NO = re.compile(r"\W*(?:yes|no|true|false|ja|nein|oui|non|sí|si)\b", re.I)
_BEFORE_JSON = re.compile(rf"\b(?:{_SURE_WORDS}|{_MAYBE_WORDS})\W{{0,3}}{_IS}[\s*]*(?:```\w*\s*)?(?=\{{)", re.I)


def leaks(evalset: EvalSet) -> Iterator[Finding]:
    """Answers that the prompt gives away."""
    announced = list(_announced(evalset))
    yield from announced
    told = {name for finding in announced for name in finding.items}
    yield from _under_its_name(evalset, told)
    telling = list(telling_inputs(evalset))
    yield from telling
    told |= {name for finding in telling for name in finding.items}
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
        said = {said: any(same(said, answer) for answer in expected) for text in asked for said in _announcements(text)}
        objects = {fingerprint(value): value for text in asked for value in _announced_objects(evalset, text)}
        told.append(said | {text: is_key(evalset, item, value) for text, value in objects.items()})
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
    text = unicodedata.normalize("NFC", text)
    yield from _SURE.findall(text)
    yield from _BRACKETED.findall(text)
    lines = text.rstrip().splitlines()
    for said in _MAYBE.findall(text):
        if not _YES_OR_NO.match(said) or said.strip() in lines[-1]:
            yield said


def _announced_objects(evalset: EvalSet, text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that a text calls the answer, where answers are JSON."""
    if evalset.output_schema is None:
        return
    for before in islice(_BEFORE_JSON.finditer(text), _OBJECTS_LOOKED_AT):
        value, _ = json_at(text, before.end())
        if value:
            yield value


def _under_its_name(evalset: EvalSet, told: set[str]) -> Iterator[Finding]:
    """Inputs with a line such as "Queue: billing", where that is the answer and such lines are nearly always right."""
    show = shown(evalset)
    for name, (classes, values) in label_fields(evalset).items():
        if re.fullmatch(f"{_SURE_WORDS}|{_MAYBE_WORDS}", name, re.I):
            continue  # announced anyway
        known = {label.casefold() for label in classes}
        line = re.compile(rf"(?:^|\n)[^\w\n]*(?:the )?{_spelled(name)}\W{{0,3}}[:=][ \t]*(.+)", re.I)
        bracketed = re.compile(rf"[\[(<]\s*{_spelled(name)}\s*[:=>]\s*([^\])<>\n,;]+)", re.I)
        found, lines = [], 0
        for item, value in zip(evalset.items, values, strict=True):
            texts = list(strings_in(show(item)))
            found_there = (each for text in texts for pattern in (line, bracketed) for each in pattern.findall(text))
            said = {each.strip(AROUND).casefold() for each in found_there}
            lines += len(said & known)
            found += [item.id] * (value is not None and value.casefold() in said)
        nearly_always = len(found) > GIVEN_AWAY * lines
        found = [each for each in found if each not in told]
        if found and nearly_always:
            what = f"{count_of(found)} with the right {name} on a line 'Name: …' of the inputs"
            mend = "Right where the task is to copy it; otherwise take it out of the inputs"
            yield Finding("leaks", "warning", what, mend, tuple(found))


def _texts(item: Item) -> list[str]:
    """The expected values as text, where they are single values."""
    values = [part for value in item.expectations.values() for part in (value if isinstance(value, list) else [value])]
    return [str(part).strip() for part in values if isinstance(part, str | int | float) and str(part).strip()]


def _verbatim(evalset: EvalSet, told: set[str]) -> Iterator[Finding]:
    """Free-text answers, and JSON answers with the full score, that stand in the inputs."""
    if not evalset.spec.output.text and evalset.output_schema is None:
        return
    show = shown(evalset)
    items = [item for item in evalset.items if item.id not in told]
    found = [
        item.id
        for item in items
        if any(_holds(evalset, item, text) for text in strings_in(show(item)))
        or (evalset.output_schema is not None and any(is_key(evalset, item, each) for each in objects_in(show(item))))
    ]
    if found:
        stands = "text stands word for word" if evalset.spec.output.text else "JSON stands"
        what = f"{count_of(found)} whose expected {stands} in the inputs"
        mend = "Right for a task of quoting; otherwise take it out of the inputs"
        level: Level = "note" if len(found) < len(evalset.items) / 2 else "warning"
        yield Finding("leaks", level, what, mend, tuple(found))


def _holds(evalset: EvalSet, item: Item, text: str) -> bool:
    """Whether the expected answer stands in a text."""
    if evalset.output_schema is not None:
        return any(is_key(evalset, item, value) for value in islice(json_objects(text), _OBJECTS_LOOKED_AT) if value)
    there = _plain(text)
    return any(len(answer) >= _VERBATIM and answer in there for answer in map(_plain, _texts(item)))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _named_labels(evalset: EvalSet) -> Iterator[Finding]:
    """Inputs that name the right label, and no other, nearly always."""
    show = shown(evalset)
    for name, (classes, values) in label_fields(evalset).items():
        # "No" and "true" stand in most texts.
        if len(values) < 2 * FEW or (len(classes) < 3 and any(_YES_OR_NO.fullmatch(label) for label in classes)):
            continue
        patterns = {label.casefold(): re.compile(rf"(?<!\w){_spelled(label)}(?!\w)", re.I) for label in classes}
        told: Counter[str] = Counter()
        for item, value in zip(evalset.items, values, strict=True):
            text = "\n".join(strings_in(show(item)))
            if [label for label, pattern in patterns.items() if pattern.search(text)] == [str(value).casefold()]:
                told[str(value).casefold()] += 1
        if told.total() > GIVEN_AWAY * len(values) and len(told) > 1:
            what = f"{told.total()} of {len(values)} items name their {name} in the inputs, and no other"
            yield Finding("leaks", "warning", what, "Looking for the word would do: make sure that this is the task")


def _spelled(name: str) -> str:
    """A pattern of a label or field, "how_to" as "how to" too."""
    return re.escape(name).replace("_", "[ _-]")
