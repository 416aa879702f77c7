"""Tracking servers: one that works, that is not there, that never answers, and that dies in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import free_port
from browser import server as served
from recording_server import RecordingServer
from tracked import CANARY, THINGS, of_mlflow, planted_run

from workbench.cli import main
from workbench.runner import Run
from workbench.tracking import champion, local_uri, pair_link, register
from workbench.tracking import runs as runs_module
from workbench.tracking.links import link_lines

LOST_S = 60.0  # after it was lost, with what is then logged here
QUICK_S = 20.0  # of a whole run whose server is gone; MLflow's own limits are minutes


def local_runs() -> list[str]:
    """Names of the runs in the project's own store."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=local_uri())
    found = client.search_runs([client.get_experiment_by_name("workbench").experiment_id])
    return [run.info.run_name for run in found]


def assert_kept_here(run: Run, project: Path, address: str) -> None:
    """A run that its server did not take is on disk, and in the project's own store, and says so."""
    (problem,) = of_mlflow(run)
    assert problem.startswith(f"MLflow: not logged to {address} (") and ".workbench/runs/" in problem
    assert "logged to mlruns/mlflow.db instead" in problem and "workbench ui --local" in problem
    assert run.status == "complete" and (run.path / "outcomes.parquet").is_file()
    assert {"strong", "weak", "rules"} <= set(local_runs())
    assert run.links["pair"].startswith("http://127.0.0.1:5000/")
    told = "MLflow: 'workbench ui --local' serves its pages, and has to run when they are opened"
    assert link_lines(run.links)[0] == told


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(listening.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for each in held:
            each.close()


def test_a_server_that_is_not_there_costs_seconds_and_no_run(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:hush@127.0.0.1:{port}")
    began = time.monotonic()
    run = planted_run(project, server)
    assert time.monotonic() - began < QUICK_S
    assert_kept_here(run, project, f"http://127.0.0.1:{port}")
    assert "hush" not in repr(run.problems)
    assert not [name for name in os.environ if name.startswith("MLFLOW_HTTP_REQUEST")]  # the limits were ours alone


@pytest.mark.slow
def test_nor_does_one_that_accepts_and_never_answers(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    began = time.monotonic()
    run = planted_run(project, server)
    assert time.monotonic() - began < QUICK_S
    assert_kept_here(run, project, silent)


def test_ui_says_where_a_servers_pages_are(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:hush@mlflow.example/base/")
    assert main(["ui"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("MLflow: https://mlflow.example/base ") and "hush" not in said


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """MLflow's own server over HTTP, which keeps the artifacts itself; its address and process group."""
    root, port = tmp_path / "remote", free_port()
    root.mkdir()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{root}/far.db", "--artifacts-destination", str(root / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with served(command, root, f"{address}/health", **quiet) as group:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield address, group


@pytest.mark.slow
def test_a_server_has_all_of_a_run_by_its_address_alone(
    project: Path, server: RecordingServer, remote: tuple[str, int], tmp_path: Path
) -> None:
    import mlflow

    address, _ = remote
    run = planted_run(project, server)
    assert of_mlflow(run) == []
    assert all(link.startswith(f"{address}/#/") for link in run.links.values() if link.startswith("http"))
    assert not (project / "mlruns" / "mlflow.db").exists()
    client = mlflow.MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("workbench").experiment_id
    for run_id in run.tracked.values():
        traces = client.search_traces(locations=[experiment], run_id=run_id)
        assert len(traces) == len(THINGS) + 1 and all(len(trace.data.spans) == 1 for trace in traces)
        assert {"score", "accepted", "expected_response"} <= {each.name for each in traces[0].info.assessments}
    assert [each.path for each in client.list_artifacts(run.links["run_id"], "figures")] == ["figures/tradeoff.png"]
    again = planted_run(project, server)
    assert again.links == run.links and again.tracked == run.tracked and again.asked == 0
    assert pair_link(again, "weak", "rules").startswith(address)
    assert register(run.policy) == "1" and register(run.policy) == "1"
    assert champion() == run.policy
    kept = [path for path in (tmp_path / "remote").rglob("*") if path.is_file()]
    assert any(path.name == "tradeoff.png" for path in kept)
    assert not any(CANARY.encode() in path.read_bytes() for path in kept)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
@pytest.mark.parametrize("place", ["traces", "artifacts"])
def test_a_server_that_is_lost_in_the_middle_loses_nothing(
    project: Path,
    server: RecordingServer,
    remote: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    how: signal.Signals,
    place: str,
) -> None:
    from mlflow.tracing.client import TracingClient

    address, group = remote
    owner, name = (TracingClient, "start_trace") if place == "traces" else (runs_module, "_log_artifacts")
    as_it_is, calls, lost = getattr(owner, name), [], []

    def losing(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == (7 if place == "traces" else 1):
            os.killpg(group, how)
            lost.append(time.monotonic())
        return as_it_is(*given)

    monkeypatch.setattr(owner, name, losing)
    try:
        run = planted_run(project, server)
        assert lost and time.monotonic() - lost[0] < LOST_S
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)
    assert_kept_here(run, project, address)
    assert run.outcomes.attrs["mlflow_run"] == run.links["run_id"] == run.policy.evidence.mlflow_run
