"""APGR, CPT, AIQ and the hull against cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.routing.measures import aiq, hull, on_hull, oracle_curve, oracle_score, routing_curve

# Four items: the strong model mends two that the weak one fails, breaks none, and both are right on one.
WEAK = np.array([0.0, 0.0, 1.0, 0.0])
STRONG = np.array([1.0, 1.0, 1.0, 0.0])


def test_a_random_mix_recovers_half() -> None:
    curve = routing_curve(np.zeros(4), WEAK, STRONG)
    assert curve.apgr == pytest.approx(0.5)
    assert (curve.cpt(0.5), curve.cpt(0.8)) == (pytest.approx(0.5), pytest.approx(0.8))


def test_a_curve_by_hand() -> None:
    # Sent in the order of the items: 1/4, 2/4, 3/4, 4/4 of calls give 0.5, 0.75, 0.75, 0.75 from 0.25.
    curve = routing_curve(np.array([4.0, 3, 2, 1]), WEAK, STRONG)
    assert curve.score.tolist() == [0.25, 0.5, 0.75, 0.75, 0.75]
    area = (0.375 + 0.625 + 0.75 + 0.75) / 4
    assert curve.apgr == pytest.approx((area - 0.25) / 0.5)  # 0.75
    assert curve.cpt(0.5) == pytest.approx(0.25)
    assert curve.cpt(0.8) == pytest.approx(0.4)  # straight between 0.25 and 0.5
    worst = routing_curve(-np.array([4.0, 3, 2, 1]), WEAK, STRONG)
    assert worst.apgr == pytest.approx(0.25)


def test_the_oracle_may_recover_more_than_all() -> None:
    weak, strong = np.array([0.0, 1, 0, 0]), np.array([1.0, 0, 1, 0])
    curve = oracle_curve(weak, strong)
    # Both gains first, then nothing, then the loss: 0.25 → 0.5, 0.75, 0.75, 0.5.
    assert curve.score[[0, -1]].tolist() == [0.25, 0.5]
    area = 0.5 * 0.5 + 0.25 * 0.75 + 0.25 * 0.625
    assert curve.apgr == pytest.approx((area - 0.25) / 0.25)
    assert curve.apgr > 1
    assert oracle_score(np.column_stack([weak, strong])) == 0.75


def test_weights_count_items_more_than_once() -> None:
    preference = np.array([4.0, 3, 2, 1])
    twice = routing_curve(preference, WEAK, STRONG, np.array([2, 0, 1, 1]))
    repeated = routing_curve(np.array([4.0, 4, 2, 1]), WEAK[[0, 0, 2, 3]], STRONG[[0, 0, 2, 3]])
    assert twice.apgr == pytest.approx(repeated.apgr)


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    curve = routing_curve(np.arange(4.0), WEAK, WEAK)
    assert math.isnan(curve.apgr) and math.isnan(curve.cpt(0.5))


def test_the_hull_leaves_out_what_a_mix_beats() -> None:
    cost = np.array([1.0, 2, 3, 4, 5, math.nan])
    score = np.array([0.2, 0.3, 0.8, 0.7, 0.9, 1.0])
    assert hull(cost, score).tolist() == [0, 2, 4]  # 0.3 at 2 is under the mix of 1 and 3: 0.5
    assert on_hull(2.0, cost, score) == pytest.approx(0.5)
    assert on_hull(9.0, cost, score) == pytest.approx(0.9)
    assert math.isnan(on_hull(0.5, cost, score))


def test_aiq_by_hand() -> None:
    cost, score = np.array([1.0, 3.0, 5.0]), np.array([0.2, 0.8, 0.8])
    assert aiq(cost, score) == pytest.approx((2 * 0.5 + 2 * 0.8) / 4)  # the dearest is no better, the range is
    assert aiq(cost, score, 1.0, 3.0) == pytest.approx(0.5)
    assert math.isnan(aiq(cost, score, 0.0, 3.0))
    assert math.isnan(aiq(cost[:1], score[:1]))
