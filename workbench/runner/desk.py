"""The desk: all that is done for a question but sending it, in a thread of its own, so that the wire need not wait.

    with Desk(journal, intents) as desk:
        lane = desk.open(Lane("m", iter(questions), take))
        ...                                  # the event loop sends what is ready, and gives back what came of it

It makes questions and looks them up in the journal, commits answers in batches, and only then hands them on: what is
reported as done is durable.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import TracebackType

from workbench.errors import WorkbenchError
from workbench.journal import Attempt, Intents, Journal
from workbench.runner.lane import Ask, Askable, Lane

LINGER_S = 0.02  # how long answers gather for one commit
_COMMIT = 256  # answers in one commit at most
_CHUNK = 32  # questions made at once; the wire waits for none of them longer than a switch of threads
_CHUNK_CACHED = 512  # the same, as long as nothing is out
_SWITCH_S = 0.0005  # between threads: an arriving byte waits that long at most for Python's lock
# The same request would fail the same way again: its failure is its outcome.
DEFINITE = frozenset({"bad_request", "context_length", "content_policy", "refusal"})


def consume(question: Askable, stored: list[Attempt]) -> tuple[list[Attempt], bool]:
    """Walk through stored attempts as if they were made now, under today's number of format retries.

    Returns:
        Those that would be made, and whether they are all.
    """
    kept: list[Attempt] = []
    answers = 0
    for attempt in stored:
        kept.append(attempt)
        if attempt.text is None:
            continue
        answers += 1
        if answers > question.format_retries or question.format_ok(attempt.text):
            return kept, True
    return kept, kept[-1].text is None and kept[-1].error_class in DEFINITE


def due(kept: list[Attempt], complete: bool, retry_errors: bool) -> list[Attempt] | None:
    """What a question that is to be asked goes on from; None where it is not to be asked.

    What failed is tried afresh; an answer in a wrong format counts on.

    Args:
        kept: what `consume` says of it, none where the journal has nothing.
        complete: likewise.
        retry_errors: ask only what failed before.
    """
    failed = bool(kept) and kept[-1].text is None
    if (complete and not (failed and retry_errors)) or (retry_errors and not kept):
        return None
    return [] if failed else kept


class Desk:
    """Feeds lanes and settles what comes back.

    Attributes:
        retry_errors: ask only what failed before; what was never asked is left out.
        skipped: how many were left out so.
        twice: what each request that may be paid a second time costs at most, in USD; NaN is unknown.
        failure: what ended the desk; all lanes are stopped then.
    """

    def __init__(self, journal: Journal, intents: Intents | None = None, retry_errors: bool = False) -> None:
        self._journal = journal
        self._intents = intents
        self.retry_errors = retry_errors
        self.skipped = 0
        self.twice: list[float] = []
        self.failure: BaseException | None = None
        self._lanes: list[Lane] = []
        self._new: deque[Lane] = deque()
        self._inbox: deque[tuple[Lane, Ask, list[Attempt]]] = deque()
        self._settled_at = 0.0
        self._bell = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="workbench-desk", daemon=True)
        self._switch_s = sys.getswitchinterval()

    def open(self, lane: Lane) -> Lane:
        """Begin to feed a lane; called in the event loop."""
        lane.bell, lane.post = self._ring, self._post
        lane.attach()
        if self.failure is not None:
            raise self.failure
        self._new.append(lane)
        self._ring()
        return lane

    def __enter__(self) -> Desk:
        sys.setswitchinterval(min(_SWITCH_S, self._switch_s))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._closing = True
        self._ring()
        self._thread.join()
        sys.setswitchinterval(self._switch_s)
        if self.failure is not None and kind is None:
            raise self.failure

    # Called in the event loop.

    def _ring(self) -> None:
        if not self._bell.is_set():
            self._bell.set()

    def _post(self, lane: Lane, ask: Ask, attempts: list[Attempt]) -> None:
        self._inbox.append((lane, ask, attempts))
        self._ring()

    # In the desk's own thread.

    def _run(self) -> None:
        try:
            while True:
                self._bell.wait()
                self._bell.clear()
                if not self._urgent():
                    time.sleep(LINGER_S)
                if self._round():
                    self._bell.set()
                elif self._closing and not self._inbox:
                    return
        except BaseException as failure:  # noqa: BLE001  (raised again by whoever waits for the lanes)
            self.failure = failure
            for lane in [*self._lanes, *self._new]:
                lane.failure = lane.failure or failure
                lane.stopped = lane.closed = True
                lane.tell()

    def _urgent(self) -> bool:
        """Whether somebody waits: a lane runs dry, or answers pile up."""
        if self._closing or self._new or len(self._inbox) >= _COMMIT // 2:
            return True
        return any(not lane.closed and self._hungry(lane) for lane in self._lanes)

    @staticmethod
    def _hungry(lane: Lane) -> bool:
        return not lane.exhausted and not lane.stopped and len(lane.ready) <= lane.depth // 2

    def _round(self) -> bool:
        """Settle what is due, then feed every lane a little: none waits for another one's whole way.

        Returns:
            Whether a lane could be fed more at once.
        """
        while self._new:
            self._lanes.append(self._new.popleft())
        now = time.monotonic()
        if len(self._inbox) >= _COMMIT // 4 or now - self._settled_at >= LINGER_S:
            self._settle()
            self._settled_at = now
        more = False
        for lane in self._lanes:
            if lane.stopped or self._closing:
                self._clear(lane)
            elif not lane.exhausted and len(lane.ready) < lane.depth:
                with self._guarded(lane):
                    self._feed(lane)
                more = more or not lane.exhausted
            if lane.exhausted and not lane.out:
                lane.closed = True
                lane.tell()
        self._lanes = [lane for lane in self._lanes if not lane.closed]
        return more or bool(self._inbox)

    def _feed(self, lane: Lane) -> None:
        """Make some more questions: out of the journal what is there, ready to be sent the rest."""
        if lane.answer is not None:
            until = time.monotonic() + LINGER_S
            for question in lane.questions:
                self._take(lane, question, lane.answer(question))
                if lane.stopped or time.monotonic() > until:
                    return
            lane.exhausted = True
            return
        some = list(islice(lane.questions, _CHUNK if lane.out else _CHUNK_CACHED))
        if not some:
            lane.exhausted = True
            return
        known = self._journal.get_many([question.key for question in some])
        ready = False
        for question in some:
            stored = lane.instead.get(question.key) or known.get(question.key)
            kept, complete = consume(question, stored) if stored else ([], False)
            before = [] if lane.asks_new and not kept else due(kept, complete, self.retry_errors)
            if before is not None and lane.sends:
                self._ready(lane, question, before)
                ready = True
            elif complete or (kept and kept[-1].text is None):
                if complete and self._intents is not None:
                    self._intents.answered(question.key)  # a run died between its commit and its note of it
                self._take(lane, question, kept)
            elif self.retry_errors and not kept:
                self.skipped += 1
            else:
                lane.unasked += 1
        if ready:
            lane.tell()

    @staticmethod
    def _take(lane: Lane, question: Askable, attempts: list[Attempt]) -> None:
        lane.take(question, attempts)
        lane.taken += 1

    def _ready(self, lane: Lane, question: Askable, kept: list[Attempt]) -> None:
        waiting = lane.same.get(question.key)
        if waiting is not None:  # an item with the same inputs is out: one request serves both
            waiting.append(question)
            return
        lane.same[question.key] = []
        lane.out += 1
        if self._intents is not None and question.key in self._intents.left:
            self.twice.append(self._intents.left[question.key])
        lane.ready.append(Ask(question, kept))

    def _settle(self) -> None:
        """Commit what came back, then hand it on."""
        while self._inbox:
            batch = [self._inbox.popleft() for _ in range(min(len(self._inbox), _COMMIT))]
            answered = {ask.question.key: ask.stored + attempts for _, ask, attempts in batch if attempts}
            if answered:
                self._journal.put_many(answered)
            for lane, ask, attempts in batch:
                if self._intents is not None and attempts:
                    if ask.slot is not None:
                        self._intents.end(ask.slot)
                    self._intents.answered(ask.question.key)
                lane.out -= 1
                with self._guarded(lane):
                    if attempts:
                        lane.made(attempts)
                    self._hand_on(lane, ask, attempts)

    def _hand_on(self, lane: Lane, ask: Ask, attempts: list[Attempt]) -> None:
        followers = lane.same.pop(ask.question.key, [])
        if not attempts:
            lane.unasked += 1 + len(followers)
            return
        made = ask.stored + attempts
        kept, complete = consume(ask.question, made)
        if complete or kept[-1].text is None:
            self._take(lane, ask.question, kept)
        else:  # in a wrong format: asked again, at once
            self._again(lane, ask.question, kept)
        for follower in followers:
            kept, complete = consume(follower, made)
            if complete:
                self._take(lane, follower, kept)
            else:
                self._again(lane, follower, [] if kept[-1].text is None else kept)

    def _again(self, lane: Lane, question: Askable, kept: list[Attempt]) -> None:
        if question.key in lane.same:
            lane.same[question.key].append(question)
            return
        lane.same[question.key] = []
        lane.out += 1
        lane.ready.appendleft(Ask(question, kept))
        lane.tell()

    def _clear(self, lane: Lane) -> None:
        """Of a lane that was stopped, count what was not asked."""
        while lane.ready:
            ask = lane.ready.popleft()
            lane.out -= 1
            lane.unasked += 1 + len(lane.same.pop(ask.question.key, []))
        if not lane.exhausted:
            lane.exhausted = True
        if not lane.out:
            lane.closed = True
            lane.tell()

    @contextlib.contextmanager
    def _guarded(self, lane: Lane) -> Iterator[None]:
        """One lane's failure loses nothing of the others; the journal's is everybody's."""
        try:
            yield
        except Exception as failure:
            if isinstance(failure, WorkbenchError) and failure.fatal:
                raise
            lane.failure = lane.failure or failure
            lane.stopped = True
            lane.tell()
