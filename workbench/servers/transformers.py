"""transformers' server, in an environment of its own, behind a key: bf16; nf4, int8 by bitsandbytes at load.

qwen3-nf4: {engine: transformers, model: Qwen/Qwen3-1.7B, quantization: nf4, dtype: bfloat16}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.catalog import Model
from workbench.errors import EngineError
from workbench.servers import environments, options, quantization, weights
from workbench.servers.process import Launch

# With its continuous batching: stop and seed reach no batch, and there are no logprobs and no schemas.
CAPABILITIES = frozenset({"stream_usage", "temperature", "max_completion_tokens"})
_CHILD = Path(__file__).with_name("_transformers_child.py")
_READY_S = 600.0


def unavailable(model: Model, batch: bool = False) -> str | None:
    reason = environments.missing(model) or weights.missing_folder(model) or weights.missing_adapter(model)
    if reason:
        return reason
    python = environments.interpreter(model)
    for name in _packages(model):
        if environments.package_version(python, name) is None:
            return (
                f"{model.id}: what its entry asks for needs the package {name}, which is not installed beside "
                f"transformers. Install it there, or leave out python ('{environments.suggestion('transformers')}')."
            )
    if model.engine_args:
        known = options.helped(python, ["serve", "--help"], "transformers")
        options.check(model, known, f"transformers {environments.package_version(python, 'transformers')}")
    return None


def _packages(model: Model) -> list[str]:
    """What a model needs beside transformers itself."""
    folder = weights.folder_of(model)
    loaded, scheme = quantization.check(model, folder), quantization.scheme(folder)
    quantized = loaded is not None or (scheme is not None and "bitsandbytes" in scheme.labels)
    return [*(["bitsandbytes"] if quantized else []), *(["peft"] if model.lora else [])]


def identity(model: Model) -> dict[str, Any]:
    python = environments.interpreter(model)
    _, digest = weights.locate_folder(model)
    adapter = weights.locate_adapter(model)
    loaded = quantization.check(model, weights.folder_of(model))
    packages = ["torch", *(["bitsandbytes"] if loaded else []), *(["peft"] if adapter else [])]
    further = {
        "lora": adapter[1] if adapter else None,
        "env": model.env,
        "trust_remote_code": model.trust_remote_code,
    }
    return {
        "engine": "transformers",
        "version": environments.package_version(python, "transformers"),
        "packages": {name: environments.package_version(python, name) for name in packages},
        "weights": digest,
        "arguments": {
            "context": model.max_model_len,
            "dtype": model.dtype,
            "parallel": model.concurrency,
            "quantization": loaded,
            "threads": model.threads,
            **{name: value for name, value in further.items() if value},
            **options.named(model),
        },
    }


def engine_id(model: Model) -> str:
    _, digest = weights.locate_folder(model)
    version = environments.package_version(environments.interpreter(model), "transformers")
    return f"transformers transformers-{version} sha256:{digest[:12]}"


def served_name(model: Model) -> str:
    return Path(model.lora or str(model.model)).name


def launch(model: Model) -> Launch:
    python = environments.interpreter(model)
    folder, _ = weights.locate_folder(model)
    adapter = weights.locate_adapter(model)
    if not python.is_file():
        raise EngineError(str(unavailable(model)))
    spec = {
        "path": str(folder),
        "served_name": served_name(model),
        "parallel": model.concurrency,
        "context": model.max_model_len,
        "threads": model.threads,
        "dtype": model.dtype,
        "quantization": quantization.check(model, folder),
        "lora": str(adapter[0]) if adapter else None,
        "trust_remote_code": model.trust_remote_code,
        "engine_args": options.named(model),
    }
    # Passive waiting: with other work on the cores, spinning threads slow each other down many times over.
    env = {"OMP_WAIT_POLICY": "passive", **model.env, **environments.QUIET}
    # Isolated: beside this file lie an openai.py and a transformers.py, which are not the ones that it wants.
    argv = [str(python), "-I", str(_CHILD), json.dumps(spec)]
    return Launch(argv, served_name(model), env, ready_timeout_s=_READY_S, gpu=environments.on_gpu(model))
