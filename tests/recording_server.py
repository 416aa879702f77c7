"""A small OpenAI-compatible server on 127.0.0.1 that records every request and can fail in every way that real ones do.

with RecordingServer(faults=["429", "ok"]) as server:
    server.base_url, server.requests
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

# Faults that are a status and an error body.
STATUSES = {"400": 400, "401": 401, "404": 404, "408": 408, "413": 413, "422": 422, "429": 429, "500": 500, "503": 503}
INPUT_TOKENS, OUTPUT_TOKENS = 10, 2


@dataclass
class Recorded:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    fault: str = "ok"  # what happened to it

    @property
    def last_user(self) -> str:
        return str(self.body["messages"][-1]["content"])

    @property
    def text(self) -> str:
        return json.dumps([self.path, self.headers, self.body], ensure_ascii=False)


@dataclass
class RecordingServer:
    """Answers chat completions as a stream.

    Attributes:
        faults: what happens to the first requests, in their order; afterwards `fault`.
        fault: what happens to all others: "ok", or one of the names in `_Handler.fail`; or what says so of a body.
        answer: the text for a request's body.
        delay_s: before each answer.
        retry_after: the header that comes with a 429.
        hold_after: requests after that many get no answer before the server ends.
        message: the words of an error body.
    """

    faults: list[str] = field(default_factory=list)
    fault: str | Callable[[dict[str, Any]], str] = "ok"
    answer: Callable[[dict[str, Any]], str] = lambda body: "red"
    delay_s: float = 0.0
    retry_after: str | None = None
    message: str | Callable[[dict[str, Any]], str] = "as told"
    location: str = "/elsewhere"
    hold_after: int | None = None
    extra: dict[str, str] = field(default_factory=dict)
    room: int | None = None
    on_request: Callable[[Recorded], None] = lambda request: None
    requests: list[Recorded] = field(default_factory=list, repr=False)
    connections: list[float] = field(default_factory=list, repr=False)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.released = threading.Event()  # ends stalls
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def take(self, request: Recorded) -> str:
        """Record a request, and say what is to happen to it."""
        self.on_request(request)
        with self._lock:
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
            self.requests.append(request)
            usual = self.fault if isinstance(self.fault, str) else self.fault(request.body)
            request.fault = self.faults.pop(0) if self.faults else usual
            if self.room is not None and self._inside > self.room:
                request.fault = "429"
            return request.fault

    def left(self) -> None:
        """A request has its answer."""
        with self._lock:
            self._inside -= 1

    def __enter__(self) -> RecordingServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: RecordingServer

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.owner.connections.append(time.monotonic())
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that are killed in mid-answer are what some tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        owner = self.server.owner
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else {}
        fault = owner.take(Recorded(self.path, dict(self.headers), body, time.monotonic()))
        try:
            self.reply(fault, body)
        finally:
            owner.left()

    def reply(self, fault: str, body: dict[str, Any]) -> None:
        owner = self.server.owner
        if owner.delay_s:
            owner.released.wait(owner.delay_s)
        if owner.hold_after is not None and len(owner.requests) > owner.hold_after:
            owner.released.wait(300)
        if fault == "ok":
            self.stream(owner.answer(body), body)
        else:
            self.fail(fault, body)

    def whole(self, status: int, content: str | bytes, kind: str = "application/json", **headers: str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in {**self.server.owner.extra, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in self.server.owner.extra.items():
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, model: str, choices: list[Any], **more: Any) -> None:
        data = {"id": "r", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": choices, **more}
        self.chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

    def text(self, model: str, text: str) -> None:
        self.event(model, [{"index": 0, "delta": {"content": text}, "finish_reason": None}])

    def finish(self, model: str, reason: str = "stop", usage: Any = "default") -> None:
        self.event(model, [{"index": 0, "delta": {}, "finish_reason": reason}])
        if usage == "default":
            usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
        self.event(model, [], usage=usage)
        self.done()

    def done(self) -> None:
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def stream(self, text: str, body: dict[str, Any], model: str | None = None, **end: Any) -> None:
        model = model or str(body.get("model"))
        self.begin()
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            self.text(model, piece)
        self.finish(model, **end)

    def fail(self, fault: str, body: dict[str, Any]) -> None:
        owner, model = self.server.owner, str(body.get("model"))
        words = owner.message if isinstance(owner.message, str) else owner.message(body)
        if fault in STATUSES:
            headers = {"Retry_After": owner.retry_after} if fault in ("429", "503") and owner.retry_after else {}
            self.whole(STATUSES[fault], json.dumps({"error": {"message": words}}), **headers)
        elif fault == "redirect":
            self.whole(307, "", Location=owner.location)
        elif fault == "reset":
            self.begin()
            self.text(model, "re")
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault == "truncated_json":
            self.whole(200, '{"model": "m", "choices": [{"message": {"content": "re')
        elif fault == "truncated_event":
            self.begin()
            self.chunk(b'data: {"choices": [{"delta": {"con\n\n')
            self.chunk(b"")
        elif fault == "short_stream":
            self.begin()
            self.text(model, "re")
            self.chunk(b"")
        elif fault == "empty_choices":
            self.whole(200, json.dumps({"model": model, "choices": []}))
        elif fault == "empty_choices_stream":
            self.begin()
            self.event(model, [])
            self.done()
        elif fault == "html":
            self.whole(200, "<html>sign in</html>", kind="text/html")
        elif fault == "deep_json":
            self.whole(200, "[" * 200_000)
        elif fault == "stall":
            self.begin()
            self.text(model, "re")
            self.wfile.flush()
            owner.released.wait(120)
            self.close_connection = True
        elif fault == "invalid_utf8":
            self.begin()
            self.chunk(b'data: {"choices": [{"delta": {"content": "r\xff\xfed"}}]}\n\n')
            self.finish(model)
        elif fault == "lone_surrogate":
            self.begin()
            self.text(model, "\ud83d")  # an emoji that was cut in two, as tokens do
            self.text(model, "\ude00 \udc00")
            self.finish(model)
        elif fault == "null_usage":
            self.stream("red", body, usage=None)
        elif fault == "absurd_usage":
            self.stream("red", body, usage={"prompt_tokens": 10**30, "completion_tokens": -1})
        elif fault == "refusal":
            self.begin()
            self.event(model, [{"index": 0, "delta": {"refusal": "I will not"}, "finish_reason": None}])
            self.finish(model)
        elif fault == "content_filter":
            self.stream("", body, reason="content_filter")
        elif fault == "error_event":
            self.begin()
            self.chunk(b"data: " + json.dumps({"error": {"message": words}}).encode() + b"\n\n")
            self.done()
        elif fault == "late_error":
            self.begin()
            self.text(model, "re")
            self.chunk(b"data: " + json.dumps({"error": {"message": words}}).encode() + b"\n\n")
            self.done()
        elif fault == "echo_model":
            self.stream("red", body, model=str(body["messages"][-1]["content"]))
        elif fault == "other_model":
            self.stream("red", body, model="another-model")
        elif fault == "tool_calls":
            call = {"index": 0, "id": "c", "type": "function", "function": {"name": "paint", "arguments": "{}"}}
            self.begin()
            delta = {"role": "assistant", "content": None, "tool_calls": [call]}
            self.event(model, [{"index": 0, "delta": delta, "finish_reason": None}])
            self.finish(model, reason="tool_calls")
        elif fault == "reasoning":
            self.begin()
            for name, words in (("reasoning_content", "Is it blue?"), ("reasoning", " No."), ("content", "red")):
                self.event(model, [{"index": 0, "delta": {name: words}, "finish_reason": None}])
            self.finish(model)
        elif fault == "hangup":
            self.close_connection = True
        elif fault == "whole":
            message = {"role": "assistant", "content": owner.answer(body)}
            usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.whole(200, json.dumps({"model": model, "choices": [choice], "usage": usage}))
        else:
            raise ValueError(f"no fault named {fault}")
