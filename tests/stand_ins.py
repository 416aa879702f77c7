"""Stand-ins for commands that are not here: nvidia-smi as recorded in its documentation's form, engines' help, pip."""

from __future__ import annotations

import json
import os
import stat
import struct
from pathlib import Path

import pytest


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, gpus: str, apps: str = "") -> None:
    """An nvidia-smi on PATH that says this of --query-gpu and --query-compute-apps (csv, no header, no units).

    It notes what it was asked in `smi/asked`; where there is a file `smi/fault`, that is run first.
    """
    (folder / "smi").mkdir()
    (folder / "smi" / "gpus").write_text(gpus)
    (folder / "smi" / "apps").write_text(apps)
    script(
        folder / "smi" / "nvidia-smi",
        f'echo "$1" >> {folder}/smi/asked\n[ -f {folder}/smi/fault ] && . {folder}/smi/fault\n'
        f'case "$1" in --query-gpu*) cat {folder}/smi/gpus;; --query-compute-apps*) cat {folder}/smi/apps;; esac',
    )
    monkeypatch.setenv("PATH", f"{folder}/smi:{os.environ['PATH']}")


def engine(root: Path, name: str, version: str, help_text: str = "", lacks: str = "none") -> Path:
    """An environment with an engine's command that prints its help; its interpreter tells the version only.

    Args:
        lacks: a package that it does not have; it has every other.
    """
    (root / "help").parent.mkdir(parents=True, exist_ok=True)
    (root / "help").write_text(help_text)
    script(root / "bin" / name, "exit 3")
    return script(
        root / "bin" / "python",
        f'case "$3" in *{lacks}*) exit 1;; esac\n'
        f'[ "$1" = -I ] && echo {version} && exit\necho asked >> {root}/asked\ncat {root}/help',
    )


def checkpoint(folder: Path, **config: object) -> Path:
    """A folder that looks like a small llama's weights, with 4 MB of them."""
    shape = {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "hidden_size": 32,
        "vocab_size": 1000,
        "tie_word_embeddings": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**shape, **config}))
    safetensors(folder / "model.safetensors")
    return folder


def safetensors(path: Path, size: int = 4_000_000) -> Path:
    """A file of `size` bytes with one tensor of zeros."""
    room = 120
    end = size - 8 - room
    head = json.dumps({"a": {"dtype": "U8", "shape": [end], "data_offsets": [0, end]}}).ljust(room).encode()
    path.write_bytes(struct.pack("<Q", room) + head)
    os.truncate(path, size)  # zeros that take no room on the disk
    return path


def gguf_file(path: Path, **head: str | int | list[int]) -> Path:
    """A GGUF file with a head and one small tensor."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def typed(value: str | int | list[int]) -> bytes:
        if isinstance(value, list):
            return struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)
        return struct.pack("<I", 8) + text(value) if isinstance(value, str) else struct.pack("<II", 4, value)

    said: dict[str, str | int | list[int]] = {"general.architecture": "llama", **head}
    raw = b"GGUF" + struct.pack("<IQQ", 3, 1, len(said))
    for name, value in said.items():
        raw += text(name) + typed(value)
    raw += text("token_embd.weight") + struct.pack("<IQIQ", 1, 32, 0, 0)  # 32 numbers, F32
    path.write_bytes(raw + bytes(-len(raw) % 32) + bytes(128))
    return path
