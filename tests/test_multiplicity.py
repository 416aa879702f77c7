"""Several candidates at once: joint levels, ranks as sets, bounds against the best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from workbench.intervals import CONFIDENCE
from workbench.multiplicity import Comparison, joint_levels
from workbench.pairs import paired_difference

RNG = np.random.default_rng


def test_independent_candidates_need_what_tukey_and_dunnett_say() -> None:
    """Eight candidates with independent scores: the studentized range, and one-sided Dunnett with equal variances."""
    scores = RNG(0).random((40_000, 8))
    control, pairs = joint_levels(scores, draws=40_000)
    tukey = stats.studentized_range.ppf(0.95, 8, np.inf) / np.sqrt(2)
    assert stats.norm.ppf((1 + pairs) / 2) == pytest.approx(tukey, abs=0.03)
    x = np.linspace(-8, 8, 4001)
    held = [
        np.trapezoid(stats.norm.cdf(c * np.sqrt(2) + x) ** 7 * stats.norm.pdf(x), x) for c in np.linspace(2, 3, 501)
    ]
    dunnett = np.linspace(2, 3, 501)[np.searchsorted(held, 0.95)]
    assert stats.norm.ppf((1 + control) / 2) == pytest.approx(np.full(8, dunnett), abs=0.03)


def test_candidates_that_answer_alike_need_less_than_bonferroni() -> None:
    rng = RNG(1)
    hard = rng.random((400, 1))
    scores = (hard + 0.3 * rng.random((400, 10)) < 0.9).astype(float)
    control, pairs = joint_levels(scores)
    assert CONFIDENCE < pairs < 1 - 0.05 / 45 and (control < 1 - 2 * 0.05 / 9).all()


def test_two_candidates_need_no_adjustment() -> None:
    scores = RNG(2).integers(0, 2, (50, 2)).astype(float)
    compared = Comparison(scores)
    alone = paired_difference(scores[:, 0], scores[:, 1])
    assert (compared.pairs.estimates.lo[0], compared.pairs.estimates.hi[0]) == (alone.lo, alone.hi)
    one_sided = paired_difference(scores[:, 0], scores[:, 1], confidence=0.9)
    assert compared.best.hi == pytest.approx([max(-one_sided.lo, 0), max(one_sided.hi, 0)])


def test_ranks_are_sets() -> None:
    base = np.zeros(400)
    good, bad = base.copy(), base.copy()
    good[:360], bad[:100] = 1, 1
    as_good = good.copy()
    as_good[[0, 399]] = 0, 1
    assert Comparison(np.column_stack([bad, good, as_good])).rank_sets == [(3, 3), (1, 2), (1, 2)]
    assert Comparison(good[:, None]).rank_sets == [(1, 1)]


def test_nothing_separates_what_is_the_same_or_hardly_asked() -> None:
    same = np.ones((30, 5))
    compared = Comparison(same)
    assert compared.rank_sets == [(1, 5)] * 5 and (compared.best.hi > 0.05).all()
    few = np.column_stack([np.ones(3), np.zeros(3), np.ones(3)])
    assert Comparison(few).rank_sets == [(1, 3)] * 3


def test_the_bound_against_the_best_names_who_may_be_better() -> None:
    rng = RNG(3)
    best = (rng.random(500) < 0.9).astype(float)
    next_best = np.where(rng.random(500) < 0.05, 0.0, best)
    poor = (rng.random(500) < 0.4).astype(float)
    bounds = Comparison(np.column_stack([poor, next_best, best])).best
    assert bounds.rival.tolist() == [2, 2, 1]
    assert bounds.hi[2] < 0.01 and 0.05 < bounds.hi[1] < 0.09 and bounds.hi[0] > 0.5
    told = bounds.estimate(1)
    assert told.value == pytest.approx(best.mean() - next_best.mean()) and told.lo < told.value < told.hi
    assert told.seed == 0 and "best" in told.method


def test_the_bound_is_sharper_than_bonferronis() -> None:
    rng = RNG(4)
    hard = rng.random((300, 1))
    scores = (hard + 0.4 * rng.random((300, 12)) < 1.0).astype(float)
    bounds = Comparison(scores).best
    strict = 1 - 2 * 0.05 / 11
    for index in range(12):
        gaps = [
            paired_difference(scores[:, j], scores[:, index], confidence=strict).hi for j in range(12) if j != index
        ]
        assert bounds.hi[index] < max(gaps)


def test_large_matrices_go_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, clusters = RNG(5).random((60, 7)), np.arange(60) // 2
    whole = Comparison(scores, clusters).pairs.estimates
    monkeypatch.setattr("workbench.multiplicity._BLOCK", 60 * 4)
    parts = Comparison(scores, clusters).pairs.estimates
    assert parts.clusters is not None and parts.clusters.tolist() == [30] * 21
    assert parts.lo == pytest.approx(whole.lo) and parts.method.tolist() == whole.method.tolist()
