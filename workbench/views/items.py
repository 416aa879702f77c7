"""Items and what candidates answered: which to look at, and what there is to see of one.

items = Items(shown)
items.select("support_triage", a="rules", b="gemma3-q4", show="a right, b wrong")    # ids, in their order
items.look("support_triage", "st-001", ["rules", "gemma3-q4"])                       # plain data, for any view

All is prepared once, so that a selection of thousands of items, or another item, is there at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.evalset import Item
from workbench.privacy import SensitivityClass, class_of
from workbench.scores import Grid, answered
from workbench.views.answer import RIGHT, Answer, by_field, right_texts, text_of
from workbench.views.differences import sendable
from workbench.views.shown import Shown
from workbench.views.where import slices

Show = Literal[
    "all", "a right, b wrong", "b right, a wrong", "disagreement", "format failure", "no answer", "costliest tenth"
]
Sort = Literal["as in the set", "largest difference", "costliest", "slowest"]
SHOWS: tuple[str, ...] = get_args(Show)
SORTS: tuple[str, ...] = get_args(Sort)


class Items:
    """The items of some outcomes, and the answers to them."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self._grids: dict[str, _Answers] = {}

    @property
    def tasks(self) -> list[str]:
        return sorted(map(str, self.shown.table["task"].unique()))

    def candidates(self, task: str) -> list[str]:
        """Those that were asked a task, the best first."""
        board = self.shown.board
        return [str(name) for name in board.loc[board["task"] == task, "candidate"]]

    def slices(self, task: str) -> list[str]:
        """The slices of a task's items, such as `difficulty=hard`."""
        return sorted(self._of(task).slices)

    def _of(self, task: str) -> _Answers:
        if task not in self._grids:
            rows = self.shown.table[self.shown.table["task"] == task]
            if rows.empty:
                raise InputError(f"there is no task '{task}' in these outcomes. There are: {', '.join(self.tasks)}.")
            self._grids[task] = _Answers(rows, self._keys(task))
        return self._grids[task]

    def _keys(self, task: str) -> Mapping[str, Item]:
        evalset = self.shown.tasks.get(task)
        return {} if evalset is None else {item.id: item for item in evalset.items}

    def renew(self) -> None:
        """Take the keys as the eval sets have them now."""
        for task, own in self._grids.items():
            own.keys = self._keys(task)

    def in_set(self, task: str, item_id: str) -> bool:
        """Whether an item is in the eval set, so that its key can be corrected."""
        return item_id in self._of(task).keys

    def select(
        self,
        task: str,
        a: str,
        b: str,
        show: Show = "all",
        slice_: str = "",
        sort: Sort = "as in the set",
    ) -> list[str]:
        """Ids of a task's items, those that a filter lets through.

        Args:
            a: a candidate; what is shown and the order are about it and `b`.
            show: `disagreement` is where any two candidates were not both right or both wrong.
            slice_: such as `difficulty=hard`; empty takes all.

        Raises:
            InputError: there is no such task, candidate or slice.
        """
        own = self._of(task)
        own.check(task, (a, b))
        if slice_ and slice_ not in own.slices:
            raise InputError(f"task '{task}' has no slice '{slice_}'. It has: {', '.join(sorted(own.slices))}.")
        kept = own.kept(show, own.columns[a], own.columns[b])
        if slice_:
            kept = kept & own.slices[slice_]
        order = own.order(sort, own.columns[a], own.columns[b])
        return [own.items[index] for index in order if kept[index]]

    def changed(self, task: str, a: str, b: str) -> tuple[list[str], list[str]]:
        """The items that `a` answers better than `b`, and those that it answers worse, most changed first."""
        ids, own = self.select(task, a, b, sort="largest difference"), self._of(task)
        gaps = dict(zip(own.items, own.gap(own.columns[a], own.columns[b]).tolist(), strict=True))
        return [name for name in ids if gaps[name] > 0], [name for name in ids if gaps[name] < 0]

    def telling(self, task: str, name: str) -> list[str]:
        """An item that a candidate has wrong, and one that it has right, as far as there are such."""
        own, ids = self._of(task), self.select(task, name, name)
        right = dict(zip(own.items, own.right(own.columns[name]), strict=True))
        found = [next((each for each in ids if right[each] is told), None) for told in (False, True)]
        return [each for each in found if each is not None]

    def look(self, task: str, item_id: str, candidates: Sequence[str], blind: bool = False) -> dict[str, Any]:
        """All that there is to see of an item, as plain data; the text of a restricted one only where it is revealed.

        Args:
            candidates: whose answers, in columns.
            blind: without their names, scores, times and costs.

        Returns:
            `task`, `item`, `class`, `hidden` (its text is), `slices`, `inputs` (name and text), `key` (text), `prompt`
            (as the first candidate got it; none where blind), `answers` (each with `name`, `verdict`, `parts` of its
            text, `figures`, its own `prompt`, whether it is `json`, and whether what differs `counts` as right all the
            same), `against` (what their words are marked against: `the key`, or the first answer's name; empty where
            they are not), `fields` (JSON answers by field: `path`, `values`, `differs` and `counts` likewise, the key
            first where it is `keyed`) or None.

        Raises:
            InputError: there is no such task, item or candidate.
        """
        own = self._of(task)
        if item_id not in own.rows:
            raise InputError(f"there is no item '{item_id}' among those of '{task}' that were asked.")
        own.check(task, candidates)
        rows = own.of_item(item_id)
        item = own.keys.get(item_id)
        cls: SensitivityClass = "restricted" if (rows["class"] == "restricted").any() else "open"
        if item is not None and class_of(item.sensitivity) == "restricted":
            cls = "restricted"  # whatever the outcomes' own label says
        hidden = cls == "restricted" and not self.shown.reveal
        key = None if item is None else item.expectations
        named = [(name, rows[rows["candidate"] == name].head(1)) for name in candidates]
        evalset = self.shown.tasks.get(task)
        digest, scorers = ("", ()) if evalset is None else (evalset.digest, evalset.scorers)
        answers = [
            Answer(name, found, hidden, "" if blind else digest, own.over_repeats(item_id, name))
            for name, found in named
            if len(found)
        ]
        several = {path for scorer in scorers for path in scorer.alternatives(key)} if key else set()
        right = right_texts(key, several)
        first = [answers[0].text] if answers and not answers[0].error else []
        told = [
            answer.told(right or (first if at else []), bool(right), blind, at) for at, answer in enumerate(answers)
        ]
        against = "the key" if right else told[0]["name"] if first else ""
        return {
            "task": task,
            "item": item_id,
            "class": cls,
            "hidden": hidden,
            "slices": _sliced(item, hidden),
            "inputs": [
                [sendable(name), text_of(value, hidden)] for name, value in (item.inputs if item else {}).items()
            ],
            "key": "" if key is None else text_of(key, hidden),
            "prompt": answers[0].prompt if answers and not blind else "",  # it may tell whose answer this is
            "answers": told,
            "against": against if any(answer.has_words for answer in answers[0 if right else 1 :]) else "",
            "fields": None if hidden else by_field(key, answers, several),
            "keyed": isinstance(key, dict),
        }


class _Answers:
    """One task's outcomes as matrices, items × candidates."""

    def __init__(self, rows: pd.DataFrame, keys: Mapping[str, Item]) -> None:
        rows = rows.assign(unformatted=_unformatted(rows))
        self._rows = of_repeats(rows)
        self.keys = keys
        grid = Grid(rows)
        self.items = grid.items
        self.rows = {name: index for index, name in enumerate(grid.items)}
        self.columns = {name: index for index, name in enumerate(grid.candidates)}
        self._points, self._asked = grid.mean("points"), grid.asked > 0
        self._told = tells_accepted(rows)
        self._counts, self._accepted = grid.asked, grid.share("accepted")
        self._right = (self._accepted >= 0.5 if self._told else self._points >= RIGHT) & self._asked
        self._unformatted = grid.total("unformatted") > 0
        self._unanswered = np.isnan(grid.mean("score")) & self._asked
        self._paid = np.nan_to_num(grid.total("cost_usd")).sum(axis=1)  # over all candidates
        self._latency = grid.mean("latency_s")
        self._places = self._rows.groupby("item_id").indices

    @cached_property
    def slices(self) -> dict[str, NDArray[np.bool_]]:
        """Which items are in each slice."""
        found = {}
        for label, own in slices(self._rows).items():
            found[label] = np.zeros(len(self.items), dtype=bool)
            found[label][[self.rows[item] for item in own]] = True
        return found

    def check(self, task: str, candidates: Sequence[str]) -> None:
        """An InputError where one of the candidates was not asked the task."""
        for name in candidates:
            if name not in self.columns:
                known = ", ".join(self.columns)
                raise InputError(f"there are no outcomes of '{name}' in task '{task}'. There are: {known}.")

    def of_item(self, item_id: str) -> pd.DataFrame:
        return self._rows.iloc[self._places[item_id]]

    def over_repeats(self, item_id: str, candidate: str) -> str:
        """What all of a candidate's answers to an item come to; empty where it was asked once."""
        at = self.rows[item_id], self.columns[candidate]
        count = int(self._counts[at])
        if count < 2:
            return ""
        accepted = f", {round(self._accepted[at] * count)} accepted" if self._told else ""
        return f"one of {count} repeats: mean score {self._points[at]:.2f}{accepted}"

    def right(self, at: int) -> list[bool | None]:
        """Whether a candidate has each item right; None where it was not asked."""
        return [
            bool(right) if asked else None for right, asked in zip(self._right[:, at], self._asked[:, at], strict=True)
        ]

    def gap(self, a: int, b: int) -> NDArray[np.float64]:
        """Score of one candidate minus another's; 0 where one was not asked."""
        return np.nan_to_num(self._points[:, a] - self._points[:, b])

    def kept(self, show: Show, a: int, b: int) -> NDArray[np.bool_]:
        both, right = self._asked[:, a] & self._asked[:, b], self._right
        wrong = self._asked & ~right
        filters: dict[Show, Any] = {
            "a right, b wrong": lambda: both & right[:, a] & ~right[:, b],
            "b right, a wrong": lambda: both & right[:, b] & ~right[:, a],
            "disagreement": lambda: right.any(axis=1) & wrong.any(axis=1),
            "format failure": lambda: self._unformatted.any(axis=1),
            "no answer": lambda: self._unanswered.any(axis=1),
            "costliest tenth": lambda: (self._paid > 0) & (self._paid >= np.quantile(self._paid, 0.9)),
        }
        found: NDArray[np.bool_] = filters[show]() if show in filters else np.ones(len(self.items), dtype=bool)
        return found

    def order(self, sort: Sort, a: int, b: int) -> NDArray[np.int64]:
        if sort == "largest difference":
            weight = np.abs(self.gap(a, b))
        elif sort == "costliest":
            weight = self._paid
        elif sort == "slowest":
            weight = np.nan_to_num(self._latency).max(axis=1)
        else:
            place = {name: index for index, name in enumerate(self.keys)}
            return np.argsort([place.get(name, len(place)) for name in self.items], kind="stable")
        return np.argsort(-weight, kind="stable")


def tells_accepted(rows: pd.DataFrame) -> bool:
    """Whether outcomes say what is accepted; where they do not, only a full score is right."""
    return "accepted" in rows and bool(rows["accepted"].notna().any())


def of_repeats(rows: pd.DataFrame) -> pd.DataFrame:
    """One outcome for each item and candidate of prepared rows of a task: of repeats, the first that speaks for them.

    That is a right one where the item counts as right over all repeats, else a wrong one; one without a score is last.
    """
    pair = ["item_id", "candidate"]
    if rows.duplicated(pair).any():
        told = tells_accepted(rows)
        right = rows["accepted"].eq(True).fillna(False).astype(bool) if told else rows["points"] >= RIGHT
        known = rows["points"].notna()
        share = right.astype(float).where(known).groupby([rows[name] for name in pair]).transform("mean")
        apart = (right != (share >= (0.5 if told else 1.0))) + 2 * ~known
        rows = rows.assign(_apart=apart).sort_values(["_apart", "repeat"], kind="stable").drop(columns="_apart")
        rows = rows.drop_duplicates(pair).sort_index(kind="stable")
    return rows.reset_index(drop=True)


def _unformatted(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which answers break the output format; what is no answer breaks none."""
    if "format_ok" not in rows:
        return pd.Series(False, index=rows.index)
    return (rows["format_ok"].eq(False).fillna(False) & answered(rows)).astype(bool)


def _sliced(item: Item | None, hidden: bool) -> str:
    """The slices of an item; restricted ones are text like all that it says."""
    own = item.slice.items() if item and item.slice else ()
    return ", ".join(f"{sendable(name)}: {text_of(value, hidden)}" for name, value in own)
