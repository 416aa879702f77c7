"""One attempt on the OpenAI protocol: streamed, timed, classified.

    async with Client(endpoint) as client:
        attempt = await client.attempt(released)      # never raises for what a server does

Only what the gate released is sent; the wire takes nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from workbench import __version__
from workbench.client.address import Target
from workbench.client.reading import Reading
from workbench.client.wire import CannotConnect, Lost, Malformed, Wire
from workbench.errors import InputError
from workbench.journal import Attempt
from workbench.privacy import Destination, Payload, Released, Sensitivity, check_released, gate

RETRYABLE = frozenset({"connection", "disconnected", "timeout", "rate_limit", "server", "protocol"})
_METRICS_S = 5.0


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


class Client:
    """A session with one endpoint.

    Attributes:
        sent: requests so far.
        on_headers: is told the headers of each response.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.sent = 0
        self.on_headers: Callable[[Mapping[str, str]], None] = lambda headers: None
        self._in_flight = 0
        self._wire = Wire(Target.of(endpoint.destination))
        self._head = self._wire.head("/chat/completions", _headers(endpoint, "text/event-stream, application/json"))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._wire.__aexit__(kind, value, tb)

    async def attempt(self, released: Released, reading: Reading | None = None) -> Attempt:
        """Send one request.

        Args:
            released: what the gate let through, to this very endpoint.
            reading: takes in the answer where more is wanted than an attempt tells.

        Returns:
            The answer, or the error with its class; times in seconds.

        Raises:
            InputError: the host resolves outside its zone.
        """
        endpoint = self.endpoint
        check_released(released, endpoint.destination)  # before it counts as sent
        reading = reading or Reading(endpoint.api_key)
        attempt = Attempt(
            None, asked_at=datetime.now(UTC).isoformat(timespec="milliseconds"), engine_id=endpoint.engine_id
        )
        self.sent += 1
        self._in_flight += 1
        attempt.concurrency = self._in_flight
        reading.sent_at = time.perf_counter()
        try:
            await self._wire.post(self._head, released, reading, endpoint.timeout_s)
            reading.ended()
        except TimeoutError:
            reading.fail("timeout", f"no answer within {endpoint.timeout_s:g} s")
        except CannotConnect as failure:
            reading.fail("connection", f"cannot connect to {self._wire.target.authority} ({failure})")
        except Lost as failure:
            reading.fail("disconnected", f"connection lost ({failure})")
        except Malformed as failure:
            reading.fail("protocol", str(failure))
        finally:
            attempt.latency_s = (reading.ended_at or time.perf_counter()) - reading.sent_at
            self._in_flight -= 1
        if reading.headers:
            self.on_headers(reading.headers)
        return reading.fill(attempt)

    async def count_tokens(self, released: Released) -> tuple[int, int | None] | None:
        """The tokens of a prompt by the server's own tokenizer, and the context length where the server says it.

        Asked in vLLM's way, then in llama.cpp's. None where the server offers neither, or fails.
        """
        check_released(released, self.endpoint.destination)
        source = released.sensitivity
        chat = {"model": self.endpoint.model, "messages": released.body["messages"]}
        counted = await self._other("/tokenize", chat, source)
        if counted and _count(counted.get("count")) is not None:
            return int(counted["count"]), _count(counted.get("max_model_len"))
        templated = await self._other("/apply-template", chat, source)
        if not templated or not isinstance(templated.get("prompt"), str):
            return None
        counted = await self._other("/tokenize", {"content": templated["prompt"], "add_special": True}, source)
        tokens = counted.get("tokens") if counted else None
        return (len(tokens), None) if isinstance(tokens, list) else None

    async def token_ids(self, released: Released) -> list[int] | None:
        """The token ids of `messages` or a `prompt`, by the server's own tokenizer, in vLLM's way; None if it fails."""
        check_released(released, self.endpoint.destination)
        told = await self._other("/tokenize", released.body, released.sensitivity)
        ids = told.get("tokens") if told else None
        return ids if isinstance(ids, list) and all(_count(each) is not None for each in ids) else None

    async def prompt_logprobs(self, released: Released) -> list[dict[int, float]] | None:
        """For each token of a prompt, the log-probabilities that the server gave it and likely others at its place.

        Asked in vLLM's way, by `prompt_logprobs`. The first token has none. None where the server does not tell.
        """
        check_released(released, self.endpoint.destination)
        told = await self._other("/completions", released.body, released.sensitivity, beside_v1=False)
        try:
            places = told["choices"][0]["prompt_logprobs"] if told else None
            return None if places is None else [_logprobs(place) for place in places]
        except (LookupError, TypeError, ValueError, AttributeError):
            return None

    async def metrics(self) -> str | None:
        """What the server says of itself at `/metrics`, in Prometheus' text format; None where it does not."""
        reader = WholeReader()
        released = gate(Payload({}, ("public",)), self.endpoint.destination)
        head = self._wire.head("/metrics", _headers(self.endpoint, "text/plain"), beside_v1=True, method="GET")
        try:
            await self._wire.post(head, released, reader, _METRICS_S)
        except (CannotConnect, Lost, Malformed, TimeoutError):
            return None
        return reader.text() if reader.status == 200 else None

    async def _other(
        self, path: str, body: dict[str, Any], source: Sensitivity, beside_v1: bool = True
    ) -> dict[str, Any] | None:
        """A further endpoint of the server, beside /v1 or below it; None where it fails.

        Its body passes the gate by itself.
        """
        released = gate(Payload(body, (source,)), self.endpoint.destination)
        reader = WholeReader()
        head = self._wire.head(path, _headers(self.endpoint, "application/json"), beside_v1)
        try:
            await self._wire.post(head, released, reader, self.endpoint.timeout_s)
        except (CannotConnect, Lost, Malformed, TimeoutError):
            return None
        return reader.json() if reader.status == 200 else None


class WholeReader:
    """Takes in an answer as a whole."""

    def __init__(self, limit: int = 16 << 20) -> None:
        self.done = False
        self.sent_at = self.ended_at = 0.0
        self.status = 0
        self._limit = limit
        self._pieces: list[bytes] = []

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status

    def data(self, piece: bytes, at: float) -> None:
        self._pieces.append(piece)
        self._limit -= len(piece)
        self.done = self._limit < 0

    def text(self) -> str:
        """What came, as text."""
        return b"".join(self._pieces).decode("utf-8", "replace")

    def json(self) -> dict[str, Any] | None:
        """The JSON object that came, or None."""
        try:
            found = json.loads(b"".join(self._pieces))
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def _headers(endpoint: Endpoint, accept: str) -> dict[str, str]:
    headers = {"Accept": accept, "Content-Type": "application/json", "User-Agent": f"workbench/{__version__}"}
    if endpoint.api_key:
        headers["Authorization"] = authorization(endpoint.destination.model, endpoint.api_key)
    return headers


def authorization(model: str, key: str) -> str:
    """The header that shows a model's key.

    Raises:
        InputError: it is none; it is not repeated.
    """
    if not key.isascii() or not key.isprintable():
        raise InputError(f"{model}: its key has characters that no key has. Set it anew.")
    return f"Bearer {key}"


def _logprobs(place: dict[str, dict[str, float]] | None) -> dict[int, float]:
    return {int(token): float(about["logprob"]) for token, about in (place or {}).items()}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None
