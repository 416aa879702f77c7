"""Where, in the dashboard: the heat map, and what a candidate fixes and breaks; a press opens the items.

Where(items, open_items).part       # a widget
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from workbench.views.dashboard.widget import Part, plain, script
from workbench.views.items import Items

_MOST = 500  # ids of a list that go to the browser, which shows fewer


class Map(Part):
    """The browser's part."""

    _esm = script("where")
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
        cells: dict[tuple[str, str], dict[str, Any]] = {}
        for row in table.astype({"candidate": str}).to_dict("records"):
            cells.setdefault((row["task"], row["slice"]), {})[row["candidate"]] = plain(row)
        self._rows = [
            {
                "task": task,
                "slice": label,
                "n": max(cell["n"] for cell in own.values()),
                "cells": [own.get(name) for name in self._candidates],
            }
            for (task, label), own in cells.items()
        ]
        self.part = Map()
        self._pick(items.tasks[0])
        self.part.on_msg(self._hear)

    def _pick(self, task: str) -> None:
        self._task, self._of_task = task, self._items.candidates(task)
        self._a, self._b = self._of_task[0], self._of_task[min(1, len(self._of_task) - 1)]
        self._draw()

    def _draw(self) -> None:
        fixed, broke = self._items.changed(self._task, self._a, self._b)
        self.part.state = {
            "candidates": self._candidates,
            "rows": self._rows,
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
