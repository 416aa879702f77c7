"""How a model gets on in a run: what its progress line says.

pace = Pace("smollm2-q4", total=160)
pace.made(attempts, cost)              # what was asked just now; anything that waits is counted by `look`
pace.look(now)
pace.text(80)                          # 'smollm2-q4  45% 72/160, 2 errors, 118 tokens/s, $0.0031, 1:20 left'
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from workbench.journal import Attempt
from workbench.words import counted

Cost = Callable[[Attempt], float | None]

_SEEN_S = 60.0  # what the time left is told from: a pace of a while ago says little
STOPPING = "stopping"  # the status after an interrupt, until it is over
_GAPS = 256  # gaps between requests that are remembered; earlier ones are settled


class InFlight:
    """How long at least one request was in flight, told as they end: the union of their times."""

    def __init__(self) -> None:
        self._settled_s = 0.0
        self._busy: deque[tuple[float, float]] = deque()  # apart from each other, in their order

    def add(self, start: float, end: float) -> None:
        """Count one request; they come about in the order of their ends."""
        later: list[tuple[float, float]] = []
        while self._busy and self._busy[-1][1] >= start:
            first, last = self._busy.pop()
            if first > end:
                later.append((first, last))
            else:
                start, end = min(start, first), max(end, last)
        self._busy.append((start, end))
        self._busy.extend(reversed(later))
        while len(self._busy) > _GAPS:
            first, last = self._busy.popleft()
            self._settled_s += last - first

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self._settled_s + sum(last - first for first, last in self._busy)


class Pace:
    """A model's, or a judge's, way through its questions.

    Attributes:
        done: outcomes that there are.
        errors: those that have no answer.
        asked: questions that were sent in this run; the others' answers were there.
        output_tokens: of the answers to those; None where a server does not count them.
        cost_usd: what is known to be spent on them.
        unpriced: attempts whose cost is not known.
        status: what its engine is doing, or why it waits; empty while it answers.
        tail: the last lines of its engine's log while it loads.
        over: nothing more will come.
        judges: it judges, so its errors are requests without an answer; those of others are told by outcome.
    """

    def __init__(self, name: str, total: int, judges: bool = False) -> None:
        self.name, self.total, self.judges = name, total, judges
        self.done = self.errors = self.asked = self.unpriced = 0
        self.output_tokens: int | None = 0
        self.cost_usd = 0.0
        self.status = ""
        self.tail: Sequence[str] = ()
        self.over = False
        self._in_flight = InFlight()
        self._batch_busy_s = 0.0
        self._began: float | None = None
        self._ended: float | None = None
        self._now = 0.0
        self._seen: deque[tuple[float, int]] = deque()
        self._waiting: deque[tuple[float, list[Attempt], Cost]] = deque()

    def made(self, attempts: list[Attempt], cost: Cost) -> None:
        """Take what came of a question just now. It is counted at the next look: whoever calls has other work."""
        self._waiting.append((time.perf_counter(), attempts, cost))

    def end(self) -> None:
        """Nothing more will come."""
        self.over = True
        if self.status == STOPPING:
            self.status = "stopped" if self.done < self.total else ""

    def look(self, now: float) -> None:
        """Count what came since the last look."""
        self._now = now
        while self._waiting:
            self._count(*self._waiting.popleft())
        self._seen.append((now, self.asked))
        while self._seen[0][0] < now - _SEEN_S:
            self._seen.popleft()

    def _count(self, at: float, attempts: list[Attempt], cost: Cost) -> None:
        self.asked += 1
        self._ended = at
        self.errors += self.judges and attempts[-1].text is None
        for usd in map(cost, attempts):
            self.unpriced += usd is None
            self.cost_usd += usd or 0.0
        took_s = sum(map(_took_s, attempts))
        self._began = min(self._began or at, at - took_s)
        answers = [attempt for attempt in attempts if attempt.text is not None]
        if not answers:
            return
        counts = [attempt.output_tokens for attempt in answers if attempt.output_tokens is not None]
        unknown = self.output_tokens is None or len(counts) < len(answers)
        self.output_tokens = None if unknown else (self.output_tokens or 0) + sum(counts)
        if answers[-1].batch:  # in flight is where it waits for its turn too: a local engine says how long it worked
            self._batch_busy_s += sum(attempt.busy_s or 0.0 for attempt in answers)
        else:
            self._in_flight.add(at - sum(map(_took_s, answers)), at)

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens a second while it was asked, waits and loading left out; unknown of hosted batches."""
        seconds = self._in_flight.seconds + self._batch_busy_s
        return self.output_tokens / seconds if self.output_tokens and seconds > 0 else None

    @property
    def left_s(self) -> float | None:
        """How long the rest will take at the pace of the last minute; None is unknown."""
        if self.done >= self.total or self.over or self._began is None:
            return None
        then, before = self._seen[0]
        if before == self.asked or len(self._seen) < 2:
            return None
        since = max(then, self._began) if before == 0 else then
        return (self.total - self.done) * (self._now - since) / (self.asked - before)

    @property
    def state(self) -> tuple[object, ...]:
        """Equal to an earlier one where nothing has happened since."""
        return self.done, self.errors, self.asked, self.status, self.over

    # What is shown.

    @property
    def share(self) -> str:
        """How far it is."""
        return f"{self.done / self.total:.0%}" if self.total else "100%"

    @property
    def count(self) -> str:
        """Done, and of how many."""
        return f"{self.done}/{self.total}"

    @property
    def failures(self) -> str:
        """How many outcomes have no answer; empty for none."""
        return counted(self.errors, "error") if self.errors else ""

    @property
    def speed(self) -> str:
        """Tokens a second; empty where they are not known."""
        rate = self.tokens_per_s
        return "" if rate is None else f"{rate:.0f} tokens/s" if rate >= 10 else f"{rate:.1f} tokens/s"

    @property
    def cost(self) -> str:
        """What this run has spent on it; empty where it asked nothing."""
        if not self.asked:
            return ""
        if self.unpriced:
            return f"{_usd(self.cost_usd)} + unknown" if self.cost_usd else "cost unknown"
        return _usd(self.cost_usd)

    @property
    def time(self) -> str:
        """What is left, or what it took."""
        if self.left_s is not None:
            return f"{_clock(self.left_s)} left"
        if self.over and self._began is not None and self._ended is not None:
            return f"in {_clock(self._ended - self._began)}"
        return ""

    @property
    def said(self) -> str:
        """All but how far it is."""
        return ", ".join(part for part in (self.failures, self.speed, self.cost, self.time, self.status) if part)

    def text(self, columns: int = 0, name_columns: int = 0) -> str:
        """The line, cut to so many columns; 0 is no limit. A name that is too long loses its middle: ends differ."""
        name = self.name
        if columns and name_columns and len(name) > name_columns:
            name = f"{name[: (name_columns - 1) // 2]}…{name[-(name_columns // 2) :]}"
        line = f"{name.ljust(name_columns)} {self.share:>4} {self.count}"
        line += f", {self.said}" if self.said else ""
        return line if not columns or len(line) <= columns else f"{line[: columns - 1]}…"


def _took_s(attempt: Attempt) -> float:
    """How long an attempt took; one in a batch, from when the batch was sent until it is collected."""
    if attempt.batch and attempt.asked_at:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(attempt.asked_at)).total_seconds())
    return attempt.latency_s or 0.0


def _usd(amount: float) -> str:
    if amount == 0:
        return "$0"
    if amount < 0.0001:
        return "<$0.0001"
    return f"${amount:.4f}" if amount < 0.01 else f"${amount:.3f}" if amount < 1 else f"${amount:.2f}"


def _clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    if seconds < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}:{rest:02}"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest:02} min"
