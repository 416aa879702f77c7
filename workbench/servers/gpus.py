"""The GPUs of this machine and who uses them, as nvidia-smi says.

gpus = list_gpus()                   # [] where there is none, or no driver
gpus[0].free_bytes, gpus[0].used_by
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

_WAIT_S = 20
_GPU = "index,uuid,name,memory.total,memory.free,compute_cap"
_APPS = "gpu_uuid,pid,process_name,used_memory"


@dataclass(frozen=True)
class GpuProcess:
    """A process with memory on a GPU; its memory is None where the driver does not say (in a container)."""

    pid: int
    name: str
    used_bytes: int | None
    user: str | None

    def __str__(self) -> str:
        used = "memory unknown" if self.used_bytes is None else f"{self.used_bytes / 1e9:.1f} GB"
        return f"{self.name} (process {self.pid}, {self.user or 'another user'}): {used}"


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        capability: its compute capability, such as (8, 9); None where nvidia-smi does not say.
    """

    index: str
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None
    used_by: tuple[GpuProcess, ...] = field(default=())


def list_gpus() -> list[Gpu]:
    """All GPUs that nvidia-smi lists; none where it is missing, or fails."""
    rows = _ask("gpu", _GPU)
    if not rows:
        return []
    using: dict[str, list[GpuProcess]] = {}
    for row in _ask("compute-apps", _APPS):
        if len(row) == 4 and row[1].isdigit():
            using.setdefault(row[0], []).append(_process(int(row[1]), row[2], row[3]))
    return [
        Gpu(
            index,
            uuid,
            name,
            _mebibytes(total) or 0,
            _mebibytes(free) or 0,
            _capability(capability),
            tuple(using.get(uuid, ())),
        )
        for index, uuid, name, total, free, capability in (row for row in rows if len(row) == 6)
    ]


def chosen(gpus: list[Gpu], entry: str | None) -> list[Gpu]:
    """Those that one entry of a model's `gpus` names, by number or UUID; all where it names none."""
    if entry is None:
        return gpus
    wanted = entry.split(",")
    return [gpu for gpu in gpus if gpu.index in wanted or any(gpu.uuid.startswith(name) for name in wanted)]


def _ask(what: str, fields: str) -> list[list[str]]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        said = subprocess.run(
            [command, f"--query-{what}={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(said.stdout)) if row]


def _process(pid: int, name: str, used: str) -> GpuProcess:
    try:
        user = Path(f"/proc/{pid}").owner()
    except (OSError, KeyError):
        user = None
    return GpuProcess(pid, Path(name).name or name, _mebibytes(used), user)


def _mebibytes(text: str) -> int | None:
    return int(text) << 20 if text.isdigit() else None


def _capability(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
