"""Figures of a set for label fields: macro-F1 and balanced accuracy, with bootstrap intervals.

set_figures(outcomes)         # a row a task × candidate × label field × figure

Label scorers leave each item's classes in `metric.class.<field>.expected` and `.given` (positions; -1 for no class), so
that an outcome table alone is enough. These figures stand beside the score; no route is chosen by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.evidence import prepare
from workbench.intervals import CONFIDENCE, RESAMPLES, SEED, Estimate, Floats

FIGURES = ("macro_f1", "balanced_accuracy")
_COLUMNS = ["task", "candidate", "field", "figure", "value", "lo", "hi", "n", "clusters", "method", "seed"]
_BLOCK = 20_000_000  # numbers of a block of resamples that are held at once


def set_figures(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Macro-F1 and balanced accuracy of every label field, for each task and candidate.

    Macro-F1 is the mean of F1 over the classes that the key has; balanced accuracy the mean of their recalls. An item
    without an answer counts as a wrong one. Repeats of an item share its weight. Intervals are percentile bootstraps
    over items, or over whole clusters where there are any.

    Args:
        outcomes: an outcome table.

    Returns:
        Columns `task`, `candidate`, `field`, `figure`, `value`, `lo`, `hi`, `n` (items), `clusters` (or NaN), `method`,
        `seed`; no rows where no scorer told classes.
    """
    table = prepare(outcomes)
    rows = []
    for (task, candidate), own in table.groupby(["task", "candidate"], sort=True):
        for field in _fields(own):
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
                        "method": estimate.method,
                        "seed": SEED,
                    }
                )
    return pd.DataFrame(rows, columns=_COLUMNS)


def _fields(own: pd.DataFrame) -> Iterator[str]:
    for name in own:
        if str(name).startswith("metric.class.") and str(name).endswith(".expected") and own[name].notna().any():
            yield str(name).removeprefix("metric.class.").removesuffix(".expected")


def _estimates(own: pd.DataFrame, field: str) -> dict[str, Estimate]:
    # An outcome without an answer has no classes of its own: its item's key is that of a repeat that has, if any.
    expected = own[f"metric.class.{field}.expected"]
    expected = expected.fillna(expected.groupby(own["item_id"]).transform("max"))
    known = expected.notna()
    rows = own[known]
    given = rows[f"metric.class.{field}.given"].fillna(-1).to_numpy(int)
    true = expected[known].to_numpy(int)
    weights = (1 / rows.groupby("item_id")["item_id"].transform("size")).to_numpy(float)
    n = rows["item_id"].nunique()
    units, clusters = _units(rows)
    classes, codes = np.unique(true, return_inverse=True)
    k = len(classes)
    answered = np.searchsorted(classes, given).clip(0, k - 1)
    answered = np.where(classes[answered] == given, answered, k)  # k: none of the key's classes
    counts = _unit_counts(codes * (k + 1) + answered, weights, units, k * (k + 1))
    values = _figures_of(counts.sum(axis=0)[None, :], k)
    drawn = _resampled(counts, k)
    method = "bootstrap" if clusters is None else "cluster bootstrap"
    if clusters is not None and clusters < 20:
        method += f" (only {clusters} clusters)"
    reach = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    found = {}
    for position, name in enumerate(FIGURES):
        lo, hi = np.nanquantile(drawn[position], reach)
        found[name] = Estimate(float(values[position][0]), float(lo), float(hi), method, n, clusters)
    return found


def _units(rows: pd.DataFrame) -> tuple[NDArray[np.int64], int | None]:
    """What is drawn: items, or clusters (an item without one is its own)."""
    own = "\0" + rows["item_id"].astype(str)
    names = own
    if "cluster" in rows and rows["cluster"].notna().any():
        names = rows["cluster"].where(rows["cluster"].notna(), own)
    codes, unique = pd.factorize(names)
    return codes, len(unique) if len(unique) < rows["item_id"].nunique() else None


def _unit_counts(cells: NDArray[np.int64], weights: Floats, units: NDArray[np.int64], width: int) -> Floats:
    """Weights by unit and cell of the confusion matrix; cells that nobody has stay 0."""
    size = int(units.max()) + 1
    counts: Floats = np.bincount(units * width + cells, weights, size * width).reshape(size, width).astype(float)
    return counts


def _resampled(counts: Floats, k: int) -> list[Floats]:
    """The figures in each resample of the units."""
    size, width = counts.shape
    generator = np.random.default_rng(SEED)
    block = max(1, min(RESAMPLES, _BLOCK // max(size, width)))
    pieces = []
    for start in range(0, RESAMPLES, block):
        often = generator.multinomial(size, np.full(size, 1 / size), min(block, RESAMPLES - start))
        pieces.append(_figures_of(often @ counts, k))
    return [np.concatenate([piece[position] for piece in pieces]) for position in range(len(FIGURES))]


def _figures_of(counts: Floats, k: int) -> list[Floats]:
    """Macro-F1 and balanced accuracy of flat confusion matrices, shape (matrices, k · (k + 1))."""
    matrices = counts.reshape(-1, k, k + 1)
    right = np.einsum("rii->ri", matrices[:, :, :k])
    expected = matrices.sum(axis=2)
    given = matrices[:, :, :k].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(expected > 0, 2 * right / (expected + given), math.nan)
        recall = np.where(expected > 0, right / expected, math.nan)
    return [np.nanmean(f1, axis=1), np.nanmean(recall, axis=1)]
