"""What an outcome table means: intervals, a leaderboard, paired comparisons. Errors and refusals score 0.

    leaderboard(outcomes)                                    # a row a task × candidate
    compare(outcomes, "gemma3-q4#few_shot", "rules")         # paired, a row a task

Everything here works from an outcome table alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from workbench.economics import cost_per_accepted, quantile
from workbench.errors import InputError
from workbench.outcomes import candidate_id, normalize
from workbench.privacy import class_of

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
MIN_COVERAGE = 0.9
RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        n: items it rests on.
        clusters: clusters they come in, or None.
    """

    value: float
    lo: float
    hi: float
    method: str
    n: int
    clusters: int | None = None

    def as_list(self, digits: int = 4) -> list[float]:
        """[estimate, low, high], rounded for a file."""
        return [round(float(figure), digits) for figure in (self.value, self.lo, self.hi)]


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
    table["class"] = labels.map(class_of, na_action=None)
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


def mean_interval(
    values: Floats, clusters: NDArray[np.int64] | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of scores from 0 to 1, with its interval.

    Wilson's for scores of 0 and 1; otherwise a BCa bootstrap, and with clusters a percentile bootstrap that draws
    whole clusters. Where all values are equal a bootstrap would claim certainty, so Wilson's is taken there too: a
    score in [0, 1] varies no more than a binary one of the same mean.

    Args:
        values: shape (n,), without NaN.
        clusters: shape (n,), a number a cluster, or None.
        confidence: of the two-sided interval.
    """
    n = len(values)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, "no items", 0)
    mean = float(values.mean())
    if clusters is not None and len(set(clusters.tolist())) < n:
        return _cluster_bootstrap(values, clusters, confidence)
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    if binary or bool((values == values[0]).all()):
        from statsmodels.stats.proportion import proportion_confint

        lo, hi = proportion_confint(mean * n, n, alpha=1 - confidence, method="wilson")
        return Estimate(mean, float(lo), float(hi), "wilson", n)
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=RESAMPLES, method="BCa", rng=SEED
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high), "bootstrap BCa", n)


def _cluster_bootstrap(values: Floats, clusters: NDArray[np.int64], confidence: float) -> Estimate:
    codes = pd.factorize(clusters)[0]
    count = int(codes.max()) + 1
    sums = np.bincount(codes, values, count)
    sizes = np.bincount(codes, minlength=count)
    drawn = np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    lo, hi = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    method = "cluster bootstrap" if count >= 20 else f"cluster bootstrap (only {count} clusters)"
    return Estimate(float(values.mean()), float(lo), float(hi), method, len(values), count)


def paired_difference(
    a: Floats, b: Floats, clusters: NDArray[np.int64] | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of a − b over the items that both were asked, with a two-sided interval.

    The adjusted Wald interval of Agresti and Min (2005, Statistics in Medicine 24) for matched pairs: half an item is
    added to each cell of the 2 × 2 table, so that no disagreement in a few items is not read as certainty. Written
    with sums of differences it holds for scores between 0 and 1 too. With clusters the variance is that of the
    clusters' sums, with C − 1 degrees of freedom.

    Args:
        a: scores, shape (n,), NaN where not asked.
        b: the same of the other candidate.
        clusters: shape (n,), a number a cluster, or None.
        confidence: of the two-sided interval; 1 − 2α for one-sided bounds at α.
    """
    shared = ~np.isnan(a) & ~np.isnan(b)
    difference = a[shared] - b[shared]
    n = len(difference)
    if n == 0:
        return Estimate(math.nan, -1.0, 1.0, "no shared items", 0)
    padded = n + 2
    center = float(difference.sum()) / padded
    variance = (float((difference**2).sum()) + 1) / padded - center**2
    error, degrees, count = math.sqrt(variance / padded), n - 1, None
    if clusters is not None:
        codes = pd.factorize(clusters[shared])[0]
        count = int(codes.max()) + 1
        if count < n:
            sums = np.bincount(codes, difference - difference.mean(), count)
            between = count / max(count - 1, 1) * float((sums**2).sum())
            error, degrees = math.sqrt(max(between + 1, variance * padded)) / padded, count - 1
    reach = float(stats.t.ppf((1 + confidence) / 2, max(degrees, 1))) * error
    return Estimate(
        float(difference.mean()), max(center - reach, -1.0), min(center + reach, 1.0), "paired, adjusted Wald", n, count
    )


def simultaneous_confidence(comparisons: int, confidence: float = CONFIDENCE) -> float:
    """The two-sided confidence at which each of several one-sided bounds holds jointly (Bonferroni)."""
    return 1 - 2 * (1 - confidence) / max(comparisons, 1)


def items_to_decide(a: Floats, b: Floats, margin: float, comparisons: int = 1, power: float = 0.8) -> float:
    """About how many items would show that b is not worse than a by more than a margin, were they equal.

    Args:
        a: scores, NaN where not asked.
        b: the same of the other candidate.
        margin: in score.
        comparisons: how many candidates the bound has to hold against at once.
        power: the chance that the items then suffice.
    """
    shared = ~np.isnan(a) & ~np.isnan(b)
    difference = a[shared] - b[shared]
    if len(difference) < 2:
        return math.inf
    spread = (float((difference**2).sum()) + 1) / (len(difference) + 2)
    z = stats.norm.ppf(1 - (1 - CONFIDENCE) / max(comparisons, 1)) + stats.norm.ppf(power)
    return math.ceil(z**2 * spread / margin**2)


def _tied(scores: Scores) -> dict[str, bool]:
    """Whether each candidate cannot be told from the one with the highest mean, all comparisons at once."""
    with np.errstate(invalid="ignore"):
        means = np.nanmean(scores.score, axis=0)
    eligible = scores.coverage >= MIN_COVERAGE
    best = int(np.argmax(np.where(eligible, means, -1.0)))
    confidence = simultaneous_confidence(len(scores.candidates) - 1)
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
    accepted = own["accepted"].fillna(False).to_numpy(bool) if "accepted" in own else None
    share = mean_interval(accepted.astype(float)) if accepted is not None else None
    cost = own["cost_usd"].to_numpy(float) if "cost_usd" in own else None
    per_accepted = cost_per_accepted(cost, accepted)
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
