"""What the workbench itself adds to a run: measured while it goes on, and told.

with Overhead() as overhead: ...             # in the event loop that sends
overhead.measured().describe()
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from types import TracebackType

_BEAT_S = 0.01
_KEPT = 20_000  # lags; a long run keeps every second, fourth, … one
_BUSY = 0.85  # of one core: the wire's thread has no room left


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        lag_s: how late the event loop was, at the median: what times of first tokens are too long by.
        lag_p95_s: the same at the 95th percentile.
        busy: the share of the time in which the thread that sends was computing.
        window_s: how long it was watched.
    """

    lag_s: float
    lag_p95_s: float
    busy: float
    window_s: float

    @property
    def bottleneck(self) -> bool:
        """Whether the client, not the models, set the pace."""
        return self.busy > _BUSY and self.window_s > 1

    def describe(self) -> str:
        """One line."""
        line = (
            f"own overhead: {self.lag_s * 1000:.1f} ms at the median ({self.lag_p95_s * 1000:.1f} ms p95), "
            f"the sending thread was {self.busy:.0%} busy"
        )
        if self.bottleneck:
            line += (
                "; the client was the bottleneck, not the models: latencies and tokens/s are its own. Lower concurrency"
            )
        return line


class Overhead:
    """Watches the event loop that it is entered in."""

    def __init__(self) -> None:
        self._lags: list[float] = []
        self._every = 1
        self._beats = 0
        self._started = self._cpu = 0.0
        self._window_s = self._busy_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Overhead:
        self._started, self._cpu = time.perf_counter(), time.thread_time()
        self._task = asyncio.get_running_loop().create_task(self._beat())
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self._window_s = time.perf_counter() - self._started
        self._busy_s = time.thread_time() - self._cpu

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
        busy = self._busy_s / self._window_s
        return Measured(statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], busy, self._window_s)
