"""Items that are nearly the same: within the test items, and between them and the training items.

near_groups(["Where is my card?", "Where is my card", "A parrot"])      # [0, 0, 1]

What no prompt shows of an item does not count. Near means the cosine of TF-IDF weighted character 5-grams, or words
that are one but for a slip (see `slips`); items of one cluster are meant to be alike and pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.audit.inputs import fingerprint, shown, text_of
from workbench.audit.keys import answer_print
from workbench.audit.report import Finding, Level, count_of
from workbench.audit.slips import but_for_numbers, slips, spelled_alike
from workbench.evalset import EvalSet, Item

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Indices = NDArray[np.intp]

NEAR = 0.9
COMPARED_AT_MOST = 50_000  # near duplicates take time by the square of the items
_SHARED, _MANY = 0.9, 20  # the share of texts that is nearly all of them, where there are so many
_CELLS = 10_000_000  # of a block of comparisons
_AT_ONCE = 200_000  # pairs that are compared in full at once


def near_duplicates(evalset: EvalSet) -> Iterator[Finding]:
    """Items that are nearly the same, within the test items and between them and the training items."""
    show = shown(evalset)
    tested, trained = _distinct(evalset)
    forms = [but_for_numbers(show(item)) for item in (*tested, *trained)]
    groups, twins = _of_one_form(forms, len(tested), _clusters(tested))
    yield from _within(tested, groups, numbers_alone=True)
    yield from _between(trained, tested, twins, numbers_alone=True)
    # One of each form stands for it from here on.
    repeated = {index for group in groups for index in group[1:]}
    tested = [item for index, item in enumerate(tested) if index not in repeated]
    trained = [item for index, item in enumerate(trained) if index not in twins]
    texts = [text_of(show(item)) for item in (*tested, *trained)]
    answers = [answer_print(evalset, item) for item in (*tested, *trained)]
    linked = np.array([*spelled_alike(texts), *slips(texts, answers)], dtype=np.intp).reshape(-1, 2)
    weighed, n = _weights(texts), len(tested)
    within = linked[(linked < n).all(axis=1)]
    yield from _within(tested, _alike(weighed, _clusters(tested), within))
    found = {} if weighed is None else _nearest_found(weighed[n:], weighed[:n])
    found |= {int(own) - n: int(other) for other, own in linked if other < n <= own}
    yield from _between(trained, tested, dict(sorted(found.items())))


def _distinct(evalset: EvalSet) -> tuple[list[Item], list[Item]]:
    """The first of all test items, and of all training items, that are equal: equal ones are told by other checks."""
    show = shown(evalset)
    seen: set[str] = set()
    parts: list[list[Item]] = []
    for items in (evalset.items, evalset.train):
        parts.append([])
        for item in items:
            found = fingerprint(show(item))
            if found not in seen:
                seen.add(found)
                parts[-1].append(item)
    return parts[0], parts[1]


def _of_one_form(forms: Sequence[str | None], tested: int, clusters: Indices) -> tuple[list[list[int]], dict[int, int]]:
    """Groups of test items with the same text but for numbers, and by training item the first test item that has."""
    members: dict[str, list[int]] = defaultdict(list)
    twins = {}
    for index, form in enumerate(forms):
        if form is not None and index < tested:
            members[form].append(index)
        elif form in members:
            twins[index - tested] = members[form][0]
    return [group for group in members.values() if len({*clusters[group].tolist()}) > 1], twins


def _within(items: Sequence[Item], groups: Sequence[Sequence[int]], numbers_alone: bool = False) -> Iterator[Finding]:
    if groups:
        named = tuple(tuple(items[index].id for index in group) for group in groups)
        ids = tuple(name for group in named for name in group)
        what = "with the text of another but for numbers" if numbers_alone else "nearly the same as another"
        other = "Add items of other kinds" if numbers_alone else "Rewrite or drop one of each"
        mend = f"{other}, or give them the same 'cluster', so that they count as related"
        yield Finding("near duplicates", "warning", f"{count_of(ids)} of items.jsonl {what}", mend, ids, named)


def _between(
    trained: Sequence[Item], tested: Sequence[Item], twins: dict[int, int], numbers_alone: bool = False
) -> Iterator[Finding]:
    """No fix: whether such an item is a question of its own takes judgment."""
    if twins:
        pairs = tuple((trained[own].id, tested[other].id) for own, other in twins.items())
        ids = tuple(own for own, _ in pairs)
        what = "with the text of a test item but for numbers" if numbers_alone else "nearly the same as a test item"
        gives = "show how a test item is solved" if numbers_alone else "give test answers away"
        mend = f"Take them out of train.jsonl where they {gives}"
        level: Level = "warning" if numbers_alone else "error"
        yield Finding("contamination", level, f"{count_of(ids)} of train.jsonl {what}", mend, ids, pairs)


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


def _alike(rows: csr_matrix | None, clusters: Indices, linked: Indices | None = None) -> list[list[int]]:
    """Groups of rows that are near each other, directly or by way of others, or by pairs that are `linked`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    group: Indices = np.arange(len(clusters))

    def join(left: Indices, right: Indices) -> None:
        nonlocal group
        size = int(group.max()) + 1
        links = coo_matrix((np.ones(len(left)), (group[left], group[right])), shape=(size, size))
        group = connected_components(links, directed=False)[1][group].astype(np.intp)

    def open_question(left: Indices, right: Indices) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = (left < right) & (clusters[left] != clusters[right]) & (group[left] != group[right])
        return mask

    if linked is not None and len(linked):
        apart = linked[clusters[linked[:, 0]] != clusters[linked[:, 1]]]
        join(apart[:, 0], apart[:, 1])
    for left, right in _near(rows[: len(clusters)], rows[: len(clusters)], open_question) if rows is not None else ():
        join(left, right)
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
