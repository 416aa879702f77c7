"""From outcomes to a policy: the choice for each task, and where something finer pays, that.

    policy = route(outcomes, models, limits=tasks, objective="cost")
    report = frontier(outcomes, models, limits=tasks)      # all that was compared, and why
    report.policy                                          # the same policy

The choice of one candidate for a task stands wherever nothing else is proven better on that task's own items.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.outcomes import split_candidate
from workbench.privacy import class_of
from workbench.routing import choose
from workbench.routing.cascade import AGREEMENT, FORMAT, RULES_FLOOR
from workbench.routing.cell import cell_of
from workbench.routing.closure import check_closure, unnamed_judge
from workbench.routing.frontier import Frontier
from workbench.routing.objective import Constraints, Objective, objective_of
from workbench.routing.played import Played, Terms
from workbench.routing.policy import KINDS, Evidence, Kind, Link, Policy, Route, RouterFile, Verifier
from workbench.routing.repricing import LocalPrices, local_usd, reprice
from workbench.scores import prepare
from workbench.words import counted

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Limits
    from workbench.routing.assess import Assessed, Option

Verifiers = Sequence[str] | Mapping[str, str | None]
THIS_MACHINE = "this machine"
_METHOD = (
    "out of sample (nested cross-validation, whole groups), against a random mix at the same cost and against one "
    "model for the task: one-sided bounds by a paired bootstrap of groups, jointly at 95 %"
)


def route(
    outcomes: pd.DataFrame,
    models: Models,
    limits: Mapping[str, EvalSet | Limits] | None = None,
    objective: str | Mapping[str, float] | Objective = "cost",
    *,
    policies: Sequence[Kind] = KINDS,
    constraints: Constraints | None = None,
    verifiers: Verifiers = (FORMAT, AGREEMENT),
    with_slices: bool = False,
    embeddings: str | None = None,
    rules_floor: float = RULES_FLOOR,
    local_usd_per_mtok: LocalPrices | None = None,
    seed: int = 0,
) -> Policy:
    """Choose a policy for each task × class, on its own items.

    Args:
        outcomes: an outcome table, from any source.
        models: for zones; a model that is not listed counts as hosted.
        limits: eval sets, or limits, by task; a task without any has no limits and the default margin.
        objective: `cost` (per accepted answer, every attempt counted), `score`, `latency` (p95), or a utility's weights
            in USD, such as `{"accepted": 0.05, "latency": 0.001}`.
        policies: what is tried: `per_task`, `rules_first`, `cascade`, `per_request`. One candidate for the task is
            taken where none of the others is proven better.
        constraints: hard limits beside those of the eval sets: zones, and a budget a month at a stated traffic.
        verifiers: what a cascade may trust: `format`, `agreement` (of repeats), and columns `metric.<name>` that need
            no key. As a mapping, with the model that gives each, or None where none does.
        with_slices: whether requests will state the item's slices, so that a router may read them.
        embeddings: a sentence-transformers model, by name or folder, whose vectors a router may read too.
        rules_floor: with rules first, the accepted share of the rules' answers, by its lower bound.
        local_usd_per_mtok: by model, or by model and task, what a million tokens costs on this machine, as load tests
            measured it (see `workbench.breakeven.measured_prices`); None takes the share of the machine's time in the
            run.
        seed: of the folds.

    Raises:
        InputError: an unknown objective, policy or verifier, or a table that cannot be read.
    """
    asked: dict[str, Any] = {
        "policies": policies,
        "constraints": constraints,
        "verifiers": verifiers,
        "with_slices": with_slices,
    }
    asked |= {"embeddings": embeddings, "local_usd_per_mtok": local_usd_per_mtok}
    return _decided(outcomes, models, limits, objective, rules_floor=rules_floor, seed=seed, **asked)[0]


def frontier(
    outcomes: pd.DataFrame,
    models: Models,
    limits: Mapping[str, EvalSet | Limits] | None = None,
    objective: str | Mapping[str, float] | Objective = "cost",
    *,
    policies: Sequence[Kind] = KINDS,
    constraints: Constraints | None = None,
    verifiers: Verifiers = (FORMAT, AGREEMENT),
    with_slices: bool = False,
    embeddings: str | None = None,
    rules_floor: float = RULES_FLOOR,
    local_usd_per_mtok: LocalPrices | None = None,
    seed: int = 0,
) -> Frontier:
    """Every policy's score, cost per accepted answer and latency, and which was chosen, and why; as `route` decides.

    Args:
        outcomes: see `route`, for this and the others.

    Raises:
        InputError: as `route`.
    """
    asked: dict[str, Any] = {
        "policies": policies,
        "constraints": constraints,
        "verifiers": verifiers,
        "with_slices": with_slices,
    }
    asked |= {"embeddings": embeddings, "local_usd_per_mtok": local_usd_per_mtok}
    policy, found = _decided(
        outcomes,
        models,
        limits,
        objective,
        rules_floor=rules_floor,
        seed=seed,
        figures=True,
        **asked,
    )
    return Frontier(policy, found)


def _decided(
    outcomes: pd.DataFrame,
    models: Models,
    limits: Mapping[str, EvalSet | Limits] | None,
    objective: str | Mapping[str, float] | Objective,
    policies: Sequence[Kind],
    constraints: Constraints | None,
    verifiers: Verifiers,
    with_slices: bool,
    embeddings: str | None,
    rules_floor: float,
    local_usd_per_mtok: LocalPrices | None,
    seed: int,
    figures: bool = False,
) -> tuple[Policy, list[Assessed]]:
    unknown = [kind for kind in policies if kind not in KINDS]
    if unknown:
        raise InputError(f"there is no policy '{unknown[0]}'. There are: {', '.join(KINDS)}.")
    aim, bounds = objective_of(objective), constraints or Constraints()
    table = prepare(outcomes)
    if local_usd_per_mtok:
        table, _ = reprice(table, models, {}, local_usd_per_mtok=local_usd_per_mtok)
    policy = choose.route(outcomes, models, limits, aim, constraints, table)
    policy.evidence.prices.update(_stated(table, local_usd_per_mtok or {}))
    stale = {str(task) for task, rows in table.groupby("task") if choose.is_stale(rows, (limits or {}).get(str(task)))}
    if not figures and not set(policies) - {"per_task"}:
        return _finished(policy, policy.routes, {}, models, stale), []
    from workbench.routing.assess import assess  # and with it scipy's and scikit-learn's

    givers: Mapping[str, str | None] = verifiers if isinstance(verifiers, Mapping) else dict.fromkeys(verifiers)
    stated = isinstance(verifiers, Mapping)
    _check_verifiers(givers, table)
    found, routes, routers = [], [], {}
    groups = {(str(task), str(label)): rows for (task, label), rows in table.groupby(["task", "class"], sort=True)}
    for own in policy.routes:
        rows = groups[own.task, own.class_]
        usable = [name for name in givers if _may_verify(name, givers[name], own, models, stated)]
        metrics = [name for name in usable if name.startswith("metric.")]
        cls = class_of("internal" if own.class_ == "open" else "restricted")
        cell = cell_of(rows, own.task, cls, models, bounds.zones, metrics)
        limit, _ = choose.limits_of((limits or {}).get(own.task))
        terms = Terms(own.task, aim, limit, bounds)
        inside = [
            name
            for index, name in enumerate(cell.candidates)
            if name not in cell.refused and terms.outside(Played.of(cell.mean, index, name)) is None
        ]
        choice = own.chain[0].candidate if own.chain else None
        assessed = assess(
            cell, choice, inside, terms, models, policies, usable, with_slices, embeddings, rules_floor, seed
        )
        found.append(assessed)
        made, router = _route(own, assessed, givers)
        routes.append(made)
        if made.router and router is not None:
            routers[made.router.file] = router
    return _finished(policy, routes, routers, models, stale), found


def _stated(table: pd.DataFrame, prices: LocalPrices) -> dict[str, str]:
    """What local models' tokens were taken to cost, for a policy's evidence; by task, where that differs."""
    found = {}
    for name, price in prices.items():
        tasks = sorted(table.loc[table["model"] == name, "task"].unique())
        of_tasks = {task: usd for task in tasks if (usd := local_usd(prices, name, task)) is not None}
        told = {price} if not isinstance(price, Mapping) else set(of_tasks.values())
        if len(told) == 1:
            found[name] = f"${told.pop():.4g} a million tokens, by a load test"
        elif told:
            each = ", ".join(f"${usd:.4g} for {task}" for task, usd in of_tasks.items())
            found[name] = f"a million tokens: {each}, by load tests"
    return found


def _check_verifiers(givers: Mapping[str, str | None], table: pd.DataFrame) -> None:
    for name in givers:
        if name not in (FORMAT, AGREEMENT) and not name.startswith("metric."):
            raise InputError(f"there is no verifier '{name}'. There are: format, agreement, and columns metric.<name>.")
        if name.startswith("metric.") and name not in table:
            known = [str(column) for column in table if str(column).startswith("metric.")]
            raise InputError(f"the outcome table has no column '{name}'. It has: {', '.join(known) or 'no metrics'}.")


def _may_verify(name: str, giver: str | None, own: Route, models: Models, stated: bool) -> bool:
    """Whether a verifier may see the answers of a route: a judge is one more model that they reach."""
    if own.class_ == "open":
        return True
    if giver is not None:
        return models.zone_of(giver) != "hosted"
    return stated or not unnamed_judge(name, giver)


def _finished(
    policy: Policy, routes: Sequence[Route], routers: Mapping[str, object], models: Models, stale: Collection[str]
) -> Policy:
    told = [with_providers(each, models) for each in routes]
    told = [choose.older(each) if each.task in stale else each for each in told]
    made = policy.model_copy(update={"routes": told})
    made._routers = dict(routers)
    check_closure(made, models, listed=False)
    return made


def _route(own: Route, assessed: Assessed, givers: Mapping[str, str | None]) -> tuple[Route, object]:
    """The route with what was found: another policy where one pays, and the reasons of all that does not."""
    chosen = assessed.chosen
    tried = {option.name: option.reason for option in assessed.options if option.kind != "per_task"}
    if chosen is None or chosen.kind == "per_task":
        evidence = own.evidence.model_copy(update={"policies": tried})
        return own.model_copy(update={"evidence": evidence}), None
    tried.pop(chosen.name)
    rest = [link.candidate for link in own.chain]
    update: dict[str, Any] = {
        "status": "decided",
        "policy": chosen.kind,
        "chain": _links(rest or chosen.links if chosen.kind == "per_request" else [*chosen.links, *rest]),
        "reason": _reason(chosen),
        "evidence": _evidence(own, chosen, tried),
        "verifier": _verifier(chosen, assessed, givers),
        "router": None,
    }
    if chosen.router is not None:
        update["router"] = RouterFile(
            file=_file(own),
            sha256=chosen.router.sha256,
            candidates=_links(chosen.links, every=True),
            prompt_variant=chosen.router.prompt_variant,
            slices=chosen.router.state.with_slices,
        )
    return own.model_copy(update=update), chosen.router


def _links(names: Sequence[str], every: bool = False) -> list[Link]:
    """A chain of candidates; a model once, but where the second of two variants answers what the first did not."""
    kept: list[str] = []
    for name in names:
        models = [split_candidate(each)[0] for each in kept]
        if name not in kept and (every or len(kept) < 2 or split_candidate(name)[0] not in models):
            kept.append(name)
    return [Link(model=model, variant=variant) for model, variant in map(split_candidate, kept)]


def _file(own: Route) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', own.task)[:80]}-{own.class_}.router.json"


def _reason(chosen: Option) -> str:
    figures = chosen.figures
    assert figures is not None
    score, cost = figures.score, figures.cost_per_accepted
    return (
        f"{chosen.name} scores {score.value:.2f} ({score.lo:.2f} to {score.hi:.2f}) on {counted(score.n, 'item')}, at "
        f"${cost.value:.2g} per accepted answer; {chosen.reason}"
    )


def _evidence(own: Route, chosen: Option, tried: dict[str, str]) -> Evidence:
    figures, verdict = chosen.figures, chosen.verdict
    assert figures is not None and verdict is not None
    p95 = figures.p95_s
    return Evidence(
        n=figures.score.n,
        clusters=figures.score.clusters,
        score=figures.score.as_list(),
        diff_to_best=verdict.gap.as_list() if verdict.gap else None,
        cost_per_accepted_usd=figures.cost_per_accepted.as_list(),
        latency_p95_s=None if np.isnan(p95) else round(p95, 4),
        rejected=own.evidence.rejected | _beaten(own, chosen),
        able=own.evidence.able,
        accepted=round(float(np.nanmean(chosen.played.accepted)), 4) if chosen.played else None,
        policies=tried,
        gain_over_mix=verdict.against_mix.as_list() if verdict.against_mix else None,
        method=_METHOD,
    )


def _beaten(own: Route, chosen: Option) -> dict[str, str]:
    """The one model that would be taken for the task, and that it was not."""
    score, cost = own.evidence.score, own.evidence.cost_per_accepted_usd
    if not own.chain or score is None:
        return {}
    paid = f", at ${cost[0]:.2g} per accepted answer" if cost and cost[0] is not None else ""
    kind = chosen.kind.replace("_", " ")
    return {own.chain[0].candidate: f"of single models it is the choice, score {score[0]:.2f}{paid}; {kind} beats it"}


def _verifier(chosen: Option, assessed: Assessed, givers: Mapping[str, str | None]) -> Verifier | None:
    cascade, acceptance = chosen.cascade, chosen.acceptance
    if cascade is None or acceptance is None:
        return None
    true, false = (estimate.as_list() if estimate.n else None for estimate in acceptance)
    escalated = 1 - float(cascade.trusted(assessed.cell).mean())
    return Verifier(
        name=cascade.verifier,
        threshold=cascade.threshold,
        repeats=assessed.cell.repeats if cascade.verifier == AGREEMENT else 1,
        model=givers.get(cascade.verifier),
        true_acceptance=true,
        false_acceptance=false,
        escalated=round(escalated, 4),
    )


def providers(names: Sequence[str], models: Models) -> list[str]:
    """Whose trouble would be these models' trouble: hosts, or this machine."""
    found = []
    for name in names:
        model = models.get(name)
        if model is None:
            found.append(f"unknown ({name} is not in models.yaml)")
        else:
            found += [urlsplit(url).hostname or url for url in model.urls] or [THIS_MACHINE]
    return list(dict.fromkeys(found))


def with_providers(own: Route, models: Models) -> Route:
    """A route with whom its chain hangs on; one that hangs on a single provider says so."""
    if not own.chain:
        return own
    found = providers([link.model for link in own.chain], models)
    evidence = own.evidence.model_copy(update={"providers": found})
    hangs = f" Its whole chain hangs on one provider: {found[0]}." if len(found) == 1 else ""
    return own.model_copy(update={"evidence": evidence, "reason": own.reason + hangs})
