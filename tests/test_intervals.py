"""Intervals of means: against the libraries' own, with clusters, and where little is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from workbench.intervals import design_effect, lower_bound, mean_interval, mean_intervals, units_of

RNG = np.random.default_rng


def test_binary_scores_get_wilsons_interval() -> None:
    found = mean_interval(np.array([1.0] * 45 + [0.0] * 15))
    assert found.method == "Wilson" and found.seed is None
    assert (found.lo, found.hi) == pytest.approx(proportion_confint(45, 60, method="wilson"))


def test_other_scores_get_the_wider_of_t_and_bca() -> None:
    """A BCa bootstrap of scipy's is inside, but for the luck of the draw, and so is Student's t."""
    values = RNG(1).beta(8, 1, 60)
    found = mean_interval(values)
    t = stats.t.interval(0.95, 59, values.mean(), stats.sem(values))
    drawn = stats.bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=1).confidence_interval
    assert (found.method, found.seed) == ("t, BCa", 0)
    assert found.lo == pytest.approx(min(t[0], drawn.low), abs=0.003)
    assert found.hi == pytest.approx(max(t[1], drawn.high), abs=0.003)


def test_above_200_items_students_t_is_enough() -> None:
    values = RNG(1).uniform(0, 1, 201)
    found = mean_interval(values)
    assert (found.method, found.seed) == ("t", None)
    assert (found.lo, found.hi) == pytest.approx(stats.t.interval(0.95, 200, values.mean(), stats.sem(values)))


@pytest.mark.parametrize("clusters", [None, np.arange(12) // 3])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_equal_scores_do_not_claim_certainty(value: float, clusters: np.ndarray | None) -> None:
    found = mean_interval(np.full(12, value), clusters)
    assert found.hi - found.lo > (0.15 if clusters is None else 0.4)


def test_columns_are_as_if_alone_whatever_is_missing() -> None:
    rng = RNG(2)
    values = np.column_stack([rng.integers(0, 2, 40), rng.random(40), np.full(40, 0.5), rng.random(40)]).astype(float)
    values[30:, 1] = math.nan
    values[:, 3] = math.nan
    clusters = rng.integers(0, 25, 40)
    for codes in (None, clusters):
        found = mean_intervals(values, codes)
        for index in range(3):
            asked = ~np.isnan(values[:, index])
            alone = mean_interval(values[asked, index], None if codes is None else codes[asked])
            assert found[index].n == alone.n and found[index].value == pytest.approx(alone.value)
            assert (found[index].lo, found[index].hi) == pytest.approx((alone.lo, alone.hi), abs=0.012)
        assert math.isnan(found[3].value) and found[3].method == "no items"


def test_clusters_of_like_items_are_worth_one_item_each() -> None:
    """Items that are all alike in their cluster: the effective sample size is the number of clusters."""
    once = RNG(2).integers(0, 2, 25).astype(float)
    found = mean_interval(np.repeat(once, 8), np.repeat(np.arange(25), 8))
    assert found.clusters == 25 and found.method == "Wilson, effective sample size"
    share, t = once.mean(), stats.t.ppf(0.975, 24)
    reach = t * math.sqrt(share * (1 - share) / 25 + t**2 / 2500) / (1 + t**2 / 25)
    assert (found.hi - found.lo) / 2 == pytest.approx(reach, rel=0.001)


def test_the_design_effect_is_between_1_and_the_clusters_size() -> None:
    rng, codes = RNG(3), np.repeat(np.arange(40), 5)
    alike = np.repeat(rng.integers(0, 2, (40, 50)), 5, axis=0).astype(float)
    apart = np.tile(np.arange(5) % 2, 40)[:, None].astype(float)  # each cluster has the same mean
    single = np.zeros((200, 1))
    single[0] = 1  # one success tells little of clusters
    assert design_effect(units_of(alike, codes)) == pytest.approx(5, abs=1e-9)
    assert design_effect(units_of(apart, codes)) == pytest.approx(1, abs=0.2)
    assert design_effect(units_of(single, codes))[0] > 3
    random = design_effect(units_of(rng.integers(0, 2, (200, 200)).astype(float), codes))
    assert random.min() >= 1 and np.median(random) == pytest.approx(1.05, abs=0.1)


@pytest.mark.parametrize("scores", [[0.0, 1.0], [0.1, 0.9, 0.5]])
def test_few_clusters_are_said(scores: list[float]) -> None:
    codes = np.repeat(np.arange(19), 6)
    values = RNG(4).choice(scores, len(codes))
    assert mean_interval(values, codes).method.endswith("(only 19 clusters)")
    assert "only" not in mean_interval(np.append(values, [1.0, 0.0]), np.append(codes, [19, 20])).method


def test_clusters_of_one_item_are_none() -> None:
    values = RNG(5).integers(0, 2, 30).astype(float)
    assert mean_interval(values, np.arange(30)) == mean_interval(values)


@pytest.mark.parametrize("n", [2, 10, 29])
def test_a_lower_bound_of_few_scores_is_not_above_wilsons(n: int) -> None:
    values = np.linspace(0.9, 1, n)
    assert lower_bound(values) <= proportion_confint(values.mean() * n, n, 0.1, method="wilson")[0] + 1e-12
    assert math.isnan(lower_bound(np.array([])))


@pytest.mark.parametrize("clusters", [np.zeros(20, dtype=int), np.repeat(np.arange(10), 2)])
def test_clusters_of_equal_means_do_not_claim_certainty(clusters: np.ndarray) -> None:
    values = RNG(3).random(20) if clusters.max() == 0 else np.tile([0.2, 0.4], 10)
    found = mean_interval(values, clusters)
    assert found.hi - found.lo > 0.4 and found.method.startswith("Wilson")
