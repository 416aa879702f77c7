"""What difference a set of n items can detect, and how many items a wanted one takes.

detectable_difference(500, discordance=0.2)      # 0.0494
items_needed(0.05, discordance=0.2)              # 489
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from workbench.audit.report import Power
from workbench.evidence import MIN_COVERAGE, Scores

ALPHA = 0.05  # one-sided: a route asks whether a candidate is worse by more than a margin
POWER = 0.8
ASSUMED_DISCORDANCE = 0.2
_WANTED = (0.1, 0.05, 0.02)
_CLUSTERS = 10  # of two items or more, under which their correlation cannot be told
_MEASURED_FROM = 20  # items that both candidates were asked


def _z(alpha: float, power: float) -> float:
    return float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))


def items_needed(
    difference: float,
    discordance: float = ASSUMED_DISCORDANCE,
    alpha: float = ALPHA,
    power: float = POWER,
    step: float = 1.0,
) -> int:
    """Independent items that detect a difference in mean score between two candidates on the same items.

    Args:
        difference: in mean score, from 0 to 1.
        discordance: the mean squared difference of the two scores on an item. A difference cannot do without: where
            the wanted one takes more, that is what is reckoned with.
        alpha: of the one-sided test.
        power: the chance to detect it.
        step: how far the scores of an item are apart where they differ: 1 for right and wrong.
    """
    spread = max(discordance, max(step, difference) * difference) - difference**2
    return max(2, math.ceil(_z(alpha, power) ** 2 * spread / difference**2))


def detectable_difference(
    n: float,
    discordance: float = ASSUMED_DISCORDANCE,
    alpha: float = ALPHA,
    power: float = POWER,
    step: float = 1.0,
) -> float:
    """The smallest difference in mean score that n independent items detect; see `items_needed`.

    Solves d = z √((discordance − d²) / n) for d, where the discordance is at least the step times d.
    """
    share = _z(alpha, power) ** 2 / (max(n, 0.0) + _z(alpha, power) ** 2)
    found = math.sqrt(discordance * share)
    return min(1.0, found if step * found <= discordance else step * share)


def effective_items(sizes: Sequence[int], correlation: float) -> float:
    """Independent items that clusters of these sizes are worth (Kish's design effect, unequal sizes)."""
    n = sum(sizes)
    mean_size = sum(size**2 for size in sizes) / n
    return n / (1 + (mean_size - 1) * correlation)


def within_cluster_correlation(values: np.ndarray, clusters: np.ndarray) -> float | None:
    """The intraclass correlation of values in clusters (one-way analysis of variance), cut off at 0 and 1.

    None where too few clusters have two values or more, or no values differ: then it cannot be told.
    """
    codes = pd.factorize(clusters)[0]
    sizes = np.bincount(codes)
    k, n = len(sizes), len(values)
    if (sizes > 1).sum() < _CLUSTERS or float(np.ptp(values)) == 0:
        return None
    means = np.bincount(codes, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (k - 1)
    within = float(((values - means[codes]) ** 2).sum()) / (n - k)
    typical = (n - float((sizes**2).sum()) / n) / (k - 1)
    return min(1.0, max(0.0, (between - within) / (between + (typical - 1) * within)))


def power_of(clusters: Mapping[str, str | None], scores: Scores | None = None) -> Power:
    """The power of a set, from the clusters of its items and, where there are outcomes, from those.

    Args:
        clusters: by item; None for an item that stands alone.
        scores: item scores of at least two candidates; discordance and correlation are then measured on the two best.
    """
    n = len(clusters)
    sizes = list(Counter(cluster for cluster in clusters.values() if cluster is not None).values())
    sizes += [1] * (n - sum(sizes))
    discordance, step, correlation = ASSUMED_DISCORDANCE, 1.0, None
    difference = None if scores is None else _of_the_two_best(scores)
    if scores is not None and difference is not None:
        shared = ~np.isnan(difference)
        values = difference[shared]
        squared, apart = float((values**2).mean()), float(np.abs(values).mean())
        discordance, step = max(squared, 1 / len(values)), squared / apart if apart else 1.0
        asked = [item for item, both in zip(scores.items, shared, strict=True) if both]
        # An item without a cluster is one of its own.
        correlation = within_cluster_correlation(
            values, np.array([clusters.get(item) or f"\0{item}" for item in asked], dtype=object)
        )
    effective = effective_items(sizes, 1.0 if correlation is None else correlation)
    return Power(
        n=n,
        clusters=len(sizes),
        effective_n=effective,
        correlation=correlation,
        discordance=discordance,
        step=step,
        measured=difference is not None,
        detectable=detectable_difference(effective, discordance, step=step),
        needed={wanted: math.ceil(items_needed(wanted, discordance, step=step) * n / effective) for wanted in _WANTED},
    )


def _of_the_two_best(scores: Scores) -> np.ndarray | None:
    """The differences of the two best candidates by item; None where there are no two, or hardly any shared items."""
    eligible = np.flatnonzero(scores.coverage >= MIN_COVERAGE)
    if len(eligible) < 2:
        return None
    means = np.nanmean(scores.score[:, eligible], axis=0)
    best, second = eligible[np.argsort(-means, kind="stable")[:2]]
    difference: np.ndarray = scores.score[:, best] - scores.score[:, second]
    return difference if (~np.isnan(difference)).sum() >= _MEASURED_FROM else None
