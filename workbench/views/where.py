"""Where is a candidate good, and where not: scores by task and slice, and what a change of candidate fixes and breaks.

heat(outcomes)                  # a table: tasks and slices × candidates
heat_figure(heat(outcomes))     # the same as a figure
heat_html(heat(outcomes))       # the same as a table that survives a page without a kernel

Slices are many and hold few items each: they say where to look, not what is so.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.intervals import mean_intervals
from workbench.outcomes.slices import told_slices
from workbench.scores import Grid, prepare
from workbench.views.figures import label
from workbench.views.tables import page
from workbench.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 10  # items, under which a cell is shown pale
_PALE = 0.55  # such a cell's opacity
_MOST_ROWS, _MOST_COLUMNS = 60, 24  # of a figure
_LEAST = 2.6  # inches of its height: room for what the colors mean


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
        # To look through all rows for each of thousands of slices takes minutes.
        places = rows.groupby("item_id").indices
        for part, items in sorted(slices(rows).items()):
            own = np.sort(np.concatenate([places[item] for item in items]))
            pieces.append(_cells(rows.iloc[own], str(name), part))
    found = pd.concat(pieces, ignore_index=True)
    best = found[found["slice"] == ""].groupby("candidate")["score"].mean().sort_values(ascending=False, kind="stable")
    found["candidate"] = pd.Categorical(found["candidate"], categories=list(best.index), ordered=True)
    return found


def slices(rows: pd.DataFrame) -> dict[str, set[str]]:
    """The items of each slice of a task, such as `difficulty=hard`, named as `told_slices` does."""
    found: dict[str, set[str]] = {}
    for name, values in told_slices(rows).items():
        for value, own in rows["item_id"].groupby(values, sort=True):
            found[f"{name}={value}"] = set(own)
    return found


def _cells(rows: pd.DataFrame, task: str, part: str) -> pd.DataFrame:
    grid = Grid(rows)
    scores = grid.scores
    told = mean_intervals(scores.score, scores.clusters, repeats=scores.repeats)
    columns = {"candidate": grid.candidates, "n": told.n, "score": told.value, "lo": told.lo, "hi": told.hi}
    found = pd.DataFrame({"task": task, "slice": part, **columns})
    return found if part == "" else found[found["n"] > 0]


def matrix(table: pd.DataFrame, column: str = "score") -> pd.DataFrame:
    """What `heat` returned as rows (task, slice) × candidates."""
    wide = table.pivot(index=["task", "slice"], columns="candidate", values=column)
    keys = list(dict.fromkeys(zip(table["task"], table["slice"], strict=True)))
    names = [name for name in table["candidate"].cat.categories if name in wide.columns]
    return wide.reindex(index=pd.MultiIndex.from_tuples(keys, names=["task", "slice"]), columns=names)


def heat_pages(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What `heat` returned in pieces, each of as many candidates as a figure has room for."""
    names = list(table["candidate"].cat.categories)
    for first in range(0, len(names), _MOST_COLUMNS):
        yield table[table["candidate"].isin(names[first : first + _MOST_COLUMNS])]


def heat_figure(table: pd.DataFrame) -> Figure:
    """The heat map; a cell says its score, and pale ones rest on few items."""
    from matplotlib.figure import Figure

    scores, counts = matrix(table), matrix(table, "n")
    kept = _rows_kept([part for _, part in scores.index])
    hidden = (len(scores) - len(kept), max(scores.shape[1] - _MOST_COLUMNS, 0))
    scores, counts = (each.iloc[kept, :_MOST_COLUMNS] for each in (scores, counts))
    names = [label(name) for name in scores.columns]
    longest = max(map(len, names))
    height = max(0.32 * len(scores) + 0.09 * longest + 1.0, _LEAST)
    column = 0.95 if len(names) <= 8 else 0.5
    figure = Figure(figsize=(3.6 + column * len(names), height), layout="constrained")
    figure.patch.set_facecolor("white")
    axis = figure.subplots()
    few = counts.to_numpy(float) < FEW
    drawn = axis.imshow(scores, cmap="cividis", vmin=0, vmax=1, aspect="auto", alpha=np.where(few, _PALE, 1.0))
    for (row, column), value in np.ndenumerate(scores.to_numpy(float)):
        if not np.isnan(value):
            ink = _ink(drawn.to_rgba(value), _PALE if few[row, column] else 1.0)
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    sizes = counts.max(axis=1).to_numpy(float)
    rows = [f"{label(part or task)} (n = {size:.0f})" for (task, part), size in zip(scores.index, sizes, strict=True)]
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    for text, (_, part) in zip(axis.get_yticklabels(), scores.index, strict=True):
        text.set_fontweight("normal" if part else "bold")
    axis.set_xticks(range(len(names)), names, fontsize=8, rotation=40, ha="right")
    axis.set_xlabel("candidate" + (f" ({hidden[1]} more not shown)" if hidden[1] else ""))
    bar = figure.colorbar(drawn, ax=axis, shrink=min(0.8, 3 / height))
    bar.set_label(f"mean score\n(pale: under {FEW} items)", fontsize=7)
    if hidden[0]:
        axis.set_title(f"{counted(hidden[0], 'more slice')} not shown", fontsize=9)
    return figure


def _ink(shade: Any, opacity: float) -> str:
    """Black or white, whichever is told better from a cell's color on white (relative luminance as WCAG has it)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (opacity * each + 1 - opacity for each in shade[:3])
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "black" if (luminance + 0.05) ** 2 >= 1.05 * 0.05 else "white"


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
    if row is None or not row.n:
        return "<td></td>"
    score, lo, hi = row.score, row.lo, row.hi
    shade = f"background:rgba(0,114,178,{0.08 + 0.5 * score:.2f})"
    return f'<td style="{shade}">{score:.2f} <small>({lo:.2f} – {hi:.2f})</small></td>'
