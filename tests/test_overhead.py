"""What the workbench adds to a run is measured, and told where it is what sets the pace."""

from __future__ import annotations

import asyncio
import time

from workbench.runner.overhead import Measured, Overhead


def watched(work_s: float) -> Measured:
    """An event loop that computes for so long in every 20 ms."""

    async def main() -> Overhead:
        with Overhead() as overhead:
            for _ in range(75):
                until = time.thread_time() + work_s
                while time.thread_time() < until:
                    pass
                await asyncio.sleep(0.02 - work_s)
        return overhead

    found = asyncio.run(main()).measured()
    assert found is not None
    return found


def test_an_idle_loop_is_not_the_bottleneck_and_a_busy_one_is() -> None:
    idle, busy = watched(0.0), watched(0.0199)
    assert idle.busy < 0.3 and not idle.bottleneck and "bottleneck" not in idle.describe()
    assert busy.busy > idle.busy and busy.lag_s > idle.lag_s
    full = Measured(0.01, 0.02, 0.97, 10.0)
    assert full.bottleneck and "the client was the bottleneck" in full.describe()


def test_too_little_to_measure_is_nothing() -> None:
    async def main() -> Overhead:
        with Overhead() as overhead:
            await asyncio.sleep(0)
        return overhead

    assert asyncio.run(main()).measured() is None
