"""Batches on their way to a hosted API and back: submitted once, looked at until they are over, collected.

async with HostedApi(model) as api:
    courier = Courier(model, api, sending, use, say, collect)
    left = await courier.found(shelf.folders())
    await courier.carry([*left, folder])
    courier.problems, courier.interrupted
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from workbench.catalog import Model
from workbench.errors import RunError
from workbench.runner.ask import Sending, Use
from workbench.runner.batch.collect import Collected
from workbench.runner.batch.hosted import OVER, Garbled, HostedApi, Refused, Seen, Unreachable
from workbench.runner.batch.state import Folder, Part, stopped
from workbench.words import counted

PAUSE_S, MAX_PAUSE_S = 5.0, 60.0  # between two looks at a batch
LOST_S = 1800.0  # how long an API may be out of reach before it is left alone
_TRIES = 3  # of a submission, and of what is answered with nonsense

T = TypeVar("T")


def now() -> str:
    """The time as an attempt has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Courier:
    """Carries one model's batches.

    Attributes:
        problems: what went wrong, in clear lines.
        interrupted: what goes on without us, in clear lines.
        enough: whether something went wrong that would go wrong again.
    """

    def __init__(
        self,
        model: Model,
        api: HostedApi,
        sending: Sending,
        use: Use,
        say: Callable[[str], None],
        collect: Callable[[Folder, Part], Awaitable[Collected]],
    ) -> None:
        self.problems: list[str] = []
        self.interrupted: list[str] = []
        self.enough = False
        self._model, self._api, self._sending, self._use, self._say = model, api, sending, use, say
        self._collect = collect
        self._booked: set[str] = set()  # tokens of what counts as spent at its worst case

    @property
    def _stop(self) -> bool:
        return self._sending.stopping.is_set() or self.enough

    async def found(self, folders: list[Folder]) -> list[Folder]:
        """What earlier runs have with the API. What was being submitted is looked for there, not submitted again."""
        for folder in folders:
            for part in list(folder.parts):
                if part.status == "submitting":
                    part.batch_id = await self._patiently(lambda: self._api.find(part))  # noqa: B023
                    part.status = "submitted" if part.batch_id else "written"
                if part.status == "written":  # never sent; what may be sent is looked at afresh
                    folder.drop(part)
            if folder.parts:
                folder.save()
        left = [folder for folder in folders if folder.parts]
        for part in _submitted(left):
            self._booked.add(part.token)
            self._sending.budget.add(part.worst_usd or 0.0)
        return left

    async def carry(self, folders: list[Folder]) -> None:
        """Submit what is not yet, then wait for all."""
        new = [(folder, part) for folder in folders for part in folder.parts if part.status == "written"]
        granted = self._book([part for _, part in new])
        try:
            for folder, part in new:
                if not granted or self._stop:
                    self._drop(folder, part)
                else:
                    await self._submit(folder, part)
            await self._wait(folders)
        finally:
            for folder, part in new:
                if part.status == "written" and part in folder.parts:
                    self._drop(folder, part)

    def _book(self, parts: list[Part]) -> bool:
        """Count what new batches cost at most as spent, until it is known what they cost. Live requests do not wait for
        that: it may take a day.
        """
        budget = self._sending.budget
        if not parts:
            return False
        if budget.limit_usd is None:
            return True
        worst_usd = math.fsum(math.nan if part.worst_usd is None else part.worst_usd for part in parts)
        if worst_usd <= budget.left_usd + 1e-12:
            budget.add(worst_usd)
            self._booked.update(part.token for part in parts)
            return True
        self.enough = True
        size = counted(sum(part.requests for part in parts), "request")
        self.problems.append(
            f"{self._model.id}: a batch of {size} was not submitted: it "
            f"could cost up to ${worst_usd:.2g}, and ${max(budget.left_usd, 0):.2g} of the spend ceiling are left. "
            "Raise the ceiling, or ask a smaller sample."
        )
        return False

    def _drop(self, folder: Folder, part: Part) -> None:
        """Forget a batch that the API never had."""
        self._settle(part, 0.0)
        folder.drop(part)

    async def _submit(self, folder: Folder, part: Part) -> None:
        """Submit a batch, once: before it is tried again, the API is asked whether it has it."""
        self._say(f"submits a batch of {part.requests}")
        try:
            file_id = await self._uploaded(folder, part)
            part.status, part.asked_at = "submitting", now()
            folder.save()  # before: whatever happens from here on, the next run looks whether it is there
            for tried in range(1, _TRIES + 1):
                part.batch_id = await self._created(part, file_id, tried == _TRIES)
                if part.batch_id is not None:
                    break
        except Refused as failure:
            self._drop(folder, part)
            self._fail(failure)
        except RunError as failure:
            self._fail(failure)
        else:
            part.status = "submitted"
            folder.save()
            folder.input(part).unlink(missing_ok=True)  # it holds text; the keys are enough from here on
            self._use.sent += part.requests

    async def _uploaded(self, folder: Folder, part: Part) -> str:
        """An input file's id.

        Raises:
            Refused: it cannot be uploaded, and so nothing is asked.
        """
        for tried in range(1, _TRIES + 1):
            try:
                return await self._api.upload(folder.inputs[part.number])
            except Unreachable as failure:
                if tried == _TRIES or await stopped(self._sending.stopping, PAUSE_S * tried):
                    raise Refused(str(failure)) from None
        raise AssertionError

    async def _created(self, part: Part, file_id: str, last: bool) -> str | None:
        """A new batch's id; None where it was not created, and may be tried again."""
        try:
            return await self._api.create(part, file_id)
        except Unreachable:
            await stopped(self._sending.stopping, PAUSE_S)
            found = await self._patiently(lambda: self._api.find(part))
            if found is None and (last or self._sending.stopping.is_set()):
                raise
            return found

    def _fail(self, failure: RunError) -> None:
        self.enough = True
        self.problems.append(str(failure))

    async def _wait(self, folders: list[Folder]) -> None:
        """Look at the batches until all are over; each is collected as soon as it is."""
        pause_s = PAUSE_S
        while _submitted(folders):
            try:
                for folder in folders:
                    for part in _submitted([folder]):
                        if await self._looked(folder, part):
                            pause_s = PAUSE_S
            except Unreachable:
                if not self._sending.stopping.is_set():
                    raise
            if _submitted(folders) and await stopped(self._sending.stopping, pause_s):
                self.leave(folders)
                return
            pause_s = min(pause_s * 1.5, MAX_PAUSE_S)

    async def _looked(self, folder: Folder, part: Part) -> bool:
        """Look at a batch, and collect it where it is over."""
        batch_id = part.batch_id or ""
        seen = await self._patiently(lambda: self._api.look(batch_id))
        self._say(f"batch {batch_id}: {seen.status}, {seen.done} of {seen.total or part.requests}")
        if seen.status in OVER:
            await self._over(folder, part, seen)
        return seen.status in OVER

    async def _over(self, folder: Folder, part: Part, seen: Seen) -> None:
        """Collect a batch that has ended, however."""
        if seen.status == "failed" and not seen.files:
            self.enough = True
            # Where items may be restricted, what an API says may quote them.
            why = f": {seen.said}" if seen.said and self._model.zone == "hosted" else ""
            lost = counted(part.requests, "question was", "questions were")
            self.problems.append(f"{self._model.id}: batch {part.batch_id} failed, and {lost} not asked{why}.")
            self._settle(part, 0.0)
            folder.drop(part)
            return
        for kind, file_id in zip(("output", "errors"), seen.files, strict=False):
            await self._patiently(lambda: self._api.download(file_id, folder.output(part, kind)))  # noqa: B023
        collected = await self._collect(folder, part)
        if seen.status != "completed":
            self.enough = True
            self.problems.append(
                f"{self._model.id}: batch {part.batch_id} ended as {seen.status}: {collected.lost} of {part.requests} "
                "requests have no answer. Run again to ask them anew; what is answered is kept."
            )
        self._settle(part, collected.cost_usd)
        folder.drop(part)

    def _settle(self, part: Part, cost_usd: float | None) -> None:
        """Replace what a batch was booked at by what it cost; what is not known stays the worst case."""
        if part.token in self._booked and cost_usd is not None:
            self._booked.discard(part.token)
            self._sending.budget.add(cost_usd - (part.worst_usd or 0.0))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Something that does no harm twice, until it works: a batch outlasts a network that is gone for a while."""
        loop = asyncio.get_running_loop()
        until, pause_s, garbled = loop.time() + LOST_S, PAUSE_S, 0
        while True:
            try:
                return await call()
            except Unreachable as failure:
                garbled += isinstance(failure, Garbled)
                if garbled >= _TRIES or loop.time() >= until or await stopped(self._sending.stopping, pause_s):
                    raise
                self._say(str(failure))
                pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def leave(self, folders: list[Folder]) -> None:
        """Say what goes on without us."""
        self.interrupted += [
            f"{self._model.id}: batch {part.batch_id} of {counted(part.requests, 'request')} goes on at the API. The "
            "same command collects it."
            for part in _submitted(folders)
        ]


def _submitted(folders: list[Folder]) -> list[Part]:
    return [part for folder in folders for part in folder.parts if part.status == "submitted"]
