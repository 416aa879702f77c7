"""Paired differences and tests against the definitions, and what few items may claim."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from workbench.pairs import mcnemar_mid_p, p_values, paired_difference, paired_differences, tango

RNG = np.random.default_rng


@pytest.mark.parametrize(("gains", "losses", "n"), [(14, 6, 100), (0, 3, 40), (0, 0, 20), (1, 0, 5000), (30, 10, 40)])
def test_tangos_bounds_solve_his_equation(gains: int, losses: int, n: int) -> None:
    """At each bound the score statistic, with the restricted likelihood's variance found by search, is ±1.96."""
    lo, hi = (float(each[0]) for each in tango(*(np.array([float(v)]) for v in (gains, losses, n)), np.array([0.95])))
    for bound, sign in ((lo, 1), (hi, -1)):
        if abs(bound) > 0.999999:
            continue

        def unlikely(share: float, bound: float = bound) -> float:
            """Minus the log-likelihood where losses have that share, and gains that plus the difference."""
            gain = share + bound
            rest = 1 - share - gain
            cells = zip((gains, losses, n - gains - losses), (gain, share, rest), strict=True)
            return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

        found = optimize.minimize_scalar(
            unlikely, bounds=(max(0.0, -bound), (1 - bound) / 2), method="bounded", options={"xatol": 1e-12}
        ).x
        variance = (2 * found + bound - bound**2) / n
        assert ((gains - losses) / n - bound) / math.sqrt(variance) == pytest.approx(sign * 1.96, abs=0.01)


def test_no_disagreement_in_a_few_items_is_not_certainty() -> None:
    same = np.ones(20)
    gap = paired_difference(same, same)
    assert gap.value == 0 and gap.lo < -0.05 and gap.hi > 0.05
    assert paired_difference(same / 2, same / 2, np.arange(20) // 2).hi > 0.1


def test_pairs_use_the_items_that_both_were_asked() -> None:
    a, b = np.array([1.0, 1.0, np.nan, 0.0]), np.array([0.0, np.nan, 1.0, 0.0])
    assert paired_difference(a, b).n == 2
    nothing = paired_difference(a[2:3], b[2:3])
    assert (nothing.n, nothing.lo, nothing.hi, nothing.method) == (0, -1, 1, "no shared items")


def test_columns_are_as_if_alone() -> None:
    rng = RNG(0)
    values = np.column_stack([rng.integers(-1, 2, 60), rng.uniform(-1, 1, 60), np.zeros(60)]).astype(float)
    values[:10, 0] = math.nan
    for clusters in (None, np.arange(60) // 3):
        levels = np.array([0.9, 0.95, 0.99])
        found = paired_differences(values, clusters, levels)
        for index in range(3):
            alone = paired_differences(values[:, [index]], clusters, levels[index])[0]
            assert (found[index].lo, found[index].hi) == pytest.approx((alone.lo, alone.hi))


def test_clusters_widen_a_difference() -> None:
    difference = np.repeat(RNG(1).choice([-1.0, 0.0, 1.0], 40), 6)
    clustered = paired_difference(difference.clip(0), -difference.clip(max=0), np.repeat(np.arange(40), 6))
    alone = paired_difference(difference.clip(0), -difference.clip(max=0))
    assert clustered.clusters == 40 and clustered.hi - clustered.lo > 2 * (alone.hi - alone.lo)


def test_mcnemars_mid_p_is_the_exact_p_less_half_of_what_equals_it() -> None:
    for gains, losses in itertools.product(range(8), range(8)):
        n = gains + losses
        found = mcnemar_mid_p(np.array([float(gains)]), np.array([float(losses)]))[0]
        if n == 0:
            assert found == 1
            continue
        exact = stats.binomtest(gains, n, 0.5).pvalue
        expected = exact - stats.binom.pmf(gains, n, 0.5) if gains != losses else 1.0
        assert found == pytest.approx(expected)


def test_few_units_have_all_their_signs_flipped() -> None:
    values = np.array([0.3, 0.1, -0.2, 0.45, 0.05])
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=5)]
    test = p_values(values[:, None])
    assert not test.resampled[0] and test.method[0] == "sign-flip permutation"
    assert test.p[0] == pytest.approx(np.mean([each >= abs(values.sum()) - 1e-12 for each in sums]))


def test_sampled_signs_agree_with_scipys_and_with_the_normal_limit() -> None:
    values = RNG(2).uniform(-0.4, 0.6, 60)
    test = p_values(values[:, None])
    reference = stats.permutation_test(
        (values, np.zeros(60)), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", rng=1
    )
    assert test.resampled[0] and test.p[0] == pytest.approx(reference.pvalue, abs=0.01)
    many = RNG(3).uniform(-0.49, 0.51, 2001)
    few, limit = p_values(many[:2000, None]), p_values(many[:, None])
    assert limit.method[0] == "sign-flip, normal limit" and limit.p[0] == pytest.approx(few.p[0], abs=0.03)


def test_with_clusters_whole_clusters_are_flipped() -> None:
    """Eight clusters can reach no p-value under 2/256, however many items they have."""
    codes, gains = np.repeat(np.arange(8), 50), np.ones(400)
    assert p_values(gains[:, None], codes).p[0] == pytest.approx(2 / 256)
    assert p_values(gains[:, None]).p[0] < 1e-50


def test_binary_scores_get_mcnemars_test() -> None:
    values = np.array([1.0] * 14 + [-1.0] * 6 + [0.0] * 80 + [math.nan] * 5)
    test = p_values(values[:, None])
    assert test.method[0] == "McNemar mid-p" and test.p[0] == pytest.approx(0.0784, abs=0.001)
