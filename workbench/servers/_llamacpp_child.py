"""The llama.cpp engine as a process of its own: `python _llamacpp_child.py SPEC`, SPEC being JSON.

The key and the address file come in the environment. xllamacpp's server has no way to stop, so the process is ended.
"""

import json
import os
import sys
import threading

import xllamacpp as xlc


def main() -> None:
    spec = json.loads(sys.argv[1])
    params = xlc.CommonParams()
    params.model.path = spec["path"]
    params.model_alias = {spec["alias"]} if isinstance(params.model_alias, set) else spec["alias"]
    params.hostnames = ["127.0.0.1"]
    params.port = int(os.environ.get("WORKBENCH_PORT", "0"))
    params.api_keys = [os.environ.pop("WORKBENCH_API_KEY")]
    params.n_parallel = spec["parallel"]
    params.n_ctx = spec["context"] * spec["parallel"]
    params.cache_ram_mib = 0  # prompts are cached in the slots; a second cache would only cost memory
    params.swa_full = spec.get("swa_full", True)
    params.endpoint_metrics = True
    params.ui = False
    if spec["chat_template"]:
        params.chat_template = spec["chat_template"]
    params.cpuparams.n_threads = spec["threads"]
    params.cpuparams_batch.n_threads = spec["threads"]
    server = xlc.Server(params)
    target = os.environ["WORKBENCH_ADDRESS_FILE"]
    with open(f"{target}.new", "w") as file:
        file.write(server.listening_address)
    os.replace(f"{target}.new", target)
    threading.Event().wait()


main()
