"""One step of a load test: requests are sent at a level for a while, and each is timed.

window = await drive(ask, ClosedLoop(8), Times(warmup_s=2, duration_s=10), stopping, clock)
window = await drive(ask, OpenLoop(schedule), times, stopping, clock)
window.measured                       # the requests of the window, failed ones included

A step warms up, measures, and goes on until what it measured has its answers: the last ones are not answered by a
server that is being left alone. In the open loop a request's time begins when it was due, whatever kept it from being
sent: the client's own delay, or its limit of requests in flight, is no one else's waiting that goes unseen (Tene,
"coordinated omission").
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

MOST_IN_FLIGHT = 2048  # of an open loop; beyond that, requests wait on our side, and their time goes on
_FEWEST = 3  # requests of a window; a closed loop wants as many as it has places
_LONGEST = 10  # times its duration: so much longer a window may get for want of requests, and a warm-up for answers
_LEAST_S = 1e-6  # that is waited: less may be none at all to a clock, again and again
PAUSE_S = 0.05  # of a place in a closed loop whose request failed: a dead server is not asked without end


@dataclass(slots=True)
class Request:
    """One request, with its times in seconds on the step's clock.

    Attributes:
        due_at: when it was to be sent: in a closed loop when a place was free.
        sent_at: when it was sent.
        ended_at: when its answer ended, well or not; None where it was given up at the step's end.
        token_at: when each piece of its text was there.
        input_tokens: of the prompt, as the server says; None where it does not.
        output_tokens: of the answer, likewise.
        error_class: None for an answer.
        measured: whether it was due in the window.
    """

    due_at: float
    sent_at: float
    ended_at: float | None = None
    token_at: list[float] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    error_class: str | None = None
    measured: bool = False


Ask = Callable[[Request], Awaitable[None]]  # sends, and fills in what came of it


@dataclass(frozen=True)
class Times:
    """How long a step takes.

    Attributes:
        warmup_s: before the window; a closed loop also waits for as many answers as it has places.
        duration_s: of the window. It is doubled, tripled and so on where a server is so slow that fewer requests were
            due in it than a closed loop has places, or than 3.
    """

    warmup_s: float
    duration_s: float


@dataclass(frozen=True)
class ClosedLoop:
    """So many requests in flight at all times."""

    concurrency: int


@dataclass(frozen=True)
class OpenLoop:
    """Requests that come when they come."""

    schedule: Iterator[float]
    most_in_flight: int = MOST_IN_FLIGHT


@dataclass
class Window:
    """What came of a step.

    Attributes:
        start_s: when the window began, on the step's clock.
        end_s: when it ended.
        requests: all that were sent, those of warm-up and end too.
        whole: whether the step came to its end; an interrupt cuts it off.
    """

    start_s: float
    end_s: float
    requests: list[Request]
    whole: bool = True

    @property
    def measured(self) -> list[Request]:
        """The requests that were due in the window."""
        return [request for request in self.requests if request.measured]


class _Step:
    def __init__(
        self,
        ask: Ask,
        times: Times,
        places: int,
        stopping: asyncio.Event,
        clock: Callable[[], float],
        begun: Callable[[], None],
    ) -> None:
        self._ask, self._times, self._clock, self._places, self._begun = ask, times, clock, places, begun
        self.stopping, self.warmup_s = stopping, times.warmup_s
        self.requests: list[Request] = []
        self.start_s: float | None = None
        self.end_s = math.inf
        self.ended = asyncio.Event()  # all that was measured has its answer, or is not waited for
        self.answered = 0
        self.next_due = math.inf  # of an open loop
        self._measured = self._open = 0  # of the window, and of these without an answer

    @property
    def now(self) -> float:
        return self._clock()

    @property
    def warm(self) -> bool:
        """Whether enough was answered, or waited for long enough."""
        late_s = self.warmup_s + _LONGEST * self._times.duration_s
        return self.answered >= self._places or self.now >= late_s

    def begin_window(self) -> None:
        self.start_s = self.now
        self.end_s = self.start_s + self._times.duration_s
        self._begun()

    def new(self, due_at: float) -> Request:
        """A request that is sent now."""
        self.look()
        request = Request(due_at, self.now, measured=self.start_s is not None and self.start_s <= due_at < self.end_s)
        self.requests.append(request)
        self._measured += request.measured
        self._open += request.measured
        return request

    async def send(self, request: Request) -> None:
        """Send it, and wait for its answer."""
        try:
            await self._ask(request)
            request.ended_at = self.now
            self.answered += 1
        finally:
            self._open -= request.measured
            self.look()

    def look(self) -> None:
        """Whether the window has come to its end, and the step with it."""
        if self.start_s is None:
            return
        now, longest_s = self.now, self.start_s + (_LONGEST - 0.5) * self._times.duration_s
        while now >= self.end_s and self.next_due >= self.end_s:  # nothing that was due in it is still to be sent
            if self._measured >= max(self._places, _FEWEST) or self.end_s > longest_s:
                if not self._open:
                    self.ended.set()
                return
            self.end_s += self._times.duration_s

    async def over(self, longest_s: float) -> None:
        """Wait for the step's end, or for an interrupt."""
        waits = [asyncio.ensure_future(self.ended.wait()), asyncio.ensure_future(self.stopping.wait())]
        try:
            await asyncio.wait(waits, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def drive(
    ask: Ask,
    load: ClosedLoop | OpenLoop,
    times: Times,
    stopping: asyncio.Event,
    clock: Callable[[], float],
    begun: Callable[[], None] = lambda: None,
) -> Window:
    """Send requests for a step.

    Args:
        ask: sends one, and fills in its answer; it raises nothing for what a server does.
        load: how many at once, or when.
        times: how long.
        stopping: ends the step early.
        clock: seconds since the step began; all times are told on it.
        begun: called as the window begins.
    """
    places = load.concurrency if isinstance(load, ClosedLoop) else 0
    step = _Step(ask, times, places, stopping, clock, begun)
    work = _closed(step, load, times) if isinstance(load, ClosedLoop) else _open(step, load, times)
    sender = asyncio.create_task(work)
    try:
        await _window(step, sender)
        whole, end_s = step.ended.is_set(), min(step.end_s, step.now)
    finally:
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender
    return Window(step.start_s or 0.0, end_s, step.requests, whole)


async def _window(step: _Step, sender: asyncio.Task[None]) -> None:
    """Begin the window in time, and wait until what it measures is answered."""
    while (left_s := step.warmup_s - step.now) > 0 and not step.stopping.is_set():
        _raise_from(sender)
        await step.over(min(max(left_s, _LEAST_S), 1.0))
    while not step.warm and not step.stopping.is_set():
        _raise_from(sender)
        await asyncio.sleep(0.005)
    step.begin_window()
    while not step.ended.is_set() and not step.stopping.is_set():
        _raise_from(sender)
        left_s = step.end_s - step.now
        await step.over(min(max(left_s, _LEAST_S), 1.0) if left_s > 0 else 1.0)
        step.look()


def _raise_from(sender: asyncio.Task[None]) -> None:
    if sender.done():
        sender.result()


async def _closed(step: _Step, load: ClosedLoop, times: Times) -> None:
    """Workers that send again as soon as they have their answer; they begin apart, so as not to march in step."""

    async def worker(number: int) -> None:
        await asyncio.sleep(times.warmup_s / 2 * number / load.concurrency)
        while True:
            request = step.new(step.now)
            await step.send(request)
            if request.error_class:
                await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for number in range(load.concurrency):
            group.create_task(worker(number))


async def _open(step: _Step, load: OpenLoop, times: Times) -> None:
    """Send what is due. Behind the window the load goes on for as long as the window was, and no longer."""
    places = asyncio.Semaphore(load.most_in_flight)

    async def one(request: Request) -> None:
        try:
            await step.send(request)
        finally:
            places.release()

    async with asyncio.TaskGroup() as group:
        for due_at in load.schedule:
            step.next_due = due_at
            if step.start_s is not None and due_at > 2 * step.end_s - step.start_s:
                break
            while (early_s := due_at - step.now) > 0:
                await asyncio.sleep(max(early_s, _LEAST_S))
            await places.acquire()
            group.create_task(one(step.new(due_at)))
