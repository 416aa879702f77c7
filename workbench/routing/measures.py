"""The literature's measures of routing: APGR, CPT, AIQ, the non-decreasing convex hull, the gap to the oracle.

    curve = routing_curve(preference, weak, strong)      # score against the share of calls sent to the strong model
    curve.apgr, curve.cpt(0.5)                           # 0.5 and 0.5 for a random mix
    aiq(cost_usd, score)                                 # mean score under the hull, over the range of cost

APGR and CPT are RouteLLM's (arXiv 2406.18665), AIQ and the hull RouterBench's (arXiv 2403.12031).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.intervals import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Score against the share of calls that go to the strong model.

    Attributes:
        share: from 0 to 1, increasing.
        score: the mean score at each share; straight in between, as a draw between two thresholds is.
    """

    share: Floats
    score: Floats

    @property
    def weak(self) -> float:
        return float(self.score[0])

    @property
    def strong(self) -> float:
        return float(self.score[-1])

    @property
    def apgr(self) -> float:
        """Average performance gap recovered: (area − weak) / (strong − weak); NaN where there is no gap.

        0.5 for a random mix, up to 1 and above where the weak model is right on items that the strong one fails.
        """
        gap = self.strong - self.weak
        if not gap:
            return math.nan
        return (float(np.trapezoid(self.score, self.share)) - self.weak) / gap

    def cpt(self, recovered: float) -> float:
        """Call-performance threshold: the smallest share of strong calls that recovers this much of the gap.

        Args:
            recovered: the share of the gap, such as 0.5 for CPT(50 %).

        Returns:
            A share of calls; NaN where the strong model is not better.
        """
        if not self.strong > self.weak:
            return math.nan
        wanted = self.weak + recovered * (self.strong - self.weak)
        at = int(np.argmax(self.score >= wanted - 1e-12))
        if at == 0:
            return float(self.share[0])
        rise = self.score[at] - self.score[at - 1]
        part = (wanted - self.score[at - 1]) / rise if rise > 0 else 1.0
        return float(self.share[at - 1] + part * (self.share[at] - self.share[at - 1]))


def routing_curve(preference: Floats, weak: Floats, strong: Floats, weights: Floats | None = None) -> Curve:
    """The curve of a router that sends the items it prefers most to the strong model first.

    Args:
        preference: for the strong model, shape (n,). Equal ones are sent in random order, by expectation.
        weak: scores of the weak model, shape (n,).
        strong: scores of the strong one, shape (n,).
        weights: how often each item counts, shape (n,), such as a bootstrap's draws; once each where left out.
    """
    order = np.argsort(-preference, kind="stable")
    counted = np.ones(len(order)) if weights is None else weights[order].astype(float)
    total = counted.sum()
    share = np.concatenate([[0.0], np.cumsum(counted) / total])
    gain = np.cumsum(counted * (strong - weak)[order]) / total
    base = float((counted * weak[order]).sum() / total)
    ranked = preference[order]
    ends = np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])  # where a run of equal preferences ends
    return Curve(share[ends], base + np.concatenate([[0.0], gain])[ends])


def oracle_curve(weak: Floats, strong: Floats) -> Curve:
    """The curve of who knows beforehand where the strong model is better, and where it is worse."""
    return routing_curve(strong - weak, weak, strong)


def hull(cost: Floats, score: Floats) -> NDArray[np.intp]:
    """The points of the non-decreasing convex hull, cheapest first (RouterBench, arXiv 2403.12031).

    What lies under it costs more, or scores less, than a random mix of two points on it.

    Args:
        cost: shape (n,); a point whose cost is NaN or infinite is not on it.
        score: shape (n,).

    Returns:
        Indices into both.
    """
    known = np.flatnonzero(np.isfinite(cost) & np.isfinite(score))
    ranked = known[np.lexsort((-score[known], cost[known]))]
    kept: list[int] = []
    for point in ranked.tolist():
        if kept and score[point] <= score[kept[-1]]:
            continue  # dearer, and no better
        while len(kept) > 1 and _below(cost, score, kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return np.array(kept, dtype=np.intp)


def _below(cost: Floats, score: Floats, left: int, middle: int, right: int) -> bool:
    """Whether the middle point is not above the line between the other two."""
    across = (cost[middle] - cost[left]) * (score[right] - score[left])
    return bool((score[middle] - score[left]) * (cost[right] - cost[left]) <= across)


def on_hull(at: float, cost: Floats, score: Floats) -> float:
    """The score that a random mix of the hull's points has at a cost; NaN under the cheapest, flat above the best."""
    points = hull(cost, score)
    if not len(points) or at < cost[points[0]]:
        return math.nan
    return float(np.interp(at, cost[points], score[points]))


def aiq(cost: Floats, score: Floats, low: float | None = None, high: float | None = None) -> float:
    """Average improvement in quality: the mean score under the hull, over a range of cost (arXiv 2403.12031).

    Args:
        cost: shape (n,).
        score: shape (n,).
        low: where the range begins; at the cheapest point where left out.
        high: where it ends; at the dearest point where left out.

    Returns:
        A score; NaN where the range is empty, or begins under the cheapest point.
    """
    points = hull(cost, score)
    finite = cost[np.isfinite(cost)]
    if not len(points) or not len(finite):
        return math.nan
    low = float(finite.min()) if low is None else low
    high = float(finite.max()) if high is None else high
    if not high > low or low < cost[points[0]]:
        return math.nan
    inside = cost[points][(cost[points] > low) & (cost[points] < high)]
    at = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(np.interp(at, cost[points], score[points]), at) / (high - low))


def oracle_score(scores: Floats) -> float:
    """The mean score of who knows beforehand which model answers each item best.

    Args:
        scores: items × models, NaN where not asked.
    """
    asked = ~np.isnan(scores).all(axis=1)
    return float(np.nanmax(scores[asked], axis=1).mean()) if asked.any() else math.nan


def recovered(
    preferences: Sequence[Floats],
    weak: Floats,
    strong: Floats,
    groups: NDArray[np.intp],
    resamples: int = 400,
    seed: int = 0,
) -> dict[str, Estimate]:
    """APGR, CPT(50 %) and CPT(80 %), the mean over several routers, each with an interval at 95 %.

    The interval is a percentile bootstrap that draws whole groups of items; all routers are held against the same draw,
    so it does not shrink with their number.

    Args:
        preferences: of each router, such as those of several seeds of cross-validation; shape (items,) each.
        weak: scores, shape (items,).
        strong: scores, shape (items,).
        groups: a number an item.
        resamples: draws.
        seed: of the draws.

    Returns:
        By `apgr`, `cpt_50` and `cpt_80`.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    count = int(codes.max()) + 1
    generator = np.random.default_rng(seed)
    ranked = [np.unique(preference, return_inverse=True)[1].astype(float) for preference in preferences]
    drawn = [np.ones(count), *(generator.multinomial(count, np.full(count, 1 / count)) for _ in range(resamples))]
    rows = []
    for weights in drawn:
        counted: Floats = np.asarray(weights[codes], dtype=np.float64)
        curves = [routing_curve(preference, weak, strong, counted) for preference in ranked]
        rows.append(np.mean([(curve.apgr, curve.cpt(0.5), curve.cpt(0.8)) for curve in curves], axis=0))
    found = np.array(rows)
    lo, hi = np.nanquantile(found[1:], [0.025, 0.975], axis=0)
    method = "group bootstrap"
    return {
        name: Estimate(float(found[0, at]), float(lo[at]), float(hi[at]), method, len(weak), count)
        for at, name in enumerate(("apgr", "cpt_50", "cpt_80"))
    }
