"""What a route is chosen for, and the limits that no choice may cross.

objective_of("cost")                                  # or score, latency, or a utility:
objective_of({"accepted": 0.05, "latency": 0.001})    # USD that an accepted answer is worth; that a second costs
Constraints(zones=["local"], traffic_per_month=1e6, budget_usd_per_month=200)

Only candidates that are not worse than the best by more than the margin are compared; but a utility says itself what a
worse answer costs, so there all that are inside the limits are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any, Literal, Protocol, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.files import StrictModel
from workbench.outcomes import split_candidate
from workbench.privacy import Zone
from workbench.scores import with_score

Floats = NDArray[np.float64]
Named = Literal["cost", "score", "latency"]
_NAMES = ("cost", "score", "latency")


class Utility(StrictModel):
    """A request's worth in USD: accepted × `accepted` + score × `score` − cost × `cost` − seconds × `latency`.

    Attributes:
        accepted: USD that an accepted answer is worth.
        score: USD that a full point of score is worth.
        cost: how much a USD that is spent counts.
        latency: USD that a second of waiting costs.
    """

    accepted: float = Field(default=0.0, ge=0)
    score: float = Field(default=0.0, ge=0)
    cost: float = Field(default=1.0, ge=0)
    latency: float = Field(default=0.0, ge=0)

    def __str__(self) -> str:
        worth = [f"an accepted answer is worth ${self.accepted:g}"] if self.accepted else []
        worth += [f"a point of score ${self.score:g}"] if self.score else []
        worth += [f"a second costs ${self.latency:g}"] if self.latency else []
        return f"utility ({', '.join([*worth, f'a dollar spent counts {self.cost:g}'])})"


Objective = Named | Utility


class Constraints(StrictModel):
    """Hard limits beside those of the eval set.

    Attributes:
        zones: where models may be; everywhere that the items may go where left out.
        traffic_per_month: requests, of every task × class, or by task.
        budget_usd_per_month: what each task × class may cost, or by task; it takes the traffic.
    """

    zones: list[Zone] | None = None
    traffic_per_month: float | dict[str, float] | None = None
    budget_usd_per_month: float | dict[str, float] | None = None

    def traffic(self, task: str) -> float | None:
        """Requests a month."""
        stated = self.traffic_per_month
        return stated.get(task) if isinstance(stated, dict) else stated

    def cost_limit(self, task: str) -> float | None:
        """USD that a request may cost on average, or None where nothing is said.

        Raises:
            InputError: there is a budget and no traffic.
        """
        stated = self.budget_usd_per_month
        budget = stated.get(task) if isinstance(stated, dict) else stated
        if budget is None:
            return None
        traffic = self.traffic(task)
        if not traffic or traffic < 0 or budget < 0:
            raise InputError(f"{task}: a budget a month takes the requests a month. Give traffic_per_month, above 0.")
        return budget / traffic

    def refusal(self, task: str, model: str, cost_usd: float, models: Models) -> str | None:
        """Why a candidate with this mean cost of a request is outside, or None.

        Args:
            model: a model's id.
            cost_usd: of a request on average; NaN where it is not known.
        """
        zone = models.zone_of(model)
        if self.zones is not None and zone not in self.zones:
            return f"in zone {zone}, and only {', '.join(self.zones)} may be used"
        return self.over_budget(task, cost_usd)

    def over_budget(self, task: str, cost_usd: float) -> str | None:
        limit = self.cost_limit(task)
        if limit is None:
            return None
        if math.isnan(cost_usd):
            return "its cost is unknown, so it cannot be held against the budget"
        if cost_usd <= limit:
            return None
        month, traffic = cost_usd * (self.traffic(task) or 0), self.traffic(task) or 0
        return f"${month:,.2f} a month at {traffic:,.0f} requests, over the budget of ${limit * traffic:,.2f}"


def objective_of(given: object) -> Objective:
    """An objective by its name, or a utility by its weights.

    Raises:
        InputError: there is no such objective.
    """
    if isinstance(given, Utility):
        return given
    if given == "cost" or given == "score" or given == "latency":
        return given
    if isinstance(given, Mapping):
        try:
            made = Utility.model_validate(dict(given))
        except ValidationError as failure:
            where = ".".join(map(str, failure.errors()[0]["loc"]))
            raise InputError(
                f"objective: '{where}' is not a weight of a utility. There are accepted, score, cost, latency, in USD."
            ) from None
        if made.accepted or made.score:
            return made
        raise InputError("objective: a utility needs what an answer is worth: give accepted or score, in USD.")
    raise InputError(f"there is no objective '{given}'. There are: {', '.join(_NAMES)}, or weights of a utility.")


def keeps_margin(objective: Objective) -> bool:
    """Whether only what is not surely worse than the best is compared; a utility weighs that itself."""
    return isinstance(objective, str)


def loss(objective: Objective, score: float, accepted: float, cost_usd: float, p95_s: float, mean_s: float) -> float:
    """What is to be small, out of means over requests; NaN where what it takes is not known.

    Args:
        score: mean score.
        accepted: share of accepted answers.
        cost_usd: of a request.
        p95_s: latency.
        mean_s: latency.
    """
    if objective == "cost":
        return math.inf if accepted == 0 else cost_usd / accepted
    if objective == "score":
        return -score
    if objective == "latency":
        return p95_s
    terms = (
        (cost_usd, objective.cost),
        (accepted, -objective.accepted),
        (score, -objective.score),
        (mean_s, objective.latency),
    )
    return sum(figure * weight for figure, weight in terms if weight)


class Cost(Protocol):
    @property
    def value(self) -> float: ...


class Standing(Protocol):
    """What choosing needs of a candidate; see `workbench.routing.standing`."""

    @property
    def name(self) -> str: ...
    @property
    def cost(self) -> Cost: ...
    @property
    def rejected(self) -> str | None: ...


S = TypeVar("S", bound=Standing)


def constrained(judged: list[S], rows: pd.DataFrame, task: str, models: Models, constraints: Constraints) -> list[S]:
    """The candidates, with those that the constraints leave out marked as rejected."""
    if constraints == Constraints():
        return judged
    cost = means_of(rows)["cost_usd"]
    refused = {
        each.name: constraints.refusal(task, split_candidate(each.name)[0], float(cost[each.name]), models)
        for each in judged
    }
    marked: list[Any] = [replace(each, rejected=each.rejected or refused[each.name]) for each in cast(Any, judged)]
    return marked


def losses(objective: Objective, able: Sequence[Standing], rows: pd.DataFrame) -> dict[str, float]:
    """What each candidate loses by the objective, the smallest is the best; NaN where that is not known."""
    if objective == "cost":
        return {each.name: each.cost.value for each in able}
    means = means_of(rows)
    fields = ("score", "accepted", "cost_usd", "p95_s", "latency_s")
    at = {name: means[name].to_dict() for name in fields}
    return {each.name: loss(objective, *(float(at[name][each.name]) for name in fields)) for each in able}


def told_apart(objective: Objective, losses_of: Mapping[str, float], rows: pd.DataFrame, margin: float) -> bool:
    """Whether the best by a utility may be worth less than another by no more than the margin is worth.

    Other objectives are held to the margin before; see `keeps_margin`. Bounds are one-sided at 95 %, jointly, with the
    spread between clusters.
    """
    if isinstance(objective, str) or len(losses_of) < 2:
        return True
    best = min(losses_of, key=losses_of.__getitem__)
    rows = with_score(rows)
    worth = pd.DataFrame({"item_id": rows["item_id"], "candidate": rows["candidate"]})
    worth["cluster"] = rows["cluster"].fillna(rows["item_id"]) if "cluster" in rows else rows["item_id"]
    worth["worth"] = -_worth(objective, rows)
    items = worth.pivot_table(index=["cluster", "item_id"], columns="candidate", values="worth", aggfunc="mean")
    z = NormalDist().inv_cdf(1 - 0.05 / (len(losses_of) - 1))
    allowed = margin * (objective.accepted + objective.score)
    for other in losses_of:
        gap = (items[best] - items[other]).dropna() if other != best else pd.Series(dtype=float)
        sums = (gap - gap.mean()).groupby(level="cluster").sum() if len(gap) else gap
        if other != best and (len(sums) < 2 or gap.mean() + z * math.sqrt((sums**2).sum()) / len(gap) > allowed):
            return False
    return True


def _worth(objective: Utility, rows: pd.DataFrame) -> pd.Series[float]:
    worth = objective.score * rows["points"]
    if objective.accepted:
        worth = worth + objective.accepted * rows["accepted"].fillna(False).astype(float)
    if objective.cost:
        worth = worth - objective.cost * rows["cost_usd"]
    return worth - objective.latency * rows["latency_s"] if objective.latency else worth


def means_of(rows: pd.DataFrame) -> pd.DataFrame:
    """By candidate: `score`, `accepted`, `cost_usd`, `latency_s` (means) and `p95_s`; NaN where any is not known."""
    rows = with_score(rows)
    known = pd.DataFrame({"candidate": rows["candidate"], "score": rows["points"]})
    known["accepted"] = rows["accepted"].fillna(False).astype(float) if "accepted" in rows else math.nan
    for name in ("cost_usd", "latency_s"):
        known[name] = rows.get(name, math.nan)
    grouped = known.groupby("candidate")
    found = grouped[["score", "accepted", "cost_usd", "latency_s"]].mean()
    for name in ("cost_usd", "latency_s"):
        found.loc[grouped[name].count() < grouped.size(), name] = math.nan
    found["p95_s"] = grouped["latency_s"].quantile(0.95)
    found.loc[found["latency_s"].isna(), "p95_s"] = math.nan
    return found


def accepted_share(rows: pd.DataFrame, candidate: str) -> float | None:
    """The share of a candidate's answers that were accepted; None where that is not known."""
    if "accepted" not in rows:
        return None
    own = with_score(rows[rows["candidate"] == candidate])
    return round(float(own["accepted"].fillna(False).astype(float).mean()), 4)


_BEST = {
    "cost": "by its estimated cost it is the cheapest",
    "latency": "by its p95 latency it is the fastest",
    "score": "it scores best",
}


def superlative(objective: Objective) -> str:
    """What the chosen one is among those that may be chosen, in words."""
    return _BEST[objective] if isinstance(objective, str) else f"it is worth most by the {objective}"
