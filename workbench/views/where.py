"""Where is a candidate good, and where not: scores by task and slice, and what a change of candidate fixes and breaks.

heat(outcomes)                  # a table: tasks and slices × candidates
heat_figure(heat(outcomes))     # the same as a figure
heat_html(heat(outcomes))       # the same as a table that survives a page without a kernel

Slices are many and hold few items each: they say where to look, not what is so.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.intervals import mean_intervals
from workbench.scores import Grid, prepare
from workbench.views.tables import page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW = 10  # items, under which a cell is shown pale
_MOST_ROWS, _MOST_COLUMNS = 60, 24  # of a figure


def heat(outcomes: pd.DataFrame, task: str | None = None) -> pd.DataFrame:
    """Mean scores of whole tasks, and of their slices.

    Args:
        outcomes: an outcome table; without slices there are rows of tasks only.
        task: this one alone.

    Returns:
        Columns `task`, `slice` (such as `difficulty=hard`; empty is the whole task), `candidate`, `n` (items),
        `score`, `lo`, `hi` (95 %). Candidates come in the order of their mean score, best first.

    Raises:
        InputError: there are no such outcomes.
    """
    table = prepare(outcomes)
    table = table if task is None else table[table["task"] == task]
    if table.empty:
        raise InputError(f"there are no outcomes of task '{task}'." if task else "the outcome table has no test rows.")
    pieces = []
    for name, rows in table.groupby("task", sort=True):
        pieces.append(_cells(rows, str(name), ""))
        for label, items in sorted(_slices(rows).items()):
            pieces.append(_cells(rows[rows["item_id"].isin(items)], str(name), label))
    found = pd.concat(pieces, ignore_index=True)
    best = found[found["slice"] == ""].groupby("candidate")["score"].mean().sort_values(ascending=False, kind="stable")
    found["candidate"] = pd.Categorical(found["candidate"], categories=list(best.index), ordered=True)
    return found


def _slices(rows: pd.DataFrame) -> dict[str, set[str]]:
    """The items of each slice."""
    found: dict[str, set[str]] = {}
    if "slice" not in rows:
        return found
    for text, own in rows.dropna(subset=["slice"]).groupby("slice", sort=False)["item_id"]:
        try:
            parts = json.loads(str(text))
        except ValueError:
            parts = None
        for name, value in parts.items() if isinstance(parts, dict) else ():
            found.setdefault(f"{name}={value}", set()).update(own)
    return found


def _cells(rows: pd.DataFrame, task: str, label: str) -> pd.DataFrame:
    grid = Grid(rows)
    scores = grid.scores
    told = mean_intervals(scores.score, scores.clusters, repeats=scores.repeats)
    columns = {"candidate": grid.candidates, "n": told.n, "score": told.value, "lo": told.lo, "hi": told.hi}
    return pd.DataFrame({"task": task, "slice": label, **columns})


def matrix(table: pd.DataFrame, column: str = "score") -> pd.DataFrame:
    """What `heat` returned as rows (task, slice) × candidates."""
    wide = table.pivot(index=["task", "slice"], columns="candidate", values=column)
    keys = list(dict.fromkeys(zip(table["task"], table["slice"], strict=True)))
    names = [name for name in table["candidate"].cat.categories if name in wide.columns]
    return wide.reindex(index=pd.MultiIndex.from_tuples(keys, names=["task", "slice"]), columns=names)


def heat_figure(table: pd.DataFrame) -> Figure:
    """The heat map; a cell says its score, and pale ones rest on few items."""
    from matplotlib.figure import Figure

    scores, counts = matrix(table), matrix(table, "n")
    hidden = (max(len(scores) - _MOST_ROWS, 0), max(scores.shape[1] - _MOST_COLUMNS, 0))
    scores, counts = (each.iloc[:_MOST_ROWS, :_MOST_COLUMNS] for each in (scores, counts))
    longest = max(len(str(name)) for name in scores.columns)
    height = 0.32 * len(scores) + 0.09 * longest + 1.0
    figure = Figure(figsize=(3.6 + 0.95 * scores.shape[1], height), layout="constrained")
    figure.patch.set_facecolor("white")
    axis = figure.subplots()
    few = counts.to_numpy(float) < _FEW
    drawn = axis.imshow(scores, cmap="cividis", vmin=0, vmax=1, aspect="auto", alpha=np.where(few, 0.55, 1.0))
    for (row, column), value in np.ndenumerate(scores.to_numpy(float)):
        if not np.isnan(value):
            color = "black" if value > 0.55 or few[row, column] else "white"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    sizes = counts.max(axis=1).to_numpy(float)
    labels = [f"{label or task} (n = {size:.0f})" for (task, label), size in zip(scores.index, sizes, strict=True)]
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    for text, (_, label) in zip(axis.get_yticklabels(), scores.index, strict=True):
        text.set_fontweight("normal" if label else "bold")
    axis.set_xticks(range(scores.shape[1]), [str(name) for name in scores.columns], fontsize=8, rotation=40, ha="right")
    axis.set_xlabel("candidate" + (f" ({hidden[1]} more not shown)" if hidden[1] else ""))
    figure.colorbar(drawn, ax=axis, label=f"mean score (pale: fewer than {_FEW} items)", shrink=0.8)
    if hidden[0]:
        axis.set_title(f"{hidden[0]} more slices not shown", fontsize=9)
    return figure


def heat_html(table: pd.DataFrame) -> str:
    """The heat map as a table, with each cell's interval."""
    scores = matrix(table)
    told: dict[Any, Any] = {(row.task, row.slice, row.candidate): row for row in table.itertuples()}
    head = "".join(f"<th>{escape(str(name))}</th>" for name in scores.columns)
    body = ""
    for task, label in scores.index:
        size = max(int(told[task, label, name].n) for name in scores.columns if (task, label, name) in told)
        body += f"<tr{'' if label else ' class=on'}><td class=t>{escape(label or task)}</td><td>{size}</td>"
        body += "".join(_cell(told.get((task, label, name))) for name in scores.columns) + "</tr>"
    caption = "score by task and slice, 95 % intervals; slices are exploratory"
    return page(f"<table><caption>{caption}</caption><tr><th class=t></th><th>n</th>{head}</tr>{body}</table>")


def _cell(row: Any) -> str:
    if row is None:
        return "<td></td>"
    score, lo, hi = row.score, row.lo, row.hi
    shade = f"background:rgba(0,114,178,{0.08 + 0.5 * score:.2f})"
    return f'<td style="{shade}">{score:.2f} <small>({lo:.2f} – {hi:.2f})</small></td>'
