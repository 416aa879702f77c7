"""The own wire: whatever bytes a server sends, in whatever pieces, each request ends once and as the right outcome."""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from byte_server import (
    DONE,
    END,
    USAGE,
    Authority,
    ByteServer,
    Exchange,
    ProxyServer,
    chunk,
    event,
    events,
    head,
    http,
    piece,
    stream,
    whole,
)
from conftest import item, write_evalset, write_models
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_server import RecordingServer
from test_client import BODY, attempt, endpoint

import workbench as wb
from workbench.client import Client, Endpoint
from workbench.client.reading import Reading
from workbench.client.wire import _Connection
from workbench.journal import Attempt
from workbench.privacy import Payload, gate

MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def attempts(target: Endpoint, count: int, at_once: int = 1, pause_s: float = 0.0) -> list[Attempt]:
    """So many requests by one client."""

    async def go() -> list[Attempt]:
        released = gate(Payload(BODY, ("public",)), target.destination)
        async with Client(target) as client:
            found: list[Attempt] = []
            for _ in range(count // at_once):
                found += await asyncio.gather(*(client.attempt(released) for _ in range(at_once)))
                await asyncio.sleep(pause_s)
            return found

    return asyncio.run(go())


def texts(found: list[Attempt]) -> list[str | None]:
    return [each.text for each in found]


def check_answer(found: Attempt, text: str = "red") -> None:
    assert (found.error_class, found.error, found.text) == (None, None, text)
    assert (found.finish_reason, found.input_tokens, found.output_tokens, found.served_model) == ("stop", 10, 2, "m")


# In pieces.


@pytest.mark.parametrize(
    "answer", [stream("gr\u00fcn, ", "\U0001f600 \u2013 ", "data: red"), http(200, whole("gr\u00fcn"))]
)
def test_an_answer_that_trickles_byte_by_byte_is_read_whole(answer: bytes) -> None:
    with ByteServer(lambda exchange: exchange.send(answer, piece=1, pause_s=0.0005)) as server:
        found = attempt(endpoint(server.base_url))
    check_answer(found, "gr\u00fcn, \U0001f600 \u2013 data: red" if b"data:" in answer else "gr\u00fcn")
    if found.ttft_s is not None:
        assert found.ttft_s < found.latency_s / 1.5  # the first of the three texts, not the end


ANSWERS = [
    stream("gr\u00fcn ", "\U0001f600", "", "data: [DONE]\n\n"),
    head() + b"".join(chunk(each.replace(b"\n", b"\r\n")) for each in events("red")) + END,
    head() + chunk(b": a comment\n\nevent: message\nid: 1\nretry: 7\n" + b"".join(events("r", "ed"))) + END,
    head()
    + chunk(b'data: {"choices": [{"delta": {"content": "r\xff\xfe"}}]}\n\n')
    + chunk(b"".join(events("d")))
    + END,
    http(200, whole("gr\u00fcn \U0001f600")),
    http(200, b"".join(events("red")), "text/event-stream; charset=utf-8"),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + stream("red"),
    http(429, b'{"error": {"message": "gr\xc3\xbcn"}}', Retry_After="3"),
    http(200, b"", Content_Encoding="gzip"),
    head() + chunk(piece("red")) + END,
    head() + chunk(b"data: {\n\n") + END,
]


def read(pieces: list[bytes]) -> tuple[Any, ...]:
    """What a connection makes of an answer's bytes."""

    class Transport(asyncio.Transport):
        def write(self, data: Any) -> None:
            pass

        def abort(self) -> None:
            pass

    async def go() -> tuple[Any, ...]:
        connection, reading = _Connection(), Reading(None)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.connection_made(Transport())
        connection.send(b"", reading, waiter)
        for each in pieces:
            if connection.open:
                connection.data_received(each)
        assert waiter.done()
        failure = waiter.exception()
        if failure is None:
            reading.ended()
        return (
            *(str(failure), "".join(reading.parts), reading.error_class, reading.error, reading.finish_reason),
            *(reading.input_tokens, reading.output_tokens, reading.served_model, reading.retry_after_s),
            *((reading.ttft_s is None), connection.whole, connection.open),
        )

    return asyncio.run(go())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 2000), max_size=40))
def test_however_an_answer_is_cut_into_pieces_it_is_the_same(answer: bytes, cuts: list[int]) -> None:
    ends = sorted({cut % (len(answer) + 1) for cut in cuts} | {0, len(answer)})
    pieces = [answer[start:end] for start, end in itertools.pairwise(ends)]
    assert read(pieces) == read([answer])


@pytest.mark.parametrize("number", range(len(ANSWERS)))
def test_and_so_it_is_byte_by_byte(number: int) -> None:
    answer = ANSWERS[number]
    assert read([answer[n : n + 1] for n in range(len(answer))]) == read([answer])


# Sizes.


@pytest.mark.parametrize("lines", [1, 200])
def test_an_answer_of_ten_megabytes_is_taken(lines: int) -> None:
    text = "gr\u00fcn " * (10 * MIB // lines // 6)
    answer = stream(*[text] * lines)
    with ByteServer(lambda exchange: exchange.send(answer)) as server:
        check_answer(attempt(endpoint(server.base_url)), text * lines)
        answer = http(200, whole(text))
        check_answer(attempt(endpoint(server.base_url)), text)


@pytest.mark.parametrize("kind", ["lines", "line", "whole"])
def test_an_answer_of_seventeen_megabytes_is_refused_and_its_connection_closed(kind: str) -> None:
    text = "x" * MIB
    pieces = {
        "lines": [head(), *(chunk(piece(text)) for _ in range(17)), chunk(piece(reason="stop")), chunk(DONE), END],
        "line": [head(), chunk(b"data: "), *(chunk(b"x" * MIB) for _ in range(17)), END],
        "whole": [http(200, whole("x" * 17 * MIB))],
    }[kind]
    gone: list[bool] = []

    def reply(exchange: Exchange) -> None:
        sent = all(exchange.send(each) for each in pieces)
        gone.append(not sent or exchange.gone())
        exchange.close()

    with ByteServer(reply) as server:
        found = attempts(endpoint(server.base_url), 1, pause_s=1.0)[0]
        assert (found.error_class, found.text) == ("protocol", None) and "16 MiB" in str(found.error)
    assert gone == [True]


@pytest.mark.parametrize(
    "endless",
    [
        lambda: (b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(100_000)),
        lambda: (b"y" * 1000 for _ in range(100_000)),  # a single header that never ends
        lambda: (b"\r\n\r\nHTTP/1.1 100 Continue\r\nX: " + b"y" * 1000 for _ in range(100_000)),
    ],
    ids=["headers", "a header", "1xx"],
)
def test_headers_without_an_end_are_refused(endless: Any) -> None:
    sent = 0

    def reply(exchange: Exchange) -> None:
        nonlocal sent
        exchange.send(b"HTTP/1.1 100 Continue\r\nX: ")
        for each in endless():
            if not exchange.send(each):
                break
            sent += len(each)
        exchange.close()

    with ByteServer(reply) as server:
        found = attempt(endpoint(server.base_url, timeout_s=20.0))
    assert (found.error_class, found.error) == ("protocol", "the answer's headers have no end")
    assert found.latency_s < 10 and sent < 20 * MIB


# Fields.


def through_a_run(project: Path, server: RecordingServer, fault: str) -> tuple[wb.Run, Any]:
    server.fault = fault
    write_evalset(project, "colors", [item("1")])
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
    write_models(
        project,
        far={"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": price},
    )
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    return run, run.outcomes.iloc[0]


def test_a_call_of_a_tool_is_an_empty_answer_that_is_paid(project: Path, server: RecordingServer) -> None:
    run, row = through_a_run(project, server, "tool_calls")
    assert (row["error_class"], row["output"], row["format_ok"], row["score"]) == (None, "", False, 0)
    assert (row["attempts"], row["cost_usd"], run.status) == (1, pytest.approx(30e-6), "complete")


def test_reasoning_is_no_part_of_the_answer(project: Path, server: RecordingServer) -> None:
    _, row = through_a_run(project, server, "reasoning")
    assert (row["error_class"], row["output"], row["score"], row["attempts"]) == (None, "red", 1, 1)


def test_another_model_than_the_one_asked_for_is_recorded_and_told(project: Path, server: RecordingServer) -> None:
    run, row = through_a_run(project, server, "other_model")
    assert (row["served_model"], run.status, run.problems) == ("another-model", "complete", [])
    assert "far: asked for as m, answered by another-model (1)" in run.notes


def test_the_model_asked_for_is_not_worth_a_note(project: Path, server: RecordingServer) -> None:
    assert through_a_run(project, server, "ok")[0].notes == []


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        (http(200, b"".join(events("red")), "application/json"), "protocol"),
        (http(200, b"".join(events("red")), "text/plain"), "protocol"),
        (http(200, whole("red"), "text/event-stream"), "protocol"),
        (http(200, b"\x89PNG", "image/png"), "protocol"),
        (http(200, b"", None), "protocol"),
        (http(200, whole("red"), None), None),
        (http(200, whole("red"), "text/html"), None),  # it is what was asked for, whatever it is called
        (http(200, b'{"choices": [null]}'), "protocol"),
        (http(200, b'{"choices": {"a": 1}}'), "protocol"),
        (http(200, b'{"choices": ["red"]}'), "protocol"),
        (http(200, b'{"choices": [{"text": "red"}]}'), "protocol"),  # the older protocol's
        (http(200, b'[{"choices": []}]'), "protocol"),
        (http(200, b'"red"'), "protocol"),
        (http(204, b""), "bad_request"),
        (head() + chunk(event(b"[1]")) + END, "protocol"),
        (head() + chunk(event({"choices": [None]}) + DONE) + END, "protocol"),
        (head() + chunk(event({"choices": 7}) + DONE) + END, "protocol"),
    ],
)
def test_what_is_no_answer_is_none(answer: bytes, error_class: str | None) -> None:
    with ByteServer(lambda exchange: exchange.send(answer)) as server:
        found = attempt(endpoint(server.base_url))
    assert found.error_class == error_class
    assert found.text == ("red" if error_class is None else None)


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP"])
def test_a_compressed_answer_was_not_asked_for(coding: str) -> None:
    answer = http(200, gzip.compress(whole("red")), Content_Encoding=coding)
    with ByteServer(lambda exchange: exchange.send(answer)) as server:
        found = attempt(endpoint(server.base_url))
    assert b"accept-encoding" not in server.requests[0].lower()
    assert (found.error_class, found.text) == ("protocol", None) and "compressed" in str(found.error)


# Times.


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nX", head(), head() + chunk(piece("re")), stream("red")[:-20].replace(DONE, b"")]
)
def test_a_stalled_answer_ends_with_the_models_own_time(said: bytes) -> None:
    gone: list[bool] = []

    def reply(exchange: Exchange) -> None:
        exchange.send(said)
        gone.append(exchange.gone())

    with ByteServer(reply) as server:
        found = attempt(endpoint(server.base_url, timeout_s=0.3))
        assert (found.error_class, found.error, found.text) == ("timeout", "no answer within 0.3 s", None)
        assert 0.3 <= found.latency_s < 1.0
        until = time.monotonic() + 5
        while not gone and time.monotonic() < until:
            time.sleep(0.01)
    assert gone == [True]  # nobody goes on computing for it


def test_an_answer_that_trickles_for_too_long_ends_with_the_models_own_time() -> None:
    def reply(exchange: Exchange) -> None:
        exchange.send(head())
        while exchange.send(chunk(piece("x"))):
            exchange.wait(0.02)
        exchange.close()

    with ByteServer(reply) as server:
        found = attempt(endpoint(server.base_url, timeout_s=0.3))
    assert found.error_class == "timeout" and found.latency_s < 1.0 and found.ttft_s is not None


def test_the_end_of_the_stream_is_not_waited_for_once_the_answer_has_ended() -> None:
    def reply(exchange: Exchange) -> None:
        exchange.send(head() + b"".join(map(chunk, events("red"))))
        exchange.wait(0.4)
        exchange.send(END)

    with ByteServer(reply) as server:
        found = attempts(endpoint(server.base_url), 4)
        assert texts(found) == ["red"] * 4 and max(each.latency_s for each in found) < 0.3


def test_what_comes_behind_the_end_of_an_answer_is_no_part_of_the_next() -> None:
    def reply(exchange: Exchange) -> None:
        said = b"".join(map(chunk, events(f"{len(server.requests)}")))
        exchange.send(head() + said)
        exchange.wait(0.05)
        exchange.send(chunk(piece("late")) + chunk(DONE) + END)

    with ByteServer(reply) as server:
        assert texts(attempts(endpoint(server.base_url), 6, pause_s=0.1)) == ["1", "2", "3", "4", "5", "6"]


def test_a_long_answer_on_a_kept_connection_outlives_the_end_of_the_one_before() -> None:
    """The first answer's end comes late; what waits for it must not end the answer that came after."""

    def reply(exchange: Exchange) -> None:
        if exchange.number % 2 == 0:
            exchange.send(head() + b"".join(map(chunk, events("red"))))
            exchange.wait(0.02)
            exchange.send(END)
        else:
            exchange.send(head() + chunk(piece("re")))
            exchange.wait(1.3)
            exchange.send(b"".join(map(chunk, events("d"))) + END)

    with ByteServer(reply) as server:
        found = attempts(endpoint(server.base_url), 3, pause_s=0.1)
        assert texts(found) == ["red"] * 3 and server.connections == 1
        assert max(each.latency_s for each in found) > 1.2


# Connections.


def test_connections_that_a_server_keeps_are_used_again() -> None:
    with ByteServer(lambda exchange: exchange.send(stream("red"))) as server:
        assert texts(attempts(endpoint(server.base_url), 40, at_once=4, pause_s=0.02)) == ["red"] * 40
        assert 4 <= server.connections <= 16 and len(server.requests) == 40


@pytest.mark.parametrize("answer", [stream("red"), http(200, whole("red"))])
def test_a_server_that_closes_after_each_answer_without_a_word_loses_no_request(answer: bytes) -> None:
    def reply(exchange: Exchange) -> None:
        exchange.send(answer)
        exchange.close()

    with ByteServer(reply) as server:
        assert texts(attempts(endpoint(server.base_url), 60, at_once=3)) == ["red"] * 60
        assert texts(attempts(endpoint(server.base_url), 10, pause_s=0.06)) == ["red"] * 10
        assert server.connections == len(server.requests) == 70


def test_a_connection_that_the_server_gave_up_meanwhile_is_not_used() -> None:
    def reply(exchange: Exchange) -> None:
        exchange.send(stream("red"))
        if exchange.number:
            exchange.wait(0.1)
            exchange.close()

    with ByteServer(reply) as server:
        assert texts(attempts(endpoint(server.base_url), 5, pause_s=0.2)) == ["red"] * 5


def test_a_server_that_says_that_it_closes_is_believed() -> None:
    answer = head(Connection="close") + b"".join(map(chunk, events("red"))) + END
    with ByteServer(lambda exchange: exchange.send(answer)) as server:  # though it does not
        assert texts(attempts(endpoint(server.base_url), 6, pause_s=0.06)) == ["red"] * 6
        assert server.connections == 6


@pytest.mark.parametrize("kind", ["stream", "whole"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_without_a_length_ends_with_its_connection(kind: str, version: bytes) -> None:
    body = b"".join(events("red")) if kind == "stream" else whole("red")
    said = http(200, body, "text/event-stream" if kind == "stream" else "application/json", length=False)

    def reply(exchange: Exchange) -> None:
        exchange.send(said.replace(b"HTTP/1.1", b"HTTP/" + version))
        exchange.close()

    with ByteServer(reply) as server:
        found = attempts(endpoint(server.base_url), 4)
        assert texts(found) == ["red"] * 4 and server.connections == 4


@pytest.mark.parametrize(
    ("said", "error_class"),
    [
        (b"", "disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "disconnected"),
        (http(200, whole("red"))[:-5], "disconnected"),
        (head() + chunk(piece("re")), "disconnected"),
        (http(200, b"".join(events("red"))[:90], "text/event-stream", length=False), "protocol"),
        (http(200, whole("red")[:50], length=False), "protocol"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "protocol"),
    ],
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_answer_that_breaks_off_or_is_none_is_no_answer(said: bytes, error_class: str, end: str) -> None:
    def reply(exchange: Exchange) -> None:
        exchange.send(said)
        exchange.wait(0.05)
        getattr(exchange, end)()

    with ByteServer(reply) as server:
        found = attempts(endpoint(server.base_url, timeout_s=5.0), 2)
    unbounded = said.startswith(b"HTTP/1.1 200 Told") and b"Length" not in said and b"Transfer" not in said
    expected = "disconnected" if end == "reset" and unbounded else error_class
    assert [each.error_class for each in found] == [expected] * 2


def test_an_answer_whose_end_is_missing_is_an_answer_all_the_same() -> None:
    def reply(exchange: Exchange) -> None:
        exchange.send(head() + b"".join(map(chunk, events("red"))))
        exchange.reset()

    with ByteServer(reply) as server:
        check_answer(attempt(endpoint(server.base_url)))


@pytest.mark.parametrize("extra", [stream("stolen"), http(204, b""), b"HTTP/1.1 200 OK\r\nX", b"\n"])
@pytest.mark.parametrize("pause_s", [0.0, 0.03])
def test_what_a_server_says_unasked_is_nobodys_answer(extra: bytes, pause_s: float) -> None:
    def reply(exchange: Exchange) -> None:
        answer = stream(f"{len(server.requests)}")
        if pause_s:
            exchange.send(answer)
            exchange.wait(pause_s)
            exchange.send(extra)
        else:
            exchange.send(answer + extra)

    with ByteServer(reply) as server:
        found = attempts(endpoint(server.base_url), 4, pause_s=0.1)
        assert texts(found) == ["1", "2", "3", "4"]


def test_a_connection_on_which_a_server_begins_to_speak_unasked_is_not_used_again() -> None:
    begun = stream("stolen")
    cut = begun.index(b"\r\n\r\n") + 4

    def reply(exchange: Exchange) -> None:
        rest = begun[cut:] if exchange.number else b""  # what it began behind its last answer
        exchange.send(rest + stream(f"{len(server.requests)}") + begun[:cut])

    with ByteServer(reply) as server:
        assert texts(attempts(endpoint(server.base_url), 4, pause_s=0.1)) == ["1", "2", "3", "4"]
        assert server.connections == 4


# TLS and proxies.


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secured(authority: Authority) -> Iterator[ByteServer]:
    with ByteServer(lambda exchange: exchange.send(stream("red")), authority.server()) as server:
        yield server


def test_a_certificate_that_nobody_vouches_for_is_refused(secured: ByteServer) -> None:
    found = attempt(endpoint(secured.base_url))
    assert found.error_class == "connection" and "TLS" in str(found.error) and secured.requests == []


def test_a_certificate_of_an_authority_that_is_trusted_is_taken(
    secured: ByteServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    found = attempts(endpoint(secured.base_url), 12, pause_s=0.01)
    assert texts(found) == ["red"] * 12 and secured.connections < 12


def test_a_certificate_for_another_host_is_refused(
    secured: ByteServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    found = attempt(endpoint(secured.base_url.replace("127.0.0.1", "127.0.0.2")))
    assert found.error_class == "connection" and secured.requests == []


LOGIN = f"Basic {base64.b64encode(b'us er:pa:ss@').decode()}"


def through(monkeypatch: pytest.MonkeyPatch, proxy: ProxyServer, login: str = "us%20er:pa%3Ass%40@") -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://{login}{proxy.address}")


def test_a_hosted_http_endpoint_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with ByteServer(lambda exchange: exchange.send(stream("red"))) as server, ProxyServer(LOGIN) as proxy:
        through(monkeypatch, proxy)
        found = attempts(endpoint(server.base_url, zone="hosted", api_key="sk-1"), 3)
        assert texts(found) == ["red"] * 3
    assert len(server.requests) == 3 and len(proxy.requests) >= 1
    first = proxy.requests[0].split(b"\r\n")[0].decode()
    assert first == f"POST {server.base_url}/chat/completions HTTP/1.1"


def test_a_hosted_https_endpoint_is_asked_through_a_tunnel(
    secured: ByteServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with ProxyServer(LOGIN) as proxy:
        through(monkeypatch, proxy)
        found = attempts(endpoint(secured.base_url, zone="hosted", api_key="sk-1"), 8, pause_s=0.02)
        assert texts(found) == ["red"] * 8
        assert len(proxy.requests) < 8  # tunnels are kept, too
    for request in proxy.requests:
        assert request.startswith(f"CONNECT 127.0.0.1:{secured.port} HTTP/1.1\r\n".encode())
        assert b"sk-1" not in request and b"Hi" not in request
    for request in secured.requests:
        assert b"Proxy-Authorization" not in request and b"Authorization: Bearer sk-1" in request


@pytest.mark.parametrize("login", ["", "wrong:wrong@"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_that_refuses_is_told_without_its_password(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, login: str, tls: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    context = authority.server() if tls else None
    with ByteServer(lambda exchange: exchange.send(stream("red")), context) as server, ProxyServer(LOGIN) as proxy:
        through(monkeypatch, proxy, login)
        found = attempt(endpoint(server.base_url, zone="hosted"))
    assert server.requests == [] and found.text is None and "HTTP 407" in str(found.error)
    assert found.error_class == ("connection" if tls else "bad_request") and "wrong" not in str(found.error)


def test_a_tunnel_whose_far_end_says_nothing_is_a_lost_connection(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with ByteServer(lambda exchange: exchange.close(), authority.server()) as server, ProxyServer() as proxy:
        through(monkeypatch, proxy, "")
        found = attempt(endpoint(server.base_url, zone="hosted"))
    assert (found.error_class, found.error) == ("disconnected", "connection lost (closed by the server)")


def test_a_tunnel_to_a_certificate_that_nobody_vouches_for_is_refused(
    secured: ByteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProxyServer() as proxy:
        through(monkeypatch, proxy, "")
        found = attempt(endpoint(secured.base_url, zone="hosted"))
    assert found.error_class == "connection" and "TLS" in str(found.error) and secured.requests == []


@pytest.mark.parametrize("zone", ["local", "private"])
@pytest.mark.parametrize("tls", [False, True])
def test_inside_no_proxy_is_ever_used(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, zone: str, tls: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    context = authority.server() if tls else None
    with ByteServer(lambda exchange: exchange.send(stream("red")), context) as server, ProxyServer() as proxy:
        through(monkeypatch, proxy, "")
        monkeypatch.setenv("all_proxy", f"http://{proxy.address}")
        assert texts(attempts(endpoint(server.base_url, zone=zone), 3)) == ["red"] * 3
        assert proxy.connections == 0 and len(server.requests) == 3


def test_a_host_that_the_environment_exempts_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    with ByteServer(lambda exchange: exchange.send(stream("red"))) as server, ProxyServer() as proxy:
        through(monkeypatch, proxy, "")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert attempt(endpoint(server.base_url, zone="hosted")).text == "red"
        assert proxy.connections == 0


def test_a_request_is_sent_once_and_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with ByteServer(lambda exchange: exchange.send(stream("red"))) as server:
        check_answer(attempt(endpoint(server.base_url, api_key="sk-1")))
    (request,) = server.requests
    first, *lines = request.split(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "POST /v1/chat/completions HTTP/1.1" and headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["Authorization"] == "Bearer sk-1" and json.loads(request.split(b"\r\n\r\n")[1]) == BODY
    assert len(headers) == len(lines) and int(headers["Content-Length"]) == len(request.split(b"\r\n\r\n")[1])
    assert USAGE in stream("red")
