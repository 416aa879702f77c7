"""A cheap candidate first; where a verifier does not trust its answer, a better one answers.

    family = Cascades(cell, pool, verifiers=["format", "agreement"])
    for option in family.options(train): option.play(cell)

A verifier sees the answer, never the key: schema validity (`format`), the agreement of repeats (`agreement`), or a
column that the team names, such as a log-probability or a judge's verdict (`metric.logprob`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.intervals import Estimate, mean_interval
from workbench.routing.cell import Cell
from workbench.routing.played import Played

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]

_THRESHOLDS = 12
AGREEMENT = "agreement"
FORMAT = "format"
RULES_FLOOR = 0.9  # of the answers that rules give, the share that is accepted at least


@dataclass(frozen=True)
class Cascade:
    """One cheap candidate, one verifier with its threshold, and who answers where it does not trust.

    Attributes:
        cheap: a column of the cell.
        strong: likewise.
        threshold: an answer whose signal is under it is escalated, and so is one without a signal.
    """

    cheap: int
    strong: int
    verifier: str
    threshold: float

    def name(self, cell: Cell) -> str:
        return f"{cell.candidates[self.cheap]} → {cell.candidates[self.strong]} by {self.verifier}"

    def trusted(self, cell: Cell) -> Bools:
        """Where the cheap answer is kept."""
        signal = signal_of(cell, self.verifier, self.cheap)
        return np.asarray(np.nan_to_num(signal, nan=-np.inf) >= self.threshold)

    def play(self, cell: Cell) -> Played:
        """What it would have answered; both answers, all attempts and the judge are paid."""
        first = cell.majority if self.verifier == AGREEMENT else cell.first
        cheap = Played.of(first, self.cheap, "")
        if self.verifier.startswith("metric.") and not np.isnan(cell.signal_cost_usd[:, self.cheap]).all():
            looked = np.nan_to_num(cell.signal_cost_usd[:, self.cheap])
            cheap = Played("", cheap.score, cheap.accepted, cheap.cost_usd + looked, cheap.latency_s)
        strong = Played.of(cell.mean, self.strong, "")
        return cheap.then(strong, ~self.trusted(cell), self.name(cell))


@dataclass(frozen=True)
class RulesFirst:
    """The rules answer where they have one; where they abstain another candidate does."""

    rules: int
    rest: int

    def name(self, cell: Cell) -> str:
        return f"{cell.candidates[self.rules]} → {cell.candidates[self.rest]} where the rules abstain"

    def abstained(self, cell: Cell) -> Bools:
        """Where there is no answer, whatever the reason: the request goes on."""
        return np.asarray(cell.abstained[:, self.rules] | ~(cell.first.accepted[:, self.rules] >= 0) | self._bad(cell))

    def _bad(self, cell: Cell) -> Bools:
        return np.asarray(~(np.nan_to_num(cell.signals[FORMAT][:, self.rules]) > 0))

    def play(self, cell: Cell) -> Played:
        rules, rest = Played.of(cell.first, self.rules, ""), Played.of(cell.mean, self.rest, "")
        return rules.then(rest, self.abstained(cell), self.name(cell))

    def accepted(self, cell: Cell) -> Estimate:
        """The accepted share of the answers that the rules give."""
        answered = ~self.abstained(cell) & ~np.isnan(cell.first.accepted[:, self.rules])
        return mean_interval(cell.first.accepted[answered, self.rules], cell.groups[answered].astype(np.int64))


def signal_of(cell: Cell, verifier: str, candidate: int) -> Floats:
    """What a verifier sees of each answer of a candidate; the higher, the more it is trusted."""
    column = cell.agreement if verifier == AGREEMENT else cell.signals[verifier]
    found: Floats = column[:, candidate]
    return found


def cascades(cell: Cell, pool: Sequence[int], verifiers: Sequence[str], rows: Bools) -> list[Cascade]:
    """Every cascade that some items allow: a cheaper candidate before one with a better score.

    Args:
        cell: the outcomes.
        pool: the candidates that may be part of one.
        verifiers: names.
        rows: the items that thresholds are taken from.
    """
    cost, score = cell.average("cost_usd", rows), cell.average("score", rows)
    found = []
    for verifier in verifiers:
        for cheap in pool:
            signal = signal_of(cell, verifier, cheap)[rows]
            if np.isnan(signal).all():
                continue
            for strong in pool:
                if strong != cheap and cost[cheap] < cost[strong] and score[cheap] < score[strong]:
                    found += [Cascade(cheap, strong, verifier, each) for each in _thresholds(signal)]
    return found


def _thresholds(signal: Floats) -> list[float]:
    """Values that trust some answers and not others, spread over what was seen."""
    seen = np.unique(signal[~np.isnan(signal)])
    if len(seen) > _THRESHOLDS:
        seen = np.unique(np.quantile(signal[~np.isnan(signal)], np.linspace(0.02, 0.98, _THRESHOLDS), method="nearest"))
    trusting_all = not np.isnan(signal).any()
    return [float(value) for index, value in enumerate(seen) if index > 0 or not trusting_all]


def acceptance(trusted: Bools, good: Floats, groups: Indices) -> tuple[Estimate, Estimate]:
    """A verifier's true and false acceptance: the shares of good and of other answers that it trusts.

    Args:
        trusted: shape (items,), by thresholds that were chosen on other items.
        good: which cheap answers were accepted, shape (items,); NaN where it is not known.
        groups: shape (items,).
    """
    known = ~np.isnan(good)
    right, wrong = known & (good >= 0.5), known & (good < 0.5)
    codes = groups.astype(np.int64)
    return (
        mean_interval(trusted[right].astype(float), codes[right]),
        mean_interval(trusted[wrong].astype(float), codes[wrong]),
    )
