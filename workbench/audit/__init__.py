"""How sound an eval set is: duplicates, labels, leaks, personal data, lengths, and what difference it can detect.

report = wb.audit(evalset)                                  # findings and figures; a notebook shows plots
wb.audit(evalset, run.outcomes).power.detectable            # with measured discordance
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from workbench.audit import duplicates, keys, leaks, sensitive, texts
from workbench.audit.blank import blank_items, empty_inputs, filled
from workbench.audit.fixes import apply_fixes
from workbench.audit.outcomes import hardness, likely_label_errors, not_told, told_of
from workbench.audit.power import far_too_few, power_of
from workbench.audit.report import Audit, Finding, Fix, Power
from workbench.audit.sensitive import Detector
from workbench.errors import InputError
from workbench.evalset import EvalSet
from workbench.prompts import render

if TYPE_CHECKING:
    import pandas as pd

    from workbench.catalog import Models
    from workbench.outcomes.table import HasOutcomes

__all__ = ["Audit", "Finding", "Fix", "Power", "apply_fixes", "audit"]

_Check = Callable[[EvalSet], Iterator[Finding]]
_OF_ALIKE: tuple[_Check, ...] = (duplicates.exact_duplicates, duplicates.contamination, duplicates.shown_to_all)
_ALWAYS: tuple[_Check, ...] = (
    keys.key_scores_itself,
    keys.balance,
    leaks.leaks,
    sensitive.twins_of_restricted,
)


def audit(
    evalset: EvalSet,
    outcomes: pd.DataFrame | HasOutcomes | None = None,
    models: Models | None = None,
    *,
    detector: Detector = "auto",
) -> Audit:
    """Look an eval set over.

    Args:
        evalset: a checked eval set.
        outcomes: an outcome table, or a run; brings the checks that need answers, and measures discordance and
            correlation.
        models: whose context length the prompts are held against, by their own tokenizers (local engines are started).
        detector: of personal data: `patterns`, `presidio` (the extra `pii`), or `auto`, both where it is installed.

    Raises:
        InputError: there is no such detector, or it is not installed; something else than an eval set, or outcomes.
    """
    _refuse_other(evalset)
    if outcomes is not None:
        from workbench.outcomes.table import table_of

        outcomes = table_of(outcomes)
    blank = blank_items(evalset)
    asking = filled(evalset, blank)  # items that ask nothing are no duplicates
    findings = [*empty_inputs(blank), *(finding for check in _OF_ALIKE for finding in check(asking))]
    findings += [finding for check in _ALWAYS for finding in check(evalset)]
    not_checked = []
    if len(evalset.items) + len(evalset.train) <= texts.COMPARED_AT_MOST:
        findings += texts.near_duplicates(asking)
    else:
        not_checked.append(f"near duplicates: for {texts.COMPARED_AT_MOST:,} items at most")
    found, restricted_kinds = sensitive.searched(evalset, detector)
    findings += found
    tokens: dict[str, list[int]] = {}
    if models is None:
        not_checked.append("prompts against a model's context length: name models (--models)")
    else:
        from workbench.audit.lengths import too_long

        long, tokens, missing = too_long(evalset, models)
        findings += long
        not_checked += missing
    told = told_of(evalset, outcomes)
    if told is None:
        why = "name an outcome table" if outcomes is None else "the outcome table has none of this task"
        not_checked.append(f"hardness of items, likely label errors: {why} (--outcomes)")
    else:
        findings += [*hardness(told), *likely_label_errors(evalset, told)]
        not_checked += not_told(evalset, told)
    power = power_of({item.id: item.cluster for item in evalset.items}, told.scores if told else None)
    findings += far_too_few(power)
    return Audit(
        name=evalset.name,
        findings=findings,
        power=power,
        labels=keys.label_counts(evalset),
        lengths=_lengths(evalset),
        tokens=tokens,
        not_checked=not_checked,
        restricted_kinds=restricted_kinds,
        sensitivities=dict(sorted(Counter(str(item.sensitivity) for item in evalset.items).items())),
    )


def _refuse_other(evalset: object) -> None:
    if not isinstance(evalset, EvalSet):
        what = type(evalset).__name__
        raise InputError(f"audit takes one eval set, such as wb.load_evalsets()['support_triage'], not a {what}.")


def _lengths(evalset: EvalSet) -> list[int]:
    """The characters of each item's longest prompt."""
    return [max(len(render(evalset, name, item).text) for name in evalset.spec.variants) for item in evalset.items]


class _Room(ModuleType):
    """This package, which has the name of its one function: `wb.audit` may be either."""

    __call__ = staticmethod(audit)


sys.modules[__name__].__class__ = _Room
