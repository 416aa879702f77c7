"""Export, in the dashboard: a button that writes the routes as they are now, and tells what came of it.

ExportPane(shown).box          # a widget
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from workbench.errors import WorkbenchError
from workbench.export import GATEWAYS
from workbench.views.exporting import write_out
from workbench.views.shown import Shown
from workbench.views.tables import page, routes_html

_LABELED = {"description_width": "90px"}


class ExportPane:
    """The routes, the button, and what came of it.

    Attributes:
        box: the widget.
    """

    def __init__(self, shown: Shown, folder: str = "exports", before: Callable[[], None] = lambda: None) -> None:
        self._shown, self._before = shown, before  # what is done before anything is written
        self.gateway = widgets.Dropdown(
            options=GATEWAYS.names(), value="litellm", description="gateway", style=_LABELED
        )
        self.folder = widgets.Text(value=folder, description="folder", style=_LABELED)
        self.champion = widgets.Checkbox(description="make it the champion in MLflow", indent=False)
        self.button = widgets.Button(description="Export", button_style="primary", icon="download")
        self.told, self.routes = widgets.HTML(), widgets.HTML()
        self.button.on_click(self._export)
        self.box = widgets.VBox(
            [self.routes, widgets.HBox([self.gateway, self.folder, self.button, self.champion]), self.told]
        )
        self.draw()

    def draw(self) -> None:
        """Show the routes as they are now."""
        self.routes.value = routes_html(self._shown.moved.policy())

    def _export(self, _: Any = None) -> None:
        self.button.disabled = True
        self.told.value = page("<p>writing, and verifying with the real gateway …</p>")
        try:
            self._before()
            self.draw()
            self.told.value = write_out(
                self._shown.moved.policy(),
                self.gateway.value,
                self.folder.value.strip() or "exports",
                self._shown.models,
                self.champion.value,
                self._shown.tasks,
            ).html()
        except (WorkbenchError, OSError, ValueError) as failure:  # the last two: of a folder that can be none
            self.told.value = page(f"<p><b>not exported:</b> {escape(str(failure))}</p>")
        finally:
            self.button.disabled = False
