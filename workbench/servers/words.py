"""What an engine's log says: the reason that it ended, and the last lines while it loads.

reason(log.read_text())                  # "ValueError: Model architectures ['X'] are not supported for now."
tail(log.read_text(), secrets=[key])     # the last lines as they may be shown

A log may quote what the engine was asked. Lines that do are not shown, nor are long quotations.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

LINES = 8
_WIDTH = 160
_LONGEST = 300
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What stands before a line of vLLM's, such as "(EngineCore_DP0 pid=7) ERROR 11-28 10:00:00 [core.py:11] ".
_PREFIX = re.compile(
    r"^(?:\([\w ]+pid=\d+\) ?)*(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:.,]+ \[[^\]]*\] ?)?"
)
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Failure|Interrupt|Exit))(?:: ?(.*))?$")
# Exceptions that only say that there was another one, or come of the end itself.
_ECHO = re.compile(
    r"root cause|initialization failed|Failed to init server|EngineDeadError|CancelledError|KeyboardInterrupt"
    r"|SystemExit|BrokenPipeError"
    r"|ConnectionResetError|EngineCore encountered|see .*(?:above|stack trace)",
    re.IGNORECASE,
)
_VALIDATION = re.compile(r"validation errors? for")
_TELLING = re.compile(r"rror|fail|cannot|invalid|^[\d.]+ E ")
# How lines begin that an engine says of itself, and never a line of a prompt.
_OWN = re.compile(
    r"^[\d.]{6,} [EW] "
    r"|^(?:GGML_ASSERT|ggml_\w+:|CUDA error|terminate called|Fatal Python error|Segmentation fault|llama_\w+:)"
)
_USAGE = re.compile(r"^\S+: error: (.+)$")
# A line on an exception in a server may repeat what it was reading: a prompt.
_QUOTING = re.compile(
    r"got exception|input_value=|prompt[\w]*['\"]?\s*[:=]|['\"](?:messages|content)['\"]\s*:|<\|im_start\|>"
    r"|Received request|SchedulerOutput|NewRequestData|Generated response",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"""(['"]).{24,}\1""")


def lines_of(text: str, secrets: Collection[str] = ()) -> list[str]:
    """The lines of a log as they may be shown: plain text, without quotations of requests and without secrets."""
    found = []
    for raw in _ESCAPES.sub("", text).split("\n"):  # not at what else ends a line: it may stand in a prompt
        line = _CONTROLS.sub(" ", raw.rstrip("\r").rpartition("\r")[2]).rstrip()
        for secret in secrets:
            line = line.replace(secret, "[key]")
        line = line.partition(" [type=")[0]  # what pydantic says of a value: it quotes it
        if line.strip() and not _QUOTING.search(line):
            found.append(line)
    return found


def tail(text: str, secrets: Collection[str] = ()) -> tuple[str, ...]:
    """The last lines of a log, each cut to the width of a cell."""
    return tuple(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…" for line in lines_of(text, secrets)[-LINES:])


def reason(text: str, secrets: Collection[str] = (), answering: bool = False) -> str | None:
    """Why an engine ended, by its log, in one line; None where it says nothing.

    Of Python's tracebacks it is the last exception that is not only about another one.

    Args:
        answering: it had been asked before, so that its log may quote prompts: long quotations are taken out.
    """
    lines = [_PREFIX.sub("", line.strip()).strip() for line in lines_of(text, secrets)]
    if not answering:
        return _raised(lines) or _usage(lines) or _telling(lines)
    said = _raised(lines) or _telling([line for line in lines if _OWN.match(line)]) or _raised(lines, echoes=True)
    return _QUOTED.sub(r"\1…\1", said) if said else None


def _raised(lines: Sequence[str], echoes: bool = False) -> str | None:
    for index in range(len(lines) - 1, -1, -1):
        found = _RAISED.match(lines[index])
        if found is None or (not echoes and _ECHO.search(lines[index])):
            continue
        name, message = found[1], (found[2] or "").strip()
        if _VALIDATION.search(message) or not message:  # what it is about stands in the lines below
            below = [line for line in lines[index + 1 : index + 4] if line and not line.startswith("For further")]
            told = next((line for line in below if line.startswith(("Value error", "Assertion failed"))), "")
            message = told or message
        return f"{name}: {message}"[:_LONGEST] if message else name
    return None


def _usage(lines: Sequence[str]) -> str | None:
    """What argparse says of a wrong option."""
    found = [match[1] for match in map(_USAGE.match, lines) if match]
    return found[-1][:_LONGEST] if found else None


def _telling(lines: Sequence[str]) -> str | None:
    telling = [line for line in lines if line and _TELLING.search(line)][-20:] or [line for line in lines if line][-2:]
    if not telling:
        return None
    # The first says the cause, the last what came of it.
    return " / ".join(line[:200] for line in dict.fromkeys([telling[0], telling[-1]]))
