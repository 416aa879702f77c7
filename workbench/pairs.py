"""Two candidates on the items that both were asked: differences, their intervals, and tests of no difference.

paired_difference(a, b).hi                  # how much better a may be than b
paired_differences(matrix).hi               # the same for each column of differences
p_values(matrix).p                          # McNemar's mid-p for 0 and 1, sign-flip permutation otherwise

The intervals decide (by margin); the tests stand beside them. Their size is simulated in `benchmarks/evidence.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.intervals import CONFIDENCE, FEW_CLUSTERS, Codes, Estimate, Estimates, t_of, units_of
from workbench.resampling import RESAMPLES, Floats, flipped_sums
from workbench.words import counted

_FEW_DIFFERENCES = 10
_MANY = 2000  # units beyond which random signs tell no more than the normal distribution
_BLOCK = 2000  # columns whose signs are flipped at once
_SAME = 1e-12
_STEPS = 20
_FLAT = 1e-13


def paired_difference(
    a: Floats, b: Floats, clusters: Codes | None = None, confidence: float = CONFIDENCE, repeats: int = 1
) -> Estimate:
    """The mean of a − b over the items that both were asked, with a two-sided interval; see `paired_differences`.

    Args:
        a: scores, shape (n,), NaN where not asked.
        b: the same of the other candidate.
        clusters: shape (n,), a number a cluster, or None.
        confidence: of the two-sided interval; 1 − 2α for one-sided bounds at α.
        repeats: answers to an item that were averaged, to be told.
    """
    return paired_differences((a - b)[:, None], clusters, confidence, repeats)[0]


def paired_differences(
    differences: Floats, clusters: Codes | None = None, confidence: Any = CONFIDENCE, repeats: int = 1
) -> Estimates:
    """The means of columns of differences, with two-sided intervals.

    Scores of 0 and 1: the score interval of Tango (1998, Statistics in Medicine 17), which does not read a few items
    without disagreement as certainty. Other scores, and clusters: the adjusted Wald interval of Agresti and Min (2005,
    Statistics in Medicine 24) written with sums of differences, wider on the side of the longer tail where differences
    are skewed; where few items differ it is not narrower than Tango's for binary scores with the same sums of gains and
    losses, which vary most. With clusters the variance is that of the clusters' sums, with C − 1 degrees of freedom.

    Args:
        differences: of scores from 0 to 1, shape (n, m), NaN where one of both was not asked.
        clusters: shape (n,), a number a cluster, or None.
        confidence: of the two-sided intervals, one or shape (m,).
        repeats: answers to an item that were averaged, to be told.
    """
    return Differences.of(differences, clusters).estimates(confidence, repeats)


@dataclass(frozen=True)
class Differences:
    """What the intervals of m columns of differences take from them; all arrays have shape (m,).

    Attributes:
        n: items that both were asked.
        count: independent units: items, or clusters.
        total: the sum of differences; `gains` and `losses` are the sums of those above and below 0.
        squares: the sum of squared differences.
        between: the sum of squares of what units add beside the mean.
        skew: the skewness of what they add; 0 for binary differences of items, which do not need it.
        apart: items that differ.
        binary: whether all differences are −1, 0 or 1.
    """

    n: Floats
    count: Floats
    total: Floats
    gains: Floats
    losses: Floats
    squares: Floats
    between: Floats
    skew: Floats
    apart: NDArray[np.int64]
    binary: NDArray[np.bool_]
    clustered: bool

    @classmethod
    def of(cls, differences: Floats, clusters: Codes | None = None) -> Differences:
        """See `paired_differences`."""
        units = units_of(differences, clusters)
        values = np.nan_to_num(differences) if units.clustered else units.sums
        size = np.abs(values)
        absolute, total = size.sum(axis=0), units.sums.sum(axis=0)
        binary = ((size == 0) | (size == 1)).all(axis=0)
        between, skew = np.zeros(len(total)), np.zeros(len(total))
        if units.clustered or not binary.all():
            gaps = units.gaps
            between = (gaps**2).sum(axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                skew = np.sqrt(units.count) * (gaps**3).sum(axis=0) / between**1.5
            skew = np.where(between > _SAME, skew, 0.0)
        return cls(
            n=units.n,
            count=units.count,
            total=total,
            gains=(absolute + total) / 2,
            losses=(absolute - total) / 2,
            squares=(size * size).sum(axis=0),
            between=between,
            skew=skew,
            apart=(size > _SAME).sum(axis=0),
            binary=binary,
            clustered=units.clustered,
        )

    def estimates(self, confidence: Any = CONFIDENCE, repeats: int = 1) -> Estimates:
        """The means with two-sided intervals, at one confidence or one for each column."""
        m, asked = len(self.n), self.n > 0
        level = np.broadcast_to(np.asarray(confidence, dtype=float), (m,))
        lo, hi = np.full(m, -1.0), np.full(m, 1.0)
        method = np.full(m, "no shared items", dtype=object)
        score = asked & self.binary & (not self.clustered)
        if score.any():
            lo[score], hi[score] = tango(self.gains[score], self.losses[score], self.n[score], level[score])
            method[score] = "paired, Tango"
        wald = asked & ~score
        if wald.any():
            low, high = self._adjusted_wald(level)
            rare = wald & (self.apart < _FEW_DIFFERENCES)
            if rare.any():
                scale = (self.count / self.n)[rare]  # a cluster is worth one item at least
                wide = tango(self.gains[rare] * scale, self.losses[rare] * scale, self.count[rare], level[rare])
                low[rare], high[rare] = np.minimum(low[rare], wide[0]), np.maximum(high[rare], wide[1])
            lo[wald], hi[wald] = low[wald].clip(-1.0), high[wald].clip(max=1.0)
            method[wald] = "paired, cluster adjusted Wald" if self.clustered else "paired, adjusted Wald"
        of_clusters = self.count.astype(np.int64) if self.clustered else None
        if of_clusters is not None:
            for index in np.flatnonzero((of_clusters < FEW_CLUSTERS) & asked):
                method[index] += f" (only {counted(of_clusters[index], 'cluster')})"
        with np.errstate(invalid="ignore"):
            mean = self.total / self.n
        return Estimates(mean, lo, hi, method, self.n.astype(np.int64), of_clusters, np.zeros(m, dtype=bool), repeats)

    def _adjusted_wald(self, confidence: Floats) -> tuple[Floats, Floats]:
        """Half an item is added to each cell of the 2 × 2 table of matched pairs; where skew asks for it, more.

        On the side of the longer tail the bound moves out by Hall's first correction (1983, Annals of Statistics 11).
        """
        padded = self.n + 2
        center = self.total / padded
        variance = (self.squares + 1) / padded - center**2
        error = np.sqrt(variance / padded)
        if self.clustered:
            between = self.count / np.maximum(self.count - 1, 1) * self.between
            error = np.sqrt(np.maximum(between + 1, variance * padded)) / padded
        z = t_of(self.count - 1, (1 + confidence) / 2)
        further = error * self.skew * (2 * z**2 + 1) / (6 * np.sqrt(np.maximum(self.count, 1)))
        return center - z * error + further.clip(max=0), center + z * error + further.clip(min=0)


def tango(gains: Floats, losses: Floats, n: Floats, confidence: Floats) -> tuple[Floats, Floats]:
    """Tango's score interval of (gains − losses) / n for n matched pairs; all arrays have one shape."""
    z = np.asarray(t_of(None, (1 + np.asarray(confidence, dtype=float)) / 2), dtype=float)
    less, more = _tango_above(np.stack([losses, gains]), np.stack([gains, losses]), n, z)
    return -less, more


def _tango_above(gains: Floats, losses: Floats, n: Floats, z: Floats) -> Floats:
    """The difference above the estimate at which the score statistic reaches −z.

    By false position in Illinois's variant, which halves the weight of a side that stays: within 20 steps it is 2e-6
    near, from outside.
    """
    estimate = (gains - losses) / n

    def beyond(difference: Floats) -> Floats:
        """Below 0 inside the interval."""
        b = -gains - losses + (2 * n - gains + losses) * difference
        rest = difference * (1 - difference)
        share = (np.sqrt(np.maximum(b * b + 8 * n * losses * rest, 0.0)) - b) / (4 * n)
        found: Floats = (difference - estimate) - z * np.sqrt(np.maximum((2 * share + rest) / n, 0.0))
        return found

    low, high = estimate.copy(), np.ones_like(estimate)
    at_low, at_high = beyond(low), beyond(high)
    for _ in range(_STEPS):
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = (low * at_high - high * at_low) / (at_high - at_low)
        # At the estimate itself nothing may vary (all gained, or all lost): from there halves are taken.
        steady = (at_low < -_FLAT) & (middle >= low) & (middle <= high)
        middle = np.where(steady, middle, (low + high) / 2)
        at_middle = beyond(middle)
        inside = at_middle <= 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        at_low, at_high = (
            np.where(inside, at_middle, at_low / 2),
            np.where(inside, at_high / 2, at_middle),
        )
    return high


@dataclass(frozen=True)
class Test:
    """Two-sided p-values of no difference, shape (m,).

    Attributes:
        method: McNemar mid-p or sign-flip permutation, by column.
        resampled: whether a column's p-value rests on random draws.
    """

    p: Floats
    method: NDArray[np.object_]
    resampled: NDArray[np.bool_]


def p_values(differences: Floats, clusters: Codes | None = None, resamples: int = RESAMPLES) -> Test:
    """Two-sided tests of no difference for columns of differences.

    Scores of 0 and 1 without clusters: McNemar's mid-p test (Fagerland, Lydersen and Laake 2013, BMC Medical Research
    Methodology 13). Otherwise the permutation that flips the signs of items, or of whole clusters: exact up to 12 of
    them, 2,000 random patterns beyond, and above 2,000 of them the normal distribution, to which it comes there.

    Args:
        differences: shape (n, m), NaN where one of both was not asked.
        clusters: shape (n,), a number a cluster, or None.
        resamples: random patterns of signs.
    """
    m, units = differences.shape[1], units_of(differences, clusters)
    whole = np.isnan(differences) | np.isin(differences, (-1.0, 0.0, 1.0))
    binary = np.zeros(m, dtype=bool) if units.clustered else np.asarray(whole.all(axis=0), dtype=bool)
    p, resampled = np.full(m, math.nan), np.zeros(m, dtype=bool)
    method = np.where(binary, "McNemar mid-p", "sign-flip permutation").astype(object)
    if binary.any():
        p[binary] = mcnemar_mid_p(
            (differences[:, binary] > 0).sum(axis=0).astype(float),
            (differences[:, binary] < 0).sum(axis=0).astype(float),
        )
    for start in range(0, m, _BLOCK):
        part = np.arange(start, min(start + _BLOCK, m))
        part = part[~binary[part]]
        if not len(part):
            continue
        if len(units.sums) > _MANY:
            p[part] = _normal_p(units.sums[:, part])
            method[part] = "sign-flip, normal limit"
        else:
            p[part], all_of_them = _flip_p(units.sums[:, part], resamples)
            resampled[part] = not all_of_them
    return Test(p, method, resampled)


def mcnemar_mid_p(gains: Floats, losses: Floats) -> Floats:
    """McNemar's mid-p: the exact binomial p-value less half of what equals the observed; 1 where nothing differs."""
    from scipy import special

    n, less = np.asarray(gains + losses, dtype=np.int64), np.minimum(gains, losses)
    at = special.bdtr(less, n, 0.5) - np.where(less > 0, special.bdtr(np.maximum(less - 1, 0), n, 0.5), 0.0)
    found: Floats = np.where(n > 0, np.minimum(2 * special.bdtr(less, n, 0.5) - at, 1.0), 1.0)
    return found


def _flip_p(sums: Floats, resamples: int) -> tuple[Floats, bool]:
    drawn, all_of_them = flipped_sums(sums, resamples)
    as_far = (np.abs(drawn) >= np.abs(sums.sum(axis=0)) - _SAME * len(sums)).sum(axis=0)
    # A random sample of the patterns counts the observed one too (Phipson and Smyth 2010).
    return as_far / len(drawn) if all_of_them else (as_far + 1) / (len(drawn) + 1), all_of_them


def _normal_p(sums: Floats) -> Floats:
    from scipy import special

    spread = np.sqrt((sums**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(spread > 0, np.abs(sums.sum(axis=0)) / spread, 0.0)
    found: Floats = 2 * special.ndtr(-z)
    return found
