"""Prices: unknown is None and never 0; shares of busy time add up to the busy window."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from workbench.prices import BusyMeter, ListedPrice, Price, TokenPrice, machine_cost, price_source, token_cost

AT = datetime(2026, 1, 15, tzinfo=UTC)
OPENAI = ListedPrice(genai_prices="openai")


def test_a_stated_price_is_tokens_times_rate() -> None:
    price = TokenPrice(input_usd_per_mtok=0.15, output_usd_per_mtok=0.60)
    assert token_cost(price, "any", 900, 40, AT) == pytest.approx(900 * 0.15e-6 + 40 * 0.60e-6, rel=1e-12)


def test_a_listed_price_is_that_of_genai_prices() -> None:
    usage = Usage(input_tokens=900, output_tokens=40)
    listed = calc_price(usage, model_ref="gpt-4o-mini", provider_id="openai", genai_request_timestamp=AT)
    cost = token_cost(OPENAI, "gpt-4o-mini", 900, 40, AT)
    assert cost == pytest.approx(float(listed.total_price), rel=1e-12)
    assert cost is not None and cost > 0


@pytest.mark.parametrize(
    ("price", "model", "tokens"),
    [
        (None, "gpt-4o-mini", (900, 40)),
        (OPENAI, "gpt-4o-mini", (None, 40)),
        (OPENAI, "gpt-4o-mini", (900, None)),
        (OPENAI, "no-such-model-at-all", (900, 40)),
        (ListedPrice(genai_prices="no-such-provider"), "gpt-4o-mini", (900, 40)),
        # In the tables, but without rates: their sum would be 0.
        (ListedPrice(genai_prices="github-copilot"), "gpt-4.1", (900, 40)),
        (TokenPrice(input_usd_per_mtok=1, output_usd_per_mtok=1), "any", (None, None)),
    ],
)
def test_unknown_is_none_and_never_0(price: Price | None, model: str, tokens: tuple[int | None, int | None]) -> None:
    assert token_cost(price, model, *tokens, AT) is None


def test_a_stated_price_of_0_is_known() -> None:
    assert token_cost(TokenPrice(input_usd_per_mtok=0, output_usd_per_mtok=0), "any", 900, 40, AT) == 0


@pytest.mark.parametrize(
    ("usd_per_hour", "busy_s", "cost"), [(0.40, 9.0, 0.001), (None, 9.0, None), (0.40, None, None), (0.0, 9.0, 0.0)]
)
def test_machine_cost(usd_per_hour: float | None, busy_s: float | None, cost: float | None) -> None:
    assert machine_cost(usd_per_hour, busy_s) == (None if cost is None else pytest.approx(cost))


def test_the_price_source_names_the_bundled_tables() -> None:
    assert price_source()["source"].startswith("genai-prices ")


def test_two_overlapping_attempts_split_what_they_share() -> None:
    now = 0.0
    meter = BusyMeter(clock=lambda: now)
    with meter.attempt() as first:
        now = 2.0
        with meter.attempt() as second:
            now = 6.0
        now = 7.0
    now = 100.0
    with meter.attempt() as third:
        now = 101.0
    assert (first.share_s, second.share_s, third.share_s) == pytest.approx((5.0, 2.0, 1.0))
    assert meter.busy_s == pytest.approx(8.0)


def test_a_failed_attempt_is_metered_too() -> None:
    now = 0.0
    meter = BusyMeter(clock=lambda: now)
    with pytest.raises(RuntimeError):
        with meter.attempt() as share:
            now = 3.0
            raise RuntimeError
    assert (share.share_s, meter.in_flight) == (3.0, 0)


def union_length(intervals: list[tuple[float, float]]) -> float:
    covered, reached = 0.0, 0.0
    for start, end in sorted(intervals):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


_INTERVAL = st.tuples(st.integers(0, 1000), st.integers(0, 300)).map(lambda pair: (pair[0] / 10, sum(pair) / 10))


@given(st.lists(_INTERVAL, min_size=1, max_size=12))
def test_shares_add_up_to_the_busy_window(intervals: list[tuple[float, float]]) -> None:
    now = 0.0
    meter = BusyMeter(clock=lambda: now)
    open_attempts: dict[int, ExitStack] = {}
    shares = []
    events = sorted(
        [(start, 0, index) for index, (start, _) in enumerate(intervals)]
        + [(end, 1, index) for index, (_, end) in enumerate(intervals)]
    )
    for now, kind, index in events:  # noqa: B007  (the meter's clock reads it)
        if kind == 0:
            open_attempts[index] = ExitStack()
            shares.append(open_attempts[index].enter_context(meter.attempt()))
        else:
            open_attempts.pop(index).close()
    assert meter.in_flight == 0
    assert sum(share.share_s for share in shares) == pytest.approx(meter.busy_s, abs=1e-6)
    assert meter.busy_s == pytest.approx(union_length(intervals), abs=1e-6)
    assert all(share.share_s >= 0 for share in shares)
