"""A stand-in of a hosted batch API (files, batches, contents) on 127.0.0.1, ours: no real one was asked in these tests.

It follows the shapes that the `openai` package documents, records everything, and can fail and hold as real ones do.

with BatchApi() as api:
    api.base_url, api.batches, api.asked
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

INPUT_TOKENS, OUTPUT_TOKENS = 10, 2


@dataclass
class BatchApi:
    """Batches that are over once they were looked at `looks` times.

    Attributes:
        answer: the text for a request's body; an object takes the place of the line's `response` and `error`, None
            leaves the line out.
        end: how batches end: completed, failed, expired, cancelled.
        faults: what happens to the next requests of a kind, such as {"create": ["500_after"]}: an HTTP status,
            `500_after` (done, but not said so), `redirect`, `html`; "" is none.
        hold_at: requests of that kind wait until they are released: upload, create (before it), created (after it),
            look, list, content.
        seen: kinds of requests, in their order.
        raw: every request as it came, headers and body.
    """

    answer: Callable[[dict[str, Any]], str | dict[str, Any] | None] = lambda body: "red"
    looks: int = 1
    end: str = "completed"
    faults: dict[str, list[str]] = field(default_factory=dict)
    hold_at: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.released = threading.Event()
        self.holding = threading.Event()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._tls = False
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._http.server_address[1]}/v1"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on."""
        self._tls = True
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The requests of all batches, in their order."""
        files = [self.files[batch["input_file_id"]] for batch in self.batches]
        return [json.loads(line) for file in files for line in file.decode().splitlines()]

    @property
    def asked(self) -> list[str]:
        """What all batches ask, by the last word of the question."""
        return [line["body"]["messages"][-1]["content"].split()[-1].rstrip("?") for line in self.lines]

    def hold(self, kind: str) -> None:
        if self.hold_at == kind:
            self.holding.set()
            self.released.wait(300)

    def release(self) -> None:
        """Let go of what was held, and hold no more."""
        self.hold_at = None
        self.released.set()
        self.released = threading.Event()
        self.holding = threading.Event()

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        assert wanted["completion_window"] == "24h" and wanted["endpoint"] == "/v1/chat/completions"
        with self.lock:
            number = len(self.batches)
            lines = self.files[wanted["input_file_id"]].decode().splitlines()
            counts = {"total": len(lines), "completed": 0, "failed": 0}
            batch = {"id": f"batch_{number}", "object": "batch", "created_at": int(time.time()), "status": "validating"}
            batch |= {"request_counts": counts, "looked": 0, "output_file_id": None, "error_file_id": None, **wanted}
            self.batches.append(batch)
            return batch

    def look(self, batch: dict[str, Any]) -> None:
        with self.lock:
            batch["looked"] += 1
            if batch["status"] in ("completed", "failed", "expired", "cancelled"):
                return
            batch["status"] = "in_progress"
            if batch["looked"] > self.looks:
                self.finish(batch)

    def finish(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.end
        if self.end == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "x", "message": "the file is none", "line": 1}]}
            return
        output, errors = [], []
        for raw in reversed(self.files[batch["input_file_id"]].decode().splitlines()):  # in any order
            line = json.loads(raw)
            made = self.answer(line["body"])
            if made is None:
                continue
            told = {"id": f"r{len(output)}", "custom_id": line["custom_id"]}
            told |= {"error": None, "response": answered(line["body"], made)} if isinstance(made, str) else made
            (output if told.get("response") and told["response"]["status_code"] == 200 else errors).append(told)
        for kind, made_lines in (("output", output), ("error", errors)):
            if made_lines:
                name = f"file-{kind}-{batch['id']}"
                self.files[name] = "".join(json.dumps(line) + "\n" for line in made_lines).encode()
                batch[f"{kind}_file_id"] = name

    def __enter__(self) -> BatchApi:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()


def answered(body: dict[str, Any], text: str, **message: Any) -> dict[str, Any]:
    """The `response` of a line."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    whole = {"id": "c", "object": "chat.completion", "model": f"{body['model']}-2026", "choices": [choice]}
    return {"status_code": 200, "request_id": "q", "body": {**whole, "usage": usage}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: BatchApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that are killed in mid-answer are what some tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def kind(self) -> str:
        path = urlsplit(self.path).path
        if path == "/v1/files":
            return "upload"
        if path == "/v1/batches":
            return "create" if self.command == "POST" else "list"
        return "content" if path.endswith("/content") else "look"

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        owner, kind = self.server.owner, self.kind()
        raw = self.read()
        with owner.lock:
            owner.seen.append(kind)
            owner.raw.append(f"{self.path}\n{self.headers}".encode() + raw)
            faults = owner.faults.get(kind)
            fault = faults.pop(0) if faults else None
        owner.hold(kind)
        if fault == "redirect":
            self.say(307, {}, Location="http://127.0.0.1:9/elsewhere")
        elif fault == "html":
            self.whole(200, b"<html>sign in</html>")
        elif fault and fault != "500_after":
            words = f"as told, with {self.headers.get('Authorization')}"
            self.say(int(fault), {"error": {"message": words}})
        else:
            done = getattr(self, kind)(raw)
            if kind == "create":
                owner.hold("created")
            if fault:
                self.say(500, {"error": {"message": "as told"}})
            elif isinstance(done, bytes):
                self.whole(200, done)
            else:
                self.say(200 if done else 404, done or {"error": {"message": "there is none"}})

    def read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def upload(self, raw: bytes) -> dict[str, Any]:
        owner = self.server.owner
        start = raw.index(b'{"custom_id"')
        boundary = b"\r\n--" + self.headers["Content-Type"].split("boundary=")[1].encode()
        with owner.lock:
            name = f"file-{len(owner.files)}"
            owner.files[name] = raw[start : raw.index(boundary, start)]
        return {"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "x", "purpose": "batch"}

    def create(self, raw: bytes) -> dict[str, Any]:
        return self.server.owner.create(json.loads(raw))

    def list(self, raw: bytes) -> dict[str, Any]:
        """Two a page, so that pages are turned."""
        owner = self.server.owner
        newest = owner.batches[::-1]
        after = parse_qs(urlsplit(self.path).query).get("after")
        start = [batch["id"] for batch in newest].index(after[0]) + 1 if after else 0
        return {"object": "list", "data": newest[start : start + 2], "has_more": start + 2 < len(newest)}

    def look(self, raw: bytes) -> dict[str, Any] | None:
        owner = self.server.owner
        found = next((batch for batch in owner.batches if self.path.endswith(f"/{batch['id']}")), None)
        if found is not None:
            owner.look(found)
        return found

    def content(self, raw: bytes) -> bytes | None:
        return self.server.owner.files.get(self.path.split("/")[-2])

    def say(self, status: int, data: dict[str, Any], **headers: str) -> None:
        self.whole(status, json.dumps(data).encode(), **headers)

    def whole(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
