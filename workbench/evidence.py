"""What an outcome table means: intervals, ranks as sets, paired comparisons by margin.

    leaderboard(outcomes)                                    # a row a task × candidate
    compare(outcomes, "gemma3-q4#few_shot", "rules")         # paired, a row a task

Everything here works from an outcome table alone. Errors and refusals score 0; what a judge or a scorer failed on is
missing. Each figure carries its method, what it rests on (items, clusters, repeats) and, where it was resampled, the
seed.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pandas as pd

from workbench.economics import costs_per_accepted, quantile_interval
from workbench.errors import InputError
from workbench.evalset.spec import DEFAULT_MARGIN
from workbench.intervals import CONFIDENCE, Estimate, mean_intervals
from workbench.multiplicity import Comparison
from workbench.outcomes.slices import told_slices
from workbench.outcomes.table import HasOutcomes, table_of
from workbench.pairs import p_values, paired_difference
from workbench.power import Discordance, discordance_of
from workbench.resampling import SEED, Floats
from workbench.scores import MIN_COVERAGE, Grid, Scores, answered, prepare

_UNKNOWN = math.nan


def leaderboard(outcomes: pd.DataFrame | HasOutcomes, by: Literal["task", "class"] = "task") -> pd.DataFrame:
    """The evidence for each task and candidate, best score first.

    Args:
        outcomes: an outcome table, from any source, or a run.
        by: `task`, or `class` for a row a task × sensitivity class × candidate, as routes are decided.

    Returns:
        Columns `task`, (`class`,) `candidate`, `n`, `of` (items in the eval set, where the run took a sample),
        `clusters`, `repeats` (at most, by item), `seed`; `rank` (the set of ranks that it may have, such as 1–3;
        empty where it was asked too few items), `score` with `score_lo`, `score_hi` and `method`; `tied` (its ranks
        hold 1, and another's do: not to be told from the best); `behind_best` (the other that may be better by most,
        minus this one) with `behind_best_hi`, under which the best of all minus this one lies, for all candidates at
        once; `detectable` (the smallest difference to that one that these items detect, at 80 % power; 1 is none);
        `accepted` with
        `accepted_lo`, `accepted_hi` (shares), `format_ok` (the share of the answers that were given: where the rules
        abstain or a request fails there is none), `errors` (a count), `attempts` (a mean);
        `cost_per_accepted_usd` with `cost_lo`, `cost_hi`, `cost_method` (all attempts counted; NaN is unknown, inf
        none accepted), `cost_usd`; `latency_p50_s` and `latency_p95_s`, each with `_lo`, `_hi`; `coverage`.
        Intervals are at 95 %.

    Raises:
        InputError: the table lacks a required column, or has no test rows.
    """
    outcomes = table_of(outcomes)
    table = prepare(outcomes)
    if table.empty:
        raise InputError("the outcome table has no test rows: nothing was asked yet.")
    totals = outcomes.attrs.get("sample", {})
    keys = ["task"] if by == "task" else ["task", "class"]
    pieces = []
    for key, group in table.groupby(keys, sort=True):
        grid = Grid(group)
        piece = pd.DataFrame(dict(zip(keys, key, strict=True)) | {"candidate": grid.candidates} | _score_columns(grid))
        piece = piece.assign(**_other_columns(grid))
        sampled = totals.get(key[0], {}) if by == "task" else {"of": len(grid.items)}
        piece.insert(len(keys) + 2, "of", sampled.get("of", piece["n"]))
        pieces.append(piece)
    board = pd.concat(pieces, ignore_index=True)
    board = board.sort_values([*keys, "score", "cost_per_accepted_usd"], ascending=[True] * len(keys) + [False, True])
    board = board.reset_index(drop=True)
    board.attrs = {"sample": totals}
    return board


def _score_columns(grid: Grid) -> dict[str, Any]:
    """The candidates' scores, ranks, and how far they may be behind the best."""
    scores = grid.scores
    found = mean_intervals(scores.score, scores.clusters, repeats=scores.repeats)
    eligible = np.flatnonzero(scores.coverage >= MIN_COVERAGE)
    k = len(scores.candidates)
    rank, tied, seeded = np.full(k, "", dtype=object), np.zeros(k, dtype=bool), found.resampled.copy()
    behind = {name: np.full(k, _UNKNOWN) for name in ("behind_best", "behind_best_hi", "detectable")}
    if len(eligible):
        own = scores.score[:, eligible]
        compared = Comparison(own, scores.clusters)
        sets, bounds = compared.rank_sets, compared.best
        rank[eligible] = [f"{low}–{high}" if low < high else f"{low}" for low, high in sets]
        first = np.array([low == 1 for low, _ in sets])
        tied[eligible] = first & (first.sum() > 1)
        behind["behind_best_hi"][eligible] = bounds.hi
        if len(eligible) > 1:
            behind["behind_best"][eligible] = bounds.value
            for index, rival in enumerate(bounds.rival):
                apart = discordance_of(own[:, rival] - own[:, index], scores.clusters)
                behind["detectable"][eligible[index]] = apart.detectable(float(bounds.alpha[index]))
        seeded[eligible] |= len(eligible) > 2
    return {
        "n": found.n,
        "clusters": _UNKNOWN if found.clusters is None else found.clusters.astype(float),
        "repeats": scores.repeats,
        "rank": rank,
        "score": found.value,
        "score_lo": found.lo,
        "score_hi": found.hi,
        "method": found.method,
        "tied": tied,
        **behind,
        "coverage": scores.coverage,
        "seed": np.where(seeded, float(SEED), _UNKNOWN),
    }


def _other_columns(grid: Grid) -> dict[str, Any]:
    """Acceptance, cost and latency of the candidates."""
    accepted = grid.share("accepted")
    share = mean_intervals(accepted, grid.clusters)
    costs = costs_per_accepted(grid.total("cost_usd"), grid.count("accepted"), grid.clusters)
    listed = {name: grid.listed(name) for name in ("score", "attempts", "cost_usd", "latency_s")}
    found: dict[str, Any] = {
        "accepted": share.value,
        "accepted_lo": share.lo,
        "accepted_hi": share.hi,
        "format_ok": _format_ok(grid),
        "errors": [int(np.isnan(own).sum()) for own in listed["score"]],
        "attempts": [_mean(own[~np.isnan(own)]) for own in listed["attempts"]],
        "cost_per_accepted_usd": [cost.value for cost in costs],
        "cost_lo": [cost.lo for cost in costs],
        "cost_hi": [cost.hi for cost in costs],
        "cost_method": [cost.method for cost in costs],
        "cost_usd": [float(own.sum()) for own in listed["cost_usd"]],
    }
    items = (grid.asked > 0).sum(axis=0)
    for name, q in (("latency_p50_s", 0.5), ("latency_p95_s", 0.95)):
        told = [quantile_interval(own, q, int(n)) for own, n in zip(listed["latency_s"], items, strict=True)]
        found |= {name: [each.value for each in told]}
        found |= {f"{name}_lo": [each.lo for each in told], f"{name}_hi": [each.hi for each in told]}
    return found


def _format_ok(grid: Grid) -> list[float]:
    """The share of the answers that keep the output format, by candidate; NaN where it is not told, or none was given.

    What is no answer breaks no format: it counts among the errors, and scores 0.
    """
    rows = grid.every  # an answer that a judge failed on is one
    if "format_ok" not in rows:
        return [_UNKNOWN] * len(grid.candidates)
    kept = rows["format_ok"].eq(True).fillna(False).astype(float)[answered(rows)]
    shares = kept.groupby(rows["candidate"]).mean()
    return [float(shares.get(name, _UNKNOWN)) for name in grid.candidates]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else _UNKNOWN


def by_slice(outcomes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Scores within the values of a slice, such as `difficulty`: where is a candidate good, and where not?

    Exploratory, and marked so: many slices are looked at, none was chosen beforehand, and each holds few items.
    A value that only restricted items of a task have is not shown: a number stands for it.

    Args:
        outcomes: an outcome table with `slice`.
        name: a key of the items' slices.

    Returns:
        Columns `task`, `slice` (its value), `candidate`, `n`, `clusters`, `repeats`, `score`, `lo`, `hi`, `method`,
        `seed`, `exploratory` (true).

    Raises:
        InputError: no item has such a slice.
    """
    table = prepare(outcomes)
    told = [told_slices(own).get(name) for _, own in table.groupby("task", sort=False)]
    known = [values for values in told if values is not None]
    if not known:
        raise InputError(f"no item of the outcome table has a slice '{name}'.")
    table["value"] = pd.concat(known)
    rows = []
    for (task, value), group in table.groupby(["task", "value"], sort=True):
        scores = Grid(group).scores
        found = mean_intervals(scores.score, scores.clusters, repeats=scores.repeats)
        for index, candidate in enumerate(scores.candidates):
            if not found.n[index]:  # none of its answers there has a score
                continue
            row = {"task": task, "slice": value, "candidate": candidate}
            rows.append(row | _told(found[index]) | {"exploratory": True})
    columns = ["value" if name == "score" else name for name in _SLICE_COLUMNS]
    return pd.DataFrame(rows, columns=columns).rename(columns={"value": "score"})


_SLICE_COLUMNS = (
    *("task", "slice", "candidate", "n", "clusters", "repeats", "score", "lo", "hi", "method", "seed", "exploratory"),
)


def _told(estimate: Estimate) -> dict[str, Any]:
    """An estimate as columns: the figure, its interval, and what it rests on."""
    return {
        "n": estimate.n,
        "clusters": _UNKNOWN if estimate.clusters is None else estimate.clusters,
        "repeats": estimate.repeats,
        "value": estimate.value,
        "lo": estimate.lo,
        "hi": estimate.hi,
        "method": estimate.method,
        "seed": _UNKNOWN if estimate.seed is None else estimate.seed,
    }


def compare(outcomes: pd.DataFrame | HasOutcomes, a: str, b: str, margin: float = DEFAULT_MARGIN) -> pd.DataFrame:
    """Two candidates on the items that both were asked, a row a task.

    What is decided is decided by margin. `lo`, `hi` are at 95 %; that one is not worse than the other by the margin or
    more is shown at 95 % too, one-sided, and equivalence by both such tests. Tasks are not adjusted for one another.

    Args:
        outcomes: an outcome table, or a run.
        a: a candidate's id, such as `gemma3-q4#few_shot`.
        b: the candidate that it is compared with.
        margin: the difference in mean score that is too small to matter.

    Returns:
        Columns `task`, `n` (shared items), `clusters`, `repeats`, `score_a`, `score_b`, `difference` (a − b) with `lo`,
        `hi` and `method`; `p` of the `test` of no difference; `fixed` (items where a is better), `broke` (where it is
        worse), `same`; `changed` (such as "fixed 14, broke 6"); `margin`, `verdict`: "a is better" (or b; "by less
        than the margin" where that is shown too), "equivalent" (within the margin), "a is not worse" (by the margin or
        more; or b) or "cannot tell"; `detectable`, the smallest difference that these items detect at 80 % power, 1
        where it is none; `items_to_decide`, about how many would show equals to be within the margin (NaN where it is
        decided); `seed`.

    Raises:
        InputError: a candidate is not in the table, or the margin is not between 0 and 1.
    """
    if not 0 < margin < 1:
        raise InputError(f"the margin is a difference in mean score between 0 and 1, not {margin:g}.")
    table = prepare(table_of(outcomes))
    known = sorted(table["candidate"].unique())
    for name in (a, b):
        if name not in known:
            raise InputError(f"there is no candidate '{name}' in the outcomes. There are: {', '.join(known)}.")
    rows = []
    for task, group in table[table["candidate"].isin([a, b])].groupby("task", sort=True):
        scores = Grid(group).scores
        if len(scores.candidates) == len({a, b}):
            rows.append({"task": task} | _comparison(scores, a, b, margin))
    if not rows:
        raise InputError(f"'{a}' and '{b}' share no task: nothing can be compared.")
    return pd.DataFrame(rows)


def _comparison(scores: Scores, a: str, b: str, margin: float) -> dict[str, Any]:
    """One task's row of `compare`."""
    left, right, clusters = scores.column(a), scores.column(b), scores.clusters
    gap = paired_difference(left, right, clusters, repeats=scores.repeats)
    one_sided = paired_difference(left, right, clusters, 2 * CONFIDENCE - 1)
    shared = ~np.isnan(left) & ~np.isnan(right)
    test = p_values((left - right)[shared][:, None], None if clusters is None else clusters[shared])
    apart: Discordance = discordance_of(left - right, clusters)
    fixed, broke = int((left[shared] > right[shared]).sum()), int((left[shared] < right[shared]).sum())
    verdict = _verdict(gap, one_sided, margin)
    told = _told(gap)
    return {
        "n": gap.n,
        "clusters": told["clusters"],
        "repeats": gap.repeats,
        "score_a": _mean(left[shared]),
        "score_b": _mean(right[shared]),
        "difference": gap.value,
        "lo": gap.lo,
        "hi": gap.hi,
        "method": gap.method,
        "p": float(test.p[0]) if gap.n else _UNKNOWN,
        "test": str(test.method[0]),
        "fixed": fixed,
        "broke": broke,
        "same": gap.n - fixed - broke,
        "changed": f"fixed {fixed}, broke {broke}",
        "margin": margin,
        "verdict": verdict,
        "detectable": apart.detectable((1 - CONFIDENCE) / 2),
        "items_to_decide": _items_to_decide(apart, margin) if verdict == "cannot tell" else _UNKNOWN,
        "seed": float(SEED) if test.resampled[0] else _UNKNOWN,
    }


def _items_to_decide(apart: Discordance, margin: float) -> float:
    needed = apart.to_decide(margin)
    return max(needed, apart.n + 1) if math.isfinite(needed) else _UNKNOWN


def _verdict(gap: Estimate, one_sided: Estimate, margin: float) -> str:
    """What an interval says by margin; "cannot tell" is never read as equal."""
    if not gap.n:
        return "cannot tell"
    not_worse, not_better = one_sided.lo > -margin, one_sided.hi < margin
    within = not_worse and not_better
    if gap.lo > 0 or gap.hi < 0:
        return f"{'a' if gap.lo > 0 else 'b'} is better" + (", by less than the margin" if within else "")
    if within:
        return "equivalent"
    return "a is not worse" if not_worse else "b is not worse" if not_better else "cannot tell"


def all_pairs(outcomes: pd.DataFrame, min_coverage: float = MIN_COVERAGE) -> pd.DataFrame:
    """All pairs of candidates of each task, with intervals that hold jointly (max-T bootstrap).

    Args:
        outcomes: an outcome table.
        min_coverage: candidates that were asked a smaller share of a task's items are left out.

    Returns:
        Columns `task`, `a`, `b`, `n`, `clusters`, `repeats`, `difference` (a − b), `lo`, `hi` (joint, 95 %), `method`,
        `p` (of the pair alone), `test`, `separated`, `seed`.
    """
    pieces = []
    for task, group in prepare(outcomes).groupby("task", sort=True):
        scores = Grid(group).scores
        eligible = np.flatnonzero(scores.coverage >= min_coverage)
        matrix, names = scores.score[:, eligible], np.array(scores.candidates, dtype=object)[eligible]
        pairs = Comparison(matrix, scores.clusters, repeats=scores.repeats).pairs
        test = p_values(matrix[:, pairs.first] - matrix[:, pairs.second], scores.clusters)
        found = pairs.estimates
        pieces.append(
            pd.DataFrame(
                {
                    "task": task,
                    "a": names[pairs.first],
                    "b": names[pairs.second],
                    "n": found.n,
                    "clusters": _UNKNOWN if found.clusters is None else found.clusters.astype(float),
                    "repeats": found.repeats,
                    "difference": found.value,
                    "lo": found.lo,
                    "hi": found.hi,
                    "method": found.method + ", max-T",
                    "p": test.p,
                    "test": test.method,
                    "separated": (found.lo > 0) | (found.hi < 0),
                    "seed": SEED,
                }
            )
        )
    if not pieces:
        raise InputError("the outcome table has no test rows: nothing was asked yet.")
    return pd.concat(pieces, ignore_index=True)
