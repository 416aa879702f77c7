"""Figures: score against cost per accepted answer, with intervals.

tradeoff(board)                        # a matplotlib figure, a panel a task
save_figures(board, folder)            # tradeoff.png
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.outcomes import split_candidate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, told apart with every kind of color vision and on light and dark grounds.
_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
_COST = ("cost_per_accepted_usd", "cost_lo", "cost_hi")
_LATENCY = ("latency_p95_s", "latency_p95_s_lo", "latency_p95_s_hi")
_LINE = "no other is better for less"
_RING = "chosen"
_ACROSS = 4  # tasks beside each other: a picture that is wider cannot be read
_TICKS = 5  # numbers below a panel: "$0.00001" is long
_GAP = 0.19  # of an axis, between two of them
_NAME = 40  # characters of a name in a figure
_LETTER = 0.085  # inches of a legend's letter, about


def label(text: object, most: int = _NAME) -> str:
    """A name as a figure can show it: short, on one line, and no formula between dollar signs."""
    line = "".join(each if each.isprintable() else " " for each in str(text))
    cut = line if len(line) <= most else f"{line[: most - 1]}…"
    return cut.replace("$", r"\$")


def tradeoff(board: pd.DataFrame, policy: Any = None) -> Figure:
    """Score against cost per accepted answer, and below it against p95 latency, a column a task, four columns a row.

    Bars are 95 % intervals.

    Args:
        board: what `leaderboard` returned.
        policy: a policy whose chosen candidates are ringed, by class where a task has two routes; None rings none.

    Returns:
        A figure that is not registered with pyplot, so that nothing is shown twice.
    """
    from matplotlib.figure import Figure

    tasks = list(board["task"].unique())
    across, down = min(len(tasks), _ACROSS), math.ceil(len(tasks) / _ACROSS)
    names = looks(board["candidate"])
    width = max(4.6 * across, 5.4)
    ncols = max(1, min(4, int(width / (_LETTER * max(len(label(name)) for name in names) + 0.5))))
    figure = Figure(figsize=(width, 7.4 * down + 0.2 * math.ceil(len(names) / ncols)), layout="constrained")
    figure.patch.set_facecolor("white")
    panels = figure.subplots(2 * down, across, sharey=True, squeeze=False)
    handles: dict[str, Any] = {}
    for index in range(down * across):
        upper, lower = (panels[2 * (index // across) + half, index % across] for half in (0, 1))
        if index < len(tasks):
            rows = board[board["task"] == tasks[index]]
            found = _pair(upper, lower, tasks[index], rows, names, _chosen(policy, tasks[index]))
            handles = {**found, **handles}
        for axis in (upper, lower):
            if index >= len(tasks):
                axis.set_axis_off()
            elif index % across == 0:
                axis.set_ylabel("score (mean, 95 % interval)")
    # A space before the name: a legend leaves out what begins with an underscore.
    marks = {mark: handles.pop(mark) for mark in (_LINE, _RING) if mark in handles}
    told = [*(f" {label(name)}" for name in names if name in handles), *marks]
    drawn = [*(handles[name] for name in names if name in handles), *marks.values()]
    figure.legend(drawn, told, loc="outside lower center", ncols=ncols, frameon=False, fontsize=9)
    return figure


def _pair(
    upper: Axes,
    lower: Axes,
    task: str,
    rows: pd.DataFrame,
    names: Mapping[str, tuple[int, int]],
    chosen: Mapping[str, str],
) -> dict[str, Any]:
    """A task's two panels; what was drawn, by candidate, for the legend."""
    handles: dict[str, Any] = {}
    floors = _floor(rows, "cost_per_accepted_usd"), _floor(rows, "latency_p95_s")
    for axis, columns, floor in ((upper, _COST, floors[0]), (lower, _LATENCY, floors[1])):
        for _, row in rows.iterrows():
            color, marker = names[row["candidate"]]
            look = {"color": _COLORS[color], "fmt": _MARKERS[marker]}
            drawn = _point(axis, row, columns, floor, look)
            if drawn is not None:
                handles.setdefault(row["candidate"], drawn)
                if row["candidate"] in chosen:
                    at = max(row[columns[0]], floor), row["score"]
                    handles[_RING] = _ring(axis, at, chosen[row["candidate"]])
    handles[_LINE] = _frontier(upper, rows, floors[0])
    _finish(upper, _title(task, rows, "cost_per_accepted_usd", "no cost per accepted"), rows, floors[0])
    _finish_latency(lower, _title("", rows, "latency_p95_s", "latency unknown"))
    return handles


def looks(candidates: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Each candidate's color, of its model, and marker, of its variant: the same in every figure of these candidates.

    Where models are more than colors, the marker changes as well.
    """
    parts = {name: split_candidate(name) for name in candidates}
    models, variants = (sorted({pair[at] for pair in parts.values()}) for at in (0, 1))
    found = {}
    for name, (model, variant) in parts.items():
        turn, color = divmod(models.index(model), len(_COLORS))
        found[name] = color, (variants.index(variant) + turn * len(variants)) % len(_MARKERS)
    return found


def _frontier(axis: Axes, rows: pd.DataFrame, floor: float) -> Any:
    """A line through the candidates that no other beats for less."""
    known = rows[np.isfinite(rows["cost_per_accepted_usd"])].sort_values(["cost_per_accepted_usd", "score"])
    best = known["score"].cummax()
    line = known[(known["score"] >= best) & (known["score"] > best.shift(fill_value=-1.0))]
    cost = line["cost_per_accepted_usd"].clip(lower=floor)
    return axis.plot(cost, line["score"], color="#888888", linewidth=1, zorder=0, label=_LINE)[0]


def _title(task: str, rows: pd.DataFrame, column: str, missing: str) -> str:
    hidden = int((~np.isfinite(rows[column])).sum())
    return f"{label(task)} ({hidden} not shown: {missing})" if hidden else label(task)


def _chosen(policy: Any, task: str) -> dict[str, str]:
    """The candidates that a task's routes begin with; where it has several routes, with the classes of each."""
    routes = [] if policy is None else [route for route in policy.routes if route.task == task]
    found: dict[str, list[str]] = {}
    for route in routes:
        if route.chain:
            found.setdefault(route.chain[0].candidate, []).append(route.class_ if len(routes) > 1 else "")
    return {name: ", ".join(classes) for name, classes in found.items()}


def _floor(rows: pd.DataFrame, column: str) -> float:
    """Where free answers, or those in no time, stand on the logarithmic axis: left of the least other one."""
    values = rows[column].to_numpy(float)
    known = values[np.isfinite(values) & (values > 0)]
    return float(10 ** (np.floor(np.log10(known.min())) - 0.5)) if len(known) else 1e-6


def _point(axis: Axes, row: pd.Series[Any], columns: tuple[str, str, str], floor: float, look: dict[str, Any]) -> Any:
    """A candidate's point, for the legend; None where the figure is unknown, or nothing was accepted."""
    value, lo, hi = (row[name] for name in columns)
    if not np.isfinite(value):
        return None  # the title says how many
    x = max(value, floor)
    # Where so few items leave an interval without an end, no end is drawn.
    below, above = max(x - lo, 0), max(hi - x, 0) if np.isfinite(hi) else 0
    drawn_out = value > 0 and np.isfinite(lo) and below + above > 1e-6 * x  # else it would be the axis's whole length
    reach = [[below], [above]] if drawn_out else None
    drawn = axis.errorbar(
        x,
        row["score"],
        xerr=reach,
        yerr=[[max(row["score"] - row["score_lo"], 0)], [max(row["score_hi"] - row["score"], 0)]],
        markersize=7,
        capsize=2,
        elinewidth=1,
        label=row["candidate"],
        **look,
    )
    return drawn


def _ring(axis: Axes, at: tuple[float, float], classes: str) -> Any:
    """A ring around a chosen candidate, with the classes of the routes that it stands first in; for the legend."""
    from matplotlib.patheffects import withStroke

    look: dict[str, Any] = {
        "marker": "o",
        "linestyle": "none",
        "fillstyle": "none",
        "color": "black",
        "markeredgewidth": 1.4,
    }
    ring = axis.plot(*at, markersize=16, label=_RING, **look)[0]
    if classes:
        text: dict[str, Any] = {"fontsize": 8, "ha": "center", "color": "#222222", "textcoords": "offset points"}
        name = axis.annotate(classes, at, xytext=(0, -19), zorder=5, **text)
        name.set_path_effects([withStroke(linewidth=3, foreground="white")])  # error bars run behind it
    return ring


def _frame(axis: Axes, title: str, label: str) -> None:
    axis.set_xscale("log")
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(label)
    axis.set_ylim(-0.03, 1.03)
    axis.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)


def _finish_latency(axis: Axes, title: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    _frame(axis, title, "latency, p95 (s; no end where too few items bound it)")
    low, high = axis.get_xlim()
    if high < 100 * low:  # powers of ten alone would leave hardly a number on the axis
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    if sum(low <= tick <= high for tick in axis.get_xticks()) < 2:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.minorticks_off()


def _finish(axis: Axes, title: str, rows: pd.DataFrame, floor: float) -> None:
    from matplotlib.ticker import FuncFormatter

    _frame(axis, title, "cost per accepted answer (USD, all attempts)")
    costs = rows["cost_per_accepted_usd"].to_numpy(float)
    free, paid = bool((costs <= 0).any()), bool((np.isfinite(costs) & (costs > 0)).any())
    low, high = axis.get_xlim()
    if free:
        low = min(low, floor / 2)
        axis.set_xlim(low, high)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "free" if free and x <= floor * 1.5 else _dollars(x)))
    first = floor * (high / low) ** 0.15 if free else low  # not below the word "free"
    axis.set_xticks(_apart([floor] * free + (_ticks(first, high) if paid else []), *axis.get_xlim()))
    axis.tick_params(axis="x", labelsize=9)
    axis.minorticks_off()


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers along a logarithmic axis: as many as its width has room for, and at least two."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,)):
        found = [at for at in (float(f"{step}e{decade}") for decade in decades for step in steps) if low <= at <= high]
        if len(found) <= _TICKS:
            break
    if len(found) < 2:
        found = [float(at) for at in MaxNLocator(_TICKS - 2).tick_values(low, high) if low <= at <= high]
    return found[:: math.ceil(len(found) / _TICKS)]


def _apart(ticks: list[float], low: float, high: float) -> list[float]:
    """Those of an axis whose numbers do not run into the one before them."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or math.log(tick / kept[-1]) >= _GAP * math.log(high / low):
            kept.append(tick)
    return kept


def _dollars(x: float) -> str:
    """A cost in full: $0.0001, not $1e-04."""
    return f"${np.format_float_positional(x, precision=3, fractional=False, trim='-')}"


def save_figures(board: pd.DataFrame, folder: Path, policy: Any = None) -> list[Path]:
    """Write the figures as PNG files."""
    path = folder / "tradeoff.png"
    path.write_bytes(png(tradeoff(board, policy)))
    return [path]


def png(figure: Figure) -> bytes:
    """A figure as a PNG: it shows wherever a notebook is opened, whatever backend is set."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names may be in any script, and the font that is there may lack it: boxes then, not a page of warnings.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
