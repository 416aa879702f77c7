"""Servers that say just the bytes that a test wants, with or without TLS, and a proxy in front of them.

with ByteServer(lambda exchange: exchange.send(http(200, b"{}"))) as server:
    server.base_url, server.requests
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass
class Exchange:
    """A request, and the way back to who sent it.

    Attributes:
        connection: the number of the connection, from 0.
        number: of the request on it, from 0.
        keep: whether another request is waited for afterwards.
    """

    socket: socket.socket
    request: bytes
    connection: int
    number: int
    ended: threading.Event
    keep: bool = True

    def send(self, data: bytes, piece: int = 0, pause_s: float = 0.0) -> bool:
        """Send, whole or in pieces; False where the client has gone."""
        try:
            if not piece:
                self.socket.sendall(data)
            for start in range(0, len(data) if piece else 0, piece or 1):
                self.socket.sendall(data[start : start + piece])
                time.sleep(pause_s)
        except OSError:
            return False
        return True

    def wait(self, seconds: float) -> None:
        self.ended.wait(seconds)

    def gone(self, limit_s: float = 10.0) -> bool:
        """Whether the client closes the connection."""
        self.socket.settimeout(limit_s)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self.keep = False

    def reset(self) -> None:
        self.keep = False
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class ByteServer:
    """Listens on 127.0.0.1, and hands each request to `reply`."""

    reply: Callable[[Exchange], Any]
    tls: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self._ended = threading.Event()
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ByteServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number = self.connections
                self.connections += 1
            threading.Thread(target=self._serve, args=(client, number), daemon=True).start()

    def _serve(self, client: socket.socket, connection: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(client.close)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                client = self.tls.wrap_socket(client, server_side=True)
                stack.callback(client.close)
            self.talk(client, connection)

    def talk(self, client: socket.socket, connection: int) -> None:
        number, rest = 0, b""
        while (found := read_request(client, rest)) is not None:
            request, rest = found
            with self._lock:
                self.requests.append(request)
            exchange = Exchange(client, request, connection, number, self._ended)
            self.reply(exchange)
            if not exchange.keep:
                return
            number += 1


def read_request(client: socket.socket, data: bytes = b"") -> tuple[bytes, bytes] | None:
    """A request, and what came behind it; None where the client has gone."""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        more = client.recv(65536)
        if not more:
            return None
        body += more
    return head + b"\r\n\r\n" + body[:length], body[length:]


class ProxyServer(ByteServer):
    """A proxy for http and, by CONNECT, for https.

    Attributes:
        authorization: what it wants to be shown; None lets everybody through.
    """

    def __init__(self, authorization: str | None = None) -> None:
        super().__init__(lambda exchange: None)
        self.authorization = authorization

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def talk(self, client: socket.socket, connection: int) -> None:
        found = read_request(client)
        if found is None:
            return
        request = found[0]
        self.requests.append(request)
        wanted = f"Proxy-Authorization: {self.authorization}".encode()
        if self.authorization is not None and wanted not in request.split(b"\r\n"):
            client.sendall(http(407, b""))
            return
        method, target, _ = request.split(b"\r\n", 1)[0].split()
        tunnel = method == b"CONNECT"
        host, _, port = target.removeprefix(b"http://").split(b"/")[0].rpartition(b":")
        with socket.create_connection((host.decode(), int(port))) as upstream:
            if tunnel:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream.sendall(request.replace(b"http://" + host + b":" + port, b"", 1))
            thread = threading.Thread(target=_relay, args=(client, upstream), daemon=True)
            thread.start()
            _relay(upstream, client)
            thread.join(5)


def _relay(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


# What is said.


def http(status: int, body: bytes, kind: str | None = "application/json", length: bool = True, **more: str) -> bytes:
    """An answer as a whole."""
    headers = {"Content-Type": kind} if kind else {}
    if length:
        headers["Content-Length"] = str(len(body))
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


END = chunk(b"")


def head(kind: str = "text/event-stream", status: int = 200, **more: str) -> bytes:
    """The head of a stream in chunks."""
    return http(status, b"", kind, length=False, Transfer_Encoding="chunked", **more)


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()) + b"\n\n"


def piece(text: str | None = None, reason: str | None = None, **delta: Any) -> bytes:
    delta = {"content": text, **delta} if text is not None else delta
    return event({"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


USAGE = event({"model": "m", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}})
DONE = event(b"[DONE]")


def events(*texts: str) -> list[bytes]:
    """The events of an answer."""
    return [*map(piece, texts), piece(reason="stop"), USAGE, DONE]


def stream(*texts: str) -> bytes:
    """An answer as a stream."""
    return head() + b"".join(map(chunk, events(*texts))) + END


def whole(text: str) -> bytes:
    """A JSON answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return json.dumps({"model": "m", "choices": [choice], "usage": usage}, ensure_ascii=False).encode()


# TLS.


@dataclass
class Authority:
    """A certificate authority of our own, for 127.0.0.1."""

    folder: Path

    def __post_init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("workbench test authority", self._key.public_key(), authority=True)

    def _sign(self, name: str, key: Any, authority: bool) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import NameOID

        day = datetime.timedelta(days=1)
        today = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workbench test authority")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - day)
            .not_valid_after(today + day)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def file(self) -> Path:
        """What a client is to trust."""
        from cryptography.hazmat.primitives.serialization import Encoding

        path = self.folder / "authority.pem"
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path

    def server(self) -> ssl.SSLContext:
        """What a server on 127.0.0.1 shows."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = ec.generate_private_key(ec.SECP256R1())
        path = self.folder / "server.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + self._sign("127.0.0.1", key.public_key(), authority=False).public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context
