"""The watchdog: a small process between the workbench and an engine, so that no engine outlives its owner.

Started as `python -I _watchdog.py` with one JSON line on standard input: {"argv", "env", "log", "parent", "end",
"scratch"}, where "end" lists signals and the seconds to wait after each, and "scratch" is a folder that goes with the
engine, or null. It starts the engine in a session of its own, writes `pid N` and later `exit CODE` to standard output,
and ends the engine's whole process group as soon as standard input ends or the parent is gone, whatever way the parent
went. Only the standard library: it must start at once and never fail.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1


def _die_with_watchdog() -> None:
    # If even the watchdog is killed, the kernel ends the engine (Linux).
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(engine: "subprocess.Popen[bytes]", signs: "list[tuple[int, float]]") -> None:
    """Ask the group to end, wait, then kill what is left of it."""
    for sign, wait_s in signs:
        try:
            os.killpg(engine.pid, sign)
        except ProcessLookupError:
            return
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            engine.poll()  # reaps it, so that its group can be gone
            try:
                os.killpg(engine.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.02)


def main() -> None:
    spec = json.loads(sys.stdin.buffer.readline())
    # Only noted: an exception out of a handler could come while the engine is being ended, and cut that short.
    told: list[int] = []
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: told.append(number))
    os.umask(0o077)  # what an engine writes may hold an item's text
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        engine = subprocess.Popen(
            spec["argv"],
            env={**os.environ, **spec["env"]},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_watchdog,  # noqa: PLW1509  (this process has one thread)
        )
    except OSError as failure:
        os.write(log, f"cannot start {spec['argv'][0]}: {failure.strerror}\n".encode())
        print("exit 127", flush=True)
        return
    try:
        print(f"pid {engine.pid}", flush=True)
        while engine.poll() is None and not told and os.getppid() == spec["parent"]:
            ready, _, _ = select.select([sys.stdin], [], [], 0.1)
            if ready and not os.read(0, 4096):
                break
    except OSError:
        pass
    finally:
        _end(engine, spec["end"])
    code = engine.wait()
    if spec["scratch"]:
        shutil.rmtree(spec["scratch"], ignore_errors=True)
    with contextlib.suppress(OSError):
        print(f"exit {code}", flush=True)


main()
