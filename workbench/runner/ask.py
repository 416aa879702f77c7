"""The wire's side of a run: what is ready is sent, through the gate, at its endpoint's pace, and tried again.

    await serve_lane(desk.open(lane), model, Sending(machine), use := Use())

Retries are made here and nowhere else, by class of error, with jitter.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from workbench.catalog import Machine, Model
from workbench.client import RETRYABLE, Client
from workbench.errors import InputError
from workbench.flow import Flow
from workbench.journal import Attempt, Intents
from workbench.prices import BusyMeter
from workbench.privacy import Released, gate
from workbench.runner.budget import Budget
from workbench.runner.lane import Ask, Lane
from workbench.runner.outcome import attempt_cost, maybe_billed, worst_cost
from workbench.runner.overhead import Overhead
from workbench.servers.serving import Served, serving

MAX_RETRIES = 3
MAX_RETRIES_LIMITED = 8  # of what was refused for a limit: it costs nothing, and waiting mends it
_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_UNPAID = Machine(usd_per_hour=0.0)
GRACE_S = 5.0  # after an interrupt, for what is in flight


@dataclass
class Use:
    """What a lane took: requests that were sent, or tried to be, and of a managed engine its loading and busy seconds.

    Attributes:
        twice: what each request that may be paid a second time costs at most, in USD; NaN is unknown.
        notes: what happened that the user should know, in lines.
        dead: why the endpoint was given up; None where it was not.
    """

    sent: int = 0
    load_s: float | None = None
    busy_s: float = 0.0
    twice: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dead: str | None = None


@dataclass
class Sending:
    """What all lanes of a run share.

    Attributes:
        stopping: set by an interrupt; what is in flight is taken in for a moment, nothing more is sent.
        retry_errors: ask only what failed before.
        judges: what judging took.
    """

    machine: Machine
    budget: Budget = field(default_factory=Budget)
    intents: Intents | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    overhead: Overhead = field(default_factory=Overhead)
    retry_errors: bool = False
    judges: Use = field(default_factory=Use)


async def serve_lane(
    lane: Lane, model: Model, sending: Sending, use: Use, say: Callable[[str], None] = lambda line: None
) -> None:
    """Send what a lane has ready until nothing more comes; a server is started only where there is anything to send.

    Args:
        use: is filled in, also where it fails.
        say: is given progress lines, and an empty one once the server is ready.

    Raises:
        WorkbenchError: what stopped the lane.
    """
    stopper = asyncio.create_task(_stop_with(lane, sending.stopping)) if lane.sends else None
    try:
        if await lane.anything():
            async with _unless(sending.stopping, serving(model, say)) as served:
                if served is None:
                    lane.stop()
                else:
                    say("")
                    await _send(lane, model, sending, use, served, say)
        await lane.settled()
    except BaseException:
        lane.stop()
        raise
    finally:
        if stopper is not None:
            stopper.cancel()


async def _stop_with(lane: Lane, stopping: asyncio.Event) -> None:
    await stopping.wait()
    lane.stop()


@asynccontextmanager
async def _unless(
    stopping: asyncio.Event, context: AbstractAsyncContextManager[Served]
) -> AsyncIterator[Served | None]:
    """A context that is not waited for once the run is to stop: an engine may take minutes to load."""
    entering = asyncio.ensure_future(context.__aenter__())
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({entering, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not entering.done():
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
    if entering.cancelled():
        yield None
        return
    served = entering.result()
    try:
        yield served
    except BaseException as failure:
        if not await context.__aexit__(type(failure), failure, failure.__traceback__):
            raise
    else:
        await context.__aexit__(None, None, None)


async def _send(
    lane: Lane, model: Model, sending: Sending, use: Use, served: Served, say: Callable[[str], None]
) -> None:
    meter = BusyMeter() if model.zone == "local" and model.price is None else None
    async with Client(served.endpoint) as client:
        flow = Flow(model.id, model.concurrency, model.ceiling, model.requests_per_minute, model.tokens_per_minute, say)
        client.on_headers = flow.heard
        sender = _Sender(lane, model, client, flow, sending, meter, served.dead)
        try:
            with sending.overhead.sending(lane):
                await sender.run()
            await lane.settled()  # the engine stays until a format retry can no more come
        finally:
            use.sent, use.notes, use.dead = client.sent, flow.notes, flow.dead
            if flow.lowest < model.concurrency:
                use.notes.append(f"{model.id}: at times only {flow.lowest} of {model.concurrency} were asked at once")
            if served.server is not None:
                use.load_s = served.server.load_s
                use.busy_s = meter.busy_s if meter else 0.0


class _Sender:
    def __init__(
        self,
        lane: Lane,
        model: Model,
        client: Client,
        flow: Flow,
        sending: Sending,
        meter: BusyMeter | None,
        broken: Callable[[], str | None],
    ) -> None:
        self.lane, self.model, self.client, self.flow = lane, model, client, flow
        self.sending, self.meter, self.broken = sending, meter, broken
        self.workers: list[asyncio.Task[None]] = []
        self.asking: set[asyncio.Task[Any] | None] = set()  # those that have a request in flight

    async def run(self) -> None:
        """Send until the lane is empty, or stopped."""
        count = min(2 * self.flow.ceiling, max(len(self.lane.ready), self.lane.depth))
        self.workers = [asyncio.create_task(self._worker()) for _ in range(count)]
        watch = asyncio.create_task(self.watch())
        try:
            done, _ = await asyncio.wait(self.workers, return_when=asyncio.FIRST_EXCEPTION)
            failures = [task.exception() for task in done if not task.cancelled()]
            failure = next((failure for failure in failures if failure is not None), None)
            if failure is not None:
                raise failure
        finally:
            if not self.lane.closed:
                self.lane.stop()
            for task in (*self.workers, watch):
                task.cancel()
            await asyncio.gather(*self.workers, watch, return_exceptions=True)

    async def watch(self) -> None:
        """Once the run is to stop, or the lane has failed, wait a moment for what is in flight, and then no longer."""
        ends = [asyncio.ensure_future(end) for end in (self.sending.stopping.wait(), self.lane.failed())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        self.lane.stop()
        for task in self.workers:
            if task not in self.asking:
                task.cancel()
        await asyncio.sleep(GRACE_S)
        for task in self.workers:
            task.cancel()

    async def _worker(self) -> None:
        while (ask := await self.lane.next()) is not None:
            attempts: list[Attempt] = []
            try:
                attempts = await self._ask(ask)
            finally:
                self.lane.give(ask, attempts)
            if not attempts:
                self.lane.stop()

    async def _ask(self, ask: Ask) -> list[Attempt]:
        """One answer, with retries of what can be retried; no attempts where it was not asked, or not to the end."""
        released, tokens = self._released(ask)
        tried: list[Attempt] = []
        backoff_s = 0.0
        while True:
            attempt = await self._one(ask, released, sum(tokens), sum(map(maybe_billed, tried)))
            if attempt is None:
                return tried if self.flow.dead else []
            attempt.backoff_s = backoff_s
            tried.append(attempt)
            if attempt.error_class not in RETRYABLE or _used_up(tried) or self.flow.dead:
                return tried
            self._forget(ask, tried)
            if self.lane.stopped:
                return []
            backoff_s = _backoff(len(tried), attempt.retry_after_s)
            await asyncio.sleep(backoff_s)

    async def _one(self, ask: Ask, released: Released, tokens: int, billed: int) -> Attempt | None:
        """One attempt at the endpoint's pace, after others that may be billed; None where it may not be sent."""
        started = time.perf_counter()
        if not await self.flow.enter():
            return None
        attempt: Attempt | None = None
        try:
            await self.flow.clearance(tokens)
            if await self._may_send(ask):
                waited_s = time.perf_counter() - started
                attempt = await self._attempt(ask, released, billed)
                attempt.wait_s = waited_s
            return attempt
        finally:
            self.flow.leave(attempt, tokens)

    def _released(self, ask: Ask) -> tuple[Released, tuple[int, int]]:
        tokens = ask.question.worst_tokens
        ask.worst_usd = worst_cost(self.model, *tokens)
        return gate(ask.payload, self.client.endpoint.destination), tokens

    async def _may_send(self, ask: Ask) -> bool:
        """Whether a request may be sent now: the lane goes on, the endpoint lives, the money is there."""
        if self.lane.stopped or self.flow.dead or self.sending.stopping.is_set():
            return False
        return await self.sending.budget.reserve(ask.worst_usd, lambda: not self.lane.stopped)

    async def _attempt(self, ask: Ask, released: Released, billed: int) -> Attempt:
        intents, budget = self.sending.intents, self.sending.budget
        cost: float | None = None
        self.asking.add(asyncio.current_task())
        try:
            if intents is not None:
                ask.slot = intents.begin(ask.question.key, ask.worst_usd * (billed + 1), ask.slot)
            if self.meter is None:
                attempt = await self.client.attempt(released)
            else:
                with self.meter.attempt() as share:
                    attempt = await self.client.attempt(released)
                attempt.busy_s = share.share_s
            dead = self.broken() if attempt.error_class else None
            if dead:
                attempt.error, attempt.error_class = dead, "engine"
                self.flow.kill(dead)
            if budget.limit_usd is not None:  # what is paid: this machine's time is not
                cost = attempt_cost(attempt, self.model, _UNPAID)
            return attempt
        except InputError:  # its address is outside the zone: nothing was sent
            self._forget(ask, [])
            raise
        finally:
            self.asking.discard(asyncio.current_task())
            budget.settle(ask.worst_usd, cost)

    def _forget(self, ask: Ask, tried: list[Attempt]) -> None:
        """What certainly was not paid leaves no intent behind."""
        if self.sending.intents is not None and ask.slot is not None and not any(map(maybe_billed, tried)):
            self.sending.intents.end(ask.slot)
            ask.slot = None


def _used_up(tried: list[Attempt]) -> bool:
    """Whether it was tried often enough: refusals for a limit are counted apart, they cost nothing."""
    limited = sum(attempt.error_class == "rate_limit" for attempt in tried)
    return limited > MAX_RETRIES_LIMITED or len(tried) - limited > MAX_RETRIES


def _backoff(tries: int, retry_after_s: float | None) -> float:
    """Exponential with jitter; what the server asks for goes before, and is kept by the endpoint's flow."""
    if retry_after_s:  # to wait no time, as some say, would be to hammer
        return float(min(retry_after_s, _MAX_BACKOFF_S))
    return float(min(_BACKOFF_S * 2 ** (tries - 1), _MAX_BACKOFF_S) * random.uniform(0.5, 1.5))


def depth_of(model: Model) -> int:
    """How many questions are kept ready for a model."""
    return max(64, 2 * model.ceiling)


def unknown_price(model: Model) -> bool:
    """Whether it cannot be said what a request costs at most."""
    return math.isnan(worst_cost(model, 1, 1))
