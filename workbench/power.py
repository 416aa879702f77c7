"""What difference n items can detect, and how many items a decision takes.

detectable_difference(500, discordance=0.2)      # 0.0494
items_needed(0.05, discordance=0.2)              # 489, to detect a difference
items_to_decide(0.05, discordance=0.2)           # 495, to show that equals are within a margin
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.intervals import Codes, t_of, z_of
from workbench.resampling import Floats

ALPHA = 0.05  # one-sided: a route asks whether a candidate is worse by more than a margin
POWER = 0.8
ASSUMED_DISCORDANCE = 0.2
FEWEST = 5  # items: of four, all better has a chance of 1 in 16 without any difference, and no test at 5 % finds it
_HALVINGS = 40
_CLUSTERS = 10  # of two items or more, under which their correlation cannot be told


def _z(alpha: float, power: float) -> float:
    return z_of(1 - alpha) + z_of(power)


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
        step: how far the scores of an item are apart where they differ: 1 for right and wrong. Where it is less, scores
            lie between, and what is reckoned with is the interval that `pairs` takes for such.
    """
    if step < 1:
        return _graded_items(difference, discordance, alpha, power, step)
    spread = max(discordance, difference) - difference**2
    return max(FEWEST, math.ceil(_z(alpha, power) ** 2 * spread / difference**2))


def _graded_items(difference: float, discordance: float, alpha: float, power: float, step: float) -> int:
    """`items_needed` for scores between right and wrong: the first number that suffices."""
    low, high = FEWEST - 1, FEWEST
    while _short_of(difference, high, discordance, alpha, power, step) > 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if _short_of(difference, middle, discordance, alpha, power, step) > 0 else (low, middle)
        )
    return high


def _short_of(difference: float, n: float, discordance: float, alpha: float, power: float, step: float) -> float:
    """By how much n items miss a sum of differences that is detected; 0 or less where they do.

    The bound is that of the adjusted Wald interval in `pairs`, which adds an item that differs by 1, with Student's t.
    The differences vary by the discordance at least: unlike right and wrong, they may all move by the same.
    """
    squares = n * max(discordance, max(step, difference) * difference)
    error = float(t_of(np.array([n - 1.0]), 1 - alpha)[0]) * math.sqrt(squares + 1)
    return error + z_of(power) * math.sqrt(squares) - n * difference


def items_to_decide(
    margin: float, discordance: float = ASSUMED_DISCORDANCE, alpha: float = ALPHA, power: float = POWER
) -> float:
    """About how many independent items show that a candidate is not worse by more than a margin, were both equal.

    Args:
        margin: in mean score; inf items for a margin of 0.
        discordance: the mean squared difference of the two scores on an item.
        alpha: of the one-sided bound.
        power: the chance that the items then suffice.
    """
    return math.ceil(_z(alpha, power) ** 2 * discordance / margin**2) if margin > 0 else math.inf


def detectable_difference(
    n: float,
    discordance: float = ASSUMED_DISCORDANCE,
    alpha: float = ALPHA,
    power: float = POWER,
    step: float = 1.0,
) -> float:
    """The smallest difference in mean score that n independent items detect, 1 where none is; see `items_needed`.

    For scores of 0 and 1 it solves d = z √((discordance − d²) / n) for d, where the discordance is at least d.
    """
    if n < FEWEST:
        return 1.0
    if step < 1:
        return _graded_difference(n, discordance, alpha, power, step)
    share = _z(alpha, power) ** 2 / (n + _z(alpha, power) ** 2)
    found = math.sqrt(discordance * share)
    return min(1.0, found if found <= discordance else share)


def _graded_difference(n: float, discordance: float, alpha: float, power: float, step: float) -> float:
    """`detectable_difference` for scores between right and wrong, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _short_of(middle, n, discordance, alpha, power, step) > 0 else (low, middle)
    return high


@dataclass(frozen=True)
class Discordance:
    """How much two candidates differ on the items that both were asked.

    Attributes:
        n: of those items.
        effective_n: independent items that they are worth.
        squared: the mean squared difference, with an item's worth added as the paired intervals do: none seen is not
            none there.
        step: how far the scores of an item are apart where they differ.
    """

    n: int
    effective_n: float
    squared: float
    step: float

    def detectable(self, alpha: float = ALPHA) -> float:
        """The smallest difference that these items detect; NaN where there are none."""
        if not self.n:
            return math.nan
        # For scores between right and wrong the formula itself adds an item, to as many items as it is asked about.
        seen = self.squared if self.step == 1 else (self.squared * (self.n + 2) - 1) / self.n
        return detectable_difference(self.effective_n, seen, alpha, step=self.step)

    def to_decide(self, margin: float, alpha: float = ALPHA) -> float:
        """About how many items such as these decide at a margin; inf where nothing is known."""
        if self.n < 2:
            return math.inf
        return math.ceil(items_to_decide(margin, self.squared, alpha) * self.n / self.effective_n)


def discordance_of(difference: Floats, clusters: Codes | None = None) -> Discordance:
    """The discordance of two candidates.

    Args:
        difference: of their scores by item, shape (n,), NaN where one of both was not asked.
        clusters: shape (n,), a number a cluster, or None.
    """
    shared = ~np.isnan(difference)
    values, n = difference[shared], int(shared.sum())
    if not n:
        return Discordance(0, 0.0, math.nan, 1.0)
    squares, apart = float((values**2).sum()), float(np.abs(values).sum())
    effective = float(n)
    if clusters is not None:
        own = clusters[shared]
        correlation = within_cluster_correlation(values, own)
        effective = effective_items(
            np.bincount(pd.factorize(own)[0]).tolist(), 1.0 if correlation is None else correlation
        )
    return Discordance(n, effective, (squares + 1) / (n + 2), squares / apart if apart else 1.0)


def effective_items(sizes: Sequence[int], correlation: float) -> float:
    """Independent items that clusters of these sizes are worth (Kish's design effect, unequal sizes)."""
    n = sum(sizes)
    mean_size = sum(size**2 for size in sizes) / n
    return n / (1 + (mean_size - 1) * correlation)


def within_cluster_correlation(values: Floats, clusters: np.ndarray) -> float | None:
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
