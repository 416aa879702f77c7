"""Is the GPU memory of an engine free again once it has ended? Processes that are gone may leave it taken for a while.

free = before(env)                           # () where there is no nvidia-smi, or it does not answer
release = Release("m", free, pids)           # just before it is ended
release.settled(print)                       # afterwards: waits, tells what is not free; False where a GPU lists it yet
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from workbench.servers.gpus import VISIBLE, WITHIN_S, Gpu, chosen, list_gpus, processes

Free = tuple[tuple[str, int, int], ...]  # a GPU's UUID, what was free there, and what others had
_WAIT_S = 10.0
_LOOK_S = 0.2
_ABOUT = 128 << 20  # what the driver itself takes differs by that much from one look to the next


def before(env: Mapping[str, str]) -> Free:
    """What is free before an engine starts, on the GPUs that its environment lets it see."""
    found = chosen(list_gpus(WITHIN_S), env.get(VISIBLE, os.environ.get(VISIBLE)))
    return tuple((gpu.uuid, gpu.free_bytes, _used(gpu)) for gpu in found if gpu.total_bytes)


class Release:
    """Looks after an engine's GPU memory while it is ended."""

    def __init__(self, label: str, free: Sequence[Sequence[str | int]], pids: Collection[int], alive: bool = True):
        """Note which of an engine's processes are on a GPU, before it is ended.

        Args:
            label: for messages.
            free: what `before` found.
            pids: the engine's processes.
            alive: False for one that ended long ago: what is free has changed since, and only its processes count.
        """
        self._label, self._alive = label, alive
        self._before = {str(uuid): (int(was_free), int(others)) for uuid, was_free, others in free}
        listed = (processes() if self._before and pids else None) or []
        self._own = {(uuid, process.pid) for uuid, process in listed if process.pid in pids}

    def settled(self, say: Callable[[str], None]) -> bool:
        """Wait until its memory is free again, at most 10 s, and tell what is not.

        Returns:
            False where a GPU lists a process of the engine yet.
        """
        if not self._before or not (self._own or self._alive):
            return True
        until = time.monotonic() + _WAIT_S
        while True:
            gpus = list_gpus(WITHIN_S)
            if not gpus:
                say(f"{self._label}: nvidia-smi does not answer, so nobody looked whether its GPU memory is free again")
                return True
            listed, less = self._listed(gpus), self._less(gpus)
            if not listed and not less:
                return True
            if time.monotonic() > until:
                break
            time.sleep(_LOOK_S)
        for line in listed or less:
            say(f"{self._label}: {line}")
        return not listed

    def _listed(self, gpus: list[Gpu]) -> list[str]:
        """What tells of its processes that a GPU has yet."""
        return [
            f"GPU {gpu.index} still lists process {process.pid} of the ended engine, {_WAIT_S:g} s after its end: its "
            "memory is not free. Where that stays so, reset the GPU or restart the machine"
            for gpu in gpus
            for process in gpu.used_by
            if (gpu.uuid, process.pid) in self._own
        ]

    def _less(self, gpus: list[Gpu]) -> list[str]:
        """What tells of memory that is missing.

        Where nvidia-smi listed the engine's processes, only their GPUs count, and what others have there by now is
        theirs. Otherwise the ids may be those of another space, and all that is missing may be the engine's.
        """
        on, lines = {uuid for uuid, _ in self._own}, []
        for gpu in gpus:
            if not self._alive or gpu.uuid not in (on or self._before) or gpu.uuid not in self._before:
                continue
            was_free, others = self._before[gpu.uuid]
            missing = was_free - gpu.free_bytes
            if missing > _ABOUT and (not on or missing - (_used(gpu) - others) > _ABOUT):
                users = ", ".join(map(str, gpu.used_by)) or "nobody"
                lines.append(
                    f"{_WAIT_S:g} s after its engine's end, GPU {gpu.index} has {missing / 1e9:.1f} GB less free than "
                    f"before its start. Whose they are cannot be told from here; nvidia-smi lists there: {users}"
                )
        return lines


def _used(gpu: Gpu) -> int:
    return sum(process.used_bytes or 0 for process in gpu.used_by)
