"""Proof of an exported LiteLLM config: the real Router, run on it, and where each route's requests land.

    proof = verify(export.path, policy)        # None where .venv-gateways is not there
    proof.failures                             # empty: every route is answered as the policy says

Every deployment's address is replaced by a stand-in on loopback that answers with the deployment's id, everything else
stays as it is in the file. Each route is asked with all its models alive, and with the first one dead.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml

from workbench import project
from workbench.errors import RunError
from workbench.export.litellm import group_name
from workbench.routing.policy import Policy

_PROBE = Path(__file__).with_name("_litellm_probe.py")
_TIMEOUT_S = 120
Messages = list[dict[str, str]]
_QUESTION: Messages = [{"role": "user", "content": "?"}]


@dataclass
class Proof:
    """What the gateway did.

    Attributes:
        routes: a line a request: group, which links were dead, where it landed.
        failures: requests that landed elsewhere than the policy says.
    """

    litellm: str = ""
    routes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.routes and not self.failures:
            return "nothing to verify: no route has a model"
        right = f"{len(self.routes)} requests landed where the policy says"
        if not self.failures:
            return f"verified with LiteLLM {self.litellm}: {right}"
        seen = f"NOT verified with LiteLLM {self.litellm}: {right}, {len(self.failures)} did not"
        return "\n".join([seen, *(f"FAILED: {line}" for line in self.failures)])


def gateway_python() -> Path | None:
    """The interpreter of .venv-gateways, or None where it is not there."""
    named = os.environ.get("WORKBENCH_GATEWAYS")
    base = Path(named) if named else project.root() / ".venv-gateways"
    python = base / "bin" / "python"
    return python if python.exists() else None


def verify(config: Path, policy: Policy) -> Proof | None:
    """Run the config in the real LiteLLM Router and compare where requests land with the policy.

    Returns:
        The proof, or None where the gateways' environment is not installed.

    Raises:
        RunError: the router does not load the file.
    """
    python = gateway_python()
    if python is None:
        return None
    proof = Proof()
    routes = [route for route in policy.routes if route.chain]
    for dead in (0, 1):
        asked = [route for route in routes if len(route.chain) > dead]
        if not asked:
            continue
        with _stand_ins(config, dead) as stand_in:
            answers = _probe(python, stand_in, [(group_name(route), _QUESTION) for route in asked])
        proof.litellm = answers["litellm"]
        for route, answer in zip(asked, answers["results"], strict=True):
            expected = f"{group_name(route)}/{dead + 1}"
            landed = _link(answer["text"]) if answer["ok"] else f"nowhere ({answer['error']})"
            line = (
                f"{group_name(route)}: {route.chain[dead].candidate} expected{', first dead' if dead else ''}: {landed}"
            )
            (proof.routes if landed == expected else proof.failures).append(line)
    return proof


def _link(deployment: str) -> str:
    """The link of a chain that a deployment's id names: a model with several endpoints has several."""
    return deployment.partition("@")[0]


def _probe(python: Path, config: Path, asked: list[tuple[str, Messages]]) -> Any:
    """Send each group its messages through the real Router, which runs in its own environment."""
    requests = [{"group": group, "messages": messages, "timeout_s": 20} for group, messages in asked]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
    # -P: the script's own folder has a litellm.py, which is not the one that is meant.
    try:
        done = subprocess.run(
            [str(python), "-P", str(_PROBE)],
            input=json.dumps({"config": str(config), "requests": requests}),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1,localhost"},
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"LiteLLM did not answer within {_TIMEOUT_S} s.") from None
    if done.returncode != 0:
        raise RunError(f"LiteLLM does not run {project.shown(config)}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


@contextmanager
def _stand_ins(config: Path, dead: int) -> Iterator[Path]:
    """A copy of the config whose deployments are stand-ins; the first `dead` links of each chain have a closed port."""
    data = yaml.safe_load(config.read_text())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _StandIn)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with socket.socket() as closed, tempfile.TemporaryDirectory() as folder:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        for entry in data["model_list"]:
            link = entry["model_info"]["id"]
            is_dead = int(_link(link).rsplit("/", 1)[1]) <= dead
            port = closed.getsockname()[1] if is_dead else server.server_address[1]
            entry["litellm_params"]["api_base"] = f"http://127.0.0.1:{port}/{quote(link, safe='')}/v1"
            entry["litellm_params"]["api_key"] = "none"
        copy = Path(folder) / "config.yaml"
        copy.write_text(yaml.safe_dump(data))
        try:
            yield copy
        finally:
            server.shutdown()
            server.server_close()


class _StandIn(BaseHTTPRequestHandler):
    """Answers with the deployment's id, which is in its address."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        link = unquote(self.path.split("/v1/")[0].strip("/"))
        message = {"role": "assistant", "content": link}
        answer = {
            "id": "stand-in",
            "object": "chat.completion",
            "created": 0,
            "model": request.get("model", ""),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the standard error is the user's."""
