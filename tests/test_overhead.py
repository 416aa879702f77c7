"""What the workbench adds to a run is measured, and told where it is what sets the pace."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from conftest import item, write_evalset, write_models
from recording_server import RecordingServer

import workbench as wb
from workbench.runner.overhead import Measured, Overhead


class Source:
    dry_s = 0.0


def watched(work_s: float, dry_s: float = 0.0) -> Measured:
    """An event loop that computes for so long in every 20 ms."""
    source, overhead = Source(), Overhead()

    async def main() -> None:
        with overhead.sending(source):
            for _ in range(75):
                until = time.thread_time() + work_s
                while time.thread_time() < until:
                    pass
                source.dry_s += dry_s
                await asyncio.sleep(0.02 - work_s)

    asyncio.run(main())
    found = overhead.measured()
    assert found is not None
    return found


def test_an_idle_loop_is_not_the_bottleneck_and_a_busy_one_is() -> None:
    idle, busy = watched(0.0), watched(0.0199)
    assert idle.busy < 0.3 and idle.dry == 0 and not idle.bottleneck and "bottleneck" not in idle.describe()
    assert busy.busy > idle.busy and busy.lag_s > idle.lag_s
    full = Measured(0.01, 0.02, busy=0.97, dry=0.0, window_s=10.0)
    assert full.bottleneck and "the client was the bottleneck" in full.describe()


def test_a_wire_with_nothing_to_send_is_told() -> None:
    dry = watched(0.0, 0.015)
    assert 0.4 < dry.dry <= 0.8 and dry.bottleneck


def test_time_between_two_models_is_not_counted() -> None:
    overhead = Overhead()

    async def main() -> None:
        for _ in range(2):
            with overhead.sending(Source()):
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.5)

    asyncio.run(main())
    found = overhead.measured()
    assert found is not None and 0.4 <= found.window_s < 0.9


def test_too_little_to_measure_is_nothing() -> None:
    async def main() -> Overhead:
        overhead = Overhead()
        with overhead.sending(Source()):
            await asyncio.sleep(0)
        return overhead

    assert asyncio.run(main()).measured() is None


@pytest.mark.slow
def test_a_run_whose_scorer_is_slow_says_that_it_was_the_bottleneck(project: Path, server: RecordingServer) -> None:
    @wb.scorer("slow_for_overhead")
    def slow(answer: object, expectations: dict[str, str]) -> float:
        time.sleep(0.02)
        return 1.0

    write_evalset(project, "colors", [item(f"i{n}") for n in range(400)], scorers=[{"type": "slow_for_overhead"}])
    entry = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url, "concurrency": 8}
    write_models(project, m=entry)
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    assert run.overhead is not None and run.overhead.bottleneck and "bottleneck" in run.describe()
