"""Running a coroutine to its end from anywhere: a script, or a notebook cell whose event loop is running already.

answer = run_in_thread(coroutine())
"""

from __future__ import annotations

import asyncio
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

    thread = threading.Thread(target=body, name="workbench-loop")
    thread.start()
    while thread.is_alive():
        try:
            thread.join(0.2)
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(task.cancel)
            thread.join()
            raise
    if error:
        raise error[0]
    return result[0]
