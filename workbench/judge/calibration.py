"""What a judge's verdicts are worth: agreement with given labels, with intervals, and whether it errs alike on all.

calibration = calibrate(verdicts, labels, candidates)
calibration.kappa.value, calibration.sensitivity.lo
calibration.save("evalsets/mine/judge_polite.json")
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from workbench import project
from workbench.errors import InputError
from workbench.files import Document, StrictModel, read_json, write_atomic
from workbench.judge.agreement import Alike, Rate, codes_of, errs_alike, kappa, of_part, rate, rates_by_candidate
from workbench.scores import MIN_COVERAGE
from workbench.words import counted

__all__ = ["FEWEST", "Calibration", "Rate", "calibrate", "gate_problem", "load_calibration"]

FEWEST = 20  # labels of each kind under which nothing is claimed


class Calibration(StrictModel):
    """A judge against given labels.

    Attributes:
        judge: the model.
        rubric_sha256: `judge_digest`: of judge, rubric and what it is shown; a changed one needs a new calibration.
        n: labels with a verdict.
        clusters: clusters that they come in, which widen every interval; None where each stands alone.
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
    alike: Alike
    by_candidate: dict[str, dict[str, Rate]] = {}
    unjudged: int = 0
    clusters: int | None = None

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
            + (f" in {counted(self.clusters, 'cluster')}" if self.clusters is not None else "")
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
    clusters: Sequence[Any] | None = None,
    judge: str = "",
    rubric_sha256: str = "",
) -> Calibration:
    """Hold a judge's verdicts against given labels.

    Args:
        verdicts: 1 for pass, 0 for fail, None or NaN where it gave none; shape (n,).
        labels: whether each answer truly passes; shape (n,).
        candidates: whose answer each one is; shape (n,), or None where the labels do not say.
        clusters: what is labeled together: the item, as several candidates answer it, or the cluster of its items;
            shape (n,), or None where every label stands alone.

    Raises:
        InputError: there are not as many of each, one is neither pass nor fail, no label has a verdict, or all labels
            are the same.
    """
    given, told = [_verdict(each) for each in verdicts], [_label(each) for each in labels]
    for name, others in (("verdicts", given), ("candidates", candidates), ("clusters", clusters)):
        if others is not None and len(others) != len(told):
            raise InputError(
                f"each label has its own in {name}: there are {len(told)} labels and {len(others)} {name}."
            )
    known = np.array([verdict is not None for verdict in given], dtype=bool)
    passed = np.array([verdict for verdict in given if verdict is not None], dtype=bool)
    truth = np.array(told, dtype=bool)[known]
    if not known.any() or truth.all() or not truth.any():
        raise InputError("a judge is calibrated on labels of both kinds, pass and fail, for which it gives verdicts.")
    names = None if candidates is None else np.array(list(candidates), dtype=object)[known]
    codes = of_part(codes_of(clusters), known)
    right, several = passed == truth, codes is not None and len(set(codes)) < len(codes)
    return Calibration(
        judge=judge,
        rubric_sha256=rubric_sha256,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        n=len(right),
        clusters=len(set(codes)) if codes is not None and several else None,
        agreement=rate(right, codes),
        kappa=kappa(passed, truth, codes),
        sensitivity=rate(passed[truth], of_part(codes, truth)),
        specificity=rate(~passed[~truth], of_part(codes, ~truth)),
        alike=errs_alike(right, truth, names, codes),
        by_candidate=rates_by_candidate(right, truth, names, codes),
        unjudged=len(given) - len(right),
    )


def _verdict(value: Any) -> bool | None:
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value)):
        return None
    return _flag(value, "verdict", "1 for pass, 0 for fail, or None")


def _label(value: Any) -> bool:
    return _flag(value, "label", "true for pass or false for fail")


def _flag(value: Any, what: str, wanted: str) -> bool:
    if isinstance(value, bool | np.bool_ | int | float | np.number) and value in (0, 1):
        return bool(value)
    raise InputError(f"a {what} is {wanted}: there is one that is neither.")


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
    asked = calibration.n + calibration.unjudged
    if calibration.n < MIN_COVERAGE * asked:
        return (
            f"it gave no verdict on {calibration.unjudged} of {counted(asked, 'labeled answer')}, and at most "
            f"{1 - MIN_COVERAGE:.0%} may be without one. Give it more max_tokens, or take another judge"
        )
    few = min(calibration.sensitivity.n, calibration.specificity.n)
    if few < FEWEST:
        return f"its calibration has {counted(few, 'label')} of one kind, under {FEWEST}. Label more answers"
    if calibration.alike == "no":
        return (
            "it errs differently on different candidates, so it would favor some. Use it as a further figure "
            "(weight: 0), or mend the rubric"
        )
    if calibration.kappa.lo < min_kappa:
        return (
            f"its agreement with the labels may be as low as kappa {calibration.kappa.lo:.2f}, under {min_kappa:g}. "
            "Use it as a further figure (weight: 0), or mend the rubric"
        )
    return None
