"""What a token costs on this machine, as measured, and from how many a day on that is less than a hosted model's price.

price = local_price(models["smollm2-q4"], read_loads(), utilization=0.2)       # LocalPrice, or None
price.usd_per_mtok.value                                                       # USD a million tokens, read and written
break_even(result, models)                                                     # one BreakEven a hosted model

A machine is paid by the hour whether it works or not, so its price of a token hangs on how much it is used: at a
utilization of 0.2 a token costs five times what it costs at 1.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from workbench.catalog import Machine, Model, Models
from workbench.errors import InputError, WorkbenchError
from workbench.load.plan import engine_digest
from workbench.load.result import Figure, LoadResult, Step, read_loads
from workbench.prices import ListedPrice, Price, token_cost
from workbench.servers import engine_of

At = Literal["saturation", "limits"]

_MTOK = 1_000_000
_HOURS = 24


@dataclass(frozen=True)
class LocalPrice:
    """What tokens cost on this machine.

    Attributes:
        usd_per_mtok: a million tokens, read and written in the mix that was measured; without a value where the server
            did not count them.
        usd_per_mtok_output: a million written ones, where those bear the whole cost.
        usd_per_request: a request of the measured length.
        at: at saturation, or at the highest load whose p95 keeps the limits.
        level: requests in flight, or a second.
        utilization: the share of that throughput which is really used.
        measured: when, UTC.
        workload: what was asked.
    """

    usd_per_mtok: Figure
    usd_per_mtok_output: Figure
    usd_per_request: Figure
    at: At
    level: float
    utilization: float
    measured: str
    workload: str


@dataclass(frozen=True)
class BreakEven:
    """From how many tokens a day on this machine is cheaper than a hosted model.

    Attributes:
        model: the hosted one.
        usd_per_mtok: its price of a million tokens in the mix that was measured; None where it is not known.
        tokens_per_day: from so many on, in this model's tokens; infinite where the hosted model is free.
        capacity_per_day: what this machine can do.
    """

    model: str
    usd_per_mtok: float | None
    tokens_per_day: float | None
    capacity_per_day: float

    @property
    def serves(self) -> bool | None:
        """Whether this machine can do as many; None where it is not known."""
        return None if self.tokens_per_day is None else self.tokens_per_day <= self.capacity_per_day

    @property
    def utilization(self) -> float | None:
        """The share of the machine's capacity that it takes; above 1 it never pays."""
        return None if self.tokens_per_day is None else self.tokens_per_day / self.capacity_per_day


def price_of(
    result: LoadResult, usd_per_hour: float | None = None, utilization: float = 1.0, at: At = "saturation"
) -> LocalPrice | None:
    """What tokens cost by a load test.

    Args:
        usd_per_hour: what the machine costs; None takes what it cost when it was measured.
        utilization: from above 0 to 1.
        at: which throughput is taken as what the machine can do.

    Returns:
        None where the model does not run on this machine, its price is unknown, or not even the lowest load keeps the
        limits.

    Raises:
        InputError: no utilization.
    """
    _check_utilization(utilization)
    usd_per_hour = result.machine_usd_per_hour if usd_per_hour is None else usd_per_hour
    step = _step(result, at)
    if usd_per_hour is None or step is None or result.zone != "local":
        return None
    usd_per_s = usd_per_hour / 3600 / utilization
    return LocalPrice(
        _each(step.total_tokens_per_s if counts(step) else Figure(value=None), usd_per_s * _MTOK),
        _each(step.output_tokens_per_s, usd_per_s * _MTOK),
        _each(step.requests_per_s, usd_per_s),
        at,
        step.level,
        utilization,
        result.started,
        result.workload,
    )


def counts(step: Step) -> bool:
    """Whether the server counted the tokens of all its answers: without them a token has no price."""
    return None not in (step.input_tokens, step.output_tokens, step.total_tokens_per_s.value)


def _check_utilization(utilization: float) -> None:
    if not 0 < utilization <= 1:
        raise InputError(f"utilization is a share above 0 and at most 1, not {utilization:g}.")


def _step(result: LoadResult, at: At) -> Step | None:
    return result.saturation if at == "saturation" else result.at_limits


def _each(rate: Figure, usd_per_s: float) -> Figure:
    """USD for each, at a rate a second."""
    value, lo, hi = (usd_per_s / each if each else math.nan for each in (rate.value, rate.hi, rate.lo))
    return Figure.of(value, lo, hi)


def local_price(
    model: Model,
    loads: Iterable[LoadResult],
    utilization: float = 1.0,
    *,
    task: str | None = None,
    at: At = "saturation",
    machine: Machine | None = None,
) -> LocalPrice | None:
    """What a model's tokens cost on this machine, by its newest complete load test.

    Args:
        loads: what `read_loads` returned. One with other weights, engine or arguments than the model has now does not
            count.
        utilization: see `price_of`.
        task: only tests with this task's prompts; None takes any.
        at: see `price_of`.
        machine: what it costs now; None takes what it cost when it was measured.

    Raises:
        InputError: no utilization.
    """
    loads = [load for load in loads if load.model == model.id and load.complete and task in (None, load.task)]
    if not loads or model.engine == "rules":
        return None
    engine = engine_digest(model)
    for load in sorted(loads, key=lambda load: load.started, reverse=True):
        if load.engine == engine:
            return price_of(load, machine.usd_per_hour if machine else None, utilization, at)
    return None


def measured_prices(
    models: Models, utilization: float = 1.0, at: At = "saturation"
) -> dict[str, dict[str | None, float]]:
    """What a million tokens of each local model costs on this machine, in USD, by its complete load tests.

    Args:
        utilization: see `price_of`.
        at: see `price_of`.

    Returns:
        By model and task: the newest test with that task's prompts tells. Under None stands what the newest of any
        tells, for tasks without one. Models without a test are left out.

    Raises:
        InputError: no utilization.
    """
    return _in_usd(_measured(models, utilization, at))


def _in_usd(measured: Mapping[str, Mapping[str | None, LocalPrice]]) -> dict[str, dict[str | None, float]]:
    return {
        name: {task: price.usd_per_mtok.number for task, price in prices.items()} for name, prices in measured.items()
    }


def _measured(models: Models, utilization: float, at: At) -> dict[str, dict[str | None, LocalPrice]]:
    """As `measured_prices`, with what was asked and when."""
    _check_utilization(utilization)  # also where no load test uses it
    found = {}
    loads = read_loads()
    for model in models.values():
        own = [load for load in loads if load.model == model.id]
        if not own or model.zone != "local" or engine_of(model).unavailable(model):
            continue
        tasks = [*sorted({load.task for load in own if load.task is not None}), None]
        told = {task: local_price(model, own, utilization, task=task, at=at, machine=models.machine) for task in tasks}
        prices = {task: price for task, price in told.items() if price is not None}
        prices = {task: price for task, price in prices.items() if price.usd_per_mtok.value is not None}
        if prices:
            found[model.id] = prices
    return found


def prices_to_route_by(
    models: Models, asked: Collection[str], utilization: float | None, how: str
) -> tuple[dict[str, dict[str | None, float]] | None, list[str]]:
    """What a routing decision takes for tokens of local models, and what its reader should know of that.

    Args:
        asked: the models of the outcomes.
        utilization: see `price_of`; None does not use load tests.
        how: how to say that they are to be used, such as `--utilization 0.2`.

    Returns:
        USD a million tokens by model and task, as of `measured_prices`, or None: their share of the machine's time. And
        lines: which workload a price comes from, which models have no load test, or which have one that is not used.

    Raises:
        InputError: no utilization, or a file among the load tests is none, where they are used.
    """
    own = Models({name: model for name, model in models.items() if name in asked}, models.machine)
    if utilization is not None:
        measured = _measured(own, utilization, "saturation")
        tested = {load.model for load in read_loads()}
        why = {True: "a load test that tells no price of a token", False: "no load test"}
        return _in_usd(measured), [
            *(f"{name}: a million tokens cost {_said(prices)}" for name, prices in measured.items()),
            *(
                f"{name} has {why[name in tested]} ('workbench load {name}'): it costs its share of the machine's time"
                for name, model in own.items()
                if model.managed and name not in measured
            ),
        ]
    try:
        unused = ", ".join(measured_prices(own))
    except WorkbenchError:  # what is not used stops nobody
        unused = ""
    if not unused:
        return None, []
    return None, [
        f"{unused}: a load test tells what tokens cost on this machine, and is not used: the run's own costs are, "
        f"which leave idle time out. {how} takes the load test's price, with the machine used to a fifth"
    ]


def _said(prices: Mapping[str | None, LocalPrice]) -> str:
    """Prices by task, and the load test behind each."""
    rest = "other tasks" if len(prices) > 1 else "all tasks"
    return "; ".join(
        f"${price.usd_per_mtok.number:.3g} for {task or rest} (load test of {price.workload}, {price.measured[:10]})"
        for task, price in prices.items()
    )


def break_even(
    result: LoadResult,
    models: Models,
    at: At = "saturation",
    against: Iterable[str] = (),
    when: datetime | None = None,
) -> list[BreakEven]:
    """A machine that is paid all day, against each model that is paid by the token.

    Args:
        at: which throughput is taken as what the machine can do.
        against: further models of the bundled price tables, such as `openai/gpt-4o-mini`.
        when: whose listed prices; None is now.

    Returns:
        One a hosted model with a price, in the order of models.yaml; empty where the machine has no price, or the
        tokens of a request are not known.

    Raises:
        InputError: `against` names no provider and model.
    """
    step, usd_per_hour = _step(result, at), models.machine.usd_per_hour
    if step is None or usd_per_hour is None or result.zone != "local" or not counts(step):
        return []
    assert step.input_tokens is not None
    hosted = [(model.id, model.price, str(model.model)) for model in models.known.values() if model.zone != "local"]
    hosted += [(name, *_listed(name)) for name in against]
    mix = (round(step.input_tokens), round(step.output_tokens or 0.0))
    capacity = (step.total_tokens_per_s.value or 0.0) * 3600 * _HOURS
    found = []
    for name, price, listed_as in hosted:
        if price is not None:
            blended = _blended(price, listed_as, mix, when or datetime.now(UTC))
            needed = None if blended is None else usd_per_hour * _HOURS / blended * _MTOK if blended else math.inf
            found.append(BreakEven(name, blended, needed, capacity))
    return found


def _listed(name: str) -> tuple[ListedPrice, str]:
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise InputError(f"'{name}' is no PROVIDER/MODEL of the price tables, such as openai/gpt-4o-mini.")
    return ListedPrice(genai_prices=provider), model


def _blended(price: Price, model: str, mix: tuple[int, int], when: datetime) -> float | None:
    """USD a million tokens, by one request of the measured length: a price list may know long ones apart."""
    cost = token_cost(price, model, *mix, when)
    return None if cost is None or not sum(mix) else cost / sum(mix) * _MTOK
