"""Intervals of a mean and of a paired difference, and how many items a decision takes.

mean_interval(scores)                       # Wilson for 0 and 1, bootstrap otherwise
paired_difference(a, b).hi                  # how much better a may be than b, on the items that both were asked
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 0
_FEW = 30  # items or clusters under which a bootstrap is not trusted alone
_MANY = 2000  # items or clusters beyond which a bootstrap tells no more than a formula
_FEW_DIFFERENCES = 10
_SAME = 1e-12
_z = NormalDist().inv_cdf


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        n: items it rests on.
        clusters: clusters they come in, or None.
    """

    value: float
    lo: float
    hi: float
    method: str
    n: int
    clusters: int | None = None

    def as_list(self, digits: int = 4) -> list[float]:
        """[estimate, low, high], rounded for a file."""
        return [round(float(figure), digits) for figure in (self.value, self.lo, self.hi)]


def mean_interval(
    values: Floats, clusters: NDArray[np.int64] | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of scores from 0 to 1, with its interval.

    Wilson's for scores of 0 and 1; otherwise a BCa bootstrap, and with clusters a percentile bootstrap that draws
    whole clusters; above 2,000 items or clusters Student's t, which they come to there. Where all values are equal a
    bootstrap would claim certainty, so Wilson's is taken there too: a score in [0, 1] varies no more than a binary one
    of the same mean.

    Args:
        values: shape (n,), without NaN.
        clusters: shape (n,), a number a cluster, or None.
        confidence: of the two-sided interval.
    """
    n = len(values)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, "no items", 0)
    mean = float(values.mean())
    count = n if clusters is None else len(set(clusters.tolist()))
    if float(np.ptp(values)) < _SAME:
        return Estimate(mean, *wilson(mean, count, confidence), "wilson", n, count if count < n else None)
    if clusters is not None and count < n:
        return _cluster_bootstrap(values, clusters, confidence)
    if bool(np.isin(values, (0.0, 1.0)).all()):
        return Estimate(mean, *wilson(mean, n, confidence), "wilson", n)
    if n > _MANY:
        return _student(values, values - mean, n, "t", confidence)
    from scipy import stats  # 0.7 s to import: where a bootstrap is drawn, it is worth that

    found = stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=RESAMPLES, method="BCa", rng=SEED
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high), "bootstrap BCa", n)


def wilson(share: Any, n: Any, confidence: float) -> tuple[Any, Any]:
    """Wilson's interval of a share (1927, JASA 22); a library's takes longer to import than a short run.

    Args:
        share: of successes, a number or an array.
        n: of trials, likewise.
        confidence: of the two-sided interval.
    """
    share, z = np.clip(share, 0.0, 1.0), _z((1 + confidence) / 2)
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return np.maximum(center - reach, 0.0), np.minimum(center + reach, 1.0)


def lower_bound(values: Floats, clusters: NDArray[np.int64] | None = None) -> float:
    """A one-sided lower bound of the mean, at 95 %, that a decision may rest on.

    A bootstrap of a few values never leaves their range and so claims too much: under 30 items (or clusters) the bound
    is not above that of a binary score of the same mean, which varies most.
    """
    two_sided = 2 * CONFIDENCE - 1
    found = mean_interval(values, clusters, two_sided)
    count = found.clusters or found.n
    if count == 0:
        return math.nan
    return min(found.lo, wilson(found.value, count, two_sided)[0]) if count < _FEW else found.lo


def _cluster_bootstrap(values: Floats, clusters: NDArray[np.int64], confidence: float) -> Estimate:
    codes = pd.factorize(clusters)[0]
    count = int(codes.max()) + 1
    sums = np.bincount(codes, values, count)
    sizes = np.bincount(codes, minlength=count)
    if count > _MANY:
        gaps = sums - values.mean() * sizes
        return replace(_student(values, gaps * count / len(values), count, "cluster t", confidence), clusters=count)
    drawn = np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    lo, hi = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    method = "cluster bootstrap" if count >= 20 else f"cluster bootstrap (only {count} clusters)"
    return Estimate(float(values.mean()), float(lo), float(hi), method, len(values), count)


def _student(values: Floats, gaps: Floats, count: int, method: str, confidence: float) -> Estimate:
    """Student's interval of a mean; `gaps` are what each of `count` independent units adds beside it."""
    from scipy.special import stdtrit

    mean = float(values.mean())
    reach = float(stdtrit(count - 1, (1 + confidence) / 2)) * float(gaps.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, max(mean - reach, 0.0), min(mean + reach, 1.0), method, len(values))


def paired_difference(
    a: Floats, b: Floats, clusters: NDArray[np.int64] | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of a − b over the items that both were asked, with a two-sided interval.

    Scores of 0 and 1: the score interval of Tango (1998, Statistics in Medicine 17), which does not read a few items
    without disagreement as certainty. Other scores: the adjusted Wald interval of Agresti and Min (2005, Statistics in
    Medicine 24) written with sums of differences; where few items differ it is not narrower than Tango's for binary
    scores with the same sums of gains and losses, which vary most. With clusters the variance is that of the clusters'
    sums, with C − 1 degrees of freedom.

    Args:
        a: scores, shape (n,), NaN where not asked.
        b: the same of the other candidate.
        clusters: shape (n,), a number a cluster, or None.
        confidence: of the two-sided interval; 1 − 2α for one-sided bounds at α.
    """
    shared = ~np.isnan(a) & ~np.isnan(b)
    difference = a[shared] - b[shared]
    n = len(difference)
    if n == 0:
        return Estimate(math.nan, -1.0, 1.0, "no shared items", 0)
    gains, losses = float(difference.clip(min=0).sum()), float(-difference.clip(max=0).sum())
    count = n if clusters is None else len(set(clusters[shared].tolist()))
    if count == n and bool(np.isin(difference, (-1.0, 0.0, 1.0)).all()):
        lo, hi = _tango(gains, losses, n, confidence)
        return Estimate(float(difference.mean()), lo, hi, "paired, Tango", n)
    lo, hi = _adjusted_wald(difference, None if count == n or clusters is None else clusters[shared], confidence)
    if int((np.abs(difference) > _SAME).sum()) < _FEW_DIFFERENCES:
        scale = count / n  # a cluster is worth one item at least
        wide = _tango(gains * scale, losses * scale, count, confidence)
        lo, hi = min(lo, wide[0]), max(hi, wide[1])
    clustered = count if count < n else None
    return Estimate(float(difference.mean()), max(lo, -1.0), min(hi, 1.0), "paired, adjusted Wald", n, clustered)


def _tango(gains: float, losses: float, n: int, confidence: float) -> tuple[float, float]:
    """Tango's score interval of (gains − losses) / n for n matched pairs."""
    z = _z((1 + confidence) / 2)

    def bound(gains: float, losses: float) -> float:
        """The difference above the estimate at which the score statistic reaches −z."""
        low, high = (gains - losses) / n, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            b = -gains - losses + (2 * n - gains + losses) * middle
            c = -losses * middle * (1 - middle)
            share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
            variance = n * (2 * share + middle * (1 - middle))
            gap = n * middle - (gains - losses)
            low, high = (middle, high) if gap <= z * math.sqrt(max(variance, 0.0)) else (low, middle)
        return high

    return -bound(losses, gains), bound(gains, losses)


def _adjusted_wald(difference: Floats, clusters: NDArray[np.int64] | None, confidence: float) -> tuple[float, float]:
    """Half an item is added to each cell of the 2 × 2 table of matched pairs."""
    n = len(difference)
    padded = n + 2
    center = float(difference.sum()) / padded
    variance = (float((difference**2).sum()) + 1) / padded - center**2
    error, degrees = math.sqrt(variance / padded), n - 1
    if clusters is not None:
        codes = pd.factorize(clusters)[0]
        count = int(codes.max()) + 1
        sums = np.bincount(codes, difference - difference.mean(), count)
        between = count / max(count - 1, 1) * float((sums**2).sum())
        error, degrees = math.sqrt(max(between + 1, variance * padded)) / padded, count - 1
    from scipy.special import stdtrit

    reach = float(stdtrit(max(degrees, 1), (1 + confidence) / 2)) * error
    return center - reach, center + reach


def simultaneous_confidence(comparisons: int, confidence: float = CONFIDENCE) -> float:
    """The two-sided confidence at which each of several one-sided bounds holds jointly (Bonferroni)."""
    return 1 - 2 * (1 - confidence) / max(comparisons, 1)


def items_to_decide(a: Floats, b: Floats, margin: float, comparisons: int = 1, power: float = 0.8) -> float:
    """About how many items would show that b is not worse than a by more than a margin, were they equal.

    Args:
        a: scores, NaN where not asked.
        b: the same of the other candidate.
        margin: in score.
        comparisons: how many candidates the bound has to hold against at once.
        power: the chance that the items then suffice.
    """
    shared = ~np.isnan(a) & ~np.isnan(b)
    difference = a[shared] - b[shared]
    if len(difference) < 2:
        return math.inf
    spread = (float((difference**2).sum()) + 1) / (len(difference) + 2)
    z = _z(1 - (1 - CONFIDENCE) / max(comparisons, 1)) + _z(power)
    return math.ceil(z**2 * spread / margin**2)
