"""The outcomes of a task as matrices, items × candidates: what intervals and comparisons are made of.

    table = prepare(outcomes)                        # the test rows, with candidate, class and points
    grid = Grid(table[table["task"] == "triage"])
    grid.mean("points"), grid.total("cost_usd")      # shape (items, candidates); repeats put together first

Errors and refusals score 0. An answer that a judge or a scorer failed on has no score and counts as missing. Repeats
are no further items, and items that ask the very same are one cluster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.intervals import Codes
from workbench.outcomes import UNSCORED, candidate_id
from workbench.outcomes.table import normalize
from workbench.privacy import REDACTED, class_of
from workbench.resampling import Floats

MIN_COVERAGE = 0.9


@dataclass(frozen=True)
class Scores:
    """One task's item scores, items × candidates; NaN where an item was not asked, or has no score.

    Repeats are averaged.

    Attributes:
        candidates: ids, the columns of `score`.
        items: ids, the rows of `score`.
        clusters: the items' cluster numbers, or None where no item has a cluster.
        repeats: answers to an item by a candidate, at most.
    """

    candidates: list[str]
    items: list[str]
    score: Floats
    clusters: Codes | None
    repeats: int = 1

    @property
    def coverage(self) -> Floats:
        """The share of all items that each candidate was asked, and has a score on."""
        share: Floats = (~np.isnan(self.score)).mean(axis=0)
        return share

    def column(self, candidate: str) -> Floats:
        values: Floats = self.score[:, self.candidates.index(candidate)]
        return values


class Grid:
    """Prepared rows of one task, laid out as items × candidates.

    Rows without a score count as missing in all figures, and their items and candidates are there all the same.

    Attributes:
        every: all rows.
        rows: those with a score.
        items: ids, sorted.
        candidates: ids, sorted.
        asked: how many rows with a score each item × candidate has.
        unscored: how many rows without one, of each candidate.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        item, items = pd.factorize(rows["item_id"], sort=True)
        candidate, candidates = pd.factorize(rows["candidate"], sort=True)
        self.every = rows
        self.items: list[str] = list(items)
        self.candidates: list[str] = list(candidates)
        known = rows["points"].notna().to_numpy()
        self.unscored = np.bincount(candidate[~known], minlength=len(candidates))
        if not known.all():
            rows, item, candidate = rows[known], item[known], candidate[known]
        self.rows = rows
        self._item, self._candidate = item, candidate
        self._cell = item * len(candidates) + candidate
        self.asked = self._summed(np.ones(len(rows))).astype(np.int64)

    def _summed(self, values: Floats) -> Floats:
        shape = (len(self.items), len(self.candidates))
        return np.bincount(self._cell, values, shape[0] * shape[1]).reshape(shape).astype(float, copy=False)

    def _column(self, name: str) -> Floats:
        """A column's numbers; NaN where it is not there, or has none."""
        if name not in self.rows:
            return np.full(len(self.rows), math.nan)
        return self.rows[name].to_numpy(dtype=float, na_value=math.nan)

    def total(self, name: str) -> Floats:
        """A column's sum by item and candidate; NaN where a summand is unknown, 0 where nothing was asked."""
        return self._summed(self._column(name))

    def mean(self, name: str) -> Floats:
        """A column's mean by item and candidate; NaN where one is unknown, or nothing was asked."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = self.total(name) / self.asked
        return found

    def share(self, name: str) -> Floats:
        """The share of answers for which a boolean column is true; what is not told is not true.

        NaN where nothing was asked, or the column is not there.
        """
        if name not in self.rows:
            return np.full(self.asked.shape, math.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = self._summed(np.nan_to_num(self._column(name))) / self.asked
        return found

    def count(self, name: str) -> Floats:
        """How many answers have a boolean column true, by item and candidate; 0 where nothing was asked.

        NaN where the column is not there, and all over for a candidate that has no answer with a score.
        """
        found: Floats = np.where(self.asked, self.share(name) * self.asked, 0.0)
        found[:, ~self.asked.any(axis=0)] = math.nan
        return found

    def listed(self, name: str) -> list[Floats]:
        """A column's numbers by candidate, a row each."""
        order = np.argsort(self._candidate, kind="stable")
        ends = np.cumsum(np.bincount(self._candidate, minlength=len(self.candidates)))[:-1]
        return np.split(self._column(name)[order], ends)

    @cached_property
    def clusters(self) -> Codes | None:
        """The items' cluster numbers, or None where no item has a cluster. An item without one is one of its own."""
        if "cluster" not in self.rows or not self.rows["cluster"].notna().any():
            return None
        named = self.rows.groupby("item_id", sort=True)["cluster"].first().reindex(self.items)
        own = pd.Series([f"\0{item}" for item in self.items], index=named.index)
        return pd.factorize(named.where(named.notna(), own))[0]

    @property
    def repeats(self) -> int:
        """Answers to an item by a candidate, at most."""
        return int(self.asked.max(initial=0))

    @cached_property
    def scores(self) -> Scores:
        return Scores(self.candidates, self.items, self.mean("points"), self.clusters, self.repeats)


def prepare(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The test rows of an outcome table with `candidate`, `class` and `points`.

    Points are the score, 0 where there is no answer, and NaN where the failure is a judge's or a scorer's.
    """
    table = normalize(outcomes)
    table = table[table["split"] == "test"].copy()
    table["candidate"] = _candidates(table)
    labels = table["sensitivity"] if "sensitivity" in table else pd.Series(None, index=table.index, dtype=object)
    codes, known = pd.factorize(labels)  # -1 is no label
    classes = np.array([class_of(label) == "restricted" for label in known] + [class_of(None) == "restricted"])
    restricted = pd.Series(classes[codes], index=table.index)
    if restricted.any() and not restricted.all():
        # An item is as sensitive as any of its rows says: tables of two tools may label it differently.
        restricted = restricted.groupby([table["task"], table["item_id"]]).transform("any")
    table["class"] = np.where(restricted, "restricted", "open").astype(object)
    table["points"] = table["score"].fillna(0.0).mask(unscored(table))
    same = _asking_the_same(table)
    if same is not None:
        table["cluster"] = table["cluster"].where(table["cluster"].notna(), same) if "cluster" in table else same
    return table


def answered(rows: pd.DataFrame) -> pd.Series[bool]:
    """In which rows there is an answer. Where the rules abstained, or a request failed, there is none.

    An answer that a judge failed on is one, though it has no score.
    """
    nothing = pd.Series(False, index=rows.index)
    failed = rows["score"].isna() | (rows["error_class"].notna() if "error_class" in rows else nothing)
    return ((rows["output"].notna() if "output" in rows else nothing) | ~failed).astype(bool)


def unscored(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows have no score though nothing is wrong with the candidate."""
    if "error_class" not in table:
        return np.zeros(len(table), dtype=bool)
    return np.asarray(table["score"].isna() & table["error_class"].isin(UNSCORED), dtype=bool)


def with_score(rows: pd.DataFrame) -> pd.DataFrame:
    """The prepared rows that count, right or wrong."""
    known = rows["points"].notna()
    return rows if known.all() else rows[known]


def _asking_the_same(table: pd.DataFrame) -> pd.Series[Any] | None:
    """For each row a cluster's name where another item without a cluster has the same prompt; None where none has.

    To ask a question twice is no further evidence. The prompts of one candidate a task tell, as they are made of the
    items alone; what is redacted tells nothing, and neither does a text that all items of a task have.
    """
    if "prompt" not in table:
        return None
    said = table["prompt"].notna() & (table["prompt"] != "")
    told = table.loc[said, ["task", "candidate", "item_id", "prompt"]]
    told = told.assign(alone=table["cluster"].isna() if "cluster" in table else True)
    told = told.drop_duplicates(["task", "candidate", "item_id"])
    most = told.groupby(["task", "candidate"], sort=True).size().sort_values(ascending=False, kind="stable")
    asked = most.reset_index().drop_duplicates("task")[["task", "candidate"]]
    told = told.merge(asked, on=["task", "candidate"])
    told = told[~told["prompt"].str.startswith(REDACTED)]
    told = told[told["alone"] & (told.groupby("task")["prompt"].transform("nunique") > 1)]
    again = told[told.duplicated(["task", "prompt"], keep=False)]
    if again.empty:
        return None
    first = again.groupby(["task", "prompt"], sort=False)["item_id"].transform("first")
    names = pd.Series(("asks the same as " + first).to_numpy(), pd.MultiIndex.from_frame(again[["task", "item_id"]]))
    found = pd.Series(names.reindex(pd.MultiIndex.from_frame(table[["task", "item_id"]])).to_numpy(), table.index)
    return found.astype(object).where(found.notna(), None)


def _candidates(table: pd.DataFrame) -> NDArray[Any]:
    model, models = pd.factorize(table["model"])
    variant, variants = pd.factorize(table["variant"])
    pair, pairs = pd.factorize(model * max(len(variants), 1) + variant)
    named = [divmod(int(each), len(variants)) for each in pairs]
    names = [candidate_id(str(models[at]), str(variants[of])) for at, of in named]
    return np.array(names, dtype=object)[pair] if names else np.array([], dtype=object)


def scores_of(rows: pd.DataFrame) -> Scores:
    """The score matrix of prepared rows of one task."""
    return Grid(rows).scores


def per_item_mean(rows: pd.DataFrame, column: str) -> tuple[Floats, Codes | None]:
    """A column's mean by item over one candidate's rows, and the items' cluster numbers, or None where there are none.

    What is not known is left out of an item's mean.
    """
    grid = Grid(rows.assign(candidate="", points=rows[column])[rows[column].notna()])
    return grid.mean(column)[:, 0], grid.clusters
