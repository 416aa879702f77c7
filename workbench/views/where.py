"""Where is a candidate good, and where not: scores by task and slice, and what a change of candidate fixes and breaks.

heat(outcomes)                  # a table: tasks and slices × candidates
heat_figure(heat(outcomes))     # the same as a figure
heat_html(heat(outcomes))       # the same as a table that survives a page without a kernel

Slices are many and hold few items each: they say where to look, not what is so.
"""

from __future__ import annotations

import json
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.intervals import mean_intervals
from workbench.scores import Grid, prepare
from workbench.views.differences import sendable
from workbench.views.figures import label
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
        for part, items in sorted(slices(rows).items()):
            pieces.append(_cells(rows[rows["item_id"].isin(items)], str(name), part))
    found = pd.concat(pieces, ignore_index=True)
    best = found[found["slice"] == ""].groupby("candidate")["score"].mean().sort_values(ascending=False, kind="stable")
    found["candidate"] = pd.Categorical(found["candidate"], categories=list(best.index), ordered=True)
    return found


def slices(rows: pd.DataFrame) -> dict[str, set[str]]:
    """The items of each slice of a task, such as `difficulty=hard`.

    A value that only restricted items have is text of theirs, and pages and widgets' states are kept: a number stands
    for it, as in `customer=[restricted] 2`.
    """
    found: dict[tuple[str, str], set[str]] = {}
    if "slice" not in rows:
        return {}
    is_open: set[tuple[str, str]] = set()
    for (text, cls), own in rows.dropna(subset=["slice"]).groupby(["slice", "class"], sort=False)["item_id"]:
        try:
            parts = json.loads(str(text))
        except ValueError:
            parts = None
        for pair in parts.items() if isinstance(parts, dict) else ():
            name, value = (sendable(str(each)) for each in pair)
            found.setdefault((name, value), set()).update(own)
            if cls == "open":
                is_open.add((name, value))
    named, hidden = {}, Counter[str]()
    for name, value in sorted(found):
        if (name, value) not in is_open:
            hidden[name] += 1
        told = value if (name, value) in is_open else f"[restricted] {hidden[name]}"
        named[f"{name}={told}"] = found[name, value]
    return named


def _cells(rows: pd.DataFrame, task: str, part: str) -> pd.DataFrame:
    grid = Grid(rows)
    scores = grid.scores
    told = mean_intervals(scores.score, scores.clusters, repeats=scores.repeats)
    columns = {"candidate": grid.candidates, "n": told.n, "score": told.value, "lo": told.lo, "hi": told.hi}
    return pd.DataFrame({"task": task, "slice": part, **columns})


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
    kept = _rows_kept([part for _, part in scores.index])
    hidden = (len(scores) - len(kept), max(scores.shape[1] - _MOST_COLUMNS, 0))
    scores, counts = (each.iloc[kept, :_MOST_COLUMNS] for each in (scores, counts))
    names = [label(name) for name in scores.columns]
    longest = max(map(len, names))
    height = 0.32 * len(scores) + 0.09 * longest + 1.0
    column = 0.95 if len(names) <= 8 else 0.5
    figure = Figure(figsize=(3.6 + column * len(names), height), layout="constrained")
    figure.patch.set_facecolor("white")
    axis = figure.subplots()
    few = counts.to_numpy(float) < _FEW
    drawn = axis.imshow(scores, cmap="cividis", vmin=0, vmax=1, aspect="auto", alpha=np.where(few, 0.55, 1.0))
    for (row, column), value in np.ndenumerate(scores.to_numpy(float)):
        if not np.isnan(value):
            color = "black" if value > 0.55 or few[row, column] else "white"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    sizes = counts.max(axis=1).to_numpy(float)
    rows = [f"{label(part or task)} (n = {size:.0f})" for (task, part), size in zip(scores.index, sizes, strict=True)]
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    for text, (_, part) in zip(axis.get_yticklabels(), scores.index, strict=True):
        text.set_fontweight("normal" if part else "bold")
    axis.set_xticks(range(len(names)), names, fontsize=8, rotation=40, ha="right")
    axis.set_xlabel("candidate" + (f" ({hidden[1]} more not shown)" if hidden[1] else ""))
    bar = figure.colorbar(drawn, ax=axis, shrink=min(0.8, 3 / height))
    bar.set_label(f"mean score (pale: fewer than {_FEW} items)", fontsize=7)
    if hidden[0]:
        axis.set_title(f"{hidden[0]} more slices not shown", fontsize=9)
    return figure


def _rows_kept(parts: list[str]) -> list[int]:
    """The rows that a figure has room for: every task, and slices in their order."""
    room = _MOST_ROWS - parts.count("")
    slices_first = [at for at, part in enumerate(parts) if part][: max(room, 0)]
    return sorted([*slices_first, *(at for at, part in enumerate(parts) if not part)])


def heat_html(table: pd.DataFrame) -> str:
    """The heat map as a table, with each cell's interval."""
    scores = matrix(table)
    told: dict[Any, Any] = {(row.task, row.slice, row.candidate): row for row in table.itertuples()}
    head = "".join(f"<th>{escape(str(name))}</th>" for name in scores.columns)
    body = ""
    for task, part in scores.index:
        size = max(int(told[task, part, name].n) for name in scores.columns if (task, part, name) in told)
        body += f"<tr{'' if part else ' class=on'}><td class=t>{escape(part or task)}</td><td>{size}</td>"
        body += "".join(_cell(told.get((task, part, name))) for name in scores.columns) + "</tr>"
    caption = "score by task and slice, 95 % intervals; slices are exploratory"
    return page(f"<table><caption>{caption}</caption><tr><th class=t></th><th>n</th>{head}</tr>{body}</table>")


def _cell(row: Any) -> str:
    if row is None:
        return "<td></td>"
    score, lo, hi = row.score, row.lo, row.hi
    shade = f"background:rgba(0,114,178,{0.08 + 0.5 * score:.2f})"
    return f'<td style="{shade}">{score:.2f} <small>({lo:.2f} – {hi:.2f})</small></td>'
