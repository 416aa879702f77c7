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
from workbench.errors import EngineError
from workbench.servers import environments, gguf, options, quantization, weights
from workbench.servers.gpus import VISIBLE, Gpu, chosen, list_gpus

_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
_CACHE_BYTES = 2  # of a key's or value's number: 16 bits in all three engines unless they are told otherwise
# Bytes of a quantized weight: 4 bits and the doubly quantized scales of 64 (QLoRA, section 3), 8 bits and theirs.
_LOADED = {"nf4": 0.516, "bitsandbytes": 0.516, "int8": 1.01, "fp8": 1.01}


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
    """What is free, and where."""

    bytes: int
    where: str
    gpus: tuple[Gpu, ...] = ()


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
    layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
    if isinstance(config.get("kv_lora_rank"), int):  # multi-head latent attention keeps one compressed vector
        return layers, config["kv_lora_rank"] + config.get("qk_rope_head_dim", 0)
    kept = config.get("num_key_value_heads") or heads
    size = config.get("head_dim") or (config.get("hidden_size", 0) / heads if heads else None)
    return layers, 2 * kept * size if kept and size else None


def _gguf_shape(head: dict[str, Any]) -> tuple[float | None, float | None]:
    kind = head.get("general.architecture")
    said = {key.removeprefix(f"{kind}."): value for key, value in head.items() if key.startswith(f"{kind}.")}
    heads, kept = said.get("attention.head_count"), said.get("attention.head_count_kv")
    layers = said.get("block_count")
    if isinstance(kept, list):
        kept = sum(kept) / len(kept) if kept else None
    heads = max(heads) if isinstance(heads, list) and heads else heads
    each = said.get("embedding_length", 0) / heads if heads else None
    key, value = said.get("attention.key_length", each), said.get("attention.value_length", each)
    return layers, (kept or heads) * (key + value) if heads and key and value else None


def _loaded(model: Model, folder: Path, config: dict[str, Any]) -> int:
    """The weights in memory: those on disk, or fewer where the engine quantizes while it loads."""
    on_disk = sum(path.stat().st_size for path in folder.glob("*") if path.suffix in _WEIGHTS and path.is_file())
    label = re.sub(r"[^a-z0-9]", "", (model.quantization or "").lower())
    if label not in _LOADED or quantization.scheme(folder) is not None:
        return on_disk
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    # Embeddings stay as they are.
    tables = 1 if text.get("tie_word_embeddings") else 2
    kept = min(on_disk, 2 * tables * int(text.get("vocab_size", 0)) * int(text.get("hidden_size", 0)))
    return kept + math.ceil((on_disk - kept) / 2 * _LOADED[label])


def rooms_for(model: Model, gpus: list[Gpu] | None = None) -> list[Room]:
    """The memory that each replica of a model may take; those on the same GPUs share it. On the CPU it is one.

    Args:
        gpus: as nvidia-smi lists them; None asks it.
    """
    found = list_gpus() if gpus is None else gpus
    rooms = []
    entries: Sequence[str | None] = model.gpus or [model.env.get(VISIBLE, os.environ.get(VISIBLE))]
    for entry in entries:
        usable = chosen(found, entry) if environments.on_gpu(model) else []
        if not usable:
            return [Room(free_memory(), "main memory")]
        # vLLM takes one unless it is told to share a model out; transformers shares it out over all.
        usable = usable[: wide(model)] if model.engine == "vllm" else usable
        names = ", ".join(f"GPU {gpu.index} ({gpu.name})" for gpu in usable)
        rooms.append(Room(sum(gpu.free_bytes for gpu in usable), names, tuple(usable)))
    return rooms


def wide(model: Model) -> int:
    """The GPUs that vLLM is told to share a model out over."""
    said = options.named(model)
    sizes = [said.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline")]
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
