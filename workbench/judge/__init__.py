"""Judges: a model that scores answers by a rubric, and what its verdicts are worth.

calibration = calibrate(verdicts, labels, candidates)      # kappa, sensitivity, specificity, with intervals
corrected_rates(outcomes, "polite", calibration)           # a candidate's rate, corrected for the judge's errors

A verdict is never corrected, only a rate, and only where the judge errs alike on all candidates. No curated eval set's
decision rests on a judge.
"""

from workbench.judge.calibration import Calibration, calibrate, load_calibration
from workbench.judge.correction import corrected_rate, corrected_rates
from workbench.judge.pairs import PairVerdicts, judge_pairs
from workbench.judge.verdict import Verdict, judge_outputs

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
