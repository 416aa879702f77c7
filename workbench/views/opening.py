"""What a reader must know of a run before its figures: that it is partial, who is missing in it, where it is logged.

opening(run)                   # lines; none where all is well
opening_html(run)              # the same above a dashboard and above a page; empty where all is well
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from workbench.views.tables import page

if TYPE_CHECKING:
    from workbench.runner import Run


def opening(run: Run | None) -> list[str]:
    """How a run stands, in lines; nothing of a table, whose run is not known. The lines hold no text of an item."""
    if run is None:
        return []
    lines = []
    if run.status == "interrupted":
        asked = sum(map(len, run.plan.questions.values()))
        lines.append(
            f"This run was interrupted, so it is partial: {run.rows:,} of {asked:,} outcomes are there. "
            "Run it again: what was answered is not asked again."
        )
    if run.status == "failed":
        lines.append("This run failed: not every model could be asked, or one answered nothing.")
    lines += [f"Not asked: {reason}" for reason in run.plan.skipped.values()]
    lines += [f"{note[:1].upper()}{note[1:]}" for note in run.plan.notes]  # whom a task's variants leave out
    return [*lines, *(f"Problem: {problem}" for problem in run.problems)]


def opening_html(run: Run | None) -> str:
    """The lines as a page's first part; the status stands out."""
    lines = opening(run)
    if not lines:
        return ""
    told = [escape(line).replace("\n", "<br>") for line in lines]
    if run is not None and run.status != "complete":
        told[0] = f"<b>{told[0]}</b>"
    return page("".join(f"<p>{line}</p>" for line in told))
