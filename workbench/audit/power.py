"""What difference a set of n items can detect, and how many items a wanted one takes.

detectable_difference(500, discordance=0.2)      # 0.0497
items_needed(0.05, discordance=0.2)              # 494
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from workbench.audit.report import Power
from workbench.evidence import Scores

ALPHA = 0.05  # one-sided: a route asks whether a candidate is worse by more than a margin
POWER = 0.8
ASSUMED_DISCORDANCE = 0.2
_WANTED = (0.1, 0.05, 0.02)


def _z(alpha: float, power: float) -> float:
    return float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))


def items_needed(
    difference: float, discordance: float = ASSUMED_DISCORDANCE, alpha: float = ALPHA, power: float = POWER
) -> int:
    """Independent items that detect a difference in mean score between two candidates on the same items.

    Args:
        difference: in mean score, from 0 to 1.
        discordance: the mean squared difference of the two scores on an item.
        alpha: of the one-sided test.
        power: the chance to detect it.
    """
    spread = max(discordance - difference**2, difference * (1 - difference))  # a difference needs some discordance
    return math.ceil(_z(alpha, power) ** 2 * spread / difference**2)


def detectable_difference(
    n: float, discordance: float = ASSUMED_DISCORDANCE, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest difference in mean score that n independent items detect; 1 where not even that is.

    Solves d = z √((discordance − d²) / n) for d; see `items_needed`.
    """
    z = _z(alpha, power)
    return min(1.0, math.sqrt(z**2 * discordance / (n + z**2)) if n > 0 else 1.0)


def effective_items(sizes: Sequence[int], correlation: float) -> float:
    """Independent items that clusters of these sizes are worth (Kish's design effect, unequal sizes)."""
    n = sum(sizes)
    mean_size = sum(size**2 for size in sizes) / n
    return n / (1 + (mean_size - 1) * correlation)


def within_cluster_correlation(values: np.ndarray, clusters: np.ndarray) -> float:
    """The intraclass correlation of values in clusters (one-way analysis of variance), cut off at 0 and 1."""
    codes = pd.factorize(clusters)[0]
    sizes = np.bincount(codes)
    k, n = len(sizes), len(values)
    if k < 2 or n == k:
        return 0.0
    means = np.bincount(codes, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (k - 1)
    within = float(((values - means[codes]) ** 2).sum()) / (n - k)
    typical = (n - float((sizes**2).sum()) / n) / (k - 1)
    spread = between + (typical - 1) * within
    return min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 0.0


def power_of(clusters: Sequence[str | None], scores: Scores | None = None) -> Power:
    """The power of a set, from the clusters of its items and, where there are outcomes, from those.

    Args:
        clusters: each item's, None for an item that stands alone.
        scores: item scores of at least two candidates; discordance and correlation are then measured on the two best.
    """
    n = len(clusters)
    sizes = list(Counter(cluster for cluster in clusters if cluster is not None).values())
    sizes += [1] * sum(cluster is None for cluster in clusters)
    discordance, correlation, measured = ASSUMED_DISCORDANCE, 1.0, False
    if scores is not None and len(scores.candidates) > 1:
        difference = _of_the_two_best(scores)
        shared = ~np.isnan(difference)
        if shared.sum() >= 20:
            measured = True
            discordance = max(float((difference[shared] ** 2).mean()), 1 / float(shared.sum()))
            if scores.clusters is not None:
                correlation = within_cluster_correlation(difference[shared], scores.clusters[shared])
    effective = effective_items(sizes, correlation)
    return Power(
        n=n,
        clusters=len(sizes),
        effective_n=effective,
        correlation=correlation,
        discordance=discordance,
        measured=measured,
        detectable=detectable_difference(effective, discordance),
        needed={wanted: math.ceil(items_needed(wanted, discordance) * n / effective) for wanted in _WANTED},
    )


def _of_the_two_best(scores: Scores) -> np.ndarray:
    means = np.nanmean(scores.score, axis=0)
    best, second = np.argsort(-means)[:2]
    difference: np.ndarray = scores.score[:, best] - scores.score[:, second]
    return difference
