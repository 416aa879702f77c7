"""The GPU memory of engines: what they take, and whether it is free again. nvidia-smi is a stand-in with its lines."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, environment, eventually, item, write_evalset, write_models
from stand_ins import nvidia_smi

import workbench as wb
from workbench.cli import main
from workbench.errors import EngineError
from workbench.quantization import quantization_report
from workbench.servers import ManagedServer, gpu_release, gpus, idle
from workbench.servers.memory import MemoryWatch, gpu_memory_of
from workbench.servers.process import Launch
from workbench.servers.registry import end_orphans, engines

STAND_IN = Path(__file__).with_name("stand_in_engine.py")
FREE, TAKEN = 22515, 17400  # MiB


def gpu(free: int, index: int = 0) -> str:
    return f"{index}, GPU-{'abcd'[index] * 4}, NVIDIA A10, 23028, {free}, 8.6\n"


OWN = "GPU-aaaa, PID, python3, 5115\n"
HOST = "GPU-aaaa, 4194999, python3, 5115\n"  # an id of the machine's, of which a container knows nothing
OTHER = "GPU-aaaa, 4194998, /usr/bin/python3, 5000\n"


@pytest.fixture(autouse=True)
def smi(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    nvidia_smi(project, monkeypatch, gpu(FREE) + gpu(FREE, 1))
    monkeypatch.setattr(gpu_release, "_WAIT_S", 2.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return project / "smi"


def on_gpu(smi: Path, apps: str = OWN, freed_s: float | None = None, **more: Any) -> Launch:
    """An engine that takes 5 GB of GPU 0."""
    spec = {"gpu": {"smi": str(smi), "apps": apps, "gpus": gpu(TAKEN) + gpu(FREE, 1), "freed_s": freed_s}, **more}
    return Launch([sys.executable, str(STAND_IN), json.dumps(spec)], "m.gguf", ready_timeout_s=60, gpu=True)


def started(launch: Launch) -> ManagedServer:
    server = ManagedServer(launch, "m", engine="vllm")
    asyncio.run(server.start())
    return server


def stopped(launch: Launch) -> tuple[ManagedServer, float]:
    """An engine that was started and stopped, and how long stopping took."""
    server = started(launch)
    at = time.monotonic()
    server.stop()
    return server, time.monotonic() - at


@pytest.mark.parametrize("apps", [OWN, HOST])
def test_an_engine_has_ended_when_its_gpu_memory_is_free_again(smi: Path, apps: str) -> None:
    server, took_s = stopped(on_gpu(smi, apps, freed_s=0.5))
    assert took_s >= 0.5 and (smi / "gpus").read_text() == gpu(FREE) + gpu(FREE, 1) and not server.notes


def test_a_process_that_a_gpu_lists_for_ever_is_told(smi: Path) -> None:
    server, took_s = stopped(on_gpu(smi))
    [note] = server.notes
    assert note.startswith(f"m: GPU 0 still lists process {server.pid} of the ended engine") and 2 <= took_s < 20
    server.stop()
    assert server.notes == [note]


@pytest.mark.parametrize(
    ("apps", "words"), [(HOST, "python3 (process 4194999, another user): 5.4 GB"), ("", "lists there: nobody")]
)
def test_memory_that_stays_taken_under_a_foreign_id_is_told_with_care(smi: Path, apps: str, words: str) -> None:
    server, _ = stopped(on_gpu(smi, apps))
    [note] = server.notes
    assert "GPU 0 has 5.4 GB less free than before its start. Whose they are cannot be told" in note and words in note


@pytest.mark.parametrize(("apps", "told"), [(OTHER, False), ("", True)])
def test_what_another_took_meanwhile_is_not_the_engines(smi: Path, apps: str, told: bool) -> None:
    """The engine is off the GPU 0.3 s after its end began; 5 GB are taken, by whom nvidia-smi lists, or does not."""
    server = started(on_gpu(smi))
    (smi / "apps").write_text(OWN.replace("PID", str(server.pid)) + apps)
    (smi / "later").write_text(apps)
    with subprocess.Popen(["sh", "-c", f"sleep 0.3; cp {smi}/later {smi}/apps"]):
        server.stop()
    assert ["cannot be told from here" in note for note in server.notes] == [True] * told


def test_gpus_that_the_engine_does_not_see_are_not_looked_at(smi: Path) -> None:
    launch = on_gpu(smi, HOST)
    launch.env["CUDA_VISIBLE_DEVICES"] = "1"
    server = started(launch)
    assert [uuid for uuid, *_ in engines()[0].free] == ["GPU-bbbb"]
    server.stop()
    assert not server.notes


def test_an_engine_that_died_and_is_listed_yet_is_told(smi: Path) -> None:
    server = started(on_gpu(smi))
    os.kill(server.pid or 0, signal.SIGKILL)
    assert eventually(lambda: not server.alive)
    server.stop()
    assert f"GPU 0 still lists process {server.pid}" in server.notes[0]


def test_one_that_cannot_start_says_what_it_left(smi: Path) -> None:
    server = ManagedServer(on_gpu(smi, HOST, exit=1, log=["ValueError: no"]), "m", engine="vllm")
    with pytest.raises(
        EngineError, match=r"^m: the engine ended while loading.*GPU 0 has 5\.4 GB less free"
    ) as failure:
        asyncio.run(server.start())
    assert "\n" not in str(failure.value)


def test_without_nvidia_smi_nothing_is_asked(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (smi / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", str(smi))  # a machine with GPUs has a real one elsewhere
    monkeypatch.setattr(gpus, "_said", lambda argv, within_s: pytest.fail(f"{argv} was asked"))
    server, took_s = stopped(on_gpu(smi))
    assert not server.notes and took_s < 2 and gpu_memory_of([os.getpid()]) is None


def test_an_engine_without_a_gpu_asks_nothing(smi: Path) -> None:
    launch = Launch([sys.executable, str(STAND_IN), "{}"], "m.gguf")
    stopped(launch)
    assert not (smi / "asked").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["exit 9", "sleep 300 & sleep 300"])
def test_an_nvidia_smi_that_fails_or_hangs_stops_nobody(smi: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(gpu_release, "WITHIN_S", 1.0)
    (smi / "fault").write_text(fault)
    at = time.monotonic()
    server, took_s = stopped(on_gpu(smi))
    with MemoryWatch(server.pids) as watch:
        pass
    assert not server.notes and took_s < 2 and watch.gpu_peak_bytes is None and time.monotonic() - at < 30
    if fault != "exit 9":
        assert len((smi / "asked").read_text().splitlines()) == 1  # and nobody asked it again
    (smi / "fault").unlink()
    gpus._hung_at.clear()
    server = started(on_gpu(smi))
    (smi / "fault").write_text(fault)
    server.stop()
    assert ["nvidia-smi does not answer" in note for note in server.notes] == [True]


# The command, and what died with its owner.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("apps", "freed_s", "status", "words"),
    [(OWN, None, 1, "still lists process"), (HOST, None, 0, "cannot be told"), (OWN, 0.3, 0, "")],
)
def test_engine_stop_tells_what_is_left_on_a_gpu(
    smi: Path, capsys: pytest.CaptureFixture[str], apps: str, freed_s: float | None, status: int, words: str
) -> None:
    server = started(on_gpu(smi, apps, freed_s))
    assert main(["engine", "list"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert "on GPUs" in head and ("5.36 GB" in line) == (apps == OWN)
    assert main(["engine", "stop", "m"]) == status
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"m: ended (pid {server.pid})" and (words in said[-1] if words else len(said) == 1)
    server.stop()


OWNER = """
import asyncio, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_gpu_memory import on_gpu, started
server = started(on_gpu(Path({smi!r})))
print(server.pid, server._process._watchdog.pid, flush=True)
time.sleep(600)
"""


def test_what_died_with_its_owner_is_looked_at_by_the_next(smi: Path, project: Path) -> None:
    code = OWNER.format(tests=str(REPOSITORY / "tests"), smi=str(smi))
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(project), stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, watchdog = map(int, owner.stdout.readline().split())
        os.kill(watchdog, signal.SIGSTOP)
        owner.kill()
        os.kill(watchdog, signal.SIGKILL)
    assert eventually(lambda: engines()[0].state() == "orphan" and not engines()[0].pids())
    said: list[str] = []
    assert end_orphans(said.append) == [] and engines() == []
    assert [f"GPU 0 still lists process {pid}" in line for line in said] == [True]


# What a run tells.


def ask(project: Path, *names: str) -> Any:
    write_evalset(project, "colors", [item(f"i{n}") for n in range(3)])
    write_models(project, **{name: {"engine": "llamacpp", "model": "m.gguf"} for name in names})
    return wb.run(wb.load_evalsets("evalsets"), wb.load_models("models.yaml"), track=False, progress=False)


def test_a_run_notes_gpu_memory_and_what_is_left_of_it(
    project: Path, smi: Path, standing_in: dict[str, Launch]
) -> None:
    standing_in["a"] = on_gpu(smi)
    standing_in["b"] = Launch([sys.executable, str(STAND_IN), "{}"], "m.gguf")
    run = ask(project, "a", "b")
    assert run.status == "complete" and run.engines["a"].gpu_memory_bytes == 5115 << 20
    assert run.engines["b"].gpu_memory_bytes is None
    assert [note for note in run.notes if note.startswith("a: GPU 0 still lists process")]
    found = quantization_report(run.outcomes, reference="a").table.set_index("candidate")["gpu_memory_bytes"]
    assert found["a"] == 5115 << 20 and math.isnan(found["b"])


def test_one_that_made_room_says_so_in_the_next_run(
    project: Path, smi: Path, standing_in: dict[str, Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "interactive", lambda: True)
    standing_in |= {"a": on_gpu(smi), "b": Launch([sys.executable, str(STAND_IN), "{}"], "m.gguf")}
    assert not [note for note in ask(project, "a").notes if "GPU" in note]
    assert [note for note in ask(project, "b").notes if note.startswith("a: GPU 0 still lists process")]


def test_gpu_memory_is_that_of_the_processes_only(smi: Path) -> None:
    me = os.getpid()
    (smi / "apps").write_text(
        f"GPU-aaaa, {me}, python3, 1000\nGPU-bbbb, {me}, odd, name, 500\nGPU-aaaa, 1, x, 9000\n"
        "GPU-aaaa, [N/A], x, 1000\n"
    )
    assert gpu_memory_of([me]) == 1500 << 20
    (smi / "apps").write_text(f"GPU-aaaa, {me}, python3, [N/A]\n")
    assert gpu_memory_of([me]) is None
    (smi / "apps").write_text(HOST)
    assert gpu_memory_of([me]) is None and gpu_memory_of([]) is None


def test_the_most_of_gpu_memory_is_kept(smi: Path) -> None:
    me = os.getpid()
    watch = MemoryWatch(lambda: [me])
    for used in (1000, 3000, 2000):
        (smi / "apps").write_text(f"GPU-aaaa, {me}, python3, {used}\n")
        watch.look()
    (smi / "apps").write_text(HOST)
    watch.look()
    assert watch.gpu_peak_bytes == 3000 << 20
    other = MemoryWatch(lambda: [me])
    other.look()
    assert other.gpu_peak_bytes is None and other.peak_bytes
