"""The endpoints of a model, sharing its lane: a server that runs, several of them, or engines that are started for it.

    await serve_lane(desk.open(lane), model, Sending(machine), use := Use())

An engine that dies in mid-run is started once more, and what was in flight is asked again. A model is given up once
all of its endpoints are dead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from workbench.catalog import Model
from workbench.client import Client
from workbench.errors import EngineError
from workbench.flow import Flow
from workbench.journal import Attempt
from workbench.prices import BusyMeter
from workbench.runner.ask import Sender, Sending, SharingSender, Use
from workbench.runner.lane import Lane
from workbench.servers.memory import MemoryWatch
from workbench.servers.serving import Served, serving_all

Say = Callable[[str], None]
_LOST = frozenset({"connection", "disconnected"})
_DYING = ("EngineCore", "EngineDead")  # a server says so whose engine has died, and ends a moment later
_DIES_WITHIN_S, _FALLS_WITHIN_S = 0.5, 15.0


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
            served: list[Served] | None = None
            try:
                async with _unless(sending.stopping, serving_all(model, say)) as served:
                    if served is None:
                        lane.stop()
                    else:
                        say("")
                        await send_to_all(served, lane, model, sending, use, say)
            finally:  # its engines have ended
                use.notes += [note for each in served or [] for note in each.notes]
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
    stopping: asyncio.Event, context: AbstractAsyncContextManager[list[Served]]
) -> AsyncIterator[list[Served] | None]:
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


async def send_to_all(served: Sequence[Served], lane: Lane, model: Model, sending: Sending, use: Use, say: Say) -> None:
    """Send what a lane has to all endpoints of a model, each at its pace, until nothing more comes."""
    meter = BusyMeter() if model.zone == "local" and model.price is None else None
    places: list[_Place] = []
    places += [_Place(each, places, lane, model, sending, meter, say) for each in served]
    try:
        async with _measured(served, use):
            with sending.overhead.sending(lane):
                await _together([place.run() for place in places])
            if not lane.closed:
                lane.stop()
            await lane.settled()  # engines stay until a format retry can no more come
    finally:
        _tell(places, model, use)
        if any(each.server is not None for each in served):
            use.busy_s = meter.busy_s if meter else 0.0


def _tell(places: list[_Place], model: Model, use: Use) -> None:
    """What the endpoints have to say at the end."""
    for place in places:
        use.sent += place.sent
        use.notes += place.notes
        if place.lowest < model.concurrency:
            use.notes.append(f"{place.name}: at times only {place.lowest} of {model.concurrency} were asked at once")
    dead = [place for place in places if place.dead]
    if len(dead) == len(places):
        use.dead = dead[-1].dead
    else:
        use.notes += [f"{place.name}: was given up, and the others went on: {place.dead}" for place in dead]


async def _together(runs: list[Coroutine[Any, Any, None]]) -> None:
    """All of them, or none: where one fails, its failure is the one that is told."""
    if len(runs) == 1:
        return await runs[0]
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return None


@asynccontextmanager
async def _measured(served: Sequence[Served], use: Use) -> AsyncIterator[None]:
    """What managed engines take while they are asked."""
    servers = [each.server for each in served if each.server is not None]
    if not servers:
        yield
        return
    if any(each.kept for each in served):
        use.notes.append(f"{servers[0].label}: its engine was kept from before, so it took no time to load")
    watch = MemoryWatch(lambda: [pid for each in served if each.server is not None for pid in each.server.pids()])
    with contextlib.ExitStack() as stack:
        stack.enter_context(watch)
        try:
            yield
        finally:
            await asyncio.shield(asyncio.to_thread(stack.close))
            use.memory_bytes, use.gpu_memory_bytes = watch.peak_bytes, watch.gpu_peak_bytes
            loads = [each.server.load_s for each in served if each.server is not None and not each.kept]
            use.managed, use.load_s = True, max(loads, default=None)


class _Place:
    """One endpoint of a model while it is asked.

    Attributes:
        dead: why it was given up; None while it is alive.
    """

    def __init__(
        self,
        served: Served,
        places: list[_Place],
        lane: Lane,
        model: Model,
        sending: Sending,
        meter: BusyMeter | None,
        say: Say,
    ) -> None:
        self.served, self.places, self.lane, self.model = served, places, lane, model
        self.sending, self.meter, self.say = sending, meter, say
        self.dead: str | None = None
        self.sent = 0
        self.notes: list[str] = []
        self.lowest = model.concurrency
        self._died = False  # its engine did
        self._stopped = False  # on purpose
        self._restarted = False

    @property
    def name(self) -> str:
        """For messages: of several, with its address."""
        if len(self.places) == 1:
            return self.model.id
        return f"{self.model.id} at {urlsplit(self.served.endpoint.base_url).netloc}"

    async def run(self) -> None:
        """Send until nothing more comes; where the engine dies, start it once more and go on."""
        while True:
            flow = await self._send()
            if flow.dead is None:
                return
            self.served.broken = True
            if not await self._again(flow.dead):
                self.dead = self.dead or flow.dead
                return
            self.served.broken = False

    async def _send(self) -> Flow:
        model, sender_of = self.model, SharingSender if len(self.places) > 1 else Sender
        async with Client(self.served.endpoint) as client:
            limits = (model.requests_per_minute, model.tokens_per_minute)
            flow = Flow(self.name, model.concurrency, model.ceiling, *limits, self.say)
            client.on_headers = flow.heard
            try:
                await sender_of(self.lane, model, self.sending, client, flow, self.meter, self).run()
            finally:
                self.sent += client.sent
                self.notes += flow.notes
                self.lowest = min(self.lowest, flow.lowest)
        return flow

    # What its sender asks.

    async def died(self, attempt: Attempt) -> str | None:
        server = self.served.server
        if server is None:
            return None
        if server.alive and attempt.error_class in _LOST:
            await self._wait(_DIES_WITHIN_S)
        elif server.alive and attempt.error_class == "server" and any(w in (attempt.error or "") for w in _DYING):
            await self._wait(_FALLS_WITHIN_S)
            await asyncio.to_thread(server.stop)
        if server.alive:
            return None
        self._died = True
        said = await asyncio.to_thread(self.served.dead)
        self._stopped = await asyncio.to_thread(lambda: self.served.stopped)
        return said

    async def _wait(self, seconds: float) -> None:
        """Wait until the engine has died, or so long."""
        server, clock = self.served.server, asyncio.get_running_loop().time
        until = clock() + seconds
        while server is not None and server.alive and clock() < until:
            await asyncio.sleep(0.02)

    def others(self) -> bool:
        return any(place.dead is None and not place._died for place in self.places if place is not self)

    def hopeful(self) -> bool:
        return self.others() or (self._died and not self._restarted and not self._stopped)

    async def _again(self, reason: str) -> bool:
        """Start the engine once more; whether there is anything to send to it."""
        over = self.lane.stopped or self.lane.closed or self.sending.stopping.is_set()
        needed = bool(self.lane.ready) or not self.lane.exhausted
        if over or not needed or not self._died or self._stopped or self._restarted:
            return False
        self._restarted = True
        self.say("the engine died, and is started again")
        starting = asyncio.ensure_future(self.served.restart(self.say))
        stopped = asyncio.ensure_future(self.sending.stopping.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return False
            starting.result()
        except EngineError as failure:
            self.dead = f"{reason} Started again, it failed: {failure}"
            return False
        finally:
            stopped.cancel()
            starting.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)
        self._died = False
        assert self.served.server is not None
        took_s = self.served.server.load_s
        self.notes.append(f"{reason.rstrip('.')}. It was started again ({took_s:.0f} s), and the run went on")
        self.say("")
        return True
