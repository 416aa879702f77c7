"""`wb.show`: the dashboard where somebody can use it, and everywhere the same facts as tables and figures.

show(run)
show(outcomes, models=models, tasks=tasks)      # a table from any tool
show(run, reveal=True)                          # with the text of restricted items, on the screen only
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.outcomes import split_candidate
from workbench.views.items import Items
from workbench.views.opening import opening, opening_html
from workbench.views.shown import Shown
from workbench.views.side_by_side import item_html
from workbench.views.tables import leaderboard_html, leaderboard_text, page, routes_html, set_figures_html

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.evalset import EvalSet
    from workbench.routing import Policy
    from workbench.runner import Run

_IDS = 12  # of a list of items
_SAME = "The same as tables and figures, which a saved notebook keeps"
_TELLING = 2  # items a task that are shown side by side


def show(
    source: Run | pd.DataFrame,
    policy: Policy | None = None,
    *,
    models: Models | None = None,
    tasks: Mapping[str, EvalSet] | None = None,
    reveal: bool = False,
    live: bool | None = None,
    folder: str = "exports",
) -> None:
    """Show a run in a notebook: leaderboard, trade-off, side by side, where, and the routes to export.

    First comes what a reader must know of a run: that it is partial, which models are missing and why, and where it is
    where it could not be logged. In JupyterLab there is a dashboard then. What follows it, and is all that there is
    under papermill, says the same as tables and figures, which a saved notebook keeps. Outside a notebook the
    leaderboard and the routes are printed.

    Args:
        source: what `workbench.run` returned, or an outcome table.
        policy: the routes to mark; the run's own where left out.
        models: of an outcome table: for zones, and to export.
        tasks: of an outcome table: the eval sets, for limits, inputs and keys.
        reveal: show the text of restricted items in the dashboard. It is sent to the screen and kept in no notebook.
        live: whether there is a dashboard; left out, where a person runs the cell.
        folder: where its Export button writes.

    Raises:
        InputError: there are no outcomes to show.
    """
    shown = Shown.of(source, policy, models, tasks, reveal)
    if not live and not in_notebook():
        print(terminal_text(shown))  # a page would be printed as the name of its object
        return
    from IPython.display import HTML, Image, display

    if told := opening_html(shown.run):
        display(HTML(told))
    if shown.stale:
        display(HTML(page(f"<p><b>{escape(stale_text(shown.stale))}</b></p>")))
    if somebody_there() if live is None else live:
        from workbench.views.dashboard import Dashboard

        dashboard = Dashboard(shown, folder)
        display(dashboard.widget)
        place = display(HTML(page(f"<p>{_SAME}:</p>")), display_id=True)
        # What is corrected in the dashboard is said above what was decided before it, too: no widget is saved.
        dashboard.on_change = lambda tasks: place.update(HTML(_same_before(tasks)))
    for kind, content in static(shown):
        display(HTML(content) if kind == "html" else Image(content))


def static(shown: Shown) -> Iterator[tuple[str, Any]]:
    """All views for a page without a kernel: pairs of `html` and its text, or `png` and its bytes."""
    from workbench.views.figures import png, tradeoff
    from workbench.views.where import heat_figure, heat_pages

    # Pages are stored. The policy is decided once.
    hidden = Shown(shown.outcomes, shown.models, shown.tasks, shown.policy, False, shown.run)
    yield "html", leaderboard_html(shown.board, shown.policy, shown.models)
    yield "png", png(tradeoff(shown.board, shown.policy))
    yield "html", routes_html(shown.policy)
    for piece in heat_pages(shown.heat):
        yield "png", png(heat_figure(piece))
    yield "html", changed_html(hidden)
    labels = set_figures_html(shown.set_figures)
    if labels:
        yield "html", labels


def _same_before(tasks: list[str]) -> str:
    return page(f"<p>{_SAME}, from before a change. <b>{escape(stale_text(tasks))}</b></p>")


def _kernel() -> Any:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None)


def in_notebook() -> bool:
    """Whether there is a kernel that shows pages; in a terminal, with IPython or without, there is none."""
    return _kernel() is not None


def terminal_text(shown: Shown) -> str:
    """The leaderboard and the routes as text, below what must be known of the run."""
    first = opening(shown.run) + ([stale_text(shown.stale)] if shown.stale else [])
    return "\n\n".join([*first, leaderboard_text(shown.board, shown.policy), shown.policy.describe()])


def somebody_there() -> bool:
    """Whether a person runs this cell: a front end names the cell that it runs, papermill and nbconvert do not."""
    kernel = _kernel()
    if kernel is None:
        return False
    parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else {}
    return "cellId" in (parent.get("metadata") or {})


def stale_text(tasks: list[str]) -> str:
    """What to do about eval sets that have changed since."""
    return (
        f"{', '.join(tasks)}: the eval set has changed since these outcomes, as by a corrected label. Run again: what "
        "was answered is not asked again."
    )


def changed_html(shown: Shown) -> str:
    """For each task what its first candidate fixes and breaks against the next model's, and items that tell most.

    Of a task with one candidate, an item that it has wrong and one that it has right.
    """
    items = Items(shown)
    parts = []
    for task in items.tasks:
        a, b = pair_of(shown, items, task)
        if a == b:  # there is no other: what it wrote is shown all the same
            parts += [item_html(items.look(task, item, [a])) for item in items.telling(task, a)]
            continue
        fixed, broke = items.changed(task, a, b)
        rows = "".join(
            f"<tr><td class=t>{what} ({len(ids)})</td><td class=w>{escape(', '.join(ids[:_IDS]))}"
            f"{' …' if len(ids) > _IDS else ''}</td></tr>"
            for what, ids in (("fixed", fixed), ("broke", broke))
        )
        title = f"{task}: {a} against {b}, on the items that both were asked"
        parts.append(page(f"<table><caption>{escape(title)}</caption>{rows}</table>"))
        telling = [*fixed[:1], *broke[:1]][:_TELLING] or items.select(task, a, b)[:1]
        parts += [item_html(items.look(task, item, [a, b])) for item in telling]
    return "".join(parts)


def pair_of(shown: Shown, items: Items, task: str) -> tuple[str, str]:
    """The candidate that a task is routed to, and the best of another model: the pair that is asked about first."""
    known = items.candidates(task)
    chosen = [route.chain[0].candidate for route in shown.policy.routes if route.task == task and route.chain]
    a = next((name for name in chosen if name in known), known[0])
    model = split_candidate(a)[0]
    return a, next((name for name in known if split_candidate(name)[0] != model), known[min(1, len(known) - 1)])
