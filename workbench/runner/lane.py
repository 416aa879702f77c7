"""A model's lane: questions that are ready to be sent, and answers on their way back, between two threads.

The desk's thread makes questions ready and takes in what came of them; the event loop's thread only sends.

    ask = await lane.next()                  # in the event loop; None where there is nothing more
    lane.give(ask, attempts)                 # what came of it
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from workbench.journal import Attempt
from workbench.privacy import Payload


class Askable(Protocol):
    """What is asked: a contestant's question, or a judge's."""

    @property
    def key(self) -> str: ...
    @property
    def body(self) -> dict[str, Any]: ...
    @property
    def payload(self) -> Payload: ...
    @property
    def format_retries(self) -> int:
        """How often an answer in a wrong format is asked for again."""

    @property
    def worst_tokens(self) -> tuple[int, int]:
        """The most tokens of its prompt and of its answer."""

    def format_ok(self, text: str) -> bool:
        """Whether an answer keeps its format."""


@runtime_checkable
class Reworded(Protocol):
    """What is asked otherwise after an answer in a wrong format."""

    def again(self, answers: int) -> Payload:
        """What is sent after so many answers."""


@dataclass(slots=True, eq=False)
class Ask:
    """A question that is to be sent.

    Attributes:
        stored: attempts that were made before.
        slot: of its intent, while it may be with the model.
        worst_usd: of one request; NaN is unknown.
        tried: attempts that failed in this run, before it went back to the lane.
        backoff_s: waited for since the last of them.
    """

    question: Askable
    stored: list[Attempt]
    slot: int | None = None
    worst_usd: float = math.nan
    tried: list[Attempt] = field(default_factory=list)
    backoff_s: float = 0.0

    @property
    def answers(self) -> int:
        """How many answers there were before, all in a wrong format."""
        return sum(attempt.text is not None for attempt in self.stored)

    @property
    def payload(self) -> Payload:
        """What is to be sent. Asking again with the same seed would only repeat the answer, so it moves on."""
        payload = self.question.payload
        if self.answers and isinstance(self.question, Reworded):
            payload = self.question.again(self.answers)
        if self.answers and "seed" in payload.body:
            return Payload({**payload.body, "seed": payload.body["seed"] + self.answers}, payload.sources)
        return payload


Take = Callable[[Any, list[Attempt]], None]


@dataclass(eq=False)
class Lane:
    """One model's questions, on their way.

    Attributes:
        take: is given each question with all its attempts once they are in the journal; in the desk's thread.
        answer: answers a question in this process, for rules; None where it is sent.
        made: is given the attempts that were made for a question just now; in the desk's thread.
        depth: how many questions are kept ready.
        sends: whether what is not in the journal is asked; where not (it was asked in a batch), a failure that is there
            is the outcome.
        asks_new: whether what was never asked is asked also where only errors are to be; so judges are, of new answers.
        instead: attempts that stand for what the journal has, by key.
        taken: questions whose outcome was taken in.
        unasked: questions that were not asked, because the lane was stopped.
        dry_s: how long the wire had nothing to send, though the lane was not done.
        failure: what stopped it.
    """

    name: str
    questions: Iterator[Askable]
    take: Take
    answer: Callable[[Any], list[Attempt]] | None = None
    made: Callable[[list[Attempt]], None] = lambda attempts: None
    depth: int = 64
    sends: bool = True
    asks_new: bool = False
    instead: Mapping[str, list[Attempt]] = field(default_factory=dict)
    taken: int = 0
    unasked: int = 0
    dry_s: float = 0.0
    failure: BaseException | None = None
    stopped: bool = False
    closed: bool = False
    exhausted: bool = False  # all questions were made
    out: int = 0  # ready or with the model
    ready: deque[Ask] = field(default_factory=deque)
    same: dict[str, list[Askable]] = field(default_factory=dict)  # by key, those that wait for one that is out
    bell: Callable[[], None] = lambda: None
    post: Callable[[Lane, Ask, list[Attempt]], None] = lambda lane, ask, attempts: None
    _loop: asyncio.AbstractEventLoop | None = None
    _event: asyncio.Event | None = None
    _waiting: int = 0  # workers that have nothing to send
    _flying: int = 0  # questions that workers have
    _dry_since: float | None = None

    def attach(self) -> None:
        """Let this event loop be told of what is ready."""
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()

    def tell(self) -> None:
        """Wake the event loop: something is ready, or nothing will be. Called by the desk."""
        if self._loop is not None and self._event is not None and not self._event.is_set():
            try:
                self._loop.call_soon_threadsafe(self._event.set)
            except RuntimeError:  # the loop has ended
                self.stopped = True

    async def anything(self) -> bool:
        """Wait until it is known whether there is anything to send."""
        assert self._event is not None
        while not self.ready and not self.closed:
            self._event.clear()
            if not self.ready and not self.closed:
                await self._event.wait()
        return bool(self.ready)

    async def next(self) -> Ask | None:
        """The next one to send; None where nothing more will come."""
        while not self.stopped:
            if self.ready:
                ask = self.ready.popleft()
                self._flying += 1
                if len(self.ready) <= self.depth // 2 and not self.exhausted:
                    self.bell()
                return ask
            if not await self._more():
                return None
        return None

    async def _more(self) -> bool:
        self._waiting += 1
        self._clock()
        try:
            return await self.anything()
        finally:
            self._waiting -= 1
            self._clock()

    def _clock(self) -> None:
        """Measure how long the wire is idle, or could do more, since the desk is not done with what it has."""
        now = time.perf_counter()
        if self._dry_since is not None:
            self.dry_s += now - self._dry_since
        dry = self._waiting and (not self.exhausted or not self._flying) and not (self.closed or self.stopped)
        self._dry_since = now if dry else None

    async def failed(self) -> None:
        """Wait until something stopped the lane."""
        assert self._event is not None
        while self.failure is None:
            self._event.clear()
            if self.failure is None:
                await self._event.wait()

    async def settled(self) -> None:
        """Wait until all that came back was taken in.

        Raises:
            BaseException: what stopped the lane.
        """
        assert self._event is not None
        while not self.closed:
            self._event.clear()
            if not self.closed:
                await self._event.wait()
        if self.failure is not None:
            raise self.failure

    def give(self, ask: Ask, attempts: list[Attempt]) -> None:
        """Hand back what came of one; no attempts: it was not asked."""
        self._flying -= 1
        self._clock()
        self.post(self, ask, attempts)

    def put_back(self, ask: Ask) -> None:
        """Hand back one that another endpoint is to be asked, or this one's engine once it runs again."""
        self._flying -= 1
        self._clock()
        self.ready.appendleft(ask)
        if self._event is not None:
            self._event.set()
        if self.stopped:
            self.bell()

    def stop(self) -> None:
        """Send nothing more."""
        self.stopped = True
        if self._event is not None:
            self._event.set()
        self.bell()
