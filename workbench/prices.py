"""What an attempt costs: a hosted model's price list, or a local one's share of the machine's time.

price = TokenPrice(input_usd_per_mtok=0.15, output_usd_per_mtok=0.60)
token_cost(price, "gpt-…", input_tokens=900, output_tokens=40, at=now)      # USD, or None where unknown

with meter.attempt() as attempt: …                                          # BusyMeter
machine_cost(usd_per_hour=0.40, busy_s=attempt.share_s)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field

from workbench.files import StrictModel


class TokenPrice(StrictModel, strict=True):
    """A price that the team states itself, in USD a million tokens."""

    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(ge=0)


class ListedPrice(StrictModel):
    """A price out of the bundled genai-prices tables: the provider's id there."""

    genai_prices: str


Price = TokenPrice | ListedPrice


def token_cost(
    price: Price | None, model: str, input_tokens: int | None, output_tokens: int | None, at: datetime
) -> float | None:
    """The cost of one attempt of a model that is paid by the token.

    Args:
        price: the model's price; None is unknown.
        model: the model's name in the price table.
        input_tokens: tokens read, None where the server did not say.
        output_tokens: tokens written, None where the server did not say.
        at: when the request was sent; listed prices are those of that date.

    Returns:
        USD, or None where price or tokens are unknown: unknown is never 0.
    """
    if price is None or input_tokens is None or output_tokens is None:
        return None
    if isinstance(price, TokenPrice):
        return (input_tokens * price.input_usd_per_mtok + output_tokens * price.output_usd_per_mtok) / 1e6
    from genai_prices import Usage, calc_price

    try:
        listed = calc_price(
            Usage(input_tokens=input_tokens, output_tokens=output_tokens),
            model_ref=model,
            provider_id=price.genai_prices,
            genai_request_timestamp=at,
        )
    except LookupError:
        return None
    rates = listed.model_price
    if (input_tokens and rates.input_mtok is None) or (output_tokens and rates.output_mtok is None):
        return None  # listed without a rate for these tokens: the sum leaves them out
    return float(listed.total_price)


BATCH_SHARE = 0.5  # of the usual price, at the hosted batch APIs that there are


def machine_cost(usd_per_hour: float | None, busy_s: float | None) -> float | None:
    """The cost of a share of the machine's busy time, in USD; None where either is unknown."""
    if usd_per_hour is None or busy_s is None:
        return None
    return usd_per_hour / 3600 * busy_s


@dataclass
class Share:
    """An attempt's share of an engine's busy time: `share_s` seconds once it has ended."""

    share_s: float = 0.0


class BusyMeter:
    """Splits an engine's busy time over its attempts.

    Each busy interval is split equally over the attempts in flight, so the shares add up to the busy window. The
    meter keeps the integral of dt / in-flight; an attempt's share is its increase between start and end.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._in_flight = 0
        self._integral_s = 0.0
        self._last = clock()
        self.busy_s = 0.0

    def _advance(self) -> None:
        now = self._clock()
        if self._in_flight:
            self._integral_s += (now - self._last) / self._in_flight
            self.busy_s += now - self._last
        self._last = now

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @contextmanager
    def attempt(self) -> Iterator[Share]:
        """Meter one attempt; its share is known when the block ends."""
        self._advance()
        self._in_flight += 1
        started = self._integral_s
        share = Share()
        try:
            yield share
        finally:
            self._advance()
            self._in_flight -= 1
            share.share_s = self._integral_s - started


def price_source() -> dict[str, str]:
    """Which price tables are bundled, for the record."""
    from importlib.metadata import version

    return {
        "source": f"genai-prices {version('genai-prices')} (bundled), or as models.yaml states",
        "as_of": datetime.now(UTC).date().isoformat(),
    }
