"""Planted judges and classifiers: how often the intervals hold what was planted, cell by cell.

.venv/bin/python benchmarks/judge.py            # some seven minutes on a core; --runs 60 for a quick look

The tests look at a few of these cells. A share of about 0.95 is right. It is less, down to some 0.87, where Wilson's
interval meets a rate of 0.99 in a few dozen labels (it swings about 0.95 there), and for macro-F1 of eight classes in
40 items, which a bootstrap sees too low.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from workbench.classification import set_figures
from workbench.errors import InputError
from workbench.judge import Calibration, calibrate, corrected_rate

JUDGES = [(0.95, 0.9), (0.8, 0.7), (0.99, 0.99), (0.6, 0.95)]  # sensitivity, specificity


def planted(
    rng: np.random.Generator, n: int, prevalence: float, sensitivities: tuple[float, ...], specificity: float
) -> tuple[list[float], list[bool], list[str]]:
    """n labels of each candidate, and the verdicts of a judge with these error rates."""
    verdicts, labels, candidates = [], [], []
    for index, sensitivity in enumerate(sensitivities):
        truth = np.arange(n) < round(n * prevalence)
        drawn = rng.random(n)
        verdicts += np.where(truth, drawn < sensitivity, drawn >= specificity).astype(float).tolist()
        labels += truth.tolist()
        candidates += [str(index)] * n
    return verdicts, labels, candidates


def holds(estimate: Any, value: float) -> bool:
    return bool(estimate.lo <= value <= estimate.hi)


def alike(calibration: Calibration) -> Calibration:
    """As if the judge had been seen to err alike, which is another question."""
    return calibration.model_copy(update={"alike": "yes"})


def calibrations(runs: int) -> None:
    print("\nA judge against labels: the share of 95 % intervals that hold the planted figure")
    print("labels  prevalence  sens  spec |  agreement  kappa  sensitivity  specificity")
    rng = np.random.default_rng(0)
    for n, prevalence, (sensitivity, specificity) in itertools.product((40, 100, 300), (0.3, 0.5, 0.8), JUDGES):
        agreement = prevalence * sensitivity + (1 - prevalence) * specificity
        passed = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
        chance = prevalence * passed + (1 - prevalence) * (1 - passed)
        truth = (agreement, (agreement - chance) / (1 - chance), sensitivity, specificity)
        held = np.zeros(4)
        for _ in range(runs):
            found = calibrate(*planted(rng, n, prevalence, (sensitivity,), specificity)[:2])
            rates = (found.agreement, found.kappa, found.sensitivity, found.specificity)
            held += [holds(rate, value) for rate, value in zip(rates, truth, strict=True)]
        shares = "  ".join(f"{share:9.3f}" for share in held / runs)
        print(f"{n:6}  {prevalence:10.1f}  {sensitivity:.2f}  {specificity:.2f} |  {shares}")


def corrections(runs: int) -> None:
    print("\nA corrected rate: the share of 95 % intervals that hold the true rate, and their mean width")
    rates = (0.05, 0.3, 0.7, 0.95)
    print("labels  judged  sens  spec | " + "  ".join(f"rate {rate:.2f} (width)" for rate in rates) + "   refused")
    rng = np.random.default_rng(1)
    for n, judged, (sensitivity, specificity) in itertools.product((40, 100, 300), (50, 200, 1000), JUDGES):
        held: dict[float, list[tuple[bool, float]]] = {rate: [] for rate in rates}
        refused = 0
        for _ in range(runs):
            calibration = alike(calibrate(*planted(rng, n, 0.5, (sensitivity,), specificity)[:2]))
            for rate in rates:
                passed = rng.binomial(judged, rate * sensitivity + (1 - rate) * (1 - specificity))
                try:
                    found = corrected_rate(passed, judged, calibration)
                except InputError:
                    refused += 1
                    continue
                held[rate].append((holds(found, rate), found.hi - found.lo))
        cells = "  ".join(
            f"{np.mean([hit for hit, _ in each]):9.3f} ({np.mean([width for _, width in each]):.2f}) "
            for each in held.values()
        )
        print(f"{n:6}  {judged:6}  {sensitivity:.2f}  {specificity:.2f} | {cells}  {refused / runs / len(rates):6.3f}")


def coins(runs: int) -> None:
    print("\nJudges that say little: the share that the correction refuses")
    print("labels  sens  spec |  refused")
    rng = np.random.default_rng(2)
    pairs = [(0.5, 0.5), (0.7, 0.3), (0.95, 0.05), (0.6, 0.5), (0.6, 0.6), (0.7, 0.7)]
    for n, (sensitivity, specificity) in itertools.product((40, 200, 1000), pairs):
        refused = 0
        for _ in range(runs):
            found = calibrate(*planted(rng, n, 0.5, (sensitivity,), specificity)[:2])
            refused += found.informative <= 0
        print(f"{n:6}  {sensitivity:.2f}  {specificity:.2f} |  {refused / runs:7.3f}")


def fairness(runs: int) -> None:
    print("\nWhether a judge errs alike: its sensitivity is 0.9, on one candidate less; the share of each answer")
    print("labels of a kind  candidates  less |     yes      no  unknown")
    rng = np.random.default_rng(3)
    for n, candidates, less in itertools.product((10, 20, 40, 80, 160), (2, 4), (0.0, 0.1, 0.2, 0.4)):
        sensitivities = (0.9 - less,) + (0.9,) * (candidates - 1)
        said = Counter(calibrate(*planted(rng, 2 * n, 0.5, sensitivities, 0.9)).alike for _ in range(runs))
        shares = "  ".join(f"{said[name] / runs:6.3f}" for name in ("yes", "no", "unknown"))
        print(f"{n:16}  {candidates:10}  {less:.1f}  |  {shares}")


def classifiers(runs: int) -> None:
    print("\nFigures of a set: the share of 95 % intervals that hold the true figure")
    print("items  in a cluster  classes  smallest  accuracy |  macro_f1  balanced_accuracy")
    rng = np.random.default_rng(4)
    priors = ([0.5, 0.5], [0.85, 0.15], [0.55, 0.25, 0.15, 0.05], [0.125] * 8)
    for n, size, prior, accuracy in itertools.product((40, 80, 240), (1, 4), priors, (0.6, 0.85, 0.95, 0.99)):
        k, shares = len(prior), np.array(prior)
        of_it = accuracy * shares + (1 - accuracy) * (1 - shares) / k  # how often each class is given
        truth = ((2 * accuracy * shares / (shares + of_it)).mean(), accuracy)
        held = np.zeros(2)
        for _ in range(runs // 4):
            expected = rng.choice(k, n, p=prior)
            luck = np.where(rng.random(n) < 0.5, rng.random(n // size).repeat(size), rng.random(n))
            given = np.where(luck < accuracy, expected, (expected + rng.integers(1, k + 1, n)) % (k + 1))
            table = pd.DataFrame({"item_id": np.arange(n).astype(str), "score": (given == expected).astype(float)})
            table = table.assign(task="t", model="m", cluster=(np.arange(n) // size).astype(str))
            table["metric.class.x.expected"], table["metric.class.x.given"] = expected, np.where(given == k, -1, given)
            found = set_figures(table)
            held += [lo <= value <= hi for lo, hi, value in zip(found["lo"], found["hi"], truth, strict=True)]
        cells = "  ".join(f"{share:8.3f}" for share in held / (runs // 4))
        print(f"{n:5}  {size:12}  {k:7}  {min(prior):8.3f}  {accuracy:8.2f} |  {cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description="coverage of the judges' and the sets' intervals")
    parser.add_argument("--runs", type=int, default=400, help="simulated sets a cell")
    runs = parser.parse_args().runs
    started = time.perf_counter()
    print(f"{runs} runs a cell (figures of a set: {runs // 4}); the standard error of a share of 0.95 is ", end="")
    print(f"{(0.95 * 0.05 / runs) ** 0.5:.3f}")
    for part in (calibrations, corrections, coins, fairness, classifiers):
        part(runs)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
