"""What difference a set detects: held against simulated sets, and measured where there are outcomes."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audited import Rows, colors
from planted import outcomes

from workbench.audit import Audit, audit
from workbench.audit.power import far_too_few, power_of
from workbench.pairs import paired_difference, paired_differences
from workbench.power import detectable_difference, effective_items, items_needed, within_cluster_correlation
from workbench.scores import prepare, scores_of

SETS = 1500
ERROR = 3.3 * math.sqrt(0.8 * 0.2 / SETS)  # of a share of 0.8 that is simulated
RNG = np.random.default_rng


def detected(n: int, difference: float, discordance: float, seed: int = 0) -> float:
    """In which share of simulated sets our own comparison finds a better candidate that truly is."""
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    drawn, times = np.unique(RNG(seed).multinomial(n, shares, SETS), axis=0, return_counts=True)
    hits = 0
    for (gains, losses, _), count in zip(drawn, times, strict=True):
        better, worse = np.zeros(n), np.zeros(n)
        better[:gains], worse[gains : gains + losses] = 1, 1
        hits += count * (paired_difference(better, worse, confidence=0.9).lo > 0)
    return float(hits / SETS)


@pytest.mark.parametrize(("n", "discordance"), [(60, 0.4), (150, 0.2), (300, 0.1), (600, 0.3)])
def test_the_detectable_difference_is_detected_four_times_in_five(n: int, discordance: float) -> None:
    difference = detectable_difference(n, discordance)
    assert detected(n, difference, discordance) == pytest.approx(0.8, abs=ERROR + 0.02)  # and 0.02 for whole items
    assert detected(n, difference / 2, discordance) < 0.5


@pytest.mark.parametrize(("difference", "discordance"), [(0.1, 0.3), (0.05, 0.1), (0.05, 0.2), (0.2, 0.5)])
def test_the_items_needed_are_what_it_takes(difference: float, discordance: float) -> None:
    n = items_needed(difference, discordance)
    assert detected(n, difference, discordance) == pytest.approx(0.8, abs=ERROR + 0.02)
    assert detected(n // 3, difference, discordance) < 0.6


@pytest.mark.parametrize(("difference", "about"), [(0.02, 3000), (0.05, 500), (0.1, 120)])
def test_the_figures_of_thumb_hold(difference: float, about: int) -> None:
    assert items_needed(difference, 0.2) == pytest.approx(about, rel=0.03)


@pytest.mark.parametrize("discordance", [0.01, 0.05, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("step", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [10, 40, 160, 1000, 20_000])
def test_needed_and_detectable_are_each_others_inverse(n: int, step: float, discordance: float) -> None:
    difference = detectable_difference(n, discordance, step=step)
    assert 0 < difference <= 1
    assert abs(items_needed(difference, discordance, step=step) - n) <= 1
    assert detectable_difference(2 * n, discordance, step=step) < difference


@pytest.mark.parametrize("discordance", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("step", [0.1, 1.0])
def test_fewer_than_five_items_detect_nothing(step: float, discordance: float) -> None:
    """All of four better has a chance of 1 in 16 where there is no difference."""
    assert all(detectable_difference(n, discordance, step=step) == 1 for n in (0, 1, 4, 4.9))
    assert items_needed(1.0, discordance, step=step) >= 5
    assert detectable_difference(12, discordance, step=step) < 1


GRADED = [  # standard deviations of differences that are normal, and differences to detect
    *((0.05, 0.05), (0.05, 0.02), (0.1, 0.1), (0.1, 0.05), (0.1, 0.02), (0.2, 0.1), (0.2, 0.05), (0.3, 0.3)),
]


@pytest.mark.parametrize(("deviation", "difference"), GRADED)
def test_the_items_that_partial_scores_need_are_what_it_takes(deviation: float, difference: float) -> None:
    step = deviation * math.sqrt(math.pi / 2)  # the mean square over the mean size
    n = items_needed(difference, deviation**2, step=step)
    drawn = RNG(4).normal(difference, deviation, (n, SETS)).clip(-1, 1)
    assert 0.76 < (paired_differences(drawn, confidence=0.9).lo > 0).mean() < 0.88
    assert (paired_differences(drawn[: n // 3], confidence=0.9).lo > 0).mean() < 0.5


@pytest.mark.parametrize(("deviation", "n"), [(0.03, 100), (0.05, 300), (0.1, 300), (0.2, 60)])
def test_the_difference_that_partial_scores_detect_is_detected_four_times_in_five(deviation: float, n: int) -> None:
    """Measured on one set, simulated on others."""
    half = RNG(5).normal(0, deviation / 2, n)
    power = power_of(ids(n), scored({"a": list(0.5 + half), "b": list(0.5 - half)}))
    assert power.discordance == pytest.approx(deviation**2, rel=0.25)
    drawn = RNG(6).normal(power.detectable, deviation, (n, SETS))
    assert (paired_differences(drawn, confidence=0.9).lo > 0).mean() == pytest.approx(0.8, abs=0.09)


def test_a_difference_takes_at_least_its_own_discordance() -> None:
    assert items_needed(0.2, 0.05) == items_needed(0.2, 0.2)
    assert detectable_difference(10, 0.05) > 0.3  # of ten items one more is nothing


def test_more_power_and_a_stricter_test_take_more_items() -> None:
    usual = items_needed(0.05)
    assert items_needed(0.05, power=0.9) > usual < items_needed(0.05, alpha=0.01)
    assert detectable_difference(0) == 1


def clustered(sizes: list[int], correlation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values with a share `correlation` of their variance between clusters."""
    rng = RNG(seed)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    between = rng.normal(0, math.sqrt(correlation), len(sizes))[clusters]
    return between + rng.normal(0, math.sqrt(1 - correlation), len(clusters)), clusters


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("sizes", [[4] * 60, [1, 2, 3, 8] * 15])
def test_the_correlation_within_clusters_is_measured(sizes: list[int], correlation: float) -> None:
    found = [within_cluster_correlation(*clustered(sizes, correlation, seed)) for seed in range(60)]
    # Cut off at 0, it is a little above it on the average.
    assert np.mean([value for value in found if value is not None]) == pytest.approx(correlation, abs=0.035)


def test_a_correlation_that_cannot_be_told_is_none() -> None:
    values = RNG(0).normal(size=40)
    assert within_cluster_correlation(values, np.arange(40)) is None  # no cluster has two
    assert within_cluster_correlation(values, np.zeros(40)) is None  # one cluster has all
    assert within_cluster_correlation(values, np.arange(40) // 5) is None  # eight clusters
    assert within_cluster_correlation(np.ones(40), np.arange(40) // 2) is None  # nothing differs


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("sizes", [[5] * 20, [1] * 30 + [10] * 7])
def test_effective_items_are_what_the_mean_is_worth(sizes: list[int], correlation: float) -> None:
    means = [clustered(sizes, correlation, seed)[0].mean() for seed in range(3000)]
    assert 1 / np.var(means) == pytest.approx(effective_items(sizes, correlation), rel=0.1)


def test_the_detectable_difference_of_clusters_is_detected_four_times_in_five() -> None:
    """All items of a cluster alike, as is taken where no outcomes tell."""
    sizes = [4] * 100
    power = power_of({f"{cluster}-{n}": str(cluster) for cluster in range(100) for n in range(4)})
    assert (power.n, power.clusters, power.effective_n) == (400, 100, 100)
    rng, clusters, hits = RNG(1), np.repeat(np.arange(100), sizes), 0
    shares = [(0.2 + power.detectable) / 2, (0.2 - power.detectable) / 2, 0.8]
    for _ in range(600):
        drawn = rng.choice([1.0, -1.0, 0.0], 100, p=shares)[clusters]
        hits += paired_difference(drawn.clip(0), -drawn.clip(max=0), clusters, confidence=0.9).lo > 0
    assert hits / 600 == pytest.approx(0.8, abs=0.07)


def scored(rows: dict[str, list[float]], **columns: Any) -> Any:
    return scores_of(prepare(outcomes(rows, **columns)))


def ids(n: int, size: int = 1) -> dict[str, str | None]:
    """Items of `planted.outcomes`, in clusters of a size."""
    return {f"internal-{number}": f"c{number // size}" if size > 1 else None for number in range(n)}


def test_without_outcomes_discordance_is_assumed_and_clusters_count_as_one_item() -> None:
    power = power_of(ids(90, 3))
    assert (power.measured, power.discordance, power.correlation) == (False, 0.2, None)
    assert power.effective_n == power.clusters == 30
    assert power.needed == {0.1: 3 * items_needed(0.1), 0.05: 3 * items_needed(0.05), 0.02: 3 * items_needed(0.02)}


def test_discordance_is_measured_on_the_two_best() -> None:
    best, second, worst = np.ones(100), np.ones(100), np.zeros(100)
    best[:10], second[5:25] = 0, 0  # 5 + 15 items of 100 tell them apart
    power = power_of(ids(100), scored({"a": list(best), "b": list(second), "c": list(worst)}))
    assert power.measured and power.discordance == pytest.approx(0.2) and power.step == 1
    assert power.detectable == detectable_difference(100, 0.2)


def test_scores_between_right_and_wrong_tell_smaller_differences() -> None:
    """A simulation again: candidates whose scores are a quarter apart where they differ."""
    rng = RNG(2)
    signs = rng.permutation([1.0] * 30 + [-1.0] * 30 + [0.0] * 140)
    power = power_of(ids(200), scored({"a": list(0.5 + signs / 8), "b": list(0.5 - signs / 8)}))
    assert power.discordance == pytest.approx(0.3 / 16) and power.step == pytest.approx(0.25)
    up = (0.3 + power.detectable / 0.25) / 2
    hits = 0
    for _ in range(800):
        drawn = rng.choice([0.25, -0.25, 0.0], 200, p=[up, 0.3 - up, 0.7])
        hits += paired_difference(0.5 + drawn / 2, 0.5 - drawn / 2, confidence=0.9).lo > 0
    assert hits / 800 == pytest.approx(0.8, abs=0.07)


def test_correlation_is_measured_by_the_eval_sets_clusters() -> None:
    """Outcome tables of other tools have none."""
    rng = RNG(3)
    alike = np.repeat(rng.choice([1.0, 0.0], 40), 3)
    apart = rng.choice([1.0, 0.0], 120)
    same = power_of(ids(120, 3), scored({"a": list(alike), "b": [0.5] * 120}))
    none = power_of(ids(120, 3), scored({"a": list(apart), "b": [0.5] * 120}))
    assert same.correlation == 1 and same.effective_n == 40
    assert none.correlation is not None and none.correlation < 0.2 and none.effective_n > 85


@pytest.mark.parametrize(
    "rows",
    [
        {"a": [1.0] * 60},  # one candidate
        {"a": [1.0] * 60, "b": [0.0] * 15},  # too few shared items
    ],
)
def test_outcomes_that_tell_nothing_leave_what_is_assumed(rows: dict[str, list[float]]) -> None:
    table = pd.concat([outcomes({name: values}) for name, values in rows.items()])
    power = power_of(ids(60), scores_of(prepare(table)))
    assert (power.measured, power.discordance, power.correlation) == (False, 0.2, None)


def test_a_candidate_that_was_asked_a_few_items_is_not_among_the_best() -> None:
    table = pd.concat(
        [outcomes({"lucky": [1.0] * 30}), outcomes({"a": [1.0, 0.0] * 50, "b": [0.0, 0.0, 1.0, 0.0] * 25})]
    )
    power = power_of(ids(100), scores_of(prepare(table)))
    assert power.measured and power.discordance == pytest.approx(0.25)


def test_equal_candidates_do_not_make_a_set_all_powerful() -> None:
    power = power_of(ids(50), scored({"a": [1.0] * 50, "b": [1.0] * 50}))
    assert power.measured and power.discordance == 1 / 50
    assert power.detectable > 1 / 50


def test_a_small_discordance_is_written_in_full() -> None:
    half = RNG(7).normal(0, 0.015, 100)
    power = power_of(ids(100), scored({"a": list(0.5 + half), "b": list(0.5 - half)}))
    assert re.search(r"discordance 0\.000\d+ measured", "\n".join(Audit("made", [], power).facts()))


@pytest.mark.parametrize(
    ("sizes", "what"),
    [
        ([1], "1 item: far too few to tell candidates apart"),
        ([1] * 9, "9 items: far too few to tell candidates apart"),
        ([5, 4], "9 items: far too few to tell candidates apart"),
        ([1] * 10, None),
        ([6, 6], None),  # that clusters stand and fall together is assumed
    ],
)
def test_a_tiny_set_is_told_what_it_lacks(sizes: list[int], what: str | None) -> None:
    power = power_of({f"{cluster}-{n}": str(cluster) for cluster, size in enumerate(sizes) for n in range(size)})
    found = list(far_too_few(power))
    assert [(each.level, each.what) for each in found] == ([("warning", what)] if what else [])
    if found:
        assert found[0].mend.startswith("Add items: a difference of 0.1 takes ")
    no_difference = "detects no difference: at the one-sided 5 % level that takes 5 independent items"
    assert (no_difference in Audit("made", [], power).facts()) == (power.effective_n < 5)


def test_a_set_of_one_item_is_not_clean(project: Any) -> None:
    def plant(items: Rows, train: Rows) -> None:
        del items[1:]

    assert "power" in {finding.check for finding in audit(colors(project, plant)).faults}


def test_the_report_says_all_of_it(project: Any) -> None:
    report = audit(colors(project))
    assert report.facts()[:4] == [
        "60 items (59 internal, 1 restricted)",
        "59 clusters: worth 58 independent items, if the items of a cluster stand and fall together",
        "detects a difference of 0.139 in mean score (80 % power, one-sided 5 %, discordance 0.20 assumed)",
        "items that a difference needs: 0.1 takes 122, 0.05 takes 506, 0.02 takes 3,189",
    ]
    assert report.facts()[4] == "label: red 20, green 20, blue 20"
