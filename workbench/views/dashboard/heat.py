"""Where, in the dashboard: the heat map, and what a candidate fixes and breaks; a press opens the items.

Where(items, open_items).part       # a widget
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from workbench.views.dashboard.widget import Part, script
from workbench.views.items import Items
from workbench.views.where import FEW

_MOST = 500  # ids of a list that go to the browser, which shows fewer
_MOST_CELLS = 2000  # of a map that is shown whole; of a larger one the slices of one task at a time
_MOST_OF_TASK = 6000  # of those; 24,000 took the browser 2 s to draw, and one of 24 candidates came to 1.2 MB
_LEAST_ROWS = 20  # however many candidates there are
_DIGITS = 4


class Map(Part):
    """The browser's part: the map, and apart from it the pair, which changes often and is small."""

    _esm = script("where")
    map = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)


class Where:
    """The map and the pair whose changes are listed.

    Attributes:
        part: the widget.
    """

    def __init__(self, items: Items, open_items: Callable[..., None]) -> None:
        self._items, self._open = items, open_items
        table = items.shown.heat
        self._candidates = [str(name) for name in table["candidate"].cat.categories]
        cells: dict[tuple[str, str], dict[str, list[Any]]] = {}
        for row in table.astype({"candidate": str}).to_dict("records"):
            if not row["n"]:  # none of its answers has a score
                cells.setdefault((row["task"], row["slice"]), {})
                continue
            figures = [round(float(row[name]), _DIGITS) for name in ("score", "lo", "hi")]
            cells.setdefault((row["task"], row["slice"]), {})[row["candidate"]] = [*figures, int(row["n"])]
        self._rows = [
            {"task": task, "slice": label, "cells": [own.get(name) for name in self._candidates]}
            for (task, label), own in cells.items()
        ]
        self._large = len(self._rows) * len(self._candidates) > _MOST_CELLS
        self.part = Map()
        self._pick(items.tasks[0])
        self.part.on_msg(self._hear)

    def _pick(self, task: str) -> None:
        self._task, self._of_task = task, self._items.candidates(task)
        self._a, self._b = self._of_task[0], self._of_task[min(1, len(self._of_task) - 1)]
        kept, rest = self._part_of(task) if self._large else (self._rows, "")
        self.part.map = {"candidates": self._candidates, "rows": kept, "few": FEW, "rest": rest}
        self._draw()

    def _part_of(self, task: str) -> tuple[list[dict[str, Any]], str]:
        """The rows of a large map that are sent, and what is to be said of those that are not."""
        own = [row for row in self._rows if row["slice"] and row["task"] == task]
        most = max(_MOST_OF_TASK // len(self._candidates), _LEAST_ROWS)
        # The ones with most items, as those tell most; all keep their order.
        shown = {row["slice"] for row in sorted(own, key=_items_of, reverse=True)[:most]}
        kept = [row for row in self._rows if not row["slice"] or (row["task"] == task and row["slice"] in shown)]
        if len(own) <= most:
            return kept, "; of slices, those of the task that is picked below"
        told = f"the {most:,} with most items of the {len(own):,} of the task that is picked below"
        return kept, f"; of slices, {told}. Side by side has all in its filter"

    def _draw(self) -> None:
        fixed, broke = self._items.changed(self._task, self._a, self._b)
        self.part.state = {
            "tasks": self._items.tasks,
            "of_task": self._of_task,
            "task": self._task,
            "a": self._a,
            "b": self._b,
            "said": f"{self._a} against {self._b}: fixed {len(fixed)}, broke {len(broke)}",
            "fixed": fixed[:_MOST],
            "broke": broke[:_MOST],
            "n_fixed": len(fixed),
            "n_broke": len(broke),
        }

    def _hear(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, dict):
            return
        kind = message.get("kind")
        if kind == "pair":
            if message.get("task") in self._items.tasks:
                self._pick(message["task"])
            for name in ("a", "b"):
                if message.get(name) in self._of_task:
                    setattr(self, f"_{name}", message[name])
            self._draw()
        elif kind == "open":
            self._open(self._task, self._a, self._b, item=message.get("item"))
        elif kind == "cell" and message.get("task") in self._items.tasks:
            of_task, label = self._items.candidates(message["task"]), message.get("slice") or ""
            if message.get("candidate") in of_task and label in ("", *self._items.slices(message["task"])):
                best = next((name for name in of_task if name != message["candidate"]), of_task[0])
                self._open(message["task"], message["candidate"], best, slice_=label)


def _items_of(row: dict[str, Any]) -> int:
    """How many items a row of the map rests on."""
    return max((cell[-1] for cell in row["cells"] if cell), default=0)
