"""An engine's process behind a watchdog: in a session of its own, with a log, ended with its owner whatever happens.

process = Watched("smollm2-q4")
process.start([sys.executable, "server.py"], env={})         # raises EngineError
process.alive, process.last_words()
process.stop()
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench import project
from workbench.errors import EngineError
from workbench.servers import words
from workbench.servers._watchdog import marked, running, ticks_of
from workbench.servers.gpu_release import Free, before
from workbench.servers.registry import RunningEngine, end_orphans, registered

_WATCHDOG = Path(__file__).with_name("_watchdog.py")
_KEPT_LOGS = 20
_TAIL_BYTES = 64 << 10
_READ_BYTES = 4 << 20
END: Sequence[tuple[int, float]] = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class Watched:
    """One process and its log.

    Attributes:
        log: what it says, readable by its owner only.
        pid: once it was started.
        token: the marker in the environment of all its processes.
        notes: what its user should know of its end: GPU memory that is not free again, of an orphan too.
    """

    def __init__(
        self, label: str, end: Sequence[tuple[int, float]] = END, engine: str = "", hidden: Collection[str] = ()
    ) -> None:
        """Name a process that is to be started.

        Args:
            label: for messages and the log's name.
            end: the signals that end its whole group, one after another, with the seconds to wait after each.
            engine: which one it is, for those who list it.
            hidden: secrets that its log may hold, and nobody is shown.
        """
        folder = project.state("engines")
        self._label = label
        self._engine = engine
        self._hidden = hidden
        self._end = tuple((int(sign), float(wait_s)) for sign, wait_s in end)
        self.token = secrets.token_hex(12)
        self.log = folder / f"{label}-{time.strftime('%Y%m%dT%H%M%S')}-{self.token[:4]}.log"
        self.pid: int | None = None
        self.notes: list[str] = []
        self._ticks: int | None = None
        self._entry: RunningEngine | None = None
        self._watchdog: subprocess.Popen[str] | None = None
        self._said: list[str] | None = None
        self._lock = threading.Lock()
        self._finalizer: Any = None
        _prune(folder)

    def free(self, env: Mapping[str, str]) -> Free:
        """What is free on GPUs before it is started with such an environment; this may take seconds."""
        end_orphans(self.notes.append)  # what they have is free then
        return before(env)

    def start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        scratch: Path | None = None,
        files: Sequence[Path] = (),
        free: Free = (),
    ) -> None:
        """Start it. Engines that a crash left behind are ended before.

        Args:
            env: added to the environment of this process.
            scratch: a folder that is removed once it has ended, however.
            files: likewise.
            free: what `free` found, for one that uses GPUs: when it is ended, that is to be free again.

        Raises:
            EngineError: it cannot be started.
        """
        end_orphans(self.notes.append)
        folder, paths = str(scratch) if scratch else None, [str(path) for path in files]
        more = {"signs": self._end, "scratch": folder, "files": tuple(paths), "free": free}
        entry = registered(self._label, self._engine, self.token, self.log, more)
        project.private_file(self.log)
        watchdog = subprocess.Popen(
            [sys.executable, "-I", str(_WATCHDOG)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._watchdog = watchdog
        self._entry = entry.write(watchdog=(watchdog.pid, ticks_of(watchdog.pid)))
        self._finalizer = weakref.finalize(self, _close, watchdog, self._entry, os.getpid())
        assert watchdog.stdin is not None and watchdog.stdout is not None
        spec = {
            "argv": list(argv),
            "env": dict(env),
            "log": str(self.log),
            "parent": os.getpid(),
            "end": self._end,
            "token": self.token,
            "scratch": folder,
            "files": [*paths, str(entry.path)],
        }
        with contextlib.suppress(BrokenPipeError):
            watchdog.stdin.write(json.dumps(spec) + "\n")
            watchdog.stdin.flush()
        first = watchdog.stdout.readline().split()
        if first[:1] != ["pid"]:
            self.stop()
            raise EngineError(f"{self._label}: the engine did not start. {self.last_words()}")
        self.pid = int(first[1])
        self._ticks = ticks_of(self.pid)
        self.note(pid=self.pid)

    def note(self, **changes: Any) -> None:
        """Note what others see of it: its port, or what it does."""
        if self._entry is not None and self.alive:
            self._entry = self._entry.write(**changes)
            if not self._runs():  # its watchdog has just removed that
                self._entry.path.unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """Whether it runs, and its watchdog."""
        return self._runs()

    def _runs(self) -> bool:
        if self._watchdog is None or self._watchdog.poll() is not None:
            return False
        return self.pid is None or not Path("/proc/self").exists() or running(self.pid, self._ticks)

    def pids(self) -> list[int]:
        """All its processes."""
        return marked(self.token)

    def wait(self) -> None:
        """Wait until it ends by itself."""
        if self._watchdog is not None:
            self._watchdog.wait()

    def exit_code(self) -> int | None:
        """How it ended by itself; None where it was ended, or runs."""
        said = self._ending()
        return int(said[-1]) if said[-2:-1] == ["exit"] and "stopped" not in said else None

    @property
    def stopped(self) -> bool:
        """Whether somebody else ended it, with `workbench engine stop`."""
        return "stopped" in self._ending()

    def _ending(self) -> list[str]:
        """What the watchdog says of its end, once it has ended all of it."""
        watchdog = self._watchdog
        with self._lock:
            if self._said is None and watchdog is not None and not self.alive:
                if watchdog.stdout is None or watchdog.stdout.closed:
                    return []
                self._said = watchdog.stdout.read().split()
            return self._said or []

    def tail(self) -> tuple[str, ...]:
        """The last lines of its log, as they may be shown."""
        return words.tail(self._read(_TAIL_BYTES), self._hidden)

    def last_words(self, answering: bool = False) -> str:
        """Why it ended, as its log says, in one line.

        Args:
            answering: it had been asked before, so that its log may quote prompts.
        """
        said = words.reason(self._read(_READ_BYTES), self._hidden, answering)
        where, how = project.shown(self.log), self._how()
        return f"{how}It says: {said} (log: {where})" if said else f"{how}Its log: {where}"

    def _how(self) -> str:
        """That a signal ended it, where one did."""
        code = self.exit_code() or 0
        if code >= 0:
            return ""
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            if name == "SIGKILL":
                return "It was killed (SIGKILL), as the system does where memory runs out. "
            return f"It crashed ({name}). "
        return ""

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether its log holds something."""
        return pattern.search(self._read(_READ_BYTES)) is not None

    def _read(self, most: int) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return file.read().decode(errors="replace")
        return ""

    def stop(self) -> None:
        """End it with all that came of it, and wait until it is gone and its GPU memory free; `notes` tell of that."""
        if self._finalizer is None or self._entry is None or not self._finalizer.alive:
            return
        self._ending()
        mine = self._entry.owner[0] == os.getpid()  # a child that the owner forked ends nothing
        release = self._entry.release() if mine else None
        self._finalizer()
        if release is not None:
            release.settled(self.notes.append)


def _close(watchdog: subprocess.Popen[str], entry: RunningEngine, owner: int) -> None:
    """Close the pipe that keeps the watchdog waiting; it ends the engine."""
    if os.getpid() != owner:  # a child that the owner forked: the engine is not its own
        return
    for pipe in (watchdog.stdin, watchdog.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    # A child that the owner forked may hold the pipe open, so the watchdog is told as well; it ends the engine.
    with contextlib.suppress(ProcessLookupError):
        watchdog.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        watchdog.wait(timeout=5 + sum(wait_s for _, wait_s in entry.signs))
    if watchdog.returncode != 0:  # it was killed, or hangs: what it would have done is done here
        with contextlib.suppress(OSError):
            watchdog.kill()
            watchdog.wait(timeout=5)
        entry.clear()


def _prune(folder: Path) -> None:
    """Keep the newest logs only, and those of engines that run."""
    with contextlib.suppress(OSError):  # another run may prune at the same time
        logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in logs[_KEPT_LOGS:]:
            if not old.with_suffix(".json").exists():
                old.unlink(missing_ok=True)
