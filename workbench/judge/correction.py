"""A candidate's rate under a judge, corrected for the judge's errors; never a single verdict.

corrected_rate(passed=140, n=200, calibration=calibration)       # Estimate(0.74, 0.65, 0.84)
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from workbench.errors import InputError
from workbench.intervals import CONFIDENCE, Estimate, mean_interval
from workbench.judge.calibration import Calibration
from workbench.scores import per_item_mean, prepare


def corrected_rate(passed: float, n: float, calibration: Calibration, confidence: float = CONFIDENCE) -> Estimate:
    """The share of answers that truly pass, from the share that a judge passes.

    The estimate is Rogan and Gladen's (1978, American Journal of Epidemiology 107); the interval that of Lang and
    Reiczigel (2014, Preventive Veterinary Medicine 113), which carries the uncertainty of both samples, the judged
    answers and the labeled ones; labels that come in clusters count as fewer.

    Args:
        passed: answers that the judge passed.
        n: answers that it judged (an effective number, where they come in clusters).
        calibration: its sensitivity and specificity.
        confidence: of the two-sided interval.

    Raises:
        InputError: the judge may be no better than a coin, or was not seen to err alike on all candidates.
    """
    if not 0 <= passed <= n or n <= 0:
        raise InputError(f"a rate needs answers: {passed:g} of {n:g} is none.")
    if calibration.alike != "yes":
        why = "errs differently on different candidates" if calibration.alike == "no" else "was not seen to err alike"
        raise InputError(
            f"judge {calibration.judge}: it {why}, so a rate cannot be corrected: the correction would favor some. "
            "Label more answers of each candidate, or mend the rubric."
        )
    se, sp = calibration.sensitivity, calibration.specificity
    if calibration.informative <= 0:
        raise InputError(
            f"judge {calibration.judge}: with sensitivity {se} and specificity {sp} it may be no better than a coin, "
            "so its verdicts cannot be corrected. Label more answers, or mend the rubric."
        )
    z = float(stats.norm.ppf((1 + confidence) / 2))
    estimate = _gladen(passed / n, se.value, sp.value)
    p = (passed + z**2 / 2) / (n + z**2)
    sensitivity, positives = (se.value * se.worth + 1) / (se.worth + 2), se.worth + 2
    specificity, negatives = (sp.value * sp.worth + 1) / (sp.worth + 2), sp.worth + 2
    informative = sensitivity + specificity - 1
    center = (p + specificity - 1) / informative
    of_sensitivity = sensitivity * (1 - sensitivity) / positives
    of_specificity = specificity * (1 - specificity) / negatives
    shift = 2 * z**2 * (center * of_sensitivity - (1 - center) * of_specificity)
    variance = p * (1 - p) / (n + z**2) + center**2 * of_sensitivity + (1 - center) ** 2 * of_specificity
    reach = z * math.sqrt(variance) / informative
    lo, hi = max(0.0, center + shift - reach), min(1.0, center + shift + reach)
    return Estimate(estimate, min(lo, estimate), max(hi, estimate), "Rogan-Gladen, Lang-Reiczigel", int(n))


def _gladen(p: float, sensitivity: float, specificity: float) -> float:
    return min(1.0, max(0.0, (p + specificity - 1) / (sensitivity + specificity - 1)))


def corrected_rates(outcomes: pd.DataFrame, figure: str, calibration: Calibration) -> pd.DataFrame:
    """Every candidate's rate under a judge, as judged and corrected.

    Args:
        outcomes: an outcome table with `metric.<figure>`, a judge's verdicts.
        figure: the judge's name in the eval set.
        calibration: of that judge.

    Returns:
        Columns `task`, `candidate`, `n`, `judged`, `judged_lo`, `judged_hi`, `rate`, `lo`, `hi`, `method`.

    Raises:
        InputError: there are no such verdicts, they cannot be corrected, or a candidate has no labels.
    """
    column = f"metric.{figure}"
    table = prepare(outcomes)
    if column not in table or not table[column].notna().any():
        raise InputError(f"the outcome table has no verdicts of a judge '{figure}': no column {column}.")
    table = table[table[column].notna()]
    unlabeled = sorted(set(table["candidate"]) - set(calibration.by_candidate))
    if calibration.alike == "yes" and unlabeled:
        raise InputError(
            f"judge {calibration.judge}: none of the labels is of {', '.join(unlabeled)}, so it was not seen to err "
            "alike there. Label answers of each candidate."
        )
    rows = []
    for (task, candidate), own in table.groupby(["task", "candidate"], sort=True):
        values, clusters = per_item_mean(own, column)
        judged = mean_interval(values, clusters)
        n = _effective(values, judged)
        rate = corrected_rate(judged.value * n, n, calibration)
        rows.append(
            {
                "task": task,
                "candidate": candidate,
                "n": len(values),
                "judged": judged.value,
                "judged_lo": judged.lo,
                "judged_hi": judged.hi,
                "rate": rate.value,
                "lo": rate.lo,
                "hi": rate.hi,
                "method": rate.method,
            }
        )
    return pd.DataFrame(rows)


def _effective(values: np.ndarray, judged: Estimate) -> float:
    """Independent answers that would give an interval as wide; all of them where they come in no clusters."""
    n = float(len(values))
    if judged.clusters is None:
        return n
    half = (judged.hi - judged.lo) / 2
    spread = judged.value * (1 - judged.value)
    return min(n, max(1.0, 1.96**2 * spread / half**2)) if half > 0 and spread > 0 else float(judged.clusters)
