"""What the workbench itself adds to a run: measured while requests are sent, and told.

with overhead.sending(lane): ...             # in the event loop that sends
overhead.measured().describe()
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

_BEAT_S = 0.01
_KEPT = 20_000  # lags; a long run keeps every second, fourth, … one
_BUSY = 0.85  # of one core: the wire's thread has no room left
_DRY = 0.25  # of the time: the desk cannot keep up with the wire


class _Source(Protocol):
    """What says how long there was nothing to send though there was more to ask: a lane."""

    dry_s: float


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        lag_s: how late the event loop was, at the median: what times of first tokens are too long by.
        lag_p95_s: the same at the 95th percentile.
        busy: the share of the time in which the thread that sends was computing.
        dry: the share of the time in which it had nothing to send, since questions and answers were still worked on.
        window_s: how long requests were sent.
    """

    lag_s: float
    lag_p95_s: float
    busy: float
    dry: float
    window_s: float

    @property
    def bottleneck(self) -> bool:
        """Whether the client, not the models, set the pace."""
        return (self.busy > _BUSY or self.dry > _DRY) and self.window_s > 1

    def describe(self) -> str:
        """One line."""
        line = (
            f"own overhead: {self.lag_s * 1000:.1f} ms at the median ({self.lag_p95_s * 1000:.1f} ms p95), "
            f"the sending thread was {self.busy:.0%} busy, and had nothing to send for {self.dry:.0%} of the time"
        )
        if self.bottleneck:
            line += "; the client was the bottleneck, not the models: latencies and tokens/s are its own"
        return line


class Overhead:
    """Watches the event loop while lanes are being sent in it."""

    def __init__(self) -> None:
        self._lags: list[float] = []
        self._every = 1
        self._beats = 0
        self._active = 0
        self._started = self._cpu = 0.0
        self._window_s = self._busy_s = self._dry_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def sending(self, source: _Source) -> Iterator[None]:
        """Watch as long as the block runs; several may at once."""
        if not self._active:
            self._started, self._cpu = time.perf_counter(), time.thread_time()
            self._task = asyncio.get_running_loop().create_task(self._beat())
        self._active += 1
        before_s = source.dry_s
        try:
            yield
        finally:
            self._active -= 1
            self._dry_s += source.dry_s - before_s
            if not self._active and self._task is not None:
                self._task.cancel()
                self._window_s += time.perf_counter() - self._started
                self._busy_s += time.thread_time() - self._cpu

    async def _beat(self) -> None:
        while True:
            due = time.perf_counter() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._beats += 1
            if self._beats % self._every == 0:
                self._lags.append(max(time.perf_counter() - due, 0.0))
                if len(self._lags) > _KEPT:
                    self._lags = self._lags[::2]
                    self._every *= 2

    def measured(self) -> Measured | None:
        """What was measured; None where there was too little to measure."""
        if len(self._lags) < 10 or self._window_s <= 0:
            return None
        ordered = sorted(self._lags)
        return Measured(
            lag_s=statistics.median(ordered),
            lag_p95_s=ordered[int(0.95 * (len(ordered) - 1))],
            busy=self._busy_s / self._window_s,
            dry=min(self._dry_s / self._window_s, 1.0),
            window_s=self._window_s,
        )
