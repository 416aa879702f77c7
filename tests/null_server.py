"""A server whose every answer takes a known time, which counts for itself how many it has in flight.

with NullServer(ttft_s=0.02, gap_s=0.01, tokens=8) as server:
    server.base_url, server.stats()

`python null_server.py TTFT GAP TOKENS` is the same as a process of its own, for benchmarks/load.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httptools

INPUT_TOKENS = 10
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _chunk(b"data: " + json.dumps({"model": "m", "choices": [choice]}).encode() + b"\n\n")


def _end(tokens: int) -> bytes:
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": tokens}
    data = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"
    return _event({}, "stop") + _chunk(data) + b"0\r\n\r\n"


class _Count:
    """How many are in flight, how many were at most, and on average while there was at least one."""

    def __init__(self) -> None:
        self.now = self.most = self.all = 0
        self._last = time.perf_counter()
        self._busy_s = self._sum_s = 0.0

    def change(self, by: int) -> None:
        at = time.perf_counter()
        if self.now:
            self._busy_s += at - self._last
            self._sum_s += (at - self._last) * self.now
        self._last = at
        self.now += by
        self.most = max(self.most, self.now)
        self.all += by > 0

    def told(self) -> dict[str, float]:
        self.change(0)
        return {"most": self.most, "all": self.all, "mean": self._sum_s / (self._busy_s or 1.0)}


class NullServer:
    """Answers after `ttft_s`, then a token each `gap_s`.

    Attributes:
        slots: how many it answers at once; the others wait in line. None is no limit.
        metrics: what it says at /metrics; None has none.
        status: of each answer, or what says so of the number of a request.
        prompts: what it was asked.
    """

    def __init__(self, ttft_s: float, gap_s: float = 0.0, tokens: int = 1, slots: int | None = None) -> None:
        self.ttft_s, self.gap_s, self.tokens, self.slots = ttft_s, gap_s, tokens, slots
        self.metrics: str | None = None
        self.status: Callable[[int], int] = lambda number: 200
        self.on_request: Callable[[int], None] = lambda number: None
        self.prompts: list[str] = []
        self.count = _Count()
        self._waiting: deque[_Connection] = deque()
        self._taken = 0
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats") as response:
            found: dict[str, float] = json.load(response)
        return found

    async def serve(self, told: Callable[[int], None] = lambda port: None) -> None:
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        told(self.port)
        async with server:
            await self._stopped.wait()

    def __enter__(self) -> NullServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def take(self, connection: _Connection) -> None:
        """A request has come: it is its turn, or waits for one."""
        if self.slots is not None and self._taken >= self.slots:
            self._waiting.append(connection)
            return
        self._taken += 1
        connection.work = asyncio.get_running_loop().create_task(connection.answer())
        connection.work.add_done_callback(lambda work: self.leave())  # also of one that was ended before it began

    def leave(self) -> None:
        self._taken -= 1
        while self._waiting:
            following = self._waiting.popleft()
            if following.open:
                self.take(following)
                return


class _Connection(asyncio.Protocol):
    def __init__(self, owner: NullServer) -> None:
        self.owner = owner
        self.work: asyncio.Task[None] | None = None
        self.open = self.counted = False

    def connection_made(self, transport: Any) -> None:
        self.transport, self.open = transport, True
        self.parser = httptools.HttpRequestParser(self)
        self.body, self.path = b"", b""

    def connection_lost(self, failure: Exception | None) -> None:
        self.open = False
        if self.work is not None:
            self.work.cancel()
        self.done()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.path = url

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if self.parser.get_method() == b"GET":
            told = json.dumps(self.owner.count.told()) if self.path == b"/stats" else self.owner.metrics
            self.plain(404 if told is None else 200, told or "")
            return
        if not self.path.endswith(b"/chat/completions"):
            self.plain(404, "{}")
            return
        self.owner.prompts.append(str(json.loads(body)["messages"][-1]["content"]))
        self.owner.on_request(len(self.owner.prompts))
        self.owner.count.change(+1)
        self.counted = True
        status = self.owner.status(len(self.owner.prompts))
        if status == 200:
            self.owner.take(self)
        else:
            self.done()
            self.plain(status, '{"error": {"message": "as told"}}')

    def plain(self, status: int, text: str) -> None:
        data = text.encode()
        self.transport.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data))

    async def answer(self) -> None:
        owner = self.owner
        try:
            due = asyncio.get_running_loop().time() + owner.ttft_s
            for number in range(owner.tokens):
                await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))
                self.transport.write((b"" if number else _HEAD) + _event({"content": "a "}))
                due += owner.gap_s
            self.transport.write(_end(owner.tokens))
        finally:
            self.done()

    def done(self) -> None:
        if self.counted:
            self.counted = False
            self.owner.count.change(-1)


if __name__ == "__main__":
    import uvloop

    ttft, gap, count = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    uvloop.run(NullServer(ttft, gap, count).serve(lambda port: print(port, flush=True)))
