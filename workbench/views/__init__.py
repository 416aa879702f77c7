"""Views: tables and figures that say the same in a notebook, a static page and MLflow; and the dashboard over them.

show(run)                  # the dashboard in JupyterLab; everywhere the same as tables and figures
"""

from workbench.views.figures import png, tradeoff
from workbench.views.load import conclusions, load_figure, load_table, load_text
from workbench.views.notebook import show
from workbench.views.side_by_side import disagreements, side_by_side, telling_item
from workbench.views.tables import leaderboard_html, rejected, routes, routes_html
from workbench.views.where import heat, heat_figure, heat_html

__all__ = [
    "conclusions",
    "disagreements",
    "heat",
    "heat_figure",
    "heat_html",
    "leaderboard_html",
    "load_figure",
    "load_table",
    "load_text",
    "png",
    "rejected",
    "routes",
    "routes_html",
    "show",
    "side_by_side",
    "telling_item",
    "tradeoff",
]
