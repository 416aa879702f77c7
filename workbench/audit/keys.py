"""The answer key: label balance, and whether the key scores itself.

label_counts(evalset)            # {"queue": {"billing": 20, "bug": 31}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from workbench.audit.inputs import fingerprint
from workbench.audit.report import Finding, count_of, shortened
from workbench.evalset import EvalSet, Item
from workbench.prompts import reference_answer
from workbench.scorers import Answer, FieldScorer, total
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.label import LabelScorer
from workbench.scorers.multi_label import MultiLabelScorer
from workbench.scorers.values import plain
from workbench.scorers.yes_no import YesNoScorer, yes_or_no

RARE = 5  # items of a label under which its own score says next to nothing
_MAJORITY = 0.8
_FEW = 10  # items under which a share says little
_LABELS_LISTED = 10
_SINGLE = {"label", "yes_no", "exact", "numeric", "date", "money"}  # scorers of one value
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
    """Items by label, for every label field; those with several labels count for each.

    Where there is no list of labels, only those are named that several items have which are not restricted: any other
    may be a text that is.
    """
    counted = {}
    for name, (classes, values) in label_fields(evalset).items():
        counts = Counter(value.casefold() for value in values if value is not None)
        counted[name] = {label: counts[label.casefold()] for label in classes}
    for name, given in _open_labels(evalset):
        counts = Counter(label for labels in given for label in labels)
        open_to_all = Counter(
            label
            for item, labels in zip(evalset.items, given, strict=True)
            if item.sensitivity != "restricted"
            for label in labels
        )
        named = [label for label, count in counts.most_common() if open_to_all[label] >= RARE]
        if named:
            written = _first_spellings(evalset, name)
            counted[name] = {written.get(label, label): counts[label] for label in named}
    return counted


def _open_labels(evalset: EvalSet) -> Iterator[tuple[str, list[frozenset[str]]]]:
    """For every field that is a label, or several, of no list: each item's."""
    for scorer in evalset.scorers:
        if isinstance(scorer, MultiLabelScorer):
            yield scorer.expected_key, [_labels_of(scorer, item) for item in evalset.items]
        elif isinstance(scorer, LabelScorer) and not scorer.labels:
            name = scorer.name or scorer.field or "label"
            yield name, [_plain_set(_first(item, scorer.expected_key)) for item in evalset.items]
        elif isinstance(scorer, JsonFieldsScorer):
            open_labels = [name for name, spec in scorer.fields.items() if spec.type == "label" and not spec.levels]
            for name in open_labels:
                yield name, [_plain_set(_first(item, name)) for item in evalset.items]


def _first_spellings(evalset: EvalSet, name: str) -> dict[str, str]:
    """How labels are first written in items that are not restricted, by the form that they are counted by."""
    found: dict[str, str] = {}
    for scorer in evalset.scorers:
        own = scorer.expected_key if isinstance(scorer, FieldScorer) else name
        shown = (scorer.name or scorer.field or "label") if isinstance(scorer, LabelScorer) else own
        if shown != name:
            continue
        for item in evalset.items:
            value = item.expectations.get(own)
            if item.sensitivity == "restricted" or value is None:
                continue
            if isinstance(scorer, MultiLabelScorer):
                parts = value if isinstance(value, list) else str(value).split(scorer.separator)
                forms = [(next(iter(scorer.labels_of([part])), ""), part) for part in parts]
            else:
                forms = [(plain(first), first) for first in [_first(item, own)] if first is not None]
            for form, part in forms:
                found.setdefault(form, str(part).strip())
    return found


def _labels_of(scorer: MultiLabelScorer, item: Item) -> frozenset[str]:
    return frozenset(scorer.labels_of(item.expectations.get(scorer.expected_key)))


def _plain_set(value: str | None) -> frozenset[str]:
    return frozenset() if value is None else frozenset({plain(value)})


def balance(evalset: EvalSet) -> Iterator[Finding]:
    """Labels that no item has, or few; an answer that nearly all have; labels missing from the training items."""
    counted = label_counts(evalset)
    for name in label_fields(evalset):
        counts = counted[name]
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
        if n >= _FEW and count > _MAJORITY * n:
            what = f"{name}: {count} of {n} items are '{most}': always answering that would be right on {count / n:.0%}"
            yield Finding("labels", "warning", what, "Add items of the other labels")
    yield from _one_answer_for_all(evalset)
    yield from _unseen_in_train(evalset)


def _one_answer_for_all(evalset: EvalSet) -> Iterator[Finding]:
    """An answer that nearly all items have, where no list of labels says which there are; it is not repeated."""
    several = {scorer.expected_key for scorer in evalset.scorers if isinstance(scorer, MultiLabelScorer)}
    answers = [(name, values) for name, values in _open_labels(evalset) if name not in several]
    for name, values in (*answers, *_whole_answers(evalset)):
        known = [value for value in values if value]
        count = max(Counter(known).values(), default=0)
        if len(known) >= _FEW and count > _MAJORITY * len(known):
            what = f"{name}: {count} of {len(known)} items have the same answer"
            right = f"always giving it would be right on {count / len(known):.0%}"
            yield Finding("labels", "warning", f"{what}: {right}", "Add items with other answers")
    for scorer in evalset.scorers:
        if isinstance(scorer, MultiLabelScorer) and len(evalset.items) >= _FEW:
            score = _best_for_all(scorer, evalset.items)
            if score > _MAJORITY:
                what = f"{scorer.expected_key}: always giving the same labels would score {score:.2f}"
                yield Finding("labels", "warning", what, "Add items with other labels")


def _whole_answers(evalset: EvalSet) -> Iterator[tuple[str, list[frozenset[str]]]]:
    """Each item's answer where it is one value, and nothing else is asked for."""
    asked = [scorer for scorer in evalset.scorers if scorer.weight]
    for scorer in asked:
        whole = isinstance(scorer, FieldScorer) and scorer.type in _SINGLE - {"label", "yes_no"} and not scorer.field
        if isinstance(scorer, FieldScorer) and whole and len(asked) == 1:
            key = scorer.expected_key
            yield scorer.name or key, [_plain_set(_first(item, key)) for item in evalset.items]


def _best_for_all(scorer: MultiLabelScorer, items: Sequence[Item]) -> float:
    """What the same labels for all items would score: none, the most frequent set, or the most frequent label."""
    sets = [_labels_of(scorer, item) for item in items if scorer.applies(item.expectations)]
    if not sets:
        return 0.0
    labels = Counter(label for each in sets for label in each)
    alone_most = {frozenset({label}) for label, _ in labels.most_common(1)}
    tried = {frozenset(), Counter(sets).most_common(1)[0][0], *alone_most}
    alone = scorer.model_copy(update={"field": None, "key": scorer.expected_key, "extract": None})
    return max(
        sum(alone.score(Answer("", sorted(given), True), {scorer.expected_key: sorted(each)}).value for each in sets)
        / len(sets)
        for given in tried
    )


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
    if answer_print(evalset, one) == answer_print(evalset, other):
        return True
    return all(
        _has_reference(evalset, item)
        and total(evalset.scorers, evalset.parse(reference_answer(evalset, item)), key.expectations).value >= FULL
        for item, key in ((one, other), (other, one))
    )


def answer_print(evalset: EvalSet, item: Item) -> str:
    """The same for expectations that differ in case, white space and the order of labels alone."""
    unordered = {
        scorer.expected_key: sorted(_labels_of(scorer, item))
        for scorer in evalset.scorers
        if isinstance(scorer, MultiLabelScorer) and scorer.applies(item.expectations)
    }
    return fingerprint({**item.expectations, **unordered})


def _has_reference(evalset: EvalSet, item: Item) -> bool:
    """Whether the expectations hold an answer in full; some hold only what it is checked for (patterns, facts)."""
    if evalset.output_schema is not None:
        required = evalset.output_schema.get("required", [])
        return all(name in item.expectations for name in required) and bool(required)
    kinds: set[Any] = {scorer.type for scorer in evalset.scorers if scorer.weight and scorer.applies(item.expectations)}
    return kinds <= _SINGLE and len(kinds) == 1
