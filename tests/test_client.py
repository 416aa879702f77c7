"""One attempt: what each fault ends as, how often it is retried, and what is never sent anywhere."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import item, write_evalset, write_models
from recording_server import INPUT_TOKENS, OUTPUT_TOKENS, RecordingServer

import workbench as wb
from workbench.client import Client, Endpoint, check_literal, preflight
from workbench.errors import InputError
from workbench.journal import Attempt
from workbench.privacy import Destination, Payload, gate
from workbench.runner import Run
from workbench.runner.ask import MAX_RETRIES, MAX_RETRIES_LIMITED

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
KEY = "sk-canary-0123456789abcdef"
ALL = 1 + MAX_RETRIES


def endpoint(base_url: str, **changes: Any) -> Endpoint:
    destination = Destination("m", changes.pop("zone", "local"), base_url, changes.pop("private_hosts", ()))
    return Endpoint(destination, "m", {}, "m", frozenset(), **changes)


async def _attempt(target: Endpoint) -> Attempt:
    async with Client(target) as client:
        return await client.attempt(gate(Payload(BODY, ("public",)), target.destination))


def attempt(target: Endpoint) -> Attempt:
    return asyncio.run(_attempt(target))


def run_one(project: Path, server: RecordingServer, **entry: Any) -> tuple[Run, pd.Series[Any]]:
    """Ask one item through the runner; the run and its outcome."""
    write_evalset(project, "colors", [item("1")])
    write_models(project, m={"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url, **entry})
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    assert len(run.outcomes) == 1
    return run, run.outcomes.iloc[0]


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)


@pytest.mark.parametrize(
    ("fault", "error_class", "attempts"),
    [
        ("429", "rate_limit", MAX_RETRIES_LIMITED + 1),
        ("500", "server", ALL),
        ("503", "server", ALL),
        ("408", "timeout", ALL),
        ("reset", "disconnected", ALL),
        ("truncated_json", "protocol", ALL),
        ("truncated_event", "protocol", ALL),
        ("short_stream", "protocol", ALL),
        ("empty_choices", "protocol", ALL),
        ("empty_choices_stream", "protocol", ALL),
        ("html", "protocol", ALL),
        ("deep_json", "protocol", ALL),
        ("error_event", "server", ALL),
        ("400", "bad_request", 1),
        ("401", "auth", 1),
        ("404", "not_found", 1),
        ("413", "context_length", 1),
        ("redirect", "bad_request", 1),
        ("refusal", "refusal", 1),
        ("content_filter", "content_policy", 1),
    ],
)
def test_a_fault_has_its_class_and_its_number_of_attempts(
    project: Path, server: RecordingServer, no_backoff: None, fault: str, error_class: str, attempts: int
) -> None:
    server.fault = fault
    run, row = run_one(project, server)
    assert (row["error_class"], row["attempts"], len(server.requests)) == (error_class, attempts, attempts)
    assert row["output"] is None and pd.isna(row["score"]) and not row["accepted"]
    assert run.status == "failed" and run.asked == attempts
    assert any(f"1 {error_class}" in problem for problem in run.problems)


@pytest.mark.parametrize("fault", ["429", "500", "reset", "truncated_json", "short_stream"])
def test_an_answer_after_a_passing_fault_counts(
    project: Path, server: RecordingServer, no_backoff: None, fault: str
) -> None:
    server.faults = [fault, fault]
    run, row = run_one(project, server)
    assert (row["error_class"], row["attempts"], row["output"], run.status) == (None, 3, "red", "complete")


def test_a_stalled_answer_times_out_and_is_asked_again(
    project: Path, server: RecordingServer, no_backoff: None
) -> None:
    server.faults = ["stall"]
    _, row = run_one(project, server, timeout_s=1.5)
    assert (row["error_class"], row["attempts"], row["output"]) == (None, 2, "red")
    assert row["latency_s"] >= 1.5


def test_a_closed_port_is_a_connection_error(project: Path, no_backoff: None) -> None:
    with RecordingServer() as gone:
        pass
    _, row = run_one(project, gone)
    assert (row["error_class"], row["attempts"]) == ("connection", ALL)


@pytest.mark.parametrize("retry_after", ["1", "1 "])
def test_the_wait_that_a_server_asks_for_is_kept(
    project: Path, server: RecordingServer, no_backoff: None, retry_after: str
) -> None:
    server.faults, server.retry_after = ["429"], retry_after
    run_one(project, server)
    first, second = server.requests
    assert second.at - first.at >= 1


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("Fri, 01 Jan 2100 00:00:00 GMT", 1e9, 1e10), ("Sat, 01 Jan 2000 00:00:00 GMT", 0, 0), ("12", 12, 12)],
)
def test_a_wait_may_be_stated_as_a_date(server: RecordingServer, header: str, low: float, high: float) -> None:
    server.fault, server.retry_after = "429", header
    found = attempt(endpoint(server.base_url)).retry_after_s
    assert found is not None and low <= found <= high


@pytest.mark.parametrize("header", ["soon", "-1", "1e9", "\u00b2", None])
def test_a_wait_that_makes_no_sense_is_none(server: RecordingServer, header: str | None) -> None:
    server.fault, server.retry_after = "429", header
    found = attempt(endpoint(server.base_url))
    assert (found.error_class, found.retry_after_s) == ("rate_limit", None)


def test_an_answer_that_is_not_streamed_is_read_whole(server: RecordingServer) -> None:
    server.fault = "whole"
    found = attempt(endpoint(server.base_url))
    assert (found.text, found.finish_reason, found.ttft_s) == ("red", "stop", None)
    assert (found.input_tokens, found.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


def test_a_streamed_answer_has_usage_and_a_first_token(server: RecordingServer) -> None:
    found = attempt(endpoint(server.base_url))
    assert found.text == "red" and found.served_model == "m"
    assert (found.input_tokens, found.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert found.ttft_s is not None and 0 < found.ttft_s <= found.latency_s


@pytest.mark.parametrize("fault", ["null_usage", "absurd_usage"])
def test_tokens_that_a_server_does_not_tell_are_unknown_and_so_is_the_cost(
    project: Path, server: RecordingServer, fault: str
) -> None:
    server.fault = fault
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}
    _, row = run_one(project, server, zone="hosted", price=price)
    assert row["error_class"] is None and row["score"] == 1
    assert pd.isna(row["input_tokens"]) and pd.isna(row["output_tokens"]) and pd.isna(row["cost_usd"])


@pytest.mark.parametrize(
    ("fault", "text"), [("invalid_utf8", "r\ufffd\ufffdd"), ("lone_surrogate", "\U0001f600 \ufffd")]
)
def test_broken_text_is_replaced_and_can_be_stored(
    project: Path, server: RecordingServer, fault: str, text: str
) -> None:
    server.fault = fault
    run, row = run_one(project, server)
    assert row["output"] == text
    assert wb.read_outcomes(run.path / "outcomes.parquet")["output"].tolist() == [text]


def test_the_model_that_really_answered_is_recorded(project: Path, server: RecordingServer) -> None:
    server.fault = "other_model"
    _, row = run_one(project, server)
    assert (row["model"], row["served_model"]) == ("m", "another-model")


@pytest.mark.parametrize("padding", [0, 285])
def test_a_key_is_sent_and_told_to_nobody(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, padding: int
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    server.fault, server.message = "401", "x" * padding + f" the key {KEY} is wrong"
    run, row = run_one(project, server, api_key_env="THE_KEY")
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    told = repr(run) + repr(run.problems) + row["error"] + repr(endpoint(server.base_url, api_key=KEY))
    assert KEY[:8] not in told and "HTTP 401" in row["error"]


def test_a_redirect_is_not_followed(project: Path, server: RecordingServer) -> None:
    with RecordingServer() as elsewhere:
        server.fault, server.location = "redirect", f"{elsewhere.base_url}/chat/completions"
        _, row = run_one(project, server)
    assert elsewhere.requests == [] and "redirect" in row["error"]


def test_only_what_was_released_for_this_endpoint_is_sent(server: RecordingServer) -> None:
    here = endpoint(server.base_url)
    other = gate(Payload(BODY, ("public",)), Destination("m", "local", "http://127.0.0.1:1/v1"))

    async def send() -> None:
        async with Client(here) as client:
            await client.attempt(other)

    with pytest.raises(ValueError, match="released for"):
        asyncio.run(send())
    assert server.requests == []


@pytest.mark.parametrize(
    ("zone", "host"),
    [
        ("private", "8.8.8.8"),
        ("private", "134744072"),  # the same address
        ("private", "8.526344"),
        ("private", "[2001:4860:4860::8888]"),
        ("private", "[::ffff:8.8.8.8]"),
        ("local", "10.0.0.1"),
        ("local", "0.0.0.0"),
        ("local", "[fd00::1]"),
    ],
)
def test_an_address_outside_its_zone_is_refused_before_anything_is_sent(project: Path, zone: str, host: str) -> None:
    with pytest.raises(InputError, match=f"zone {zone}"):
        Client(endpoint(f"http://{host}:9/v1", zone=zone))
    write_evalset(project, "colors", [item("1")])
    write_models(project, m={"engine": "openai", "model": "m", "zone": zone, "base_url": f"http://{host}:9/v1"})
    with pytest.raises(InputError, match=f"zone {zone}"):
        wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)


@pytest.mark.parametrize(
    ("zone", "host"), [("local", "127.0.0.1"), ("local", "[::1]"), ("private", "10.1.2.3"), ("hosted", "8.8.8.8")]
)
def test_an_address_inside_its_zone_is_taken(zone: str, host: str) -> None:
    check_literal(endpoint(f"http://{host}:9/v1", zone=zone).destination)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let the name model.test resolve to these addresses, one after another; the last one stays."""
    real, left = socket.getaddrinfo, list(addresses)

    def fake(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "model.test" or more.get("flags", 0) & socket.AI_NUMERICHOST:
            return real(host, port, *args, **more)
        return real(left.pop(0) if len(left) > 1 else left[0], port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", fake)


@pytest.mark.parametrize(("zone", "address"), [("local", "192.168.0.9"), ("private", "93.184.215.14")])
def test_a_name_outside_its_zone_is_refused_when_it_connects(
    monkeypatch: pytest.MonkeyPatch, zone: str, address: str
) -> None:
    resolve_to(monkeypatch, address)
    target = endpoint("http://model.test:9/v1", zone=zone)
    with pytest.raises(InputError, match=f"zone {zone}: model.test is {address}"):
        attempt(target)
    with pytest.raises(InputError, match=f"zone {zone}"):
        preflight(target.destination)


def test_a_name_that_resolves_into_its_zone_is_asked(server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.1")
    assert attempt(endpoint(server.base_url.replace("127.0.0.1", "model.test"))).text == "red"


def test_a_name_that_leaves_its_zone_after_the_plan_fails_the_model_in_one_line(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(6)])
    write_models(
        project,
        moved={"engine": "openai", "model": "m", "zone": "private", "base_url": "http://model.test:9/v1"},
        m={"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url},
    )
    resolve_to(monkeypatch, "10.0.0.1", "93.184.215.14")
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    assert run.status == "failed" and set(run.outcomes["model"]) == {"m"} and len(run.outcomes) == 6
    assert [problem for problem in run.problems if "zone private: model.test is 93.184.215.14" in problem]


def test_a_listed_host_may_have_a_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "93.184.215.14")
    target = endpoint("http://model.test:9/v1", zone="private", private_hosts=("model.test",))
    preflight(target.destination)


@pytest.mark.parametrize("zone", ["local", "private"])
def test_no_proxy_is_used_inside(server: RecordingServer, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    with RecordingServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert attempt(endpoint(server.base_url, zone=zone)).text == "red"
    assert proxy.requests == [] and len(server.requests) == 1


@pytest.mark.parametrize(
    ("capabilities", "sent"),
    [
        ([], {"max_tokens"}),
        (None, {"max_tokens", "stream_options", "temperature", "stop"}),  # what any OpenAI server takes
        (["seed", "json_schema"], {"max_tokens", "seed", "response_format"}),
        (["max_completion_tokens"], {"max_completion_tokens"}),
        (["temperature"], {"max_tokens", "temperature"}),
    ],
)
def test_only_what_is_declared_is_sent(
    project: Path, server: RecordingServer, capabilities: list[str] | None, sent: set[str]
) -> None:
    folder = write_evalset(
        project,
        "colors",
        [item("1")],
        output={"json_schema": "schema.json"},
        scorers=[{"type": "label", "field": "label"}],
        generation={"temperature": 0, "max_tokens": 4, "seed": 7, "stop": ["\n"]},
    )
    (folder / "schema.json").write_text('{"type": "object", "properties": {"label": {"type": "string"}}}')
    entry = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url}
    write_models(project, m=entry if capabilities is None else {**entry, "capabilities": capabilities})
    server.answer = lambda body: '{"label": "red"}'
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    body = server.requests[0].body
    assert set(body) - {"model", "messages", "stream"} == sent
    assert body["model"] == "m" and body["stream"] is True and run.outcomes["score"].tolist() == [1.0]
