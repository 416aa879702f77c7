"""Judges: a model that scores answers by a rubric, and what its verdicts are worth.

calibration = calibrate(verdicts, labels, candidates)      # kappa, sensitivity, specificity, with intervals
corrected_rates(outcomes, "polite", calibration)           # a candidate's rate, corrected for the judge's errors

A verdict is never corrected, only a rate, and only where the judge errs alike on all candidates. No curated eval set's
decision rests on a judge.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Calibration": "calibration",
    "PairVerdicts": "pairs",
    "Verdict": "verdict",
    "calibrate": "calibration",
    "corrected_rate": "correction",
    "corrected_rates": "correction",
    "judge_outputs": "verdict",
    "judge_pairs": "pairs",
    "load_calibration": "calibration",
}
__all__ = [
    "Calibration",
    "PairVerdicts",
    "Verdict",
    "calibrate",
    "corrected_rate",
    "corrected_rates",
    "judge_outputs",
    "judge_pairs",
    "load_calibration",
]


def __getattr__(name: str) -> Any:
    """Loaded when first used: a run asks here for a judge's request, and needs no statistics for that."""
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench.judge' has no attribute '{name}'")
    return getattr(import_module(f"workbench.judge.{_HOMES[name]}"), name)
