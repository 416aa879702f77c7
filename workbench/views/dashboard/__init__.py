"""The dashboard: five tabs over a run, or over any outcome table, in JupyterLab.

Dashboard(shown).widget         # `wb.show(run)` makes it where somebody can use it
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from workbench.views.dashboard.board import board, rows_of
from workbench.views.dashboard.button import ExportPane
from workbench.views.dashboard.heat import Where
from workbench.views.dashboard.pager import Pager
from workbench.views.dashboard.sliders import Sliders
from workbench.views.items import Items
from workbench.views.notebook import stale_text
from workbench.views.shown import Shown
from workbench.views.tables import page

__all__ = ["Dashboard"]

_SIDE_BY_SIDE, _EXPORT = 2, 4


class Dashboard:
    """All views over the same outcomes, which know of each other.

    Attributes:
        widget: the tabs, below what there is to say first.
        tabs: the five views.
        banner: that a key was corrected here, so that the evidence is older.
        on_change: is called with the tasks of which that is said.
    """

    def __init__(self, shown: Shown, folder: str = "exports") -> None:
        items = Items(shown)
        self._shown, self._items = shown, items
        self._known = frozenset(shown.stale)  # `show` has told of these above the dashboard
        self.banner = widgets.HTML()
        self.on_change: Callable[[list[str]], None] = lambda tasks: None
        self.board = board(shown)
        self.pager = Pager(items, self.renew)
        self.sliders = Sliders(shown.moved)
        self.where = Where(items, self._open)
        self.export = ExportPane(shown, folder, self.renew)
        self.tabs = widgets.Tab(
            children=[self.board, self.sliders.box, self.pager.part, self.where.part, self.export.box],
            titles=("Leaderboard", "Trade-off", "Side by side", "Where", "Export"),
        )
        self.tabs.observe(self._turn, "selected_index")
        self.widget = widgets.VBox([self.banner, self.tabs])
        self.widget.add_class("wb-dashboard")  # whose keys JupyterLab leaves alone

    def renew(self) -> None:
        """Take the eval sets as their files are now: where one has changed, what rests on it is older and says so."""
        if not self._shown.renew():
            return
        self._items.renew()
        self.board.rows = rows_of(self._shown)
        self.sliders.draw()
        self.export.draw()
        changed = [task for task in self._shown.stale if task not in self._known]
        if changed:
            self.banner.value = page(f"<p role='status'><b>{escape(stale_text(changed))}</b></p>")
            self.on_change(changed)

    def _open(self, *asked: Any, **more: Any) -> None:
        self.tabs.selected_index = _SIDE_BY_SIDE
        self.pager.open(*asked, **more)

    def _turn(self, change: Any) -> None:
        if change["new"] == _EXPORT:
            self.renew()  # a key may have been corrected in another place
            self.export.draw()
