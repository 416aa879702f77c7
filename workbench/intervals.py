"""Intervals of means, of many columns at once.

mean_interval(scores)                       # one mean: Wilson for 0 and 1, t or BCa otherwise, clusters kept whole
mean_intervals(matrix).lo                   # the same for each column

What they cover is simulated in `benchmarks/evidence.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.resampling import RESAMPLES, SEED, Floats, resampled_sums
from workbench.words import counted

Codes = NDArray[np.int64]

CONFIDENCE = 0.95
FEW_CLUSTERS = 20  # under which every interval is marked: their number of degrees of freedom is hardly enough
_FEW = 30  # items or clusters under which a lower bound is not taken above Wilson's
_BCA = 200  # units up to which Student's t is widened by a bootstrap, for skew
_GUESS = 2.0  # errors that the guess "errors come in whole clusters" is worth
_SAME = 1e-12
z_of = NormalDist().inv_cdf


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        n: items it rests on.
        clusters: clusters they come in, or None.
        repeats: answers to an item that were averaged, at most.
        seed: of the resampling, or None where there was none.
    """

    value: float
    lo: float
    hi: float
    method: str
    n: int
    clusters: int | None = None
    repeats: int = 1
    seed: int | None = None

    def as_list(self, digits: int = 4) -> list[float]:
        """[estimate, low, high], rounded for a file."""
        return [round(float(figure), digits) for figure in (self.value, self.lo, self.hi)]


@dataclass(frozen=True)
class Estimates:
    """Figures of m columns with their intervals; all arrays have shape (m,).

    Attributes:
        clusters: clusters that the items of a column come in, or None where there are none.
        resampled: whether a column's interval rests on random draws.
    """

    value: Floats
    lo: Floats
    hi: Floats
    method: NDArray[np.object_]
    n: NDArray[np.int64]
    clusters: NDArray[np.int64] | None
    resampled: NDArray[np.bool_]
    repeats: int = 1

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: int) -> Estimate:
        return Estimate(
            value=float(self.value[index]),
            lo=float(self.lo[index]),
            hi=float(self.hi[index]),
            method=str(self.method[index]),
            n=int(self.n[index]),
            clusters=None if self.clusters is None else int(self.clusters[index]),
            repeats=self.repeats,
            seed=SEED if self.resampled[index] else None,
        )


@dataclass(frozen=True)
class Units:
    """What varies independently: items, or clusters where there are any.

    Attributes:
        sums: of values, shape (units, m).
        sizes: items asked, shape (units, m).
        clustered: whether a unit is a cluster.
    """

    sums: Floats
    sizes: Floats
    clustered: bool

    @property
    def n(self) -> Floats:
        """Items of each column."""
        found: Floats = self.sizes.sum(axis=0)
        return found

    @property
    def count(self) -> Floats:
        """Units of each column that have an item."""
        found: Floats = (self.sizes > 0).sum(axis=0).astype(float)
        return found

    @property
    def mean(self) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = self.sums.sum(axis=0) / self.n
        return found

    @property
    def gaps(self) -> Floats:
        """What each unit adds beside its share of the mean, shape (units, m)."""
        return self.sums - np.nan_to_num(self.mean) * self.sizes

    @property
    def error(self) -> Floats:
        """The standard error of each mean (linearized, as the sizes of units vary)."""
        squares, count = (self.gaps**2).sum(axis=0), self.count
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = np.sqrt(squares * count / np.maximum(count - 1, 1)) / self.n
        return found

    @property
    def largest_effect(self) -> Floats:
        """The design effect where all items of a cluster are alike: their mean cluster's size (Kish)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = np.maximum((self.sizes**2).sum(axis=0) / self.n, 1.0)
        return found


def units_of(values: Floats, clusters: Codes | None = None) -> Units:
    """The units of columns.

    Args:
        values: shape (n, m), NaN where an item was not asked.
        clusters: shape (n,), a number a cluster, or None.
    """
    unknown = np.isnan(values)
    sums, sizes = np.where(unknown, 0.0, values), (~unknown).astype(float)
    if clusters is None:
        return Units(sums, sizes, clustered=False)
    codes, known = pd.factorize(clusters)
    if len(known) == len(values):
        return Units(sums, sizes, clustered=False)
    from scipy import sparse

    member = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), (len(known), len(codes)))
    return Units(member @ sums, member @ sizes, clustered=True)


def mean_interval(values: Floats, clusters: Codes | None = None, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of scores from 0 to 1, with its interval; see `mean_intervals`."""
    return mean_intervals(np.asarray(values, dtype=float)[:, None], clusters, confidence)[0]


def mean_intervals(
    values: Floats,
    clusters: Codes | None = None,
    confidence: float = CONFIDENCE,
    repeats: int = 1,
    resamples: int = RESAMPLES,
) -> Estimates:
    """The means of columns of scores from 0 to 1, with their intervals.

    Scores of 0 and 1: Wilson's; with clusters on the effective sample size, with Student's t of C − 1 degrees of
    freedom (after Korn and Graubard 1998, Survey Methodology 24). The design effect is clipped to 1 … the clusters'
    size, and few errors tell little of it: it is drawn towards the clusters' size as by two further errors. Other
    scores: Student's t over items or over clusters; up to 200 of them its bounds are not inside those of the BCa
    bootstrap (Efron 1987, JASA 82), since t is too narrow where scores are skewed, and BCa where they are few. Where
    all values are equal, or all clusters' means (there may be one cluster only), either would claim certainty, so
    Wilson's is taken: a score in [0, 1] varies no more than a
    binary one of the same mean.

    Args:
        values: shape (n, m), NaN where an item was not asked; repeats of an item averaged.
        clusters: shape (n,), a number a cluster, or None.
        confidence: of the two-sided intervals.
        repeats: answers to an item that were averaged, to be told.
        resamples: of the bootstrap.
    """
    units, m = units_of(values, clusters), values.shape[1]
    n, mean = units.n, units.mean
    lo, hi, resampled = np.full(m, math.nan), np.full(m, math.nan), np.zeros(m, dtype=bool)
    method = np.full(m, "no items", dtype=object)
    few = (n > 0) & ((values == 0) | (values == 1) | np.isnan(values)).all(axis=0)
    mixed = np.flatnonzero((n > 0) & ~few)
    if len(mixed):
        spread = np.fmax.reduce(values[:, mixed], axis=0) - np.fmin.reduce(values[:, mixed], axis=0)
        few[mixed[(spread < _SAME) | (units.error[mixed] < _SAME)]] = True
    if few.any():
        part = Units(units.sums[:, few], units.sizes[:, few], units.clustered)
        lo[few], hi[few] = _wilson_of(part, confidence)
        method[few] = "Wilson, effective sample size" if units.clustered else "Wilson"
    rest = (n > 0) & ~few
    if rest.any():
        part = Units(units.sums[:, rest], units.sizes[:, rest], units.clustered)
        lo[rest], hi[rest] = _student(part, confidence)
        method[rest] = "cluster t" if units.clustered else "t"
        small = np.flatnonzero(rest)[part.count <= _BCA]
        if len(small):
            part = Units(units.sums[:, small], units.sizes[:, small], units.clustered)
            low, high = _bca(part, confidence, resamples)
            lo[small], hi[small] = np.minimum(lo[small], low), np.maximum(hi[small], high)
            method[small] = "cluster t, cluster BCa" if units.clustered else "t, BCa"
            resampled[small] = True
    of_clusters = units.count.astype(np.int64) if units.clustered else None
    if of_clusters is not None:
        for index in np.flatnonzero((of_clusters < FEW_CLUSTERS) & (n > 0)):
            method[index] += f" (only {counted(of_clusters[index], 'cluster')})"
    lo, hi = np.clip(lo, 0.0, 1.0), np.clip(hi, 0.0, 1.0)
    return Estimates(mean, lo, hi, method, n.astype(np.int64), of_clusters, resampled, repeats)


def wilson(share: Any, n: Any, confidence: float, degrees: Any = None) -> tuple[Any, Any]:
    """Wilson's interval of a share (1927, JASA 22); a library's takes longer to import than a short run.

    Args:
        share: of successes, a number or an array.
        n: of trials, likewise.
        confidence: of the two-sided interval.
        degrees: of freedom, for Student's t in the normal's place.
    """
    share, z = np.clip(share, 0.0, 1.0), t_of(degrees, (1 + confidence) / 2)
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return np.maximum(center - reach, 0.0), np.minimum(center + reach, 1.0)


def t_of(degrees: Any, quantile: Any) -> Any:
    """Student's quantile; the normal's where there are no degrees of freedom to count."""
    if degrees is None and np.ndim(quantile) == 0:
        return z_of(float(quantile))
    from scipy import special

    return special.ndtri(quantile) if degrees is None else special.stdtrit(np.maximum(degrees, 1), quantile)


def lower_bound(values: Floats, clusters: Codes | None = None) -> float:
    """A one-sided lower bound of the mean, at 95 %, that a decision may rest on.

    A bootstrap of a few values never leaves their range and so claims too much: under 30 items (or clusters) the bound
    is not above that of a binary score of the same mean, which varies most.
    """
    two_sided = 2 * CONFIDENCE - 1
    found = mean_interval(values, clusters, two_sided)
    count = found.clusters or found.n
    if count == 0:
        return math.nan
    return min(found.lo, float(wilson(found.value, count, two_sided)[0])) if count < _FEW else found.lo


def design_effect(units: Units) -> Floats:
    """How many items of its column's clusters are worth one that stands alone, from 1 to the clusters' size."""
    mean, n, largest = units.mean, units.n, units.largest_effect
    rare = n * np.minimum(mean, 1 - mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = units.error**2 * n / (mean * (1 - mean))
    found = np.where(np.isfinite(found), found, largest)
    return np.clip((found * rare + largest * _GUESS) / (rare + _GUESS), 1.0, largest)


def _wilson_of(units: Units, confidence: float) -> tuple[Floats, Floats]:
    if not units.clustered:
        return wilson(units.mean, units.n, confidence)
    effective = units.n / design_effect(units)
    return wilson(units.mean, effective, confidence, units.count - 1)


def _student(units: Units, confidence: float) -> tuple[Floats, Floats]:
    reach = t_of(units.count - 1, (1 + confidence) / 2) * units.error
    return units.mean - reach, units.mean + reach


def _bca(units: Units, confidence: float, resamples: int) -> tuple[Floats, Floats]:
    """The BCa bootstrap of ratios of sums to sizes, with the linearized jackknife's acceleration."""
    from scipy import special

    m, mean, gaps = units.sums.shape[1], units.mean, units.gaps
    drawn = np.empty((resamples, m))
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, m, 2000):
            part = slice(start, start + 2000)
            drawn[:, part] = resampled_sums(units.sums[:, part], resamples) / resampled_sums(
                units.sizes[:, part], resamples
            )
        drawn = np.sort(np.where(np.isnan(drawn), mean, drawn), axis=0)
        below = ((drawn < mean).sum(axis=0) + (drawn <= mean).sum(axis=0)) / (2 * resamples)
        bias = special.ndtri(np.clip(below, 1 / resamples, 1 - 1 / resamples))
        skew = np.nan_to_num((gaps**3).sum(axis=0) / (6 * (gaps**2).sum(axis=0) ** 1.5))
    found = []
    for z in (-z_of((1 + confidence) / 2), z_of((1 + confidence) / 2)):
        level = special.ndtr(bias + (bias + z) / (1 - skew * (bias + z)))
        index = np.clip(np.round(level * resamples - 0.5).astype(int), 0, resamples - 1)
        found.append(drawn[index, np.arange(m)])
    return found[0], found[1]
