"""Cost per accepted answer and latency quantiles, with their bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from workbench.economics import cost_per_accepted, costs_per_accepted, quantile_interval, quantile_upper_bound

RNG = np.random.default_rng


def test_cost_per_accepted_counts_every_attempt_and_knows_the_unknown() -> None:
    accepted = np.array([1.0, 1.0, 0.0, 0.0])
    assert cost_per_accepted(np.array([0.1, 0.1, 0.1, 0.5]), accepted).value == pytest.approx(0.4)
    assert math.isnan(cost_per_accepted(np.array([0.1, np.nan, 0.1, 0.1]), accepted).value)
    assert math.isnan(cost_per_accepted(np.ones(4), np.full(4, math.nan)).value)
    assert math.isinf(cost_per_accepted(np.ones(4), np.zeros(4)).value)
    assert cost_per_accepted(np.zeros(4), accepted).value == 0


def test_above_2000_items_the_delta_method_agrees_with_the_bootstrap() -> None:
    cost, accepted = RNG(3).exponential(0.01, 2000), RNG(4).integers(0, 2, 2000).astype(float)
    drawn, formula = cost_per_accepted(cost, accepted), cost_per_accepted(np.append(cost, 0.01), np.append(accepted, 1))
    assert (drawn.method, drawn.seed) == ("ratio bootstrap", 0)
    assert (formula.method, formula.seed) == ("delta method", None)
    assert (formula.lo, formula.hi) == pytest.approx((drawn.lo, drawn.hi), rel=0.01)


def test_many_items_with_few_accepted_answers_are_resampled() -> None:
    accepted = np.zeros(2500)
    accepted[:8] = 1
    found = cost_per_accepted(np.full(2500, 0.01), accepted)
    assert found.method == "ratio bootstrap" and found.hi > 1.6 * found.value


def test_candidates_together_are_as_each_alone_and_clusters_are_kept_whole() -> None:
    cost, accepted = RNG(5).exponential(0.01, (60, 3)), RNG(6).integers(0, 2, (60, 3)).astype(float)
    together = costs_per_accepted(cost, accepted)
    for index, found in enumerate(together):
        alone = cost_per_accepted(cost[:, index], accepted[:, index])
        assert (found.value, found.lo, found.hi) == pytest.approx((alone.value, alone.lo, alone.hi))
    alike = np.repeat(np.arange(20) % 2, 3).astype(float)
    apart = cost_per_accepted(np.ones(60), alike)
    clustered = cost_per_accepted(np.ones(60), alike, np.repeat(np.arange(20), 3))
    assert clustered.clusters == 20 and clustered.hi - clustered.lo > 1.4 * (apart.hi - apart.lo)


def test_a_p95_needs_59_items_to_be_bounded() -> None:
    times = RNG(4).exponential(1, 59)
    assert quantile_upper_bound(times) == times.max()
    assert math.isinf(quantile_upper_bound(times[:58]))
    thrice = np.repeat(times, 3)
    assert quantile_upper_bound(thrice, items=59) == times.max()
    assert math.isinf(quantile_upper_bound(np.repeat(times[:58], 3), items=58))


def test_ranks_of_quantiles_are_the_binomials() -> None:
    values = np.arange(1.0, 201)
    found = quantile_interval(values, 0.95)
    assert found.hi == stats.binom.ppf(0.975, 200, 0.95) + 1
    assert stats.binom.cdf(found.lo - 1, 200, 0.95) <= 0.025 < stats.binom.cdf(found.lo, 200, 0.95)
    assert math.isnan(quantile_interval(np.full(3, math.nan), 0.5).value)


def test_a_time_that_is_unknown_may_be_any() -> None:
    times = np.append(RNG(7).exponential(1, 97), [math.nan] * 3)
    found = quantile_interval(times, 0.95)
    assert math.isinf(found.hi) and found.lo < np.nanmax(times)


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_intervals_of_quantiles_hold_as_often_as_they_say(q: float) -> None:
    """2,000 sets of 120 times."""
    drawn = RNG(5).exponential(1, (2000, 120))
    found = [quantile_interval(times, q) for times in drawn]
    true = stats.expon.ppf(q)
    assert 0.94 <= np.mean([each.lo <= true <= each.hi for each in found]) <= 0.98
