"""What a judge's verdicts are worth: agreement with given labels, with intervals, and whether it errs alike on all.

calibration = calibrate(verdicts, labels, candidates)
calibration.kappa.value, calibration.sensitivity.lo
calibration.save("evalsets/mine/judge_polite.json")
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from workbench import project
from workbench.errors import InputError
from workbench.files import Document, StrictModel, read_json, write_atomic
from workbench.intervals import CONFIDENCE, Estimate, mean_interval
from workbench.words import counted

FEWEST = 20  # labels of each kind under which nothing is claimed
_DIFFER = 0.10  # level at which error rates count as different between candidates: on the careful side
_TOLERATED = 0.20  # a difference of error rates that the labels must rule out before they count as alike


class Rate(StrictModel):
    """A figure with its 95 % interval, and the labels that it rests on."""

    value: float = Field(ge=-1, le=1)
    lo: float = Field(ge=-1, le=1)
    hi: float = Field(ge=-1, le=1)
    n: int = Field(ge=0)

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.lo:.2f} to {self.hi:.2f}, n = {self.n})"


class Calibration(StrictModel):
    """A judge against given labels.

    Attributes:
        judge: the model.
        rubric_sha256: `judge_digest`: of judge, rubric and what it is shown; a changed one needs a new calibration.
        kappa: Cohen's (1960); its interval by the large-sample variance of Fleiss, Cohen and Everitt (1969).
        sensitivity: the share of passing answers that it passes (Wilson).
        specificity: the share of failing answers that it fails (Wilson).
        alike: whether it errs alike on all candidates: `no` where a difference of error rates was found, `yes` where
            none was and the labels rule out one of 0.2, `unknown` where they are too few or name no candidates.
        by_candidate: the rates on each candidate's answers.
        unjudged: labeled answers for which it gave no verdict; they are in no figure.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    judge: str
    rubric_sha256: str
    created: str
    n: int
    agreement: Rate
    kappa: Rate
    sensitivity: Rate
    specificity: Rate
    alike: Literal["yes", "no", "unknown"]
    by_candidate: dict[str, dict[str, Rate]] = {}
    unjudged: int = 0

    @property
    def informative(self) -> float:
        """Sensitivity + specificity − 1 at the least: a coin has 0. The 95 % bound by both intervals (MOVER)."""
        se, sp = self.sensitivity, self.specificity
        return se.value + sp.value - 1 - math.hypot(se.value - se.lo, sp.value - sp.lo)

    def save(self, path: str | Path) -> Path:
        """Write it as JSON."""
        target = project.resolve(path)
        write_atomic(target, json.dumps(self.model_dump(mode="json", by_alias=True), indent=1) + "\n")
        return target

    def __str__(self) -> str:
        lines = [
            f"judge {self.judge}: {counted(self.n, 'label')}"
            + (f", {self.unjudged} without a verdict" if self.unjudged else ""),
            f"  agreement    {self.agreement}",
            f"  kappa        {self.kappa}",
            f"  sensitivity  {self.sensitivity}",
            f"  specificity  {self.specificity}",
            f"  errs alike on all candidates: {self.alike}",
        ]
        for name, rates in self.by_candidate.items():
            lines.append(f"    {name}: " + ", ".join(f"{kind} {rate}" for kind, rate in rates.items()))
        return "\n".join(lines)


def calibrate(
    verdicts: Sequence[float | None],
    labels: Sequence[bool],
    candidates: Sequence[str] | None = None,
    *,
    judge: str = "",
    rubric_sha256: str = "",
) -> Calibration:
    """Hold a judge's verdicts against given labels.

    Args:
        verdicts: 1 for pass, 0 for fail, None where it gave none; shape (n,).
        labels: whether each answer truly passes; shape (n,).
        candidates: whose answer each one is; shape (n,), or None where the labels do not say.

    Raises:
        InputError: no label has a verdict, or all labels are the same.
    """
    known = [index for index, verdict in enumerate(verdicts) if verdict is not None]
    judged = np.array([verdicts[index] for index in known], dtype=float)
    truth = np.array([labels[index] for index in known], dtype=bool)
    if not known or truth.all() or not truth.any():
        raise InputError("a judge is calibrated on labels of both kinds, pass and fail, for which it gives verdicts.")
    names = None if candidates is None else np.array([candidates[index] for index in known], dtype=object)
    right = (judged == 1) == truth
    return Calibration(
        judge=judge,
        rubric_sha256=rubric_sha256,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        n=len(known),
        agreement=_rate(right),
        kappa=_kappa(judged == 1, truth),
        sensitivity=_rate(judged[truth] == 1),
        specificity=_rate(judged[~truth] == 0),
        alike=_alike(right, truth, names),
        by_candidate=_by_candidate(right, truth, names),
        unjudged=len(verdicts) - len(known),
    )


def _rate(right: np.ndarray) -> Rate:
    found: Estimate = mean_interval(right.astype(float))
    return Rate(**{name: value for name, value in asdict(found).items() if name in ("value", "lo", "hi", "n")})


def _kappa(passed: np.ndarray, truth: np.ndarray) -> Rate:
    cells = (passed & truth, passed & ~truth, ~passed & truth, ~passed & ~truth)
    table = np.array([np.sum(cell) for cell in cells]).reshape(2, 2)
    if passed.all() or not passed.any():  # it says the same of everything, so it agrees by chance only
        return Rate(value=0.0, lo=-1.0, hi=1.0, n=len(truth))
    found = cohens_kappa(table)
    value = float(found.kappa)
    spread = float(np.sqrt(found.var_kappa)) if math.isfinite(float(found.var_kappa)) else 1.0
    # With perfect agreement the variance is 0: not more is claimed than Wilson's bound of the agreement carries.
    agreement = _rate(passed == truth)
    expected = float((table.sum(axis=0) * table.sum(axis=1)).sum()) / len(truth) ** 2
    lowest = min(value - 1.96 * spread, (agreement.lo - expected) / (1 - expected))
    highest = max(value + 1.96 * spread, (agreement.hi - expected) / (1 - expected))
    return Rate(value=value, lo=max(-1.0, lowest), hi=min(1.0, highest), n=len(truth))


def _by_candidate(right: np.ndarray, truth: np.ndarray, names: np.ndarray | None) -> dict[str, dict[str, Rate]]:
    if names is None:
        return {}
    found: dict[str, dict[str, Rate]] = {}
    for name in sorted(set(names)):
        own = names == name
        rates = {}
        for kind, part in (("sensitivity", own & truth), ("specificity", own & ~truth)):
            if part.any():
                rates[kind] = _rate(right[part])
        found[str(name)] = rates
    return found


def _alike(right: np.ndarray, truth: np.ndarray, names: np.ndarray | None) -> Literal["yes", "no", "unknown"]:
    """Whether the error rates are the same for all candidates.

    A difference is looked for by a chi-squared test (Fisher's exact one for two candidates). Not to find one in a few
    labels shows nothing, so they also have to rule out one of `_TOLERATED` between any two.
    """
    if names is None or len(set(names)) < 2:
        return "unknown"
    ruled_out = True
    for kind in (truth, ~truth):
        parts = [right[kind & (names == name)] for name in sorted(set(names))]
        table = np.array([[np.sum(part), np.sum(~part)] for part in parts if len(part)])
        if len(table) > 1 and table.sum(axis=0).all():
            p = stats.fisher_exact(table).pvalue if len(table) == 2 else stats.chi2_contingency(table).pvalue
            if float(p) < _DIFFER / 2:  # two tests
                return "no"
        ruled_out = ruled_out and len(table) == len(parts) and _largest_difference(parts) < _TOLERATED
    return "yes" if ruled_out else "unknown"


def _largest_difference(parts: list[np.ndarray]) -> float:
    """How much two candidates' rates may differ at most: the bound of Newcombe's (1998) interval, 95 % one-sided."""
    rates = [mean_interval(part.astype(float), confidence=2 * CONFIDENCE - 1) for part in parts]
    return max(
        a.value - b.value + math.hypot(a.hi - a.value, b.value - b.lo) for a, b in itertools.permutations(rates, 2)
    )


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration.

    Raises:
        InputError: there is none, or it is broken.
    """
    target = project.resolve(path)
    return Document(target, read_json(target), {}).parse(Calibration)


def gate_problem(calibration: Calibration, digest: str, min_kappa: float) -> str | None:
    """Why a judge may not make up a score; None if it may.

    Args:
        calibration: of the judge.
        digest: `judge_digest` of the judge as it is now.
        min_kappa: the agreement that is asked of it.
    """
    if calibration.rubric_sha256 != digest:
        return "its calibration is of another judge or rubric. Calibrate it again"
    few = min(calibration.sensitivity.n, calibration.specificity.n)
    if few < FEWEST:
        return f"its calibration has {counted(few, 'label')} of one kind, under {FEWEST}. Label more answers"
    if calibration.kappa.lo < min_kappa:
        return (
            f"its agreement with the labels may be as low as kappa {calibration.kappa.lo:.2f}, under {min_kappa:g}. "
            "Use it as a further figure (weight: 0), or mend the rubric"
        )
    return None
