"""Is a file of weights one, by its first bytes and its length? It is not read whole, and no engine is asked.

wrong(path)                   # 'is cut off: load it anew'; None where nothing shows
wrong_gguf(path, "adapter")   # of a GGUF file, and what it has to be
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from pathlib import Path

from workbench.servers import gguf

_POINTER = b"version https://git-lfs"
_LONGEST = 1 << 28  # bytes of a head of safetensors


def wrong(path: Path) -> str | None:
    """What is wrong with a file out of a folder of weights; None where nothing shows.

    Raises:
        OSError: it cannot be read.
    """
    about = path.stat()
    return _wrong(path, about.st_size, about.st_mtime_ns)


def wrong_gguf(path: Path, kind: str = "model", cut: bool = False) -> str | None:
    """What is wrong with a GGUF file; None where nothing shows.

    Args:
        kind: what it has to be by its head: `model` or `adapter`.
        cut: it is the first of several parts, so that it may end anywhere.

    Raises:
        OSError: it cannot be read.
    """
    about = path.stat()
    pointer = _pointer(path, about.st_size)
    if pointer:
        return pointer
    try:
        said = gguf.read_head(path).get("general.type", "model")
        if not cut and gguf.data_begins(path) >= about.st_size:
            return "is cut off: load it anew"
    except ValueError as failure:
        return None if cut and "cut off" in str(failure) else f"is no GGUF file: {failure}"
    return None if (said == "adapter") == (kind == "adapter") else f"is no {kind}: its head says {said}"


def _pointer(path: Path, size: int) -> str | None:
    if not size:
        return "is empty: load it anew"
    with path.open("rb") as file:
        pointer = file.read(len(_POINTER)) == _POINTER
    return "is a pointer of Git LFS, not the file: run 'git lfs pull' where it came from" if pointer else None


@lru_cache(maxsize=512)
def _wrong(path: Path, size: int, mtime_ns: int) -> str | None:
    found = _pointer(path, size)
    if found or path.suffix != ".safetensors":
        return found
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        head = file.read(length) if 2 <= length <= min(_LONGEST, size) else b""
    try:
        tensors = json.loads(head)
        ends = [each["data_offsets"][1] for name, each in tensors.items() if name != "__metadata__"]
        short = max(ends, default=0) > size - 8 - length
    except (ValueError, RecursionError, AttributeError, KeyError, IndexError, TypeError):
        return "is no safetensors file, or is cut off: load it anew"
    return "is cut off: load it anew" if short else None
