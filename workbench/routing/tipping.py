"""At which price of which model a route would be another one.

again = {key: …}                                     # what the decision takes on other rows, by task and class
rows = [row for own in policy.routes for row in tips(own, cells, again)]          # a row a price, by COLUMNS
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd

from workbench.outcomes import split_candidate
from workbench.routing.policy import Route
from workbench.routing.repricing import TokenMix, mix_of

COLUMNS = ["task", "class", "chosen", "model", "now", "until", "unit", "said"]
Again = Callable[[pd.DataFrame], str]
_STEPS = 40  # of a bisection
_NEAR = 1e-3  # how far on both sides of a computed price the decision is looked at


def tips(
    own: Route, cells: Mapping[tuple[str, str], pd.DataFrame], again: Mapping[tuple[str, str], Again]
) -> list[dict[str, Any]]:
    """At which price of which model a route would be another one."""
    key = (own.task, own.class_)
    if own.status != "decided" or own.policy != "per_task" or key not in cells:
        return []
    rows, able = cells[key], own.evidence.able
    mixes = {name: mix_of(rows[rows["candidate"] == name]) for name in able}
    chosen = own.chain[0].model
    found = []
    for model in dict.fromkeys(split_candidate(name)[0] for name in able):
        mine = [name for name in able if split_candidate(name)[0] == model]
        others = [name for name in able if name not in mine]
        best = min(mine, key=lambda name: mixes[name].cost_per_accepted)
        paid = mixes[best].cost_per_accepted
        if not others or not math.isfinite(paid) or paid <= 0:
            continue
        guess = min(mixes[name].cost_per_accepted for name in others) / paid
        factor = _tipping_factor(guess, partial(_scaled, rows, model), again[key], model, model == chosen)
        if factor is not None:
            found.append(_tip(own, model, mixes[best], factor, model == chosen))
    if not found and len(able) == 1:
        said = f"{own.task} ({own.class_}): no price changes it: {chosen} is the only one that holds the margin."
        found.append(
            dict(zip(COLUMNS, (own.task, own.class_, chosen, chosen, math.nan, math.inf, "", said), strict=True))
        )
    return found


def _scaled(rows: pd.DataFrame, model: str, factor: float) -> pd.DataFrame:
    costs = rows["cost_usd"].where(rows["model"] != model, rows["cost_usd"] * factor)
    return rows.assign(cost_usd=costs)


def _tipping_factor(
    guess: float, scaled: Callable[[float], pd.DataFrame], again: Again, model: str, chosen: bool
) -> float | None:
    """How many times today's price the model may cost before the route changes; None where none is found.

    The guess is where the costs per accepted answer are equal, which is exact unless a budget decides as well; the
    decision itself is asked on both sides of it, and where it says otherwise, a bisection finds the place.
    """

    def taken(factor: float) -> bool:
        return again(scaled(factor)) == model

    if math.isfinite(guess) and guess > 0 and taken(guess * (1 - _NEAR)) and not taken(guess * (1 + _NEAR)):
        return guess
    low, high = (1.0, 1.0) if chosen else (0.0, 1.0)
    if chosen:
        while taken(high):
            low, high = high, high * 4
            if high > 1e6:
                return None
    elif not taken(0.0):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if taken(middle) else (low, middle)
        if high - low < _NEAR * high:
            break
    return low


def _tip(own: Route, model: str, mix: TokenMix, factor: float, chosen: bool) -> dict[str, Any]:
    counted = not math.isnan(mix.usd_per_mtok)
    now, unit = (mix.usd_per_mtok, "USD a million tokens") if counted else (mix.cost_usd, "USD a request")
    until = now * factor
    price = f"${until:.3g} a million tokens" if counted else f"${until:.3g} a request"
    today = f"(${now:.3g} now" + (
        f", {mix.input_tokens:.0f} in and {mix.output_tokens:.0f} out a request)" if counted else ")"
    )
    where, taken = f"{own.task} ({own.class_})", own.chain[0].candidate
    said = (
        f"{where}: stays with {taken} until {model} costs more than {price} {today}."
        if chosen
        else f"{where}: {model} would take over from {taken} under {price} {today}."
    )
    return dict(zip(COLUMNS, (own.task, own.class_, taken, model, now, until, unit, said), strict=True))
