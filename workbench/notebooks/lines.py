"""Progress of long work in a cell, one line a model, replaced in place.

measure(table, evalsets, models, reference, say=notebooks.Lines())
"""

from __future__ import annotations

from html import escape
from typing import Any


class Lines:
    """A `say` for a notebook: a line replaces the last one that began with the same name and a colon."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}
        self._handle: Any = None

    def __call__(self, line: str) -> None:
        """Show a line; without a notebook it is printed."""
        from IPython.display import HTML, display

        from workbench.views.notebook import in_notebook

        if not in_notebook():
            print(line)
            return
        self._lines[line.partition(":")[0]] = line
        told = HTML("<br>".join(map(escape, self._lines.values())))
        if self._handle is None:
            self._handle = display(told, display_id=True)
        else:
            self._handle.update(told)
