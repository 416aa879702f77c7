"""A managed server process: started, ready when it has generated a token, ended with its owner.

server = ManagedServer(launch, label="smollm2-q4")
await server.start()                 # raises EngineError with the engine's own last words
server.base_url, server.api_key
server.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workbench import project
from workbench.client import Client, Endpoint
from workbench.errors import EngineError
from workbench.privacy import Destination, Payload, gate

_WATCHDOG = Path(__file__).with_name("_watchdog.py")
_KEPT_LOGS = 20
_FIRST_TOKEN_S = 60.0
_TELLING = re.compile(r"rror|fail|cannot|invalid|^[\d.]+ E ")


@dataclass(frozen=True)
class Launch:
    """How to start an engine.

    Attributes:
        argv: the command; it writes its address to the file that `WORKBENCH_ADDRESS_FILE` names, and takes its
            key from `WORKBENCH_API_KEY`.
        model: the name that the server will know the model by.
    """

    argv: list[str]
    model: str
    env: dict[str, str] = field(default_factory=dict)
    ready_timeout_s: float = 180.0


class ManagedServer:
    """One engine process behind a watchdog, listening on 127.0.0.1 with a random port and key."""

    def __init__(self, launch: Launch, label: str, port: int = 0, api_key: str | None = None) -> None:
        self._launch = launch
        self.label = label
        self.api_key = api_key or secrets.token_urlsafe(24)
        self.port = port
        folder = project.state("engines")
        stamp = time.strftime("%Y%m%dT%H%M%S")
        self.log = folder / f"{label}-{stamp}-{secrets.token_hex(2)}.log"
        self._address_file = self.log.with_suffix(".address")
        self._watchdog: subprocess.Popen[str] | None = None
        self.pid: int | None = None
        self.base_url = ""
        self.load_s = 0.0
        _prune(folder)

    async def start(self, progress: Callable[[str], None] = lambda line: None) -> None:
        """Start the engine and wait until it has generated a token.

        Args:
            progress: is given a short line now and then while the engine loads.

        Raises:
            EngineError: it died, or was not ready in time; with the last lines of its log.
        """
        started = time.perf_counter()
        try:
            self._spawn()
            await self._ready(started, progress)
        except BaseException:
            self.stop()
            raise
        self.load_s = time.perf_counter() - started

    def _spawn(self) -> None:
        project.private_file(self.log)
        env = {
            **self._launch.env,
            "WORKBENCH_API_KEY": self.api_key,
            "WORKBENCH_ADDRESS_FILE": str(self._address_file),
            "WORKBENCH_PORT": str(self.port),
        }
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", str(_WATCHDOG)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._watchdog.stdin is not None and self._watchdog.stdout is not None
        spec = {"argv": self._launch.argv, "env": env, "log": str(self.log), "parent": os.getpid()}
        self._watchdog.stdin.write(json.dumps(spec) + "\n")
        self._watchdog.stdin.flush()
        first = self._watchdog.stdout.readline().split()
        if first[:1] != ["pid"]:
            raise EngineError(f"{self.label}: the engine did not start. {self.last_words()}")
        self.pid = int(first[1])
        weakref.finalize(self, _close, self._watchdog)

    async def _ready(self, started: float, progress: Callable[[str], None]) -> None:
        said = 0.0
        while True:
            elapsed = time.perf_counter() - started
            if not self.alive:
                raise EngineError(f"{self.label}: the engine ended while loading. {self.last_words()}")
            if elapsed > self._launch.ready_timeout_s:
                raise EngineError(f"{self.label}: not ready after {elapsed:.0f} s. {self.last_words()}")
            if await self._generates():
                return
            if elapsed - said >= 1:
                said = elapsed
                progress(f"loading {self.label} ({elapsed:.0f} s)")
            await asyncio.sleep(0.05)

    async def _generates(self) -> bool:
        """Whether the server generates a token: being up is not being ready."""
        if not self._address_file.exists():
            return False
        address = self._address_file.read_text().strip()
        if not address:
            return False
        self.base_url = f"{address}/v1"
        body = {"model": self._launch.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        destination = Destination(self.label, "local", self.base_url)
        released = gate(Payload(body, ("public",)), destination)
        endpoint = Endpoint(destination, self._launch.model, {}, "", frozenset(), _FIRST_TOKEN_S, self.api_key)
        async with Client(endpoint) as client:
            return bool((await client.attempt(released)).output_tokens)

    @property
    def alive(self) -> bool:
        """Whether the engine runs (its watchdog ends when it does)."""
        return self._watchdog is not None and self._watchdog.poll() is None

    def wait(self) -> None:
        """Wait until the engine ends by itself."""
        if self._watchdog is not None:
            self._watchdog.wait()

    def last_words(self) -> str:
        """The last telling lines of the engine's log, in one."""
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
        """End the engine and wait until it is gone."""
        if self._watchdog is not None:
            _close(self._watchdog)
        self._address_file.unlink(missing_ok=True)


def _close(watchdog: subprocess.Popen[str]) -> None:
    """Close the pipe that keeps the watchdog waiting; it ends the engine."""
    for pipe in (watchdog.stdin, watchdog.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    # A child that the owner forked may hold the pipe open, so the watchdog is told as well; it ends the engine.
    with contextlib.suppress(ProcessLookupError):
        watchdog.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        watchdog.wait(timeout=15)


def _prune(folder: Path) -> None:
    """Keep the newest logs only."""
    with contextlib.suppress(OSError):  # another run may prune at the same time
        logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in logs[_KEPT_LOGS:]:
            if time.time() - old.stat().st_mtime > 3600:  # not one that is just being written
                old.unlink(missing_ok=True)
                old.with_suffix(".address").unlink(missing_ok=True)
