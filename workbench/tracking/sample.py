"""Which outcomes become traces: of each task a few telling items, the same for all candidates.

    sample(run.outcomes)                # {"support_triage": {"su-019": "disagreement", …}, …}

A trace costs some twelve milliseconds, so there is a bound. Items are taken in turn from those that failed, those whose
format was wrong or had to be asked for again, those that candidates disagree on, those that nobody got right, and
those that all did: what is rare is in the sample whole, and what goes well is seen too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, zip_longest

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.util import hash_array

from workbench.outcomes import candidate_id

ITEMS_PER_TASK = 50
TRACES_PER_RUN = 300
_KINDS = ("failure", "format", "disagreement", "all wrong", "all right")
Items = Mapping[str, Mapping[str, str]]  # by task, the items taken and why
_ABSTAINED = "no_match"  # rules without a match have no answer, and nothing failed


def sample(outcomes: pd.DataFrame, total: int = TRACES_PER_RUN) -> dict[str, dict[str, str]]:
    """Items of each task, each with why it was taken.

    Args:
        outcomes: an outcome table.
        total: as many traces as that may be made of them, one for each item and candidate.
    """
    tasks = list(outcomes.groupby("task", sort=True, observed=True))
    candidates = sum(len(rows[["model", "variant"]].drop_duplicates()) for _, rows in tasks)
    each = min(ITEMS_PER_TASK, total // max(candidates, 1))
    return {str(task): _of_task(str(task), rows, each) for task, rows in tasks}


def _of_task(task: str, rows: pd.DataFrame, count: int) -> dict[str, str]:
    items, kinds = _kinds(rows)
    by_chance = np.argsort(hash_array(np.array([f"{task}\0{item}" for item in items], dtype=object)), kind="stable")
    by_kind = [by_chance[kinds[by_chance] == number][:count] for number in range(len(_KINDS))]
    in_turn = [each for each in chain.from_iterable(zip_longest(*by_kind)) if each is not None][:count]
    return dict(sorted((str(items[each]), _KINDS[kinds[each]]) for each in in_turn))


def _kinds(rows: pd.DataFrame) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """The items, and the number of the first kind that fits each."""

    def flags(name: str, default: bool) -> NDArray[np.bool_]:
        found = rows[name].fillna(default) if name in rows else pd.Series(default, rows.index)
        return np.asarray(found, dtype=bool)

    classes = rows["error_class"] if "error_class" in rows else pd.Series(None, rows.index, dtype=object)
    abstained = classes.eq(_ABSTAINED).to_numpy(dtype=bool)
    again = rows["attempts"].fillna(1).gt(1).to_numpy(dtype=bool) if "attempts" in rows else np.zeros(len(rows), bool)
    right = flags("accepted", False)
    numbers, items = pd.factorize(rows["item_id"].astype(object))

    def some(outcomes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether there is such an outcome of an item."""
        counts = np.bincount(numbers[outcomes], minlength=len(items))
        return np.asarray(counts, dtype=bool)

    fits = [
        some(classes.notna().to_numpy() & ~abstained),
        some((~flags("format_ok", True) & ~abstained) | again),
        some(right) & some(~right),
        ~some(right),
        some(right),
    ]
    return np.asarray(items, dtype=object), np.argmax(fits, axis=0)


def sampled_rows(outcomes: pd.DataFrame, items: Items) -> pd.DataFrame:
    """The outcomes of sampled items, of repeats the first one."""
    wanted = [(task, item) for task, found in items.items() for item in found]
    rows = outcomes[pd.MultiIndex.from_frame(outcomes[["task", "item_id"]]).isin(wanted)] if wanted else outcomes[:0]
    return rows.sort_values("repeat").drop_duplicates(["task", "item_id", "model", "variant"])


def labeled(rows: pd.DataFrame, items: Items) -> pd.DataFrame:
    """Sampled rows with their `candidate`, and `why` their item was taken."""
    ids = [candidate_id(*pair) for pair in zip(rows["model"], rows["variant"], strict=True)]
    whys = [items[task][item] for task, item in zip(rows["task"], rows["item_id"], strict=True)]
    return rows.assign(candidate=ids, why=whys).sort_values(["task", "item_id", "candidate"])
