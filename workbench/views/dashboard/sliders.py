"""The trade-off of the dashboard: limits and prices by slider, and the choice with its reason at once.

Sliders(moved).box          # a widget
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

import ipywidgets as widgets
import traitlets

from workbench.routing.moved import Cell, Moved
from workbench.routing.policy import Route
from workbench.views.dashboard.widget import Part, plain, script
from workbench.views.figures import looks
from workbench.views.tables import interval_of, page, score_of, seconds, usd
from workbench.words import counted

_WIDE = widgets.Layout(width="420px")
_LABELED = {"description_width": "130px"}
_MARGINS = [0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3]
_FACTORS = [0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0]
_NO_LIMIT = ("none", math.inf)  # to a selection slider, None is nothing selected


class Tradeoff(Part):
    """The two figures."""

    _esm = script("tradeoff")
    state = traitlets.Dict().tag(sync=True)


class Sliders:
    """The controls, the figures and the choice.

    Attributes:
        box: the widget.
        figure: the figures; its `state` is what the browser draws.
    """

    def __init__(self, moved: Moved) -> None:
        self.moved = moved
        self._looks = looks({str(name) for rows in moved.cells.values() for name in rows["candidate"].unique()})
        self._setting = False  # the sliders are being put where the limits are: not somebody's move
        self._cells: dict[str, Cell] = {f"{task} ({cls})": (task, cls) for task, cls in moved.cells}
        self.cell = widgets.Dropdown(options=list(self._cells), description="task", style=_LABELED, layout=_WIDE)
        self.margin = self._slider("margin", _margins(moved, self._task))
        self.min_score = widgets.FloatSlider(
            min=0, max=1, step=0.01, description="minimum score", style=_LABELED, layout=_WIDE, readout_format=".2f"
        )
        self.p95 = self._slider("p95 limit", [_NO_LIMIT])
        self.priced = widgets.Dropdown(options=list(moved.priced), description="price of", style=_LABELED, layout=_WIDE)
        self.price = self._slider("times", _factors(1.0))
        self.reset = widgets.Button(description="Back to the eval set's", layout=widgets.Layout(width="200px"))
        self.choice, self.figure = widgets.HTML(), Tradeoff()
        limits = widgets.VBox([self.cell, self.margin, self.min_score, self.p95])
        prices = widgets.VBox([self.priced, self.price, self.reset] if moved.priced else [self.reset])
        self.box = widgets.VBox([widgets.HBox([limits, prices]), self.choice, self.figure])
        self.cell.observe(self._pick, "value")
        self.priced.observe(self._pick, "value")
        for name in ("margin", "min_score", "p95", "price"):
            getattr(self, name).observe(self._move, "value")
        self.reset.on_click(self._back)
        self._pick()

    @staticmethod
    def _slider(description: str, options: list[Any]) -> Any:
        return widgets.SelectionSlider(options=options, description=description, style=_LABELED, layout=_WIDE)

    @property
    def _task(self) -> str:
        return self._cells[self.cell.value][0]

    def _pick(self, _: Any = None) -> None:
        """Put the sliders where the limits of the chosen task, and the chosen price, are."""
        self._setting = True
        limits = self.moved.limits(self._task)
        self.margin.options = _margins(self.moved, self._task)
        self.margin.value = limits.margin
        self.min_score.value = limits.min_score
        self.p95.options = _p95_options(self.moved, *self._cells[self.cell.value])
        self.p95.value = limits.p95_latency_s or math.inf
        if self.moved.priced:
            factor = self.moved.prices.get(self.priced.value, 1.0)
            self.price.options = _factors(factor)
            self.price.value = factor
        self._setting = False
        self.draw()

    def _move(self, _: Any = None) -> None:
        if self._setting:
            return
        self.moved.move(
            self._task,
            margin=self.margin.value,
            min_score=self._minimum,
            p95_latency_s=None if self.p95.value == math.inf else self.p95.value,
        )
        if self.moved.priced:
            self.moved.reprice(self.priced.value, self.price.value)
        self.draw()

    @property
    def _minimum(self) -> float:
        """The minimum score; the eval set's own where the slider stands on it, to the digits that it has."""
        own, value = self.moved.own_limits(self._task).min_score, float(self.min_score.value)
        return own if math.isclose(value, own, abs_tol=1e-4) else round(value, 4)

    def _back(self, _: Any = None) -> None:
        self.moved.reset()
        self._pick()

    def draw(self) -> None:
        """Show the choice as limits and prices are now."""
        task, cls = self._cells[self.cell.value]
        route, table = self.moved.route(task, cls), self.moved.standing(task, cls)
        self.choice.value = choice_html(
            route, self.moved.by_hand(task, cls), self.moved.priced.get(self.priced.value or "", "")
        )
        limits = self.moved.limits(task)
        points = []
        for row in table.to_dict("records"):
            color, shape = self._looks[row["candidate"]]
            points.append(plain(row) | {"color": color, "shape": shape, "said": _said(row)})
        self.figure.state = {
            "points": points,
            "min_score": limits.min_score,
            "p95_latency_s": limits.p95_latency_s,
        }


def _margins(moved: Moved, task: str) -> list[tuple[str, float]]:
    own = moved.own_limits(task).margin
    values = sorted({*_MARGINS, own, moved.limits(task).margin})
    return [(f"{value:g}", value) for value in values]


def _factors(now: float) -> list[tuple[str, float]]:
    return [(f"{factor:g}", factor) for factor in sorted({*_FACTORS, now})]


def _p95_options(moved: Moved, task: str, cls: Any) -> list[tuple[str, float]]:
    """Steps over what was measured, the eval set's own limit, and none."""
    measured = [value for value in moved.standing(task, cls)["p95_s"] if math.isfinite(value) and value > 0]
    low, high = (min(measured) * 0.5, max(measured) * 1.5) if measured else (0.1, 10.0)
    steps = [float(f"{low * (high / low) ** (step / 30):.2g}") for step in range(31)]
    own, now = moved.own_limits(task).p95_latency_s, moved.limits(task).p95_latency_s
    values = sorted({*steps, *(value for value in (own, now) if value is not None)})
    return [*((f"{value:g} s", value) for value in values), _NO_LIMIT]


def _said(row: Mapping[Any, Any]) -> str:
    """What a point says under the pointer."""
    interval = f" ({interval_of(row, ' to ')})" if interval_of(row) else ""
    lines = [
        f"{row['candidate']}  ({row['zone']})",
        f"score {score_of(row)}{interval}, {counted(row['n'], 'item')}",
        f"{usd(row['cost'])} per accepted answer, p95 {seconds(row['p95_s'])}",
    ]
    return "\n".join([*lines, row["why"] or row["outside"]])


def choice_html(route: Route, moved: list[str], price: str) -> str:
    """What is chosen and why; all text is escaped."""
    hand = "moved by hand: " + "; ".join(moved) if moved else "at the eval set's limits and the prices of the outcomes"
    price = f" The price that the slider moves: {price}." if price else ""
    return page(
        f"<p style='line-height:1.5'><b>{escape(route.way)}</b> &nbsp;[{route.status}, {escape(route.kind)}]<br>"
        f"{escape(route.reason)}<br><small>{escape(hand)}.{escape(price)}</small></p>"
    )
