"""vLLM, in an environment of its own: served by `vllm serve`, or asked in batches by `vllm run-batch`.

qwen3-awq: {engine: vllm, model: Qwen/Qwen3-4B-AWQ, quantization: AWQ, max_model_len: 4096, concurrency: 32}

Its own key guards /v1 only, and `/invocations` answers chats as well: a middleware of ours asks for it on every path.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from workbench.catalog import Model
from workbench.errors import EngineError, InputError
from workbench.servers import environments, options, quantization, weights
from workbench.servers.gpus import seeing
from workbench.servers.process import Launch

CAPABILITIES = frozenset({"json_schema", "stream_usage", "temperature", "seed", "stop", "max_completion_tokens"})
_INSIDE = Path(__file__).with_name("_inside_vllm")
_READY_S = 900.0  # a large model is read, compiled and captured
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def unavailable(model: Model, batch: bool = False) -> str | None:
    reason = environments.missing(model) or weights.missing_folder(model) or weights.missing_adapter(model)
    if reason:
        return reason
    quantization.check(model, weights.folder_of(model))
    python = environments.interpreter(model)
    if by_ray(model) and environments.package_version(python, "ray") is None:
        return (
            f"{model.id}: distributed_executor_backend: ray needs the package ray in the environment of vLLM, where it "
            "is not installed. Name a `python:` of an environment that has both."
        )
    if model.engine_args:
        known = options.helped(python, ["serve", "--help=all"], "vllm")
        options.check(model, known, f"vLLM {_version(python)}")
    return None


def by_ray(model: Model) -> bool:
    """Whether Ray shares it out, over several machines maybe."""
    return str(options.named(model).get("distributed_executor_backend", "")).lower() == "ray"


def identity(model: Model) -> dict[str, Any]:
    _, digest = weights.locate_folder(model)
    adapter = weights.locate_adapter(model)
    further = {
        "dtype": model.dtype,
        "quantization": quantization.check(model, weights.folder_of(model)),
        "lora": adapter[1] if adapter else None,
        "env": model.env,
        "trust_remote_code": model.trust_remote_code,
    }
    return {
        "engine": "vllm",
        "version": _version(environments.interpreter(model)),
        "weights": digest,
        "arguments": {
            "context": model.max_model_len,
            "parallel": model.concurrency,
            "threads": model.threads,
            **{name: value for name, value in further.items() if value},
            **options.named(model),
        },
    }


def engine_id(model: Model) -> str:
    _, digest = weights.locate_folder(model)
    return f"vllm vllm-{_version(environments.interpreter(model))} sha256:{digest[:12]}"


def served_name(model: Model) -> str:
    return Path(model.lora or str(model.model)).name


def launch(model: Model) -> Launch:
    python = _python(model)
    argv = [str(python), str(python.with_name("vllm")), "serve", str(weights.locate_folder(model)[0])]
    argv += ["--host=127.0.0.1", "--port={port}", "--middleware=workbench_door.Locked"]
    argv += ["--uvicorn-log-level=warning", *_arguments(model)]
    env = {**_environment(model, python), "PYTHONPATH": str(_INSIDE)}
    gpu = environments.on_gpu(model)
    return Launch(argv, served_name(model), env, key_variable="VLLM_API_KEY", ready_timeout_s=_READY_S, gpu=gpu)


def run_batch(model: Model, given: Path, answers: Path, sockets: Path) -> tuple[list[str], dict[str, str]]:
    """The command that answers a file of requests, and what it needs in its environment.

    Args:
        given: the input file.
        answers: the output file.
        sockets: an empty folder, private and with a short name, for what its processes talk over.
    """
    python = _python(model)
    # Its own script: it starts further processes that import what was started.
    argv = [str(python), str(python.with_name("vllm")), "run-batch", f"--input-file={given}"]
    argv += [f"--output-file={answers}", f"--model={weights.locate_folder(model)[0]}", *_arguments(model)]
    env = {**_environment(model, python), "VLLM_RPC_BASE_PATH": str(sockets)}
    return argv, seeing(env, model.gpus[0]) if model.gpus else env


def _arguments(model: Model) -> list[str]:
    """What serving and batches have in common."""
    folder = weights.folder_of(model)
    adapter = weights.locate_adapter(model)
    base = Path(str(model.model)).name if adapter else served_name(model)
    argv = [f"--served-model-name={base}", f"--max-model-len={model.max_model_len}"]
    if "max_num_seqs" not in options.named(model):
        argv.append(f"--max-num-seqs={model.concurrency}")
    loaded = quantization.check(model, folder)
    argv += [f"--dtype={model.dtype}"] if model.dtype else []
    argv += [f"--quantization={loaded}"] if loaded else []
    argv += ["--trust-remote-code"] if model.trust_remote_code else []
    if adapter:
        modules = json.dumps({"name": served_name(model), "path": str(adapter[0]), "base_model_name": base})
        argv += ["--enable-lora", f"--max-lora-rank={_rank(model, adapter[0])}", "--lora-modules", modules]
    return argv + [options.command_line(name, value) for name, value in options.named(model).items()]


def _rank(model: Model, adapter: Path) -> int:
    """The least rank that vLLM can be told and the adapter fits in."""
    try:
        rank = int(json.loads((adapter / "adapter_config.json").read_text())["r"])
        return next(each for each in _RANKS if each >= rank)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{model.place}: lora: {adapter.name}/adapter_config.json has no rank r.") from None
    except StopIteration:
        raise InputError(f"{model.place}: lora: rank {rank} is over vLLM's {_RANKS[-1]}.") from None


def _environment(model: Model, python: Path) -> dict[str, str]:
    usual: dict[str, str] = {}
    own = {**environments.QUIET, "VLLM_NO_USAGE_STATS": "1"}
    address = {"VLLM_HOST_IP": "127.0.0.1"}  # or it asks the network for its own address
    if by_ray(model):
        usual |= address  # other machines have to reach this one, by an address that only the entry can know
    else:
        own |= address
    if "cpu" in str(_version(python)):
        own |= {"TORCH_COMPILE_DISABLE": "1"}  # it would need a C++ compiler, and die without one in mid-run
        usual |= {"VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")}
        if model.threads:
            cores = sorted(os.sched_getaffinity(0))[: model.threads]
            usual |= {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}
    return {**usual, **model.env, **own}


def _python(model: Model) -> Path:
    reason = environments.missing(model)
    if reason:
        raise EngineError(reason)
    return environments.interpreter(model)


def _version(python: Path) -> str | None:
    return environments.package_version(python, "vllm")
