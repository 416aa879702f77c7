"""How far verdicts and given labels agree, with intervals; and whether a judge errs alike on all candidates.

rate(right, clusters)                      # a share with its interval
kappa(passed, truth, clusters).lo
errs_alike(right, truth, names, clusters)      # 'yes', 'no', 'unknown'

Labels of one item, or of one cluster of items, tell less than as many that stand alone: a judge that misreads an item
errs on all candidates' answers to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from workbench.files import StrictModel
from workbench.intervals import CONFIDENCE, Codes, design_effect, mean_interval, t_of, units_of
from workbench.resampling import Floats

Flags = NDArray[np.bool_]
Names = NDArray[np.object_]
Alike = Literal["yes", "no", "unknown"]

_DIFFER = 0.10  # level at which error rates count as different between candidates: on the careful side
_TOLERATED = 0.20  # a difference of error rates that the labels must rule out before they count as alike
_GUESS = 2.0  # errors that the guess "errors come in whole clusters" is worth, as in `intervals`
_Z = 1.96


class Rate(StrictModel):
    """A figure with its 95 % interval, and the labels that it rests on.

    Attributes:
        effective_n: labels that stand alone and would tell as much, where these come in clusters; None where they do
            not.
    """

    value: float = Field(ge=-1, le=1)
    lo: float = Field(ge=-1, le=1)
    hi: float = Field(ge=-1, le=1)
    n: int = Field(ge=0)
    effective_n: float | None = Field(default=None, ge=0)

    @property
    def worth(self) -> float:
        """The number of labels that an uncertainty is computed with."""
        return float(self.n) if self.effective_n is None else self.effective_n

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.lo:.2f} to {self.hi:.2f}, n = {self.n})"


def of_part(clusters: Codes | None, part: Flags) -> Codes | None:
    """The clusters of some of the labels."""
    return None if clusters is None else clusters[part]


def rate(right: Flags, clusters: Codes | None = None) -> Rate:
    """The share that is right.

    Args:
        right: shape (n,).
        clusters: shape (n,), a number a cluster, or None.
    """
    values = right.astype(float)
    found = mean_interval(values, clusters)
    worth = None if found.clusters is None else _effective(values, clusters)
    return Rate(value=found.value, lo=found.lo, hi=found.hi, n=found.n, effective_n=worth)


def _effective(values: Floats, clusters: Codes | None) -> float:
    """Labels that stand alone and would give as wide an interval: fewer too where there are few clusters."""
    units = units_of(values[:, None], clusters)
    spread = _Z / float(t_of(units.count - 1, (1 + CONFIDENCE) / 2)[0])
    return float(units.n[0] / design_effect(units)[0]) * spread**2


def kappa(passed: Flags, truth: Flags, clusters: Codes | None = None) -> Rate:
    """Cohen's kappa.

    Args:
        passed: what the judge passes; shape (n,).
        truth: what the labels say; shape (n,).
        clusters: shape (n,), a number a cluster, or None.
    """
    cells = (passed & truth, passed & ~truth, ~passed & truth, ~passed & ~truth)
    table = np.array([np.sum(cell) for cell in cells]).reshape(2, 2)
    if passed.all() or not passed.any():  # it says the same of everything, so it agrees by chance only
        return Rate(value=0.0, lo=-1.0, hi=1.0, n=len(truth))
    found = cohens_kappa(table)
    value = float(found.kappa)
    expected = float((table.sum(axis=0) * table.sum(axis=1)).sum()) / len(truth) ** 2
    variance = float(found.var_kappa)
    reach = _Z * math.sqrt(variance) if math.isfinite(variance) else _Z
    units = None if clusters is None else units_of(_influence(passed, truth, value, expected)[:, None], clusters)
    if units is not None and units.clustered:
        errors = float(np.sum(passed != truth))
        reach *= math.sqrt(_widening(units.error[0] ** 2, variance, errors, float(units.largest_effect[0])))
        reach *= float(t_of(units.count - 1, (1 + CONFIDENCE) / 2)[0]) / _Z
    # With perfect agreement the variance is 0: not more is claimed than Wilson's bound of the agreement carries.
    agreement = rate(passed == truth, clusters)
    lowest = min(value - reach, (agreement.lo - expected) / (1 - expected))
    highest = max(value + reach, (agreement.hi - expected) / (1 - expected))
    return Rate(value=value, lo=max(-1.0, lowest), hi=min(1.0, highest), n=len(truth))


def _influence(passed: Flags, truth: Flags, value: float, expected: float) -> Floats:
    """What each label adds to kappa, linearized: the mean of their squares over n is the large-sample variance."""
    p, q = float(passed.mean()), float(truth.mean())
    by_chance = np.where(passed, q, 1 - q) + np.where(truth, p, 1 - p) - 2 * expected
    agree = (passed == truth).astype(float)
    found: Floats = (agree - agree.mean() - (1 - value) * by_chance) / (1 - expected)
    return found


def _widening(clustered: float, alone: float, errors: float, largest: float) -> float:
    """The design effect of kappa's variance: few errors tell little of it, so it is drawn to that of whole clusters."""
    measured = clustered / alone if alone > 0 and math.isfinite(alone) else largest
    return min(max((measured * errors + largest * _GUESS) / (errors + _GUESS), 1.0), largest)


def rates_by_candidate(
    right: Flags, truth: Flags, names: Names | None, clusters: Codes | None = None
) -> dict[str, dict[str, Rate]]:
    """Each candidate's sensitivity and specificity, as far as there are labels."""
    found: dict[str, dict[str, Rate]] = {}
    for name in [] if names is None else sorted(set(names)):
        own = names == name
        kinds = (("sensitivity", own & truth), ("specificity", own & ~truth))
        found[str(name)] = {kind: rate(right[part], of_part(clusters, part)) for kind, part in kinds if part.any()}
    return found


def errs_alike(right: Flags, truth: Flags, names: Names | None, clusters: Codes | None = None) -> Alike:
    """Whether the error rates are the same for all candidates.

    A difference is looked for by a chi-squared test (Fisher's exact one for two candidates). Not to find one in a few
    labels shows nothing, so they also have to rule out one of `_TOLERATED` between any two. Labels of one candidate
    that come in clusters count as fewer. That candidates' answers to one item are judged alike is not made use of.
    """
    if names is None or len(set(names)) < 2:
        return "unknown"
    ruled_out = True
    for kind in (truth, ~truth):
        own = [kind & (names == name) for name in sorted(set(names))]
        parts = [(right[each], of_part(clusters, each)) for each in own]
        table = np.array([_counts(*part) for part in parts if len(part[0])])
        if len(table) > 1 and table.sum(axis=0).all() and _p_of(table) < _DIFFER / 2:  # two tests
            return "no"
        ruled_out = ruled_out and len(table) == len(parts) and _largest_difference(parts) < _TOLERATED
    return "yes" if ruled_out else "unknown"


def _p_of(table: Floats) -> float:
    whole = table.round().astype(int)
    return float(stats.fisher_exact(whole).pvalue if len(table) == 2 else stats.chi2_contingency(table).pvalue)


def _counts(right: Flags, clusters: Codes | None) -> tuple[float, float]:
    """How many verdicts are right and wrong, as if each stood alone."""
    whole, n = rate(right, clusters), len(right)
    return float(np.sum(right)) * whole.worth / n, float(np.sum(~right)) * whole.worth / n


def _largest_difference(parts: list[tuple[Flags, Codes | None]]) -> float:
    """How much two candidates' rates may differ at most: the bound of Newcombe's (1998) interval, 95 % one-sided."""
    rates = [mean_interval(right.astype(float), clusters, 2 * CONFIDENCE - 1) for right, clusters in parts]
    return max(
        a.value - b.value + math.hypot(a.hi - a.value, b.value - b.lo) for a, b in itertools.permutations(rates, 2)
    )


def codes_of(clusters: Iterable[Any] | None) -> Codes | None:
    """Names of clusters as numbers; what has none is one of its own."""
    if clusters is None:
        return None
    codes, known = pd.factorize(pd.Series(list(clusters), dtype=object))
    return np.where(codes < 0, len(known) + np.arange(len(codes)), codes).astype(np.int64)
