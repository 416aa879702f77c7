"""Side by side in the dashboard: a page an item, with filters; notes and corrected labels are made with names hidden.

pager = Pager(Items(shown))
pager.part          # a widget; what it shows goes to it as messages and is kept in no widget's state
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from workbench.errors import WorkbenchError
from workbench.evalset import add_correction
from workbench.evalset.corrections import current_key
from workbench.strict import Unusable, parse_json
from workbench.views.dashboard.widget import Part, script
from workbench.views.differences import sendable
from workbench.views.items import SHOWS, SORTS, Items

_COLUMNS_AT_FIRST = 3
_ASKED = {"task", "slice", "a", "b", "show", "sort"}


class SideBySide(Part):
    """The browser's part; it asks, and is told, by messages."""

    _esm = script("side_by_side")


class Pager:
    """Which item is looked at, and how.

    Attributes:
        part: the widget.
        kept: corrections that were made here.
    """

    def __init__(self, items: Items, kept: Callable[[], None] = lambda: None) -> None:
        self.items, self._told = items, kept  # the second is called once something was kept: the eval set is another
        self.kept = 0
        self.part = SideBySide()
        self.part.on_msg(self._hear)
        self.blind = False
        self.said = ""
        self._task(items.tasks[0])

    def _task(self, task: str) -> None:
        self.task, self.slice = task, ""
        self.candidates = self.items.candidates(task)
        self.a = self.candidates[0]
        self.b = self.candidates[min(1, len(self.candidates) - 1)]
        self.columns = self.candidates[:_COLUMNS_AT_FIRST]
        self.show, self.sort = SHOWS[0], SORTS[0]
        self._select()

    def _select(self) -> None:
        show: Any = self.show
        sort: Any = self.sort
        self.ids = self.items.select(self.task, self.a, self.b, show, self.slice, sort)
        self.at = 0

    def open(self, task: str, a: str, b: str, show: str = SHOWS[0], slice_: str = "", item: str | None = None) -> None:
        """Show some items, as another view asks for them.

        Raises:
            InputError: there are none such; what is shown stays.
        """
        self.items.select(task, a, b, slice_=slice_)
        self.blind, self.said = False, ""
        self._task(task)
        self.a, self.b, self.show, self.slice = a, b, show, slice_
        self._together()
        self._select()
        if item in self.ids:
            self.at = self.ids.index(item)
        self.tell(opened=True)

    def _together(self) -> None:
        """A and B are always among the columns."""
        self.columns = list(dict.fromkeys([self.a, self.b, *self.columns]))[: max(_COLUMNS_AT_FIRST, len(self.columns))]

    def _hear(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """What the browser asks for; it may be anything, so nothing of it is believed."""
        self.said = ""
        try:
            self._do(message)
        except (WorkbenchError, ValueError) as failure:
            self.said = str(failure)
        self.tell()

    def _do(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        kind = message.get("kind")
        if kind == "go" and self.ids and isinstance(message.get("at"), int):
            self.at = min(max(message["at"], 0), len(self.ids) - 1)
            self.blind = False
        elif kind == "select":
            self._change({name: str(value) for name, value in message.items() if name in _ASKED})
        elif kind == "column" and message.get("name") in self.candidates:
            others = [name for name in self.columns if name != message["name"]]
            self.columns = [*others, message["name"]] if message.get("on") else others or self.columns
        elif kind == "blind":
            self.blind = bool(message.get("on")) and self._correctable
        elif kind == "keep":
            self._keep(message)

    @property
    def _correctable(self) -> bool:
        """Whether there is an eval set to keep something in about the item that is shown."""
        return bool(self.ids) and self.items.in_set(self.task, self.ids[self.at])

    def _change(self, asked: dict[str, str]) -> None:
        self.blind = False  # it is another item from here on
        task = asked.pop("task", None)
        if task in self.items.tasks and task != self.task:
            self._task(task)
            return
        before = self.slice, self.a, self.b, self.show, self.sort
        for name, value in asked.items():
            setattr(self, name, value)
        if self.show not in SHOWS or self.sort not in SORTS:
            self.show, self.sort = SHOWS[0], SORTS[0]
        try:
            self._select()
        except WorkbenchError:
            self.slice, self.a, self.b, self.show, self.sort = before
            raise
        self._together()

    def _keep(self, message: dict[str, Any]) -> None:
        item, evalset = self.ids[self.at] if self.ids else None, self.items.shown.tasks.get(self.task)
        if evalset is None:
            raise ValueError("these outcomes came without their eval set: there is nowhere to keep a note.")
        if item is None or message.get("item") != item:
            raise ValueError("another item is shown by now: nothing was kept.")
        key = message.get("key")
        expectations = None
        if isinstance(key, str):
            if self.items.look(self.task, item, ())["hidden"]:
                raise ValueError(
                    "the key of a restricted item is changed where it is shown: wb.show(run, reveal=True)."
                )
            try:
                expectations = parse_json(key)
            except Unusable as failure:
                raise ValueError(f"the key is not JSON ({failure}): nothing was kept.") from None
            if not isinstance(expectations, dict):
                raise ValueError('the key must be an object such as {"label": "bug"}: nothing was kept.')
        made = add_correction(evalset, item, str(message.get("note") or ""), expectations)
        self.kept += 1
        self.blind = False
        what = "note" if made.expectations is None else "corrected key"
        self.said = (
            f"{what} kept in {self.task}/corrections.jsonl. The evidence here is from before it: load the eval sets "
            "and run again (what was answered is not asked again)."
        )
        self._told()

    def _look(self) -> dict[str, Any] | None:
        """The item that is shown; blind, with the key that a correction starts from, and no names."""
        if not self.ids:
            return None
        item, columns = self.ids[self.at], list(self.columns)
        if not self.blind:
            return self.items.look(self.task, item, columns)
        try:
            now = current_key(self.items.shown.tasks[self.task], item)
        except WorkbenchError as failure:  # the file of corrections is broken: nothing can be added to it
            self.blind, self.said = False, str(failure)
            return self._look()
        # In an order that says nothing, the same for an item whenever it is opened.
        random.Random(f"{self.task}\0{item}").shuffle(columns)
        look = self.items.look(self.task, item, columns, blind=True)
        whole = sendable(json.dumps(now, ensure_ascii=False, indent=1))
        return look | {"now": None if look["hidden"] else whole}  # what cannot be seen cannot be changed

    def tell(self, opened: bool = False) -> None:
        """Send what is to be shown; where it was opened from elsewhere, the keyboard's focus comes along."""
        look = self._look()
        state = {
            **{
                name: getattr(self, name) for name in ("task", "slice", "a", "b", "show", "sort", "at", "blind", "said")
            },
            "tasks": self.items.tasks,
            "slices": self.items.slices(self.task),
            "candidates": self.candidates,
            "columns": self.columns,
            "shows": list(SHOWS),
            "sorts": list(SORTS),
            "total": len(self.ids),
            "correctable": self._correctable,
            "look": look,
            "opened": opened,
        }
        self.part.send({"kind": "state", "state": state})
