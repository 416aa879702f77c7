"""Steps in virtual time, against queues whose laws are known: nothing waits, nothing depends on the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest
from virtual_time import now, run_in_virtual_time

from workbench.load.arrivals import arrivals
from workbench.load.drive import ClosedLoop, OpenLoop, Request, Times, Window, drive
from workbench.load.engine import EngineWatch
from workbench.load.figures import StepRun, falls_behind, saturation, summarize
from workbench.load.result import LoadLimits, Step


class Queue:
    """A server with a known service time and so many places, in the order of arrival: D/c."""

    def __init__(self, service_s: float, places: int = 1, tokens: int = 4) -> None:
        self.service_s, self.places, self.tokens = service_s, places, tokens
        self.in_flight = self.most = 0
        self.stalled = asyncio.Event()
        self.stalled.set()

    async def ask(self, request: Request) -> None:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            async with self._place:
                await self.stalled.wait()
                for _ in range(self.tokens):
                    await asyncio.sleep(self.service_s / self.tokens)
                    request.token_at.append(self.clock())
                request.input_tokens, request.output_tokens = 10, self.tokens
        finally:
            self.in_flight -= 1

    def start(self) -> None:
        began = now()
        self.clock = lambda: now() - began
        self._place = asyncio.Semaphore(self.places)


def driven(queue: Queue, load: ClosedLoop | OpenLoop, warmup_s: float, duration_s: float) -> Window:
    async def main() -> Window:
        queue.start()
        return await drive(queue.ask, load, Times(warmup_s, duration_s), asyncio.Event(), queue.clock)

    return run_in_virtual_time(main)


def step(*windows: Window, limits: LoadLimits | None = None) -> Step:
    runs = [StepRun(1.0, number, window, EngineWatch(), None) for number, window in enumerate(windows)]
    return summarize(runs, limits or LoadLimits())


def poisson(rate: float, seed: int = 0) -> Iterator[float]:
    return arrivals("poisson", rate, np.random.default_rng(seed))


@pytest.mark.parametrize(("concurrency", "per_s", "latency_s"), [(1, 2, 0.5), (4, 8, 0.5), (8, 8, 1.0), (16, 8, 2.0)])
def test_a_closed_loop_saturates_where_the_places_say(concurrency: int, per_s: float, latency_s: float) -> None:
    queue = Queue(0.5, places=4)
    found = step(driven(queue, ClosedLoop(concurrency), 10, 100))
    assert queue.most == concurrency
    assert found.in_flight.number == pytest.approx(concurrency, rel=1e-6)
    assert found.requests_per_s.number == pytest.approx(per_s, rel=0.02)
    assert found.output_tokens_per_s.number == pytest.approx(4 * per_s, rel=0.02)
    assert found.total_tokens_per_s.number == pytest.approx(14 * per_s, rel=0.02)
    assert found.latency_s.p50.number == pytest.approx(latency_s, rel=1e-6)
    assert found.itl_s is not None and found.itl_s.p95.number == pytest.approx(0.125, rel=1e-6)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.8])
def test_an_open_loop_waits_as_long_as_the_md1_queue_says(rho: float) -> None:
    """Pollaczek and Khinchine: the mean wait of M/D/1 is ρ s / (2 (1 − ρ))."""
    windows = [driven(Queue(1.0, tokens=1), OpenLoop(poisson(rho, seed)), 200, 2000) for seed in range(3)]
    found = step(*windows)
    assert found.latency_s.mean.number == pytest.approx(1 + rho / (2 * (1 - rho)), rel=0.12)
    assert found.requests_per_s.number == pytest.approx(rho, rel=0.05)
    assert found.in_flight.number == pytest.approx(rho * found.latency_s.mean.number, rel=0.08)  # Little


def test_beyond_capacity_throughput_is_the_capacity_and_latency_grows_with_the_window() -> None:
    short, long = (step(driven(Queue(1.0), OpenLoop(poisson(2.0)), 10, lasts)) for lasts in (50, 200))
    assert short.requests_per_s.number == pytest.approx(1.0, abs=0.05)
    assert long.requests_per_s.number == pytest.approx(1.0, abs=0.05)
    assert long.latency_s.p95.number > 2 * short.latency_s.p95.number > 20


def test_an_overloaded_open_loop_is_full_and_no_more_is_good_than_was_answered() -> None:
    """Of 2 requests a second 1 is answered: nothing is within limits that came after the window."""

    def asked(rate: float, limits: LoadLimits) -> Step:
        windows = [driven(Queue(1.0), OpenLoop(poisson(rate, seed)), 10, 60) for seed in range(3)]
        return step(*windows, limits=limits)

    for limits in (LoadLimits(), LoadLimits(e2e_s=40.0)):
        light, heavy = (asked(rate, limits).model_copy(update={"level": rate}) for rate in (0.5, 2.0))
        assert heavy.goodput_per_s.number <= heavy.requests_per_s.number == pytest.approx(1.0, rel=0.02)
        assert light.goodput_per_s.number == light.requests_per_s.number
        assert heavy.behind == pytest.approx(180, rel=0.2) and abs(light.behind) < 6
        assert falls_behind(heavy) and not falls_behind(light)
        assert saturation([light, heavy], open_loop=True) == (2.0, True)
        assert saturation([light], open_loop=True) == (0.5, False)


def test_a_stall_is_felt_by_all_that_were_due_in_it() -> None:
    """A client that waits for answers before it sends would see one slow request; 10 were due every second."""
    queue = Queue(0.01, places=100)

    async def main() -> Window:
        queue.start()

        async def stall() -> None:
            await asyncio.sleep(20)
            queue.stalled.clear()
            await asyncio.sleep(10)
            queue.stalled.set()

        stalling = asyncio.create_task(stall())
        load = OpenLoop((n / 10 for n in count(1)), most_in_flight=5)
        window = await drive(queue.ask, load, Times(0.95, 99), asyncio.Event(), queue.clock)
        await stalling
        return window

    found = step(run_in_virtual_time(main))
    assert found.requests == 990
    # A tenth of the requests was due in the stall, and waited for half of it on average, though 5 were sent at once.
    assert found.latency_s.p90.number < 1 < 4 < found.latency_s.p95.number < 6
    assert found.service_latency_s.p95.number < 1 < found.latency_s.p95.number
    assert found.latency_s.mean.number == pytest.approx(0.1 * 5 + 0.01, rel=0.1)


def test_a_request_that_was_due_in_the_window_is_measured_however_late_it_was_sent() -> None:
    """One place of our own, and answers of 10 s: what was due is sent long after the window, and its time goes on."""
    load = OpenLoop((float(n) for n in count(1)), most_in_flight=1)
    window = driven(Queue(10.0), load, 0, 8.5)
    measured = [request for request in window.requests if request.measured]
    assert [request.due_at for request in measured] == [float(n) for n in range(1, 9)]
    assert [request.sent_at for request in measured] == pytest.approx([1 + 10 * n for n in range(8)])
    assert step(window).latency_s.p99.number == pytest.approx(81 - 8)


def test_what_is_measured_is_answered_under_load() -> None:
    """The last of them are not answered by a server that is left alone: so many are in flight until the end."""
    queue = Queue(1.0, places=8)
    window = driven(queue, ClosedLoop(8), 2, 10)
    last = max(request.ended_at or 0.0 for request in window.measured)
    behind = [request for request in window.requests if request.due_at >= window.end_s]
    assert last > window.end_s and len(behind) >= 7
    assert all(request.ended_at is not None for request in window.measured)


def test_warm_up_is_no_part_of_it() -> None:
    class Cold(Queue):
        async def ask(self, request: Request) -> None:
            if self.clock() < 5:
                await asyncio.sleep(3)
            await super().ask(request)

    found = step(driven(Cold(0.1), ClosedLoop(1), 10, 20))
    assert found.latency_s.p99.number == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("load", [ClosedLoop(4), OpenLoop(float(n * 5) for n in count(1))])
def test_a_window_lasts_until_enough_was_asked_in_it(load: ClosedLoop | OpenLoop) -> None:
    window = driven(Queue(10.0, places=2), load, 1, 2)
    wanted = 4 if isinstance(load, ClosedLoop) else 3
    assert wanted <= len(window.measured) and window.whole
    lasted = window.end_s - window.start_s
    assert 2 < lasted <= 20 and lasted / 2 == pytest.approx(round(lasted / 2))


def test_an_interrupt_ends_a_step_at_once_and_it_does_not_count() -> None:
    async def main() -> tuple[Window, float]:
        queue, stopping = Queue(60.0), asyncio.Event()
        queue.start()
        asyncio.get_running_loop().call_later(5, stopping.set)
        window = await drive(queue.ask, ClosedLoop(2), Times(1, 30), stopping, queue.clock)
        return window, queue.clock()

    window, took = run_in_virtual_time(main)
    assert not window.whole and took < 6


def test_what_a_request_raises_ends_the_step() -> None:
    async def fails(request: Request) -> None:
        raise ValueError("unforeseen")

    async def main() -> None:
        began = now()
        await drive(fails, ClosedLoop(2), Times(1, 10), asyncio.Event(), lambda: now() - began)

    with pytest.raises(ExceptionGroup):
        run_in_virtual_time(main)


def test_a_place_whose_request_failed_pauses() -> None:
    """A server that refuses at once is not asked a million times."""

    async def refused(request: Request) -> None:
        request.error_class = "connection"

    async def main() -> Window:
        began = now()
        return await drive(refused, ClosedLoop(1), Times(0, 10), asyncio.Event(), lambda: now() - began)

    window = run_in_virtual_time(main)
    assert len(window.measured) == pytest.approx(200, abs=2)


@pytest.mark.parametrize(("loop", "variation"), [("poisson", 1.0), ("burst", 2.0)])
def test_gaps_have_the_rate_and_the_variation_that_were_asked(loop: str, variation: float) -> None:
    times = list(islice(arrivals(loop, 5.0, np.random.default_rng(1)), 40_000))  # type: ignore[arg-type]
    gaps = np.diff(times)
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(0.2, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.05)
    again = list(islice(arrivals(loop, 5.0, np.random.default_rng(1)), 10))  # type: ignore[arg-type]
    assert again == times[:10]
