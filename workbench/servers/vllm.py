"""vLLM, in an environment of its own: asked in batches by its command `vllm run-batch`.

smollm2-vllm: {engine: vllm, model: .weights/smollm2-hf, engine_args: {dtype: bfloat16, enforce_eager: true}}
"""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench import project
from workbench.catalog import Model
from workbench.errors import EngineError
from workbench.servers import weights

CAPABILITIES = frozenset({"json_schema", "stream_usage", "temperature", "seed", "stop"})
_VERSION = "from importlib.metadata import version; print(version('vllm'))"


def unavailable(model: Model, batch: bool = False) -> str | None:
    if not batch:
        return f"{model.id}: engine vllm runs in batches only for now. Ask it with 'workbench run --batch'."
    python = interpreter(model)
    if not os.access(python, os.X_OK) or not _command(python).is_file():
        return (
            f"{model.id}: there is no vLLM beside {model.python}. Make its environment with 'make vllm', or name "
            "another interpreter by python in models.yaml."
        )
    if _version(python) is None:
        return f"{model.id}: {model.python} knows no package vllm. Make its environment anew with 'make vllm'."
    return weights.missing_folder(model)


def identity(model: Model) -> dict[str, Any]:
    _, digest = weights.locate_folder(model)
    return {
        "engine": "vllm",
        "version": _version(interpreter(model)),
        "weights": digest,
        "arguments": {"context": model.max_model_len, "threads": model.threads, **model.engine_args},
    }


def engine_id(model: Model) -> str:
    _, digest = weights.locate_folder(model)
    return f"vllm vllm-{_version(interpreter(model))} sha256:{digest[:12]}"


def served_name(model: Model) -> str:
    return Path(str(model.model)).name


def launch(model: Model) -> None:
    raise EngineError(str(unavailable(model)))


def interpreter(model: Model) -> Path:
    """The interpreter of vLLM's environment; a link is not followed, as its place is what tells the environment."""
    return project.root() / Path(model.python or ".venv-vllm/bin/python").expanduser()


def run_batch(model: Model, given: Path, answers: Path, sockets: Path) -> tuple[list[str], dict[str, str]]:
    """The command that answers a file of requests, and what it needs in its environment.

    Args:
        given: the input file.
        answers: the output file.
        sockets: an empty folder, private and with a short name, for what its processes talk over.
    """
    python = interpreter(model)
    folder, _ = weights.locate_folder(model)
    # Its own script: it starts further processes that import what was started.
    argv = [str(python), str(_command(python)), "run-batch", f"--input-file={given}", f"--output-file={answers}"]
    argv += [f"--model={folder}", f"--served-model-name={served_name(model)}", f"--max-model-len={model.max_model_len}"]
    argv += [_option(name, value) for name, value in model.engine_args.items()]
    env = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",  # or it asks the network for its own address
        "VLLM_RPC_BASE_PATH": str(sockets),
        "PYTHONPATH": "",  # ours is not its
    }
    if "cpu" in str(_version(python)):
        env |= {"TORCH_COMPILE_DISABLE": "1"}  # it would need a C++ compiler, and die without one in mid-run
        env |= {"VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")}
        if model.threads:
            cores = sorted(os.sched_getaffinity(0))[: model.threads]
            env |= {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}
    return argv, env


def _option(name: str, value: str | bool | int | float) -> str:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option}={value}"


def _command(python: Path) -> Path:
    return python.with_name("vllm")


@lru_cache(maxsize=8)
def _version(python: Path) -> str | None:
    """The version by the environment's own records; vLLM itself takes half a minute to import."""
    try:
        found = subprocess.run(
            [str(python), "-I", "-c", _VERSION], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
