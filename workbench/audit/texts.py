"""Duplicates: the same item twice, nearly the same item, and test items that stand in the training items.

What no prompt shows of an item does not count. Near means the cosine of TF-IDF weighted character 5-grams; items of one
cluster are meant to be alike and pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.audit.inputs import fingerprint, shown, text_of
from workbench.audit.keys import same_answer
from workbench.audit.report import Finding, Fix, count_of
from workbench.evalset import EvalSet, Item

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Indices = NDArray[np.intp]

NEAR = 0.9
COMPARED_AT_MOST = 50_000  # near duplicates take time by the square of the items
_SHARED, _MANY = 0.9, 20  # the share of texts that is nearly all of them, where there are so many
_CELLS = 10_000_000  # of a block of comparisons
_AT_ONCE = 200_000  # pairs that are compared in full at once


def exact_duplicates(evalset: EvalSet) -> Iterator[Finding]:
    """Items with the same inputs; with different answers one of the keys is wrong."""
    show = shown(evalset)
    for place, items in (("items.jsonl", evalset.items), ("train.jsonl", evalset.train)):
        groups: dict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            groups[fingerprint(show(item))].append(index)
        same: list[tuple[str, ...]] = []
        conflicting: list[tuple[str, ...]] = []
        for group in groups.values():
            if len(group) > 1:
                first, *others = (items[index] for index in group)
                agree = all(same_answer(evalset, first, other) for other in others)
                (same if agree else conflicting).append((first.id, *(other.id for other in others)))
        if conflicting:
            ids = _flat(conflicting)
            what = f"{count_of(ids)} of {place} with the same inputs and different answers"
            mend = "Decide which answer is right, and drop the others"
            yield Finding("duplicates", "error", what, mend, ids, tuple(conflicting))
        if same:
            ids = _flat(same)
            what = f"{count_of(ids)} of {place} with the same inputs and answers"
            mend = "They count one question several times: keep one of each (--fix does)"
            drop = tuple(name for group in same for name in group[1:])
            yield Finding("duplicates", "warning", what, mend, ids, tuple(same), Fix(drop=drop))


def _flat(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for group in groups for name in group)


def contamination(evalset: EvalSet) -> Iterator[Finding]:
    """Training items that are test items too: few-shot examples and tuning would give the answers away."""
    show = shown(evalset)
    test = {fingerprint(show(item)) for item in evalset.items} if evalset.train else set()
    both = tuple(item.id for item in evalset.train if fingerprint(show(item)) in test)
    if both:
        what = f"{count_of(both)} of train.jsonl with the inputs of a test item"
        mend = "Take them out of train.jsonl (--fix does)"
        yield Finding("contamination", "error", what, mend, both, fix=Fix(drop=both))


def near_duplicates(evalset: EvalSet) -> Iterator[Finding]:
    """Items that are nearly the same, within the test items and between them and the training items."""
    show = shown(evalset)
    prints = [fingerprint(show(item)) for item in chain(evalset.items, evalset.train)]
    # Equal ones are told apart, by the other checks.
    test, train = _first_of_each(prints[: len(evalset.items)]), _first_of_each(prints[len(evalset.items) :])
    known = {prints[index] for index in test}
    train = [index for index in train if prints[len(evalset.items) + index] not in known]
    tested, trained = [evalset.items[index] for index in test], [evalset.train[index] for index in train]
    weighed = _weights([text_of(show(item)) for item in (*tested, *trained)])
    if weighed is None:
        return
    alike = [tuple(tested[index].id for index in group) for group in _alike(weighed[: len(tested)], _clusters(tested))]
    if alike:
        ids = _flat(alike)
        what = f"{count_of(ids)} of items.jsonl nearly the same as another"
        mend = "Rewrite or drop one of each, or give them the same 'cluster', so that they count as related"
        yield Finding("near duplicates", "warning", what, mend, ids, tuple(alike))
    twins = _nearest_found(weighed[len(tested) :], weighed[: len(tested)])
    if twins:
        drop = tuple(trained[own].id for own in twins)
        what = f"{count_of(drop)} of train.jsonl nearly the same as a test item"
        mend = "Take them out of train.jsonl: they give test answers away (--fix does)"
        pairs = tuple((trained[own].id, tested[other].id) for own, other in twins.items())
        yield Finding("contamination", "error", what, mend, drop, pairs, Fix(drop=drop))


def near_groups(texts: Sequence[str]) -> Indices:
    """A number a text, the same for texts that are equal or nearly so, directly or by way of others.

    Over `COMPARED_AT_MOST` different texts only equal ones, but for case, white space and punctuation, are told.
    """
    plain = [text_of({"text": text}) for text in texts]
    places: dict[str, int] = {}
    number: Indices = np.array([places.setdefault(text, len(places)) for text in plain], dtype=np.intp)
    weighed = _weights(list(places)) if 1 < len(places) <= COMPARED_AT_MOST else None
    group: Indices = np.arange(len(places), dtype=np.intp)
    if weighed is not None:
        for members in _alike(weighed, group):
            group[members] = members[0]
    return group[number]


def _first_of_each(prints: Sequence[str]) -> list[int]:
    return list({value: index for index, value in reversed(list(enumerate(prints)))}.values())[::-1]


def _clusters(items: Sequence[Item]) -> Indices:
    """A number by cluster; an item without one has its own."""
    numbers: dict[object, int] = {}
    keys = [item.cluster if item.cluster is not None else (index,) for index, item in enumerate(items)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def _weights(texts: Sequence[str]) -> csr_matrix | None:
    """A row of weights of length 1 a text; None where there is nothing to weigh.

    What nearly all texts share, such as an instruction before each question, does not make them alike.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    shared = _SHARED if len(texts) >= _MANY else 1.0
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(5, 5), sublinear_tf=True, max_df=shared)
    try:
        weights: csr_matrix = vectorizer.fit_transform(texts)
    except ValueError:  # there are no texts, or no words in them that some have and some have not
        return None
    return weights


def _alike(rows: csr_matrix, clusters: Indices) -> list[list[int]]:
    """Groups of rows that are near each other, directly or by way of others."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    group: Indices = np.arange(rows.shape[0])

    def open_question(left: Indices, right: Indices) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = (left < right) & (clusters[left] != clusters[right]) & (group[left] != group[right])
        return mask

    for left, right in _near(rows, rows, open_question):
        size = int(group.max()) + 1
        links = coo_matrix((np.ones(len(left)), (group[left], group[right])), shape=(size, size))
        group = connected_components(links, directed=False)[1][group].astype(np.intp)
    members: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(group.tolist()):
        members[number].append(index)
    return [each for each in members.values() if len(each) > 1]


def _nearest_found(left: csr_matrix, right: csr_matrix) -> dict[int, int]:
    """For each left row that is near a right one, the first such."""
    found: dict[int, int] = {}
    done = np.zeros(left.shape[0], dtype=bool)
    for own, other in _near(left, right, lambda own, other: ~done[own]):
        for row, column in zip(own.tolist(), other.tolist(), strict=True):
            found.setdefault(row, column)
        done[own] = True
    return dict(sorted(found.items()))


def _near(
    left: csr_matrix, right: csr_matrix, wanted: Callable[[Indices, Indices], NDArray[np.bool_]]
) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows that are near each other, of those that are still wanted when they are compared.

    Rows of length 1 that are near share at least one of their rarest features, the ones that are left of each when its
    most frequent ones are cut off while they are too light to be near anything (Bayardo et al., WWW 2007). So only
    pairs that do are compared in full, block by block, and memory stays bounded.
    """
    if not left.shape[0] or not right.shape[0]:
        return
    frequency = np.bincount(left.indices, minlength=left.shape[1]) + np.bincount(right.indices, minlength=left.shape[1])
    order = np.argsort(np.argsort(frequency, kind="stable"), kind="stable")
    rare_left, rare_right = _rarest(left, order), _rarest(right, order).T.tocsr()
    height = max(1, _CELLS // right.shape[0])
    for start in range(0, left.shape[0], height):
        sharing = rare_left[start : start + height] @ rare_right
        rows = np.repeat(np.arange(sharing.shape[0]), np.diff(sharing.indptr)) + start
        columns = sharing.indices.astype(np.intp)
        for first in range(0, len(rows), _AT_ONCE):
            row, column = rows[first : first + _AT_ONCE], columns[first : first + _AT_ONCE]
            kept = wanted(row, column)
            row, column = row[kept], column[kept]
            near = np.asarray(left[row].multiply(right[column]).sum(axis=1)).ravel() >= NEAR
            if near.any():
                yield row[near], column[near]


def _rarest(rows: csr_matrix, order: Indices) -> csr_matrix:
    """Each row without the most frequent features that together are lighter than `NEAR`; features renumbered."""
    turned = rows.copy()
    turned.indices = order[rows.indices].astype(rows.indices.dtype)
    turned.has_sorted_indices = False
    turned.sort_indices()
    mass = np.concatenate([[0.0], np.cumsum(turned.data**2)])
    ends = np.repeat(mass[turned.indptr[1:]], np.diff(turned.indptr))
    left_over = ends - mass[:-1]  # of each entry and those behind it in its row
    turned.data[left_over < NEAR**2 - 1e-6] = 0
    turned.eliminate_zeros()
    return turned
