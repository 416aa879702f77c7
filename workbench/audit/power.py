"""The power of an eval set: what difference it can detect, and how many items a wanted one takes.

power_of(clusters, scores).detectable            # 0.0494
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from workbench.audit.report import Finding, Power, count_of
from workbench.power import (
    ASSUMED_DISCORDANCE,
    detectable_difference,
    effective_items,
    items_needed,
    within_cluster_correlation,
)
from workbench.scores import MIN_COVERAGE, Scores

_WANTED = (0.1, 0.05, 0.02)
_MEASURED_FROM = 20  # items that both candidates were asked
_FEW = 10  # items under which hardly any difference is seen


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
        # Scores of 0 and 1 that never differ may do so on the next item; for others `detectable_difference` adds one.
        step = squared / apart if apart else 1.0
        discordance = max(squared, 1 / len(values)) if step == 1 else squared
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


def far_too_few(power: Power) -> Iterator[Finding]:
    """Sets that tell a good candidate from a bad one by chance only.

    Clusters that are worth few items are told among the facts: how much they are worth is assumed, not measured.
    """
    if 0 < power.n < _FEW:
        takes = [f"a difference of {wanted:g} takes {count:,}" for wanted, count in power.needed.items()]
        what = f"{count_of(range(power.n))}: far too few to tell candidates apart"
        yield Finding("power", "warning", what, f"Add items: {', '.join(takes[:2])}")


def _of_the_two_best(scores: Scores) -> np.ndarray | None:
    """The differences of the two best candidates by item; None where there are no two, or hardly any shared items."""
    eligible = np.flatnonzero(scores.coverage >= MIN_COVERAGE)
    if len(eligible) < 2:
        return None
    means = np.nanmean(scores.score[:, eligible], axis=0)
    best, second = eligible[np.argsort(-means, kind="stable")[:2]]
    difference: np.ndarray = scores.score[:, best] - scores.score[:, second]
    return difference if (~np.isnan(difference)).sum() >= _MEASURED_FROM else None
