"""Stopping on purpose: Ctrl-C, a kernel's interrupt, a spend ceiling; and asking again only what failed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import environment, eventually, item, write_evalset, write_models
from recording_server import INPUT_TOKENS, OUTPUT_TOKENS, Recorded, RecordingServer
from test_intents import in_journal, item_of, keys_by_item, on_disk, told_twice

import workbench as wb
from workbench.cli import main
from workbench.errors import InputError
from workbench.runner import Run, planned
from workbench.runner.outcome import worst_cost
from workbench.views.opening import opening

PRICE = {"input_usd_per_mtok": 100.0, "output_usd_per_mtok": 1000.0}
ATTEMPT_USD = (INPUT_TOKENS * 100.0 + OUTPUT_TOKENS * 1000.0) / 1e6


def project_of(project: Path, server: RecordingServer, items: int, **more: Any) -> None:
    write_evalset(project, "colors", [item(f"i{n:03}", f"thing i{n:03}") for n in range(items)])
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE}
    write_models(project, far={**entry, "concurrency": 4, "max_concurrency": 4, **more})


def go(**options: Any) -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False, **options)


def start(project: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workbench.cli", "run", "--no-track", *options]
    return subprocess.Popen(
        command, cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


class Interrupter:
    """Presses Ctrl-C once a condition holds; when it did."""

    def __init__(self, condition: Callable[[], bool], again_after_s: float | None = None) -> None:
        self.at: list[float] = []
        self._condition, self._again_after_s = condition, again_after_s
        self._thread = threading.Thread(target=self._press)
        self._over = False  # an interrupt then would be one of the tests

    def _press(self) -> None:
        eventually(self._condition, 30)
        self._once()
        if self._again_after_s is not None:
            time.sleep(self._again_after_s)
            self._once()

    def _once(self) -> None:
        if self._over:
            return
        self.at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def __enter__(self) -> Interrupter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()


def check_partial(run: Run, project: Path, asked: set[str]) -> None:
    """A partial run: what is in its table was answered, and is in the journal."""
    keys = keys_by_item()
    assert run.status == "interrupted" and run.outcomes["output"].eq("red").all()
    assert {keys[name] for name in run.outcomes["item_id"]} == in_journal(project)
    assert set(run.outcomes["item_id"]) <= asked


def test_what_is_in_flight_is_taken_in_and_nothing_more_is_sent(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 100)
    server.delay_s = 1.0
    process = start(project)
    try:
        assert eventually(lambda: len(server.requests) == 8 or process.poll() is not None)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and ": interrupted, 8 outcomes" in out and "Traceback" not in err
    assert time.monotonic() - began < 3  # as soon as they are there
    assert len(server.requests) == 8 and len(in_journal(project)) == 8 and on_disk(project) == {}
    (path,) = (project / ".workbench" / "runs").glob("*/outcomes.parquet")
    assert sorted(wb.read_outcomes(path)["item_id"]) == sorted(map(item_of, server.requests))
    server.delay_s = 0
    assert go().rows == 100 and len(server.requests) == 100


def test_what_does_not_come_in_time_is_left_and_told_next_time(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runner.ask.GRACE_S", 0.8)
    project_of(project, server, 60)
    server.hold_after = 10
    with Interrupter(lambda: len(server.requests) >= 14) as pressed:
        run = go()
    took_s = time.monotonic() - pressed.at[0]
    assert 0.7 < took_s < 2.5
    check_partial(run, project, set(map(item_of, server.requests)))
    assert run.rows == 10 and len(server.requests) == 14 and len(on_disk(project)) == 4
    server.hold_after = None
    again = go()
    assert again.rows == 60 and told_twice(again.notes)[0] == 4


def test_the_moment_that_is_waited_is_five_seconds() -> None:
    from workbench.runner.ask import GRACE_S

    assert GRACE_S == 5


def test_a_second_interrupt_does_not_wait(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 60)
    server.hold_after = 10
    with Interrupter(lambda: len(server.requests) >= 14, again_after_s=0.4) as pressed:
        run = go()
    assert time.monotonic() - pressed.at[1] < 2
    check_partial(run, project, set(map(item_of, server.requests)))
    assert run.rows == 10 and len(server.requests) == 14


def test_who_only_waits_to_ask_again_is_not_waited_for(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 20)
    server.fault, server.retry_after = "429", "25"
    with Interrupter(lambda: len(server.requests) >= 4) as pressed:
        run = go()
    assert time.monotonic() - pressed.at[0] < 2 and run.status == "interrupted" and run.rows == 0
    assert on_disk(project) == {}  # a refusal is not paid


def test_an_interrupt_in_a_live_event_loop_stops_the_run(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 200)
    server.delay_s = 0.05

    async def cell() -> Run:
        return go()

    loop = asyncio.new_event_loop()
    try:
        with Interrupter(lambda: len(server.requests) >= 10):
            run = loop.run_until_complete(cell())
    finally:
        loop.close()
    check_partial(run, project, set(map(item_of, server.requests)))
    assert 10 <= run.rows == len(server.requests) < 200


KERNEL = """
import sys, threading
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
threading.Thread(target=lambda: sys.stdin.readline() and manager.interrupt_kernel(), daemon=True).start()
def hook(message):
    content = message["content"]
    sys.stdout.write(content.get("text", "") or content.get("data", {}).get("text/plain", "") + "\\n")
def cell(code):
    reply = client.execute_interactive(code, timeout=60, output_hook=hook)
    print("reply", reply["content"]["status"], flush=True)
cell("import workbench as wb; run = wb.run(wb.load_evalsets(), wb.load_models(), track=False)")
cell("print(run.summary(), len(run.outcomes), len(run.leaderboard))")
sys.stdin.readline()
cell("run = wb.run(wb.load_evalsets(), wb.load_models(), track=False); print(run.summary())")
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


@pytest.mark.slow
def test_a_kernels_interrupt_leaves_a_partial_run_that_the_next_cells_use_and_resume(
    project: Path, server: RecordingServer
) -> None:
    project_of(project, server, 300)
    server.delay_s = 0.1
    process = subprocess.Popen(
        [sys.executable, "-c", KERNEL],
        cwd=project,
        env=environment(project),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert eventually(lambda: len(server.requests) > 12 or process.poll() is not None)
        process.stdin.write("interrupt\n")
        process.stdin.flush()
        shown = []
        while len(shown) < 2 or "reply" not in shown[-1] or not any("interrupted" in line for line in shown):
            shown.append(process.stdout.readline())
            assert shown[-1], shown
        sent, server.delay_s = len(server.requests), 0
        rest, _ = process.communicate("go on\n", timeout=60)
    finally:
        process.kill()
    out = "".join(shown)
    found = re.search(r": interrupted, (\d+) outcomes.* (\d+) (\d+)\n", out)
    assert found and int(found[1]) == int(found[2]) == sent < 300 and int(found[3]) == 1, out
    assert out.count("reply ok") == 2 and "stopped" in out and "Traceback" not in out
    assert ": complete, 300 outcomes" in rest and len(server.requests) == 300 and "reply ok" in rest


def test_an_interrupt_while_the_run_is_logged_leaves_the_run(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(run: Run) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.tracking.track_run", interrupted)
    project_of(project, server, 3)
    run = wb.run(wb.load_evalsets(), wb.load_models(), progress=False)
    assert run.status == "complete" and run.rows == 3 and "MLflow was interrupted" in opening(run)[-1]
    assert "MLflow was interrupted" in (run.path / "run.json").read_text()


def judged(project: Path, server: RecordingServer, items: int) -> None:
    judge = {"type": "judge", "name": "fine", "model": "judge", "rubric": "The color is right.", "weight": 0}
    write_evalset(project, "colors", [item(f"i{n:03}") for n in range(items)], scorers=[{"type": "label"}, judge])
    entry = {"engine": "openai", "zone": "hosted", "base_url": server.base_url, "price": PRICE, "concurrency": 4}
    write_models(project, far={**entry, "model": "m"}, judge={**entry, "model": "judge"})


@pytest.mark.parametrize("again_after_s", [None, 0.3])
def test_an_interrupt_while_the_judge_is_asked_keeps_the_answers(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, again_after_s: float | None
) -> None:
    monkeypatch.setattr("workbench.runner.ask.GRACE_S", 0.5 if again_after_s is None else 30.0)
    judged(project, server, 20)

    held: list[Recorded] = []

    def hold(request: Recorded) -> None:
        if request.body["model"] == "judge":
            held.append(request)
            server.released.wait(60)

    server.on_request = hold
    server.answer = lambda body: "red" if body["model"] == "m" else '{"verdict": "pass"}'
    models = wb.load_models().select("far")
    with Interrupter(lambda: len(held) >= 4, again_after_s) as pressed:
        run = wb.run(wb.load_evalsets(), models, track=False, progress=False)
    assert time.monotonic() - pressed.at[-1] < 5
    assert run.status == "interrupted" and run.rows == 20
    assert run.outcomes["output"].eq("red").all() and run.outcomes["score"].eq(1).all()
    assert (run.path / "outcomes.parquet").is_file()


# Asking again what failed.


def test_only_what_failed_is_asked_again(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
    monkeypatch.setattr("workbench.flow._TRIPS_AFTER", 1000)
    write_evalset(project, "colors", [item(f"i{n:03}", f"thing i{n:03}") for n in range(30)])
    project_of(project, server, 30)
    broken = {f"i{n:03}" for n in range(5, 12)}

    def fault(body: dict[str, Any]) -> str:
        name = body["messages"][-1]["content"].split()[-1].rstrip("?")
        return "ok" if name not in broken else "400" if int(name[1:]) % 2 else "500"

    server.fault = fault
    first = go()
    assert set(first.outcomes.loc[first.outcomes["output"].isna(), "item_id"]) == broken
    project_of(project, server, 40)  # ten of which were never asked
    broken.remove("i005")
    server.requests.clear()
    again = go(retry_errors=True)
    assert set(map(item_of, server.requests)) == broken | {"i005"}
    assert again.rows == 30 and set(again.outcomes["item_id"]) == {f"i{n:03}" for n in range(30)}
    assert "10 questions that were never asked were left out (retry errors only)" in again.notes
    table = again.outcomes.set_index("item_id")
    assert set(table.index[table["output"].isna()]) == broken and table.loc["i005", "output"] == "red"
    assert table.loc["i005", "attempts"] == 1  # it is tried afresh
    calls = Counter(map(item_of, server.requests))
    assert {name: table.loc[name, "attempts"] for name in broken} == {name: calls[name] for name in broken}
    server.requests.clear()
    broken.clear()
    out, _ = (process := start(project, "--retry-errors")).communicate(timeout=60)
    assert process.returncode == 0, out
    assert len({item_of(request) for request in server.requests}) == 6
    server.requests.clear()
    assert go(retry_errors=True).status == "complete" and server.requests == []


# A spend ceiling.


def spent_by(server: RecordingServer) -> float:
    """What the server has answered, at its price."""
    return sum(request.fault == "ok" for request in server.requests) * ATTEMPT_USD


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.4])
def test_a_ceiling_is_never_exceeded_and_a_higher_one_goes_on(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, concurrency: int, share: float
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
    project_of(project, server, 60, concurrency=concurrency, max_concurrency=4 * concurrency)
    server.delay_s = 0.01
    server.faults = ["ok", "429", "ok", "500", "ok"] * 2
    ceiling = share * 60 * ATTEMPT_USD
    run = go(max_cost_usd=ceiling)
    assert run.status == "interrupted" and spent_by(server) <= ceiling
    assert run.rows == sum(request.fault == "ok" for request in server.requests)
    assert run.outcomes["output"].eq("red").all() and run.outcomes["cost_usd"].sum() <= ceiling + 1e-9
    (line,) = run.problems
    assert line.startswith(f"stopped at the spend ceiling of ${ceiling:g}")
    assert on_disk(project) == {}
    if share == 0.4:  # it is used, but for what one request could cost at most
        assert spent_by(server) > ceiling - 0.05 and run.rows > 10
    answered = run.rows
    server.faults = []
    before = len(server.requests)
    again = go(max_cost_usd=1000 * ATTEMPT_USD)
    assert again.status == "complete" and again.rows == 60 and len(server.requests) - before == 60 - answered


def test_what_may_have_been_paid_counts_as_if_it_was(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
    project_of(project, server, 30, concurrency=1, max_concurrency=1)
    server.faults = ["ok", "reset", "short_stream"]
    ceiling = 30 * ATTEMPT_USD
    run = go(max_cost_usd=ceiling)
    question = next(iter(run.plan.questions["far"]))
    worst = worst_cost(run.models["far"], *question.worst_tokens)
    assert run.status == "interrupted" and ceiling - 2 * worst < spent_by(server) + 2 * worst <= ceiling


def test_a_ceiling_stops_all_models_together(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item(f"i{n:03}") for n in range(40)])
    entry = {"engine": "openai", "zone": "hosted", "base_url": server.base_url, "price": PRICE, "concurrency": 4}
    write_models(project, **{name: {**entry, "model": name} for name in ("a", "b", "c")})
    ceiling = 40 * ATTEMPT_USD
    run = go(max_cost_usd=ceiling)
    assert run.status == "interrupted" and 0 < spent_by(server) <= ceiling
    assert run.rows == len(server.requests) and [line.startswith("stopped at") for line in run.problems] == [True]


@pytest.mark.parametrize("options", [[], ["--plan"]])
def test_a_price_that_is_not_known_is_refused_where_there_is_a_ceiling(
    project: Path, server: RecordingServer, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    project_of(project, server, 3, price=None)
    assert main(["run", "--no-track", "--max-cost", "1", *options]) == 2
    assert "far: its price is not known" in capsys.readouterr().err and server.requests == []
    with pytest.raises(InputError, match="its price is not known"):
        planned(wb.load_evalsets(), wb.load_models(), max_cost_usd=1.0)
    assert go().rows == 3


@pytest.mark.parametrize("ceiling", ["-1", "nan", "inf", "much"])
def test_a_ceiling_that_is_none_is_refused(
    project: Path, server: RecordingServer, capsys: pytest.CaptureFixture[str], ceiling: str
) -> None:
    project_of(project, server, 3)
    try:
        status = main(["run", "--no-track", f"--max-cost={ceiling}"])
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2 and server.requests == [] and "Traceback" not in capsys.readouterr().err


def test_the_command_stops_at_its_ceiling_with_status_1(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 60)
    process = start(project, "--max-cost", f"{10 * ATTEMPT_USD:.6f}")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "problem: stopped at the spend ceiling" in out and "Traceback" not in err
    assert 0 < spent_by(server) <= 10 * ATTEMPT_USD + 1e-6
    tables = [wb.read_outcomes(path) for path in (project / ".workbench" / "runs").glob("*/outcomes.parquet")]
    assert len(pd.concat(tables)) == len(server.requests)
