"""The answer key: label balance, and whether the key scores itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

from workbench.audit.inputs import fingerprint
from workbench.audit.report import Finding, count_of, shortened
from workbench.evalset import EvalSet, Item
from workbench.prompts import reference_answer
from workbench.scorers import total
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.label import LabelScorer
from workbench.scorers.yes_no import YesNoScorer, yes_or_no

RARE = 5  # items of a label under which its own score says next to nothing
_MAJORITY = 0.8
_LABELS_LISTED = 10
FULL = 1 - 1e-9  # a score that is the full one


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
        if _are_choices(list(counts)):
            unseen, rare = [], []
        if unseen:
            what = f"{name}: no item has {shortened(unseen, at_most=_LABELS_LISTED)}"
            yield Finding("labels", "warning", what, "Add items, or take the label out of the list")
        if rare:
            what = f"{name}: fewer than {RARE} items have {shortened(rare, at_most=_LABELS_LISTED)}"
            yield Finding("labels", "warning", what, "Add items: how well such a label is recognized cannot be told")
        most, count = max(counts.items(), key=lambda each: each[1])
        if n >= 10 and count > _MAJORITY * n:
            what = f"{name}: {count} of {n} items are '{most}': always answering that would be right on {count / n:.0%}"
            yield Finding("labels", "warning", what, "Add items of the other labels")
    yield from _unseen_in_train(evalset)


def _are_choices(labels: list[str]) -> bool:
    """Whether labels are A, B, C and so on: they stand for another answer in every item, and no more."""
    return labels == [chr(ord("A") + number) for number in range(len(labels))]


def _unseen_in_train(evalset: EvalSet) -> Iterator[Finding]:
    examples = max(variant.examples for variant in evalset.spec.variants.values())
    tested, trained = ({evalset.stratum(item).casefold() for item in part} for part in (evalset.items, evalset.train))
    # Only labels of a list: any other answer may be restricted text.
    known = dict.fromkeys(label for classes, _ in label_fields(evalset).values() for label in classes)
    missing = [label for label in known if label.casefold() in tested - trained]
    if examples and missing and not _are_choices(list(known)) and len(tested) <= len(evalset.train):
        what = f"train.jsonl has no item for {shortened(missing, at_most=_LABELS_LISTED)}"
        yield Finding("labels", "warning", what, "Add one of each to train.jsonl: examples and tuning never show it")


def key_scores_itself(evalset: EvalSet) -> Iterator[Finding]:
    """Items whose own reference answer does not get the full score, so that no answer can."""
    broken: list[str] = []
    unreadable: list[str] = []
    for item in chain(evalset.items, evalset.train):
        if not _has_reference(evalset, item):
            continue
        answer = evalset.parse(reference_answer(evalset, item))
        if not answer.format_ok:
            unreadable.append(item.id)
        elif total(evalset.scorers, answer, item.expectations).value < FULL:
            broken.append(item.id)
    if unreadable:
        what = f"{count_of(unreadable)} whose own expected answer breaks the output format"
        yield Finding("key", "error", what, "Mend the key, or the schema or labels", tuple(unreadable))
    if broken:
        what = f"{count_of(broken)} whose own expected answer does not get the full score"
        yield Finding("key", "error", what, "Mend the key, or the scorers: no answer could be right", tuple(broken))


def same_answer(evalset: EvalSet, one: Item, other: Item) -> bool:
    """Whether two items of the same inputs want the same answer: each one's gets the other's full score."""
    if fingerprint(one.expectations) == fingerprint(other.expectations):
        return True
    return all(
        _has_reference(evalset, item)
        and total(evalset.scorers, evalset.parse(reference_answer(evalset, item)), key.expectations).value >= FULL
        for item, key in ((one, other), (other, one))
    )


def _has_reference(evalset: EvalSet, item: Item) -> bool:
    """Whether the expectations hold an answer in full; some hold only what it is checked for (patterns, facts)."""
    if evalset.output_schema is not None:
        required = evalset.output_schema.get("required", [])
        return all(name in item.expectations for name in required) and bool(required)
    kinds: set[Any] = {scorer.type for scorer in evalset.scorers if scorer.weight and scorer.applies(item.expectations)}
    return kinds <= {"label", "yes_no", "exact", "numeric", "date", "money"} and len(kinds) == 1
