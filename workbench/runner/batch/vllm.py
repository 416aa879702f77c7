"""`vllm run-batch` as a child process: a file of requests in, a file of answers out, and how long it took.

    ran = await run_part(model, folder.input(part), folder.output(part), stopping, say, use.notes)
    ran.load_s, ran.busy_s                   # None where it was interrupted

It writes its answers at the very end, and ends with 0 even where its engine died: every line is to be looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workbench import project
from workbench.catalog import Model
from workbench.errors import EngineError
from workbench.journal import Attempt
from workbench.runner.batch.state import stopped
from workbench.servers import idle
from workbench.servers.environments import on_gpu
from workbench.servers.vllm import run_batch
from workbench.servers.watched import Watched

# SIGTERM to its first process alone would leave the engine running; interrupted, it ends all of its own.
_END = ((signal.SIGINT, 8.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
_LOOK_S = 0.5
_DONE = re.compile(r"Running batch:\s+\d+% Completed \| (\d+)/(\d+)")
_BEGUN = ("Reading batch from", "Running batch:")
_TAIL = 4096
# What a log says where the form of a line is wrong: it quotes a piece of it.
_REFUSED = re.compile(r"validation errors? for BatchRequest")
_QUOTING = re.compile(r"input_value=")
_CAUSES = (re.compile(r"Value error, (.+)"), re.compile(r"\b\w*Error: (.+)"), re.compile(r"\berror: (.+)"))
_DIED = ("EngineCore", "EngineDead")


@dataclass(frozen=True)
class Ran:
    """How long it took: until the first request, and from there to its end."""

    load_s: float
    busy_s: float


async def run_part(
    model: Model, given: Path, answers: Path, stopping: asyncio.Event, say: Callable[[str], None], notes: list[str]
) -> Ran | None:
    """Answer a file of requests; None where the run was interrupted, and the process ended.

    Args:
        notes: is given what its engine, or one that made room for it, left on GPUs.

    Raises:
        EngineError: it ended with an error, and without answers.
    """
    # Short, as a socket's path has 107 characters at most.
    sockets = Path(tempfile.mkdtemp(prefix="wb-"))
    await asyncio.to_thread(idle.end_kept, notes.append)  # the machine is needed
    process = Watched(model.id, _END, "vllm")
    process.notes = notes
    begun: float | None = None
    project.private_file(answers)
    try:
        argv, env = run_batch(model, given, answers, sockets)
        free = await asyncio.to_thread(process.free, env) if on_gpu(model) else ()
        started = time.perf_counter()
        process.start(argv, env, scratch=sockets, free=free)
        while process.alive:
            if await stopped(stopping, _LOOK_S):
                return None
            begun = begun or _begun(process.log)
            say(_progress(process.log, begun, time.perf_counter() - started))
        ended = time.perf_counter()
        code = process.exit_code()
        if code != 0:
            raise EngineError(f"{model.id}: vllm run-batch ended with status {code}. {_last_words(process)}")
        begun = begun or ended
        return Ran(begun - started, ended - begun)
    finally:
        await asyncio.shield(asyncio.to_thread(process.stop))
        _scrub(process.log)
        shutil.rmtree(sockets, ignore_errors=True)


def died(attempt: Attempt) -> Attempt:
    """An attempt, told as the engine's death where it was that."""
    if attempt.error_class == "server" and any(word in (attempt.error or "") for word in _DIED):
        attempt.error_class = "engine"
    return attempt


def _begun(log: Path) -> float | None:
    """Now, where the requests have begun."""
    with contextlib.suppress(OSError):
        said = log.read_text(errors="replace")
        if any(mark in said for mark in _BEGUN):
            return time.perf_counter()
    return None


def _progress(log: Path, begun: float | None, elapsed_s: float) -> str:
    if begun is None:
        return f"loading vLLM ({elapsed_s:.0f} s)"
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        found = _DONE.findall(file.read().decode(errors="replace"))
        if found:
            return f"vllm run-batch: {found[-1][0]} of {found[-1][1]}"
    return "vllm run-batch"


def _last_words(process: Watched) -> str:
    """What the log says first of an error, unless it quotes a request."""
    with contextlib.suppress(OSError):
        said = process.log.read_text(errors="replace")
        if _REFUSED.search(said):
            return (
                "It refuses the requests as a whole, for the form of at least one. Set capabilities in models.yaml to "
                "what this model takes, or mend the eval set's generation settings."
            )
        for cause in _CAUSES:
            found = cause.search(said)
            if found:
                words = found[1].partition(" [type=")[0][:300]
                return f"It says: {words} (log: {project.shown(process.log)})"
    return process.last_words()


def _scrub(log: Path) -> None:
    """Take out of the log what quotes a request."""
    with contextlib.suppress(OSError):
        said = log.read_text(errors="replace")
        if _REFUSED.search(said):
            log.write_text("".join(f"{line}\n" for line in said.splitlines() if not _QUOTING.search(line)))
