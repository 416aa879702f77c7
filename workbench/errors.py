"""What the workbench raises when the user can mend something.

raise InputError("evalset.yaml:7: field 'limits.margin': must be at least 0. Write a number such as 0.05.")
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """A problem with one clear message; the command prints it without a traceback.

    Attributes:
        exit_status: what the command ends with.
        fatal: whether it ends a whole run, and not one model's part of it.
    """

    exit_status = 1
    fatal = False

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a cell: the message alone, which says what to mend. papermill fails all the same."""
        return [f"{type(self).__name__}: {self}"]


class InputError(WorkbenchError):
    """What was given is wrong: a file, a name, an option."""

    exit_status = 2


class RunError(WorkbenchError):
    """A run, a gate or a verification failed."""


class JournalError(RunError):
    """What a run writes down cannot be written or read: it cannot go on without losing answers."""

    fatal = True


class EngineError(RunError):
    """A local engine could not start, or died."""


class Withheld(WorkbenchError):
    """The gate refused to let a payload go where it was addressed."""
