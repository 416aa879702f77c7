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


def tradeoff(board: pd.DataFrame, policy: Any = None) -> Figure:
    """Score against cost per accepted answer, a panel a task; bars are 95 % intervals.

    Args:
        board: what `leaderboard` returned.
        policy: a policy whose chosen candidates are ringed; None rings none.

    Returns:
        A figure that is not registered with pyplot, so that nothing is shown twice.
    """
    from matplotlib.figure import Figure

    tasks = list(board["task"].unique())
    figure = Figure(figsize=(4.6 * len(tasks), 4.4), layout="constrained")
    figure.patch.set_facecolor("white")
    axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    candidates = list(dict.fromkeys(board["candidate"]))
    models = list(dict.fromkeys(split_candidate(name)[0] for name in candidates))
    variants = list(dict.fromkeys(split_candidate(name)[1] for name in candidates))
    floor = _floor(board)
    for axis, task in zip(axes, tasks, strict=True):
        chosen = _chosen(policy, task)
        for _, row in board[board["task"] == task].iterrows():
            model, variant = split_candidate(row["candidate"])
            color = _COLORS[models.index(model) % len(_COLORS)]
            marker = _MARKERS[variants.index(variant) % len(_MARKERS)]
            _point(axis, row, floor, color, marker, row["candidate"] in chosen)
        hidden = int((~np.isfinite(board.loc[board["task"] == task, "cost_per_accepted_usd"])).sum())
        _finish(axis, f"{task} ({hidden} not shown: no cost per accepted)" if hidden else task, floor)
    axes[0].set_ylabel("score (mean, 95 % interval)")
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=min(len(handles), 4), frameon=False
    )
    return figure


def _chosen(policy: Any, task: str) -> set[str]:
    if policy is None:
        return set()
    return {route.chain[0].candidate for route in policy.routes if route.task == task and route.chain}


def _floor(board: pd.DataFrame) -> float:
    """Where free answers stand on the logarithmic axis: left of the cheapest paid one."""
    cost = board["cost_per_accepted_usd"].to_numpy(float)
    paid = cost[np.isfinite(cost) & (cost > 0)]
    return float(10 ** (np.floor(np.log10(paid.min())) - 0.5)) if len(paid) else 1e-6


def _point(axis: Axes, row: pd.Series[Any], floor: float, color: str, marker: str, chosen: bool) -> None:
    cost, lo, hi = row["cost_per_accepted_usd"], row["cost_lo"], row["cost_hi"]
    if not np.isfinite(cost):
        return  # unknown, or nothing accepted: the title says how many
    x = max(cost, floor)
    reach = [[max(x - lo, 0)], [max(min(hi, x * 100) - x, 0)]] if cost > 0 else None
    axis.errorbar(
        x,
        row["score"],
        xerr=reach,
        yerr=[[max(row["score"] - row["score_lo"], 0)], [max(row["score_hi"] - row["score"], 0)]],
        fmt=marker,
        color=color,
        markersize=7,
        capsize=2,
        elinewidth=1,
        label=row["candidate"],
    )
    if chosen:
        axis.plot(x, row["score"], "o", markersize=16, fillstyle="none", color="black", markeredgewidth=1.4)


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
