"""Cost per accepted answer, latency quantiles, and their bounds.

costs_per_accepted(cost_usd, accepted)[0].value    # USD for each answer that was good enough, all attempts paid
quantile_interval(latency_s, 0.95).hi              # the p95 lies below it
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from workbench.intervals import CONFIDENCE, Codes, Estimate, units_of
from workbench.resampling import SEED, Floats, resampled_sums

_MANY = 2000  # items, or clusters
_ENOUGH = 100  # accepted answers


@dataclass(frozen=True)
class CostEstimate:
    """USD an accepted answer with its 95 % interval; NaN where a cost is unknown, inf where none was accepted.

    Attributes:
        seed: of the resampling, or None where there was none.
    """

    value: float
    lo: float
    hi: float
    method: str = ""
    n: int = 0
    clusters: int | None = None
    seed: int | None = None

    def as_list(self) -> list[float | None] | None:
        """[estimate, low, high] for a file, null where there is no bound; None where it is unknown."""
        if math.isnan(self.value):
            return None
        figures = (self.value, self.lo, self.hi)
        return [float(f"{figure:.4g}") if math.isfinite(figure) else None for figure in figures]


def cost_per_accepted(cost_usd: Floats | None, accepted: Floats | None, clusters: Codes | None = None) -> CostEstimate:
    """One candidate's cost of all attempts over its number of accepted answers; see `costs_per_accepted`."""
    if cost_usd is None or accepted is None or len(cost_usd) == 0:
        return CostEstimate(math.nan, math.nan, math.nan, "unknown")
    return costs_per_accepted(cost_usd[:, None], np.asarray(accepted, dtype=float)[:, None], clusters)[0]


def costs_per_accepted(cost_usd: Floats, accepted: Floats, clusters: Codes | None = None) -> list[CostEstimate]:
    """The cost of all attempts over the number of accepted answers of each candidate, with an interval of the ratio.

    A bootstrap over items, or whole clusters; above 2,000 of them the delta method, which takes less time and memory:
    with 100 accepted answers or more both agree.

    Args:
        cost_usd: items × candidates, an item's cost over all its attempts and repeats, 0 where it was not asked; one
            NaN makes a candidate's whole unknown.
        accepted: likewise, how many answers to the item were good enough; NaN where it is not known.
        clusters: shape (n,), a number a cluster, or None.
    """
    cost, good = units_of(cost_usd, clusters), units_of(accepted, clusters)
    unknown = np.asarray((np.isnan(cost_usd) | np.isnan(accepted)).any(axis=0), dtype=bool)
    units, n = len(cost.sums), len(cost_usd)
    total, count = cost.sums.sum(axis=0), good.sums.sum(axis=0)
    few = count < _ENOUGH if units > _MANY else np.ones(len(count), dtype=bool)
    resampled = ~unknown & (count > 0) & (total > 0) & few
    lo, hi = np.zeros(len(total)), np.zeros(len(total))
    if resampled.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = resampled_sums(cost.sums[:, resampled]) / resampled_sums(good.sums[:, resampled])
        ratios = np.where(np.isnan(ratios), np.inf, ratios)  # drawn without cost and without accepted answer
        reach = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        lo[resampled], hi[resampled] = np.quantile(ratios, reach, axis=0, method="nearest")
    found = []
    for index in range(len(total)):
        common: dict[str, Any] = {"n": n, "clusters": units if cost.clustered else None}
        if unknown[index] or not n:
            found.append(CostEstimate(math.nan, math.nan, math.nan, "unknown", **common))
        elif count[index] == 0:
            found.append(CostEstimate(math.inf, math.inf, math.inf, "none accepted", **common))
        elif total[index] == 0:
            found.append(CostEstimate(0.0, 0.0, 0.0, "no cost", **common))
        elif resampled[index]:
            method = "cluster ratio bootstrap" if cost.clustered else "ratio bootstrap"
            ratio = float(total[index] / count[index])
            found.append(CostEstimate(ratio, float(lo[index]), float(hi[index]), method, seed=SEED, **common))
        else:
            ratio = float(total[index] / count[index])
            gaps = cost.sums[:, index] - ratio * good.sums[:, index]
            reach_usd = _Z * float(gaps.std(ddof=1)) * math.sqrt(units) / float(count[index])
            method = "cluster delta method" if cost.clustered else "delta method"
            found.append(CostEstimate(ratio, max(ratio - reach_usd, 0.0), ratio + reach_usd, method, **common))
    return found


_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def quantile(values: Floats, q: float) -> float:
    """A quantile of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.quantile(known, q)) if len(known) else math.nan


def quantile_interval(values: Floats, q: float, items: int | None = None, confidence: float = CONFIDENCE) -> Estimate:
    """A quantile with the two-sided interval that order statistics give it, whatever the distribution.

    Args:
        values: NaN where unknown: it may be any, so it counts as infinite above, and as nothing below.
        q: such as 0.95.
        items: independent items that the values come from, where an item has several; its answers are no further items.
        confidence: of the two-sided interval. An end is infinite (below: 0) where there are too few values.
    """
    n = len(values) if items is None else min(items, len(values))
    if np.isnan(values).all():
        return Estimate(math.nan, math.nan, math.nan, "unknown", n)
    lo, hi = _bounds(values, q, n, confidence)
    return Estimate(quantile(values, q), lo, hi, "order statistics", n)


def quantile_upper_bound(values: Floats, q: float = 0.95, confidence: float = 0.95, items: int | None = None) -> float:
    """An upper confidence bound of a quantile by order statistics; inf with too few values (59 for a p95 at 95 %).

    A value that is unknown may be any: it counts as infinite. For `items` see `quantile_interval`.
    """
    n = len(values) if items is None else min(items, len(values))
    return _bounds(values, q, n, 2 * confidence - 1)[1] if n else math.inf


def _bounds(values: Floats, q: float, n: int, confidence: float) -> tuple[float, float]:
    lower, upper = _ranks(n, q, (1 + confidence) / 2)
    above = np.sort(np.where(np.isnan(values), np.inf, values))
    below = np.sort(np.where(np.isnan(values), -np.inf, values))
    hi = above[math.ceil(upper * len(above) / n) - 1] if upper <= n else math.inf
    lo = below[math.ceil(lower * len(below) / n) - 1] if lower >= 1 else 0.0
    return max(float(lo), 0.0), float(hi)


@lru_cache(maxsize=256)
def _ranks(n: int, q: float, level: float) -> tuple[int, int]:
    """The ranks, from 1, of the order statistics that bound a quantile, each at a one-sided level."""
    from scipy import special

    below = special.bdtr(np.arange(n + 1), n, q)  # the chance that at most so many values lie below the quantile
    upper = int(np.searchsorted(below, level)) + 1
    lower = int(np.searchsorted(below, 1 - level, side="right"))
    return lower, upper
