"""Intervals, the leaderboard and paired comparisons."""

from __future__ import annotations

import math

import numpy as np
import planted
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from workbench.economics import cost_per_accepted, quantile_upper_bound
from workbench.errors import InputError
from workbench.evidence import compare, leaderboard
from workbench.intervals import items_to_decide, mean_interval, paired_difference


def test_binary_scores_get_wilsons_interval() -> None:
    found = mean_interval(np.array([1.0] * 45 + [0.0] * 15))
    assert found.method == "wilson"
    assert (found.lo, found.hi) == pytest.approx(proportion_confint(45, 60, method="wilson"))


def test_other_scores_get_a_bootstrap_interval_near_the_t_interval() -> None:
    values = np.random.default_rng(1).uniform(0, 1, 200)
    found = mean_interval(values)
    lo, hi = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert found.method == "bootstrap BCa"
    assert (found.lo, found.hi) == pytest.approx((lo, hi), abs=0.01)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_equal_scores_do_not_claim_certainty(value: float) -> None:
    found = mean_interval(np.full(12, value))
    assert found.hi - found.lo > 0.15


def test_clusters_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(2).integers(0, 2, 25).astype(float), 8)
    clustered = mean_interval(values, np.repeat(np.arange(25), 8))
    alone = mean_interval(values)
    assert clustered.clusters == 25
    assert clustered.hi - clustered.lo > 1.8 * (alone.hi - alone.lo)


@pytest.mark.parametrize(("n", "p", "discordant"), [(20, 0.9, 0.1), (60, 0.7, 0.3), (200, 0.5, 0.4)])
def test_the_paired_interval_covers_the_true_difference(n: int, p: float, discordant: float) -> None:
    """2,000 planted tables of two equal candidates: at least 93 % of the 95 % intervals hold 0."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(2000):
        a = (rng.random(n) < p).astype(float)
        flip = rng.random(n) < discordant
        b = np.where(flip, (rng.random(n) < p).astype(float), a)
        gap = paired_difference(a, b)
        covered += gap.lo <= 0 <= gap.hi
    assert covered / 2000 >= 0.93


def test_no_disagreement_in_a_few_items_is_not_certainty() -> None:
    same = np.ones(20)
    gap = paired_difference(same, same)
    assert gap.value == 0
    assert gap.hi > 0.05


def test_pairs_use_the_items_that_both_were_asked() -> None:
    a = np.array([1.0, 1.0, np.nan, 0.0])
    b = np.array([0.0, np.nan, 1.0, 0.0])
    assert paired_difference(a, b).n == 2


def test_the_number_of_items_to_decide_is_the_known_one() -> None:
    """At a discordance of 0.2 a margin of 0.05 takes some 500 items, 0.10 some 120."""
    n = 1000
    a, b = np.zeros(n), np.zeros(n)
    a[:100], b[100:200] = 1, 1
    assert items_to_decide(a, b, 0.05) == pytest.approx(500, rel=0.03)
    assert items_to_decide(a, b, 0.10) == pytest.approx(124, rel=0.03)


def test_the_leaderboard_ranks_and_marks_what_cannot_be_told_apart() -> None:
    table = planted.outcomes(
        {"good": planted.right(0.9, 100), "as-good": planted.right(0.88, 100, 1), "bad": planted.right(0.3, 100)}
    )
    board = leaderboard(table).set_index("candidate")
    assert list(board.index) == ["good", "as-good", "bad"]
    assert board["tied"].to_dict() == {"good": True, "as-good": True, "bad": False}
    assert board.loc["good", ["n", "of", "score"]].tolist() == [100, 100, 0.9]


def test_an_answer_that_is_missing_scores_0() -> None:
    table = planted.outcomes({"half": [1.0, math.nan, 1.0, math.nan]})
    row = leaderboard(table).iloc[0]
    assert (row["score"], row["errors"]) == (0.5, 2)


def test_cost_per_accepted_counts_every_attempt_and_knows_the_unknown() -> None:
    accepted = np.array([True, True, False, False])
    assert cost_per_accepted(np.array([0.1, 0.1, 0.1, 0.5]), accepted).value == pytest.approx(0.4)
    assert math.isnan(cost_per_accepted(np.array([0.1, np.nan, 0.1, 0.1]), accepted).value)
    assert math.isinf(cost_per_accepted(np.ones(4), np.zeros(4, bool)).value)
    assert cost_per_accepted(np.zeros(4), accepted).value == 0


def test_a_p95_needs_59_items_to_be_bounded() -> None:
    times = np.random.default_rng(4).exponential(1, 59)
    assert quantile_upper_bound(times) == times.max()
    assert math.isinf(quantile_upper_bound(times[:58]))


def test_the_bound_of_a_p95_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    true = stats.expon.ppf(0.95)
    held = np.mean([quantile_upper_bound(rng.exponential(1, 120)) >= true for _ in range(2000)])
    assert 0.94 <= held <= 0.99


def test_compare_is_paired_and_says_what_changed() -> None:
    a, b = [1.0] * 60 + [0.0] * 40, [1.0] * 50 + [0.0] * 50
    row = compare(planted.outcomes({"a": a, "b": b}), "a", "b").iloc[0]
    assert (row["n"], row["fixed"], row["broke"], row["same"]) == (100, 10, 0, 90)
    assert row["verdict"] == "a is better"


def test_comparing_with_a_candidate_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InputError, match=r"no candidate 'c'.*a, b"):
        compare(planted.outcomes({"a": [1.0], "b": [0.0]}), "a", "c")


def test_a_sample_is_stated_on_the_leaderboard() -> None:
    from workbench.views.tables import leaderboard_html, leaderboard_text

    table = planted.outcomes({"a": [1.0, 0.0]})
    table.attrs["sample"] = {"planted": {"n": 2, "of": 80}}
    for shown in (leaderboard_text(leaderboard(table)), leaderboard_html(leaderboard(table))):
        assert "stratified sample of 2 of 80 items" in shown


def test_a_table_with_the_required_columns_only_is_enough() -> None:
    table = planted.outcomes({"a": [1.0, 0.0], "b": [0.0, 0.0]})[["task", "item_id", "model", "score"]]
    board = leaderboard(table)
    assert board["cost_per_accepted_usd"].isna().all()
    assert board["score"].tolist() == [0.5, 0.0]


def test_many_items_get_formulas_that_agree_with_the_bootstraps() -> None:
    rng = np.random.default_rng(3)
    values = rng.beta(2, 1, 2000)
    few, many = mean_interval(values), mean_interval(np.append(values, 0.66))
    assert (few.method, many.method) == ("bootstrap BCa", "t")
    assert (many.lo, many.hi) == pytest.approx((few.lo, few.hi), abs=0.001)
    clusters = rng.integers(0, 2000, 6000)
    values = np.clip(rng.normal(0.5, 0.1, 2000)[clusters] + rng.normal(0, 0.1, 6000), 0, 1)
    few = mean_interval(values[clusters < 1990], clusters[clusters < 1990])
    many = mean_interval(np.append(values, [0.5] * 200), np.append(clusters, np.arange(2000, 2200)))
    assert few.method == "cluster bootstrap" and many.method == "cluster t" and many.clusters and many.clusters > 2000
    assert (many.lo, many.hi) == pytest.approx((few.lo, few.hi), abs=0.002)
    cost, accepted = rng.exponential(0.01, 2000), rng.integers(0, 2, 2000).astype(float)
    drawn, formula = cost_per_accepted(cost, accepted), cost_per_accepted(np.append(cost, 0.01), np.append(accepted, 1))
    assert (formula.lo, formula.hi) == pytest.approx((drawn.lo, drawn.hi), rel=0.01)
