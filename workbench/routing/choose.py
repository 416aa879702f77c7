"""The choice: for each task × class the cheapest candidate that is not worse than the best by more than the margin.

    policy = route(outcomes, models, limits=tasks)

The best is chosen on the data that judges it, so a candidate has to hold against every other one inside the limits at
once: the one-sided bounds of (best of all − candidate) are simultaneous (multiple comparisons with the best).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

import pandas as pd

from workbench import project
from workbench.catalog import Models
from workbench.economics import CostEstimate
from workbench.errors import InputError
from workbench.evalset import DEFAULT_MARGIN, EvalSet, Limits, digest_now
from workbench.intervals import Estimate
from workbench.outcomes import split_candidate
from workbench.outcomes.table import digest
from workbench.power import discordance_of
from workbench.prices import price_source
from workbench.privacy import SensitivityClass, class_of
from workbench.resampling import SEED
from workbench.routing.closure import check_closure
from workbench.routing.objective import (
    Constraints,
    Objective,
    accepted_share,
    constrained,
    keeps_margin,
    losses,
    superlative,
    told_apart,
)
from workbench.routing.policy import ALONE, STALE, Evidence, Link, MarginSource, Policy, PolicyEvidence, Route
from workbench.routing.standing import Candidate, Measured, standings
from workbench.scores import Scores, prepare
from workbench.words import counted

_METHOD = (
    "non-inferior to the best within the margin: simultaneous one-sided paired bounds at 95 % of (best of all inside "
    "the limits − candidate), multiple comparisons with the best, max-T bootstrap"
)

_NO_CONSTRAINTS = Constraints()


def route(
    outcomes: pd.DataFrame,
    models: Models,
    limits: Mapping[str, EvalSet | Limits] | None = None,
    objective: Objective = "cost",
    constraints: Constraints | None = None,
    table: pd.DataFrame | None = None,
) -> Policy:
    """Choose one candidate, and a chain of fallbacks, for each task × class.

    Args:
        outcomes: an outcome table, from any source.
        models: for zones; a model that is not listed counts as hosted.
        limits: eval sets, or limits, by task; a task without any has no limits and the default margin.
        objective: what is chosen by, see `workbench.routing.objective`.
        constraints: hard limits beside those of the eval sets.
        table: the outcomes as `prepare` makes them, where they are at hand.

    Raises:
        InputError: a table that cannot be read, or limits under a misspelt name.
    """
    from workbench import __version__

    table = prepare(outcomes) if table is None else table
    if table.empty:
        raise InputError("the outcome table has no test rows, so there is nothing to choose from.")
    _refuse_misnamed(limits or {}, set(table["task"].astype(str)))
    routes = []
    for (name, label), rows in table.groupby(["task", "class"], sort=True):
        task = str(name)
        limit, source = limits_of((limits or {}).get(task))
        cls = class_of("internal" if label == "open" else label)
        routes.append(decide(task, cls, Measured(rows), models, limit, source, objective, constraints or Constraints()))
    digests = table.groupby("task")["evalset_digest"].first() if "evalset_digest" in table else pd.Series(dtype=str)
    evidence = PolicyEvidence(
        mlflow_run=outcomes.attrs.get("mlflow_run"),
        outcomes_sha256=digest(table),
        evalsets={str(task): str(value) for task, value in digests.dropna().items()},
        sample=outcomes.attrs.get("sample", {}),
        prices=price_source(),
    )
    policy = Policy(
        workbench=__version__, objective=objective, constraints=constraints, routes=routes, evidence=evidence
    )
    check_closure(policy, models, listed=False)
    return policy


def _refuse_misnamed(limits: Mapping[str, EvalSet | Limits], tasks: set[str]) -> None:
    """Limits under a misspelt name would be gone in silence; those of tasks that were not asked do no harm.

    A name is taken for misspelt where it is near to one without limits, and no eval set of the project has it.
    """
    missing = sorted(tasks - set(limits))
    for name, source in limits.items():
        if isinstance(source, EvalSet) and source.name != name:
            raise InputError(f"limits: '{name}' is given the eval set {source.name}. Give it under its own name.")
        if not isinstance(source, Limits) or name in tasks or _is_evalset(name):
            continue
        if near := difflib.get_close_matches(name, missing, n=1):
            raise InputError(
                f"limits: the outcomes have no task '{name}', and there is no such eval set. Is '{near[0]}' meant? "
                f"Without limits are: {', '.join(missing)}."
            )


def _is_evalset(name: str) -> bool:
    """Whether the project has an eval set of a name: then it is a task of its own, however near to another's."""
    return (project.resolve("evalsets") / name / "evalset.yaml").is_file()


def limits_of(source: EvalSet | Limits | None) -> tuple[Limits, MarginSource]:
    if source is None:
        return Limits(margin=DEFAULT_MARGIN), "default"
    limits = source if isinstance(source, Limits) else source.spec.limits
    return limits, "evalset" if "margin" in limits.model_fields_set else "default"


def is_stale(rows: pd.DataFrame, source: EvalSet | Limits | None) -> bool:
    """Whether a task's outcomes are of an eval set that has changed since, as by a corrected label.

    It may have changed in its files since it was loaded: both are looked at.
    """
    if source is None or isinstance(source, Limits) or not source.digest or "evalset_digest" not in rows:
        return False
    told = rows["evalset_digest"].dropna()
    return any(bool((told != digest).any()) for digest in {source.digest, digest_now(source)})


def aged(policy: Policy, tasks: Mapping[str, EvalSet | Limits]) -> Policy:
    """A policy whose routes say so where an eval set has changed since their outcomes; itself where none has."""
    stale = set()
    for task, told in policy.evidence.evalsets.items():
        source = tasks.get(task)
        if isinstance(source, EvalSet) and source.digest and {told} != {source.digest, digest_now(source)}:
            stale.add(task)
    if not any(route.task in stale for route in policy.routes):
        return policy
    routes = [older(route) if route.task in stale else route for route in policy.routes]
    return policy.model_copy(update={"routes": routes})


def older(made: Route) -> Route:
    """A route that rests on an eval set as it was before: the evidence does not carry it any more."""
    if STALE in made.reason:
        return made
    status = "provisional" if made.status == "decided" else made.status
    return made.model_copy(update={"status": status, "reason": f"{made.reason} {STALE}"})


def decide(
    task: str,
    cls: SensitivityClass,
    measured: Measured,
    models: Models,
    limit: Limits,
    source: MarginSource,
    objective: Objective = "cost",
    constraints: Constraints = _NO_CONSTRAINTS,
) -> Route:
    """Choose one candidate, and its fallbacks, for one task × class."""
    rows, scores = measured.rows, measured.grid.scores
    judged = standings(measured, models, cls, limit)
    judged = constrained(judged, rows, task, models, constraints)
    eligible = [candidate for candidate in judged if candidate.rejected is None]
    common = {"task": task, "class": cls, "margin": limit.margin, "margin_source": source}
    rejected = {candidate.name: candidate.rejected for candidate in judged if candidate.rejected}
    if not eligible:
        ranked = sorted(judged, key=lambda c: -c.score.value)
        reasons = "; ".join(f"{candidate.name}: {candidate.rejected}" for candidate in ranked)
        evidence = Evidence(n=len(scores.items), rejected=rejected, method=_METHOD)
        reason = f"No candidate is inside the limits. {reasons}."
        return Route.model_validate({**common, "status": "infeasible", "reason": reason, "evidence": evidence})
    bounds = measured.best_bounds([candidate.name for candidate in eligible])
    gaps = {candidate.name: bounds.estimate(index, scores.repeats) for index, candidate in enumerate(eligible)}
    held = keeps_margin(objective)
    able = [c for c in eligible if (gaps[c.name].hi <= limit.margin or not held) and c.uncertain is None]
    best = max(eligible, key=lambda c: (c.score.value, -_order(c.cost.value)))
    lost = losses(objective, able, rows)
    # A candidate whose cost is unknown cannot be called cheaper or dearer than another.
    comparable = len(able) == 1 or not any(map(math.isnan, lost.values()))
    alone = len(judged) == 1 and not limit.min_score  # held against nothing, neither another nor a limit
    decided = bool(able) and comparable and not alone and told_apart(objective, lost, rows, limit.margin)
    chosen = min(able, key=lambda c: (lost[c.name], -c.score.value)) if decided else best
    alpha = float(bounds.alpha[eligible.index(chosen)])
    open_ = comparable and not decided and not alone
    needed = _items_needed(chosen, eligible, scores, limit.margin, alpha) if open_ else None
    for candidate in eligible:
        if candidate.name != chosen.name:
            rejected[candidate.name] = _why_not(candidate, chosen, gaps, limit.margin, decided, objective)
    evidence = Evidence(
        n=chosen.score.n,
        clusters=chosen.score.clusters,
        repeats=scores.repeats,
        seed=chosen.score.seed if len(eligible) == 1 else SEED,
        score=chosen.score.as_list(),
        diff_to_best=gaps[chosen.name].as_list() if len(eligible) > 1 else None,
        cost_per_accepted_usd=chosen.cost.as_list(),
        latency_p95_s=None if math.isnan(chosen.p95_s) else round(chosen.p95_s, 4),
        items_to_decide=needed,
        rejected=rejected,
        able=[candidate.name for candidate in able],
        accepted=accepted_share(rows, chosen.name),
        method=f"score: {chosen.score.method}; cost: {chosen.cost.method}; {_METHOD}",
    )
    reason = _reason(chosen, eligible, gaps, limit.margin, decided, comparable, needed, objective, alone)
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


def _items_needed(
    chosen: Candidate, eligible: list[Candidate], scores: Scores, margin: float, alpha: float
) -> int | None:
    """About how many items would decide; None where no number would (the score lies on a limit)."""
    own = scores.column(chosen.name)
    needed = [chosen.items_for_limits] + [
        discordance_of(scores.column(other.name) - own, scores.clusters).to_decide(margin, alpha)
        for other in eligible
        if other.name != chosen.name
    ]
    most = max(needed)
    return None if math.isinf(most) else max(int(most), chosen.score.n + 1)


def _chain(chosen: Candidate, eligible: list[Candidate]) -> list[Link]:
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


def _why_not(
    candidate: Candidate,
    chosen: Candidate,
    gaps: dict[str, Estimate],
    margin: float,
    decided: bool,
    objective: Objective,
) -> str:
    if not decided:
        return (
            f"score {candidate.score.value:.2f}: the best, {chosen.score.value:.2f}, is taken while nothing is decided"
        )
    if candidate.uncertain:
        return candidate.uncertain
    if gaps[candidate.name].hi > margin and keeps_margin(objective):
        return f"may be worse than another by {gaps[candidate.name].hi:.2f}, over the margin of {margin:g}"
    if objective != "cost":
        return f"of the chosen one {superlative(objective)}"
    return f"costs more: {_usd(candidate.cost)} against {_usd(chosen.cost)}"


def _reason(
    chosen: Candidate,
    eligible: list[Candidate],
    gaps: dict[str, Estimate],
    margin: float,
    decided: bool,
    comparable: bool,
    needed: int | None,
    objective: Objective,
    alone: bool,
) -> str:
    """The decision in words that a manager reads."""
    score = chosen.score
    said = f"{chosen.name} scores {score.value:.2f} ({score.lo:.2f} to {score.hi:.2f}) on {counted(score.n, 'item')}"
    said += f", at {_usd(chosen.cost)}"
    gap = gaps[chosen.name].hi
    if alone:
        return f"{said}; it is the only candidate that was asked, and there is no minimum score. {ALONE}"
    if decided and len(eligible) == 1:
        return f"{said}; it is the only candidate inside the limits."
    if decided:
        if not keeps_margin(objective):
            return f"{said}; {superlative(objective)}."
        bound = f"it is worse than no other by more than {max(gap, 0):.2f}, within the margin of {margin:g}"
        return f"{said}; {bound}, and {superlative(objective)} of which that holds."
    why = []
    if gap > margin and len(eligible) > 1:
        why.append(f"another may be better by up to {gap:.2f}, over the margin of {margin:g}")
    if chosen.uncertain:
        why.append(chosen.uncertain)
    if not comparable:
        why.append(
            "costs are unknown, so none can be called the cheapest"
            if objective == "cost"
            else "costs, latency or acceptance are unknown, so none can be called the best"
        )
    more = (
        f"About {counted(needed, 'item', spec=',')} would decide."
        if needed
        else "Its score is at a limit: no number of items would decide."
    )
    return f"{said}, the best score inside the limits. Not decided: {'; '.join(why)}. {more}"
