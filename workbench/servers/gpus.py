"""The GPUs of this machine and who uses them, as nvidia-smi says.

gpus = list_gpus()                   # [] where there is none, or no driver
gpus[0].free_bytes, gpus[0].used_by
trouble()                            # why nvidia-smi, which is there, did not answer; None where it did

nvidia-smi may fail, or hang with the driver: nothing waits for it longer than it is told to, and one that hung is not
asked again for a minute.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
WITHIN_S = 5.0
_LISTING_S = 15.0  # a driver that has to be loaded for the question takes seconds
_HUNG_S = 60.0
_GPU = "index,uuid,name,memory.total,memory.free,compute_cap"
_APPS = "gpu_uuid,pid,process_name,used_memory"
_hung_at: dict[str, float] = {}  # by the command's path
_troubles: dict[str, str] = {}  # likewise, of its last answer


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
        total_bytes: 0 where nvidia-smi does not say, since it has no memory but the machine's.
        capability: its compute capability, such as (8, 9); None where nvidia-smi does not say.
    """

    index: str
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None
    used_by: tuple[GpuProcess, ...] = field(default=())


def list_gpus(within_s: float = _LISTING_S) -> list[Gpu]:
    """All GPUs that nvidia-smi lists; none where it is missing, fails, or takes longer."""
    rows = _ask("gpu", _GPU, within_s)
    if not rows:
        return []
    using: dict[str, list[GpuProcess]] = {}
    for uuid, process in processes(within_s) or []:
        using.setdefault(uuid, []).append(process)
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


def trouble() -> str | None:
    """Why an nvidia-smi that is here did not answer when it was last asked; None where it did, or is not here."""
    command = shutil.which("nvidia-smi")
    return _troubles.get(command) if command else None


def processes(within_s: float = WITHIN_S) -> list[tuple[str, GpuProcess]] | None:
    """The processes with memory on a GPU, each with that GPU's UUID; None where nvidia-smi does not answer.

    In a container their ids may be the machine's, which are not those that are seen there.
    """
    rows = _ask("compute-apps", _APPS, within_s)
    if rows is None:
        return None
    # A name may have commas, and nothing is quoted.
    found = [row for row in rows if len(row) > 3 and row[1].isdigit()]
    return [(row[0], _process(int(row[1]), ",".join(row[2:-1]), row[-1])) for row in found]


def chosen(gpus: list[Gpu], entry: str | None) -> list[Gpu]:
    """Those that an entry of a model's `gpus` names, or CUDA_VISIBLE_DEVICES, by number or UUID and in that order.

    All where it names none.
    """
    if entry is None:
        return gpus
    wanted = [name.strip() for name in entry.split(",")]
    return [gpu for name in wanted for gpu in gpus if name and (gpu.index == name or gpu.uuid.startswith(name))]


def seeing(env: Mapping[str, str], entry: str) -> dict[str, str]:
    """An engine's environment in which it sees the GPUs of an entry, numbered as nvidia-smi numbers them."""
    # CUDA numbers them by their speed unless it is told otherwise.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **env, VISIBLE: entry, "HIP_VISIBLE_DEVICES": entry}


def _ask(what: str, fields: str, within_s: float) -> list[list[str]] | None:
    """The rows of a query; None where there is no answer."""
    command = shutil.which("nvidia-smi")
    if command is None or time.monotonic() - _hung_at.get(command, -_HUNG_S) < _HUNG_S:
        return None
    said = _said([command, f"--query-{what}={fields}", "--format=csv,noheader,nounits"], within_s)
    if said is None:
        return None
    return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(said)) if row]


def _said(argv: list[str], within_s: float) -> str | None:
    """What a command says; None where it fails, or has not ended in time.

    One that hangs in the driver cannot be killed, so it is not waited for.
    """
    command = Path(argv[0]).name
    with tempfile.TemporaryFile() as words:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as failure:
            _troubles[argv[0]] = f"{command} cannot be started ({failure.strerror})"
            return None
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            _hung_at[argv[0]] = time.monotonic()
            _troubles[argv[0]] = f"{command} did not answer within {within_s:g} s"
            return None
        finally:
            if process.returncode is None:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
        words.seek(0)
        said = words.read().decode(errors="replace")
    if process.returncode:
        reason = " ".join(said.split())[:200]
        _troubles[argv[0]] = f"{command} ended with {process.returncode}{f': {reason}' if reason else ''}"
        return None
    _troubles.pop(argv[0], None)
    return said


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
