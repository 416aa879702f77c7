"""One attempt on the OpenAI protocol: streamed, timed, classified.

    async with Client(endpoint) as client:
        attempt = await client.attempt(released)      # never raises for what a server does

Only what the gate released is sent. No redirects are followed; outside the hosted zone no proxy is used, and every
address that a host name resolves to is checked against the zone before a connection is opened.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from workbench.journal import Attempt
from workbench.privacy import Destination, Released, check_address

RETRYABLE = frozenset({"connection", "disconnected", "timeout", "rate_limit", "server", "protocol"})
_ANSWER_LIMIT = 16 << 20
_CONNECT_S = 10.0
_BY_STATUS = {401: "auth", 403: "auth", 404: "not_found", 408: "timeout", 413: "context_length", 429: "rate_limit"}


@dataclass(frozen=True)
class Endpoint:
    """A server that is ready to answer.

    Attributes:
        model: the name that the server knows the model by.
        identity: what its answers depend on; part of the journal's key.
        engine_id: engine, version, weights digest, for people.
    """

    destination: Destination
    model: str
    identity: dict[str, Any]
    engine_id: str
    capabilities: frozenset[str]
    timeout_s: float = 120.0
    api_key: str | None = field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        return self.destination.base_url or ""


class _ZoneResolver(AbstractResolver):
    """Resolves names, and refuses addresses outside the destination's zone."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            check_address(self._destination.zone, host, result["host"], self._destination.private_hosts)
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _proxy(destination: Destination) -> str | None:
    """The environment's proxy for a hosted endpoint; none for this machine and the own network."""
    url = URL(destination.base_url or "")
    if destination.zone != "hosted" or not url.host or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme)


def check_literal(destination: Destination) -> None:
    """Check a base URL that names an address instead of a host: no resolver is asked for one.

    All spellings that a connection takes are read as one, `134744072` for 8.8.8.8 too.

    Raises:
        InputError: the address is outside the declared zone.
    """
    host = URL(destination.base_url or "").host or ""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return  # a name: it is checked where it is resolved
    for *_, address in found:
        check_address(destination.zone, host, str(address[0]), destination.private_hosts)


class Client:
    """A session with one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        check_literal(endpoint.destination)
        self.endpoint = endpoint
        self.sent = 0  # requests so far
        self._in_flight = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        destination = self.endpoint.destination
        headers = {"Accept": "text/event-stream, application/json"}
        if self.endpoint.api_key:
            headers["Authorization"] = f"Bearer {self.endpoint.api_key}"
        self._session = aiohttp.ClientSession(
            # Some local servers close a connection after each answer without saying so: a pooled one would then
            # fail. On loopback a new connection costs nothing.
            connector=aiohttp.TCPConnector(
                limit=0, resolver=_ZoneResolver(destination), force_close=destination.zone == "local"
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.endpoint.timeout_s, sock_connect=_CONNECT_S),
            trust_env=False,  # it would also send what ~/.netrc has for the host
            proxy=_proxy(destination),
            headers=headers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def attempt(self, released: Released) -> Attempt:
        """Send one request.

        Args:
            released: what the gate let through, to this very endpoint.

        Returns:
            The answer, or the error with its class; times in seconds.

        Raises:
            InputError: the host resolves outside its zone.
        """
        if released.destination != self.endpoint.destination:
            raise ValueError(f"released for {released.destination.model}, not for {self.endpoint.destination.model}")
        reading = _Reading(self.endpoint.api_key)
        asked_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.sent += 1
        self._in_flight += 1
        concurrency = self._in_flight
        started = time.perf_counter()
        try:
            await self._exchange(released.body, reading, started)
        except TimeoutError:
            reading.fail("timeout", f"no answer within {self.endpoint.timeout_s:g} s")
        except aiohttp.ClientConnectorError as failure:
            reason = failure.os_error.strerror or str(failure.os_error)
            reading.fail("connection", f"cannot connect to {failure.host}:{failure.port} ({reason})")
        except (aiohttp.ClientError, OSError) as failure:
            reading.fail("disconnected", f"connection lost ({type(failure).__name__})")
        finally:
            latency_s = time.perf_counter() - started
            self._in_flight -= 1
        return Attempt(
            text=None if reading.error_class else self._without_key(_clean("".join(reading.parts))),
            error=reading.error,
            error_class=reading.error_class,
            finish_reason=reading.finish_reason,
            input_tokens=reading.input_tokens,
            output_tokens=reading.output_tokens,
            latency_s=latency_s,
            ttft_s=reading.ttft_s,
            concurrency=concurrency,
            served_model=self._without_key(reading.served_model) if reading.served_model else None,
            engine_id=self.endpoint.engine_id,
            asked_at=asked_at,
            retry_after_s=reading.retry_after_s,
        )

    async def count_tokens(self, released: Released) -> tuple[int, int | None] | None:
        """The tokens of a prompt by the server's own tokenizer, and the context length where the server says it.

        Asked in vLLM's way, then in llama.cpp's. None where the server offers neither, or fails.
        """
        if released.destination != self.endpoint.destination:
            raise ValueError(f"released for {released.destination.model}, not for {self.endpoint.destination.model}")
        chat = {"model": self.endpoint.model, "messages": released.body["messages"]}
        counted = await self._post("/tokenize", chat)
        if counted and _int(counted.get("count")) is not None:
            return int(counted["count"]), _int(counted.get("max_model_len"))
        templated = await self._post("/apply-template", chat)
        if not templated or not isinstance(templated.get("prompt"), str):
            return None
        counted = await self._post("/tokenize", {"content": templated["prompt"], "add_special": True})
        tokens = counted.get("tokens") if counted else None
        return (len(tokens), None) if isinstance(tokens, list) else None

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """A further endpoint of the server, beside /v1; None where it fails."""
        assert self._session is not None
        url = self.endpoint.base_url.removesuffix("/v1") + path
        try:
            async with self._session.post(url, json=body, allow_redirects=False) as response:
                return _object(json.loads(await _limited(response))) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError):
            return None

    def _without_key(self, text: str) -> str:
        """A server may repeat the key that it was shown."""
        return text.replace(self.endpoint.api_key, "[key]") if self.endpoint.api_key else text

    async def _exchange(self, body: dict[str, Any], reading: _Reading, started: float) -> None:
        if self._session is None:
            raise RuntimeError("use the client as 'async with Client(endpoint) as client'")
        url = f"{self.endpoint.base_url}/chat/completions"
        async with self._session.post(url, json=body, allow_redirects=False) as response:
            if response.status != 200:
                reading.fail_status(response.status, await _limited(response), response.headers.get("Retry-After"))
            elif "text/event-stream" in response.headers.get("Content-Type", ""):
                await _read_stream(response, reading, started)
            else:
                reading.whole(await _limited(response), started)


class _Reading:
    """What was read of an answer so far."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self.answered = False  # something of an answer was there
        self.parts: list[str] = []
        self.error: str | None = None
        self.error_class: str | None = None
        self.finish_reason: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.ttft_s: float | None = None
        self.served_model: str | None = None
        self.retry_after_s: float | None = None

    def fail(self, error_class: str, error: str) -> None:
        self.error_class, self.error = error_class, _clean(error)[:500]

    def fail_status(self, status: int, raw: bytes, retry_after: str | None) -> None:
        message = _message(raw, self._key)
        kind = _BY_STATUS.get(status) or ("server" if status >= 500 else "bad_request")
        if kind == "bad_request" and ("context" in message and ("exceed" in message or "length" in message)):
            kind = "context_length"
        if kind == "bad_request" and ("content_filter" in message or "content_policy" in message):
            kind = "content_policy"
        if 300 <= status < 400:
            kind, message = "bad_request", "the server redirects, and redirects are not followed. Mend base_url"
        self.retry_after_s = _retry_after(retry_after)
        self.fail(kind, f"HTTP {status}: {message}" if message else f"HTTP {status}")

    def event(self, data: dict[str, Any], started: float, key: str = "delta") -> None:
        """Take in one chunk of a stream (`delta`), or a whole answer (`message`)."""
        if data.get("error"):
            self.fail("server", _message(json.dumps(data).encode(), self._key))
            return
        self.served_model = _str(data.get("model")) or self.served_model
        usage = data.get("usage")
        if isinstance(usage, dict):
            self.input_tokens = _int(usage.get("prompt_tokens"))
            self.output_tokens = _int(usage.get("completion_tokens"))
        choices = data.get("choices")
        choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
        self.answered = self.answered or bool(choice)
        turn = _object(choice.get(key))
        content = turn.get("content")
        if isinstance(content, str) and content:
            if self.ttft_s is None:
                self.ttft_s = time.perf_counter() - started
            self.parts.append(content)
        if isinstance(turn.get("refusal"), str) and turn["refusal"]:
            self.fail("refusal", "the model refused")
        self.finish_reason = _str(choice.get("finish_reason")) or self.finish_reason
        if self.finish_reason == "content_filter":
            self.fail("content_policy", "the provider's content filter stopped the answer")

    def whole(self, raw: bytes, started: float) -> None:
        """Take in an answer that was not streamed."""
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError):
            self.fail("protocol", "the answer is not JSON")
            return
        if not isinstance(data, dict) or not (data.get("choices") or data.get("error")):
            self.fail("protocol", "the answer has no choices")
            return
        self.event(data, started, key="message")
        self.ttft_s = None  # a whole answer does not tell when its first token was there


async def _read_stream(response: aiohttp.ClientResponse, reading: _Reading, started: float) -> None:
    """Read server-sent events to their end; a stream that stops early is a protocol error."""
    buffer, size = b"", 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > _ANSWER_LIMIT:
            reading.fail("protocol", f"the answer is over {_ANSWER_LIMIT >> 20} MiB")
            return
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                if not reading.answered and reading.error_class is None:
                    reading.fail("protocol", "the answer has no choices")
                return
            try:
                event = json.loads(data.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                event = None
            if not isinstance(event, dict):
                reading.fail("protocol", "a piece of the stream is not a JSON object")
                return
            reading.event(event, started)
    if reading.finish_reason is None and reading.error_class is None:
        reading.fail("protocol", "the stream ended before the answer did")


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > _ANSWER_LIMIT:
            break
    return bytes(raw)


def _message(raw: bytes, key: str | None) -> str:
    """A server's own words out of an error body, in one short line; a key that it repeats is left out."""
    text = raw[:4000].decode("utf-8", "replace")
    try:
        data = json.loads(raw)
        error = data.get("error", data) if isinstance(data, dict) else data
        text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, RecursionError):
        pass
    if key:
        text = text.replace(key, "[key]")  # before it is cut, or a part of the key could stay
    return " ".join(text.split())[:300]


def _retry_after(header: str | None) -> float | None:
    """The seconds that a server asks to wait, stated as a number or as a date; None where it does not say."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # no date, or one without a time zone, or beyond all years
        return None


def _clean(text: str) -> str:
    """Text that can be stored as UTF-8: the halves of a character that came apart are joined, a lone one replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def _str(value: Any) -> str | None:
    return _clean(value)[:200] if isinstance(value, str) and value else None


def preflight(destination: Destination) -> None:
    """Resolve a local or private endpoint once, so that a wrong zone is told before a run starts.

    Raises:
        InputError: the host is outside its zone.
    """
    if destination.zone == "hosted" or destination.base_url is None:
        return
    check_literal(destination)
    url = URL(destination.base_url)
    try:
        found = socket.getaddrinfo(url.host, url.port)
    except OSError:
        return  # the run will say that it cannot connect
    for *_, address in found:
        check_address(destination.zone, url.host or "", str(address[0]), destination.private_hosts)
