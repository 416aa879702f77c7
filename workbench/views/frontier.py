"""The frontier of policies as a figure and a page. All text is escaped.

frontier_html(report)
frontier_figure(report)
"""

from __future__ import annotations

import base64
import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.views.figures import label, png
from workbench.views.tables import page, seconds, usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workbench.routing.frontier import Frontier
    from workbench.routing.whatif import WhatIf

# Okabe and Ito's colors, as in `views.figures`; the marker says the same.
_KINDS = {
    "per_task": ("one model", "#0072B2", "o"),
    "rules_first": ("rules first", "#E69F00", "s"),
    "cascade": ("cascade", "#D55E00", "^"),
    "per_request": ("per request", "#009E73", "D"),
}
_LABEL = 34  # characters of a name
_FONT = 7


def frontier_figure(report: Frontier) -> Figure:
    """Score against cost per accepted answer, and against p95 latency; a row of two panels a task × class."""
    from matplotlib.figure import Figure

    cells = list(report.table.groupby(["task", "class"], sort=False))
    figure = Figure(figsize=(11, 4.2 * max(len(cells), 1)), layout="constrained")
    figure.patch.set_facecolor("white")
    panels = figure.subplots(max(len(cells), 1), 2, squeeze=False, sharey="row")
    for (left, right), ((task, cls), rows) in zip(panels, cells, strict=False):
        _panel(left, rows, "cost_per_accepted_usd", ("cost_lo", "cost_hi"))
        _panel(right, rows, "latency_p95_s", ("latency_p95_s", "p95_bound_s"))
        left.set_title(f"{label(task)} ({cls})", fontsize=10)
        left.set_xlabel("cost per accepted answer (USD, all attempts)")
        left.set_ylabel("score (mean, 95 % interval)")
        right.set_xlabel("latency, p95 and its upper bound (s)")
    handles: dict[str, Any] = {}
    for axis in panels.ravel():
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(text, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5, frameon=False)
    figure.draw_without_rendering()  # from here on the points are where they will be
    for (left, right), (_, rows) in zip(panels, cells, strict=False):
        for axis, x in ((left, "cost_per_accepted_usd"), (right, "latency_p95_s")):
            _name(axis, rows[np.isfinite(rows[x]) & np.isfinite(rows["score"])], x)
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, x: str, reach: tuple[str, str]) -> None:
    shown = rows[np.isfinite(rows[x]) & np.isfinite(rows["score"])]
    for _, row in shown.iterrows():
        name, color, marker = _KINDS[row["policy"]]
        lo, hi = (row[each] if math.isfinite(row[each]) else row[x] for each in reach)
        axis.errorbar(
            row[x],
            row["score"],
            xerr=[[max(row[x] - lo, 0)], [max(hi - row[x], 0)]],
            yerr=[[max(row["score"] - row["score_lo"], 0)], [max(row["score_hi"] - row["score"], 0)]],
            fmt=marker,
            color=color,
            alpha=1.0 if row["offered"] else 0.45,
            markersize=7,
            capsize=2,
            elinewidth=1,
            label=name,
        )
        if row["chosen"]:
            axis.plot(row[x], row["score"], "o", markersize=16, fillstyle="none", color="black", label="chosen")
    if x == "cost_per_accepted_usd":
        axis.plot(*_mixes(shown[shown["on_hull"]]), color="#888888", linewidth=1, zorder=0, label="random mixes")
    hidden = len(rows) - len(shown)
    if hidden:
        axis.text(0.99, 0.01, f"{hidden} without this figure", transform=axis.transAxes, ha="right", fontsize=7)
    axis.grid(True, color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.margins(x=0.12, y=0.12)


def _name(axis: Axes, shown: pd.DataFrame, x: str) -> None:
    """Write the candidates' names beside their points, each line of them where no other one stands."""
    middle = (shown[x].min() + shown[x].max()) / 2
    placed: list[tuple[float, float, float]] = []  # left, right and height, in points of the page
    to_points = 72 / axis.figure.dpi
    for _, row in shown.sort_values("score").iterrows():
        text = label(row["name"], _LABEL)
        across, up = axis.transData.transform((row[x], row["score"])) * to_points
        right = row[x] > middle  # its name goes to the left, or it would leave the picture
        width = _FONT * 0.6 * len(text)
        left = across - 6 - width if right else across + 6
        rise = 5.0
        while any(left < end and start < left + width and abs(up + rise - y) < _FONT for start, end, y in placed):
            rise += _FONT / 2
        placed.append((left, left + width, up + rise))
        axis.annotate(
            text,
            (row[x], row["score"]),
            xytext=(-6 if right else 6, rise),
            textcoords="offset points",
            fontsize=_FONT,
            ha="right" if right else "left",
        )


def _mixes(hull: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Cost per accepted answer and score of the random mixes of neighbors on the hull: no straight line here."""
    line = hull.sort_values("cost_usd")
    cost, score = line["cost_usd"].to_numpy(float), line["score"].to_numpy(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        accepted = np.where(cost > 0, cost / line["cost_per_accepted_usd"].to_numpy(float), np.nan)
    found: tuple[list[float], list[float]] = ([], [])
    for left in range(len(line) - 1):
        for part in np.linspace(0, 1, 20):
            weights = np.array([1 - part, part])
            share = weights @ accepted[left : left + 2]
            found[0].append(float(weights @ cost[left : left + 2] / share))
            found[1].append(float(weights @ score[left : left + 2]))
    return found


def frontier_html(report: Frontier) -> str:
    """The figure, a table a task × class, and the literature's measures."""
    picture = base64.b64encode(png(frontier_figure(report))).decode()
    tables = [
        f"<table><caption>{escape(str(task))} ({escape(str(cls))})</caption>{_HEAD}"
        f"{''.join(_row(row) for _, row in rows.iterrows())}</table>"
        for (task, cls), rows in report.table.groupby(["task", "class"], sort=False)
    ]
    return page(
        f'<img alt="score against cost and latency" src="data:image/png;base64,{picture}">{"".join(tables)}'
        f"{_measures(report.measures)}"
    )


_HEAD = (
    "<tr><th class=t>policy</th><th>score</th><th>95 % interval</th><th>cost per accepted</th><th>p95</th>"
    "<th>hull</th><th class=t>chosen</th><th class=t>why</th></tr>"
)


def _row(row: pd.Series[Any]) -> str:
    known = math.isfinite(row["score"])
    cells = [
        f"<td class=t>{escape(row['name'])}</td>",
        f"<td>{row['score']:.3f}</td>" if known else "<td></td>",
        f"<td>{row['score_lo']:.2f} – {row['score_hi']:.2f}</td>" if known else "<td></td>",
        f"<td>{usd(row['cost_per_accepted_usd']) if known else ''}</td>",
        f"<td>{seconds(row['latency_p95_s']) if known else ''}</td>",
        f"<td>{'on it' if row['on_hull'] else ''}</td>",
        f"<td class=t>{'chosen' if row['chosen'] else ''}</td>",
        f"<td class=w>{escape(row['why'])}</td>",
    ]
    return f"<tr{' class=on' if row['chosen'] else ''}>{''.join(cells)}</tr>"


def _measures(measures: pd.DataFrame) -> str:
    names = [name for name in measures if name not in ("task", "class") and measures[name].notna().any()]
    head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
    body = "".join(
        f"<tr><td class=t>{escape(row['task'])} ({row['class']})</td>"
        + "".join(f"<td>{'' if math.isnan(row[str(name)]) else format(row[str(name)], '.3f')}</td>" for name in names)
        + "</tr>"
        for _, row in measures.iterrows()
    )
    return f"<table><caption>measures</caption><tr><th class=t></th>{head}</tr>{body}</table>"


def what_if_html(report: WhatIf) -> str:
    """What would change, and at which prices."""
    rows = "".join(
        f"<tr{' class=on' if row['changed'] else ''}><td class=t>{escape(row['task'])} ({row['class']})</td>"
        f"<td class=t>{escape(row['before'])}</td><td class=t>{escape(row['after'])}</td>"
        f"<td class=t>{escape(row['status'])}</td><td>{usd(row['cost_after_usd'])}</td>"
        f"<td class=w>{escape(row['why'])}</td></tr>"
        for _, row in report.changes.iterrows()
    )
    names = ("task", "before", "after", "status", "cost per accepted", "why")
    head = f"<tr>{''.join(f'<th class=t>{name}</th>' for name in names)}</tr>"
    told = [row["said"] for table in (report.tipping, report.break_even, report.bands) for _, row in table.iterrows()]
    lines = "".join(f"<tr><td class=w>{escape(line)}</td></tr>" for line in [*told, *report.notes])
    return page(f"<table><caption>what if</caption>{head}{rows}</table><table>{lines}</table>")
