"""The same item twice, and test items whose answer a prompt shows: in the training items, or in the template itself.

list(exact_duplicates(evalset))     # [Finding("duplicates", "warning", "2 items of items.jsonl with the same …", …)]

What no prompt shows of an item does not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jinja2 import Environment, nodes

from workbench.audit.inputs import exact_print, fingerprint, shown, strings_in, words_of
from workbench.audit.keys import same_answer
from workbench.audit.report import Finding, Fix, count_of
from workbench.evalset import EvalSet, Item, Turns
from workbench.prompts import render

Named = tuple[tuple[str, ...], ...]

_SENTENCE = 5  # words of a text that does not stand in another by chance


def exact_duplicates(evalset: EvalSet) -> Iterator[Finding]:
    """Items with the same inputs; with different answers one of the keys is wrong."""
    show = shown(evalset)
    for place, items in (("items.jsonl", evalset.items), ("train.jsonl", evalset.train)):
        exact = _groups((exact_print(show(item)), index) for index, item in enumerate(items))
        yield from _repeated(evalset, place, items, exact)
        alike = _groups((fingerprint(show(items[index])), index) for index, *_ in exact)
        yield from _repeated_but_for_case(evalset, place, items, alike)


def _groups(keyed: Iterable[tuple[str, int]]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for key, index in keyed:
        groups[key].append(index)
    return list(groups.values())


def _named(evalset: EvalSet, items: Sequence[Item], groups: Sequence[Sequence[int]]) -> tuple[Named, Named]:
    """The ids of groups of two and more: those with the same answers, and those with different ones."""
    same: list[tuple[str, ...]] = []
    conflicting: list[tuple[str, ...]] = []
    for group in groups:
        if len(group) > 1:
            first, *others = (items[index] for index in group)
            agree = all(same_answer(evalset, first, other) for other in others)
            (same if agree else conflicting).append((first.id, *(other.id for other in others)))
    return tuple(same), tuple(conflicting)


def _repeated(
    evalset: EvalSet, place: str, items: Sequence[Item], groups: Sequence[Sequence[int]]
) -> Iterator[Finding]:
    same, conflicting = _named(evalset, items, groups)
    if conflicting:
        ids = _flat(conflicting)
        what = f"{count_of(ids)} of {place} with the same inputs and different answers"
        mend = "Decide which answer is right, and drop the others"
        yield Finding("duplicates", "error", what, mend, ids, conflicting)
    if same:
        ids = _flat(same)
        what = f"{count_of(ids)} of {place} with the same inputs and answers"
        mend = "They count one question several times: keep one of each (--fix does)"
        drop = tuple(name for group in same for name in group[1:])
        yield Finding("duplicates", "warning", what, mend, ids, same, Fix(drop=drop))


def _repeated_but_for_case(
    evalset: EvalSet, place: str, items: Sequence[Item], groups: Sequence[Sequence[int]]
) -> Iterator[Finding]:
    """No error and no fix: where the task is about code or spelling, case and white space are what counts."""
    same, conflicting = _named(evalset, items, groups)
    if conflicting:
        ids = _flat(conflicting)
        what = f"{count_of(ids)} of {place} with the same inputs but for case, white space or signs, other answers"
        mend = "Right where these are what the task is about; otherwise decide which answer is right"
        yield Finding("duplicates", "warning", what, mend, ids, conflicting)
    if same:
        ids = _flat(same)
        what = f"{count_of(ids)} of {place} with the same inputs but for case, white space or signs, same answers"
        mend = "They count one question several times unless these are what the task is about: keep one of each"
        yield Finding("duplicates", "warning", what, mend, ids, same)


def _flat(groups: Named) -> tuple[str, ...]:
    return tuple(name for group in groups for name in group)


def contamination(evalset: EvalSet) -> Iterator[Finding]:
    """Training items that are test items too: few-shot examples and tuning would give the answers away."""
    if not evalset.train:
        return
    show = shown(evalset)
    exact = {exact_print(show(item)) for item in evalset.items}
    alike = {fingerprint(show(item)) for item in evalset.items}
    both = tuple(item.id for item in evalset.train if exact_print(show(item)) in exact)
    if both:
        what = f"{count_of(both)} of train.jsonl with the inputs of a test item"
        mend = "Take them out of train.jsonl (--fix does)"
        yield Finding("contamination", "error", what, mend, both, fix=Fix(drop=both))
    told = set(both)
    nearly = tuple(item.id for item in evalset.train if item.id not in told and fingerprint(show(item)) in alike)
    if nearly:
        what = f"{count_of(nearly)} of train.jsonl with the inputs of a test item but for case, white space or signs"
        yield Finding("contamination", "error", what, "Take them out of train.jsonl", nearly)
    yield from _of_one_cluster(evalset)


def _of_one_cluster(evalset: EvalSet) -> Iterator[Finding]:
    tested = {item.cluster for item in evalset.items} - {None}
    both = tuple(item.id for item in evalset.train if item.cluster in tested)
    if both:
        what = f"{count_of(both)} of train.jsonl in a cluster of test items"
        mend = "What grew from one document or template belongs on one side: move or drop them"
        yield Finding("contamination", "warning", what, mend, both)


def shown_to_all(evalset: EvalSet) -> Iterator[Finding]:
    """Test items that stand in a template, as an example with its answer would: every prompt shows them."""
    texts, turns = _constants(evalset)
    show = shown(evalset)
    found = tuple(
        item.id
        for item in (evalset.items if texts else ())
        if _stands_in(show(item), texts) or (turns and not turns.isdisjoint(_asked(evalset, item)))
    )
    if found:
        what = f"{count_of(found)} of items.jsonl in a prompt's template, before every item"
        yield Finding("contamination", "error", what, "Take another example, or take them out of items.jsonl", found)


def _stands_in(inputs: dict[str, Any], texts: Sequence[str]) -> bool:
    """Whether all of an item's texts stand in one of these; short ones may by chance."""
    parts = [words for text in strings_in(inputs) if (words := words_of(text))]
    if sum(map(len, parts)) < _SENTENCE:
        return False
    return any(all(f" {' '.join(words)} " in text for words in parts) for text in texts)


def _asked(evalset: EvalSet, item: Item) -> Iterator[str]:
    for variant in evalset.spec.variants:
        yield " ".join(words_of(render(evalset, variant, item).messages[-1]["content"]))


def _constants(evalset: EvalSet) -> tuple[list[str], set[str]]:
    """What each variant's templates say before every item, and the turns that are the same for all."""
    texts: list[str] = []
    turns: set[str] = set()
    for variant in evalset.spec.variants.values():
        said: list[str] = []
        for message in variant.messages:
            if isinstance(message, Turns):
                continue
            tree = Environment().parse(message.content)
            said += [" ".join(words_of(each.data)) for each in tree.find_all(nodes.TemplateData)]
            if tree.find(nodes.Name) is None:
                turns.add(" ".join(words_of(message.content)))
        texts.append("\n".join(f" {each} " for each in said if each))
    return [text for text in texts if text], turns - {""}
