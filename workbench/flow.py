"""How much is sent to an endpoint at once and how fast: its own level, its quotas, and a breaker for a dead one.

    flow = Flow("gpt-mini", level=8, ceiling=32, requests_per_minute=500)
    if await flow.enter():                       # False: the endpoint is dead, ask nothing more
        await flow.clearance(tokens=900)
    flow.leave(attempt)                          # what came of it

The level rises by one a round while the endpoint keeps up and is cut by half where it does not (additive increase,
multiplicative decrease: Chiu and Jain, 1989, Computer Networks and ISDN Systems 17).
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from workbench.client.limits import remaining
from workbench.journal import Attempt

_CUT = 0.5
_CUTTING = frozenset({"rate_limit", "timeout", "overloaded"})
_FAILING = frozenset({"connection", "disconnected", "timeout", "server", "overloaded"})
_OURS = frozenset({"connection", "disconnected", "timeout"})  # told in our words
_STATUS = re.compile(r"HTTP \d{3}")
_REFUSING = frozenset({"auth", "not_found"})  # it will refuse all others too
_TRIPS_AFTER = 5  # failures in a row, without an answer between them
_GIVES_UP_AFTER = 6  # probes in a row that failed: half a minute, in which a server may come back
_GIVES_UP_NEVER_SEEN = 3  # of one that never answered
_POLL_S = 0.05
_LIMITED_AFTER, _LIMITED_S = 20, 180.0  # so many refusals in a row for a limit, over so long
_PAUSE_S = 0.5  # of the first trip; doubled at each probe that fails
_LONGEST_PAUSE_S = 600.0  # a server that asks for more is taken at its word: it is not asked again
_SLOWER = 2.0  # beyond the setting, the level rises while answers take at most that many times as long
_BURST_S = 6.0  # a quota's bucket holds what it grants in that time


class Bucket:
    """A token bucket: so much a minute, in bursts of a tenth of that."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._size = max(per_minute / 60 * _BURST_S, 1.0)
        self._clock = clock
        self._left = self._size
        self._at = clock()

    def take(self, amount: float) -> float:
        """Take an amount; the seconds to wait until it is there. A bucket may be overdrawn by one request."""
        now = self._clock()
        self._left = min(self._size, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= amount
        return max(0.0, (min(amount, self._size) - self._left - amount) / self._rate)

    def lacks(self, amount: float) -> bool:
        """Whether an amount would have to be waited for."""
        return min(amount, self._size) > min(self._size, self._left + (self._clock() - self._at) * self._rate)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self._left = min(self._size, self._left + amount)


class Flow:
    """The flow of requests to one endpoint. All is done in one event loop.

    Attributes:
        level: requests that may be in flight now.
        ceiling: the highest level.
        dead: why nothing more is asked; None while the endpoint is alive.
        notes: what happened that the user should know, in lines.
    """

    def __init__(
        self,
        label: str,
        level: int,
        ceiling: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        say: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._start = level
        self.ceiling = max(ceiling or level, level)
        self._say = say
        self._clock = clock
        self.level = float(level)
        self.dead: str | None = None
        self.notes: list[str] = []
        self._in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._requests = Bucket(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, clock) if tokens_per_minute else None
        self._resume_at = 0.0  # nothing is sent before
        self._cut_at = 0.0
        self._first_s: list[float] = []  # latencies at the level of the setting
        self._latency_s = 0.0
        self._failures = 0  # in a row
        self._probes = 0  # that failed, in a row
        self._limited = 0  # refused for a limit, in a row
        self._answered_at = self._clock()
        self._open = False  # the breaker: one request at a time, a probe, is let through
        self._probe: asyncio.Task[Any] | None = None  # whose request that is
        self._lowest = float(level)

    # Entering and leaving.

    async def enter(self) -> bool:
        """Wait for a place; False where the endpoint is dead."""
        if self.dead is None and (self._queue or self._in_flight >= self._room):
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.leave(None)
                raise
        else:
            self._in_flight += 1
        if self.dead is not None:
            self.leave(None)
            return False
        return True

    async def clearance(self, tokens: int) -> float:
        """Wait, in a place that was entered, for pauses and quotas.

        Args:
            tokens: that the request takes, prompt and longest answer.

        Returns:
            The seconds that it took.
        """
        started = self._clock()
        delay_s = self._requests.take(1) if self._requests else 0.0
        delay_s = max(delay_s, self._tokens.take(tokens) if self._tokens else 0.0)
        if delay_s:
            await asyncio.sleep(delay_s)
        while self.dead is None:
            pause_s = self._resume_at - self._clock()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
                # All that waited would start in the same moment.
                await asyncio.sleep(random.uniform(0, min(0.05 * self.level, 1.0)))
            elif self._open and self._probe is not None:
                await asyncio.sleep(_POLL_S)
            else:
                self._probe = asyncio.current_task() if self._open else None
                break
        waited_s = self._clock() - started
        return waited_s if waited_s > 0.001 else 0.0

    @property
    def paused(self) -> bool:
        """Whether what is taken now would have to wait: for a pause, a quota, or what comes of another one's probe."""
        if self.dead is not None:
            return False
        short = self._requests is not None and self._requests.lacks(1)
        return short or self._resume_at > self._clock() or (self._open and self._probe is not None)

    async def calm(self) -> None:
        """Wait until it is not paused."""
        while self.paused:
            await asyncio.sleep(max(_POLL_S, min(self._resume_at - self._clock(), 1.0)))

    def leave(self, attempt: Attempt | None, tokens: int = 0) -> None:
        """Give a place back, and learn from what came of it.

        Args:
            attempt: None where nothing was sent.
            tokens: that were taken for it in `clearance`.
        """
        self._in_flight -= 1
        probed = self._probe is not None and self._probe is asyncio.current_task()
        if probed:
            self._probe = None
        if attempt is not None:
            if self._tokens and attempt.input_tokens is not None and attempt.output_tokens is not None:
                self._tokens.give_back(tokens - attempt.input_tokens - attempt.output_tokens)
            self._learn(attempt, probed)
        self._admit()

    def kill(self, reason: str) -> None:
        """Nothing more is asked."""
        if self.dead is None:
            self.dead = reason
            self._admit()

    # Learning.

    def heard(self, headers: Mapping[str, str]) -> None:
        """Obey what a response's headers say is left of the vendor's limits."""
        for left in remaining(headers):
            if left.amount == 0 and left.reset_s > 0:
                self._pause(left.reset_s, f"the limit of {left.kind} is used up")

    def _learn(self, attempt: Attempt, probed: bool) -> None:
        kind = attempt.error_class
        if kind == "server" and (attempt.error or "").startswith("HTTP 503"):
            kind = "overloaded"
        if kind in _CUTTING:
            self._cut(attempt.latency_s or 0.0)
        if (kind == "rate_limit" and attempt.retry_after_s) or (kind == "overloaded" and attempt.retry_after_s):
            self._pause(attempt.retry_after_s, "the server asks to wait")
        if kind in _FAILING or kind in _REFUSING:
            self._failed(attempt, kind, probed)
        elif kind == "rate_limit":
            self._limited += 1
            if self._limited >= _LIMITED_AFTER and self._clock() - self._answered_at > _LIMITED_S:
                self.kill(f"it refused {self._limited} requests in a row for its limits")
        else:
            self._answered(attempt)

    def _answered(self, attempt: Attempt) -> None:
        if self._open:
            self._open = False
            self._note("answers again")
        self._failures = self._probes = self._limited = 0
        self._answered_at = self._clock()
        latency_s = attempt.latency_s or 0.0
        if len(self._first_s) < self._start:
            self._first_s.append(latency_s)
            self._latency_s = sum(self._first_s) / len(self._first_s)
            return
        self._latency_s += (latency_s - self._latency_s) / (2 * self.level)
        busy = self._in_flight + 1 >= int(self.level)  # a level that is not used says nothing
        usual_s = sum(self._first_s) / len(self._first_s)
        if busy and (self.level < self._start or self._latency_s < _SLOWER * usual_s):
            self.level = min(self.level + 1 / self.level, self.ceiling)

    def _cut(self, latency_s: float) -> None:
        """Once for all that were in flight together: what was sent before the last cut says nothing new."""
        now = self._clock()
        if now - latency_s < self._cut_at:
            return
        self._cut_at = now
        self.level = max(1.0, self.level * _CUT)
        self._lowest = min(self._lowest, self.level)

    def _failed(self, attempt: Attempt, kind: str, probed: bool) -> None:
        self._failures += 1
        said = _said(attempt)
        if kind in _REFUSING:
            if self._failures >= _TRIPS_AFTER:
                self.kill(f"it refuses every request: {said}")
            return
        if self._open:
            if not probed:  # it was in flight when the breaker opened, and says nothing new
                return
            self._probes += 1
            if self._probes >= (_GIVES_UP_AFTER if self._first_s else _GIVES_UP_NEVER_SEEN):
                self.kill(f"it is dead: {self._failures} failures in a row, the last: {said}")
                return
            self._pause(_PAUSE_S * 2**self._probes, None)
        elif self._failures >= _TRIPS_AFTER:
            self._open = True
            self._note(f"{self._failures} failures in a row ({kind}): paused, and tried now and then")
            self._pause(_PAUSE_S, None)

    def _pause(self, seconds: float, reason: str | None) -> None:
        if seconds > _LONGEST_PAUSE_S:
            self.kill(f"{reason or 'it failed'}: {seconds:.0f} s, which is too long to wait for")
            return
        until = self._clock() + seconds
        if until > self._resume_at:
            self._resume_at = until
            if reason and seconds >= 1:
                self._say(f"{reason}: {seconds:.0f} s")

    def _note(self, line: str) -> None:
        self.notes.append(f"{self._label}: {line}")
        self._say(line)

    # Places.

    @property
    def _room(self) -> int:
        return 1 if self._open else int(self.level)

    @property
    def lowest(self) -> int:
        """The lowest level that it was cut to."""
        return int(self._lowest)

    def _admit(self) -> None:
        while self._queue and (self.dead is not None or self._in_flight < self._room):
            place = self._queue.popleft()
            if not place.done():
                self._in_flight += 1  # it is theirs from now on
                place.set_result(None)


def _said(attempt: Attempt) -> str:
    """What failed, without a server's own words: they may repeat what it was shown."""
    if attempt.error_class in _OURS:
        return attempt.error or str(attempt.error_class)
    status = _STATUS.match(attempt.error or "")
    return f"{attempt.error_class} ({status.group()})" if status else str(attempt.error_class)
