"""The dashboard: five tabs over a run, or over any outcome table, in JupyterLab.

Dashboard(shown).widget         # `wb.show(run)` makes it where somebody can use it
"""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from workbench.views.dashboard.board import board
from workbench.views.dashboard.button import ExportPane
from workbench.views.dashboard.heat import Where
from workbench.views.dashboard.pager import Pager
from workbench.views.dashboard.sliders import Sliders
from workbench.views.items import Items
from workbench.views.shown import Shown

__all__ = ["Dashboard"]

_SIDE_BY_SIDE, _EXPORT = 2, 4


class Dashboard:
    """All views over the same outcomes, which know of each other.

    Attributes:
        widget: the tabs.
    """

    def __init__(self, shown: Shown, folder: str = "exports") -> None:
        items = Items(shown)
        self.pager = Pager(items)
        self.sliders = Sliders(shown.moved)
        self.where = Where(items, self._open)
        self.export = ExportPane(shown.moved, shown.models, folder)
        self.widget = widgets.Tab(
            children=[board(shown), self.sliders.box, self.pager.part, self.where.part, self.export.box],
            titles=("Leaderboard", "Trade-off", "Side by side", "Where", "Export"),
        )
        self.widget.add_class("wb-dashboard")  # whose keys JupyterLab leaves alone
        self.widget.observe(self._turn, "selected_index")

    def _open(self, *asked: Any, **more: Any) -> None:
        self.widget.selected_index = _SIDE_BY_SIDE
        self.pager.open(*asked, **more)

    def _turn(self, change: Any) -> None:
        if change["new"] == _EXPORT:
            self.export.draw()
