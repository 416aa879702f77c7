"""A policy played on items: what it would have answered, at what cost and in what time, item by item.

    played = Played("small → large by format", score, accepted, cost_usd, latency_s)
    sheet(played, groups, limits)                       # its figures, with intervals
    best_option([played, …], rivals, groups, rules)     # the one that a training set would choose

Everything is computed from outcomes that are there already: nothing is asked again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.economics import CostEstimate, cost_per_accepted, quantile, quantile_upper_bound
from workbench.evalset import Limits
from workbench.intervals import Estimate, lower_bound, mean_interval
from workbench.routing.cell import Answers
from workbench.routing.objective import Constraints, Objective, keeps_margin, loss

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
_Z = 1.6448536269514722  # a one-sided bound at 95 %


@dataclass(frozen=True)
class Played:
    """Shape (items,) each; NaN where an item was not asked, or a figure is not known."""

    name: str
    score: Floats
    accepted: Floats
    cost_usd: Floats
    latency_s: Floats

    @classmethod
    def of(cls, answers: Answers, candidate: int, name: str) -> Played:
        """One candidate, asked always."""
        columns = (answers.score, answers.accepted, answers.cost_usd, answers.latency_s)
        return cls(name, *(column[:, candidate] for column in columns))

    def at(self, rows: Indices | NDArray[np.bool_]) -> Played:
        """Some of the items only."""
        columns = (self.score, self.accepted, self.cost_usd, self.latency_s)
        return Played(self.name, *(column[rows] for column in columns))

    def then(self, other: Played, escalated: NDArray[np.bool_], name: str) -> Played:
        """This one first; where it is escalated the other answers, and both are paid and waited for."""
        asked = ~np.isnan(self.score)  # an item that the first was never asked says nothing about the two
        return Played(
            name,
            np.where(asked, np.where(escalated, other.score, self.score), np.nan),
            np.where(escalated, other.accepted, self.accepted),
            self.cost_usd + np.where(escalated, other.cost_usd, 0.0),
            self.latency_s + np.where(escalated, other.latency_s, 0.0),
        )

    def named(self, name: str) -> Played:
        return replace(self, name=name)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Items that were asked."""
        return ~np.isnan(self.score)


def mixed(name: str, parts: Sequence[Played], chosen: Indices) -> Played:
    """For each item the part that is chosen for it."""
    at = np.arange(len(chosen))
    columns = (np.stack([getattr(part, field) for part in parts]) for field in _FIELDS)
    return Played(name, *(column[chosen, at] for column in columns))


_FIELDS = ("score", "accepted", "cost_usd", "latency_s")


@dataclass(frozen=True)
class Terms:
    """What decides: the objective, the eval set's limits, and further constraints."""

    task: str
    objective: Objective
    limits: Limits
    constraints: Constraints

    def loss(self, played: Played) -> float:
        known = played.known
        if not known.any():
            return math.inf
        score, accepted, cost, latency = (float(getattr(played, field)[known].mean()) for field in _FIELDS)
        return loss(self.objective, score, accepted, cost, quantile(played.latency_s[known], 0.95), latency)

    def outside(self, played: Played) -> str | None:
        """Why a policy is outside the limits by its estimates, or None."""
        known = played.known
        if not known.any():
            return "no item was answered by all that it takes"
        score, limit = float(played.score[known].mean()), self.limits
        if score < limit.min_score:
            return f"score {score:.2f} is under the minimum of {limit.min_score:g}"
        if limit.p95_latency_s is not None:
            latency = played.latency_s[known]
            if np.isnan(latency).any():
                return "its latency is unknown, at least in part"
            if quantile(latency, 0.95) > limit.p95_latency_s:
                return f"p95 latency {quantile(latency, 0.95):.2g} s is over the limit of {limit.p95_latency_s:g} s"
        return self.constraints.over_budget(self.task, float(played.cost_usd[known].mean()))

    def uncertain(self, played: Played, groups: Indices) -> str | None:
        """Why a policy is not surely inside the limits, or None."""
        known, limit = played.known, self.limits
        if limit.min_score > 0 and not lower_bound(played.score[known], groups[known]) >= limit.min_score:
            return f"its score may be under the minimum of {limit.min_score:g}"
        if limit.p95_latency_s is not None:
            bound = quantile_upper_bound(played.latency_s[known])
            if not bound <= limit.p95_latency_s:
                return f"its p95 latency may be over {limit.p95_latency_s:g} s"
        return None


@dataclass(frozen=True)
class Sheet:
    """A policy's figures.

    Attributes:
        cost_usd: of a request on average.
        p95_s: latency, with an upper bound at 95 %.
    """

    score: Estimate
    cost_per_accepted: CostEstimate
    cost_usd: float
    p50_s: float
    p95_s: float
    p95_bound_s: float


def sheet(played: Played, groups: Indices) -> Sheet:
    """The figures of a policy."""
    known = played.known
    own = played.at(known)
    latency = own.latency_s
    unknown = bool(np.isnan(latency).any()) or not len(latency)
    accepted = None if np.isnan(own.accepted).any() else own.accepted
    return Sheet(
        score=mean_interval(own.score, groups[known]),
        cost_per_accepted=cost_per_accepted(own.cost_usd, accepted),
        cost_usd=float(own.cost_usd.mean()) if len(own.cost_usd) else math.nan,
        p50_s=math.nan if unknown else quantile(latency, 0.5),
        p95_s=math.nan if unknown else quantile(latency, 0.95),
        p95_bound_s=math.nan if unknown else quantile_upper_bound(latency),
    )


def best_option(options: Sequence[Played], rivals: Floats, groups: Indices, terms: Terms) -> int | None:
    """The option that serves the objective best on some items, inside the limits; None where none is.

    Where the margin counts, an option has to hold it against the best rival by a one-sided bound.

    Args:
        options: on the same items.
        rivals: scores of the candidates inside the limits, items × candidates; there may be none.
        groups: shape (items,).
        terms: what decides.
    """
    held = keeps_margin(terms.objective) and rivals.shape[1] > 0
    best = rivals[:, int(np.nanmean(rivals, axis=0).argmax())] if held else np.full(len(rivals), -np.inf)
    found: tuple[float, int] | None = None
    for index, option in enumerate(options):
        if terms.outside(option) is not None:
            continue
        if held and _upper(best - option.score, groups) > terms.limits.margin:
            continue
        value = terms.loss(option)
        if math.isfinite(value) and (found is None or value < found[0]):
            found = (value, index)
    return None if found is None else found[1]


def chosen_elsewhere(options: Sequence[Played], groups: Indices, terms: Terms, fold_of: Indices) -> Played:
    """The rule that chooses one option for the task, played out of sample: on each fold the choice of the others.

    Where no option holds the margin on the other folds, the best score is taken, as a provisional route does.

    Args:
        options: single candidates inside the limits, at least one.
        groups: shape (items,).
        terms: what decides.
        fold_of: a fold an item, whole groups.
    """
    scores = np.stack([option.score for option in options], axis=1)
    chosen = np.zeros(len(fold_of), dtype=np.intp)
    for fold in range(int(fold_of.max()) + 1):
        rows = fold_of != fold
        best = best_option([option.at(rows) for option in options], scores[rows], groups[rows], terms)
        taken = int(np.nanmean(scores[rows], axis=0).argmax()) if best is None else best
        chosen[fold_of == fold] = taken
    return mixed("one model for the task, chosen on other folds", options, chosen)


def _upper(difference: Floats, groups: Indices) -> float:
    """A one-sided bound of a mean, with the spread between groups."""
    known = ~np.isnan(difference)
    own = difference[known]
    if len(own) < 2:
        return math.inf
    sums = np.bincount(np.unique(groups[known], return_inverse=True)[1], own - own.mean())
    return float(own.mean() + _Z * math.sqrt(float((sums**2).sum())) / len(own))
