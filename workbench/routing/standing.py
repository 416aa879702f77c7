"""A candidate's standing in one task × class: its score, cost and latency, and whether it is inside the limits.

    for candidate in standings(Measured(rows), models, "restricted", limits):
        candidate.rejected, candidate.uncertain

What is missing is never read in the permissive sense, and the reason says what was missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import pandas as pd

from workbench.catalog import Models
from workbench.economics import CostEstimate, costs_per_accepted, quantile, quantile_upper_bound
from workbench.evalset import Limits
from workbench.intervals import CONFIDENCE, Estimate, lower_bound, mean_intervals
from workbench.multiplicity import BestBounds, Comparison
from workbench.outcomes import split_candidate
from workbench.privacy import SensitivityClass, permitted
from workbench.resampling import Floats
from workbench.scores import MIN_COVERAGE, Grid
from workbench.words import counted

P95_ITEMS = 59  # fewer cannot bound a p95 at 95 % confidence
FEWEST_ITEMS = 20  # under which nothing is decided: who else is inside the limits is chance by then


@dataclass(frozen=True)
class Candidate:
    """How a candidate stands.

    Attributes:
        rejected: why it is outside the limits, by its estimates; None where it is inside.
        uncertain: why it is not surely inside; None where it is.
        items_for_limits: about how many items would make it so.
    """

    name: str
    score: Estimate
    cost: CostEstimate
    p95_s: float
    rejected: str | None
    uncertain: str | None
    items_for_limits: float


@dataclass(frozen=True)
class Figures:
    """What is measured of a candidate, whatever the limits: see `Candidate`.

    Attributes:
        lower: one-sided bound of the score, at 95 %.
        p95_bound_s: upper bound of the p95.
        latency_unknown: that of some answer is.
        unusable: why it cannot be compared at all; None where it can.
    """

    name: str
    score: Estimate
    lower: float
    cost: CostEstimate
    p95_s: float
    p95_bound_s: float
    latency_unknown: bool
    unusable: str | None


class Measured:
    """One task × class, measured once: its candidates' figures, and how they compare.

    Args:
        rows: its outcomes, as `prepare` makes them.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows, self.grid = rows, Grid(rows)
        self._bounds: dict[tuple[str, ...], BestBounds] = {}

    @cached_property
    def figures(self) -> list[Figures]:
        """A candidate each, in the order of the grid."""
        grid, scores, good = self.grid, self.grid.scores, self.grid.count("accepted")
        found = mean_intervals(scores.score, scores.clusters, repeats=scores.repeats)
        costs = costs_per_accepted(grid.total("cost_usd"), good, grid.clusters)
        listed = zip(grid.candidates, grid.listed("score"), grid.listed("latency_s"), strict=True)
        return [
            self._figures(
                name,
                found[index],
                costs[index],
                scores.score[:, index],
                latency,
                _not_asked(float(scores.coverage[index]), answers, good[:, index], int(grid.unscored[index])),
            )
            for index, (name, answers, latency) in enumerate(listed)
        ]

    def _figures(
        self,
        name: str,
        score: Estimate,
        cost: CostEstimate,
        column: Floats,
        latency: Floats,
        unusable: str | None,
    ) -> Figures:
        asked = ~np.isnan(column)
        clusters = self.grid.scores.clusters
        return Figures(
            name=name,
            score=score,
            lower=lower_bound(column[asked], None if clusters is None else clusters[asked]),
            cost=cost,
            p95_s=quantile(latency, 0.95),
            p95_bound_s=quantile_upper_bound(latency, 0.95, items=score.n),
            latency_unknown=bool(np.isnan(latency).any()),
            unusable=unusable,
        )

    def best_bounds(self, names: Sequence[str]) -> BestBounds:
        """How much better the best of some candidates may be than each of them."""
        key, scores = tuple(names), self.grid.scores
        if key not in self._bounds:
            columns = [scores.candidates.index(name) for name in names]
            self._bounds[key] = Comparison(scores.score[:, columns], scores.clusters, repeats=scores.repeats).best
        return self._bounds[key]


def standings(measured: Measured, models: Models, cls: SensitivityClass, limit: Limits) -> list[Candidate]:
    """Judge every candidate of one task × class by limits."""
    judged = []
    for own in measured.figures:
        uncertain, needed = _certainty(own.score, own.lower, own.p95_bound_s, limit)
        rejected = (
            _not_permitted(own.name, models, cls)
            or own.unusable
            or _outside(own.score.value, own.p95_s, own.latency_unknown, limit)
        )
        judged.append(Candidate(own.name, own.score, own.cost, own.p95_s, rejected, uncertain, needed))
    return judged


def _not_permitted(name: str, models: Models, cls: SensitivityClass) -> str | None:
    model = split_candidate(name)[0]
    if cls == "open" or permitted("restricted", models.zone_of(model)):
        return None
    if model not in models:
        return "not in models.yaml, so it counts as hosted, and restricted items never reach a hosted model"
    return "hosted: restricted items never reach it"


def _not_asked(coverage: float, answers: Floats, accepted: Floats, unscored: int) -> str | None:
    if coverage < MIN_COVERAGE and unscored:
        return f"has a score on only {coverage:.0%} of the items; {MIN_COVERAGE:.0%} are needed to compare"
    if coverage < MIN_COVERAGE:
        return f"asked only {coverage:.0%} of the items; {MIN_COVERAGE:.0%} are needed to compare"
    if np.isnan(answers).all():
        return "gave no answer at all"
    if accepted.sum() == 0:  # NaN where it is not told
        return "none of its answers was accepted"
    return None


def _outside(score: float, p95_s: float, latency_unknown: bool, limit: Limits) -> str | None:
    if score < limit.min_score:
        return f"score {score:.2f} is under the minimum of {limit.min_score:g}"
    if limit.p95_latency_s is None:
        return None
    if latency_unknown:
        return f"its latency is unknown, at least in part, and the limit is {limit.p95_latency_s:g} s"
    if p95_s > limit.p95_latency_s:
        return f"p95 latency {p95_s:.2g} s is over the limit of {limit.p95_latency_s:g} s"
    return None


def _certainty(score: Estimate, lower: float, p95_bound_s: float, limit: Limits) -> tuple[str | None, float]:
    """Whether the limits are met surely, and about how many items would make it so."""
    why, needed = [], 0.0
    if score.n < FEWEST_ITEMS:
        why.append(f"{counted(score.n, 'item is', 'items are')} too few to decide on, whatever the score")
        needed = FEWEST_ITEMS
    if limit.min_score > 0 and not lower >= limit.min_score:
        why.append(f"its score may be under the minimum of {limit.min_score:g} (it is at least {lower:.2f})")
        gap = score.value - limit.min_score
        z = float(NormalDist().inv_cdf(CONFIDENCE))
        enough = math.inf if not gap > 0 else math.ceil(z**2 * score.value * (1 - score.value) / gap**2)
        needed = max(needed, enough)
    if limit.p95_latency_s is not None and not p95_bound_s <= limit.p95_latency_s:
        why.append(f"its p95 latency may be over {limit.p95_latency_s:g} s")
        needed = max(needed, P95_ITEMS)
    return "; ".join(why) or None, needed
