"""Intents: what is about to be sent, on disk before it is, so that the next run knows what may be paid twice.

    with Intents.open(run_id) as intents:
        slot = intents.begin(key, worst_usd)      # before a request is sent
        intents.end(slot)                         # once its answer is in the journal

One small file a run, with a slot for each request in flight. A write survives the death of the process; the file of a
process that is gone is told by its lock, which went with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import struct
import threading
from pathlib import Path
from types import TracebackType

from workbench import project
from workbench.errors import JournalError

_SLOT = struct.Struct("<32sd")  # the request's key, and what it costs at most in USD; NaN is unknown
_FREE = bytes(_SLOT.size)


class Intents:
    """The requests of this run that may have reached a model, and of dead runs those that nobody answered since.

    Attributes:
        left: of runs that died, what each request costs at most, by key.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.intents"
        self._free: list[int] = []
        self._next = 0
        self._lock = threading.Lock()
        self._of_dead: dict[str, int] = {}  # slots that hold what a dead run left
        self.left: dict[str, float] = {}
        try:
            with project.private_file(folder / ".lock").open("w") as lock:
                fcntl.flock(
                    lock, fcntl.LOCK_EX
                )  # or another run would take a file that is not yet locked for a dead one's
                project.private_file(self._path)
                self._file = os.open(self._path, os.O_RDWR)
                fcntl.flock(self._file, fcntl.LOCK_EX)
                self._adopt(folder)
        except OSError as failure:
            raise JournalError(
                f"{project.shown(self._path)}: cannot be written ({failure.strerror}). Mend permissions or free space."
            ) from None

    @classmethod
    def open(cls, name: str) -> Intents:
        """Those of a run in the project's folder, `<root>/.workbench/intents`."""
        return cls(project.state("intents"), name)

    def begin(self, key: str, worst_usd: float, slot: int | None = None) -> int:
        """Note that a request is about to be sent; its slot.

        Args:
            key: the request's, in hexadecimal digits.
            worst_usd: what it costs at most, with what was sent for it before; NaN is unknown.
            slot: that it has already, where it is sent again.
        """
        if slot is None:
            slot = self._new_slot()
        self._write(slot, _SLOT.pack(bytes.fromhex(key), worst_usd))
        return slot

    def _new_slot(self) -> int:
        with self._lock:
            if self._free:
                return self._free.pop()
            self._next += 1
            return self._next - 1

    def end(self, slot: int) -> None:
        """Note that a request's answer is in the journal."""
        self._write(slot, _FREE)
        with self._lock:
            self._free.append(slot)

    def answered(self, key: str) -> None:
        """Forget what a dead run left of a request: its answer is in the journal now."""
        if key in self._of_dead:
            del self.left[key]
            self.end(self._of_dead.pop(key))

    def _write(self, slot: int, data: bytes) -> None:
        try:
            os.pwrite(self._file, data, slot * _SLOT.size)
        except OSError as failure:
            raise JournalError(f"{project.shown(self._path)}: cannot be written ({failure.strerror}).") from None

    def _adopt(self, folder: Path) -> None:
        """Take over what dead runs left, and remove their files."""
        for path in sorted(folder.glob("*.intents")):
            if path == self._path:
                continue
            with contextlib.suppress(BlockingIOError, FileNotFoundError):  # of a run that goes on, or just ended
                file = os.open(path, os.O_RDWR)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    for key, worst_usd in _read(file):
                        if key not in self._of_dead:
                            self._of_dead[key] = self.begin(key, worst_usd)
                            self.left[key] = worst_usd
                    path.unlink(missing_ok=True)
                finally:
                    os.close(file)

    def close(self) -> None:
        """Let go of the file; where nothing is open in it, remove it."""
        with self._lock:
            if len(self._free) == self._next:
                self._path.unlink(missing_ok=True)
            os.close(self._file)

    def __enter__(self) -> Intents:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _read(file: int) -> list[tuple[str, float]]:
    size = os.fstat(file).st_size
    data = os.pread(file, size - size % _SLOT.size, 0)
    return [(key.hex(), worst_usd) for key, worst_usd in _SLOT.iter_unpack(data) if any(key)]


def worst_known(values: list[float]) -> tuple[float, int]:
    """The sum of what is known, and how many are not."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known), len(values) - len(known)
