"""Views: tables and figures that say the same in a notebook, a static page and MLflow.

show(run)                  # leaderboard, trade-off, routes; a static page keeps them
"""

from workbench.views.figures import png, tradeoff
from workbench.views.load import conclusions, load_figure, load_table, load_text
from workbench.views.side_by_side import disagreements, side_by_side, telling_item
from workbench.views.tables import leaderboard_html, rejected, routes, routes_html, show

__all__ = [
    "conclusions",
    "disagreements",
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
