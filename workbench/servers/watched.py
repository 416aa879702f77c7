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
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench import project
from workbench.errors import EngineError

_WATCHDOG = Path(__file__).with_name("_watchdog.py")
_KEPT_LOGS = 20
_TELLING = re.compile(r"rror|fail|cannot|invalid|^[\d.]+ E ")
_END: Sequence[tuple[int, float]] = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class Watched:
    """One process and its log.

    Attributes:
        log: what it says, readable by its owner only.
        pid: once it was started.
    """

    def __init__(self, label: str, end: Sequence[tuple[int, float]] = _END) -> None:
        """Name a process that is to be started.

        Args:
            label: for messages and the log's name.
            end: the signals that end its whole group, one after another, with the seconds to wait after each.
        """
        folder = project.state("engines")
        self._label = label
        self._end = [(int(sign), wait_s) for sign, wait_s in end]
        self.log = folder / f"{label}-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(2)}.log"
        self.pid: int | None = None
        self._watchdog: subprocess.Popen[str] | None = None
        self._wait_s = 5 + sum(wait_s for _, wait_s in self._end)
        _prune(folder)

    def start(self, argv: Sequence[str], env: Mapping[str, str], scratch: Path | None = None) -> None:
        """Start it.

        Args:
            env: added to the environment of this process.
            scratch: a folder that is removed once it has ended, however.

        Raises:
            EngineError: it cannot be started.
        """
        project.private_file(self.log)
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", str(_WATCHDOG)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._watchdog.stdin is not None and self._watchdog.stdout is not None
        spec = {
            "argv": list(argv),
            "env": dict(env),
            "log": str(self.log),
            "parent": os.getpid(),
            "end": self._end,
            "scratch": str(scratch) if scratch else None,
        }
        self._watchdog.stdin.write(json.dumps(spec) + "\n")
        self._watchdog.stdin.flush()
        first = self._watchdog.stdout.readline().split()
        if first[:1] != ["pid"]:
            raise EngineError(f"{self._label}: the engine did not start. {self.last_words()}")
        self.pid = int(first[1])
        weakref.finalize(self, _close, self._watchdog, self._wait_s)

    @property
    def alive(self) -> bool:
        """Whether it runs (its watchdog ends when it does)."""
        return self._watchdog is not None and self._watchdog.poll() is None

    def wait(self) -> None:
        """Wait until it ends by itself."""
        if self._watchdog is not None:
            self._watchdog.wait()

    def exit_code(self) -> int | None:
        """How it ended by itself; None where it was ended, or runs."""
        if self._watchdog is None or self.alive or self._watchdog.stdout is None or self._watchdog.stdout.closed:
            return None
        said = self._watchdog.stdout.read().split()
        return int(said[1]) if said[:1] == ["exit"] else None

    def last_words(self) -> str:
        """The last telling lines of its log, in one."""
        with contextlib.suppress(OSError):
            # A line on an exception in the server may repeat what it was reading: a prompt.
            lines = [
                line.strip()
                for line in self.log.read_text(errors="replace").splitlines()
                if line.strip() and "got exception" not in line
            ]
            telling = [line for line in lines if _TELLING.search(line)][-20:] or lines[-2:]
            if telling:
                # The first says the cause, the last what came of it.
                said = " / ".join(line[:200] for line in dict.fromkeys([telling[0], telling[-1]]))
                return f"It says: {said} (log: {project.shown(self.log)})"
        return f"Its log: {project.shown(self.log)}"

    def stop(self) -> None:
        """End it with its whole group, and wait until it is gone."""
        if self._watchdog is not None:
            _close(self._watchdog, self._wait_s)


def _close(watchdog: subprocess.Popen[str], wait_s: float) -> None:
    """Close the pipe that keeps the watchdog waiting; it ends the engine."""
    for pipe in (watchdog.stdin, watchdog.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    # A child that the owner forked may hold the pipe open, so the watchdog is told as well; it ends the engine.
    with contextlib.suppress(ProcessLookupError):
        watchdog.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        watchdog.wait(timeout=wait_s)


def _prune(folder: Path) -> None:
    """Keep the newest logs only."""
    with contextlib.suppress(OSError):  # another run may prune at the same time
        logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in logs[_KEPT_LOGS:]:
            if time.time() - old.stat().st_mtime > 3600:  # not one that is just being written
                old.unlink(missing_ok=True)
                old.with_suffix(".address").unlink(missing_ok=True)
