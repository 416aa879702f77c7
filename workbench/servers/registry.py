"""Which engines run: a small file beside each one's log, so that they can be listed, and ended after a crash.

for engine in engines(): engine.model, engine.state(), engine.memory_bytes()
end_orphans()                       # those whose owner and watchdog are both gone

An engine is known by a random marker in its environment, never by the id of a process: an id may be taken again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from workbench import project
from workbench.errors import WorkbenchError
from workbench.files import write_atomic
from workbench.servers._watchdog import end_marked, marked, running, ticks_of
from workbench.servers.gpu_release import Free, Release
from workbench.servers.memory import gpu_memory_of, memory_of

State = Literal["loading", "in use", "idle", "ending", "orphan"]
_SIGNS = [(int(signal.SIGTERM), 5.0), (int(signal.SIGKILL), 5.0)]
_FOREIGN_DAYS = 7  # how long a file of another machine is kept that nobody removed
_ENDS_WITHIN_S = 30.0
Say = Callable[[str], None]


def _ignore(line: str) -> None:
    """For those who do not ask what was left."""


@dataclass(frozen=True)
class RunningEngine:
    """An engine that was started here.

    Attributes:
        token: the marker in its processes' environment.
        owner: the process that uses it, and when that was started, in ticks.
        watchdog: likewise, of the process between them.
        place: machine, boot and process namespace: elsewhere its ids mean nothing.
        since: seconds since 1970.
        free: what was free on its GPUs before it was started; see `gpu_release`.
        ready: its processes once it was ready: those that died may be on a GPU yet.
    """

    token: str
    model: str
    engine: str
    owner: tuple[int, int | None]
    place: str
    uid: int
    log: str
    since: float
    pid: int | None = None
    watchdog: tuple[int, int | None] | None = None
    port: int | None = None
    told: Literal["loading", "in use", "idle"] = "loading"
    scratch: str | None = None
    files: tuple[str, ...] = ()
    signs: tuple[tuple[int, float], ...] = field(default=tuple(_SIGNS))
    free: Free = ()
    ready: tuple[int, ...] = ()

    @property
    def path(self) -> Path:
        """Its file."""
        return Path(self.log).with_suffix(".json")

    def write(self, **changes: Any) -> RunningEngine:
        """Note what changed; the engine with it."""
        changed = replace(self, **changes)
        with contextlib.suppress(WorkbenchError):  # it is for others; the engine runs all the same
            write_atomic(changed.path, json.dumps(asdict(changed)), mode=0o600)
        return changed

    def pids(self) -> list[int]:
        """Its processes."""
        return marked(self.token)

    def memory_bytes(self) -> int | None:
        """What its processes take of the main memory now."""
        return memory_of(self.pids())

    def gpu_memory_bytes(self) -> int | None:
        """What nvidia-smi says that its processes take of GPUs now; None where it does not say."""
        return gpu_memory_of(self.pids())

    def state(self) -> State:
        """What it does. An orphan has neither owner nor watchdog."""
        if self.watchdog is not None and running(*self.watchdog):
            return self.told if running(*self.owner) else "ending"
        return self.told if self.watchdog is None and running(*self.owner) else "orphan"

    def stop(self, say: Say = _ignore) -> bool:
        """End it, whoever owns it; its owner is told that it was stopped.

        Args:
            say: is given what it left on GPUs.

        Returns:
            Whether it is gone, and no GPU lists it.
        """
        release = self.release()
        if self.watchdog is not None and running(*self.watchdog):
            with contextlib.suppress(OSError):
                os.kill(self.watchdog[0], signal.SIGTERM)
            until = time.monotonic() + _ENDS_WITHIN_S
            while running(*self.watchdog) and time.monotonic() < until:
                time.sleep(0.05)
            if running(*self.watchdog):
                return False
        return self.clear() and release.settled(say)

    def release(self, alive: bool = True) -> Release:
        """Whoever is about to end it asks it, and afterwards this, whether its GPU memory is free again.

        Args:
            alive: False for one that ended long ago.
        """
        dead = [pid for pid in self.ready if not running(pid)] if self.free else []
        return Release(self.model, self.free, {*self.pids(), *dead} if self.free else (), alive)

    def clear(self) -> bool:
        """End what is left of it, and remove its files; whether nothing is left."""
        if not end_marked(self.token, list(self.signs)):
            return False
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        for path in (*map(Path, self.files), self.path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return True


def registered(model: str, engine: str, token: str, log: Path, more: Mapping[str, Any]) -> RunningEngine:
    """Note an engine that is about to be started.

    Args:
        more: what else is known of it, by the names of the engine's attributes.
    """
    owner = (os.getpid(), ticks_of(os.getpid()))
    return RunningEngine(token, model, engine, owner, here(), os.getuid(), str(log), time.time(), **more).write()


def engines() -> list[RunningEngine]:
    """The user's engines on this machine, oldest first. Those of other machines that share the folder are left out."""
    found = []
    for path in project.kept("engines").glob("*.json"):
        engine = _read(path)
        if engine is not None and engine.place == here() and engine.uid == os.getuid():
            found.append(engine)
    return sorted(found, key=lambda engine: engine.since)


def end_orphans(say: Say = _ignore) -> list[RunningEngine]:
    """End engines that neither their owner nor a watchdog can end any more; those that were ended.

    Only processes of this user that carry such an engine's marker are met.

    Args:
        say: is given what they left on GPUs.
    """
    ended = []
    for engine in engines():
        if engine.state() == "orphan":
            had = engine.pids()
            release = engine.release(bool(had))
            if engine.clear():
                release.settled(say)
                ended += [engine] if had else []
    _forget_foreign()
    return ended


@cache
def here() -> str:
    """This machine since it was started, and the space that its process ids are of."""
    parts = [os.uname().nodename]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _read(path: Path) -> RunningEngine | None:
    """An engine's file; None where it is none, or has just been removed."""
    try:
        data: Mapping[str, Any] = json.loads(path.read_text())
        data = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        engine = RunningEngine(**data)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return engine if engine.path == path else None


def _forget_foreign() -> None:
    for path in project.kept("engines").glob("*.json"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _FOREIGN_DAYS * 86400:
                engine = _read(path)
                if engine is None or engine.place != here():
                    path.unlink()
