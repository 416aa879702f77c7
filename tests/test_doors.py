"""Nothing but the gate can open a socket: the modules that could are listed here, each with its reason."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from workbench.catalog import load_models
from workbench.client import Client, Endpoint
from workbench.client.address import Target
from workbench.client.attempt import WholeReader
from workbench.client.wire import Wire
from workbench.privacy import Destination, Payload, Released, gate
from workbench.runner.batch.hosted import HostedApi
from workbench.runner.batch.input import Input

PACKAGE = REPOSITORY / "workbench"

# What opens connections, or does so on behalf of whoever imports it; `urllib.parse` alone is harmless.
MODULES = """
    _socket _ssl aioftplib aiohttp anthropic asyncssh boto3 botocore datasets fastapi flask fsspec ftplib gevent grpc
    h11 h2 http http.client http.server httpcore httptools httpx httpx2 httplib2 huggingface_hub imaplib litellm mlflow
    multiprocessing multiprocessing.connection nntplib openai paramiko poplib pycurl requests select selectors smtplib
    socket socketserver ssl starlette telnetlib tornado trio twisted urllib.request urllib3 uvicorn webbrowser websocket
    websockets wsgiref xmlrpc zmq
""".split()
# Of event loops and others, wherever they come from.
CALLS = """
    connect_accepted_socket create_connection create_datagram_endpoint create_server create_unix_connection
    create_unix_server getaddrinfo open_connection open_unix_connection sendfile sock_connect sock_sendall sock_sendto
    start_server start_tls start_unix_server urlopen urlretrieve
""".split()
# What runs another program, which could do anything, or imports what does not stand here by its name.
PROCESSES = """
    create_subprocess_exec create_subprocess_shell execl execle execlp execv execve execvp execvpe fork forkpty popen
    posix_spawn posix_spawnp spawnl spawnle spawnlp spawnv spawnve spawnvp subprocess_exec subprocess_shell system
""".split()

ALLOWED: dict[str, tuple[str, set[str]]] = {
    "client/wire.py": (
        "the wire: it sends only what the gate released to its target",
        {"httptools", "ssl", "create_connection", "start_tls"},
    ),
    "client/address.py": (
        "looks up where a model's name leads, so that its zone is checked; sends nothing",
        {"socket", "urllib.request", "getaddrinfo"},
    ),
    "runner/batch/hosted.py": (
        "the batch API: it uploads only files of what the gate released to its model",
        {"openai", "httpx2", "ssl"},
    ),
    "tracking/store.py": ("MLflow's store, for figures and redacted texts", {"mlflow"}),
    "tracking/runs.py": ("what is logged there of a run", {"mlflow"}),
    "tracking/traces.py": ("and of a sample of its outcomes, redacted", {"mlflow"}),
    "tracking/links.py": ("names MLflow's client for type checkers", {"mlflow"}),
    "tracking/track.py": ("likewise", {"mlflow"}),
    "tracking/champion.py": ("likewise", {"mlflow"}),
    "formats/huggingface.py": ("fetches a dataset that the user names; sends nothing", {"huggingface_hub"}),
    "export/stand_ins.py": (
        "stand-ins on 127.0.0.1, which an exported config is proved against by LiteLLM in a process of its own",
        {"aiohttp", "socket", "start_server"},
    ),
    "export/litellm_run.py": (
        "starts LiteLLM's Router and proxy, and asks the proxy on 127.0.0.1 a question mark",
        {"socket", "subprocess", "urllib.request"},
    ),
    "export/vllm_sr_check.py": ("has an installed vllm-sr validate a file", {"subprocess"}),
    "export/_litellm_probe.py": ("LiteLLM's process: it knows the stand-ins only", {"litellm"}),
    "servers/rules_server.py": ("answers a gateway from rules; listens, and asks nobody", {"aiohttp"}),
    "servers/process.py": ("finds a port of 127.0.0.1 that is free; connects to nothing", {"socket"}),
    "servers/watched.py": ("starts an engine of this machine behind its watchdog", {"subprocess"}),
    "servers/_watchdog.py": (
        "the watchdog, which starts the engine and ends it with its owner: it waits for its pipe",
        {"select", "subprocess"},
    ),
    "servers/_transformers_child.py": (
        "transformers' server: it listens on 127.0.0.1 behind a key, with the hub switched off",
        {"socket", "uvicorn"},
    ),
    "servers/_llamacpp_child.py": (
        "the door of 'workbench serve' on 127.0.0.1: it passes requests on to llama.cpp's port of the same process",
        {"aiohttp", "socket", "create_server"},
    ),
    "servers/doctor.py": (
        "knocks at local ports: of zone local, and of 'workbench serve'",
        {"socket", "create_connection"},
    ),
    "servers/environments.py": ("runs pip for 'engine install', and asks engines for their versions", {"subprocess"}),
    "servers/gpus.py": ("runs nvidia-smi", {"subprocess"}),
    "servers/options.py": ("asks an installed engine for its help", {"subprocess"}),
    "cli/models.py": (
        "'serve' listens on 127.0.0.1, 'ui' becomes MLflow's server there once it has seen that the port is free",
        {"aiohttp", "execve", "socket"},
    ),
    "__init__.py": ("the package's own modules, on first use", {"import of a name that is not written out"}),
    "judge/__init__.py": ("the package's own modules, on first use", {"import of a name that is not written out"}),
    "scorers/__init__.py": ("the package's own modules", {"import of a name that is not written out"}),
    "formats/__init__.py": ("the package's own modules", {"import of a name that is not written out"}),
}


def door(name: str) -> str | None:
    """What of a module's dotted name is listed, if anything."""
    parts = name.split(".")
    return next((at for end in range(len(parts), 0, -1) if (at := ".".join(parts[:end])) in MODULES), None)


def doors(source: str) -> set[str]:
    """What a module uses that could open a connection."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            written = isinstance(first, ast.Constant) and isinstance(first.value, str)
            names = [first.value] if written else []  # type: ignore[union-attr,list-item]
            found |= set() if written else {"import of a name that is not written out"}
        elif isinstance(node, ast.Attribute):  # a bare name was imported, and seen there
            found |= {node.attr} & {*CALLS, *PROCESSES}
        found |= {each for name in names if (each := door(name))}
        found |= {"subprocess" for name in names if name.split(".")[0] == "subprocess"}
        found |= {last for name in names if (last := name.rpartition(".")[2]) in {*CALLS, *PROCESSES}}
    return found


def _called(node: ast.Call) -> str:
    function = node.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def test_only_the_listed_modules_could_open_a_connection() -> None:
    found = {str(path.relative_to(PACKAGE)): doors(path.read_text()) for path in PACKAGE.rglob("*.py")}
    assert {name: used for name, used in found.items() if used} == {name: used for name, (_, used) in ALLOWED.items()}


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("import socket", {"socket"}),
        ("def f():\n    import http.client as c", {"http.client"}),
        ("from urllib.request import urlopen", {"urllib.request", "urlopen"}),
        ("from urllib import request", {"urllib.request"}),
        ("import openai.types", {"openai"}),
        ("from httpx import AsyncClient", {"httpx"}),
        ("import asyncio\nasyncio.open_connection('h', 1)", {"open_connection"}),
        ("from asyncio import open_connection as go", {"open_connection"}),
        ("connect = loop.create_connection", {"create_connection"}),
        ("import importlib\nimportlib.import_module('requests')", {"requests"}),
        ("__import__(name)", {"import of a name that is not written out"}),
        ("import os\nos.system('curl')", {"system"}),
        ("from subprocess import run", {"subprocess"}),
        ("from urllib.parse import urlsplit\nimport asyncio, json", set()),
    ],
)
def test_and_the_scan_sees_what_it_looks_for(source: str, used: set[str]) -> None:
    assert doors(source) == used


def forged(destination: Destination) -> list[Any]:
    """What looks like something that the gate released, and is not."""

    class Released2(Released):
        pass

    payload = Payload({"messages": []}, ("public",))
    alike = object.__new__(Released2)
    alike.body, alike.destination, alike.sensitivity, alike._encoded = payload.body, destination, "public", b"{}"
    return [b"{}", payload, alike, None]


CLOSED = "http://127.0.0.1:1/v1"
UNRELEASED = r"only what workbench\.privacy\.gate released"


def test_the_wire_sends_only_what_the_gate_released_to_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = Destination("m", "local", CLOSED), Destination("n", "hosted", "https://api.example/v1")

    async def never(*_: Any) -> Any:
        raise AssertionError("it connects")

    monkeypatch.setattr(Wire, "_connect", never)

    async def post(released: Any) -> None:
        async with Wire(Target.of(here)) as wire:
            await wire.post(wire.head("/chat/completions", {}), released, WholeReader(), 1.0)

    for each in forged(here):
        with pytest.raises(TypeError, match=UNRELEASED):
            asyncio.run(post(each))
    with pytest.raises(ValueError, match="released for n, not for m"):
        asyncio.run(post(gate(Payload({}, ("public",)), elsewhere)))
    with pytest.raises(AssertionError, match="it connects"):
        asyncio.run(post(gate(Payload({}, ("public",)), here)))


def test_nor_does_a_client_count_what_it_was_not_given_by_the_gate() -> None:
    here = Destination("m", "local", CLOSED)

    async def ask(released: Any) -> None:
        client = Client(Endpoint(here, "m", {}, "", frozenset()))
        try:
            with pytest.raises(TypeError, match=UNRELEASED):
                await client.attempt(released)
            with pytest.raises(TypeError, match=UNRELEASED):
                await client.count_tokens(released)
        finally:
            assert client.sent == 0

    for each in forged(here):
        asyncio.run(ask(each))


def test_a_batch_is_made_and_uploaded_only_of_what_the_gate_released_to_its_model(project: Path) -> None:
    entry = "{engine: openai, model: m, zone: private, base_url: 'http://127.0.0.1:1/v1', batch: openai}"
    (project / "models.yaml").write_text(f"{{schema: 1, models: {{m: {entry}, n: {entry}}}}}")
    models = load_models()
    here, elsewhere = models["m"].destination(), models["n"].destination()
    files = [Input(project / name, where) for name, where in (("here", here), ("elsewhere", elsewhere))]
    for each in forged(here):
        with pytest.raises(TypeError, match=UNRELEASED):
            files[0].add("0", each, 100)
    with pytest.raises(ValueError, match="released for n, not for m"):
        files[0].add("0", gate(Payload({}, ("public",)), elsewhere), 100)
    for file in files:
        file.close()
    assert (project / "here").read_bytes() == b""

    async def upload(file: Any) -> str:
        async with HostedApi(models["m"]) as api:
            return await api.upload(file)

    for given in (files[1], project / "here", None):
        with pytest.raises(TypeError, match="only a file of what the gate released to this model"):
            asyncio.run(upload(given))
