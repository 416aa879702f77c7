"""What engines take: main memory, GPU memory, and the size of their weights.

memory_of(pids)                  # bytes; pages that several processes share are counted once
with MemoryWatch(lambda: marked(token)) as watch: ...
watch.peak_bytes
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType

from workbench.catalog import Model
from workbench.errors import EngineError
from workbench.servers import gpus, weights

_EVERY_S = 1.0
_WHICH_EVERY = 5  # looks, after which it is asked anew which processes there are
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def memory_of(pids: Collection[int]) -> int | None:
    """The main memory of processes in bytes: their proportional set sizes; None where the system does not tell."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            told = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
            found += [int(told[1]) * 1024] if told else []
    return sum(found) if found else None


def gpu_memory_of(pids: Collection[int]) -> int | None:
    """The GPU memory of processes in bytes, as nvidia-smi says; None where there is no GPU, or it does not say."""
    known = [process.used_bytes for _, process in gpus.processes() or [] if process.pid in pids]
    told = [used for used in known if used is not None]
    return sum(told) if told else None


class MemoryWatch:
    """Looks once a second at what some processes take, in a thread of its own.

    Attributes:
        peak_bytes: the most of main memory; None where nothing could be seen.
        gpu_peak_bytes: the most of GPU memory; None without a GPU, or where nvidia-smi lists none of the processes.
    """

    def __init__(self, pids: Callable[[], Collection[int]]) -> None:
        self._pids = pids
        self._known: Collection[int] = ()
        self._looks = 0
        self.peak_bytes: int | None = None
        self.gpu_peak_bytes: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="workbench-memory", daemon=True)

    def look(self) -> None:
        """Look now."""
        if self._looks % _WHICH_EVERY == 0 or not self._known:
            self._known = self._pids()
        self._looks += 1
        pids = self._known
        self.peak_bytes = _larger(self.peak_bytes, memory_of(pids))
        self.gpu_peak_bytes = _larger(self.gpu_peak_bytes, gpu_memory_of(pids))

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S if self._looks else 0.1):
            self.look()

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self.look()


def weights_bytes(model: Model) -> int | None:
    """The size of a model's weights on disk in bytes; None where they are not here."""
    try:
        if model.engine == "llamacpp":
            return weights.locate(model)[0].stat().st_size
        folder, _ = weights.locate_folder(model)
        return sum(
            path.stat().st_size for path in folder.rglob("*") if path.suffix in weights.SUFFIXES and path.is_file()
        )
    except (OSError, EngineError):
        return None


def _larger(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)
