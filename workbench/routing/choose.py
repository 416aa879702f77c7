"""The choice: for each task × class the cheapest candidate that is not worse than the best by more than the margin.

    policy = route(outcomes, models, limits=tasks)

The best is chosen on the data that judges it, so a candidate has to hold against every other one inside the limits at
once: the one-sided bounds are simultaneous (Bonferroni; multiple comparisons with the best, Hsu 1981).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from workbench.catalog import Models
from workbench.economics import CostEstimate, cost_per_accepted, quantile, quantile_upper_bound
from workbench.errors import InputError
from workbench.evalset import DEFAULT_MARGIN, Limits
from workbench.evidence import (
    CONFIDENCE,
    MIN_COVERAGE,
    Estimate,
    Scores,
    items_to_decide,
    mean_interval,
    paired_difference,
    prepare,
    scores_of,
    simultaneous_confidence,
)
from workbench.outcomes import digest, split_candidate
from workbench.prices import price_source
from workbench.privacy import SensitivityClass, class_of, permitted
from workbench.routing.closure import check_closure
from workbench.routing.policy import Evidence, Link, MarginSource, Policy, PolicyEvidence, Route

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

P95_ITEMS = 59  # fewer cannot bound a p95 at 95 % confidence
_METHOD = (
    "non-inferior to the best within the margin: one-sided paired bounds at 95 %, simultaneous over the candidates "
    "inside the limits"
)


@dataclass(frozen=True)
class _Candidate:
    """A candidate's standing in one task × class."""

    name: str
    score: Estimate
    one_sided: Estimate  # its low end is a one-sided 95 % bound
    cost: CostEstimate
    p95_s: float
    p95_bound_s: float
    rejected: str | None
    uncertain: str | None  # inside the limits by its estimate, but not surely
    items_for_limits: float


def route(
    outcomes: pd.DataFrame,
    models: Models,
    limits: Mapping[str, EvalSet | Limits] | None = None,
    objective: str = "cost",
) -> Policy:
    """Choose a chain of candidates for each task × class.

    Args:
        outcomes: an outcome table, from any source.
        models: for zones; a model that is not listed counts as hosted.
        limits: eval sets, or limits, by task; a task without any has no limits and the default margin.
        objective: `cost`, the cost per accepted answer counting every attempt.

    Raises:
        InputError: an unknown objective, or a table that cannot be read.
    """
    from workbench import __version__

    if objective != "cost":
        raise InputError(f"there is no objective '{objective}'. There is: cost.")
    table = prepare(outcomes)
    routes = []
    for (name, label), rows in table.groupby(["task", "class"], sort=True):
        task = str(name)
        limit, source = _limits_of((limits or {}).get(task))
        routes.append(_decide(task, class_of("internal" if label == "open" else label), rows, models, limit, source))
    digests = table.groupby("task")["evalset_digest"].first() if "evalset_digest" in table else pd.Series(dtype=str)
    evidence = PolicyEvidence(
        mlflow_run=outcomes.attrs.get("mlflow_run"),
        outcomes_sha256=digest(table),
        evalsets={str(task): str(value) for task, value in digests.dropna().items()},
        sample=outcomes.attrs.get("sample", {}),
        prices=price_source(),
    )
    policy = Policy(workbench=__version__, routes=routes, evidence=evidence)
    check_closure(policy, models, listed=False)
    return policy


def _limits_of(source: EvalSet | Limits | None) -> tuple[Limits, MarginSource]:
    if source is None:
        return Limits(margin=DEFAULT_MARGIN), "default"
    limits = source if isinstance(source, Limits) else source.spec.limits
    return limits, "evalset" if "margin" in limits.model_fields_set else "default"


def _standing(
    rows: pd.DataFrame, name: str, scores: Scores, zone: str, cls: SensitivityClass, limit: Limits
) -> _Candidate:
    """Score, cost and latency of a candidate, and whether it is inside the limits."""
    own = rows[rows["candidate"] == name]
    column = scores.column(name)
    asked = ~np.isnan(column)
    clusters = None if scores.clusters is None else scores.clusters[asked]
    score = mean_interval(column[asked], clusters)
    one_sided = mean_interval(column[asked], clusters, confidence=2 * CONFIDENCE - 1)
    accepted = own["accepted"].fillna(False).to_numpy(bool) if "accepted" in own else None
    cost = cost_per_accepted(own["cost_usd"].to_numpy(float) if "cost_usd" in own else None, accepted)
    latency = own["latency_s"].to_numpy(float) if "latency_s" in own else np.array([])
    p95_s, bound_s = quantile(latency, 0.95), quantile_upper_bound(latency)
    coverage = scores.coverage[scores.candidates.index(name)]
    rejected = None
    if not permitted(cls, zone):
        rejected = "hosted: restricted items never reach it"
    elif coverage < MIN_COVERAGE:
        rejected = f"asked only {coverage:.0%} of the items; {MIN_COVERAGE:.0%} are needed to compare"
    elif score.value < limit.min_score:
        rejected = f"score {score.value:.2f} is under the minimum of {limit.min_score:g}"
    elif limit.p95_latency_s is not None and not p95_s <= limit.p95_latency_s:
        rejected = f"p95 latency {p95_s:.2g} s is over the limit of {limit.p95_latency_s:g} s"
    uncertain, needed = _certainty(one_sided, bound_s, limit)
    return _Candidate(name, score, one_sided, cost, p95_s, bound_s, rejected, uncertain, needed)


def _certainty(score: Estimate, p95_bound_s: float, limit: Limits) -> tuple[str | None, float]:
    """Whether the limits are met surely, and about how many items would make it so."""
    why, needed = [], 0.0
    if score.lo < limit.min_score:
        why.append(f"its score may be under the minimum of {limit.min_score:g} (it is at least {score.lo:.2f})")
        gap = score.value - limit.min_score
        z = float(stats.norm.ppf(CONFIDENCE))
        needed = math.inf if gap <= 0 else math.ceil(z**2 * score.value * (1 - score.value) / gap**2)
    if limit.p95_latency_s is not None and p95_bound_s > limit.p95_latency_s:
        why.append(f"its p95 latency may be over {limit.p95_latency_s:g} s")
        needed = max(needed, P95_ITEMS)
    return "; ".join(why) or None, needed


def _decide(
    task: str, cls: SensitivityClass, rows: pd.DataFrame, models: Models, limit: Limits, source: MarginSource
) -> Route:
    scores = scores_of(rows)
    zones = {name: models.zone_of(split_candidate(name)[0]) for name in scores.candidates}
    standing = {name: _standing(rows, name, scores, zones[name], cls, limit) for name in scores.candidates}
    eligible = [candidate for candidate in standing.values() if candidate.rejected is None]
    common = {"task": task, "class": cls, "margin": limit.margin, "margin_source": source}
    rejected = {candidate.name: candidate.rejected for candidate in standing.values() if candidate.rejected}
    if not eligible:
        ranked = sorted(standing.values(), key=lambda c: -c.score.value)
        reasons = "; ".join(f"{candidate.name}: {candidate.rejected}" for candidate in ranked)
        evidence = Evidence(n=len(scores.items), rejected=rejected, method=_METHOD)
        reason = f"No candidate is inside the limits. {reasons}."
        return Route.model_validate({**common, "status": "infeasible", "reason": reason, "evidence": evidence})
    gaps = {candidate.name: _worst_gap(candidate.name, eligible, scores) for candidate in eligible}
    able = [c for c in eligible if gaps[c.name].hi <= limit.margin and c.uncertain is None]
    best = max(eligible, key=lambda c: (c.score.value, -_order(c.cost.value)))
    # A candidate whose cost is unknown cannot be called cheaper or dearer than another.
    comparable = len(able) == 1 or all(not math.isnan(candidate.cost.value) for candidate in able)
    decided = bool(able) and comparable
    chosen = min(able, key=lambda c: (_order(c.cost.value), -c.score.value)) if decided else best
    needed = None if decided else _items_needed(chosen, eligible, scores, limit.margin)
    for candidate in eligible:
        if candidate.name != chosen.name:
            rejected[candidate.name] = _why_not(candidate, chosen, gaps, limit.margin, decided)
    evidence = Evidence(
        n=chosen.score.n,
        clusters=chosen.score.clusters,
        score=chosen.score.as_list(),
        diff_to_best=gaps[chosen.name].as_list() if len(eligible) > 1 else None,
        cost_per_accepted_usd=chosen.cost.as_list(),
        latency_p95_s=None if math.isnan(chosen.p95_s) else round(chosen.p95_s, 4),
        items_to_decide=needed,
        rejected=rejected,
        method=_METHOD,
    )
    reason = _reason(chosen, eligible, gaps, limit.margin, decided, comparable, needed)
    return Route.model_validate(
        {
            **common,
            "status": "decided" if decided else "provisional",
            "chain": _chain(chosen, eligible),
            "reason": reason,
            "evidence": evidence,
        }
    )


def _order(cost: float) -> float:
    return math.inf if math.isnan(cost) else cost


def _worst_gap(name: str, eligible: list[_Candidate], scores: Scores) -> Estimate:
    """How much better any other eligible candidate may be: the difference with the highest bound."""
    confidence = simultaneous_confidence(len(eligible) - 1)
    gaps = [
        paired_difference(scores.column(other.name), scores.column(name), scores.clusters, confidence)
        for other in eligible
        if other.name != name
    ]
    return max(gaps, key=lambda gap: gap.hi) if gaps else Estimate(0.0, 0.0, 0.0, "the only one inside the limits", 0)


def _items_needed(chosen: _Candidate, eligible: list[_Candidate], scores: Scores, margin: float) -> int | None:
    """About how many items would decide; None where no number would (the score lies on a limit)."""
    needed = [chosen.items_for_limits] + [
        items_to_decide(scores.column(other.name), scores.column(chosen.name), margin, len(eligible) - 1)
        for other in eligible
        if other.name != chosen.name
    ]
    most = max(needed)
    return None if math.isinf(most) else max(int(most), chosen.score.n + 1)


def _chain(chosen: _Candidate, eligible: list[_Candidate]) -> list[Link]:
    """The chosen one, then a fallback of each other model inside the limits, best score first.

    Another variant of the same model is no fallback: it is dead when its engine is.
    """
    names = [chosen.name]
    models = {split_candidate(chosen.name)[0]}
    for candidate in sorted(eligible, key=lambda c: (-c.score.value, _order(c.cost.value))):
        model = split_candidate(candidate.name)[0]
        if model not in models:
            models.add(model)
            names.append(candidate.name)
    return [Link(model=model, variant=variant) for model, variant in map(split_candidate, names)]


def _usd(cost: CostEstimate) -> str:
    if math.isnan(cost.value):
        return "an unknown cost"
    if math.isinf(cost.value):
        return "no accepted answer"
    return f"${cost.value:.2g} per accepted answer" if cost.value else "no cost"


def _why_not(candidate: _Candidate, chosen: _Candidate, gaps: dict[str, Estimate], margin: float, decided: bool) -> str:
    if not decided:
        return (
            f"score {candidate.score.value:.2f}: the best, {chosen.score.value:.2f}, is taken while nothing is decided"
        )
    if candidate.uncertain:
        return candidate.uncertain
    if gaps[candidate.name].hi > margin:
        return f"may be worse than another by {gaps[candidate.name].hi:.2f}, over the margin of {margin:g}"
    return f"costs more: {_usd(candidate.cost)} against {_usd(chosen.cost)}"


def _reason(
    chosen: _Candidate,
    eligible: list[_Candidate],
    gaps: dict[str, Estimate],
    margin: float,
    decided: bool,
    comparable: bool,
    needed: int | None,
) -> str:
    """The decision in words that a manager reads."""
    score = chosen.score
    said = f"{chosen.name} scores {score.value:.2f} ({score.lo:.2f} to {score.hi:.2f}) on {score.n} items"
    said += f", at {_usd(chosen.cost)}"
    gap = gaps[chosen.name].hi
    if decided and len(eligible) == 1:
        return f"{said}; it is the only candidate inside the limits."
    if decided:
        bound = f"it is worse than no other by more than {max(gap, 0):.2f}, within the margin of {margin:g}"
        return f"{said}; {bound}, and it is the cheapest of which that holds."
    why = []
    if gap > margin and len(eligible) > 1:
        why.append(f"another may be better by up to {gap:.2f}, over the margin of {margin:g}")
    if chosen.uncertain:
        why.append(chosen.uncertain)
    if not comparable:
        why.append("costs are unknown, so none can be called the cheapest")
    more = (
        f"About {needed} items would decide." if needed else "Its score is at a limit: no number of items would decide."
    )
    return f"{said}, the best score inside the limits. Not decided: {'; '.join(why)}. {more}"
