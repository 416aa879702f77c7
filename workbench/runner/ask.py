"""The wire's side of a run: what is ready is sent, through the gate, at its endpoint's pace, and tried again.

    await Sender(lane, model, sending, client, flow, meter, site).run()

Retries are made here and nowhere else, by class of error, with jitter. Who sends, and where to, is `endpoints`.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

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

MAX_RETRIES = 3
MAX_RETRIES_LIMITED = 8  # of what was refused for a limit: it costs nothing, and waiting mends it
_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_UNPAID = Machine(usd_per_hour=0.0)
GRACE_S = 5.0  # after an interrupt, for what is in flight


@dataclass
class Use:
    """What a lane took: requests that were sent, or tried to be, and of managed engines what they took.

    Attributes:
        managed: an engine was started for it, or was there from before.
        load_s: the loading of an engine, the slowest of several; None where it was there from before.
        busy_s: with requests in flight, all of a model's endpoints together.
        memory_bytes: the most that engines took of the main memory while they were asked.
        gpu_memory_bytes: likewise, of GPUs.
        twice: what each request that may be paid a second time costs at most, in USD; NaN is unknown.
        notes: what happened that the user should know, in lines.
        dead: why the endpoint was given up; None where it was not.
    """

    sent: int = 0
    managed: bool = False
    load_s: float | None = None
    busy_s: float = 0.0
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
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


class Site(Protocol):
    """What a sender knows of its endpoint and of the others."""

    async def died(self, attempt: Attempt) -> str | None:
        """Why its engine can answer no more, where an attempt failed of that."""

    def others(self) -> bool:
        """Whether other endpoints of the model are alive."""

    def hopeful(self) -> bool:
        """Whether what it cannot answer any more may be asked again: elsewhere, or here once its engine runs anew."""


class Sender:
    """Sends what a lane has to one endpoint, until the lane is empty or stopped, or the endpoint is dead."""

    def __init__(
        self,
        lane: Lane,
        model: Model,
        sending: Sending,
        client: Client,
        flow: Flow,
        meter: BusyMeter | None,
        site: Site,
    ) -> None:
        self.lane, self.model, self.client, self.flow = lane, model, client, flow
        self.sending, self.meter, self.site = sending, meter, site
        self.workers: list[asyncio.Task[None]] = []
        self.asking: set[asyncio.Task[Any] | None] = set()  # those that have a request in flight

    async def run(self) -> None:
        """Send until nothing more comes; what is left in the lane then is for whoever called."""
        self.workers = [asyncio.create_task(self._worker()) for _ in range(self._count)]
        watch = asyncio.create_task(self.watch())
        try:
            done, _ = await asyncio.wait(self.workers, return_when=asyncio.FIRST_EXCEPTION)
            failures = [task.exception() for task in done if not task.cancelled()]
            failure = next((failure for failure in failures if failure is not None), None)
            if failure is not None:
                raise failure
        except BaseException:
            self.lane.stop()
            raise
        finally:
            for task in (*self.workers, watch):
                task.cancel()
            await asyncio.gather(*self.workers, watch, return_exceptions=True)

    @property
    def _count(self) -> int:
        return min(2 * self.flow.ceiling, max(len(self.lane.ready), self.lane.depth))

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
        while not self.flow.dead and (ask := await self.lane.next()) is not None:
            attempts: list[Attempt] | None = []
            try:
                attempts = await self._ask(ask)
            finally:
                self._hand_back(ask, attempts)

    def _hand_back(self, ask: Ask, attempts: list[Attempt] | None) -> None:
        """What came of a question; None: it is still to be asked."""
        if attempts is None:
            self.lane.put_back(ask)
            return
        self.lane.give(ask, attempts)
        if not attempts:
            self.lane.stop()

    async def _ask(self, ask: Ask) -> list[Attempt] | None:
        """One answer, with retries of what can be retried; no attempts where it was not asked, or not to the end.

        None where it may be asked again after this endpoint's death.
        """
        released, tokens = self._released(ask)
        backoff_s = 0.0
        while True:
            attempt = await self._one(ask, released, sum(tokens), sum(map(maybe_billed, ask.tried)))
            if attempt is not None:
                attempt.backoff_s = backoff_s
                ask.tried.append(attempt)
            if attempt is None or self.flow.dead:
                return self._after_death(ask, attempt)
            if attempt.error_class not in RETRYABLE or _used_up(ask.tried):
                return ask.tried
            self._forget(ask)
            if self.lane.stopped:
                return []
            backoff_s = _backoff(len(ask.tried), attempt.retry_after_s)
            await asyncio.sleep(backoff_s)

    def _after_death(self, ask: Ask, attempt: Attempt | None) -> list[Attempt] | None:
        """What becomes of a question that was not sent, or whose endpoint has died since."""
        if not self.flow.dead:
            return []
        over = attempt is not None and attempt.error_class not in RETRYABLE and attempt.error_class != "engine"
        if over or not self.site.hopeful() or self.lane.stopped:
            return ask.tried
        self._forget(ask)
        return None

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
            dead = await self.site.died(attempt) if attempt.error_class else None
            if dead:
                attempt.error, attempt.error_class = dead, "engine"
                self.flow.kill(dead)
            if budget.limit_usd is not None:  # what is paid: this machine's time is not
                cost = attempt_cost(attempt, self.model, _UNPAID)
            return attempt
        except InputError:  # its address is outside the zone: nothing was sent
            self._forget(ask)
            raise
        finally:
            self.asking.discard(asyncio.current_task())
            budget.settle(ask.worst_usd, cost)

    def _forget(self, ask: Ask) -> None:
        """What certainly was not paid leaves no intent behind."""
        if self.sending.intents is not None and ask.slot is not None and not any(map(maybe_billed, ask.tried)):
            self.sending.intents.end(ask.slot)
            ask.slot = None


class SharingSender(Sender):
    """One of several that share a lane: whose endpoint is free takes the next question.

    It takes a place at its endpoint first, and a question then. What is to be asked again goes back to the lane, for
    whoever is free, so that no question waits for an endpoint that is slow, paused or dead.
    """

    @property
    def _count(self) -> int:
        return self.flow.ceiling

    async def _worker(self) -> None:
        while await self.flow.enter():
            attempt: Attempt | None = None
            tokens = 0
            try:
                await self.flow.calm()
                ask = await self.lane.next() if not self.flow.dead else None
                if ask is None:
                    return
                if self.flow.dead or self.flow.paused:
                    self.lane.put_back(ask)
                    continue
                attempt, tokens = await self._in_turn(ask)
            finally:
                self.flow.leave(attempt, tokens)
            if attempt is not None:
                await self._after(ask, attempt)

    async def _in_turn(self, ask: Ask) -> tuple[Attempt | None, int]:
        """One attempt, in a place that was entered, and the tokens that it was cleared for.

        No attempt where it was not sent, and was handed back.
        """
        attempts: list[Attempt] | None = []
        started = time.perf_counter()
        try:
            released, both = self._released(ask)
            tokens = sum(both)
            await self.flow.clearance(tokens)
            waited_s = time.perf_counter() - started
            if await self._may_send(ask):
                attempt = await self._attempt(ask, released, sum(map(maybe_billed, ask.tried)))
                attempt.wait_s, attempt.backoff_s = waited_s, ask.backoff_s
                ask.tried.append(attempt)
                return attempt, tokens
            attempts = self._after_death(ask, None)
        except BaseException:
            self._hand_back(ask, [])
            raise
        self._hand_back(ask, attempts)
        return None, tokens

    async def _after(self, ask: Ask, attempt: Attempt) -> None:
        """Hand back what came of an attempt, or the question for another one, after a pause."""
        attempts: list[Attempt] | None = []
        try:
            if self.flow.dead:
                attempts = self._after_death(ask, attempt)
            elif attempt.error_class not in RETRYABLE or (_used_up(ask.tried) and not self._not_its_fault(attempt)):
                attempts = ask.tried
            elif not self.lane.stopped:
                self._forget(ask)
                # What an endpoint asks to wait is kept by its own flow: the others may be asked meanwhile.
                asked_s = None if self.site.others() else attempt.retry_after_s
                ask.backoff_s = _backoff(len(ask.tried), asked_s)
                await asyncio.sleep(ask.backoff_s)
                attempts = [] if self.lane.stopped else None
        finally:
            self._hand_back(ask, attempts)

    def _not_its_fault(self, attempt: Attempt) -> bool:
        """Whether an endpoint is going, and the others are there: that uses up no question's tries."""
        return attempt.error_class in ("connection", "disconnected") and self.site.others()


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
    """How many questions are kept ready for a model, all its endpoints together."""
    return max(64, 2 * model.ceiling * max(len(model.urls), len(model.gpus), 1))


def unknown_price(model: Model) -> bool:
    """Whether it cannot be said what a request costs at most."""
    return math.isnan(worst_cost(model, 1, 1))
