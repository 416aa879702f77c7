"""A real LiteLLM Router in a process of its own, to see that an exported config does what it says.

The workbench runs this file with the Python of .venv-gateways; it imports nothing of the workbench. A JSON object a
line comes on standard input, and one leaves for each on standard output:

    {"version": true}                                          LiteLLM's version
    {"unknown_keys": {"model_list": …}}                        what stands in a config and LiteLLM does not know
    {"load": "litellm.yaml"}                                   build the Router
    {"group": "support_triage", "messages": […], "timeout_s": 10, "tags": null}     ask it

It ends with status 2 and a line on standard error where the input or the config is wrong.
`attempted_fallbacks` is LiteLLM's own figure and too low in longer chains: believe `deployment`.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib.metadata
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

# The litellm_settings that change routing; the proxy sets each as an attribute of the module.
ROUTING = {"num_retries", "request_timeout", "max_fallbacks", "allowed_fails", "drop_params"}
ROUTING |= {f"{kind}fallbacks" for kind in ("", "default_", "context_window_", "content_policy_")}

# Settings that the proxy takes and that are no attribute of the module.
SETTINGS = {
    "cache",
    "cache_params",
    "guardrails",
    "priority_reservation_settings",
    "responses",
    "max_ui_session_budget",
}


class InputError(Exception):
    """The input or the config is wrong; the message is one line and holds no key."""


def describe(error: Exception, secrets: list[str]) -> str:
    text = str(error).strip().partition("\n")[0]
    for secret in secrets:  # before the cut, which could leave half a key
        text = text.replace(secret, "[key]")
    return f"{type(error).__name__}: {text}"[:300].removesuffix(": ")


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
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        given.pop("general_settings", None)  # the proxy's: its master key need not be set here
        config = resolve(given)
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


async def ask(router: Any, request: dict[str, Any], secrets: list[str]) -> dict[str, Any]:
    figures = ("text", "model", "deployment", "attempted_fallbacks", "error")
    result: dict[str, Any] = {"group": request["group"], "ok": False} | dict.fromkeys(figures)
    extra = {"metadata": {"tags": request["tags"]}} if request.get("tags") else {}
    try:
        # A deadline around the call: given to LiteLLM, it would replace the deployments' timeouts.
        async with asyncio.timeout(request.get("timeout_s", 60)):
            answer = await router.acompletion(model=request["group"], messages=request["messages"], **extra)
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


def unknown_keys(litellm: Any, config: dict[str, Any]) -> list[str]:
    """Keys that LiteLLM would pass over, with the one that may have been meant."""
    from litellm.proxy._types import ConfigGeneralSettings, ConfigYAML
    from litellm.types.router import LiteLLM_Params, ModelInfo

    params = set(LiteLLM_Params.model_fields) | set(litellm.OPENAI_CHAT_COMPLETION_PARAMS)
    params |= set(litellm.types.utils.all_litellm_params)
    info = set(ModelInfo.model_fields) | {"workbench"}
    known = {
        "": set(ConfigYAML.model_fields),
        "general_settings": set(ConfigGeneralSettings.model_fields),
        "router_settings": set(litellm.Router.get_valid_args()),
        # The proxy sets each as an attribute of the module; some it takes itself.
        "litellm_settings": set(vars(litellm)) | SETTINGS,
    }
    found = [misspelt("the file", key, known[""]) for key in config if key not in known[""]]
    for section in ("general_settings", "router_settings", "litellm_settings"):
        given = config.get(section) or {}
        found += [misspelt(section, key, known[section]) for key in given if key not in known[section]]
    for entry in config.get("model_list") or []:
        name = entry.get("model_name", "model_list")
        for where, keys in {"litellm_params": params, "model_info": info}.items():
            found += [misspelt(f"{name}: {where}", key, keys) for key in entry.get(where) or {} if key not in keys]
        keys = {"model_name", "litellm_params", "model_info"}
        found += [misspelt(name, key, keys) for key in entry if key not in keys]
    return found


def misspelt(where: str, key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"{where}: LiteLLM knows no '{key}' and passes over it" + (f"; is it {near[0]}?" if near else ".")


async def serve(output: Any) -> None:
    # Read at import: without it LiteLLM downloads a price map.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # It would send even loopback requests, key and all, through a proxy named in HTTP_PROXY.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"]))
    logging.disable()  # its log repeats error messages as they came, with a key that is in them
    router: Any = None
    secrets: list[str] = []
    # One after the other, so that counts come out the same every time.
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        if "version" in request:
            answer: dict[str, Any] = {"version": importlib.metadata.version("litellm")}
        elif "unknown_keys" in request:
            answer = {"unknown": unknown_keys(importlib.import_module("litellm"), request["unknown_keys"])}
        elif "load" in request:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                if "outside" in request:
                    os.environ[name] = os.environ[name.lower()] = request["outside"]
            config, secrets = load_config(Path(request["load"]))
            router = build_router(importlib.import_module("litellm"), config, secrets)
            answer = {"loaded": True}
        elif router is None:
            raise InputError("nothing is loaded")
        else:
            answer = await ask(router, request, secrets)
        print(json.dumps(answer), file=output, flush=True)


def main() -> int:
    # Keep the real standard output aside: what LiteLLM prints, native code too, goes to stderr.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        asyncio.run(serve(output))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except (ValueError, KeyError, TypeError) as error:
        print(f"malformed input: {describe(error, [])}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
