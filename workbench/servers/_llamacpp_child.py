"""The llama.cpp engine as a process of its own: `python _llamacpp_child.py SPEC`, SPEC being JSON.

The key and the address file come in the environment. xllamacpp's server has no way to stop, so the process is ended.
"""

import json
import os
import sys
import threading
from typing import Any

import xllamacpp as xlc

_PREFIX = "/engine"


def valued(params: Any, name: str, value: Any) -> Any:
    """A value of `engine_args` as the attribute of that name wants it.

    Raises:
        AttributeError: there is no such attribute that a plain value could set.
        ValueError: the value is of another kind; with what it should be.
    """
    now = getattr(params, name)
    if isinstance(now, bool):
        if isinstance(value, bool):
            return value
        raise ValueError("is true or false")
    if hasattr(type(now), "__members__"):  # an enumeration: the end of a member's name
        members = type(now).__members__
        wanted = [each for each in members if each.upper().endswith("_" + str(value).upper())]
        if len(wanted) == 1:
            return members[wanted[0]]
        start = os.path.commonprefix(list(members))  # noqa: RUF071  (names, not paths)
        raise ValueError(f"is one of {', '.join(sorted(each.removeprefix(start).lower() for each in members))}")
    if isinstance(now, (int, float)) and isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(now, int) and not isinstance(value, int):
            raise ValueError("is a whole number")
        return type(now)(value)
    if isinstance(now, str) and isinstance(value, str):
        return value
    if isinstance(now, (int, float, str)):
        raise ValueError("is a number" if isinstance(now, (int, float)) else "is text")
    raise AttributeError(name)


def main() -> None:
    spec = json.loads(sys.argv[1])
    params = xlc.CommonParams()
    params.model.path = spec["path"]
    params.model_alias = {spec["alias"]} if isinstance(params.model_alias, set) else spec["alias"]
    params.hostnames = ["127.0.0.1"]
    params.port = int(os.environ.get("WORKBENCH_PORT", "0"))
    # Below a prefix it asks everybody for the key; without one it would show its models to all. Who serves on a port of
    # their own has the plain paths.
    params.api_prefix = "" if params.port else _PREFIX
    params.api_keys = [os.environ.pop("WORKBENCH_API_KEY")]
    params.n_parallel = spec["parallel"]
    params.n_ctx = spec["context"] * spec["parallel"]
    params.cache_ram_mib = 0  # prompts are cached in the slots; a second cache would only cost memory
    params.swa_full = spec.get("swa_full", True)
    params.endpoint_metrics = True
    params.ui = False
    if spec["chat_template"]:
        params.chat_template = spec["chat_template"]
    if spec.get("lora"):
        adapter = xlc.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = spec["lora"], 1.0
        params.lora_adapters = [adapter]
    params.cpuparams.n_threads = spec["threads"]
    params.cpuparams_batch.n_threads = spec["threads"]
    for name, value in spec.get("engine_args", {}).items():
        setattr(params, name, valued(params, name, value))
    server = xlc.Server(params)
    target = os.environ["WORKBENCH_ADDRESS_FILE"]
    with open(f"{target}.new", "w") as file:
        file.write(server.listening_address + params.api_prefix)
    os.replace(f"{target}.new", target)
    threading.Event().wait()


if __name__ == "__main__":
    main()
