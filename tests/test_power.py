"""How many items a decision takes, and what difference is seen: against the known figures and simulated sets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.pairs import paired_differences
from workbench.power import detectable_difference, discordance_of, items_to_decide

RNG = np.random.default_rng


@pytest.mark.parametrize(("margin", "items"), [(0.02, 3000), (0.05, 500), (0.10, 120)])
def test_the_number_of_items_to_decide_is_the_known_one(margin: float, items: int) -> None:
    assert items_to_decide(margin, 0.2) == pytest.approx(items, rel=0.05)


@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_that_many_items_do_decide_in_four_cases_of_five(margin: float) -> None:
    """4,000 sets of two equal candidates at a discordance of 0.2; the standard error is 0.006."""
    n = int(items_to_decide(margin, 0.2))
    drawn = RNG(0).random((n, 4000))
    found = paired_differences((drawn < 0.1).astype(float) - (drawn > 0.9), confidence=0.9)
    assert (found.hi <= margin).mean() == pytest.approx(0.8, abs=0.025)


def test_no_margin_and_no_items_are_never_decided() -> None:
    assert math.isinf(items_to_decide(0))
    nothing = discordance_of(np.array([math.nan]))
    assert nothing.n == 0 and math.isinf(nothing.to_decide(0.1)) and math.isnan(nothing.detectable())


def test_discordance_is_measured_and_never_none() -> None:
    difference = np.array([1.0] * 10 + [-1.0] * 10 + [0.0] * 78 + [math.nan] * 5)
    found = discordance_of(difference)
    assert (found.n, found.effective_n, found.step) == (98, 98, 1) and found.squared == pytest.approx(0.21)
    assert found.detectable() == detectable_difference(98, 0.21)
    assert discordance_of(np.zeros(50)).squared > 0


def test_clusters_of_like_items_take_as_many_more() -> None:
    once = RNG(1).choice([-1.0, 0.0, 1.0], 60)
    alone, clustered = discordance_of(once), discordance_of(np.repeat(once, 5), np.repeat(np.arange(60), 5))
    assert clustered.effective_n == pytest.approx(60) and clustered.n == 300
    assert clustered.to_decide(0.05) == pytest.approx(5 * alone.to_decide(0.05), rel=0.03)
