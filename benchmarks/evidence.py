"""What we claim about the statistics: coverage of intervals, size of tests, and speed, on a fixed grid.

    python benchmarks/evidence.py                # 20,000 runs a cell; some minutes on two cores
    python benchmarks/evidence.py --quick        # a part of the grid, 2,000 runs a cell, nothing is written

Every cell of the grid is printed with its share and whether it passes; nothing is left out, and one that misses makes
the exit 1. The functions are those of the package, over whole arrays of runs. Two settings differ from what the package
takes: 500 resamples (2,000) and 2,000 draws for the joint levels (5,000), which only makes their critical values
noisier. Shares are simulated, so a size may exceed its 6 % by two standard errors. Results are written to
benchmarks/results/evidence.json.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before numpy: cells run side by side, one thread each
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from workbench.evidence import leaderboard  # noqa: E402
from workbench.intervals import CONFIDENCE, mean_intervals  # noqa: E402
from workbench.multiplicity import Comparison, joint_levels  # noqa: E402
from workbench.pairs import Differences, p_values, paired_differences  # noqa: E402

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "evidence.json"
RUNS, RESAMPLES, DRAWS = 20_000, 500, 2000
ONE_SIDED = 2 * CONFIDENCE - 1
_BLOCK = 2_000_000  # numbers of a block of runs

Floats = Any
Generator = np.random.Generator


@dataclass(frozen=True)
class Cell:
    """A place of the grid: `rule` is what its share has to keep, `low` to `high`."""

    part: str
    low: float
    high: float
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())


# What is drawn.

CONTINUOUS: dict[str, tuple[Callable[[Generator, Any], Floats], float]] = {
    "uniform": (lambda rng, shape: rng.random(shape), 0.5),
    "beta(2, 5)": (lambda rng, shape: rng.beta(2, 5, shape), 2 / 7),
    "beta(8, 2)": (lambda rng, shape: rng.beta(8, 2, shape), 0.8),
    "beta(0.5, 0.5)": (lambda rng, shape: rng.beta(0.5, 0.5, shape), 0.5),
    "0, half or 1": (lambda rng, shape: rng.choice([0, 0.5, 1], shape, p=[0.2, 0.3, 0.5]), 0.65),
    "60 % full marks": (lambda rng, shape: np.where(rng.random(shape) < 0.6, 1, rng.random(shape)), 0.8),
    "80 % full marks": (lambda rng, shape: np.where(rng.random(shape) < 0.8, 1, rng.random(shape)), 0.9),
}


def shares_of_clusters(rng: Generator, p: float, icc: float, clusters: int, runs: int) -> Floats:
    """Each cluster's chance of a success: beta distributed, so that the correlation within clusters is `icc`."""
    if icc == 0:
        return np.full((clusters, runs), p)
    scale = 1 / icc - 1
    return rng.beta(p * scale, (1 - p) * scale, (clusters, runs))


def changes(rng: Generator, n: int, runs: int, loss: float, gain: float) -> Floats:
    """Differences of two binary scores."""
    drawn = rng.random((n, runs))
    return (drawn < gain).astype(float) - (drawn > 1 - loss)


def alike(rng: Generator, p: Floats, common: float, n: int) -> Floats:
    """Binary scores of k candidates with means p, shape (n, k): correlated by what makes an item hard."""
    from scipy import special

    hard = rng.standard_normal((n, 1)) * math.sqrt(common)
    own = rng.standard_normal((n, len(p))) * math.sqrt(1 - common)
    return (hard + own < special.ndtri(p)).astype(float)


# The cells: each yields, for blocks of runs, whether what may happen in some 5 % happened.


def binary(rng: Generator, runs: int, n: int, p: float) -> Iterator[Floats]:
    for count in blocks(runs, n):
        found = mean_intervals((rng.random((n, count)) < p).astype(float))
        yield (found.lo <= p) & (p <= found.hi)


def clustered(rng: Generator, runs: int, clusters: int, size: int, icc: float, p: float) -> Iterator[Floats]:
    codes = np.repeat(np.arange(clusters), size)
    for count in blocks(runs, clusters * size):
        chance = np.repeat(shares_of_clusters(rng, p, icc, clusters, count), size, axis=0)
        found = mean_intervals((rng.random(chance.shape) < chance).astype(float), codes)
        yield (found.lo <= p) & (p <= found.hi)


def uneven(rng: Generator, runs: int, clusters: int, icc: float, p: float) -> Iterator[Floats]:
    """Clusters of 1 to 12 items."""
    sizes = 1 + np.arange(clusters) % 12
    codes = np.repeat(np.arange(clusters), sizes)
    for count in blocks(runs, len(codes)):
        chance = np.repeat(shares_of_clusters(rng, p, icc, clusters, count), sizes, axis=0)
        found = mean_intervals((rng.random(chance.shape) < chance).astype(float), codes)
        yield (found.lo <= p) & (p <= found.hi)


def clustered_continuous(rng: Generator, runs: int, clusters: int, size: int, icc: float, p: float) -> Iterator[Floats]:
    """Scores between 0 and 1 around their cluster's mean."""
    codes = np.repeat(np.arange(clusters), size)
    for count in blocks(runs, clusters * size):
        chance = np.repeat(shares_of_clusters(rng, p, icc, clusters, count), size, axis=0)
        scores = rng.beta(4 * chance + 1e-3, 4 * (1 - chance) + 1e-3)
        true = (4 * p + 1e-3) / (4 + 2e-3)
        found = mean_intervals(scores, codes, resamples=RESAMPLES)
        yield (found.lo <= true) & (true <= found.hi)


def continuous(rng: Generator, runs: int, n: int, scores: str) -> Iterator[Floats]:
    draw, true = CONTINUOUS[scores]
    for count in blocks(runs, max(n, RESAMPLES)):
        found = mean_intervals(draw(rng, (n, count)).astype(float), resamples=RESAMPLES)
        yield (found.lo <= true) & (true <= found.hi)


def mcnemar(rng: Generator, runs: int, n: int, discordance: float) -> Iterator[Floats]:
    for count in blocks(runs, n):
        test = p_values(changes(rng, n, count, discordance / 2, discordance / 2))
        assert test.method[0] == "McNemar mid-p"
        yield test.p <= 1 - CONFIDENCE


def sign_flip(rng: Generator, runs: int, n: int, differ: float) -> Iterator[Floats]:
    """Partial scores of which a share differs, symmetrically."""
    for count in blocks(runs, max(n, RESAMPLES)):
        values = np.where(rng.random((n, count)) < differ, rng.uniform(-1, 1, (n, count)), 0.0)
        test = p_values(values, resamples=RESAMPLES)
        yield test.p <= 1 - CONFIDENCE


def sign_flip_clustered(rng: Generator, runs: int, clusters: int, size: int) -> Iterator[Floats]:
    """Whole clusters in which one of both is better."""
    codes = np.repeat(np.arange(clusters), size)
    for count in blocks(runs, max(clusters * size, RESAMPLES)):
        gain = np.repeat(rng.uniform(0, 0.6, (clusters, count)), size, axis=0)
        drawn = rng.random(gain.shape)
        values = (drawn < gain).astype(float) - (drawn > 0.4 + gain)  # gains and losses: 0.6 of the items differ
        yield p_values(values, codes, resamples=RESAMPLES).p <= 1 - CONFIDENCE


def at_margin(rng: Generator, runs: int, n: int, margin: float, discordance: float) -> Iterator[Floats]:
    """A candidate that is worse by just the margin is called non-inferior. A discordance of 0 is the least there is."""
    discordance = max(discordance, margin)
    loss, gain = (discordance + margin) / 2, (discordance - margin) / 2
    for count in blocks(runs, n):
        found = paired_differences(changes(rng, n, count, gain, loss), confidence=ONE_SIDED)  # the best minus it
        yield found.hi <= margin


def at_margin_partial(rng: Generator, runs: int, n: int, margin: float, differ: float) -> Iterator[Floats]:
    """The same with partial scores."""
    for count in blocks(runs, n):
        values = np.where(rng.random((n, count)) < differ, rng.uniform(-0.5, 0.5, (n, count)) + margin / differ, 0.0)
        yield paired_differences(values, confidence=ONE_SIDED).hi <= margin


def at_margin_clustered(
    rng: Generator, runs: int, clusters: int, size: int, margin: float, icc: float
) -> Iterator[Floats]:
    """The same with binary scores in clusters: 0.3 of the items differ."""
    codes, gained = np.repeat(np.arange(clusters), size), (0.3 + margin) / 0.6
    for count in blocks(runs, clusters * size):
        chance = np.repeat(shares_of_clusters(rng, gained, icc, clusters, count), size, axis=0)
        values = np.where(rng.random(chance.shape) < chance, 1.0, -1.0) * (rng.random(chance.shape) < 0.3)
        yield paired_differences(values, codes, ONE_SIDED).hi <= margin


def best(rng: Generator, runs: int, n: int, k: int, gap: float, common: float, worse: str) -> Iterator[Floats]:
    """A bound of (best of all − candidate) lies under the truth, for any candidate; `worse` are all others, or one."""
    behind = np.full(k, gap) if worse == "all" else np.array([0.0, gap] + [4 * gap] * (k - 2))
    behind[0] = 0.0
    first, second = np.triu_indices(k, 1)
    for count in blocks(runs, n * len(first)):
        tables = [alike(rng, 0.9 - behind, common, n) for _ in range(count)]
        level = np.array([joint_levels(table, draws=DRAWS)[0] for table in tables])  # runs × control
        apart = Differences.of(np.concatenate([table[:, first] - table[:, second] for table in tables], axis=1))
        bound = np.full((count, k, k), -np.inf)  # control × candidate
        bound[:, first, second] = apart.estimates(level[:, first].ravel()).hi.reshape(count, -1)
        bound[:, second, first] = -apart.estimates(level[:, second].ravel()).lo.reshape(count, -1)
        highest = np.maximum(bound.max(axis=1), 0.0)
        for table, own in zip(tables[:3], highest, strict=False):  # it is what the package does one by one
            np.testing.assert_allclose(Comparison(table, draws=DRAWS).best.hi, own)
        yield (highest < behind - 1e-12).any(axis=1)


def family(rng: Generator, runs: int, n: int, k: int, p: float, common: float) -> Iterator[Floats]:
    """Any pair of k equal candidates is separated."""
    first, second = np.triu_indices(k, 1)
    for count in blocks(runs, n * len(first)):
        tables = [alike(rng, np.full(k, p), common, n) for _ in range(count)]
        level = np.array([joint_levels(table, draws=DRAWS)[1] for table in tables])
        apart = Differences.of(np.concatenate([table[:, first] - table[:, second] for table in tables], axis=1))
        found = apart.estimates(level.repeat(len(first)))
        pairs = Comparison(tables[0], draws=DRAWS).pairs.estimates
        np.testing.assert_allclose(pairs.lo, found.lo[: len(first)])
        yield ((found.lo > 0) | (found.hi < 0)).reshape(count, -1).any(axis=1)


def blocks(runs: int, size: int) -> Iterator[int]:
    step = max(1, min(runs, _BLOCK // size))
    for start in range(0, runs, step):
        yield min(step, runs - start)


def grid() -> list[Cell]:
    """All cells."""
    most = 0.06 + 2 * math.sqrt(0.06 * 0.94 / RUNS)
    parts: list[tuple[Callable[..., Any], float, float, dict[str, tuple[Any, ...]]]] = [
        (binary, 0.92, 1, {"n": (20, 30, 50, 100, 200, 500, 1000), "p": (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)}),
        (
            clustered,
            0.925,
            1,
            {"clusters": (20, 40, 100), "size": (3, 10), "icc": (0, 0.2, 0.6), "p": (0.5, 0.7, 0.9, 0.95)},
        ),
        (uneven, 0.925, 1, {"clusters": (24, 60), "icc": (0, 0.2, 0.6), "p": (0.7, 0.95)}),
        (
            clustered_continuous,
            0.925,
            1,
            {"clusters": (20, 40, 100), "size": (3, 10), "icc": (0.2, 0.6), "p": (0.5, 0.8)},
        ),
        (continuous, 0.93, 0.97, {"n": (30, 50, 100, 200, 500), "scores": tuple(CONTINUOUS)}),
        (mcnemar, 0, most, {"n": (20, 50, 100, 300, 1000), "discordance": (0.05, 0.1, 0.2, 0.4)}),
        (sign_flip, 0, most, {"n": (10, 20, 50, 200), "differ": (0.2, 1.0)}),
        (sign_flip_clustered, 0, most, {"clusters": (10, 20, 60), "size": (5,)}),
        (
            at_margin,
            0,
            most,
            {"n": (20, 50, 100, 300, 1000), "margin": (0.02, 0.05, 0.1), "discordance": (0, 0.2, 0.4)},
        ),
        (at_margin_partial, 0, most, {"n": (20, 50, 200), "margin": (0.05, 0.1), "differ": (0.3, 1.0)}),
        (
            at_margin_clustered,
            0,
            most,
            {"clusters": (20, 60), "size": (3, 10), "margin": (0.05, 0.1), "icc": (0.0, 0.3)},
        ),
        (
            best,
            0,
            most,
            {"n": (30, 100, 300), "k": (3, 6), "gap": (0.1,), "common": (0.5,), "worse": ("all", "one")},
        ),
        (family, 0, most, {"n": (30, 100, 300), "k": (3, 6), "p": (0.7, 0.9), "common": (0.5,)}),
    ]
    cells = []
    for function, low, high, settings in parts:
        for values in product(*settings.values()):
            cells.append(Cell(function.__name__, low, high, dict(zip(settings, values, strict=True))))
    return cells


QUICK = {
    *("n 20, p 0.9", "clusters 20, size 3, icc 0.2, p 0.9", "clusters 24, icc 0.2, p 0.7"),
    *(
        "clusters 20, size 3, icc 0.2, p 0.8",
        "n 50, scores 80 % full marks",
        "n 50, discordance 0.2",
        "n 20, differ 0.2",
    ),
    *("clusters 20, size 5", "n 50, margin 0.1, discordance 0.2", "n 50, margin 0.1, differ 0.3"),
    *(
        "clusters 20, size 3, margin 0.1, icc 0.3",
        "n 30, k 3, gap 0.1, common 0.5, worse all",
        "n 30, k 3, p 0.7, common 0.5",
    ),
}


def simulate(job: tuple[int, Cell, int]) -> float:
    """The share of a cell; its random numbers are its own, whatever else runs."""
    index, cell, runs = job
    rng = np.random.default_rng([20_261_128, index])
    hits = sum(int(np.sum(block)) for block in globals()[cell.part](rng, runs, **cell.settings))
    return hits / runs


def simulations(runs: int, cells: list[tuple[int, Cell]], workers: int) -> tuple[list[dict[str, Any]], bool]:
    """Every cell, printed as it comes."""
    rows, fine = [], True
    slack = 0.0 if runs == RUNS else 4 * math.sqrt(0.06 * 0.94 / runs)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        shares = pool.imap(simulate, [(index, cell, runs) for index, cell in cells])
        for (_, cell), share in zip(cells, shares, strict=True):
            passed = cell.low - slack <= share <= cell.high + slack
            fine &= passed
            rows.append({"part": cell.part, **cell.settings, "share": round(share, 5), "pass": passed})
            rule = f">= {cell.low:g}" if cell.high == 1 else f"<= {cell.high:.4f}" if not cell.low else "0.93 to 0.97"
            print(f"{'PASS' if passed else 'MISS'} {cell.part:21} {cell.label:58} {share:.4f}  {rule}", flush=True)
    shares_of_binary = [row["share"] for row in rows if row["part"] == "binary"]
    if runs == RUNS and shares_of_binary:
        mean = float(np.mean(shares_of_binary))
        passed = 0.94 <= mean <= 0.96
        fine &= passed
        print(f"{'PASS' if passed else 'MISS'} binary, mean of all cells {mean:.4f}  0.94 to 0.96")
        rows.append({"part": "binary, mean", "share": round(mean, 5), "pass": passed})
    return rows, fine


# Speed.


def big_table(rows: int, models: int, tasks: int) -> pd.DataFrame:
    """An outcome table of that size."""
    rng, n = np.random.default_rng(0), -(-rows // (models * tasks))
    task, model, item = (each.ravel() for each in np.indices((tasks, models, n)))
    task, model, item = task[:rows], model[:rows], item[:rows]
    chance = 0.5 + 0.4 * rng.random((tasks, models))
    hard = rng.random((tasks, n))
    score = (0.5 * hard[task, item] + 0.5 * rng.random(len(task)) < chance[task, model]).astype(float)
    return pd.DataFrame(
        {
            "task": np.array([f"task-{each:02}" for each in range(tasks)])[task],
            "item_id": np.array([f"item-{each:05}" for each in range(n)])[item],
            "model": np.array([f"model-{each:02}" for each in range(models)])[model],
            "score": score,
            "accepted": score >= 0.5,
            "format_ok": True,
            "attempts": 1,
            "cost_usd": rng.exponential(0.001, len(task)),
            "latency_s": rng.lognormal(0, 0.5, len(task)),
            "sensitivity": "internal",
        }
    )


def speed() -> tuple[dict[str, Any], bool]:
    """A leaderboard of a million outcomes, in a process of its own for its memory."""
    found: dict[str, Any] = {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        found["leaderboard"] = pool.apply(_leaderboard_speed)
    told = found["leaderboard"]
    fine = told["wall_s"] < 5 and told["peak_gb"] < 4
    print(
        f"{'PASS' if fine else 'MISS'} leaderboard of {told['rows']:,} outcomes, 30 models, 20 tasks: "
        f"{told['wall_s']:.1f} s (CPU {told['cpu_s']:.1f} s), peak {told['peak_gb']:.2f} GB; load {told['load']:.1f}   "
        "claimed: < 5 s, < 4 GB"
    )
    return found, fine


def _leaderboard_speed() -> dict[str, Any]:
    import resource

    table = big_table(1_000_000, 30, 20)
    wall, cpu, load = time.perf_counter(), time.process_time(), os.getloadavg()[0]
    leaderboard(table)
    return {
        "rows": len(table),
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "load": round(load, 1),
    }


def write(simulated: dict[str, Any], measured: dict[str, Any], cells: list[dict[str, Any]]) -> None:
    """The results as JSON, a line a cell."""
    machine = {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    head = json.dumps({"machine": machine, "simulated": simulated, "measured": measured}, indent=1)
    lines = ",\n".join(json.dumps(row) for row in cells)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(f'{head[:-2]},\n "cells": [\n{lines}\n ]\n}}\n')


def main() -> int:
    parser = argparse.ArgumentParser(description="coverage of intervals, size of tests, and speed")
    parser.add_argument("--quick", action="store_true", help="a part of the grid, with 2,000 runs a cell")
    parser.add_argument("--only", help="a part of the grid, such as binary; nothing is written")
    parser.add_argument("--speed", action="store_true", help="speed alone, written beside what was simulated before")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    started, today = time.perf_counter(), datetime.now(UTC).date().isoformat()
    if arguments.speed:
        measured, fast = speed()
        before = json.loads(RESULTS.read_text())
        write(before["simulated"], {"date": today, **measured}, before["cells"])
        return 0 if fast else 1
    cells = list(enumerate(grid()))
    if arguments.quick:
        cells = [(index, cell) for index, cell in cells if cell.label in QUICK]
    if arguments.only:
        cells = [(index, cell) for index, cell in cells if cell.part == arguments.only]
    rows, fine = simulations(2000 if arguments.quick else RUNS, cells, arguments.workers)
    took_s, missed = round(time.perf_counter() - started), sum(not row["pass"] for row in rows)
    print(f"{len(rows)} cells, {missed} missed, {took_s} s")
    if arguments.quick or arguments.only:
        return 0 if fine else 1
    simulated = {"date": today, "runs": RUNS, "cells": len(rows), "missed": missed, "wall_s": took_s}
    measured, fast = speed()
    write(simulated, {"date": today, **measured}, rows)
    return 0 if fine and fast else 1


if __name__ == "__main__":
    sys.exit(main())
