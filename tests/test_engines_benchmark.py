"""The benchmark of engines: its interval, its verdict, and what it keeps. What it measures needs the engines."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engines_benchmark", REPOSITORY / "benchmarks" / "engines.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def turns(*ratios: float) -> dict[str, Any]:
    """As many turns, in which the workbench has that share of a bare loop's 100 tokens a second."""
    clients = ["workbench", "bare loop"]
    made = [
        {"order": clients[::step], "workbench": {"tokens": 400, "s": 4 / ratio}, "bare loop": {"tokens": 200, "s": 2.0}}
        for ratio, step in zip(ratios, [1, -1] * len(ratios), strict=False)
    ]
    return {"in_flight": 16, "turns": made}


def test_the_interval_of_five_is_all_of_them_and_has_its_confidence(benchmark: ModuleType) -> None:
    assert benchmark.median_interval([5.0, 1.0, 4.0, 2.0, 3.0]) == (3.0, 1.0, 5.0, 0.9375)
    assert benchmark.median_interval([2.0]) == (2.0, 2.0, 2.0, 0.0)
    # Of eleven the third to the ninth have 93.5 %, and those within 77.4 %.
    middle, lo, hi, confidence = benchmark.median_interval([float(n) for n in range(1, 12)])
    assert (middle, lo, hi) == (6.0, 3.0, 9.0) and confidence == pytest.approx(0.9346, abs=1e-4)


def test_the_interval_holds_the_median_as_often_as_it_says(benchmark: ModuleType) -> None:
    samples = np.random.default_rng(0).exponential(size=(4000, 5))
    held = [lo <= np.log(2) <= hi for _, lo, hi, _ in map(benchmark.median_interval, samples.tolist())]
    assert np.mean(held) == pytest.approx(0.9375, abs=0.015)


def test_the_verdict_is_on_the_median_and_every_pair_is_kept(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = turns(0.9, 0.97, 0.96, 0.99, 0.98), turns(0.5, 0.94, 0.93, 1.2, 1.3)
    assert benchmark.tell("vllm", good) and not benchmark.tell("llamacpp", bad)
    out = capsys.readouterr().out
    assert (
        "0.970 (0.900 to 0.990, 93.75%)" in out and "MISS llamacpp" in out and "0.940 (0.500 to 1.300, 93.75%)" in out
    )
    path = tmp_path / "results" / "engines.json"
    for name, found in (("vllm", good), ("llamacpp", bad), ("vllm", good)):
        benchmark.keep(path, {name: found})
    kept = json.loads(path.read_text())
    assert set(kept) == {"vllm", "llamacpp"} and len(kept["llamacpp"]["turns"]) == 5
    assert kept["vllm"]["of"]["bare loop"] == {
        **{"median": 0.97, "lo": 0.9, "hi": 0.99, "confidence": 0.9375, "claimed": 0.95, "holds": True}
    }


def test_a_result_names_what_it_was_measured_on(benchmark: ModuleType) -> None:
    told = benchmark.machine()
    assert told["cpus"] >= 1 and told["cpu"] and told["python"].startswith("3.") and told["workbench"]
