"""Running a coroutine to its end from anywhere: a script, or a notebook cell whose event loop is running already.

answer = run_in_thread(coroutine())
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop and a thread of its own, and wait for it.

    An interrupt from the keyboard cancels it.
    """
    result: list[T] = []
    error: list[BaseException] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def body() -> None:
        try:
            result.append(loop.run_until_complete(task))
        except BaseException as failure:  # noqa: BLE001  (raised again in the caller's thread)
            error.append(failure)
        finally:
            loop.close()
            ended.set()

    ended = threading.Event()
    threading.Thread(target=body, name="workbench-loop").start()
    interrupt: KeyboardInterrupt | None = None
    # Not Thread.join: interrupted, it may take a thread for ended that still runs (Python up to 3.12).
    while not ended.is_set():
        try:
            ended.wait(0.2)
        except KeyboardInterrupt as failure:
            interrupt = failure
            with contextlib.suppress(RuntimeError):  # it is just done
                loop.call_soon_threadsafe(task.cancel)
    if interrupt is not None:
        raise interrupt
    if error:
        raise error[0]
    return result[0]
