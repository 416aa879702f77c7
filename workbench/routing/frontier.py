"""The report on all policies: score against cost per accepted answer and latency, what was chosen, and why.

report = frontier(outcomes, models, limits=tasks)
report.table          # a row a policy: figures with intervals, on the hull or under it, chosen, why
report.measures       # APGR, CPT, AIQ, the oracle, a row a task × class
report                # a notebook shows both, and the figure
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.routing.cell import OUTER, folds
from workbench.routing.measures import aiq, hull, oracle_score, recovered
from workbench.routing.played import chosen_elsewhere

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from workbench.routing.assess import Assessed, Option
    from workbench.routing.policy import Policy


@dataclass(frozen=True, repr=False)
class Frontier:
    """All policies that were compared.

    Attributes:
        policy: the routes that follow.
        assessed: what was found, one a task × class.
    """

    policy: Policy
    assessed: list[Assessed]

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a policy of each task × class, cheapest first.

        Columns `task`, `class`, `policy` (its kind), `name`, `score` with `score_lo` and `score_hi`,
        `cost_per_accepted_usd` with `cost_lo` and `cost_hi` (NaN is unknown, inf none accepted), `cost_usd` (of a
        request), `latency_p50_s`, `latency_p95_s`, `p95_bound_s` (its upper bound), `on_hull` (no random mix of others
        scores more at its cost), `offered`, `chosen`, `why`. Learned policies are played out of sample.
        """
        return pd.DataFrame([row for each in self.assessed for row in self._rows(each)], columns=_COLUMNS)

    def _rows(self, each: Assessed) -> list[dict[str, Any]]:
        cost, score = _points(each.options)
        on_hull = set(hull(cost, score).tolist())
        rows = []
        for index in np.argsort(np.nan_to_num(cost, nan=np.inf), kind="stable").tolist():
            option = each.options[index]
            chosen = option is each.chosen
            rows.append(
                {
                    "task": each.cell.task,
                    "class": each.cell.cls,
                    "policy": option.kind,
                    "name": option.name,
                    **_figures(option),
                    "on_hull": index in on_hull,
                    "offered": option.offered,
                    "chosen": chosen,
                    "why": self.policy.route(each.cell.task, each.cell.cls).reason
                    if chosen
                    else self._why(each, option),
                }
            )
        return rows

    def _why(self, each: Assessed, option: Option) -> str:
        route = self.policy.route(each.cell.task, each.cell.cls)
        return route.evidence.rejected.get(option.name) or option.reason

    @cached_property
    def measures(self) -> pd.DataFrame:
        """The literature's figures, a row a task × class; NaN where there is no such figure.

        Columns `task`, `class`, `oracle` (who knows the best answer of each item), `best_single`, `chosen` (scores),
        `choice_elsewhere` and `choice_elsewhere_usd` (score and cost per accepted answer of the per-task rule, where
        each fold's choice is made on the others: choosing and judging on the same items flatters), `gap_to_oracle`,
        `aiq_singles` and `aiq` (with the policies; the same range of cost), and of a per-request router between the
        cheapest and the best candidate, offered or not: `apgr` with `apgr_lo` and `apgr_hi`, `cpt_50`, `cpt_80`.
        Sources: APGR and CPT arXiv 2406.18665, AIQ and the hull arXiv 2403.12031.
        """
        return pd.DataFrame([_measures(each) for each in self.assessed])

    def __repr__(self) -> str:
        return self.describe()

    def describe(self) -> str:
        """What was chosen, and what was rejected and why, for a terminal."""
        lines = []
        for each in self.assessed:
            route = self.policy.route(each.cell.task, each.cell.cls)
            lines += [f"{each.cell.task} ({each.cell.cls}): {route.way}  [{route.status}, {route.kind}]"]
            lines += [f"  {route.reason}"]
            for row in self._rows(each):
                if not row["chosen"]:
                    lines.append(f"  not {row['name']}: {row['why'] or 'the chosen one serves the objective better'}")
        return "\n".join(lines)

    def figure(self) -> Figure:
        """Score against cost per accepted answer, and against p95 latency; a row a task × class."""
        from workbench.views.frontier import frontier_figure

        return frontier_figure(self)

    def _repr_html_(self) -> str:
        from workbench.views.frontier import frontier_html

        return frontier_html(self)


_COLUMNS = [
    *(
        "task",
        "class",
        "policy",
        "name",
        "score",
        "score_lo",
        "score_hi",
        "cost_per_accepted_usd",
        "cost_lo",
        "cost_hi",
    ),
    *("cost_usd", "latency_p50_s", "latency_p95_s", "p95_bound_s", "on_hull", "offered", "chosen", "why"),
]


def _points(options: list[Option]) -> tuple[np.ndarray, np.ndarray]:
    """Mean cost of a request, and score: the plane in which a random mix is a straight line."""
    cost = np.array([option.figures.cost_usd if option.figures else math.nan for option in options])
    score = np.array([option.figures.score.value if option.figures else math.nan for option in options])
    return cost, score


def _figures(option: Option) -> dict[str, float]:
    found = option.figures
    if found is None:
        return dict.fromkeys(_COLUMNS[4:14], math.nan)
    values = (
        *(found.score.value, found.score.lo, found.score.hi),
        *(found.cost_per_accepted.value, found.cost_per_accepted.lo, found.cost_per_accepted.hi),
        *(found.cost_usd, found.p50_s, found.p95_s, found.p95_bound_s),
    )
    return dict(zip(_COLUMNS[4:14], values, strict=True))


def _measures(each: Assessed) -> dict[str, Any]:
    cell = each.cell
    usable = cell.usable
    oracle = oracle_score(cell.mean.score[:, usable]) if usable else math.nan
    singles = [option for option in each.options if option.kind == "per_task" and option.name not in cell.refused]
    scores = [option.figures.score.value for option in singles if option.figures]
    chosen = each.chosen.figures.score.value if each.chosen and each.chosen.figures else math.nan
    row: dict[str, Any] = {"task": cell.task, "class": cell.cls, "oracle": oracle}
    row |= _elsewhere(each)
    row |= {"best_single": max(scores, default=math.nan), "chosen": chosen, "gap_to_oracle": oracle - chosen}
    everything = [option for option in each.options if option.name not in cell.refused]
    row |= {"aiq_singles": _aiq(singles, everything), "aiq": _aiq(everything, everything)}
    return row | _recovery(each)


def _elsewhere(each: Assessed) -> dict[str, float]:
    """The per-task rule out of sample."""
    inside = [
        option.played for option in each.options if option.kind == "per_task" and option.offered and option.played
    ]
    groups = each.cell.groups
    if not inside or len(np.unique(groups)) < OUTER:
        return {"choice_elsewhere": math.nan, "choice_elsewhere_usd": math.nan}
    found = chosen_elsewhere(inside, groups, each.terms, folds(groups, OUTER, 0))
    own = found.at(found.known)
    good = float(own.accepted.mean())
    cost = math.nan if math.isnan(good) else float(own.cost_usd.mean()) / good if good else math.inf
    return {"choice_elsewhere": float(own.score.mean()), "choice_elsewhere_usd": cost}


def _aiq(options: list[Option], all_options: list[Option]) -> float:
    cost = _points(all_options)[0]
    finite = cost[np.isfinite(cost)]
    own = _points(options)[0]
    if not len(finite) or not np.isfinite(own).any():
        return math.nan
    return aiq(*_points(options), low=float(np.nanmin(own)), high=float(finite.max()))


def _recovery(each: Assessed) -> dict[str, float]:
    names = ("apgr", "apgr_lo", "apgr_hi", "cpt_50", "cpt_80")
    router = next((option for option in each.options if option.chances is not None), None)
    if router is None or router.chances is None:
        return dict.fromkeys(names, math.nan)
    columns = [each.cell.candidates.index(name) for name in router.links]
    scores = each.cell.mean.score[:, columns]
    weak = int(np.argmin(each.cell.mean.cost_usd[:, columns].mean(axis=0)))
    strong = int(np.argmax(scores.mean(axis=0)))
    if weak == strong:
        return dict.fromkeys(names, math.nan)
    preference = router.chances[:, strong] - router.chances[:, weak]
    found = recovered([preference], scores[:, weak], scores[:, strong], each.cell.groups)
    apgr, half, most = found["apgr"], found["cpt_50"], found["cpt_80"]
    return dict(zip(names, (apgr.value, apgr.lo, apgr.hi, half.value, most.value), strict=True))
