"""Progress lines: what they say is what was asked, and they are readable wherever a run goes on."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import environment, item, write_evalset, write_models
from recording_server import INPUT_TOKENS, OUTPUT_TOKENS, RecordingServer

import workbench as wb
from workbench.journal import Attempt
from workbench.runner.pace import InFlight, Pace
from workbench.runner.progress import Progress

PRICE = {"input_usd_per_mtok": 100.0, "output_usd_per_mtok": 1000.0}
REQUEST_USD = (INPUT_TOKENS * 100.0 + OUTPUT_TOKENS * 1000.0) / 1e6


def free(attempt: Attempt) -> float | None:
    return 0.0


# What a line says.


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([(0.0, 1.0), (0.5, 1.5), (3.0, 4.0)], 2.5),
        ([(0.0, 1.0), (2.0, 3.0), (0.5, 2.5)], 3.0),  # one that spans a gap
        ([(5.0, 6.0), (0.0, 1.0), (0.5, 0.7)], 2.0),  # out of order
        ([(float(n), n + 0.25) for n in range(1000)], 250.0),  # more gaps than are remembered
    ],
)
def test_time_in_flight_is_the_union_of_the_requests_times(spans: list[tuple[float, float]], seconds: float) -> None:
    flight = InFlight()
    for start, end in spans:
        flight.add(start, end)
    assert flight.seconds == pytest.approx(seconds)


def paced(monkeypatch: pytest.MonkeyPatch, *made: tuple[float, list[Attempt]], total: int = 100) -> Pace:
    """A pace that was told these attempts at these times."""
    pace = Pace("m", total)
    now = [0.0]
    monkeypatch.setattr("workbench.runner.pace.time.perf_counter", lambda: now[0])
    for at, attempts in made:
        now[0] = at
        pace.made(attempts, free)
        pace.done += 1
        pace.look(at)
    return pace


def answer(tokens: int | None, latency_s: float) -> Attempt:
    return Attempt("red", output_tokens=tokens, latency_s=latency_s)


def test_tokens_a_second_are_over_the_time_that_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two at once for 2 s, then nothing for 95 s (it was paused), then one for 3 s: 100 tokens in 5 s.
    pace = paced(
        monkeypatch, (102.0, [answer(30, 2.0)]), (102.0, [answer(30, 2.0)]), (200.0, [answer(40, 3.0)]), total=3
    )
    assert pace.tokens_per_s == pytest.approx(20.0) and ", 20 tokens/s" in pace.text()


def test_errors_take_no_part_in_the_speed_and_what_is_not_counted_makes_it_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = Attempt(None, "no", "timeout", latency_s=60.0)
    assert paced(monkeypatch, (100.0, [failed]), (161.0, [answer(5, 1.0)])).tokens_per_s == pytest.approx(5.0)
    assert paced(monkeypatch, (1.0, [answer(5, 1.0)]), (2.0, [answer(None, 1.0)])).tokens_per_s is None


def test_the_time_left_is_told_from_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = paced(monkeypatch, *[(10.0 + 2 * n, [answer(5, 2.0)]) for n in range(10)], total=70)
    pace.done += 30  # out of the journal, at once: no sign of speed
    pace.look(28.0)
    assert pace.left_s == pytest.approx((70 - 40) * 2.0, rel=0.05) and "1:00 left" in pace.text()


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ([0.5, 0.25], "$0.750"),
        ([0.5, None], "$0.500 + unknown"),
        ([None, None], "cost unknown"),
        ([0.0, 0.0], "$0"),
        ([1e-6], "<$0.0001"),
    ],
)
def test_cost_is_what_is_known_and_never_passes_for_all_where_it_is_not(costs: list[float | None], said: str) -> None:
    pace, left = Pace("m", 9), iter(costs)
    for _ in costs:
        pace.made([answer(1, 0.1)], lambda attempt: next(left))
    pace.look(1.0)
    assert pace.cost == said


def test_what_a_line_says_of_a_run(project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    write_evalset(project, "colors", [item(f"i{n}") for n in range(12)] + [item(f"twin {n}", "x") for n in range(3)])
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE}
    write_models(project, far={**entry, "concurrency": 2, "max_concurrency": 2})
    server.delay_s = 0.1
    server.fault = lambda body: "400" if "i7" in body["messages"][-1]["content"] else "ok"
    last = told(monkeypatch)
    # Twelve answers out of thirteen requests: items with the same inputs share one, and it is paid once.
    assert "15/15, 1 error, " in last and f", ${12 * REQUEST_USD:.3f}, in 0:0" in last
    speed = float(re.findall(r"([\d.]+) tokens/s", last)[0])
    assert 0.2 * 2 * OUTPUT_TOKENS / 0.1 < speed <= 2 * OUTPUT_TOKENS / 0.1  # two at once, 0.1 s each
    again = told(monkeypatch)
    assert "15/15, 1 error" in again and "tokens/s" not in again and "$" not in again  # nothing was sent


def told(monkeypatch: pytest.MonkeyPatch) -> str:
    """The last line that a run's only model has in a log."""
    lines = io.StringIO()
    monkeypatch.setattr("workbench.runner.progress._terminal", lambda: lines)
    wb.run(wb.load_evalsets(), wb.load_models(), track=False)
    return lines.getvalue().splitlines()[-1]


def test_an_answer_in_a_wrong_format_and_its_repetition_are_both_paid(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = {"labels": ["red", "green"], "format_retries": 1}
    write_evalset(project, "colors", [item(f"i{n}") for n in range(4)], output=output)
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE}
    write_models(project, far=entry)
    server.answer = lambda body: "no idea"
    assert "4/4, " in (last := told(monkeypatch)) and f"${8 * REQUEST_USD:.3f}" in last and len(server.requests) == 8


# Where it is shown.


def test_a_log_has_a_line_now_and_then_and_a_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.StringIO()
    monkeypatch.setattr("workbench.runner.progress._terminal", lambda: lines)
    monkeypatch.setattr("workbench.runner.progress.LOOK_S", 0.01)
    monkeypatch.setattr("workbench.runner.progress._PLAIN_S", 0.3)
    with Progress({"a": range(100), "idle": range(5)}) as progress:
        for _ in range(100):
            progress.done("a", error=False)
            time.sleep(0.01)
        progress.over("a")
    said = lines.getvalue().splitlines()
    ofa = [line for line in said if line.startswith("a ")]
    assert 3 <= len(ofa) <= 6 and "100/100" in ofa[-1] and "\r" not in lines.getvalue()
    assert sum("100/100" in line for line in ofa) <= 2
    assert [line for line in said if line.startswith("idle")] == ["idle   0% 0/5"]


def test_a_run_survives_a_face_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def show(self, paces: Any, last: bool) -> None:
            raise RuntimeError("no screen")

    monkeypatch.setattr("workbench.runner.progress._faces", lambda: [Broken()])
    with Progress({"m": [1]}) as progress:
        progress.done("m", error=False)


def test_nothing_is_counted_where_nothing_is_shown() -> None:
    with Progress({"m": [1]}, shown=False) as progress:
        progress.made("m", free, [answer(1, 1.0)])
        progress.count("judge", 1, 2)
        progress.done("m", error=True)
        assert not progress._paces and progress._ticker is None


@pytest.mark.parametrize("columns", [80, 120])
def test_lines_fit_a_terminal_and_are_redrawn_in_place(project: Path, server: RecordingServer, columns: int) -> None:
    write_evalset(project, "colors", [item(f"i{n:03}") for n in range(40)])
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE}
    write_models(project, far=entry, **{"a" * 30 + "_q4": entry, "a" * 30 + "_q8": {**entry, "model": "n"}})
    server.delay_s = 0.2
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli", "run", "--no-track"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 4096):
            seen += piece
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[A-Z]", "\n", seen.decode()).replace("\r", "\n")
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    assert max(map(len, lines)) <= columns and len(lines) > 12  # more than one look
    assert {line.split()[0] for line in lines} == {"far", "aaaaaaaaaaa…aaaaaaaaa-q4", "aaaaaaaaaaa…aaaaaaaaa-q8"}
    assert any("tokens/s, $" in line and line.endswith("left") for line in lines)
    assert any("█" in line for line in lines) == (columns == 120)
    assert seen.count(b"\n") > 3 and "100% 40/40" in lines[-1]


NOTEBOOK = "import workbench as wb\nrun = wb.run(wb.load_evalsets(), wb.load_models(), track=False)"


@pytest.mark.slow
def test_an_executed_notebook_keeps_one_table_that_says_how_it_ended(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item(f"i{n:03}") for n in range(60)])
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE}
    write_models(project, far={**entry, "concurrency": 2, "max_concurrency": 2})
    server.delay_s = 0.1
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    nbformat.write(notebook, project / "in.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "in.ipynb", "--output", "out.ipynb"]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    out = nbformat.read(project / "out.ipynb", 4)
    (output,) = out.cells[0].outputs
    assert output.output_type == "display_data" and "widget" not in str(output.data)
    assert "60/60" in output.data["text/html"] and "tokens/s" in output.data["text/html"]
    assert re.search(r"far 100% 60/60, \d+ tokens/s, \$0\.180, in 0:0\d", output.data["text/plain"])
