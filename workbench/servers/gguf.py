"""The head of a GGUF file: what it says of itself, without an engine.

head = read_head(path); head["general.architecture"]      # 'llama'; raises ValueError where it is no GGUF file
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

_SIMPLE = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _LIST = 8, 9
_LONGEST = 1 << 24  # bytes of a text, entries of a list: a damaged file says anything
_KEPT = 1024  # entries of a list that are kept; a vocabulary is only counted


def read_head(path: Path) -> dict[str, Any]:
    """Its metadata by key, a long list as its length.

    Raises:
        ValueError: it is no GGUF file, or is cut off or damaged in its head.
        OSError: it cannot be read.
    """
    about = path.stat()
    return dict(_read(path, about.st_size, about.st_mtime_ns)[0])


def data_begins(path: Path) -> int:
    """Where the data of its last tensor begins, 0 without one: a file that is no longer than that is cut off.

    Raises:
        ValueError, OSError: as `read_head`.
    """
    about = path.stat()
    return _read(path, about.st_size, about.st_mtime_ns)[1]


@lru_cache(maxsize=32)
def _read(path: Path, size: int, mtime_ns: int) -> tuple[dict[str, Any], int]:
    """The head, and where the last tensor begins; a vocabulary of 262,000 words takes a second."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("it does not begin like a GGUF file")
        version, tensors, count = (_number(file, kind) for kind in "IQQ")
        if not 2 <= version <= 3 or max(count, tensors) > _LONGEST:
            raise ValueError(f"its GGUF version {version} is not known, or its head is damaged")
        head = {_text(file): _value(file, _number(file, "I")) for _ in range(count)}
        offsets = [_offset(file) for _ in range(tensors)]
        step = head.get("general.alignment", 32)
        if type(step) is not int or step < 1:
            raise ValueError("its head is damaged: general.alignment is no number of bytes")
        return head, -(-file.tell() // step) * step + max(offsets) if offsets else 0


def _offset(file: BinaryIO) -> int:
    """Where a tensor lies in the data, out of its entry: its name, its shape, its type and that."""
    _text(file)
    file.seek(8 * _number(file, "I") + 4, 1)
    return int(_number(file, "Q"))


def _number(file: BinaryIO, kind: str) -> Any:
    size = struct.calcsize(kind)
    raw = file.read(size)
    if len(raw) < size:
        raise ValueError("it is cut off in its head")
    return struct.unpack("<" + kind, raw)[0]


def _text(file: BinaryIO) -> str:
    length = _number(file, "Q")
    if length > _LONGEST:
        raise ValueError("its head is damaged")
    raw = file.read(length)
    if len(raw) < length:
        raise ValueError("it is cut off in its head")
    return raw.decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> Any:
    if kind in _SIMPLE:
        return _number(file, _SIMPLE[kind])
    if kind == _STRING:
        return _text(file)
    if kind != _LIST:
        raise ValueError("its head is damaged")
    inner, length = _number(file, "I"), _number(file, "Q")
    if length > _LONGEST:
        raise ValueError("its head is damaged")
    found = [_value(file, inner) for _ in range(length)]
    return found if length <= _KEPT else length
