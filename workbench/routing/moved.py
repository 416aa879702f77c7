"""Deciding again as somebody moves limits and prices by hand. Nothing is asked or resampled anew where it need not be.

    moved = Moved(outcomes, models, limits=tasks, policy=policy)
    moved.move("support_triage", margin=0.08)
    moved.reprice("gpt-mini", 0.5)              # at half its price
    moved.route("support_triage", "open")       # decided at once
    moved.policy()                              # all routes; those that were moved are provisional

A limit that is set with the outcomes in sight proves nothing, so what is decided by it is provisional. Only one model
for a task is chosen that way: cascades and routers are `workbench.route`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.catalog import Models
from workbench.economics import quantile_interval
from workbench.errors import InputError
from workbench.evalset import Limits
from workbench.outcomes import split_candidate
from workbench.privacy import SensitivityClass, class_of
from workbench.resampling import Floats
from workbench.routing.choose import decide, is_stale, limits_of, older
from workbench.routing.objective import Constraints
from workbench.routing.policies import with_providers
from workbench.routing.policy import MarginSource, Policy, Route
from workbench.routing.repricing import mix_of
from workbench.routing.standing import Measured, standings
from workbench.scores import prepare

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

THIS_MACHINE = "this machine"  # what all models that the workbench starts are priced by
Cell = tuple[str, SensitivityClass]


class Moved:
    """A policy whose limits and prices are moved by hand.

    Attributes:
        cells: the prepared outcomes of each task × class.
        prices: by what is priced, the share of the price that it had in the outcomes; 1 where it was not moved.
    """

    def __init__(
        self, outcomes: pd.DataFrame, models: Models, limits: Mapping[str, EvalSet | Limits] | None, policy: Policy
    ) -> None:
        table = prepare(outcomes)
        self._models, self._own, self._policy = models, dict(limits or {}), policy
        self.cells: dict[Cell, pd.DataFrame] = {
            (str(task), _class(label)): rows for (task, label), rows in table.groupby(["task", "class"], sort=True)
        }
        self._routed: list[Cell] = [(route.task, route.class_) for route in policy.routes]
        self._models_of = {cell: frozenset(map(str, rows["model"].unique())) for cell, rows in self.cells.items()}
        self.prices: dict[str, float] = {}
        self._limits: dict[str, Limits] = {}
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._measured: dict[tuple[Any, ...], Measured] = {}
        self._stale: dict[str, bool] = {}
        self._bases = self._priced_by(table)

    def _priced_by(self, table: pd.DataFrame) -> dict[str, list[str]]:
        """What has a price that can be moved, with its models."""
        found: dict[str, list[str]] = {}
        if "cost_usd" not in table:
            return found
        paid = table.groupby("model")["cost_usd"].max()
        for model in map(str, paid.index[paid > 0]):
            entry = self._models.get(model)
            found.setdefault(THIS_MACHINE if entry is not None and entry.managed else model, []).append(model)
        return found

    @cached_property
    def priced(self) -> dict[str, str]:
        """What has a price that can be moved, and that price in words."""
        hourly = self._models.machine.usd_per_hour
        told = {}
        for name, models in self._bases.items():
            if name == THIS_MACHINE:
                told[name] = f"${hourly:g} an hour" if hourly else "its hourly price"
                continue
            rows = pd.concat([rows[rows["model"].isin(models)] for rows in self.cells.values()])
            mixed = mix_of(rows).usd_per_mtok
            told[name] = "its price" if math.isnan(mixed) else f"${mixed:.3g} a million tokens"
        return told

    def limits(self, task: str) -> Limits:
        """The limits that hold for a task now."""
        return self._limits.get(task) or limits_of(self._own.get(task))[0]

    def own_limits(self, task: str) -> Limits:
        """Those of its eval set."""
        return limits_of(self._own.get(task))[0]

    def move(self, task: str, **changes: Any) -> None:
        """Set limits of a task by hand: `margin`, `min_score`, `p95_latency_s`.

        Raises:
            InputError: a limit that is none.
        """
        try:
            moved = Limits.model_validate({**self.limits(task).model_dump(), **changes})
        except ValueError:
            raise InputError(f"{changes} are no limits: margin and min_score lie between 0 and 1.") from None
        self._limits[task] = moved
        if moved == self.own_limits(task):
            del self._limits[task]

    def reprice(self, name: str, factor: float) -> None:
        """Set the price of a model, or of `THIS_MACHINE`, to a multiple of what it was.

        Raises:
            InputError: nothing of that name has a price, or the factor is not above 0.
        """
        if name not in self._bases or not 0 < factor < math.inf:
            raise InputError(
                f"'{name}' × {factor:g}: priced are {', '.join(self._bases) or 'none'}, by a factor above 0."
            )
        self.prices[name] = factor
        if math.isclose(factor, 1):
            del self.prices[name]

    def reset(self) -> None:
        """Back to the eval sets' limits and the prices of the outcomes."""
        self._limits.clear()
        self.prices.clear()

    def renew(self, limits: Mapping[str, EvalSet | Limits], policy: Policy) -> None:
        """Go on with eval sets, and a policy, as they are now: what was moved stays so."""
        self._own, self._policy = dict(limits), policy
        self._kept.clear()
        self._stale.clear()

    def by_hand(self, task: str, cls: SensitivityClass) -> list[str]:
        """What was set by hand for a task and class, in words; empty where nothing was.

        A price says something only to those that were asked: a hosted model's is nothing to a restricted route.
        """
        now, own = self.limits(task), self.own_limits(task)
        said = [
            f"{name.replace('_', ' ').removesuffix(' s')} {_number(getattr(now, name))} (the eval set's is "
            f"{_number(getattr(own, name))})"
            for name in ("margin", "min_score", "p95_latency_s")
            if getattr(now, name) != getattr(own, name)
        ]
        asked = self._models_of.get((task, cls), frozenset())
        return said + [
            f"{name} at {factor:.2g} × its price"
            for name, factor in self.prices.items()
            if not asked.isdisjoint(self._bases[name])
        ]

    def route(self, task: str, cls: SensitivityClass) -> Route:
        """What is chosen now: the policy's own route where nothing was moved, or nothing is known of the task here.

        Raises:
            InputError: neither the policy nor the outcomes have such a task and class.
        """
        said, routed = self.by_hand(task, cls), (task, cls) in self._routed
        if (routed and not said) or (task, cls) not in self.cells:
            return self._policy.route(task, cls)
        key = ("route", task, cls, self.limits(task), *sorted(self.prices.items()))
        if key not in self._kept:
            self._kept[key] = self._decided(task, cls, said)
        found: Route = self._kept[key]
        return found

    def _decided(self, task: str, cls: SensitivityClass, said: list[str]) -> Route:
        limit, own = self.limits(task), self.own_limits(task)
        source: MarginSource = "interactive" if limit.margin != own.margin else limits_of(self._own.get(task))[1]
        measured, policy = self._measure(task, cls), self._policy
        bounds = policy.constraints or Constraints()
        made = decide(task, cls, measured, self._models, limit, source, policy.objective, bounds)
        made = with_providers(made, self._models)
        if (task, cls) in self._routed:
            tried = policy.route(task, cls).evidence.policies
            kept = {name: f"{why} (before anything was moved by hand)" for name, why in tried.items()}
            made = made.model_copy(update={"evidence": made.evidence.model_copy(update={"policies": kept})})
        if self._is_stale(task):
            made = older(made)
        if made.status == "decided":
            made = made.model_copy(update={"status": "provisional"})
        reason = made.reason
        if said:
            reason += f" Set by hand, with the outcomes in sight, so provisional: {'; '.join(said)}."
        if (task, cls) not in self._routed:
            reason += " The policy that was given has no such route."
        return made.model_copy(update={"reason": reason})

    def _is_stale(self, task: str) -> bool:
        """Whether the eval set has changed since the outcomes; its files are read once, until `renew`."""
        if task not in self._stale:
            own = [rows for (name, _), rows in self.cells.items() if name == task]
            self._stale[task] = any(is_stale(rows, self._own.get(task)) for rows in own)
        return self._stale[task]

    def policy(self) -> Policy:
        """All routes as they are now: those of the policy, and those that it lacks of tasks whose limits were moved."""
        further = [cell for cell in self.cells if cell not in self._routed and cell[0] in self._limits]
        routes, evidence = [self.route(*cell) for cell in [*self._routed, *further]], self._policy.evidence
        if self.prices:
            evidence = evidence.model_copy(update={"prices": self._priced(evidence.prices)})
        made = self._policy.model_copy(update={"routes": routes, "evidence": evidence})
        named = {each.router.file for each in made.routes if each.router}
        made._routers = {file: router for file, router in self._policy._routers.items() if file in named}
        return made

    def _priced(self, before: Mapping[str, str]) -> dict[str, str]:
        """Where the prices come from, those that were moved first."""
        moved = "; ".join(f"{name} × {factor:.2g}" for name, factor in sorted(self.prices.items()))
        rest = f"; else {before['source']}" if before.get("source") else ""
        return {**before, "source": f"moved by hand: {moved}{rest}"}

    def standing(self, task: str, cls: SensitivityClass) -> pd.DataFrame:
        """How the candidates stand now: what a figure shows.

        Returns:
            Columns `candidate`, `zone`, `n`, `score`, `score_lo`, `score_hi`, `cost`, `cost_lo`, `cost_hi` (USD an
            accepted answer), `p95_s`, `p95_lo`, `p95_hi`, `chosen`, `why` (it is not chosen, or is), `outside` (the
            limits), `frontier` (no other scores better at that cost or less).
        """
        key = ("standing", task, cls, self.limits(task), *sorted(self.prices.items()))
        if key not in self._kept:
            self._kept[key] = self._stood(task, cls)
        found: pd.DataFrame = self._kept[key]
        route = self.route(task, cls)
        chosen = route.chain[0].candidate if route.chain else None
        why = {**route.evidence.rejected, **({chosen: route.reason} if chosen else {})}
        return found.assign(chosen=found["candidate"] == chosen, why=[why.get(each, "") for each in found["candidate"]])

    def _stood(self, task: str, cls: SensitivityClass) -> pd.DataFrame:
        measured = self._measure(task, cls)
        grid, rows = measured.grid, []
        judged = standings(measured, self._models, cls, self.limits(task))
        for index, (each, latency) in enumerate(zip(judged, grid.listed("latency_s"), strict=True)):
            asked = int((grid.asked[:, index] > 0).sum())
            p95 = quantile_interval(latency, 0.95, asked)
            row = {"candidate": each.name, "zone": self._models.zone_of(split_candidate(each.name)[0]), "n": asked}
            row |= {"score": each.score.value, "score_lo": each.score.lo, "score_hi": each.score.hi}
            row |= {"cost": each.cost.value, "cost_lo": each.cost.lo, "cost_hi": each.cost.hi}
            row |= {"p95_s": p95.value, "p95_lo": p95.lo, "p95_hi": p95.hi, "outside": each.rejected or ""}
            rows.append(row)
        table = pd.DataFrame(rows)
        return table.assign(frontier=_undominated(table["cost"].to_numpy(float), table["score"].to_numpy(float)))

    def _measure(self, task: str, cls: SensitivityClass) -> Measured:
        """A cell at the prices of now."""
        key = (task, cls, *sorted(self.prices.items()))
        if key not in self._measured:
            self._measured[key] = Measured(self._rows(task, cls))
        return self._measured[key]

    def _rows(self, task: str, cls: SensitivityClass) -> pd.DataFrame:
        rows = self.cells[task, cls]
        factors = {
            model: self.prices[name] for name, models in self._bases.items() if name in self.prices for model in models
        }
        if not factors:
            return rows
        return rows.assign(cost_usd=rows["cost_usd"] * rows["model"].map(factors).fillna(1.0))


def _class(label: object) -> SensitivityClass:
    return class_of("internal" if label == "open" else "restricted")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _undominated(cost: Floats, score: Floats) -> list[bool]:
    """Whether no other scores as well for less, or better for as much."""
    return [
        bool(math.isfinite(own) and not ((cost <= own) & (score >= got) & ((cost < own) | (score > got))).any())
        for own, got in zip(cost, score, strict=True)
    ]
