"""What an outcome table means: intervals, a leaderboard, paired comparisons. Errors and refusals score 0.

    leaderboard(outcomes)                                    # a row a task × candidate
    compare(outcomes, "gemma3-q4#few_shot", "rules")         # paired, a row a task

Everything here works from an outcome table alone.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.economics import cost_per_accepted, quantile
from workbench.errors import InputError
from workbench.intervals import CONFIDENCE, Floats, mean_interval, paired_difference
from workbench.outcomes import candidate_id
from workbench.outcomes.table import normalize
from workbench.privacy import class_of

MIN_COVERAGE = 0.9


@dataclass(frozen=True)
class Scores:
    """One task's item scores, items × candidates; NaN where an item was not asked. Repeats are averaged.

    Attributes:
        candidates: ids, the columns of `score`.
        items: ids, the rows of `score`.
        clusters: the items' cluster numbers, or None where no item has a cluster.
    """

    candidates: list[str]
    items: list[str]
    score: Floats
    clusters: NDArray[np.int64] | None

    @property
    def coverage(self) -> Floats:
        """The share of all items that each candidate was asked."""
        share: Floats = (~np.isnan(self.score)).mean(axis=0)
        return share

    def column(self, candidate: str) -> Floats:
        values: Floats = self.score[:, self.candidates.index(candidate)]
        return values


def prepare(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The test rows of an outcome table with `candidate`, `class` and `points` (the score; 0 where no answer)."""
    table = normalize(outcomes)
    table = table[table["split"] == "test"].copy()
    pairs = zip(table["model"], table["variant"], strict=True)
    table["candidate"] = [candidate_id(model, variant) for model, variant in pairs]
    labels = table["sensitivity"] if "sensitivity" in table else pd.Series(None, index=table.index, dtype=object)
    # An item is as sensitive as any of its rows says: tables of two tools may label it differently.
    restricted = labels.map(class_of, na_action=None) == "restricted"
    restricted = restricted.groupby([table["task"], table["item_id"]]).transform("any")
    table["class"] = restricted.map({True: "restricted", False: "open"})
    table["points"] = table["score"].fillna(0.0)
    return table


def scores_of(rows: pd.DataFrame) -> Scores:
    """The score matrix of prepared rows of one task."""
    matrix = rows.pivot_table(index="item_id", columns="candidate", values="points", aggfunc="mean", dropna=False)
    clusters = None
    if "cluster" in rows and rows["cluster"].notna().any():
        named = rows.groupby("item_id")["cluster"].first().reindex(matrix.index)
        # An item without a cluster is one of its own.
        own = pd.Series([f"\0{item}" for item in matrix.index], index=matrix.index)
        clusters = pd.factorize(named.where(named.notna(), own))[0]
    return Scores(list(matrix.columns), list(matrix.index), matrix.to_numpy(float), clusters)


def per_item(own: pd.DataFrame) -> pd.DataFrame:
    """One candidate's outcomes by item, repeats put together: repeats are no further items.

    Returns:
        Columns `accepted` (a share), `accepted_n`, `cost_usd` (a sum), `latency_s` (a mean); NaN is unknown.
    """
    rows = pd.DataFrame({"item_id": own["item_id"]})
    unknown = pd.Series(math.nan, index=own.index)
    rows["accepted"] = own["accepted"].fillna(False).astype(float) if "accepted" in own else unknown
    rows["cost_usd"] = own.get("cost_usd", unknown)
    rows["latency_s"] = own.get("latency_s", unknown)
    items = rows.groupby("item_id", sort=True)
    found = pd.DataFrame({"accepted": items["accepted"].mean(), "accepted_n": items["accepted"].sum(min_count=1)})
    found["cost_usd"] = items["cost_usd"].sum(skipna=False)
    found["latency_s"] = items["latency_s"].mean(skipna=False)
    return found


def per_item_mean(rows: pd.DataFrame, column: str) -> tuple[Floats, NDArray[np.int64] | None]:
    """A column's mean by item, and the items' cluster numbers, or None where no item has a cluster."""
    items = rows.groupby("item_id", sort=True)
    values: Floats = items[column].mean().to_numpy(float)
    if "cluster" not in rows or not rows["cluster"].notna().any():
        return values, None
    named = items["cluster"].first()
    own = pd.Series([f"\0{item}" for item in named.index], index=named.index)
    return values, pd.factorize(named.where(named.notna(), own))[0]


def _tied(scores: Scores) -> dict[str, bool]:
    """Whether each candidate cannot be told from the one with the highest mean, all comparisons at once."""
    with np.errstate(invalid="ignore"):
        means = np.nanmean(scores.score, axis=0)
    eligible = scores.coverage >= MIN_COVERAGE
    if not eligible.any():
        return dict.fromkeys(scores.candidates, False)
    best = int(np.argmax(np.where(eligible, means, -1.0)))
    confidence = 1 - (1 - CONFIDENCE) / max(len(scores.candidates) - 1, 1)  # two-sided, as compare() is
    tied = {}
    for index, candidate in enumerate(scores.candidates):
        gap = paired_difference(scores.score[:, best], scores.score[:, index], scores.clusters, confidence)
        tied[candidate] = index == best or (bool(eligible[index]) and gap.lo <= 0)
    return tied


def leaderboard(outcomes: pd.DataFrame, by: Literal["task", "class"] = "task") -> pd.DataFrame:
    """The evidence for each task and candidate, best score first.

    Args:
        outcomes: an outcome table, from any source.
        by: `task`, or `class` for a row a task × sensitivity class × candidate, as routes are decided.

    Returns:
        Columns `task`, (`class`,) `candidate`, `n`, `of` (items in the eval set, where the run took a sample), `score`
        with `score_lo`, `score_hi` and `method`, `tied` (not to be told from the best), `accepted` with `accepted_lo`,
        `accepted_hi` (shares), `format_ok`, `errors` (counts), `attempts` (a mean), `cost_per_accepted_usd` with
        `cost_lo`, `cost_hi` (all attempts counted; NaN is unknown, inf none accepted), `cost_usd`, `latency_p50_s`,
        `latency_p95_s`, `coverage`.

    Raises:
        InputError: the table lacks a required column, or has no test rows.
    """
    table = prepare(outcomes)
    if table.empty:
        raise InputError("the outcome table has no test rows: nothing was asked yet.")
    totals = outcomes.attrs.get("sample", {})
    keys = ["task"] if by == "task" else ["task", "class"]
    rows = []
    for key, group in table.groupby(keys, sort=True):
        scores = scores_of(group)
        tied = _tied(scores)
        coverage = dict(zip(scores.candidates, scores.coverage, strict=True))
        for candidate, own in group.groupby("candidate", sort=True):
            row = dict(zip(keys, key, strict=True)) | {"candidate": candidate}
            row |= _figures(own, scores, str(candidate))
            row |= {"tied": tied[str(candidate)], "coverage": coverage[str(candidate)]}
            sampled = totals.get(row["task"], {})
            row["of"] = sampled.get("of", row["n"]) if by == "task" else len(scores.items)
            rows.append(row)
    board = pd.DataFrame(rows)
    first = [*keys, "candidate", "n", "of"]
    board = board[first + [name for name in board if name not in first]]
    board = board.sort_values([*keys, "score", "cost_per_accepted_usd"], ascending=[True] * len(keys) + [False, True])
    board = board.reset_index(drop=True)
    board.attrs = {"sample": totals}
    return board


def _figures(own: pd.DataFrame, scores: Scores, candidate: str) -> dict[str, Any]:
    """The figures of one candidate in one task."""
    column = scores.column(candidate)
    asked = ~np.isnan(column)
    score = mean_interval(column[asked], None if scores.clusters is None else scores.clusters[asked])
    items = per_item(own)
    clusters = None if scores.clusters is None else scores.clusters[asked]
    share = mean_interval(items["accepted"].to_numpy(float), clusters) if "accepted" in own else None
    per_accepted = cost_per_accepted(
        items["cost_usd"].to_numpy(float), items["accepted_n"].to_numpy(float) if "accepted" in own else None
    )
    cost = own["cost_usd"].to_numpy(float) if "cost_usd" in own else None
    latency = own["latency_s"].to_numpy(float) if "latency_s" in own else np.array([])
    return {
        "n": score.n,
        "score": score.value,
        "score_lo": score.lo,
        "score_hi": score.hi,
        "method": score.method,
        "accepted": share.value if share else math.nan,
        "accepted_lo": share.lo if share else math.nan,
        "accepted_hi": share.hi if share else math.nan,
        "format_ok": float(own["format_ok"].fillna(False).mean()) if "format_ok" in own else math.nan,
        "errors": int(own["score"].isna().sum()),
        "attempts": float(own["attempts"].mean()) if "attempts" in own else math.nan,
        "cost_per_accepted_usd": per_accepted.value,
        "cost_lo": per_accepted.lo,
        "cost_hi": per_accepted.hi,
        "cost_usd": float(cost.sum()) if cost is not None else math.nan,
        "latency_p50_s": quantile(latency, 0.5),
        "latency_p95_s": quantile(latency, 0.95),
    }


def by_slice(outcomes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Scores within the values of a slice, such as `difficulty`: where is a candidate good, and where not?

    Exploratory: many slices are looked at, none was chosen beforehand, and each holds few items.

    Args:
        outcomes: an outcome table with `slice`.
        name: a key of the items' slices.

    Returns:
        Columns `task`, `slice` (its value), `candidate`, `n`, `score`, `lo`, `hi`.

    Raises:
        InputError: no item has such a slice.
    """
    table = prepare(outcomes)
    slices = table["slice"] if "slice" in table else pd.Series(None, index=table.index, dtype=object)
    table["value"] = slices.map(lambda text: json.loads(text).get(name) if isinstance(text, str) else None)
    table = table[table["value"].notna()]
    if table.empty:
        raise InputError(f"no item of the outcome table has a slice '{name}'.")
    rows = []
    for (task, value, candidate), own in table.groupby(["task", "value", "candidate"], sort=True):
        values, clusters = per_item_mean(own, "points")
        found = mean_interval(values, clusters)
        row = {"task": task, "slice": value, "candidate": candidate, "n": found.n}
        rows.append({**row, "score": found.value, "lo": found.lo, "hi": found.hi})
    return pd.DataFrame(rows)


def compare(outcomes: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Two candidates on the items that both were asked, a row a task.

    Args:
        outcomes: an outcome table.
        a: a candidate's id, such as `gemma3-q4#few_shot`.
        b: the candidate that it is compared with.

    Returns:
        Columns `task`, `n` (shared items), `score_a`, `score_b`, `difference` (a − b) with `lo`, `hi` (paired, 95 %),
        `fixed` (items where a is better), `broke` (where it is worse), `same`, `verdict`.

    Raises:
        InputError: a candidate is not in the table.
    """
    table = prepare(outcomes)
    known = sorted(table["candidate"].unique())
    for name in (a, b):
        if name not in known:
            raise InputError(f"there is no candidate '{name}' in the outcomes. There are: {', '.join(known)}.")
    rows = []
    for task, group in table[table["candidate"].isin([a, b])].groupby("task", sort=True):
        scores = scores_of(group)
        if len(scores.candidates) < len({a, b}):
            continue
        left, right = scores.column(a), scores.column(b)
        gap = paired_difference(left, right, scores.clusters)
        shared = ~np.isnan(left) & ~np.isnan(right)
        verdict = "a is better" if gap.lo > 0 else "b is better" if gap.hi < 0 else "not separated"
        rows.append(
            {
                "task": task,
                "n": gap.n,
                "score_a": float(left[shared].mean()) if gap.n else math.nan,
                "score_b": float(right[shared].mean()) if gap.n else math.nan,
                "difference": gap.value,
                "lo": gap.lo,
                "hi": gap.hi,
                "fixed": int((left[shared] > right[shared]).sum()),
                "broke": int((left[shared] < right[shared]).sum()),
                "same": int((left[shared] == right[shared]).sum()),
                "verdict": verdict,
            }
        )
    if not rows:
        raise InputError(f"'{a}' and '{b}' share no task: nothing can be compared.")
    return pd.DataFrame(rows)
