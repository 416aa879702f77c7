"""LiteLLM's real Router and real proxy, run on a config and asked.

    with Router(gateway_program("python")) as router:
        router.load(config, stand_ins)
        router.ask("triage").landed          # the deployment that answered, or nowhere

Both are processes of .venv-gateways without a key or an address of the user's; what would leave this machine comes to
the stand-ins' proxy.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from workbench import project
from workbench.errors import RunError
from workbench.export.litellm import MASTER_KEY
from workbench.export.proof import gateway_program

if TYPE_CHECKING:
    from workbench.export.stand_ins import StandIns

_PROBE = Path(__file__).with_name("_litellm_probe.py")
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")  # of the environment
_ANSWER_S = 60.0
_START_S = 180.0
NOWHERE = "nowhere"
QUESTION = "Which canary sang 7c1f9e?"  # to be found again, if something repeats it


class Asked(NamedTuple):
    """Who answered, and why nobody did."""

    landed: str  # the deployment that answered, or nowhere
    why: str = ""


class Gateway(Protocol):
    """What can be asked for a group."""

    name: str
    version: str

    def ask(self, group: str, tags: list[str] | None = None) -> Asked: ...


def _environment(stand_ins: StandIns | None) -> dict[str, str]:
    """Offline, with no key of the user's; what would leave this machine comes to the stand-ins' proxy."""
    outside = stand_ins.outside_address if stand_ins else "http://127.0.0.1:9"
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), outside
    )
    return {
        **proxies,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DISABLE_ADMIN_UI": "True",
        "OPENAI_API_KEY": "none",
    }


class Router:
    """The real Router in a process of .venv-gateways; a JSON line there and one back."""

    name = "LiteLLM Router"

    def __init__(self, python: Path) -> None:
        self._python = python
        self.version = ""
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Router:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._errors = open(Path(self._folder.name) / "errors", "w+")
        # -P: the script's own folder has a litellm.py, which is not the one that is meant.
        self._process = subprocess.Popen(
            [str(self._python), "-P", str(_PROBE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**kept, **_environment(None)},
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def call(self, request: dict[str, Any]) -> Any:
        """One request of the probe's, answered.

        Raises:
            RunError: it ended, with what it said.
        """
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()[-1:]
            raise RunError(f"LiteLLM's Router does not run the config: {' '.join(said) or 'it ended'}")
        return json.loads(line)

    def load(self, config: Path, stand_ins: StandIns) -> None:
        self.call({"load": str(config), "outside": stand_ins.outside_address})

    def ask(self, group: str, tags: list[str] | None = None) -> Asked:
        messages = [{"role": "user", "content": QUESTION}]
        answer = self.call({"group": group, "messages": messages, "tags": tags, "timeout_s": _ANSWER_S})
        if not answer["ok"]:
            return Asked(NOWHERE, answer["error"])
        if answer["text"] != answer["deployment"]:
            return Asked(f"{answer['text']} by the answer, {answer['deployment']} by LiteLLM")
        return Asked(answer["text"])


class Proxy:
    """The real proxy on loopback, behind a watchdog."""

    name = "LiteLLM proxy"

    def __init__(self, program: Path, config: Path, stand_ins: StandIns) -> None:
        from workbench.servers.watched import Watched

        self._argv = [str(program), "--config", str(config), "--host", "127.0.0.1"]
        self._stand_ins = stand_ins
        self._key = f"sk-{secrets.token_hex(16)}"
        self._process = Watched("litellm-proxy")
        self.version = ""

    def __enter__(self) -> Proxy:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"http://127.0.0.1:{port}"
        env = {**_environment(self._stand_ins), MASTER_KEY: self._key}
        # What else stands in the user's environment, such as a database or a key, is not for this one.
        others = [option for name in os.environ if name not in {*_KEPT, *env} for option in ("-u", name)]
        self._process.start(["env", *others, *self._argv, "--port", str(port)], env)
        try:
            self._wait()
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.stop()

    def log_text(self) -> str:
        return self._process.log.read_text(errors="replace")

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if not self._process.alive:
                raise RunError(f"LiteLLM's proxy does not run the config. {self._process.last_words()}")
            try:
                status, headers, _ = self._send("GET", "/health/liveliness")
            except OSError:
                time.sleep(0.3)
                continue
            if status == 200:
                self.version = headers.get("x-litellm-version", "")
                return
        raise RunError(f"LiteLLM's proxy did not start within {_START_S:g} s. {self._process.last_words()}")

    def _send(self, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
        request = urllib.request.Request(
            self._address + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_ANSWER_S) as response:
                return response.status, response.headers, json.loads(response.read())
        except urllib.error.HTTPError as failure:
            with failure:
                return failure.code, failure.headers, failure.read().decode(errors="replace")

    def ask(self, group: str, tags: list[str] | None = None) -> Asked:
        body: dict[str, Any] = {"model": group, "messages": [{"role": "user", "content": QUESTION}]}
        if tags:
            body["metadata"] = {"tags": tags}
        status, headers, answer = self._send("POST", "/v1/chat/completions", body)
        self.version = self.version or headers.get("x-litellm-version", "")
        if status != 200:
            return Asked(NOWHERE, f"{status}: {str(answer)[:200]}")
        text, deployment = answer["choices"][0]["message"]["content"], headers.get("x-litellm-model-id")
        if text != deployment:
            return Asked(f"{text} by the answer, {deployment} by LiteLLM's header")
        return Asked(text)


def ask_router(config: Path, group: str, messages: list[dict[str, str]]) -> Any:
    """One request through the real Router, with the config as it is: its models are really asked.

    Raises:
        RunError: there is no LiteLLM here, or it does not load the file.
    """
    python = gateway_program("python")
    if python is None:
        raise RunError(f"LiteLLM is not installed: 'make gateways' ({project.root()}).")
    with Router(python) as router:
        router.call({"load": str(config)})
        return router.call({"group": group, "messages": messages, "timeout_s": _ANSWER_S})
