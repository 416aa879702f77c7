"""The life of managed engines: kept, found, ended, started again; with stand-ins that fail as real ones do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, environment, eventually, item, write_evalset, write_models

import workbench as wb
from workbench.cli import main
from workbench.errors import EngineError
from workbench.servers import ManagedServer, idle, registry
from workbench.servers._watchdog import MARKER, marked, running, ticks_of
from workbench.servers.process import Launch, LoadingLine
from workbench.servers.registry import RunningEngine, end_orphans, engines

STAND_IN = Path(__file__).with_name("stand_in_engine.py")
ENTRY: dict[str, Any] = {"engine": "llamacpp", "model": "m.gguf", "concurrency": 4, "timeout_s": 30}


def stand_in(**spec: Any) -> Launch:
    return Launch([sys.executable, str(STAND_IN), json.dumps(spec)], "m.gguf", ready_timeout_s=60)


@pytest.fixture
def started() -> Iterator[Any]:
    """Starts an engine; it is ended afterwards."""
    servers = []

    def start(launch: Launch, label: str = "m") -> ManagedServer:
        server = ManagedServer(launch, label, engine="llamacpp")
        servers.append(server)
        asyncio.run(server.start())
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def in_a_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(idle, "interactive", lambda: True)
    yield
    idle.end_kept()


def ask(project: Path, **more: Any) -> Any:
    return wb.run(wb.load_evalsets("evalsets"), wb.load_models("models.yaml"), track=False, progress=False, **more)


def colors(project: Path, count: int, **models: dict[str, Any]) -> None:
    write_evalset(project, "colors", [item(f"i{n:02}", f"thing {n}") for n in range(count)])
    write_models(project, **models)


def left() -> list[Path]:
    """What engines keep while they run: their files, and folders for what they have to leave."""
    return [
        *(path for path in Path(".workbench/engines").glob("*") if path.suffix != ".log"),
        *Path(tempfile.gettempdir()).glob("wb-*/left-behind"),
    ]


# Ended with all that came of it.


@pytest.mark.slow
def test_descendants_in_other_sessions_end_too_and_nothing_is_left(started: Any) -> None:
    name = f"wbtest{os.getpid()}"
    server = started(stand_in(child=True, file=True, shared=name))
    assert eventually(lambda: len({os.getpgid(pid) for pid in server.pids()}) == 2)
    assert Path(f"/dev/shm/{name}").exists() and len(left()) == 3  # its file, its address, and what it leaves
    pids = server.pids()
    server.stop()
    assert not any(running(pid) for pid in pids) and not left() and not Path(f"/dev/shm/{name}").exists()


@pytest.mark.slow
def test_what_outlives_an_engine_that_dies_ends_too(started: Any) -> None:
    server = started(stand_in(child=True, file=True))
    pids = eventually(lambda: server.pids() if len(server.pids()) == 2 else None)
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: not any(running(pid) for pid in pids) and not left())
    assert "killed (SIGKILL)" in (server.died() or "")


OWNER = """
import asyncio, sys, time
sys.path.insert(0, {tests!r})
from test_engines import stand_in
from workbench.servers import ManagedServer
server = ManagedServer(stand_in(child=True, file=True), "m", engine="llamacpp")
asyncio.run(server.start())
print(server.pid, server._process._watchdog.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def owner(project: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that owns an engine, and the engine's watchdog."""
    code = OWNER.format(tests=str(REPOSITORY / "tests"))
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(project), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        watchdog = int(process.stdout.readline().split()[1])
        try:
            yield process, watchdog
        finally:
            process.kill()
            end_orphans()


def test_an_owner_that_is_killed_leaves_nothing(owner: tuple[subprocess.Popen[str], int]) -> None:
    process, _ = owner
    [engine] = engines()
    pids = eventually(lambda: engine.pids() if len(engine.pids()) == 2 else None)
    process.kill()
    assert eventually(lambda: not any(running(pid) for pid in pids) and not left())


def test_orphans_of_a_crash_are_ended_at_the_next_start(owner: tuple[subprocess.Popen[str], int], started: Any) -> None:
    process, watchdog = owner
    [engine] = engines()
    assert eventually(lambda: len(engine.pids()) == 2) and engine.state() == "in use"
    os.kill(watchdog, signal.SIGSTOP)  # so that it cannot do its duty before it is killed as well
    process.kill()
    os.kill(watchdog, signal.SIGKILL)
    assert eventually(lambda: len(engine.pids()) == 1 and engine.state() == "orphan")  # the child in its own session
    [orphan] = engine.pids()
    other = started(stand_in())
    assert not running(orphan) and other.alive
    assert [each.pid for each in engines()] == [other.pid] and not list(Path(tempfile.gettempdir()).glob("wb-*/left*"))


def test_nobody_elses_process_is_met(project: Path) -> None:
    """A file that names a process which is not the engine's, or is of another machine, user or boot, ends nothing."""
    project.joinpath(".workbench/engines").mkdir(parents=True)
    log = project / ".workbench/engines/m-1.log"
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            gone = (2**22 + 1, 1)
            mine = RunningEngine(
                "0" * 24,
                "m",
                "llamacpp",
                gone,
                registry.here(),
                os.getuid(),
                str(log),
                time.time(),
                bystander.pid,
                gone,
            )
            mine.write()
            assert mine.state() == "orphan"
            assert end_orphans() == [] and running(bystander.pid) and not mine.path.exists()
        finally:
            bystander.kill()
    env = {**os.environ, MARKER: "1" * 24}
    with subprocess.Popen(["sleep", "60"], env=env) as elsewhere:
        try:
            theirs = replace(mine, token="1" * 24, log=str(project / ".workbench/engines/m-2.log"), pid=elsewhere.pid)
            for changes in ({"place": "another machine"}, {"uid": os.getuid() + 1}):
                other = theirs.write(**changes)
                assert eventually(lambda: marked("1" * 24) == [elsewhere.pid])
                assert engines() == [] and end_orphans() == [] and running(elsewhere.pid) and other.path.exists()
            assert not running(elsewhere.pid, (ticks_of(elsewhere.pid) or 0) + 1)  # an id that was taken again
        finally:
            elsewhere.kill()


def test_logs_are_pruned_but_not_those_in_use(started: Any) -> None:
    server = started(stand_in())
    folder = server.log.parent
    os.utime(server.log, (1, 1))
    for number in range(30):
        (folder / f"old-{number}.log").touch()
    ManagedServer(stand_in(), "m")
    assert server.log.exists() and len(list(folder.glob("old-*.log"))) == 20


# The command.


def test_engines_are_listed_and_stopped(started: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "list"]) == 0 and "no engine runs" in capsys.readouterr().out
    server, other = started(stand_in(), "one"), started(stand_in(), "two")
    assert main(["engine", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["one", "llamacpp", "in"], ["two", "llamacpp", "in"]]
    assert str(server.pid) in lines[1] and server.base_url.split(":")[2].split("/")[0] in lines[1]
    assert " GB" in lines[1] and lines[1].split()[-1] == str(os.getpid())
    assert main(["engine", "stop", "one"]) == 0 and not server.alive and other.alive
    assert server.died() == "the engine was stopped by 'workbench engine stop'."
    capsys.readouterr()
    assert main(["engine", "stop", "one"]) == 2 and "Running: two" in capsys.readouterr().err
    assert main(["engine", "stop"]) == 2
    assert main(["engine", "stop", "--all"]) == 0 and not other.alive and engines() == []


# Kept for the next cell.


def test_an_engine_is_kept_for_the_next_cell(project: Path, standing_in: dict[str, Launch], in_a_kernel: None) -> None:
    colors(project, 3, a=ENTRY, b=ENTRY)
    standing_in |= {"a": stand_in(), "b": stand_in()}
    models = wb.load_models("models.yaml")
    first = wb.run(wb.load_evalsets("evalsets"), models.select("a"), track=False, progress=False)
    [kept] = engines()
    assert kept.state() == "idle" and first.engines["a"].load_s > 0 and idle.warm_model() == "a"
    write_evalset(project, "colors", [item(f"j{n}", f"new {n}") for n in range(3)])
    again = wb.run(wb.load_evalsets("evalsets"), models.select("a"), track=False, progress=False)
    assert again.status == "complete" and again.asked == 3
    # Its load time is not known to this run, and no report takes it for one.
    assert again.engines["a"].load_s is None and again.outcomes.attrs["engines"]["a"]["load_s"] is None
    assert again.engines["a"].busy_s > 0 and any("kept from before" in note for note in again.notes)
    assert [each.token for each in engines()] == [kept.token]

    # Another one: the idle engine is ended before it starts. What is warm goes first.
    write_evalset(project, "colors", [item(f"k{n}", f"newer {n}") for n in range(3)])
    both = wb.run(wb.load_evalsets("evalsets"), models, track=False, progress=False)
    assert both.status == "complete" and both.engines["a"].load_s is None and both.engines["b"].load_s
    [other] = engines()
    assert other.model == "b" and not kept.pids()

    # Another spec of the same model: started anew.
    standing_in["b"] = stand_in(delay_s=0.01)
    write_evalset(project, "colors", [item("l", "newest")])
    anew = wb.run(wb.load_evalsets("evalsets"), models.select("b"), track=False, progress=False)
    assert anew.engines["b"].load_s > 0 and not other.pids()

    # One that died meanwhile: likewise.
    [kept] = engines()
    os.kill(kept.pid or 0, signal.SIGKILL)
    assert eventually(lambda: not kept.pids() and idle.warm_model() is None)
    write_evalset(project, "colors", [item("m", "the newest of all")])
    anew = wb.run(wb.load_evalsets("evalsets"), models.select("b"), track=False, progress=False)
    assert anew.status == "complete" and anew.engines["b"].load_s > 0


def test_outside_of_a_kernel_nothing_is_kept(project: Path, standing_in: dict[str, Launch]) -> None:
    colors(project, 2, a=ENTRY)
    standing_in["a"] = stand_in()
    run = ask(project)
    assert run.status == "complete" and engines() == [] and not left()
    use = run.engines["a"]
    assert use.memory_bytes and 5e6 < use.memory_bytes < 1e9 and use.busy_s > 0 and use.constrained
    assert wb.read_outcomes(run.path / "outcomes.parquet").attrs["engines"]["a"]["memory_bytes"] == use.memory_bytes
    assert run.outcomes.attrs["engines"]["a"]["load_s"] == use.load_s


# Crashes.


def test_a_crash_in_mid_run_restarts_the_engine_once(project: Path, standing_in: dict[str, Launch]) -> None:
    colors(project, 30, a=ENTRY)
    standing_in["a"] = stand_in(delay_s=0.02, count=str(project / "count"), die_at=[11])
    run = ask(project)
    table = run.outcomes
    assert run.status == "complete" and len(table) == 30 and table["error"].isna().all() and not run.problems
    assert [note for note in run.notes if "was started again" in note and "the engine died in mid-run" in note]
    crashed = table[table["attempts"] > 1]
    assert 1 <= len(crashed) <= 4 and (crashed["attempts"] == 2).all() and (crashed["latency_s"] > 0).all()
    assert table["attempts"].sum() == run.asked
    assert engines() == [] and not left()


def test_the_second_crash_fails_the_model_and_others_go_on(project: Path, standing_in: dict[str, Launch]) -> None:
    prompt = "CANARY-77-in-a-prompt that is quoted by the engine in its death throes"
    words = ["Traceback (most recent call last):", f"ValueError: cannot do '{prompt}' at all", f"prompt: {prompt}"]
    colors(project, 30, a=ENTRY, b=ENTRY)
    standing_in["a"] = stand_in(delay_s=0.02, count=str(project / "count"), die_at=[5, 12], last_words=words)
    standing_in["b"] = stand_in()
    run = ask(project)
    of_a = [problem for problem in run.problems if problem.startswith("a: ")]
    assert run.status == "failed" and len(run.problems) == 1 and of_a == run.problems
    assert "questions were not asked: the engine died in mid-run. It says: ValueError: cannot do" in of_a[0]
    assert "CANARY" not in str(run.problems) + str(run.notes)
    table = run.outcomes
    assert (table["model"] == "b").sum() == 30 and table[table["model"] == "b"]["error"].isna().all()
    failed = table[(table["model"] == "a") & table["error"].notna()]
    assert set(failed["error_class"]) == {"engine"} and engines() == []
    # The next run resumes.
    standing_in["a"] = stand_in()
    again = ask(project)
    assert again.status == "complete" and len(again.outcomes) == 60


def test_an_engine_that_is_stopped_in_mid_run_is_not_started_again(
    project: Path, standing_in: dict[str, Launch], capsys: pytest.CaptureFixture[str]
) -> None:
    colors(project, 200, a=ENTRY)
    standing_in["a"] = stand_in(delay_s=0.1)
    stopper = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import time\nfrom workbench.servers.registry import engines\n"
            "while not any(e.told == 'in use' for e in engines()): time.sleep(0.05)\n"
            "time.sleep(0.5)\nassert all(e.stop() for e in engines())",
        ],
        env=environment(project),
    )
    run = ask(project)
    assert stopper.wait(30) == 0
    assert run.status == "failed" and "the engine was stopped by 'workbench engine stop'" in run.problems[0]
    assert not any("started again" in note for note in run.notes)


# Those that cannot start.


def fails(launch: Launch) -> str:
    server = ManagedServer(launch, "m")
    with pytest.raises(EngineError) as failure:
        asyncio.run(server.start())
    assert not server.alive and not server.pids() and not left()
    assert "\n" not in str(failure.value) and str(failure.value).startswith("m: ")
    return str(failure.value)


VLLM = [
    "(APIServer pid=1) INFO 11-28 10:00:00 [api_server.py:1] vLLM API server version 0.32.0",
    "(EngineCore_DP0 pid=2) ERROR 11-28 10:00:03 [core.py:1136] EngineCore failed to start.",
    "(EngineCore_DP0 pid=2) ERROR 11-28 10:00:03 [core.py:1136] Traceback (most recent call last):",
    '(EngineCore_DP0 pid=2) ERROR 11-28 10:00:03 [core.py:1136]   File "x.py", line 3, in run',
    "(EngineCore_DP0 pid=2) ERROR 11-28 10:00:03 [core.py:1136] ValueError: No available memory for the cache blocks.",
    "(EngineCore_DP0 pid=2) Process EngineCore_DP0:",
    "(EngineCore_DP0 pid=2) Traceback (most recent call last):",
    "(EngineCore_DP0 pid=2) ValueError: No available memory for the cache blocks.",
    "(APIServer pid=1) Traceback (most recent call last):",
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
]
ARCHITECTURE = [
    "(APIServer pid=1) Traceback (most recent call last):",
    "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
    "(APIServer pid=1)   Value error, Model architectures ['Foo'] are not supported for now. [type=value_error, "
    "input_value=ArgsKwargs((), {'model': 'x'}), input_type=ArgsKwargs]",
    "(APIServer pid=1)     For further information visit https://errors.pydantic.dev/2.12/v/value_error",
]
NO_FOLDER = [
    "Traceback (most recent call last):",
    "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name'",
    "",
    "During handling of the above exception, another exception occurred:",
    "",
    "Traceback (most recent call last):",
    "OSError: /weights/gone is not a local folder and is not a valid model identifier",
]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (VLLM, "ValueError: No available memory for the cache blocks."),
        (ARCHITECTURE, "Value error, Model architectures"),
        (NO_FOLDER, "OSError: /weights/gone is not a local folder"),
        (["usage: vllm serve", "vllm: error: unrecognized arguments: --no-such"], "unrecognized arguments: --no-such"),
    ],
)
def test_the_reason_is_that_of_the_root_cause(log: list[str], words: str) -> None:
    message = fails(stand_in(log=log, exit=1))
    assert "ended while loading" in message and words in message and "root cause" not in message


def test_an_engine_that_hangs_while_it_loads_is_killed(project: Path) -> None:
    for how in ("hang", "silent"):
        started = time.monotonic()
        message = fails(
            replace(stand_in(**{how: True}, child=True, ignore_term=True), ready_timeout_s=2, end=((15, 0.3), (9, 5)))
        )
        assert "not ready after 2 s" in message and time.monotonic() - started < 20


def test_a_port_that_was_taken_a_moment_before_is_exchanged_once(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1], 0]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports[1] = probe.getsockname()[1]
        given = iter(ports)
        monkeypatch.setattr("workbench.servers.process._free_port", lambda: next(given))
        argv = [sys.executable, str(STAND_IN), '{"port": "{port}"}']
        server = started(Launch(argv, "m.gguf"))
        assert server.base_url == f"http://127.0.0.1:{ports[1]}/v1"
        server.stop()
        given = iter([ports[0], ports[0]])
        message = fails(Launch(argv, "m.gguf"))
        assert "Address already in use" in message


def test_models_that_cannot_start_are_a_line_each_and_others_go_on(
    project: Path, standing_in: dict[str, Launch]
) -> None:
    colors(project, 3, a=ENTRY, b=ENTRY, c=ENTRY)
    standing_in["a"] = stand_in(log=VLLM, exit=1)
    standing_in["b"] = replace(stand_in(hang=True), ready_timeout_s=1)
    standing_in["c"] = stand_in()
    run = ask(project)
    assert run.status == "failed" and len(run.problems) == 2
    assert run.problems[0].startswith("a: ") and "No available memory" in run.problems[0]
    assert run.problems[1].startswith("b: not ready after 1 s")
    assert set(run.outcomes["model"]) == {"c"} and engines() == []


def test_while_it_loads_the_end_of_its_log_is_told(project: Path) -> None:
    said: list[str] = []
    log = [f"line {n}" for n in range(20)] + ["\x1b[31mred <b>\x1b[0m", "step 1\rstep 2", '{"messages": "CANARY"}']
    server = ManagedServer(replace(stand_in(log=log, hang=True), ready_timeout_s=2.5), "m")
    with contextlib.suppress(EngineError):
        asyncio.run(server.start(said.append))
    line = said[-1]
    assert isinstance(line, LoadingLine) and line.startswith("loading m (")
    assert len(line.tail) == 8 and line.tail[-2:] == ("red <b>", "step 2")


def test_the_tail_is_shown_in_a_notebook_and_goes_when_the_engine_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    from IPython import display as shown

    from workbench.runner.progress import Progress

    seen: list[str] = []

    class Handle:
        def update(self, what: Any, raw: bool) -> None:
            seen.append(what["text/html"])

    def display(what: Any, raw: bool, display_id: bool) -> Handle:
        seen.append(what["text/html"])
        return Handle()

    monkeypatch.setattr(shown, "display", display)
    monkeypatch.setattr("workbench.runner.progress.interactive", lambda: True)
    monkeypatch.delenv("WORKBENCH_PROGRESS", raising=False)
    with Progress({"m": [1, 2]}, shown=True) as progress:
        progress.say("m", LoadingLine.of("loading m (1 s)", ("<script>", "b")))
        progress.show()
        progress.say("m", "")
        progress.show()
    loading = [page for page in seen if "loading m (1 s)" in page]
    assert loading and all("&lt;script&gt;\nb" in page and "<script>" not in page for page in loading)
    assert "loading" not in seen[-1] and "&lt;script" not in seen[-1] and seen.index(loading[-1]) < len(seen) - 1
