"""Figures: score against cost per accepted answer, with intervals.

tradeoff(board)                        # a matplotlib figure, a panel a task
save_figures(board, folder)            # tradeoff.png
"""

from __future__ import annotations

import io
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


def tradeoff(board: pd.DataFrame, policy: Any = None) -> Figure:
    """Score against cost per accepted answer, and below it against p95 latency, a column a task.

    Bars are 95 % intervals.

    Args:
        board: what `leaderboard` returned.
        policy: a policy whose chosen candidates are ringed; None rings none.

    Returns:
        A figure that is not registered with pyplot, so that nothing is shown twice.
    """
    from matplotlib.figure import Figure

    tasks = list(board["task"].unique())
    figure = Figure(figsize=(max(4.6 * len(tasks), 5.4), 7.6), layout="constrained")
    figure.patch.set_facecolor("white")
    panels = figure.subplots(2, len(tasks), sharey=True, squeeze=False)
    models = list(dict.fromkeys(split_candidate(name)[0] for name in board["candidate"]))
    variants = list(dict.fromkeys(split_candidate(name)[1] for name in board["candidate"]))
    floor = _floor(board)
    for at, task in enumerate(tasks):
        chosen, rows = _chosen(policy, task), board[board["task"] == task]
        for _, row in rows.iterrows():
            model, variant = split_candidate(row["candidate"])
            look: dict[str, Any] = {
                "color": _COLORS[models.index(model) % len(_COLORS)],
                "fmt": _MARKERS[variants.index(variant) % len(_MARKERS)],
            }
            _point(panels[0, at], row, _COST, floor, look, row["candidate"] in chosen)
            _point(panels[1, at], row, _LATENCY, 0.0, look, row["candidate"] in chosen)
        _frontier(panels[0, at], rows, floor)
        _finish(panels[0, at], _title(task, rows, "cost_per_accepted_usd", "no cost per accepted"), floor)
        _finish_latency(panels[1, at], _title("", rows, "latency_p95_s", "latency unknown"))
    for row in panels:
        row[0].set_ylabel("score (mean, 95 % interval)")
    handles: dict[str, Any] = {}
    for axis in panels.ravel():
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=min(len(handles), 4), frameon=False
    )
    return figure


def _frontier(axis: Axes, rows: pd.DataFrame, floor: float) -> None:
    """A line through the candidates that no other beats for less."""
    known = rows[np.isfinite(rows["cost_per_accepted_usd"])].sort_values(["cost_per_accepted_usd", "score"])
    best = known["score"].cummax()
    line = known[(known["score"] >= best) & (known["score"] > best.shift(fill_value=-1.0))]
    cost = line["cost_per_accepted_usd"].clip(lower=floor)
    axis.plot(cost, line["score"], color="#888888", linewidth=1, zorder=0, label="no other is better for less")


def _title(task: str, rows: pd.DataFrame, column: str, missing: str) -> str:
    hidden = int((~np.isfinite(rows[column])).sum())
    return f"{task} ({hidden} not shown: {missing})" if hidden else task


def _chosen(policy: Any, task: str) -> set[str]:
    if policy is None:
        return set()
    return {route.chain[0].candidate for route in policy.routes if route.task == task and route.chain}


def _floor(board: pd.DataFrame) -> float:
    """Where free answers stand on the logarithmic axis: left of the cheapest paid one."""
    cost = board["cost_per_accepted_usd"].to_numpy(float)
    paid = cost[np.isfinite(cost) & (cost > 0)]
    return float(10 ** (np.floor(np.log10(paid.min())) - 0.5)) if len(paid) else 1e-6


def _point(
    axis: Axes, row: pd.Series[Any], columns: tuple[str, str, str], floor: float, look: dict[str, Any], chosen: bool
) -> None:
    value, lo, hi = (row[name] for name in columns)
    if not np.isfinite(value):
        return  # unknown, or nothing accepted: the title says how many
    x = max(value, floor)
    # Where so few items leave an interval without an end, no end is drawn.
    reach = [[max(x - lo, 0)], [max(hi - x, 0) if np.isfinite(hi) else 0]] if value > 0 and np.isfinite(lo) else None
    axis.errorbar(
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
    if chosen:
        axis.plot(x, row["score"], "o", markersize=16, fillstyle="none", color="black", markeredgewidth=1.4)


def _finish_latency(axis: Axes, title: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_xscale("log")
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("latency, p95 (s; no end where too few items bound it)")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    low, high = axis.get_xlim()
    if high < 100 * low:  # powers of ten alone would leave hardly a number on the axis
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.minorticks_off()


def _finish(axis: Axes, title: str, floor: float) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_xscale("log")
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("cost per accepted answer (USD, all attempts)")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, floor / 2), high)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "free" if x <= floor * 1.5 else _dollars(x)))
    axis.set_xticks([floor, *[t for t in axis.get_xticks() if floor * 2 < t < high]])
    axis.minorticks_off()


def _dollars(x: float) -> str:
    """A power of ten in full: $0.0001, not $1e-04."""
    return f"${x:.{max(0, -int(np.floor(np.log10(x) + 1e-9)))}f}"


def save_figures(board: pd.DataFrame, folder: Path, policy: Any = None) -> list[Path]:
    """Write the figures as PNG files."""
    path = folder / "tradeoff.png"
    path.write_bytes(png(tradeoff(board, policy)))
    return [path]


def png(figure: Figure) -> bytes:
    """A figure as a PNG: it shows wherever a notebook is opened, whatever backend is set."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
