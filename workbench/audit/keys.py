"""The answer key: label balance, answers that stand in the prompt, and whether the key scores itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from workbench.audit.report import Finding, Level
from workbench.audit.texts import strings_in
from workbench.evalset import EvalSet, Item
from workbench.prompts import reference_answer
from workbench.scorers import total
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.label import LabelScorer
from workbench.scorers.yes_no import YesNoScorer, yes_or_no

RARE = 5  # items of a label under which its own score says next to nothing
_MAJORITY = 0.8
_GIVEN_AWAY = 0.8
_VERBATIM = 40  # characters of a free-text answer from which its standing in the prompt is no chance
_ANNOUNCED = re.compile(
    r"(?:^|\n)\s*(?:correct |expected |final )?(?:answer|label|target|category|solution)\s*[:=]\s*(.+)", re.I
)


def label_fields(evalset: EvalSet) -> dict[str, tuple[list[str], list[str | None]]]:
    """For every field that is a label: its classes, and each item's (the first where several are accepted)."""
    fields: dict[str, tuple[list[str], list[str | None]]] = {}
    for scorer in evalset.scorers:
        if isinstance(scorer, JsonFieldsScorer):
            for name, spec in scorer.fields.items():
                if spec.type in ("label", "ordinal", "boolean") and (spec.levels or spec.type == "boolean"):
                    classes = [str(level) for level in spec.levels or (True, False)]
                    fields[name] = (classes, [_first(item, name) for item in evalset.items])
        elif isinstance(scorer, LabelScorer) and scorer.labels:
            name = scorer.name or scorer.field or "label"
            fields[name] = (list(scorer.labels), [_first(item, scorer.expected_key) for item in evalset.items])
        elif isinstance(scorer, YesNoScorer):
            key = scorer.expected_key
            fields[key] = (["yes", "no"], [yes_or_no(item.expectations.get(key)) for item in evalset.items])
    return fields


def _first(item: Item, name: str) -> str | None:
    value = item.expectations.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None else str(value)


def label_counts(evalset: EvalSet) -> dict[str, dict[str, int]]:
    """Items by label, for every label field."""
    counted = {}
    for name, (classes, values) in label_fields(evalset).items():
        counts = Counter(value.casefold() for value in values if value is not None)
        counted[name] = {label: counts[label.casefold()] for label in classes}
    return counted


def balance(evalset: EvalSet) -> Iterator[Finding]:
    """Labels that no item has, or few; a label that nearly all have; labels missing from the training items."""
    for name, counts in label_counts(evalset).items():
        unseen = [label for label, count in counts.items() if count == 0]
        rare = [f"{label} ({count})" for label, count in counts.items() if 0 < count < RARE]
        n = sum(counts.values())
        if unseen:
            what = f"{name}: {_listed(unseen)}: no item has {'it' if len(unseen) == 1 else 'them'}"
            yield Finding("labels", "warning", what, "Add items, or take the label out of the list")
        if rare:
            mend = "Add items: how well such a label is recognized cannot be told"
            yield Finding("labels", "warning", f"{name}: fewer than {RARE} items for {_listed(rare)}", mend)
        most, count = max(counts.items(), key=lambda each: each[1])
        if n >= 10 and count > _MAJORITY * n:
            what = f"{name}: {count} of {n} items are '{most}': always answering that would be right on {count / n:.0%}"
            yield Finding("labels", "warning", what, "Add items of the other labels")
    yield from _unseen_in_train(evalset)


def _unseen_in_train(evalset: EvalSet) -> Iterator[Finding]:
    shown = max((variant.examples for variant in evalset.spec.variants.values()), default=0)
    if not shown or not evalset.train:
        return
    tested, trained = ({evalset.stratum(item).casefold() for item in part} for part in (evalset.items, evalset.train))
    missing = sorted(tested - trained - {""})
    if missing and len(tested) <= len(evalset.train):
        yield Finding(
            "labels", "warning", f"train.jsonl has no item for {_listed(missing)}", "Add one of each to train.jsonl"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def leaks(evalset: EvalSet) -> Iterator[Finding]:
    """Answers that the prompt gives away."""
    announced, verbatim = [], []
    for item in evalset.items:
        expected = list(_answers(evalset, item))
        texts = list(strings_in(item.inputs))
        if any(_same(found, answer) for text in texts for found in _ANNOUNCED.findall(text) for answer in expected):
            announced.append(item.id)
        elif evalset.spec.output.text and any(len(a) >= _VERBATIM and a in text for a in expected for text in texts):
            verbatim.append(item.id)
    if announced:
        what = "items whose inputs announce the right answer"
        yield Finding("leaks", "error", what, "Take the answer out of the inputs", tuple(announced))
    if verbatim:
        what = "items whose expected text stands word for word in their inputs"
        mend = "Right for a task of quoting; otherwise take it out of the inputs"
        level: Level = "note" if len(verbatim) < len(evalset.items) / 2 else "warning"
        yield Finding("leaks", level, what, mend, tuple(verbatim))
    yield from _telling_inputs(evalset)
    yield from _named_labels(evalset)


def _answers(evalset: EvalSet, item: Item) -> Iterator[str]:
    """The expected values as text, where the answer is one value."""
    if evalset.output_schema is not None:
        return
    for value in item.expectations.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str) and part.strip():
                yield part.strip()


def _same(found: str, answer: str) -> bool:
    return found.strip(" .\"'`").casefold() == answer.strip(" .\"'`").casefold()


def _telling_inputs(evalset: EvalSet) -> Iterator[Finding]:
    """Inputs that simply are the answer."""
    if len(evalset.items) < 10:
        return
    for name, (_, values) in label_fields(evalset).items():
        for key in evalset.items[0].inputs:
            given = [item.inputs.get(key) for item in evalset.items]
            equal = sum(
                isinstance(one, str | bool | int) and value is not None and _same(str(one), value)
                for one, value in zip(given, values, strict=True)
            )
            if equal > _GIVEN_AWAY * len(given):
                what = f"inputs.{key} is the expected {name} in {equal} of {len(given)} items"
                yield Finding("leaks", "error", what, "Take it out of the inputs")


def _named_labels(evalset: EvalSet) -> Iterator[Finding]:
    """Inputs that name the right label, and no other, nearly always."""
    for name, (classes, values) in label_fields(evalset).items():
        if len(classes) < 3 or len(values) < 20:
            continue
        patterns = {label.casefold(): re.compile(rf"(?<!\w){re.escape(label)}(?!\w)", re.I) for label in classes}
        told = 0
        for item, value in zip(evalset.items, values, strict=True):
            text = "\n".join(strings_in(item.inputs))
            told += [label for label, pattern in patterns.items() if pattern.search(text)] == [str(value).casefold()]
        if told > _GIVEN_AWAY * len(values):
            what = f"{told} of {len(values)} items name their {name} in the inputs"
            yield Finding("leaks", "warning", what, "Looking for the word would do: make sure that this is the task")


def key_scores_itself(evalset: EvalSet) -> Iterator[Finding]:
    """Items whose own reference answer does not get the full score, so that no answer can."""
    broken: list[str] = []
    unreadable: list[str] = []
    for item in evalset.items:
        if not _has_reference(evalset, item):
            continue
        answer = evalset.parse(reference_answer(evalset, item))
        if not answer.format_ok:
            unreadable.append(item.id)
        elif total(evalset.scorers, answer, item.expectations).value < 1 - 1e-9:
            broken.append(item.id)
    if unreadable:
        what = "items whose own expected answer breaks the output format"
        yield Finding("key", "error", what, "Mend the key, or the schema or labels", tuple(unreadable))
    if broken:
        what = "items whose own expected answer does not get the full score"
        yield Finding("key", "error", what, "Mend the key: no answer could be right", tuple(broken))


def _has_reference(evalset: EvalSet, item: Item) -> bool:
    """Whether the expectations hold an answer in full; some hold only what it is checked for (patterns, facts)."""
    if evalset.output_schema is not None:
        required = evalset.output_schema.get("required", [])
        return all(name in item.expectations for name in required) and bool(required)
    kinds: set[Any] = {scorer.type for scorer in evalset.scorers if scorer.weight and scorer.applies(item.expectations)}
    return kinds <= {"label", "yes_no", "exact", "numeric", "date", "money"} and len(kinds) == 1
