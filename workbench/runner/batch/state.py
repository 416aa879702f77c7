"""What is on disk of a model's batches, so that they survive being closed for a day.

    shelf = Shelf(identity)
    if await shelf.hold(stopping, say):      # one run at a time; the others wait, and find its answers in the journal
        for folder in shelf.folders(): ...   # what earlier runs left
        folder = shelf.new("gpt-mini")

A folder is <root>/.workbench/batches/<id>: state.json, and for each batch its input file and the keys that are in it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from workbench import project
from workbench.errors import RunError
from workbench.files import write_atomic
from workbench.journal import canonical
from workbench.runner.batch.input import Input

_STATE = "state.json"
_LOOK_S = 0.5
# written: its file is there. submitting: it may be with the API. submitted: it is.
Status = Literal["written", "submitting", "submitted"]


@dataclass
class Part:
    """One batch.

    Attributes:
        token: of ours, in the batch's metadata: it tells a batch whose submission was cut off.
        worst_usd: what it costs at most; None is unknown.
        asked_at: when it was submitted; UTC, ISO 8601.
    """

    number: int
    requests: int
    worst_usd: float | None
    status: Status = "written"
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    batch_id: str | None = None
    asked_at: str = ""


@dataclass
class Folder:
    """Batches that were written together.

    Attributes:
        inputs: what this process wrote, by the number of its batch; what an earlier one wrote is never submitted.
    """

    path: Path
    model: str
    parts: list[Part] = field(default_factory=list)
    inputs: dict[int, Input] = field(default_factory=dict)

    def input(self, part: Part) -> Path:
        """The requests of a batch; they hold text, so they are here no longer than they are needed."""
        return self.path / f"input-{part.number}.jsonl"

    def keys_file(self, part: Part) -> Path:
        """The keys of a batch's requests, one a line."""
        return self.path / f"keys-{part.number}"

    def output(self, part: Part, kind: str = "output") -> Path:
        """What came back, for as long as it is read."""
        return self.path / f"{kind}-{part.number}.jsonl"

    def keys(self, part: Part) -> Iterator[str]:
        """The keys of a batch's requests.

        Raises:
            RunError: they are not there any more.
        """
        try:
            with self.keys_file(part).open(encoding="ascii") as file:
                yield from (line.strip() for line in file)
        except (OSError, ValueError):
            raise RunError(
                f"{self.model}: {project.shown(self.keys_file(part))} cannot be read, so it is not known what batch "
                f"{part.batch_id} asks. Remove the folder to ask all of it anew."
            ) from None

    def save(self) -> None:
        """Write down how far it is; done when this returns."""
        parts = [asdict(part) for part in self.parts]
        write_atomic(self.path / _STATE, json.dumps({"schema": 1, "model": self.model, "parts": parts}), mode=0o600)

    def drop(self, part: Part) -> None:
        """Forget a batch: its answers are in the journal, or it never was one. The last one takes the folder along."""
        self.parts.remove(part)
        if not self.parts:
            self.remove()
            return
        self.save()
        for path in (self.input(part), self.keys_file(part), self.output(part), self.output(part, "errors")):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.path, ignore_errors=True)


class Shelf:
    """The batches of one model, by its identity: entries of models.yaml that share it share its journal keys too."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self._name = hashlib.sha256(canonical(identity).encode()).hexdigest()[:16]
        self._base = project.state("batches")
        self._lock: int | None = None

    async def hold(self, stopping: asyncio.Event, say: Callable[[str], None]) -> bool:
        """Wait until no other run asks this model in batches; False where the run is to stop meanwhile."""
        self._lock = os.open(project.private_file(self._base / f"{self._name}.lock"), os.O_RDWR)
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waits for another run that asks it in batches")
            else:
                return True
            if await stopped(stopping, _LOOK_S):
                return False

    def release(self) -> None:
        """Let others go on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def new(self, model: str) -> Folder:
        """An empty folder."""
        path = project.state("batches", f"{self._name}-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(2)}")
        return Folder(path, model)

    def folders(self) -> list[Folder]:
        """What earlier runs left; a folder that was never finished is removed, as nothing of it was sent.

        To be called while the shelf is held.

        Raises:
            RunError: one cannot be read.
        """
        found = []
        for path in sorted(self._base.glob(f"{self._name}-*")):
            if (path / _STATE).exists():
                found.append(_read(path))
            else:
                shutil.rmtree(path, ignore_errors=True)
        return found

    def pending(self) -> list[str]:
        """The batches that were submitted and are not collected yet; only looked at."""
        states = sorted(self._base.glob(f"{self._name}-*/{_STATE}"))
        return [
            part.batch_id or "?" for path in states for part in _read(path.parent).parts if part.status != "written"
        ]


def _read(path: Path) -> Folder:
    try:
        state = json.loads((path / _STATE).read_text())
        return Folder(path, state["model"], [Part(**part) for part in state["parts"]])
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{project.shown(path / _STATE)}: is damaged, so it is not known which batches it stands for. Look them up "
            "at the API; once the folder is removed, all of it is asked anew."
        ) from None


async def stopped(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait; True at once where the run is to stop."""
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return False
    return True
