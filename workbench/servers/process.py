"""A managed server process: started, ready when it has generated a token, ended with its owner.

server = ManagedServer(launch, label="smollm2-q4")
await server.start()                 # raises EngineError with the engine's own last words
server.base_url, server.api_key
server.stop()
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.client import Client, Endpoint
from workbench.errors import EngineError
from workbench.privacy import Destination, Payload, gate
from workbench.servers.watched import Watched

_FIRST_TOKEN_S = 60.0


@dataclass(frozen=True)
class Launch:
    """How to start an engine.

    Attributes:
        argv: the command. It writes its address to the file that `WORKBENCH_ADDRESS_FILE` names; one that cannot has
            `{port}` in its arguments instead, for a port that was free a moment before.
        model: the name that the server will know the model by.
        key_variable: where it finds its key.
        ready_timeout_s: how long it may take to generate its first token.
    """

    argv: list[str]
    model: str
    env: dict[str, str] = field(default_factory=dict)
    key_variable: str = "WORKBENCH_API_KEY"
    ready_timeout_s: float = 180.0


class ManagedServer:
    """One engine process behind a watchdog, listening on 127.0.0.1 with a random port and key."""

    def __init__(self, launch: Launch, label: str, port: int = 0, api_key: str | None = None) -> None:
        self._launch = launch
        self.label = label
        self.api_key = api_key or secrets.token_urlsafe(24)
        self.port = port
        self._process = Watched(label)
        self.log = self._process.log
        self._address_file = self.log.with_suffix(".address")
        self.base_url = ""
        self.load_s = 0.0

    async def start(self, progress: Callable[[str], None] = lambda line: None) -> None:
        """Start the engine and wait until it has generated a token.

        Args:
            progress: is given a short line now and then while the engine loads.

        Raises:
            EngineError: it died, or was not ready in time; with the last lines of its log.
        """
        started = time.perf_counter()
        try:
            env = {
                **self._launch.env,
                self._launch.key_variable: self.api_key,
                "WORKBENCH_ADDRESS_FILE": str(self._address_file),
                "WORKBENCH_PORT": str(self.port),
            }
            self._process.start(self._command(), env)
            await self._ready(started, progress)
        except BaseException:
            self.stop()
            raise
        self.load_s = time.perf_counter() - started

    def _command(self) -> list[str]:
        if not any("{port}" in part for part in self._launch.argv):
            return self._launch.argv
        port = self.port or _free_port()
        self._address_file.write_text(f"http://127.0.0.1:{port}")
        return [part.replace("{port}", str(port)) for part in self._launch.argv]

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
        """Whether the engine runs."""
        return self._process.alive

    @property
    def pid(self) -> int | None:
        """Of the engine."""
        return self._process.pid

    def wait(self) -> None:
        """Wait until the engine ends by itself."""
        self._process.wait()

    def last_words(self) -> str:
        """The last telling lines of the engine's log, in one."""
        return self._process.last_words()

    def stop(self) -> None:
        """End the engine and wait until it is gone."""
        self._process.stop()
        self._address_file.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
