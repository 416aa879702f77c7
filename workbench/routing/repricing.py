"""Outcomes at other prices: tokens that were counted, times what a token would cost. Nothing is asked again.

    table, notes = reprice(outcomes, models, {"gpt-mini": TokenPrice(…)})
    mix_of(rows)            # tokens of a request in and out, and what a million of them costs as they come

What cannot be computed is unknown, and said: an outcome whose tokens were not counted has no cost at another price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.catalog import Model, Models
from workbench.prices import ListedPrice, Price, TokenPrice, token_cost
from workbench.scores import unscored
from workbench.words import counted

Floats = NDArray[np.float64]
# USD a million tokens of local models: one price, or one by task, with that of further tasks under None.
LocalPrices = Mapping[str, float | Mapping[str | None, float]]
DIFFERENT = 0.005  # relative, of two prices


def reprice(
    outcomes: pd.DataFrame,
    models: Models,
    prices: Mapping[str, Price],
    on: date | None = None,
    local_usd_per_mtok: LocalPrices | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """The outcome table with other costs.

    Args:
        outcomes: a normalized table.
        models: for the prices that the costs were made with.
        prices: of models that cost something else now.
        on: a date; models with a listed price cost what the bundled tables say for it.
        local_usd_per_mtok: what a million tokens, in and out together, costs on this machine, by model, or by model and
            task, as load tests measure it; it replaces the share of the machine's time.

    Returns:
        A new table, and what could not be computed.
    """
    table, notes = outcomes.copy(), []
    if "cost_usd" not in table:
        table["cost_usd"] = np.nan
    wanted: dict[str, Price] = dict(prices)
    if on is not None:
        for name, model in models.items():
            if isinstance(model.price, ListedPrice):
                wanted.setdefault(name, model.price)
            elif model.price is not None and name not in wanted:
                notes.append(f"{name}: models.yaml states its price, so a date does not change it.")
    local = local_usd_per_mtok or {}
    other = [(name, None, price) for name, price in wanted.items() if name not in local]
    for name, task, price in [*other, *_local(table, local)]:
        rows = ((table["model"] == name) & (True if task is None else table["task"] == task)).to_numpy()
        if rows.any():
            before = table["cost_usd"].to_numpy(float)
            own = table[rows]
            after = _costs(own, models.get(name), price, on, local=name in local)
            unknown = int((np.isnan(after) & ~np.isnan(before[rows])).sum())
            if unknown:
                why = "have no count of tokens, or no listed price: their cost is unknown"
                notes.append(f"{name}: {unknown} of {counted(len(own), 'outcome')} {why}.")
            values = before.copy()
            values[rows] = after
            table["cost_usd"] = values
    return table, notes


def local_usd(prices: LocalPrices, model: str, task: str) -> float | None:
    """What a million tokens of a local model costs in a task; None where it is not told."""
    found = prices.get(model)
    return found.get(task, found.get(None)) if isinstance(found, Mapping) else found


def _local(table: pd.DataFrame, prices: LocalPrices) -> list[tuple[str, str, Price]]:
    """The price of each local model in each task of the table, where it is told."""
    pairs = table.loc[table["model"].isin(list(prices)), ["model", "task"]].drop_duplicates()
    told = [(name, task, local_usd(prices, name, task)) for name, task in pairs.to_numpy()]
    return [
        (name, task, TokenPrice(input_usd_per_mtok=usd, output_usd_per_mtok=usd))
        for name, task, usd in told
        if usd is not None
    ]


def _costs(rows: pd.DataFrame, model: Model | None, price: Price, on: date | None, local: bool) -> Floats:
    """Each outcome's cost at a price; what was not billed stays so, and a batch's half stays half."""
    reference = str(model.model) if model else ""
    at = datetime.combine(on, time(12), UTC) if on else datetime.now(UTC)
    found = _by_tokens(rows, price, reference, at)
    old = rows["cost_usd"].to_numpy(float)
    if local:
        return found
    unbilled = (old == 0) & rows["score"].isna().to_numpy() & ~unscored(rows)  # what has no score was answered
    found[unbilled] = 0.0
    if model is not None and model.batch == "openai" and isinstance(model.price, TokenPrice):
        full = _by_tokens(rows, model.price, reference, at)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = old / full
        found = np.where(np.isfinite(share) & (full > 0), found * share, found)
    return found


def _by_tokens(rows: pd.DataFrame, price: Price, reference: str, at: datetime) -> Floats:
    tokens = [_tokens(rows, name) for name in ("input_tokens", "output_tokens")]
    if isinstance(price, TokenPrice):
        return (tokens[0] * price.input_usd_per_mtok + tokens[1] * price.output_usd_per_mtok) / 1e6
    known = ~np.isnan(tokens[0]) & ~np.isnan(tokens[1])
    pairs, inverse = np.unique(np.column_stack(tokens)[known].astype(int), axis=0, return_inverse=True)
    costs = [token_cost(price, reference, int(read), int(written), at) for read, written in pairs]
    found = np.full(len(rows), np.nan)
    found[known] = np.array([math.nan if cost is None else cost for cost in costs])[inverse] if len(pairs) else 0.0
    return found


def _tokens(rows: pd.DataFrame, name: str) -> Floats:
    if name not in rows:
        return np.full(len(rows), np.nan)
    return rows[name].to_numpy(dtype=float, na_value=np.nan)


@dataclass(frozen=True)
class TokenMix:
    """A candidate's requests in tokens; NaN where some were not counted.

    Attributes:
        usd_per_mtok: what a million of its tokens costs, in and out as they come.
    """

    cost_usd: float
    input_tokens: float
    output_tokens: float
    accepted: float

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens

    @property
    def usd_per_mtok(self) -> float:
        return self.cost_usd / self.tokens * 1e6 if self.tokens > 0 else math.nan

    @property
    def cost_per_accepted(self) -> float:
        return self.cost_usd / self.accepted if self.accepted > 0 else math.inf


def mix_of(rows: pd.DataFrame) -> TokenMix:
    """Means over some outcomes, such as those of one candidate."""
    accepted = rows["accepted"].fillna(False).astype(float).mean() if "accepted" in rows else math.nan
    cost = rows["cost_usd"].to_numpy(float) if "cost_usd" in rows else np.array([math.nan])
    tokens = [float(_tokens(rows, name).mean()) for name in ("input_tokens", "output_tokens")]
    return TokenMix(float(cost.mean()), tokens[0], tokens[1], float(accepted))


def listed_price(model: Model, on: date | None = None) -> TokenPrice | None:
    """What the bundled tables say of a hosted model, by its address; None where they do not know it, or know tiers."""
    if not model.urls or model.zone != "hosted":
        return None
    from genai_prices import Usage, calc_price

    at = datetime.combine(on, time(12), UTC) if on else datetime.now(UTC)
    try:
        found = calc_price(
            Usage(input_tokens=1000, output_tokens=1000),
            model_ref=str(model.model),
            provider_api_url=model.urls[0],
            genai_request_timestamp=at,
        ).model_price
    except LookupError:
        return None
    rates = (found.input_mtok, found.output_mtok)
    if any(rate is None or not hasattr(rate, "as_tuple") for rate in rates):
        return None
    return TokenPrice(input_usd_per_mtok=float(rates[0]), output_usd_per_mtok=float(rates[1]))
