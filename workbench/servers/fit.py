"""Does a model fit? Its weights and its cache of keys and values, against what is free.

need = need_of(model)          # None where its weights are not here
rooms = rooms_for(model)       # of each of its replicas
need.total <= rooms[0].bytes
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.catalog import Model
from workbench.errors import EngineError, InputError
from workbench.servers import environments, gguf, options, quantization, weights
from workbench.servers.gpus import VISIBLE, Gpu, chosen, list_gpus

_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length")
PART = "MIG-"  # how the name of a part begins
_CACHE_BYTES = 2  # of a key's or value's number: 16 bits in all three engines unless they are told otherwise
# Bytes of a quantized weight: 4 bits and the doubly quantized scales of 64 (QLoRA, section 3), 8 bits and theirs.
# Other words of an engine are taken as plain weights: it may quantize some of them only.
_LOADED = {
    **{"nf4": 0.516, "mxfp4": 0.54, "nvfp4_per_token": 0.57, "int8": 1.01, "mxfp8": 1.04},
    **dict.fromkeys(("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "ptpc_fp8"), 1.01),
    "bitsandbytes": 0.516,  # of an earlier vLLM: nf4
}


@dataclass(frozen=True)
class Need:
    """What a model takes at most, in bytes; without what the engine itself takes.

    Attributes:
        cache: for all its places filled with `max_model_len` tokens; None where its configuration does not tell.
    """

    weights: int
    cache: int | None

    @property
    def total(self) -> int:
        return self.weights + (self.cache or 0)


@dataclass(frozen=True)
class Room:
    """What is free, and where.

    Attributes:
        gpus: those that the model takes.
        seen: those that it could take.
    """

    bytes: int
    where: str
    gpus: tuple[Gpu, ...] = ()
    seen: tuple[Gpu, ...] = ()


def need_of(model: Model) -> Need | None:
    """What a managed model takes; None where its weights are not here, or cannot be read."""
    try:
        if model.engine == "llamacpp":
            path, _ = weights.locate(model)
            head = gguf.read_head(path)
            return Need(path.stat().st_size, _cache(model, *_gguf_shape(head)))
        if weights.missing_folder(model):
            return None
        folder = weights.folder_of(model)
        config = quantization.read_config(folder)
        text = config.get("text_config")
        return Need(_loaded(model, folder, config), _cache(model, *_shape(text if isinstance(text, dict) else config)))
    except (OSError, ValueError, EngineError):
        return None


def longest(model: Model) -> int | None:
    """The tokens that a model's own configuration is made for; None where it does not tell."""
    try:
        if model.engine == "llamacpp":
            head = gguf.read_head(weights.first_part(model))
            said = _number(head, f"{head.get('general.architecture')}.context_length")
            return int(said) if said else None
    except (OSError, ValueError, EngineError):
        return None
    config = quantization.read_config(weights.folder_of(model))
    text = config.get("text_config")
    text = text if isinstance(text, dict) else config
    told = [said for name in _LENGTHS if (said := _number(text, name))]
    rope = text.get("rope_scaling") or text.get("rope_parameters")
    factor = _number(rope, "factor") if isinstance(rope, dict) else None
    # Some kinds of scaling are counted in already; where one is not sure, more is not refused.
    return int(max(min(told) * (factor or 1), _number(text, "model_max_length") or 0)) if told else None


def _cache(model: Model, layers: float | None, numbers: float | None) -> int | None:
    """Bytes of keys and values.

    Args:
        numbers: that each layer keeps of a token.
    """
    if not layers or not numbers:
        return None
    return int(model.concurrency * model.max_model_len * layers * numbers * _CACHE_BYTES)


def _shape(config: dict[str, Any]) -> tuple[float | None, float | None]:
    """Layers, and numbers each keeps of a token, out of a config.json."""
    layers, heads = _number(config, "num_hidden_layers"), _number(config, "num_attention_heads")
    compressed = _number(config, "kv_lora_rank")
    if compressed:  # multi-head latent attention keeps one compressed vector
        return layers, compressed + (_number(config, "qk_rope_head_dim") or 0)
    kept, width = _number(config, "num_key_value_heads") or heads, _number(config, "hidden_size")
    size = _number(config, "head_dim") or (width / heads if heads and width else None)
    return layers, 2 * kept * size if kept and size else None


def _gguf_shape(head: dict[str, Any]) -> tuple[float | None, float | None]:
    kind = head.get("general.architecture")
    said = {key.removeprefix(f"{kind}."): value for key, value in head.items() if key.startswith(f"{kind}.")}
    heads, width = _number(said, "attention.head_count"), _number(said, "embedding_length")
    kept, each = _number(said, "attention.head_count_kv") or heads, width / heads if heads and width else None
    key, value = (_number(said, f"attention.{name}_length") or each for name in ("key", "value"))
    return _number(said, "block_count"), kept * (key + value) if kept and key and value else None


def _number(said: dict[str, Any], name: str) -> float | None:
    """A positive number; of one for each layer their mean. None for whatever else may stand there."""
    value = said.get(name)
    each = value if isinstance(value, list) else [value]
    if not each or not all(isinstance(one, int | float) and 0 <= one < 1 << 60 for one in each):
        return None
    return sum(each) / len(each) or None


def _loaded(model: Model, folder: Path, config: dict[str, Any]) -> int:
    """The weights in memory: those on disk, or fewer where the engine quantizes while it loads."""
    on_disk = sum(path.stat().st_size for path in weights.weights_files(folder))
    try:
        word = quantization.check(model, folder)
    except InputError:  # told elsewhere
        word = None
    if word not in _LOADED:
        return on_disk
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    # Embeddings stay as they are.
    tables = 1 if text.get("tie_word_embeddings") else 2
    kept = min(on_disk, int(2 * tables * (_number(text, "vocab_size") or 0) * (_number(text, "hidden_size") or 0)))
    return kept + math.ceil((on_disk - kept) / 2 * _LOADED[word])


def rooms_for(model: Model, gpus: list[Gpu] | None = None) -> list[Room]:
    """The memory that each replica of a model may take; those on the same GPUs share it. On the CPU it is one.

    Args:
        gpus: as nvidia-smi lists them; None asks it.
    """
    found = list_gpus() if gpus is None else gpus
    rooms = []
    for entry in _entries(model):
        usable = chosen(found, entry) if environments.on_gpu(model) else []
        if not usable:
            return [Room(free_memory(), "main memory")]
        # vLLM takes one unless it is told to share a model out; transformers shares it out over all.
        seen, usable = tuple(usable), usable[: wide(model) * copies(model)] if model.engine == "vllm" else usable
        names = ", ".join(f"GPU {gpu.index} ({gpu.name})" for gpu in usable)
        own = all(gpu.total_bytes for gpu in usable)
        free = sum(gpu.free_bytes for gpu in usable) if own else free_memory()
        rooms.append(Room(free, names if own else f"main memory, which {names} has too", tuple(usable), seen))
    return rooms


def _entries(model: Model) -> Sequence[str | None]:
    """The GPUs of each replica, as the entry names them or the environment does; None is all."""
    return model.gpus or [model.env.get(VISIBLE, os.environ.get(VISIBLE))]


def in_parts(model: Model) -> bool:
    """Whether it is to run on parts of GPUs (MIG), of which nvidia-smi's lists say nothing."""
    return environments.on_gpu(model) and any(PART in (entry or "") for entry in _entries(model))


def wide(model: Model) -> int:
    """The GPUs that vLLM is told to share a model out over."""
    return _product(model, "tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size")


def copies(model: Model) -> int:
    """The copies that one vLLM has of a model on this machine, each on GPUs of its own."""
    if model.engine != "vllm":
        return 1
    local = "data_parallel_size_local"
    return _product(model, local if local in options.named(model) else "data_parallel_size")


def _product(model: Model, *names: str) -> int:
    said = options.named(model)
    sizes = [said.get(name, 1) for name in names]
    return math.prod(int(size) for size in sizes if str(size).isdigit() and int(size) > 0)


def free_memory() -> int:
    """Main memory that is free, in bytes: the machine's, or less where a container has a limit."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        said = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        free = int(said[1]) * 1024 if said else free
    return min(free, *_limits(Path("/sys/fs/cgroup")), free)


def _limits(root: Path) -> list[int]:
    """What control groups leave free (version 2, then 1), of this process's group and those above it."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        own = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2].strip("/")
        folder = root / own
        while folder == root or root in folder.parents:
            with contextlib.suppress(OSError, ValueError):
                limit = int((folder / "memory.max").read_text())  # ValueError: "max"
                found.append(limit - int((folder / "memory.current").read_text()) + _reclaimable(folder))
            folder = folder.parent
    with contextlib.suppress(OSError, ValueError):
        limit = int((root / "memory/memory.limit_in_bytes").read_text())
        used = int((root / "memory/memory.usage_in_bytes").read_text())
        if limit < 1 << 60:
            found.append(limit - used + _reclaimable(root / "memory", "total_inactive_file"))
    return found


def _reclaimable(folder: Path, field: str = "inactive_file") -> int:
    """Pages of files that are given up for whoever needs memory."""
    with contextlib.suppress(OSError):
        said = re.search(rf"^{field} (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
        return int(said[1]) if said else 0
    return 0
