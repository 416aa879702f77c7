"""The watchdog: a small process between the workbench and an engine, so that no engine outlives its owner.

Started as `python -I _watchdog.py` with one JSON line on standard input: {"argv", "env", "log", "parent", "end",
"token", "scratch", "files"}, where "end" lists signals and the seconds to wait after each, "scratch" is a folder that
goes with the engine, or null, and "files" go with it too. It starts the engine in a session of its own, writes `pid N`
and later `exit CODE` to standard output (and `stopped` before that, where somebody else told it to end), and ends the
engine and all that came of it as soon as standard input ends or the parent is gone, whatever way the parent went.

What came of an engine is told by a marker in its environment, WORKBENCH_ENGINE=TOKEN, which its descendants inherit
wherever they move. Only the standard library: it must start at once and never fail.
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

MARKER = "WORKBENCH_ENGINE"
_PR_SET_PDEATHSIG = 1
_SHARED = "/dev/shm"
_LOOK_S = 0.04


def ticks_of(pid: int) -> "int | None":
    """When a process was started, in ticks since the machine was: with its id, what tells it from a later one."""
    return _stat(pid)[1]


def running(pid: int, ticks: "int | None" = None) -> bool:
    """Whether a process runs, and is the one that was started then; a zombie does not run."""
    state, started = _stat(pid)
    return state not in ("", "Z", "X") and ticks in (None, started)


def _stat(pid: int) -> "tuple[str, int | None]":
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return fields[0].decode(), int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", None


def carries(pid: int, token: str) -> bool:
    """Whether a process is the user's own and has the marker."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return False
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARKER}={token}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def marked(token: str) -> "list[int]":
    """The user's processes with an engine's marker, in whatever group or session."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and carries(int(name), token)]
    except OSError:  # no such file system: there the group has to do
        return []


def send(pid: int, token: str, sign: int) -> None:
    """Signal a process if it has the marker; one that took its id in the meantime is not met."""
    handle = -1
    try:
        with contextlib.suppress(OSError, AttributeError):
            handle = os.pidfd_open(pid)
        if not carries(pid, token):
            return
        if handle >= 0:
            signal.pidfd_send_signal(handle, sign)
        else:
            os.kill(pid, sign)
    except OSError:
        pass
    finally:
        if handle >= 0:
            os.close(handle)


def end_marked(token: str, signs: "list[tuple[int, float]]", leader: "subprocess.Popen[bytes] | None" = None) -> bool:
    """Ask all that came of an engine to end, wait, then kill what is left; the shared memory that they leave goes too.

    Args:
        leader: the engine, where this process started it: its group is asked as well.

    Returns:
        Whether nothing is left.
    """
    shared: dict[str, float] = {}
    for sign, wait_s in signs:
        living = _living(token, leader)
        if not living:
            break
        shared |= shared_by(living)
        if leader is not None:
            with contextlib.suppress(OSError):
                os.killpg(leader.pid, sign)
        for pid in living:
            if leader is None or _group(pid) != leader.pid:
                send(pid, token, sign)
        until = time.monotonic() + wait_s
        while time.monotonic() < until and _living(token, leader):
            time.sleep(_LOOK_S)
    for path, at in shared.items():
        with contextlib.suppress(OSError):
            if os.stat(path).st_ctime == at:
                os.unlink(path)
    return not _living(token, leader)


def _living(token: str, leader: "subprocess.Popen[bytes] | None") -> "list[int]":
    found = marked(token)
    if leader is not None and leader.poll() is None and leader.pid not in found:
        found.append(leader.pid)
    if leader is not None and not found:
        with contextlib.suppress(OSError):
            os.killpg(leader.pid, 0)  # somebody who cleared the environment is in the group still
            found = [pid for pid in _processes() if _group(pid) == leader.pid and running(pid)]
    return found


def _processes() -> "list[int]":
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return []


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


def shared_by(pids: "list[int]") -> "dict[str, float]":
    """Segments of shared memory that these processes made and have open: ended hard, they would leave them behind."""
    found: dict[str, float] = {}
    for pid in pids:
        names: set[str] = set()
        with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", errors="replace") as file:
            names |= {line.split(None, 5)[5].strip() for line in file if f" {_SHARED}/" in line}
        with contextlib.suppress(OSError):
            names |= {f"{_SHARED}/{name}" for name in os.listdir(_SHARED) if f"_{pid}_" in name}
        with contextlib.suppress(OSError):
            begun = os.stat(f"/proc/{pid}").st_ctime
            for name in names:
                with contextlib.suppress(OSError):
                    about = os.stat(name)
                    if about.st_uid == os.getuid() and about.st_ctime >= begun - 1:
                        found[name] = about.st_ctime
    return found


def _die_with_watchdog() -> None:
    # If even the watchdog is killed, the kernel ends the engine (Linux).
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
            # A process that changes its title would write over its environment, and with it over the marker.
            env={**os.environ, **spec["env"], MARKER: spec["token"], "SPT_NOENV": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_watchdog,  # noqa: PLW1509  (this process has one thread)
        )
    except OSError as failure:
        os.write(log, f"cannot start {spec['argv'][0]}: {failure.strerror}\n".encode())
        _clear(spec)
        print("exit 127", flush=True)
        return
    closed = False
    try:
        print(f"pid {engine.pid}", flush=True)
        while engine.poll() is None and not told and os.getppid() == spec["parent"]:
            ready, _, _ = select.select([sys.stdin], [], [], 0.1)
            if ready and not os.read(0, 4096):
                closed = True
                break
    except OSError:
        pass
    finally:
        stopped = bool(told) and not closed and engine.poll() is None
        end_marked(spec["token"], spec["end"], engine)
    code = engine.wait()
    _clear(spec)
    with contextlib.suppress(OSError):
        print(f"stopped\nexit {code}" if stopped else f"exit {code}", flush=True)


def _clear(spec: "dict[str, object]") -> None:
    """What goes with the engine."""
    if spec["scratch"]:
        shutil.rmtree(str(spec["scratch"]), ignore_errors=True)
    for path in list(spec["files"]):  # type: ignore[call-overload]
        with contextlib.suppress(OSError):
            os.unlink(path)


if __name__ == "__main__":
    main()
