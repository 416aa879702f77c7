"""Which keys of an entry in models.yaml an engine takes, and which of its options are not to be set there.

check_keys("vllm", {"dtype", "engine_args"})          # raises ValueError, in words for whoever edits the file
check_arguments("vllm", {"enforce_eager": True})
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MANAGED = ("llamacpp", "transformers", "vllm")  # engines whose server the workbench starts
TAKEN_BY = {
    "python": ("transformers", "vllm"),
    "dtype": ("transformers", "vllm"),
    "trust_remote_code": ("transformers", "vllm"),
    "engine_args": MANAGED,
    "env": MANAGED,
    "gpus": MANAGED,
    "lora": MANAGED,
    "chat_template": ("llamacpp",),
}
_ARGUMENT = re.compile(r"[a-z][a-z0-9_-]*")
# What the workbench says itself; what would open a port to everyone, read files of the machine, run further code, or
# log requests. A beginning of one is taken for it, as argparse does.
_OWN = {
    "vllm": (
        *("model", "served-model-name", "input-file", "output-file", "output-tmp-dir", "max-model-len", "dtype"),
        *("quantization", "hf-token"),  # the entry's own key; a secret would stand in a command line
        *("host", "port", "url", "uds", "api-key", "enable-metrics", "enable-log-requests", "enable-log-outputs"),
        *("trust-remote-code", "enable-lora", "lora-modules", "max-lora-rank", "config", "middleware", "grpc-port"),
        *("tool-parser-plugin", "allowed-local-media-path", "headless"),
    ),
    "transformers": (
        *("host", "port", "trust-remote-code", "dtype", "quantization", "force-model", "continuous-batching"),
        *("enable-cors", "model-timeout", "log-level", "non-blocking", "default-seed"),
    ),
    "llamacpp": (),
}
# Its options are attributes, named in full; these are families of them.
_LLAMACPP = re.compile(
    r"(model|hostname|port|reuse_port|api_|ssl_|cors_|mcp_|server_|ui|log_|verbosity|prompt|path_|public_|media_|"
    r"slot_save|n_parallel|n_ctx$|lora_|chat_template|cpuparams|hf_|system_prompt|in_files|context_files|out_file|"
    r"logits_|sleep_|video_ffmpeg|tts_)"
)


def check_keys(engine: str, given: Iterable[str]) -> None:
    """Refuse keys that only other engines take.

    Raises:
        ValueError: for the first of them.
    """
    for name in sorted(set(given).intersection(TAKEN_BY)):
        if engine not in TAKEN_BY[name]:
            raise ValueError(f"{name}: only {' and '.join(TAKEN_BY[name])} take that. Remove it")


def check_arguments(engine: str, names: Iterable[str]) -> None:
    """Refuse options that are none, or are the workbench's own to set; the engine's help is asked later.

    Raises:
        ValueError: for the first of them.
    """
    for name in names:
        if not _ARGUMENT.fullmatch(name):
            raise ValueError(f"'{name}' is no option: write a name such as enforce_eager, without hyphens before it")
        option = name.replace("_", "-")
        own = any(each.startswith(option) for each in _OWN[engine])
        if own or (engine == "llamacpp" and _LLAMACPP.match(option.replace("-", "_"))):
            mend = "Set `quantization` of the entry" if option == "quantization" else "Remove it"
            raise ValueError(f"{name} is not to be set in engine_args. {mend}")
