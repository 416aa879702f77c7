"""A key that every fault repeats: it is sent to its endpoint, and is in no log, journal, table, record or message."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from byte_server import ByteServer, chunk, event, head, http
from conftest import environment, item, write_evalset, write_models
from recording_server import Recorded, RecordingServer
from test_client import attempt, endpoint
from test_redaction import files, text_of

from workbench.journal import to_record

KEY = "sk-canary-0123456789abcdef"
FAULTS = ["400", "401", "429", "500", "error_event"]
OTHERS = ["echo", "reset"]


def test_a_key_is_in_nothing_that_a_run_leaves_behind(project: Path, server: RecordingServer) -> None:
    name = f"key {KEY}"  # a model's own name may repeat it, too
    repeated = f"wrong key {KEY} in Authorization: Bearer {KEY}, {{'Authorization': 'Bearer {KEY}'}}"
    server.message = repeated
    server.extra, server.retry_after = {"X-Request": f"Bearer {KEY}"}, "1"
    server.fault = lambda body: "ok" if body["model"] == "echo" else str(body["model"])
    server.answer = lambda body: f"red {repeated} {name}"
    labels = ["public", "restricted", "internal"]
    write_evalset(project, "colors", [item(f"i{n}", sensitivity=labels[n]) for n in range(3)])
    entry = {"engine": "openai", "base_url": server.base_url, "api_key_env": "THE_KEY", "timeout_s": 0.5}
    entry |= {"zone": "private", "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}}
    write_models(project, **{f"m_{fault}": {**entry, "model": fault} for fault in FAULTS + OTHERS})
    done = subprocess.run(
        [sys.executable, "-c", QUICK],
        cwd=project,
        env={**environment(project), "THE_KEY": KEY, "WORKBENCH_PROGRESS": str(project / "progress.txt")},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 1 and "MLflow, run" in done.stdout, done.stdout + done.stderr
    assert {request.body["model"] for request in server.requests} == {*FAULTS, *OTHERS}
    assert all(request.headers["Authorization"] == f"Bearer {KEY}" for request in server.requests)
    found = files(project)
    names = {path.name for path in found}
    assert {"journal.sqlite", "outcomes.parquet", "mlflow.db", "run.json", "progress.txt"} <= names
    texts = {path: text_of(path) for path in found if path.exists()}  # reading a database takes its log away
    for secret in (KEY, KEY[:12], "Bearer ", base64.b64encode(KEY.encode()).decode()):
        assert [path for path, text in texts.items() if secret.encode() in text] == []
        assert secret not in done.stdout and secret not in done.stderr
    assert "[key]" in done.stdout  # it was there to be found


QUICK = """
import workbench.runner.ask as ask, workbench.flow as flow
ask._BACKOFF_S = ask._MAX_BACKOFF_S = flow._PAUSE_S = 0.001
ask.MAX_RETRIES_LIMITED = 2
from workbench.cli import main
raise SystemExit(main(["run"]))
"""

ANSWER: dict[str, Any] = {"choices": [{"index": 0, "message": {"content": "red"}, "finish_reason": "stop"}]}


def streamed(*pieces: dict[str, Any]) -> bytes:
    return head() + b"".join(chunk(event(each)) for each in pieces) + chunk(event(b"[DONE]")) + chunk(b"")


@pytest.mark.parametrize(
    "answer",
    [
        http(200, json.dumps({**ANSWER, "model": "x" * 190 + KEY}).encode()),
        http(200, json.dumps({**ANSWER, "model": "x" * 180 + "Bearer " + KEY}).encode()),
        http(200, json.dumps({"choices": [{"message": {"content": KEY}, "finish_reason": KEY}]}).encode()),
        http(401, b" " * 3990 + KEY.encode(), "text/plain"),
        http(401, b" " * 65_530 + KEY.encode(), "text/plain"),
        http(401, json.dumps({"error": {"message": "x" * 290 + KEY}}).encode()),
        http(401, json.dumps({"error": [KEY, {"a": f"Bearer {KEY}"}]}).encode()),
        http(401, json.dumps({KEY: KEY}).encode()),
        http(401, b"\xff" + KEY.encode() + b"\xfe"),
        streamed({"choices": [{"delta": {"content": KEY[:9]}}]}, {"choices": [{"delta": {"content": KEY[9:]}}]}),
        streamed({"error": {"message": f"Bearer {KEY}"}}),
        streamed({"error": KEY}),
        http(200, KEY.encode()),
        KEY.encode(),
        b"HTTP/1.1 200 " + KEY.encode() + b"\r\nContent-Type: " + KEY.encode() + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_key_is_in_no_attempt_wherever_the_server_repeats_it(answer: bytes) -> None:
    def reply(exchange: Any) -> None:
        exchange.send(answer)
        exchange.close()

    with ByteServer(reply) as server:
        found = attempt(endpoint(server.base_url, api_key=KEY))
    assert f"Authorization: Bearer {KEY}".encode() in server.requests[0]
    for secret in (KEY[:6], KEY[-6:], "Bearer"):
        assert secret not in to_record([found]) and secret not in repr(found)


def test_each_endpoint_is_shown_its_own_key_only(project: Path, server: RecordingServer) -> None:
    with RecordingServer() as other:
        entry = {"engine": "openai", "model": "m", "zone": "local"}
        write_evalset(project, "colors", [item("1"), item("2")])
        write_models(
            project,
            a={**entry, "base_url": server.base_url, "api_key_env": "KEY_A"},
            b={**entry, "base_url": other.base_url},
        )
        done = subprocess.run(
            [sys.executable, "-m", "workbench.cli", "run", "--no-track"],
            cwd=project,
            env={**environment(project), "KEY_A": KEY},
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0 and len(other.requests) == 2
        assert not any(KEY in request.text or "Authorization" in request.headers for request in other.requests)

    def shown(request: Recorded) -> bool:
        return request.headers["Authorization"] == f"Bearer {KEY}" and KEY not in json.dumps(request.body)

    assert all(map(shown, server.requests)) and len(server.requests) == 2
