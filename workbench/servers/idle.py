"""Engines that are kept for the next cell: in a notebook, those of the last local model that was asked.

servers = await take(spec)               # None where none of that spec is kept, and the kept ones are ended
keep(model.id, spec, servers)            # in a kernel; elsewhere they are ended

One model's at a time: all share this machine. They end with the kernel, however it ends (see `_watchdog`).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from workbench.servers.process import ManagedServer


@dataclass(frozen=True)
class _Kept:
    model: str
    spec: str
    servers: tuple[ManagedServer, ...]


_kept: _Kept | None = None
_lock = threading.Lock()


def interactive() -> bool:
    """Whether there may be a next cell: this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def warm_model() -> str | None:
    """The model whose engine is kept and runs."""
    kept = _kept
    return kept.model if kept and all(server.alive for server in kept.servers) else None


def _ignore(line: str) -> None:
    """For those who do not ask what was left."""


async def take(spec: str, say: Callable[[str], None] = _ignore) -> tuple[ManagedServer, ...] | None:
    """The engines of a spec that were kept, and still generate.

    Where there are none, those that were kept for another one are ended: the machine is free afterwards.

    Args:
        say: is given what those that were ended left on GPUs.
    """
    kept = _pop()
    if kept is None:
        return None
    try:
        if kept.spec == spec and all(await asyncio.gather(*(server.warm() for server in kept.servers))):
            for server in kept.servers:
                server.note_idle(False)
                server.notes.clear()  # they were told in the cell before
            return kept.servers
    except BaseException:
        _end(kept, say)
        raise
    await asyncio.to_thread(_end, kept, say)
    return None


def keep(model: str, spec: str, servers: tuple[ManagedServer, ...]) -> bool:
    """Keep engines for the next cell; False where they are not, and the caller is to end them."""
    global _kept
    if not interactive() or not all(server.alive for server in servers):
        return False
    end_kept()
    with _lock:
        if _kept is not None:  # another thread was faster
            return False
        _kept = _Kept(model, spec, servers)
    for server in servers:
        server.note_idle(True)
    return True


def end_kept(say: Callable[[str], None] = _ignore) -> None:
    """End the engines that are kept.

    Args:
        say: is given what they left on GPUs.
    """
    kept = _pop()
    if kept is not None:
        _end(kept, say)


def _pop() -> _Kept | None:
    global _kept
    with _lock:
        kept, _kept = _kept, None
    return kept


def _end(kept: _Kept, say: Callable[[str], None]) -> None:
    for server in kept.servers:
        server.notes.clear()
        server.stop()
        for note in server.notes:
            say(note)
