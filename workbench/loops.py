"""Running a coroutine to its end from anywhere: a script, or a notebook cell whose event loop is running already.

answer = run_in_thread(coroutine())                       # an interrupt cancels it
run_beside(work, "workbench-run", interrupted)            # what an interrupt does is the caller's to say
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_beside(
    work: Callable[[], Coroutine[Any, Any, T]],
    name: str,
    interrupted: Callable[[int], None],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run a coroutine in an event loop and a thread of its own, and wait for it.

    Args:
        work: makes it, in that thread.
        name: the thread's.
        interrupted: is called at each interrupt from the keyboard, in the caller's thread, with how many there were.
        loop_factory: None takes asyncio's own loop.

    Raises:
        BaseException: what the coroutine raised.
    """
    result: list[T] = []
    error: list[BaseException] = []
    ended = threading.Event()

    def body() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                result.append(runner.run(work()))
        except BaseException as failure:  # noqa: BLE001  (raised again in the caller's thread)
            error.append(failure)
        finally:
            ended.set()

    threading.Thread(target=body, name=name).start()
    times = 0
    # Not Thread.join: interrupted, it may take a thread for ended that still runs (Python up to 3.12).
    while not ended.is_set():
        try:
            ended.wait(0.2)
        except KeyboardInterrupt:
            times += 1
            interrupted(times)
    if error:
        raise error[0]
    return result[0]


def run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine beside the caller; an interrupt from the keyboard cancels it, and is raised once it has ended."""
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    interrupts: list[int] = []

    async def known() -> T:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        if interrupts:  # before it began
            task.cancel()
        return await work

    def interrupted(times: int) -> None:
        interrupts.append(times)
        for loop, task in running:
            with contextlib.suppress(RuntimeError):  # it is just done
                loop.call_soon_threadsafe(task.cancel)

    try:
        return run_beside(known, "workbench-loop", interrupted)
    finally:
        if interrupts:
            raise KeyboardInterrupt
