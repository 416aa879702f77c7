"""What if: another price, traffic or price date, a model or a provider that goes away. Nothing is asked again.

    report = what_if(outcomes, models, limits=tasks, prices={"gpt-mini": (0.30, 1.20)}, without=["old-model"])
    report.changes            # which routes would change
    report.tipping            # at which price each route tips over
    report.break_even         # local against hosted, in requests and tokens a day

Costs are tokens × price, so an outcome without a count of tokens has no cost at another price, and the report says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.outcomes import split_candidate
from workbench.outcomes.table import normalize
from workbench.prices import Price, TokenPrice
from workbench.routing.objective import Constraints, Objective
from workbench.routing.policies import route
from workbench.routing.policy import Kind, Policy, Route
from workbench.routing.repricing import DIFFERENT, LocalPrices, listed_price, local_usd, mix_of, reprice
from workbench.routing.tipping import COLUMNS as TIPPING
from workbench.routing.tipping import tips
from workbench.words import counted

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Limits

PriceLike = Price | tuple[float, float]


@dataclass(frozen=True, repr=False)
class WhatIf:
    """What would change.

    Attributes:
        before: the policy as things are.
        after: the policy as they would be.
        changes: a row a route: `task`, `class`, `before`, `after` (candidates), `changed`, `status`, `cost_before_usd`,
            `cost_after_usd` (per accepted answer), and with a traffic `month_before_usd`, `month_after_usd`; `why`.
        tipping: a row a route × model that the price decides about: `chosen`, `model`, `now` and `until` in `unit`;
            `until` is infinite where no price changes the route. `said` is the sentence.
        break_even: a row a route × local × hosted candidate: `requests_per_day` and `tokens_per_day` from which the
            machine costs less than the hosted model; `said`.
        bands: a row a model whose two price sources disagree: `low` and `high` in USD a million tokens, and the routes
            that hang on which is right.
        notes: what could not be computed.
    """

    before: Policy
    after: Policy
    changes: pd.DataFrame
    tipping: pd.DataFrame
    break_even: pd.DataFrame
    bands: pd.DataFrame
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return self.describe()

    def describe(self) -> str:
        """The report for a terminal."""
        lines = []
        for _, row in self.changes.iterrows():
            what = f"{row['before']} → {row['after']}" if row["changed"] else f"stays with {row['after']}"
            month = ""
            if "month_after_usd" in row and not math.isnan(row["month_after_usd"]):
                month = f"; ${row['month_after_usd']:,.2f} a month, was ${row['month_before_usd']:,.2f}"
            lines.append(f"{row['task']} ({row['class']}): {what}  [{row['status']}]{month}")
            if row["changed"]:
                lines.append(f"  {row['why']}")
        for table in (self.tipping, self.break_even, self.bands):
            lines += [f"{row['said']}" for _, row in table.iterrows()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        from workbench.views.frontier import what_if_html

        return what_if_html(self)


def what_if(
    outcomes: pd.DataFrame,
    models: Models,
    limits: Mapping[str, EvalSet | Limits] | None = None,
    objective: str | Mapping[str, float] | Objective = "cost",
    *,
    prices: Mapping[str, PriceLike] | None = None,
    without: Sequence[str] = (),
    without_providers: Sequence[str] = (),
    price_date: date | str | None = None,
    traffic_per_month: float | dict[str, float] | None = None,
    constraints: Constraints | None = None,
    local_usd_per_mtok: LocalPrices | None = None,
    policies: Sequence[Kind] = ("per_task",),
) -> WhatIf:
    """Decide again under other circumstances.

    Args:
        outcomes: an outcome table.
        models: models.yaml.
        limits: eval sets, or limits, by task.
        objective: as `route` takes it.
        prices: by model, USD a million tokens in and out, or an entry as in models.yaml.
        without: models that are gone.
        without_providers: hosts whose models are gone.
        price_date: listed prices are those of this date.
        traffic_per_month: requests of each task × class, or by task.
        constraints: as `route` takes them; the traffic is put in.
        local_usd_per_mtok: a local model's measured price at full load, USD a million tokens, in and out together, or
            one by task, such as `workbench.breakeven.measured_prices` has.
        policies: as `route` takes them.

    Raises:
        InputError: a model, provider, price or date that is not one; nothing would be left.
    """
    table = normalize(outcomes)
    table.attrs = dict(outcomes.attrs)
    stated = {name: _price(name, price) for name, price in (prices or {}).items()}
    _check_models([*stated, *without, *(local_usd_per_mtok or {})], table, models)
    on = _date(price_date)
    bounds = constraints or Constraints()
    if traffic_per_month is not None:
        bounds = bounds.model_copy(update={"traffic_per_month": traffic_per_month})
    decide = partial(route, limits=limits, objective=objective, policies=policies, constraints=bounds)
    before = decide(table, models)
    other, notes = reprice(table, models, stated, on, local_usd_per_mtok)
    gone = set(without) | _of_providers(without_providers, models)
    other = other[~other["model"].isin(gone)]
    if other.empty:
        raise InputError("without these, nothing is left to choose from.")
    other.attrs = dict(table.attrs)
    left = Models({name: model for name, model in models.items() if name not in gone}, models.machine)
    after = decide(other, left)
    cells = {(str(task), str(label)): rows for (task, label), rows in _classed(other).groupby(["task", "class"])}
    again = {key: partial(_chosen, decide, left, key) for key in cells}
    return WhatIf(
        before=before,
        after=after,
        changes=_changes(before, after, bounds),
        tipping=_frame([row for each in after.routes for row in tips(each, cells, again)], TIPPING),
        break_even=_frame(
            [row for each in after.routes for row in _break_even(each, cells, left, local_usd_per_mtok)], _EVEN
        ),
        bands=_frame(_bands(other, left, after, decide, on), _BANDS),
        notes=notes + _notes(left, after),
    )


_EVEN = ["task", "class", "local", "hosted", "requests_per_day", "tokens_per_day", "said"]
_BANDS = ["model", "low", "high", "routes", "said"]


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def _price(name: str, price: PriceLike) -> Price:
    if not isinstance(price, tuple):
        return price
    if len(price) != 2 or not all(isinstance(each, int | float) and 0 <= each < math.inf for each in price):
        raise InputError(f"price of {name}: give USD a million tokens in and out, from 0 on, such as (0.15, 0.60).")
    return TokenPrice(input_usd_per_mtok=float(price[0]), output_usd_per_mtok=float(price[1]))


def _date(given: date | str | None) -> date | None:
    if not isinstance(given, str):
        return given
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise InputError(f"'{given}' is not a date such as 2026-01-31.") from None


def _check_models(names: Sequence[str], table: pd.DataFrame, models: Models) -> None:
    known = set(table["model"]) | set(models)
    for name in names:
        if name not in known:
            raise InputError(f"there is no model '{name}'. There are: {', '.join(sorted(known))}.")


def _of_providers(hosts: Sequence[str], models: Models) -> set[str]:
    by_host: dict[str, set[str]] = {}
    for name, model in models.items():
        for url in model.urls:
            by_host.setdefault(urlsplit(url).hostname or url, set()).add(name)
    for host in hosts:
        if host not in by_host:
            raise InputError(f"no model is at '{host}'. Providers are: {', '.join(sorted(by_host)) or 'none'}.")
    # A model with several endpoints stays as long as one of them does.
    return {
        name
        for name, model in models.items()
        if model.urls and all((urlsplit(url).hostname or url) in hosts for url in model.urls)
    }


def _classed(table: pd.DataFrame) -> pd.DataFrame:
    from workbench.scores import prepare

    return prepare(table)


def _changes(before: Policy, after: Policy, bounds: Constraints) -> pd.DataFrame:
    rows = []
    old = {(each.task, each.class_): each for each in before.routes}
    for key, was in old.items():
        now = next((each for each in after.routes if (each.task, each.class_) == key), None)
        names = [_named(each) for each in (was, now)]
        traffic = bounds.traffic(was.task)
        cost = [_cost(each) for each in (was, now)]
        row: dict[str, Any] = {"task": was.task, "class": was.class_, "before": names[0], "after": names[1]}
        row |= {"changed": names[0] != names[1], "status": now.status if now else "infeasible"}
        row |= {"cost_before_usd": cost[0], "cost_after_usd": cost[1]}
        if traffic:
            months = [_month(each, value, traffic) for each, value in zip((was, now), cost, strict=True)]
            row |= {"month_before_usd": months[0], "month_after_usd": months[1]}
        rows.append(row | {"why": now.reason if now else "no model that was asked is left"})
    return pd.DataFrame(rows)


def _named(each: Route | None) -> str:
    if each is None or not each.chain:
        return "no model"
    links = [link.candidate for link in each.chain[: 1 if each.policy in ("per_task", "per_request") else 2]]
    return " → ".join(links) if each.policy == "per_task" else f"{' → '.join(links)} ({each.kind})"


def _cost(each: Route | None) -> float:
    found = each.evidence.cost_per_accepted_usd if each else None
    return math.nan if not found or found[0] is None else found[0]


def _month(each: Route | None, cost_per_accepted: float, traffic: float) -> float:
    """What the accepted answers of a month's requests cost: the share that is accepted is paid either way."""
    share = each.evidence.accepted if each else None
    return math.nan if share is None else cost_per_accepted * share * traffic


def _chosen(decide: Callable[..., Policy], models: Models, key: tuple[str, str], rows: pd.DataFrame) -> str:
    """The model that a route takes on some rows."""
    found = [each for each in decide(rows, models, policies=("per_task",)).routes if (each.task, each.class_) == key]
    return found[0].chain[0].model if found and found[0].chain else ""


def _break_even(
    own: Route, cells: Mapping[tuple[str, str], pd.DataFrame], models: Models, local_prices: LocalPrices | None
) -> list[dict[str, Any]]:
    """From which traffic on a machine that runs all day costs less than the hosted model."""
    hourly, rows = models.machine.usd_per_hour, cells.get((own.task, own.class_))
    if not hourly or rows is None:
        return []
    found = []
    usable = [name for name in own.evidence.able if split_candidate(name)[0] in models]
    local = [name for name in usable if models[split_candidate(name)[0]].managed]
    hosted = [name for name in usable if models.zone_of(split_candidate(name)[0]) == "hosted"]
    for here in local:
        for there in hosted:
            ours, theirs = (mix_of(rows[rows["candidate"] == name]) for name in (here, there))
            if not theirs.cost_per_accepted > 0 or not math.isfinite(theirs.cost_per_accepted) or not ours.accepted > 0:
                continue
            requests = hourly * 24 / (theirs.cost_per_accepted * ours.accepted)
            tokens = requests * ours.tokens
            at_most = local_usd(local_prices or {}, split_candidate(here)[0], own.task)
            most = hourly * 24 / at_most * 1e6 if at_most else math.nan
            where = f"{own.task} ({own.class_})"
            count = counted(requests, "request", spec=",.0f") + (
                "" if math.isnan(tokens) else f" ({counted(tokens, 'token', spec=',.0f')})"
            )
            said = f"{where}: a machine at ${hourly:g} an hour with {here} pays against {there} from {count} a day on."
            if tokens > most:
                said = (
                    f"{where}: {here} never pays against {there}: one machine manages {most:,.0f} tokens a day, and "
                    f"{tokens:,.0f} would be needed."
                )
            values = (own.task, own.class_, here, there, requests, tokens, said)
            found.append(dict(zip(_EVEN, values, strict=True)))
    return found


def _bands(
    table: pd.DataFrame, models: Models, after: Policy, decide: Callable[..., Policy], on: date | None
) -> list[dict[str, Any]]:
    """Models whose price in models.yaml is not the one in the bundled tables, and what hangs on which is right."""
    found = []
    for name, model in models.items():
        listed = listed_price(model, on) if isinstance(model.price, TokenPrice) else None
        rows = table[table["model"] == name]
        if listed is None or rows.empty or "cost_usd" not in table:
            continue
        other, _ = reprice(table, models, {name: listed})
        own = mix_of(reprice(rows, models, {name: model.price})[0]) if model.price else mix_of(rows)
        both = sorted((own.usd_per_mtok, mix_of(other[other["model"] == name]).usd_per_mtok))
        if math.isnan(sum(both)) or both[1] - both[0] <= DIFFERENT * both[1]:
            continue
        changed = [
            f"{was.task} ({was.class_})"
            for was, now in zip(after.routes, decide(other, models).routes, strict=True)
            if _named(was) != _named(now)
        ]
        hangs = f"it decides {', '.join(changed)}" if changed else "no route hangs on it"
        band = f"${both[0]:.3g} to ${both[1]:.3g} a million tokens"
        said = f"{name}: models.yaml and genai-prices disagree: {band}; {hangs}."
        found.append(dict(zip(_BANDS, (name, *both, changed, said), strict=True)))
    return found


def _notes(models: Models, after: Policy) -> list[str]:
    notes = []
    if models.machine.usd_per_hour is None and any(model.managed for model in models.values()):
        notes.append("models.yaml does not say what an hour of this machine costs: no break-even.")
    unsure = [f"{each.task} ({each.class_})" for each in after.routes if each.status == "provisional"]
    if unsure:
        notes.append(f"provisional, so that no price tips it over: {', '.join(unsure)}.")
    finer = [f"{each.task} ({each.class_})" for each in after.routes if each.policy != "per_task"]
    if finer:
        notes.append(f"more than one model answers, so that no tipping price is computed: {', '.join(finer)}.")
    return notes
