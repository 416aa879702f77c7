"""Figures of a set for label fields: macro-F1 and balanced accuracy, with bootstrap intervals.

set_figures(outcomes)         # a row a task × candidate × label field × figure

Label scorers leave each item's classes in `metric.class.<field>.expected` and `.given` (positions; -1 for no class), so
that an outcome table alone is enough. These figures stand beside the score; no route is chosen by them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.intervals import CONFIDENCE, Estimate, wilson
from workbench.resampling import RESAMPLES, SEED, Floats
from workbench.scores import prepare
from workbench.words import counted

if TYPE_CHECKING:
    from scipy import sparse

FIGURES = ("macro_f1", "balanced_accuracy")
_COLUMNS = ["task", "candidate", "field", "figure", "value", "lo", "hi", "n", "clusters", "repeats", "method", "seed"]
_COLUMNS += ["commonest"]
_CLASS, _EXPECTED, _GIVEN = "metric.class.", ".expected", ".given"
_FEW_ERRORS = 10
_BLOCK = 5_000_000  # numbers of a block of resamples that are held at once


def set_figures(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Macro-F1 and balanced accuracy of every label field, for each task and candidate.

    Macro-F1 is the mean of F1 over the classes that the key has; balanced accuracy the mean of their recalls. An item
    without an answer counts as a wrong one. Repeats of an item share its weight. Intervals are percentile bootstraps
    over items, or over whole clusters where there are any; a bootstrap of few errors claims too much, so they are not
    narrower than those that Wilson's intervals of the classes make (MOVER, Zou and Donner 2008).

    Args:
        outcomes: an outcome table.

    Returns:
        Columns `task`, `candidate`, `field`, `figure`, `value`, `lo`, `hi`, `n` (items), `clusters` (or NaN),
        `repeats`, `method`, `seed`, `commonest` (the share of items whose key is the commonest class: what giving it
        always would be right on at least; more where several are accepted); no rows where no scorer told classes.
    """
    table = prepare(outcomes)
    rows = []
    for task, group in table.groupby("task", sort=True):
        for field in _fields(group):
            known = _with_key(group, field)
            key = known.groupby("item_id")[f"{_CLASS}{field}{_EXPECTED}"].max()
            commonest = float(key.value_counts(normalize=True).iloc[0])
            for candidate, own in known.groupby("candidate", sort=True):
                for figure, estimate in _estimates(own, field).items():
                    rows.append(
                        {
                            "task": task,
                            "candidate": candidate,
                            "field": field,
                            "figure": figure,
                            "value": estimate.value,
                            "lo": estimate.lo,
                            "hi": estimate.hi,
                            "n": estimate.n,
                            "clusters": estimate.clusters,
                            "repeats": estimate.repeats,
                            "method": estimate.method,
                            "seed": SEED,
                            "commonest": commonest,
                        }
                    )
    found = pd.DataFrame(rows, columns=_COLUMNS)
    return found.sort_values(["task", "candidate", "field"], kind="stable", ignore_index=True)


def _fields(group: pd.DataFrame) -> Iterator[str]:
    for name in map(str, group):
        field = name.removeprefix(_CLASS).removesuffix(_EXPECTED)
        told = name == f"{_CLASS}{field}{_EXPECTED}" and f"{_CLASS}{field}{_GIVEN}" in group
        if told and group[name].notna().any():
            yield field


def _with_key(group: pd.DataFrame, field: str) -> pd.DataFrame:
    """A task's outcomes of the items whose class is known.

    An outcome without an answer tells no class: its item's is that of another outcome, of any candidate. One that has
    a score and tells none is left out: another tool made it; so is one that a scorer failed on.
    """
    name = f"{_CLASS}{field}{_EXPECTED}"
    lost = group[name].isna() & group["score"].isna() & group["points"].notna()
    key = group[name].mask(lost, group.groupby("item_id")[name].transform("max"))
    return group.assign(**{name: key})[key.notna()]


def _estimates(own: pd.DataFrame, field: str) -> dict[str, Estimate]:
    """One candidate's figures."""
    given = own[f"{_CLASS}{field}{_GIVEN}"].fillna(-1).to_numpy(int)
    classes, true = np.unique(own[f"{_CLASS}{field}{_EXPECTED}"].to_numpy(int), return_inverse=True)
    k = len(classes)
    answered = np.searchsorted(classes, given).clip(0, k - 1)
    answered = np.where(classes[answered] == given, answered, k)  # k: none of the key's classes
    weights = (1 / own.groupby("item_id")["item_id"].transform("size")).to_numpy(float)
    answers = own.groupby("item_id").size()
    n, repeats = len(answers), int(answers.max())
    units, clusters = _units(own)
    sums = _sums(units, true, answered, weights, k)
    totals = np.asarray(sums.sum(axis=0), dtype=float)[None, :]
    values, drawn = _figures_of(totals, k), _resampled(sums, k)
    bounds = _bounds(totals[0] / _items_in_one(sums, k), k)
    method = "bootstrap" if clusters is None else "cluster bootstrap"
    if clusters is not None and clusters < 20:
        method += f" (only {counted(clusters, 'cluster')})"
    reach = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    found = {}
    for position, name in enumerate(FIGURES):
        lo, hi = np.nanquantile(drawn[position], reach)
        lo, hi = max(0.0, min(lo, bounds[position][0])), min(1.0, max(hi, bounds[position][1]))
        found[name] = Estimate(float(values[position][0]), float(lo), float(hi), method, n, clusters, repeats, SEED)
    return found


def _items_in_one(sums: sparse.csr_array, k: int) -> float:
    """How many items of the units are worth one that stands alone: the design effect of their errors.

    No more than a unit has on the mean; and that, where the errors are too few to tell.
    """
    sizes = sums[:, k : 2 * k].sum(axis=1)
    errors = sizes - sums[:, :k].sum(axis=1)
    n, wrong = float(sizes.sum()), float(errors.sum())
    largest = n / len(sizes)
    if wrong < _FEW_ERRORS or wrong > n - _FEW_ERRORS:
        return largest
    gaps = errors - wrong / n * sizes
    return min(largest, max(1.0, float(gaps @ gaps) / (wrong * (1 - wrong / n))))


def _bounds(totals: Floats, k: int) -> list[tuple[float, float]]:
    """Intervals of the mean F1 and the mean recall by Wilson's interval of each class.

    F1 is 2J / (1 + J) of the share J of right answers among all that are of the class or were given it.
    """
    right, expected, given = totals[:k], totals[k : 2 * k], totals[2 * k :]
    found = []
    for trials, shape in ((expected + given - right, lambda share: 2 * share / (1 + share)), (expected, np.asarray)):
        share = np.minimum(right / trials, 1)  # sums of shares of items may miss a whole by a rounding
        lo, hi = wilson(share, trials, CONFIDENCE)
        down, up = shape(share) - shape(lo), shape(hi) - shape(share)
        mean = float(shape(share).mean())
        found.append((mean - math.sqrt(float(down @ down)) / k, mean + math.sqrt(float(up @ up)) / k))
    return found


def _units(rows: pd.DataFrame) -> tuple[NDArray[np.int64], int | None]:
    """What is drawn: items, or clusters (an item without one is its own)."""
    own = "\0" + rows["item_id"].astype(str)
    names = own
    if "cluster" in rows and rows["cluster"].notna().any():
        names = rows["cluster"].where(rows["cluster"].notna(), own)
    codes, unique = pd.factorize(names)
    return codes, len(unique) if len(unique) < rows["item_id"].nunique() else None


def _sums(
    units: NDArray[np.int64], true: NDArray[np.int64], answered: NDArray[np.int64], weights: Floats, k: int
) -> sparse.csr_array:
    """What a unit adds to each class, shape (units, 3k): right, expected, given. The confusion matrix is not needed."""
    right, inside = true == answered, answered < k
    columns = np.concatenate([true[right], k + true, 2 * k + answered[inside]])
    rows = np.concatenate([units[right], units, units[inside]])
    values = np.concatenate([weights[right], weights, weights[inside]])
    from scipy import sparse

    found = sparse.csr_array((values, (rows, columns)), shape=(int(units.max()) + 1, 3 * k))
    found.sum_duplicates()
    return found


def _resampled(sums: sparse.csr_array, k: int) -> list[Floats]:
    """The figures in each resample of the units.

    Units that add the same are drawn together: there are few kinds of them, and to draw how often each kind comes is
    the same as to draw one unit after another.
    """
    ends = sums.indptr
    kinds, _ = pd.factorize(
        np.array([sums.indices[a:b].tobytes() + sums.data[a:b].tobytes() for a, b in itertools.pairwise(ends)], object)
    )
    size, (_, first, often) = len(kinds), np.unique(kinds, return_index=True, return_counts=True)
    distinct = sums[first]
    generator = np.random.default_rng(SEED)
    block = max(1, min(RESAMPLES, _BLOCK // max(distinct.shape)))
    pieces = []
    for start in range(0, RESAMPLES, block):
        drawn = generator.multinomial(size, often / size, min(block, RESAMPLES - start))
        pieces.append(_figures_of(drawn.astype(float) @ distinct, k))
    return [np.concatenate([piece[position] for piece in pieces]) for position in range(len(FIGURES))]


def _figures_of(sums: Floats, k: int) -> list[Floats]:
    """Macro-F1 and balanced accuracy of sums by class, shape (resamples, 3k)."""
    right, expected, given = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(expected > 0, 2 * right / (expected + given), math.nan)
        recall = np.where(expected > 0, right / expected, math.nan)
    return [np.nanmean(f1, axis=1), np.nanmean(recall, axis=1)]
