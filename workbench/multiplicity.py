"""Several candidates at once: all pairs, ranks as sets, and how much worse than the best of all each may be.

    compared = Comparison(matrix)              # items × candidates
    compared.pairs.estimates                   # every difference, with intervals that hold jointly
    compared.rank_sets                         # the ranks that each may have: (1, 3), (1, 3), (2, 3), (4, 4)
    compared.best.hi                           # (best of all − own) is below it, for all candidates at once

The best is chosen on the data that judges it and so looks better than it is; bounds that hold for whichever is best do
not mind. The joint level comes from a max-T bootstrap that keeps what the candidates' answers have in common, so it
asks for less than Bonferroni's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from workbench.intervals import CONFIDENCE, Codes, Estimate, Estimates, units_of
from workbench.pairs import Differences
from workbench.resampling import SEED, Floats

DRAWS = 5000
BEST_METHOD = "multiple comparisons with the best, max-T bootstrap"
_BLOCK = 2_000_000  # numbers that are held at once
_PADDING = 0.5  # added to each candidate's sum of squares, as the paired intervals add one to a difference's


@dataclass(frozen=True)
class Pairs:
    """The differences of all pairs of k candidates: `first` − `second`, columns of the matrix that was given.

    Attributes:
        estimates: with two-sided intervals that hold jointly.
        confidence: of each interval alone, so that all hold at 95 %.
    """

    first: Codes
    second: Codes
    estimates: Estimates
    confidence: float


@dataclass(frozen=True)
class BestBounds:
    """How much better the best of all may be than each of k candidates; all arrays have shape (k,).

    Attributes:
        rival: the other candidate that may be better by most.
        value: its mean minus the candidate's own.
        lo: the lower bound of that difference, at the same level.
        hi: the simultaneous one-sided upper bound of (best of all − candidate), at 95 %; 0 where none can be better.
        alpha: the one-sided level of the bound against that rival alone.
        n: items that both were asked.
    """

    rival: Codes
    value: Floats
    lo: Floats
    hi: Floats
    alpha: Floats
    n: NDArray[np.int64]
    clusters: NDArray[np.int64] | None = None

    def estimate(self, index: int, repeats: int = 1) -> Estimate:
        """A candidate's (best of the others − own)."""
        clusters = None if self.clusters is None else int(self.clusters[index])
        value, lo, hi = (float(each[index]) for each in (self.value, self.lo, self.hi))
        return Estimate(value, lo, hi, BEST_METHOD, int(self.n[index]), clusters, repeats, SEED)


class Comparison:
    """All candidates of a task against one another.

    Args:
        scores: items × candidates, shape (n, k), k ≥ 1, NaN where not asked.
        clusters: shape (n,), a number a cluster, or None.
        draws: of the bootstrap for the joint levels.
        repeats: answers to an item that were averaged, to be told.
    """

    def __init__(self, scores: Floats, clusters: Codes | None = None, draws: int = DRAWS, repeats: int = 1) -> None:
        self.k, self._repeats = scores.shape[1], repeats
        self._scores, self._clusters, self._count = scores, clusters, draws
        self.first, self.second = np.triu_indices(self.k, 1)

    @cached_property
    def differences(self) -> Differences:
        """Of every pair."""
        step = max(1, _BLOCK // max(len(self._scores), 1))
        starts = range(0, len(self.first), step) or range(1)
        parts = [
            Differences.of(
                self._scores[:, self.first[start : start + step]] - self._scores[:, self.second[start : start + step]],
                self._clusters,
            )
            for start in starts
        ]
        joined = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Differences)}
        clustered = joined.pop("clustered")[0]
        return Differences(**{name: np.concatenate(each) for name, each in joined.items()}, clustered=clustered)

    @cached_property
    def pairs(self) -> Pairs:
        """Every pair, with paired intervals that hold jointly at 95 %."""
        confidence = self._levels[1]
        return Pairs(self.first, self.second, self.differences.estimates(confidence, self._repeats), confidence)

    @property
    def rank_sets(self) -> list[tuple[int, int]]:
        """The ranks that each candidate may have, all at once: below all surely better, above all surely worse.

        Source: Al Mohamad, Goeman and van Zwet (2022, Biometrics 78).
        """
        better, worse = np.zeros(self.k, dtype=int), np.zeros(self.k, dtype=int)
        for surely, winner, loser in (
            (self.pairs.estimates.lo > 0, self.first, self.second),
            (self.pairs.estimates.hi < 0, self.second, self.first),
        ):
            np.add.at(worse, winner[surely], 1)
            np.add.at(better, loser[surely], 1)
        return [(1 + int(above), self.k - int(below)) for above, below in zip(better, worse, strict=True)]

    @cached_property
    def best(self) -> BestBounds:
        """Simultaneous one-sided bounds of (best of all − candidate): multiple comparisons with the best.

        For each candidate as the control, the bootstrap gives the one-sided level at which its differences to all
        others hold jointly; a candidate's bound is the highest over all controls. Whichever is truly best is among
        the controls, so all bounds hold at once. Source: Hsu (1984, Annals of Statistics 12), with variances and
        correlations as the data have them.
        """
        if self.k == 1:
            zero, n = np.zeros(1), np.count_nonzero(~np.isnan(self._scores), axis=0)
            return BestBounds(np.zeros(1, dtype=np.int64), zero, zero, zero, np.array([1 - CONFIDENCE]), n)
        control = self._levels[0]
        first, second = self.first, self.second
        ahead = self.differences.estimates(control[first])  # the first as the control of the second
        behind = self.differences.estimates(control[second])
        high, low, value = (np.full((self.k, self.k), -np.inf) for _ in range(3))  # control × candidate
        high[first, second], high[second, first] = ahead.hi, -behind.lo
        low[first, second], low[second, first] = ahead.lo, -behind.hi
        value[first, second], value[second, first] = ahead.value, -behind.value
        pair = np.zeros((self.k, self.k), dtype=int)
        pair[first, second] = pair[second, first] = np.arange(len(first))
        rival, own = high.argmax(axis=0), np.arange(self.k)
        return BestBounds(
            rival=rival,
            value=value[rival, own],
            lo=low[rival, own],
            hi=np.maximum(high[rival, own], 0.0),
            alpha=(1 - control[rival]) / 2,
            n=ahead.n[pair[rival, own]],
            clusters=None if ahead.clusters is None else ahead.clusters[pair[rival, own]],
        )

    @cached_property
    def _levels(self) -> tuple[Floats, float]:
        return joint_levels(self._scores, self._clusters, self._count)


def joint_levels(scores: Floats, clusters: Codes | None = None, draws: int = DRAWS) -> tuple[Floats, float]:
    """The two-sided confidences that single intervals need, so that several hold jointly at 95 %.

    A Gaussian multiplier bootstrap over items, or clusters, of the largest of all standardized differences: its draws
    of the means are normal with the covariance that the data show, so they are drawn as such (Chernozhukov,
    Chetverikov and Kato 2013, Annals of Statistics 41). An item that a candidate was not asked adds nothing to its
    draws.

    Args:
        scores: items × candidates, shape (n, k), NaN where not asked.
        clusters: shape (n,), a number a cluster, or None.
        draws: of the bootstrap.

    Returns:
        For each candidate as the control, that of the one-sided bounds of its differences to all others, shape (k,);
        and that of the two-sided intervals of all pairs.
    """
    k = scores.shape[1]
    if k <= 2:
        return np.full(k, 2 * CONFIDENCE - 1), CONFIDENCE
    gaps = units_of(scores, clusters).gaps
    covariance = gaps.T @ gaps + _PADDING * np.eye(k)
    own = np.diag(covariance)
    spread = np.sqrt(own[:, None] + own[None, :] - 2 * covariance)
    np.fill_diagonal(spread, 1.0)
    drawn = np.linalg.cholesky(covariance) @ _normal(k, draws)
    control, furthest = np.empty(k), np.zeros(draws)
    for index in range(k):
        ahead = (drawn[index] - drawn) / spread[index][:, None]
        ahead[index] = -np.inf
        highest = ahead.max(axis=0)
        control[index] = _confidence(highest)
        np.maximum(furthest, highest, out=furthest)  # each pair comes in both directions
    return control, _confidence(furthest)


@lru_cache(maxsize=8)
def _normal(k: int, draws: int) -> Floats:
    found = np.random.default_rng(SEED).standard_normal((k, draws))
    found.flags.writeable = False
    return found


def _confidence(furthest: Floats) -> float:
    """The two-sided confidence of an interval whose bounds lie as far out as the draws' furthest does in 95 %."""
    rank = math.ceil(CONFIDENCE * len(furthest)) - 1
    return math.erf(float(np.partition(furthest, rank)[rank]) / math.sqrt(2))
