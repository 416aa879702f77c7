"""The leaderboard of the dashboard: every column sorts.

board(shown)          # a widget
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import traitlets

from workbench.outcomes import split_candidate
from workbench.views.dashboard.widget import Part, plain, script
from workbench.views.shown import Shown
from workbench.views.tables import (
    FORMATS,
    RANKS,
    asked,
    behind,
    cautions,
    detects,
    interval_of,
    marks,
    ranked,
    score_of,
    seconds,
    size,
    usd,
)

# name, title, what it is sorted by, whether it is text
_COLUMNS = (
    ("task", "task", "task", True),
    ("candidate", "candidate", "candidate", True),
    ("score", "score", "score", False),
    ("bar", "95 % interval", "score_lo", False),
    ("rank", "rank", "first_rank", False),
    ("behind", "behind the best", "behind_best_hi", False),
    ("cost", "cost/accepted", "cost_per_accepted_usd", False),
    ("p95", "p95", "latency_p95_s", False),
    ("zone", "zone", "zone", True),
    ("mark", "chosen for", "mark", True),
    ("accepted", "accepted", "accepted", False),
    ("format_ok", "format", "format_ok", False),
    ("n", "n", "n", False),
)
_FIGURES = ("score", "score_lo", "score_hi", "n", "behind_best_hi", "accepted", "format_ok", "latency_p95_s")
_COLUMNS_SAY = "Cost per accepted answer, all attempts counted; latency at the 95th percentile."


class Board(Part):
    """Rows and columns; which way they are sorted is the browser's own affair."""

    _esm = script("leaderboard")
    rows: Any = traitlets.List().tag(sync=True)
    columns: Any = traitlets.List().tag(sync=True)
    cautions: Any = traitlets.List().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)


def board(shown: Shown) -> Board:
    """The widget of a leaderboard."""
    columns = [dict(zip(("name", "title", "sort", "text"), each, strict=True)) for each in _COLUMNS]
    note = f"{_COLUMNS_SAY} {FORMATS} {RANKS}"
    return Board(rows=rows_of(shown), columns=columns, cautions=_cautions(shown.board), note=note)


def _cautions(found: pd.DataFrame) -> list[dict[str, str]]:
    """What is to be said of a task's figures before they are read, by task."""
    told = []
    for task, rows in found.groupby("task", sort=True):
        left_out = bool(rows["n"].max() < rows["of"].max())
        said = [*([size(found, str(task))] if left_out else []), *cautions(rows)]
        if said:
            told.append({"task": str(task), "said": f"{task}: {'; '.join(said)}"})
    return told


def rows_of(shown: Shown) -> list[dict[str, Any]]:
    """The leaderboard's rows, with the marks that the routes have now."""
    return [_row(row, shown) for _, row in shown.board.iterrows()]


def _row(row: pd.Series[Any], shown: Shown) -> dict[str, Any]:
    task, candidate = str(row["task"]), str(row["candidate"])
    zone, mark = shown.models.zone_of(split_candidate(candidate)[0]), marks(shown.policy, task, candidate)
    told = plain(row[[*_FIGURES]].to_dict())
    cost = float(row["cost_per_accepted_usd"])
    told["cost_per_accepted_usd"] = cost if math.isfinite(cost) else None
    told |= {"task": task, "candidate": candidate, "zone": zone, "mark": mark, "chosen": bool(mark)}
    told |= {"first_rank": _first(row["rank"])}
    told["shown"] = {
        **{name: told[name] for name in ("task", "candidate", "zone", "mark")},
        "n": asked(row),
        "rank": ranked(row),
        "behind": behind(row),
        "score": score_of(row),
        "accepted": _share(row["accepted"]),
        "format_ok": _share(row["format_ok"]),
        "cost": usd(cost),
        "p95": seconds(float(row["latency_p95_s"])),
    }
    interval = f" ({interval_of(row, ' to ', 3)})" if interval_of(row) else ""
    more = [f"{score_of(row)}{interval}, {row['method']}", detects(row)]
    told["title"] = "; ".join([*filter(None, more), f"p50 {seconds(float(row['latency_p50_s']))}"])
    return told


def _first(rank: str) -> int | None:
    return int(rank.split("–")[0]) if rank else None


def _share(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.0%}"
