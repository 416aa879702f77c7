"""A managed server process: started, ready when it has generated a token, ended with its owner.

server = ManagedServer(launch, label="smollm2-q4")
await server.start()                 # raises EngineError with the engine's own last words
server.base_url, server.api_key
server.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workbench.client import Client, Endpoint
from workbench.errors import EngineError
from workbench.privacy import Destination, Payload, gate
from workbench.servers.watched import END, Watched

_FIRST_TOKEN_S = 60.0
_WARM_S = 15.0  # one that was kept has its first token by then, or is started anew
_SAID_EVERY_S = 1.0
_PORT_TAKEN = re.compile(r"address already in use|EADDRINUSE|errno 98|only one usage of each socket address", re.I)


@dataclass(frozen=True)
class Launch:
    """How to start an engine.

    Attributes:
        argv: the command. It writes its address to the file that `WORKBENCH_ADDRESS_FILE` names; one that cannot has
            `{port}` in its arguments instead, for a port that was free a moment before.
        model: the name that the server will know the model by.
        env: variables for its process. It also finds a folder there for what it has to leave while it runs, as
            `TMPDIR` and `VLLM_RPC_BASE_PATH`; that goes with it.
        key_variable: where it finds its key.
        ready_timeout_s: how long it may take to generate its first token.
        end: the signals that end it, one after another, with the seconds to wait after each.
        gpu: it may take GPU memory, which is to be free again once it has ended.
    """

    argv: list[str]
    model: str
    env: dict[str, str] = field(default_factory=dict)
    key_variable: str = "WORKBENCH_API_KEY"
    ready_timeout_s: float = 180.0
    end: Sequence[tuple[int, float]] = END
    gpu: bool = False


class LoadingLine(str):
    """What an engine that loads is doing, in one line.

    Attributes:
        tail: the last lines of its log, as they may be shown.
    """

    tail: tuple[str, ...] = ()

    @classmethod
    def of(cls, line: str, tail: tuple[str, ...]) -> LoadingLine:
        """A line with a log's tail."""
        made = cls(line)
        made.tail = tail
        return made


class ManagedServer:
    """One engine process behind a watchdog, listening on 127.0.0.1 with a random port and key.

    Attributes:
        load_s: from its start to its first token.
        notes: what its user should know once it has ended: GPU memory that is not free again.
    """

    def __init__(self, launch: Launch, label: str, port: int = 0, api_key: str | None = None, engine: str = "") -> None:
        self._launch = launch
        self._engine = engine
        self.label = label
        self.api_key = api_key or secrets.token_urlsafe(24)
        self.port = port
        self.notes: list[str] = []
        self._prepare()
        self.base_url = ""
        self.load_s = 0.0

    def _prepare(self) -> None:
        self._process = Watched(self.label, self._launch.end, self._engine, (self.api_key,))
        self._process.notes = self.notes
        self.log = self._process.log
        self._address_file = self.log.with_suffix(".address")

    async def start(self, progress: Callable[[str], None] = lambda line: None) -> None:
        """Start the engine and wait until it has generated a token.

        Args:
            progress: is given a `LoadingLine` now and then while the engine loads.

        Raises:
            EngineError: it died, or was not ready in time; with its own reason.
        """
        try:
            await self._start(progress)
        except EngineError as failure:
            # The port was free a moment before: another process was faster.
            if self.port or not self._port_taken():
                left = [note.removeprefix(f"{self.label}: ") for note in self.notes]
                raise EngineError(" ".join([str(failure), *left])) from failure
            self._prepare()
            await self._start(progress)

    def _port_taken(self) -> bool:
        return any("{port}" in part for part in self._launch.argv) and self._process.says(_PORT_TAKEN)

    async def _start(self, progress: Callable[[str], None]) -> None:
        free = await asyncio.to_thread(self._process.free, self._launch.env) if self._launch.gpu else ()
        started = time.perf_counter()
        # Short, as the path of a socket has 107 characters at most.
        scratch = Path(tempfile.mkdtemp(prefix="wb-"))
        try:
            env = {
                "TMPDIR": str(scratch),
                "VLLM_RPC_BASE_PATH": str(scratch),
                **self._launch.env,
                self._launch.key_variable: self.api_key,
                "WORKBENCH_ADDRESS_FILE": str(self._address_file),
                "WORKBENCH_PORT": str(self.port),
            }
            self._process.start(self._command(), env, scratch, [self._address_file], free)
            await self._ready(started, progress)
            self._process.note(port=urlsplit(self.base_url).port, told="in use", ready=tuple(self.pids()))
        except BaseException:
            self.stop()
            raise
        finally:
            if not self.alive:
                shutil.rmtree(scratch, ignore_errors=True)
        self.load_s = time.perf_counter() - started

    def renewed(self) -> ManagedServer:
        """Another engine of the same kind, which has not been started."""
        other = ManagedServer(self._launch, self.label, self.port, engine=self._engine)
        other.notes += self.notes
        return other

    def _command(self) -> list[str]:
        if not any("{port}" in part for part in self._launch.argv):
            return self._launch.argv
        port = self.port or _free_port()
        self._address_file.write_text(f"http://127.0.0.1:{port}")
        return [part.replace("{port}", str(port)) for part in self._launch.argv]

    async def _ready(self, started: float, progress: Callable[[str], None]) -> None:
        ticker = asyncio.create_task(self._tick(started, progress))
        try:
            while True:
                left_s = self._launch.ready_timeout_s - (time.perf_counter() - started)
                if not self.alive:
                    raise EngineError(f"{self.label}: {await asyncio.to_thread(self._ended, 'while loading')}")
                if left_s <= 0:
                    words = self.last_words()
                    raise EngineError(f"{self.label}: not ready after {self._launch.ready_timeout_s:g} s. {words}")
                if await self._while_alive(self._generates(min(left_s, _FIRST_TOKEN_S))):
                    return
                await asyncio.sleep(0.05)
        finally:
            ticker.cancel()

    async def _while_alive(self, asking: Coroutine[Any, Any, bool]) -> bool:
        """What comes of it, or False once the engine has died: another server may listen at its port, and be silent."""
        asked = asyncio.ensure_future(asking)
        try:
            while self.alive:
                done, _ = await asyncio.wait({asked}, timeout=0.1)
                if done:
                    return asked.result() and self.alive
            return False
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def _tick(self, started: float, progress: Callable[[str], None]) -> None:
        while True:
            await asyncio.sleep(_SAID_EVERY_S)
            elapsed = time.perf_counter() - started
            progress(LoadingLine.of(f"loading {self.label} ({elapsed:.0f} s)", self._process.tail()))

    async def _generates(self, within_s: float) -> bool:
        """Whether the server generates a token: being up is not being ready."""
        address = ""
        with contextlib.suppress(OSError):
            address = self._address_file.read_text().strip()
        if not address:
            return False
        self.base_url = f"{address}/v1"
        body = {"model": self._launch.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        destination = Destination(self.label, "local", self.base_url)
        released = gate(Payload(body, ("public",)), destination)
        endpoint = Endpoint(destination, self._launch.model, {}, "", frozenset(), within_s, self.api_key)
        async with Client(endpoint) as client:
            return bool((await client.attempt(released)).output_tokens)

    async def warm(self) -> bool:
        """Whether an engine that was ready before still generates."""
        return await self._while_alive(self._generates(_WARM_S))

    def note_idle(self, idle: bool) -> None:
        """Let others see whether it is in use."""
        self._process.note(told="idle" if idle else "in use")

    @property
    def alive(self) -> bool:
        """Whether the engine runs."""
        return self._process.alive

    @property
    def pid(self) -> int | None:
        """Of the engine."""
        return self._process.pid

    def pids(self) -> list[int]:
        """All its processes."""
        return self._process.pids()

    def wait(self) -> None:
        """Wait until the engine ends by itself."""
        self._process.wait()

    @property
    def stopped(self) -> bool:
        """Whether somebody else ended it, with `workbench engine stop`."""
        return self._process.stopped

    def died(self) -> str | None:
        """How it ended after it was ready, in one line; None while it runs. It may take seconds to be certain."""
        return None if self.alive else self._ended("in mid-run", answering=True)

    def _ended(self, when: str, answering: bool = False) -> str:
        if self.stopped:
            return "the engine was stopped by 'workbench engine stop'."
        verb = "died" if answering else "ended"
        return f"the engine {verb} {when}. {self._process.last_words(answering)}"

    def last_words(self) -> str:
        """Why the engine ended, as its log says, in one line."""
        return self._process.last_words()

    def stop(self) -> None:
        """End the engine and wait until it is gone and its GPU memory free; `notes` tell where that is not."""
        self._process.stop()
        self._address_file.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
