"""Rounds of batches: what the journal lacks is written and answered, until nothing is to be asked again.

rounds = Rounds(model, questions, journal, sending, use, say, shelf)
await rounds.run()
rounds.batched.problems
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

from workbench.catalog import Model
from workbench.journal import Attempt, Journal
from workbench.prices import BATCH_SHARE
from workbench.privacy import gate
from workbench.runner.ask import Sending, Use
from workbench.runner.batch.collect import Collected, collect
from workbench.runner.batch.courier import Courier, now
from workbench.runner.batch.file import MAX_BYTES, MAX_LINES, Files
from workbench.runner.batch.hosted import HostedApi
from workbench.runner.batch.state import Folder, Part, Shelf
from workbench.runner.batch.vllm import run_part
from workbench.runner.desk import consume, due
from workbench.runner.lane import Ask, Askable
from workbench.runner.outcome import worst_cost

MAX_LINES_VLLM = 20_000  # of one process: it writes its answers at its end, so an interrupt loses them
_CHUNK = 512

T = TypeVar("T")


@dataclass
class Batched:
    """What came of a model's batches, beside what is in the journal now.

    Attributes:
        instead: by key, attempts that the journal did not take: they end in a failure, and it has an answer.
        problems: what went wrong, in clear lines.
        interrupted: what goes on without us or was lost, in clear lines.
    """

    instead: dict[str, list[Attempt]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)


class Rounds:
    """The batches of one model in one run."""

    def __init__(
        self,
        model: Model,
        questions: Iterable[Askable],
        journal: Journal,
        sending: Sending,
        use: Use,
        say: Callable[[str], None],
        shelf: Shelf,
        retry_errors: bool = False,
        made: Callable[[list[Attempt]], None] = lambda attempts: None,
    ) -> None:
        self.batched = Batched()
        self._model, self._questions, self._journal = model, questions, journal
        self._sending, self._use, self._say, self._shelf = sending, use, say, shelf
        self._retry_errors, self._made = retry_errors, made
        self._cancelled = threading.Event()

    @property
    def _stopping(self) -> bool:
        return self._sending.stopping.is_set() or self._cancelled.is_set()

    async def run(self) -> None:
        """Collect what earlier runs left, ask the rest, and ask again what came in a wrong format."""
        if self._model.batch == "vllm":
            for folder in self._shelf.folders():
                folder.remove()  # its process ended with its run
            await self._rounds([], self._through_vllm)
            return
        async with HostedApi(self._model) as api:
            courier = Courier(self._model, api, self._sending, self._use, self._say, self._collect)
            try:
                left = await courier.found(self._shelf.folders())

                async def through_api(folders: list[Folder]) -> bool:
                    await courier.carry(folders)
                    return not courier.enough

                await self._rounds(left, through_api)
                if self._stopping and not courier.interrupted:
                    courier.leave(left)
            finally:
                self.batched.problems += courier.problems
                self.batched.interrupted += courier.interrupted

    async def _rounds(self, left: list[Folder], ask: Callable[[list[Folder]], Awaitable[bool]]) -> None:
        """Write and ask, until there is nothing to write.

        Args:
            left: what is with the API already.
            ask: is given what to ask; says whether another round makes sense.
        """
        pending = {key for folder in left for part in folder.parts for key in folder.keys(part)}
        again = False
        while not self._stopping:
            folder = self._shelf.new(self._model.id)
            try:
                await self._in_thread(partial(self._write, folder, pending, again))
                if self._stopping or not (left or folder.parts):
                    return
                if not await ask([*left, *([folder] if folder.parts else [])]):
                    return
            finally:
                if not any(part.status != "written" for part in folder.parts):
                    folder.remove()
            left, pending, again = [], set(), True

    def _write(self, folder: Folder, pending: set[str], again: bool) -> None:
        """Write what is to be asked, equal requests once; in a thread.

        Args:
            pending: keys that a batch asks already.
            again: only what came in a wrong format; what failed in this run is not asked once more.
        """
        destination = self._model.destination()
        max_lines = MAX_LINES_VLLM if self._model.batch == "vllm" else MAX_LINES
        files = Files(folder, destination, max_lines, MAX_BYTES)
        written = {
            bytes.fromhex(key) for key in (*pending, *self.batched.instead)
        }  # a million of them in text take 150 MB
        questions = iter(self._questions)
        while not self._stopping and (some := list(islice(questions, _CHUNK))):
            known = self._journal.get_many([question.key for question in some])
            for question in some:
                stored = known.get(question.key)
                kept, complete = consume(question, stored) if stored else ([], False)
                before = due(kept, complete, self._retry_errors)
                key = bytes.fromhex(question.key)
                if before is None or key in written or (again and not before):
                    continue
                written.add(key)
                files.add(question.key, gate(Ask(question, before).payload, destination), self._worst_usd(question))
        if files.close():
            folder.save()

    def _worst_usd(self, question: Askable) -> float:
        share = BATCH_SHARE if self._model.batch == "openai" else 1.0
        return worst_cost(self._model, *question.worst_tokens) * share

    async def _through_vllm(self, folders: list[Folder]) -> bool:
        for folder in folders:
            for part in list(folder.parts):
                part.asked_at = now()
                self._use.sent += part.requests
                files = folder.input(part), folder.output(part)
                ran = await run_part(self._model, *files, self._sending.stopping, self._say, self._use.notes)
                if ran is None:
                    self.batched.interrupted.append(
                        f"{self._model.id}: vllm run-batch was ended, and with it the answers to {part.requests} "
                        "requests, which it writes at its end."
                    )
                    return False
                self._use.managed = True
                self._use.load_s = (self._use.load_s or 0.0) + ran.load_s
                self._use.busy_s += ran.busy_s
                await self._collect(folder, part, ran.busy_s / part.requests)
        return True

    async def _collect(self, folder: Folder, part: Part, busy_s: float | None = None) -> Collected:
        machine, made = self._sending.machine, self._made
        found = await self._in_thread(partial(collect, self._model, machine, self._journal, folder, part, busy_s, made))
        self.batched.instead |= found.instead
        return found

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Work that blocks; where it is interrupted, the thread is waited for, as it uses the journal."""
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._cancelled.set()
            await asyncio.wait([task])
            raise
