"""Agreement of a judge with labels that come in clusters: intervals keep their level, and gates theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import planted
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.judge import Calibration, calibrate, corrected_rate, corrected_rates
from workbench.judge.calibration import gate_problem

RUNS = 250
SHARE = 0.8  # how often the planted judge is right: kappa is 0.6 where half the answers pass
KAPPA = 0.6
KINDS = ("sensitivity", "specificity")


def luck(rng: np.random.Generator, clusters: int, size: int, icc: float, share: float = SHARE) -> NDArray[np.bool_]:
    """Whether a judge is right, on clusters of labels whose chances differ with this intraclass correlation."""
    ways = (share * (1 / icc - 1), (1 - share) * (1 / icc - 1))
    right: NDArray[np.bool_] = rng.random(clusters * size) < rng.beta(*ways, clusters).repeat(size)
    return right


def clustered(rng: np.random.Generator, items: int, size: int, icc: float) -> Calibration:
    """A calibration on the answers of several candidates to each item, every other item's pass."""
    truth = (np.arange(items) % 2 == 0).repeat(size)
    verdicts = np.where(luck(rng, items, size, icc), truth, ~truth).astype(float)
    names = [f"candidate-{k % size}" for k in range(items * size)]
    return calibrate(verdicts.tolist(), truth.tolist(), names, clusters=[f"i{k // size}" for k in range(items * size)])


@pytest.mark.slow
@pytest.mark.parametrize(("items", "size", "icc"), [(60, 4, 0.3), (60, 4, 0.05), (40, 6, 0.5), (30, 8, 0.9)])
def test_labels_of_one_item_do_not_count_as_many(items: int, size: int, icc: float) -> None:
    """Of 95 % intervals at least 92 % hold what was planted, and a judge at the bound passes in at most 5 %."""
    rng = np.random.default_rng(11)
    held, accepted = np.zeros(4), 0
    for _ in range(RUNS):
        found = clustered(rng, items, size, icc)
        assert (found.n, found.clusters) == (items * size, items)
        planted_rates = ((found.sensitivity, SHARE), (found.specificity, SHARE), (found.agreement, SHARE))
        held += [rate.lo <= value <= rate.hi for rate, value in (*planted_rates, (found.kappa, KAPPA))]
        accepted += gate_problem(found, "", KAPPA) is None
    assert (held / RUNS >= 0.92).all(), held / RUNS
    assert accepted / RUNS <= 0.05


def test_without_clusters_nothing_has_changed() -> None:
    rng = np.random.default_rng(12)
    truth = np.arange(80) % 2 == 0
    verdicts = np.where(rng.random(80) < 0.9, truth, ~truth).astype(float).tolist()
    alone = calibrate(verdicts, truth.tolist(), ["a", "b"] * 40)
    single = calibrate(verdicts, truth.tolist(), ["a", "b"] * 40, clusters=range(80))
    assert single.model_copy(update={"created": alone.created}) == alone
    assert alone.clusters is None and alone.sensitivity.effective_n is None
    none_told = calibrate(verdicts, truth.tolist(), ["a", "b"] * 40, clusters=[None] * 80)
    assert none_told.kappa == alone.kappa


def test_a_cluster_that_is_judged_as_one_counts_about_once() -> None:
    """40 items, each labeled six times over: the interval is about that of 40 labels."""
    rng = np.random.default_rng(13)
    truth = np.arange(40) % 2 == 0
    verdicts = np.where(rng.random(40) < SHARE, truth, ~truth).astype(float)
    alone = calibrate(verdicts.tolist(), truth.tolist())
    copies = calibrate(verdicts.repeat(6).tolist(), truth.repeat(6).tolist(), clusters=np.arange(40).repeat(6).tolist())
    for name in ("kappa", "sensitivity", "specificity", "agreement"):
        one, six = getattr(alone, name), getattr(copies, name)
        assert one.value == pytest.approx(six.value) and six.n == 6 * one.n
        assert six.hi - six.lo == pytest.approx(one.hi - one.lo, rel=0.12)
    assert copies.sensitivity.worth <= alone.sensitivity.n


@pytest.mark.slow
def test_a_corrected_rate_carries_the_clusters_of_the_labels() -> None:
    """300 calibrations on clustered labels, each with a run of its own: the interval holds the true rate."""
    rng, held, blind = np.random.default_rng(14), 0, 0
    for _ in range(300):
        found = clustered(rng, 40, 6, 0.5).model_copy(update={"alike": "yes"})
        passed = rng.binomial(400, 0.7 * SHARE + 0.3 * (1 - SHARE))
        try:
            rate = corrected_rate(passed, 400, found)
        except InputError:  # no better than a coin, as far as these labels say
            held += 1
            blind += 1
            continue
        held += rate.lo <= 0.7 <= rate.hi
        flat = {name: getattr(found, name).model_copy(update={"effective_n": None}) for name in KINDS}
        without = corrected_rate(passed, 400, found.model_copy(update=flat))
        blind += without.lo <= 0.7 <= without.hi
    assert held / 300 >= 0.92 and blind < held


@pytest.mark.slow
@pytest.mark.parametrize(("size", "icc"), [(6, 0.5), (3, 0.3)])
def test_clusters_within_a_candidate_seldom_look_like_a_difference(size: int, icc: float) -> None:
    """A judge that errs alike is called unfair in at most some 10 % of calibrations, the level of the two tests."""
    rng, said = np.random.default_rng(15), []
    truth = (np.arange(60) % 2 == 0).repeat(size)
    for _ in range(120):
        right = np.concatenate([luck(rng, 60, size, icc) for _ in range(2)])
        both = np.concatenate([truth, truth])
        verdicts = np.where(right, both, ~both).astype(float).tolist()
        names, clusters = ["a"] * len(truth) + ["b"] * len(truth), np.arange(120).repeat(size).tolist()
        said.append(calibrate(verdicts, both.tolist(), names, clusters=clusters).alike)
    assert said.count("no") <= 18


def test_a_difference_between_candidates_on_shared_items_is_found() -> None:
    rng = np.random.default_rng(16)
    truth = (np.arange(200) % 2 == 0).repeat(2)
    share = np.tile([0.95, 0.7], 200)
    verdicts = np.where(rng.random(400) < share, truth, ~truth).astype(float).tolist()
    found = calibrate(verdicts, truth.tolist(), ["a", "b"] * 200, clusters=np.arange(200).repeat(2).tolist())
    assert found.alike == "no"


# What may be given.


BOTH: list[bool] = [True, False] * 10


@pytest.mark.parametrize("silent", [None, math.nan, np.nan, np.float64("nan"), pd.NA])
def test_no_verdict_is_no_failing_one(silent: Any) -> None:
    verdicts = [1.0, 0.0] * 9 + [silent, silent]
    found = calibrate(verdicts, BOTH)
    assert (found.n, found.unjudged, found.kappa.value) == (18, 2, 1.0)
    column = pd.Series([each if isinstance(each, float) else None for each in verdicts], dtype=float)
    assert calibrate(column, pd.Series(BOTH)).unjudged == 2  # as it stands in a table


@pytest.mark.parametrize("given", [0.5, 2, -1, "pass", "1", [1.0], 1.0000001, math.inf])
def test_what_is_neither_pass_nor_fail_is_no_verdict(given: Any) -> None:
    with pytest.raises(InputError, match="a verdict is 1 for pass, 0 for fail, or None"):
        calibrate([given, *[1.0, 0.0] * 9, 0.0], BOTH)


@pytest.mark.parametrize("given", ["pass", "fail", "", None, math.nan, 0.5, pd.NA])
def test_what_is_neither_true_nor_false_is_no_label(given: Any) -> None:
    with pytest.raises(InputError, match="a label is true for pass or false for fail"):
        calibrate([1.0, 0.0] * 10, [given, *BOTH[1:]])


@pytest.mark.parametrize("verdict", [True, 1, 1.0, np.True_, np.int64(1), np.float32(1)])
def test_a_verdict_may_be_any_one(verdict: Any) -> None:
    assert calibrate([verdict, 0.0] * 10, [1, 0] * 10).kappa.value == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdicts": [1.0, 0.0] * 9}, "there are 20 labels and 18 verdicts"),
        ({"verdicts": [1.0, 0.0] * 11}, "there are 20 labels and 22 verdicts"),
        ({"candidates": ["a"] * 3}, "there are 20 labels and 3 candidates"),
        ({"clusters": ["a"] * 21}, "there are 20 labels and 21 clusters"),
    ],
)
def test_each_label_has_its_verdict(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        calibrate(**{"verdicts": [1.0, 0.0] * 10, "labels": BOTH, **change})


# As a gate.


def told(n: int, silent: int, shares: Sequence[float] = (1.0,)) -> Calibration:
    """n labels of each candidate, the judge being right on these shares, and so many labels more without a verdict."""
    truth = [True, False] * (n // 2) * len(shares)
    verdicts: list[float | None] = []
    for share in shares:
        wrong = round(n * (1 - share))
        verdicts += [float((k % 2 == 0) == (k >= wrong)) for k in range(n)]
    names = [f"candidate-{k}" for k in range(len(shares)) for _ in range(n)]
    return calibrate(
        verdicts + [None] * silent, truth + [True] * silent, names + names[:1] * silent, rubric_sha256="digest"
    )


@pytest.mark.parametrize(
    ("n", "silent", "accepted"), [(90, 10, True), (90, 0, True), (90, 11, False), (50, 950, False), (200, 22, True)]
)
def test_a_judge_that_is_often_silent_is_no_gate(n: int, silent: int, accepted: bool) -> None:
    problem = gate_problem(told(n, silent), "digest", 0.6)
    if accepted:
        assert problem is None
    else:
        assert f"it gave no verdict on {silent} of {n + silent} labeled answers, and at most 10%" in str(problem)


def test_a_judge_that_errs_otherwise_on_one_candidate_is_no_gate() -> None:
    unfair = told(200, 0, (1.0, 0.86))
    assert unfair.alike == "no" and unfair.kappa.lo > 0.6
    assert "errs differently on different candidates" in str(gate_problem(unfair, "digest", 0.6))
    for fair in (told(200, 0, (0.95, 0.95)), told(200, 0, (0.95,))):  # alike, and not known
        assert fair.alike != "no" and gate_problem(fair, "digest", 0.6) is None


def test_rates_of_silent_rows_are_not_failing_ones() -> None:
    calibration = told(200, 0, (0.95, 0.95)).model_copy(update={"alike": "yes"})
    table = planted.outcomes({"candidate-0": [1.0] * 60})
    verdicts = [1.0] * 40 + [math.nan] * 20
    found = corrected_rates(table.assign(**{"metric.fine": verdicts}), "fine", calibration).iloc[0]
    assert (found["n"], found["judged"]) == (40, 1.0)
