"""Whether a policy pays: against a random mix of the models at the same cost, and against the choice for the task.

    verdict = pays(played, choice, pool, groups, terms)
    verdict.offered, verdict.reason, verdict.against_mix

Both comparisons are paired, on the same items, by a bootstrap of whole groups; what was trained has to be played out of
sample. The choice for the task is judged on the data that chose it, which is in its favor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.intervals import Estimate
from workbench.pairs import paired_difference
from workbench.resampling import RESAMPLES, SEED, resampled_sums
from workbench.routing.measures import hull
from workbench.routing.objective import keeps_margin, loss
from workbench.routing.played import Played, Terms

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

CONFIDENCE = 0.95
_BLOCK = 4_000_000  # draws at once
_NAMES = {"cost": "cost per accepted answer", "score": "score", "latency": "p95 latency"}


@dataclass(frozen=True)
class Verdict:
    """What the comparisons say.

    Attributes:
        against_mix: score minus that of the random mix at the same cost, with a two-sided interval at 95 %.
        against_choice: what the objective counts, this policy's minus the choice's: below 0 is better; likewise.
        gap: how much better any candidate inside the limits may be, by the simultaneous one-sided bound.
    """

    offered: bool
    reason: str
    against_mix: Estimate | None = None
    against_choice: Estimate | None = None
    gap: Estimate | None = None


def pays(
    played: Played,
    choice: Played | None,
    pool: Sequence[Played],
    eligible: Sequence[Played],
    groups: Indices,
    terms: Terms,
    comparisons: int = 1,
) -> Verdict:
    """Compare a policy with what is simpler.

    Args:
        played: the policy, out of sample.
        choice: the choice for the task; None where no single candidate is inside the limits.
        pool: the candidates that a random mix may be made of, each asked always.
        eligible: those inside the limits, which the margin is held against.
        groups: what varies independently, a number an item.
        terms: what decides.
        comparisons: how many policies are tried at once (Bonferroni).
    """
    outside = terms.outside(played)
    if outside is not None:
        return Verdict(False, f"outside the limits: {outside}.")
    rows = np.logical_and.reduce([played.known, *(part.known for part in (choice, *pool) if part is not None)])
    own, codes = played.at(rows), np.unique(groups[rows], return_inverse=True)[1]
    if np.isnan(own.cost_usd).any() or np.isnan(own.accepted).any():
        return Verdict(False, "costs or acceptance are unknown, so it cannot be held against a mix at the same cost.")
    if len(np.unique(codes)) < 2:
        return Verdict(False, "the items are of one group: nothing can be told.")
    level = CONFIDENCE if comparisons < 2 else 1 - (1 - CONFIDENCE) / comparisons
    mix = _against_mix(own, [part.at(rows) for part in pool], codes, level)
    better = None if choice is None else _against_choice(own, choice.at(rows), codes, terms, level)
    gap = _worst_gap(played, eligible, groups) if keeps_margin(terms.objective) and eligible else None
    return _verdict(own, mix, better, gap, played, groups, terms, level)


def _verdict(
    own: Played,
    mix: tuple[Estimate, float],
    better: tuple[Estimate, float, float] | None,
    gap: Estimate | None,
    played: Played,
    groups: Indices,
    terms: Terms,
    level: float,
) -> Verdict:
    over_mix, mix_bound = mix
    over_choice = better[0] if better else None
    why = []
    if not mix_bound > 0:
        why.append(
            f"it does not surely beat a random mix of the models at the same cost: {over_mix.value:+.3f} in score "
            f"({over_mix.lo:+.3f} to {over_mix.hi:+.3f})"
        )
    if better is not None and not better[1] < 0:
        why.append(f"it is not surely better than one model for the task: {_change(better, terms)}")
    if gap is not None and gap.hi > terms.limits.margin:
        why.append(f"a single model may be better by {gap.hi:.2f}, over the margin of {terms.limits.margin:g}")
    uncertain = terms.uncertain(played, groups)
    why += [uncertain] if uncertain else []
    if why:
        return Verdict(False, f"it did not pay: {'; '.join(why)}.", over_mix, over_choice, gap)
    said = (
        f"it beats a random mix of the models at the same cost by {over_mix.value:.3f} in score "
        f"({over_mix.lo:.3f} to {over_mix.hi:.3f})"
    )
    if better is not None:
        said += f", and one model for the task: {_change(better, terms)}"
    return Verdict(True, f"out of sample {said}.", over_mix, over_choice, gap)


def _change(better: tuple[Estimate, float, float], terms: Terms) -> str:
    found, _, base = better
    if isinstance(terms.objective, str) and terms.objective != "score" and base > 0:
        shares = [100 * value / base for value in (found.value, found.lo, found.hi)]
        name = _NAMES[terms.objective]
        return f"{name} {shares[0]:+.0f} % ({shares[1]:+.0f} to {shares[2]:+.0f} %)"
    name = "score" if terms.objective == "score" else "worth of a request in USD"
    return f"{name} {-found.value:+.4g} ({-found.hi:+.4g} to {-found.lo:+.4g})"


def _against_mix(own: Played, pool: Sequence[Played], codes: Indices, level: float) -> tuple[Estimate, float]:
    """Score minus that of a random mix of the pool's hull at the same mean cost, and its one-sided lower bound."""
    cost = np.array([part.cost_usd.mean() for part in pool])
    score = np.array([part.score.mean() for part in pool])
    points = hull(cost, score)
    if not len(points):
        nothing = Estimate(math.nan, math.nan, math.nan, "costs of the models are unknown", len(own.score))
        return nothing, math.nan
    spent = float(own.cost_usd.mean())
    after = int(np.searchsorted(cost[points], spent))
    low, high = points[max(after - 1, 0)], points[min(after, len(points) - 1)]
    a, b = pool[int(low)], pool[int(high)]
    draws = _means(np.column_stack([own.score, own.cost_usd, a.score, a.cost_usd, b.score, b.cost_usd]), codes)

    def gain(means: Floats) -> Floats:
        wide = means[:, 5] - means[:, 3]
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where(wide > 0, (means[:, 1] - means[:, 3]) / wide, 1.0)
        return means[:, 0] - (means[:, 2] + part.clip(0, 1) * (means[:, 4] - means[:, 2]))

    return _estimate(gain, draws, "against a random mix at the same cost, group bootstrap", len(own.score), level, -1)


def _against_choice(
    own: Played, choice: Played, codes: Indices, terms: Terms, level: float
) -> tuple[Estimate, float, float]:
    """What the objective counts, this one's minus the choice's; its one-sided upper bound; and the choice's own."""
    if terms.objective == "latency":
        return _against_latency(own, choice, codes, level)
    fields = ("score", "accepted", "cost_usd", "latency_s")
    both = np.column_stack([getattr(part, field) for part in (own, choice) for field in fields])
    draws = _means(np.nan_to_num(both, nan=0.0) if terms.objective in ("cost", "score") else both, codes)

    def of(means: Floats, start: int) -> Floats:
        columns = (means[:, start + at] for at in range(4))
        return np.array([loss(terms.objective, s, a, c, math.nan, t) for s, a, c, t in zip(*columns, strict=True)])

    with np.errstate(invalid="ignore"):
        found = _estimate(
            lambda means: of(means, 0) - of(means, 4), draws, "paired, group bootstrap", len(own.score), level, 1
        )
    return *found, float(of(draws[:1], 4)[0])


def _against_latency(own: Played, choice: Played, codes: Indices, level: float) -> tuple[Estimate, float, float]:
    sorts = [np.argsort(part.latency_s) for part in (own, choice)]

    def p95(weights: Floats, part: Played, order: Indices) -> Floats:
        reached = np.cumsum(weights[:, order], axis=1) / weights.sum(axis=1, keepdims=True)
        found: Floats = part.latency_s[order][np.argmax(reached >= 0.95, axis=1)]
        return found

    drawn = [
        p95(weights[:, codes], own, sorts[0]) - p95(weights[:, codes], choice, sorts[1])
        for weights in _weights(int(codes.max()) + 1, len(codes))
    ]
    values = np.concatenate(drawn)
    found = _estimate(lambda means: means[:, 0], values[:, None], "paired, group bootstrap", len(codes), level, 1)
    once = np.ones((1, len(codes)))
    return *found, float(p95(once, choice, sorts[1])[0])


def _estimate(statistic, draws: Floats, method: str, n: int, level: float, side: int) -> tuple[Estimate, float]:  # type: ignore[no-untyped-def]
    """A statistic of the first row, with the interval and a one-sided bound (side −1 lower, 1 upper) of the rest."""
    values = np.asarray(statistic(draws), dtype=float)
    found, resampled = values[0], values[1:]
    if np.isnan(values).any() or not np.isfinite(found):
        return Estimate(math.nan, math.nan, math.nan, method, n), math.nan
    lo, hi = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
    bound = np.quantile(resampled, level if side > 0 else 1 - level, method="nearest")
    return Estimate(float(found), float(lo), float(hi), method, n), float(bound)


def _weights(groups: int, width: int) -> Iterator[Floats]:
    """How often each group is drawn: first each once, then the resamples, in blocks."""
    generator = np.random.default_rng(SEED)
    yield np.ones((1, groups))
    step = max(1, _BLOCK // max(groups, width))
    for start in range(0, RESAMPLES, step):
        yield generator.multinomial(groups, np.full(groups, 1 / groups), min(step, RESAMPLES - start)).astype(float)


def _means(columns: Floats, codes: Indices) -> Floats:
    """The columns' means over items, first as they are, then with groups drawn again."""
    count = int(codes.max()) + 1
    sums = np.column_stack([np.bincount(codes, column, count) for column in columns.T])
    sizes = np.bincount(codes, minlength=count).astype(float)
    drawn = resampled_sums(np.column_stack([sums, sizes]))
    return np.concatenate([(sums.sum(axis=0) / sizes.sum())[None, :], drawn[:, :-1] / drawn[:, -1:]])


def _worst_gap(played: Played, eligible: Sequence[Played], groups: Indices) -> Estimate:
    """How much better any candidate inside the limits may be; the rule that single candidates are held to."""
    confidence = 1 - 2 * (1 - CONFIDENCE) / len(eligible)
    gaps = [paired_difference(other.score, played.score, groups.astype(np.int64), confidence) for other in eligible]
    return max(gaps, key=lambda gap: gap.hi)
