"""Send requests through a real LiteLLM Router, to see that an exported config does what it says.

The workbench runs this file as a process with the Python of .venv-gateways; it imports nothing of
the workbench. Requests come as JSON on standard input, results leave as JSON on standard output:

    echo '{"config": "litellm.yaml", "requests": [{"group": "support_triage", "timeout_s": 10,
           "messages": [{"role": "user", "content": "Hi"}]}]}' | python _litellm_probe.py

Exit status 0: every request has a result, answered or not; 2: the input or the config is wrong.
`attempted_fallbacks` is LiteLLM's own figure and too low in longer chains: believe `deployment`.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

Request = tuple[str, list[Any], float]  # group, messages, timeout_s
# The litellm_settings that change routing; the proxy sets each as an attribute of the module.
ROUTING = {"num_retries", "request_timeout", "max_fallbacks", "allowed_fails", "drop_params"}
ROUTING |= {f"{kind}fallbacks" for kind in ("", "default_", "context_window_", "content_policy_")}


class InputError(Exception):
    """The input or the config is wrong; the message is one line and holds no key."""


def describe(error: Exception, secrets: list[str]) -> str:
    text = str(error).strip().partition("\n")[0]
    for secret in secrets:  # before the cut, which could leave half a key
        text = text.replace(secret, "[key]")
    return f"{type(error).__name__}: {text}"[:300].removesuffix(": ")


def read_input(text: str) -> tuple[Path, list[Request]]:
    try:
        given = json.loads(text)
        asked = [(r["group"], r["messages"], r.get("timeout_s", 60)) for r in given["requests"]]
        return Path(given["config"]), [(str(g), list(m), float(t)) for g, m, t in asked]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"malformed input: {describe(error, [])}") from None


def resolve(value: Any) -> Any:
    """Replace os.environ/ references where the proxy does: in objects, and objects in lists."""
    if isinstance(value, dict):
        return {key: resolve(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner) if isinstance(inner, dict) else inner for inner in value]
    if isinstance(value, str) and value.startswith("os.environ/"):
        name = value.removeprefix("os.environ/")
        # LiteLLM goes on without it: no api_base means api.openai.com, no api_key OPENAI_API_KEY.
        if not os.environ.get(name):
            raise InputError(f"the environment variable {name} is not set")
        return os.environ[name]
    return value


def load_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        config = resolve(yaml.safe_load(path.read_text(encoding="utf-8")))
        return config, find_secrets(config["model_list"])
    except (OSError, LookupError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise InputError(f"wrong config {path}: {describe(error, [])}") from None


def find_secrets(models: list[dict[str, Any]]) -> list[str]:
    """Every value that an error message could repeat; those of the environment count as well."""
    named = [item for entry in models for item in entry["litellm_params"].items()]
    named += os.environ.items()
    keys = [value for name, value in named if re.search("(?i)key|token|secret|passw", name)]
    # Below four characters it is no key. Longest first: one key may begin with another.
    return sorted((v for v in keys if isinstance(v, str) and len(v) >= 4), key=len, reverse=True)


def build_router(litellm: Any, config: dict[str, Any], secrets: list[str]) -> Any:
    try:
        for name, value in dict(config.get("litellm_settings") or {}).items():
            if name in ROUTING:
                setattr(litellm, name, value)
                litellm.request_timeout_explicitly_set |= name == "request_timeout"
        settings = dict(config.get("router_settings") or {})
        # The proxy skips an unknown setting and drops an invalid deployment; here both must show.
        if unknown := sorted(set(settings) - set(litellm.Router.get_valid_args())):
            raise ValueError(f"unknown router_settings: {', '.join(unknown)}")
        settings["ignore_invalid_deployments"] = False
        return litellm.Router(**{"model_list": config["model_list"]} | settings)
    except Exception as error:  # noqa: BLE001 - whatever it raises, the config is at fault
        raise InputError(f"LiteLLM refuses the config: {describe(error, secrets)}") from None


async def ask(router: Any, request: Request, secrets: list[str]) -> dict[str, Any]:
    figures = ("text", "model", "deployment", "attempted_fallbacks", "error")
    group, messages, timeout_s = request
    result: dict[str, Any] = {"group": group, "ok": False} | dict.fromkeys(figures)
    try:
        # A deadline around the call: given to LiteLLM, it would replace the deployments' timeouts.
        async with asyncio.timeout(timeout_s):
            answer = await router.acompletion(model=group, messages=messages)
        if not answer.choices:
            raise ValueError("the answer has no choices")  # LiteLLM takes it for a good one
        info = answer._hidden_params
        headers = info.get("additional_headers", {})
        result |= {"model": info.get("provider_response_model"), "deployment": info.get("model_id")}
        result["attempted_fallbacks"] = headers.get("x-litellm-attempted-fallbacks")
        result |= {"ok": True, "text": answer.choices[0].message.content}
    except Exception as error:  # noqa: BLE001 - it becomes this request's result
        result["error"] = describe(error, secrets)
    return result


async def probe(path: Path, requests: list[Request]) -> list[dict[str, Any]]:
    config, secrets = load_config(path)
    # Read at import: without it LiteLLM downloads a price map.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # It would send even loopback requests, key and all, through a proxy named in HTTP_PROXY.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"]))
    logging.disable()  # its log repeats error messages as they came, with a key that is in them
    router = build_router(importlib.import_module("litellm"), config, secrets)
    # One after the other, so that cooldowns and counts come out the same every time.
    return [await ask(router, request, secrets) for request in requests]


def main() -> int:
    # Keep the real standard output aside: what LiteLLM prints, native code too, goes to stderr.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        results = asyncio.run(probe(*read_input(sys.stdin.read())))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    answer = {"litellm": importlib.metadata.version("litellm"), "results": results}
    print(json.dumps(answer), file=output, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
