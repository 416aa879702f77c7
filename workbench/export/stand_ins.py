"""Stand-ins for a config's models, on loopback: each answers with its own name, or fails as it is told.

with StandIns(["triage/1", "triage/2"]) as stand_ins:
    stand_ins.address("triage/1")                    # http://127.0.0.1:…/v1
    stand_ins.fail({"triage/1": "dead"})             # its port is closed now
    stand_ins.asked, stand_ins.outside               # who was asked; what tried to leave this machine
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any

from aiohttp import web

# Failures as OpenAI, vLLM and llama.cpp word them: LiteLLM tells them apart by the words.
FAILURES: dict[str, tuple[int, dict[str, Any]]] = {
    "429": (429, {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "Internal server error", "type": "server_error", "code": None}),
    "context": (
        400,
        {
            "message": "This model's maximum context length is 8 tokens. However, you requested 9 tokens.",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
    ),
    "context (llama.cpp)": (
        400,
        {
            "message": "the request exceeds the available context size. try increasing the context size",
            "type": "exceed_context_size_error",
            "code": 400,
        },
    ),
    "content": (
        400,
        {
            "message": "The response was filtered due to the prompt triggering the content management policy.",
            "type": "invalid_request_error",
            "code": "content_policy_violation",
        },
    ),
    "401": (401, {"message": "Incorrect API key", "type": "invalid_request_error", "code": "invalid_api_key"}),
}
KINDS = ("dead", *FAILURES)
_WAIT_S = 30


class StandIns:
    """A server for each name, all in one thread, and a proxy that lets nothing out."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(names))
        self._failing: dict[str, str] = {}
        self._guards: list[socket.socket] = []
        self._sites: dict[str, web.TCPSite] = {}
        self._ports: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._outside_server: asyncio.Server | None = None
        self.outside_address = ""
        self.asked: list[str] = []
        self.outside: list[str] = []
        self.visits: list[str] = []  # other than questions

    def __enter__(self) -> StandIns:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}/v1"

    def fail(self, failing: Mapping[str, str]) -> None:
        """From now on these fail, by kind, and all others answer; what was asked is forgotten."""
        self._run(self._fail(dict(failing)))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_S)

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        for name in self._names:
            # It holds the port, bound and not listening, while the server is dead: connections are refused.
            guard = socket.socket()
            guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            guard.bind(("127.0.0.1", 0))
            self._guards.append(guard)
            self._ports[name] = guard.getsockname()[1]
            await self._revive(name)
        self._outside_server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        port = self._outside_server.sockets[0].getsockname()[1]
        self.outside_address = f"http://127.0.0.1:{port}"

    async def _stop(self) -> None:
        if self._outside_server is not None:
            self._outside_server.close()
        await self._runner.cleanup()
        for guard in self._guards:
            guard.close()

    async def _revive(self, name: str) -> None:
        self._sites[name] = web.TCPSite(self._runner, "127.0.0.1", self._ports[name], reuse_port=True)
        await self._sites[name].start()

    async def _fail(self, failing: dict[str, str]) -> None:
        for name in self._names:
            dead = failing.get(name) == "dead"
            if dead and name in self._sites:
                await self._sites.pop(name).stop()
            elif not dead and name not in self._sites:
                await self._revive(name)
        self._failing = failing
        self.asked, self.outside = [], []

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        at = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        name = next(name for name, port in self._ports.items() if port == at)
        if request.method != "POST":  # such as a look at its list of models
            self.visits.append(f"{request.method} {name}{request.path}")
            return web.json_response({"error": {"message": "not here"}}, status=404)
        body = await request.json()
        self.asked.append(name)
        kind = self._failing.get(name)
        if kind is not None:
            status, error = FAILURES[kind]
            response = web.json_response({"error": error}, status=status)
        else:
            message = {"role": "assistant", "content": name}
            response = web.json_response(
                {
                    "id": "stand-in",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body.get("model", ""),
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                }
            )
        response.force_close()  # a kept connection would outlive a port that is closed
        return response

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode(errors="replace").split()
        self.outside.append(line[1] if len(line) > 1 else "?")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
