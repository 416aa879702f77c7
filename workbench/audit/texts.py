"""Duplicates: the same item twice, nearly the same item, and test items that stand in the training items.

Near means the cosine of TF-IDF weighted character 5-grams; items of one cluster are meant to be alike and pass.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from workbench.audit.report import Finding, Fix
from workbench.evalset import EvalSet, Item

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEAR = 0.9
_BLOCK = 2000
COMPARED_AT_MOST = 50_000  # near duplicates take time by the square of the items


def strings_in(value: Any) -> Iterator[str]:
    """Every text in nested inputs."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings_in(part)


def text_of(item: Item) -> str:
    """All text of an item's inputs, without regard to case and white space."""
    return " ".join(" ".join(strings_in(item.inputs)).casefold().split())


def _fingerprint(item: Item) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return " ".join(value.casefold().split())
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        return [plain(part) for part in value] if isinstance(value, list) else value

    return json.dumps(plain(item.inputs), sort_keys=True, ensure_ascii=False)


def _key(item: Item) -> str:
    return json.dumps(item.expectations, sort_keys=True, ensure_ascii=False)


def exact_duplicates(evalset: EvalSet) -> Iterator[Finding]:
    """Items with the same inputs; with different answers one of the keys is wrong."""
    for place, items in (("items.jsonl", evalset.items), ("train.jsonl", evalset.train)):
        groups: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
        for index, item in enumerate(items):
            groups[hash(_fingerprint(item))].append((item.id, _key(item), index))
        same: list[str] = []
        drop: list[str] = []
        conflicting: list[str] = []
        for group in groups.values():
            if len(group) < 2 or len({_fingerprint(items[index]) for *_, index in group}) > 1:
                continue
            ids = [name for name, *_ in group]
            if len({key for _, key, _ in group}) > 1:
                conflicting += ids
            else:
                same += ids
                drop += ids[1:]
        if conflicting:
            what = f"items of {place} with the same inputs and different answers"
            yield Finding(
                "duplicates", "error", what, "Decide which answer is right, and drop the others", tuple(conflicting)
            )
        if same:
            what = f"items of {place} with the same inputs and answers"
            mend = "They count one question several times: keep one of each (--fix does)"
            yield Finding("duplicates", "warning", what, mend, tuple(same), Fix(drop=tuple(drop)))


def contamination(evalset: EvalSet) -> Iterator[Finding]:
    """Training items that are test items too: few-shot examples and tuning would give the answers away."""
    test = {_fingerprint(item) for item in evalset.items} if evalset.train else set()
    both = tuple(item.id for item in evalset.train if _fingerprint(item) in test)
    if both:
        what = "items of train.jsonl with the inputs of a test item"
        yield Finding("contamination", "error", what, "Take them out of train.jsonl (--fix does)", both, Fix(drop=both))


def near_duplicates(evalset: EvalSet) -> Iterator[Finding]:
    """Items that are nearly the same, within the test items and between them and the training items."""
    items, train = evalset.items, evalset.train
    if len(items) < 2:
        return
    weighed = _weights([text_of(item) for item in (*items, *train)])
    test_rows, train_rows = weighed[: len(items)], weighed[len(items) :]
    alike = []
    for left, right in _pairs(test_rows, test_rows):
        if left < right and not _meant(items[left], items[right]) and not _equal(items[left], items[right]):
            alike.append((items[left].id, items[right].id))
    if alike:
        mend = "Rewrite one of each pair, or give both the same 'cluster', so that they count as related"
        what = "items that are nearly the same (in pairs)"
        yield Finding("near duplicates", "warning", what, mend, tuple(f"{a} ~ {b}" for a, b in alike))
    leaked = [
        (train[right].id, items[left].id)
        for left, right in _pairs(test_rows, train_rows)
        if not _equal(items[left], train[right])
    ]
    if leaked:
        mend = "Take them out of train.jsonl: they give test answers away (--fix does)"
        drop = tuple(dict.fromkeys(name for name, _ in leaked))
        what = "items of train.jsonl that are nearly the same as a test item"
        ids = tuple(f"{a} ~ {b}" for a, b in leaked)
        yield Finding("contamination", "error", what, mend, ids, Fix(drop=drop))


def _meant(left: Item, right: Item) -> bool:
    return left.cluster is not None and left.cluster == right.cluster


def _equal(left: Item, right: Item) -> bool:
    """Equal ones are told apart, by the other checks."""
    return _fingerprint(left) == _fingerprint(right)


def _weights(texts: Sequence[str]) -> csr_matrix:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Short texts have few 5-grams, and no word of theirs is common.
    weights: csr_matrix = TfidfVectorizer(analyzer="char_wb", ngram_range=(5, 5), sublinear_tf=True).fit_transform(
        texts
    )
    return weights


def _pairs(left: csr_matrix, right: csr_matrix) -> Iterable[tuple[int, int]]:
    """Rows that are near each other, block by block, so that memory stays bounded."""
    if not left.shape[0] or not right.shape[0]:
        return
    for start in range(0, left.shape[0], _BLOCK):
        similar = (left[start : start + _BLOCK] @ right.T).tocoo()
        near = similar.data >= NEAR
        for row, column in zip(similar.row[near], similar.col[near], strict=True):
            yield start + int(row), int(column)
