"""The thin path from a socket to a reader: HTTP/1.1 connections that are kept, and times taken where bytes arrive.

    async with Wire(target) as wire:
        await wire.post(b"/v1/chat/completions", headers, body, reader, timeout_s=120)

A reader is told of the head, and of each piece of the body with the moment at which the socket gave it out; nothing
stands between. No redirect is followed and no request is ever sent twice: whoever asks decides on that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

import httptools

from workbench.client.address import Target

_CONNECT_S = 10.0
_HEAD_LIMIT = 128 << 10  # bytes of a response's headers
_ENDLESS = "the answer's headers have no end"
_PROBATION_S = 0.05  # a server that keeps connections has not closed this one by then
_DRAIN_S = 1.0  # for what stands behind the end
_IDLE_S = {"local": 2.0, "private": 2.0, "hosted": 15.0}  # unused that long, a connection may just be closing


class CannotConnect(Exception):
    """No connection came about, so nothing was sent; with the reason."""


class Lost(Exception):
    """The connection ended before the answer did; with the reason."""


class Malformed(Exception):
    """What came is no HTTP answer, or one that is not read; with the reason."""


class Reader(Protocol):
    """Takes in one answer."""

    done: bool  # nothing more is wanted
    sent_at: float  # when it was the request's turn: to connect is part of its time; set by the wire
    ended_at: float  # when the answer's end was there; set by the wire

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The status and headers (names in lower case)."""

    def data(self, piece: bytes, at: float) -> None:
        """A piece of the body, and when it was there (`time.perf_counter`)."""


class _Connection(asyncio.Protocol):
    """One connection; one exchange at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reader: Reader | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.whole = True  # the last answer was read to its end, and another may follow
        self.open = False
        self.idle_since = 0.0
        self.gone: Callable[[_Connection], None] = lambda connection: None
        self._parser: Any = None
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._before_body = 0  # bytes that came while the head had no end
        self._in_head = False
        self._at = 0.0
        self._until_close = False
        self._drained: Callable[[_Connection], None] | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.open = True

    def data_received(self, data: bytes) -> None:
        self._at = time.perf_counter()
        if self._parser is None:  # it speaks without being asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as failure:
            inner = failure.__context__
            self._fail(inner if isinstance(inner, Malformed) else Malformed("the answer is not HTTP"))
            return
        if self._in_head:
            self._before_body += len(data)
            if self._before_body > _HEAD_LIMIT:
                self._fail(Malformed(_ENDLESS))
        if self.reader is not None and self.reader.done:
            self._finish()

    def eof_received(self) -> bool:
        return False  # closes the transport, connection_lost follows

    def connection_lost(self, failure: Exception | None) -> None:
        self.open = False
        self.gone(self)
        if self.waiter is None or self.waiter.done():
            return
        if failure is None and self._until_close:
            self.whole, self._at = False, time.perf_counter()
            self._finish()
        else:
            kind = type(failure).__name__ if failure else "closed by the server"
            self._fail(Lost(kind))

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.reader is None:  # an answer that nobody asked for
            self.close()
        self._headers, self._head_size, self._until_close = {}, 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > _HEAD_LIMIT:
            raise Malformed(_ENDLESS)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self.reader is None:
            return
        self._in_head = False
        self._until_close = "content-length" not in self._headers and "transfer-encoding" not in self._headers
        if self._headers.get("content-encoding", "identity") not in ("identity", ""):
            raise Malformed("the answer is compressed, which was not asked for")
        self.reader.head(status, self._headers)

    def on_body(self, piece: bytes) -> None:
        if self.reader is None:
            if piece.strip():
                self.close()  # it had said that it was done
        elif not self.reader.done:
            self.reader.data(piece, self._at)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return
        self.whole = self._parser.should_keep_alive()
        self._finish()
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained(self)

    # What the wire calls.

    def send(self, data: bytes, reader: Reader, waiter: asyncio.Future[None]) -> None:
        self.reader, self.waiter, self.whole, self._drained = reader, waiter, False, None
        self._in_head, self._before_body, self._until_close = True, 0, False
        self._parser = httptools.HttpResponseParser(self)
        assert self.transport is not None
        self.transport.write(data)

    def drain(self, drained: Callable[[_Connection], None]) -> None:
        """Read what stands behind the end that the reader saw, such as the last chunk's mark."""
        self._drained = drained

    def close(self) -> None:
        self.open = False
        if self.transport is not None:
            self.transport.abort()

    def _finish(self) -> None:
        if self.reader is not None:
            self.reader.ended_at = self._at
        self.reader = None
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def _fail(self, failure: Exception) -> None:
        self.reader = None
        self.close()
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(failure)


class Wire:
    """Connections to one target, kept for the next request where the server keeps them too.

    Some servers close a connection after each answer without saying so, and a request that is sent just then is
    lost. So the first connections are put on probation: only when one was still open a while after its answer are
    connections used again.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._idle: deque[_Connection] = deque()
        self._keeps: bool | None = None  # whether the server keeps connections; not known yet
        self._on_probation = False
        self._ssl: ssl.SSLContext | None = None
        self._all: set[_Connection] = set()

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        for connection in list(self._all):
            connection.close()
        self._idle.clear()

    async def post(self, request: bytes, reader: Reader, timeout_s: float) -> None:
        """Send a request and read its answer.

        Args:
            request: head and body, as `head` begins them.
            reader: takes in the answer.
            timeout_s: until the answer's end.

        Raises:
            CannotConnect, Lost, Malformed: see there.
            TimeoutError: the answer did not end in time.
            InputError: the host resolves outside its zone.
        """
        reader.sent_at = time.perf_counter()
        connection = self._kept() or await self._connect()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(timeout_s, _time_out, waiter)
        try:
            connection.send(request, reader, waiter)
            await waiter
        except BaseException:
            self._drop(connection)
            raise
        finally:
            timer.cancel()
        if connection.whole or not connection.open:
            self._keep(connection)
        else:
            self._drain(connection)

    def _kept(self) -> _Connection | None:
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if connection.open and now - connection.idle_since < _IDLE_S[self.target.destination.zone]:
                return connection
            self._drop(connection)
        return None

    def _keep(self, connection: _Connection) -> None:
        if not connection.whole or not connection.open or self._keeps is False:
            self._drop(connection)
            return
        connection.idle_since = time.monotonic()
        if self._keeps:
            self._idle.append(connection)
        elif self._on_probation:
            self._drop(connection)
        else:
            self._on_probation = True
            asyncio.get_running_loop().call_later(_PROBATION_S, self._judge, connection)

    def _judge(self, connection: _Connection) -> None:
        self._on_probation = False
        self._keeps = connection.open
        if self._keeps:
            self._idle.append(connection)
        else:
            self._drop(connection)

    def _drain(self, connection: _Connection) -> None:
        """Keep it once all was read; not for ever, and no longer than that: it may carry the next answer by then."""
        timer = asyncio.get_running_loop().call_later(_DRAIN_S, self._drop, connection)

        def drained(connection: _Connection) -> None:
            timer.cancel()
            self._keep(connection)

        connection.drain(drained)

    def _drop(self, connection: _Connection) -> None:
        self._all.discard(connection)
        connection.close()

    async def _connect(self) -> _Connection:
        try:
            addresses = await self.target.addresses()
        except OSError as failure:
            raise CannotConnect(f"the name cannot be resolved: {failure.strerror or failure}") from None
        reason = "it has no address"
        for address in addresses:
            try:
                return await self._open(address)
            except TimeoutError:
                reason = f"no connection within {_CONNECT_S:g} s"
            except ssl.SSLError as failure:
                reason = f"TLS: {getattr(failure, 'verify_message', '') or failure.reason or 'failed'}"
            except OSError as failure:
                reason = failure.strerror or str(failure) or type(failure).__name__
            except Lost as failure:
                reason = f"the proxy: {failure}"
        raise CannotConnect(reason)

    async def _open(self, address: str) -> _Connection:
        target, loop = self.target, asyncio.get_running_loop()
        port = target.proxy.port if target.proxy else target.port
        own_tls = target.tls and not target.proxy
        context = self._context() if target.tls else None
        async with asyncio.timeout(_CONNECT_S):
            transport, connection = await loop.create_connection(
                _Connection,
                address,
                port,
                ssl=context if own_tls else None,
                server_hostname=target.host if own_tls else None,
            )
            if target.proxy and target.tls:
                await self._tunnel(connection)
                secured = await loop.start_tls(transport, connection, context, server_hostname=target.host)  # type: ignore[arg-type]
                connection.connection_made(secured)  # type: ignore[arg-type]
        self._all.add(connection)
        connection.gone = self._all.discard
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._ssl is None:
            self._ssl = ssl.create_default_context()
        return self._ssl

    async def _tunnel(self, connection: _Connection) -> None:
        """Ask the proxy for a way through to the host."""
        proxy = self.target.proxy
        host = f"[{self.target.host}]" if ":" in self.target.host else self.target.host
        lines = [f"CONNECT {host}:{self.target.port} HTTP/1.1", f"Host: {host}:{self.target.port}"]
        if proxy and proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reader = _TunnelReader()
        connection.send(("\r\n".join(lines) + "\r\n\r\n").encode(), reader, waiter)
        try:
            await waiter
        except (Lost, Malformed) as failure:
            connection.close()
            raise Lost(str(failure)) from None
        if reader.status != 200:
            connection.close()
            raise Lost(f"HTTP {reader.status}")
        connection._parser = None

    def head(self, path: str, headers: Mapping[str, str], beside_v1: bool = False, method: str = "POST") -> bytes:
        """The beginning of a request: all but its length and body.

        Args:
            path: below the base URL's own.
            headers: further ones.
            beside_v1: the path stands beside the base URL's `/v1`, not below it.
        """
        target = self.target
        where = f"{target.path.removesuffix('/v1') if beside_v1 else target.path}{path}"
        lines = [f"Host: {target.authority}", *(f"{name}: {value}" for name, value in headers.items())]
        if target.proxy and not target.tls:
            where = f"{target.scheme}://{target.authority}{where}"
            if target.proxy.authorization:
                lines.append(f"Proxy-Authorization: {target.proxy.authorization}")
        return "\r\n".join([f"{method} {where} HTTP/1.1", *lines, "Content-Length: "]).encode("latin-1")


class _TunnelReader:
    """Takes in a proxy's answer to CONNECT: it ends with its head."""

    def __init__(self) -> None:
        self.done = False
        self.status = 0
        self.sent_at = self.ended_at = 0.0

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.done = status, True

    def data(self, piece: bytes, at: float) -> None:
        pass


def request_of(head: bytes, body: bytes) -> bytes:
    """A whole request out of its head and body."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def _time_out(waiter: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        waiter.set_exception(TimeoutError())
