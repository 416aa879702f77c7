"""How sound an eval set is: duplicates, labels, leaks, personal data, lengths, and what difference it can detect.

report = audit(evalset)                                # findings and figures; a notebook shows plots
audit(evalset, outcomes=run.outcomes).power.detectable      # with measured discordance
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from workbench.audit import keys, sensitive, texts
from workbench.audit import outcomes as told
from workbench.audit.power import power_of
from workbench.audit.report import Audit, Finding, Fix, Power
from workbench.audit.sensitive import Detector
from workbench.evalset import EvalSet
from workbench.prompts import render

if TYPE_CHECKING:
    import pandas as pd

    from workbench.catalog import Models

__all__ = ["Audit", "Finding", "Fix", "Power", "apply_fixes", "audit"]

_ALWAYS: tuple[Callable[[EvalSet], Iterator[Finding]], ...] = (
    texts.exact_duplicates,
    texts.contamination,
    keys.key_scores_itself,
    keys.balance,
    keys.leaks,
)


def audit(
    evalset: EvalSet,
    outcomes: pd.DataFrame | None = None,
    models: Models | None = None,
    *,
    detector: Detector = "auto",
) -> Audit:
    """Look an eval set over.

    Args:
        evalset: a checked eval set.
        outcomes: an outcome table; brings the checks that need answers, and measures discordance and correlation.
        models: whose context length the prompts are held against, by their own tokenizers (local engines are started).
        detector: of personal data: `patterns`, `presidio` (the extra `pii`), or `auto`, both where it is installed.

    Raises:
        InputError: the detector is not installed.
    """
    findings = [finding for check in _ALWAYS for finding in check(evalset)]
    not_checked = []
    if len(evalset.items) + len(evalset.train) <= texts.COMPARED_AT_MOST:
        findings += texts.near_duplicates(evalset)
    else:
        not_checked.append(f"near duplicates: for {texts.COMPARED_AT_MOST:,} items at most")
    findings += sensitive.unmarked(evalset, detector)
    tokens: dict[str, list[int]] = {}
    if models is None:
        not_checked.append("prompts against a model's context length: name models (--models)")
    else:
        from workbench.audit.lengths import too_long

        found, tokens, missing = too_long(evalset, models)
        findings += found
        not_checked += missing
    known = told.scores_for(evalset.name, outcomes)
    if known is None:
        why = "name an outcome table" if outcomes is None else "the outcome table has none of this task"
        not_checked.append(f"hardness of items, likely label errors: {why} (--outcomes)")
    else:
        findings += [*told.hardness(known[1]), *told.likely_label_errors(*known)]
    return Audit(
        name=evalset.name,
        findings=findings,
        power=power_of([item.cluster for item in evalset.items], known[1] if known else None),
        labels=keys.label_counts(evalset),
        lengths=_lengths(evalset),
        tokens=tokens,
        not_checked=not_checked,
        sensitivities=dict(sorted(Counter(str(item.sensitivity) for item in evalset.items).items())),
    )


def _lengths(evalset: EvalSet) -> list[int]:
    """The characters of each item's longest prompt."""
    return [max(len(render(evalset, name, item).text) for name in evalset.spec.variants) for item in evalset.items]


def apply_fixes(evalset: EvalSet, report: Audit) -> list[str]:
    """Mend what can be mended without judgment, in the eval set's files.

    Returns:
        What was done, in lines.
    """
    from workbench.evalset import save_items

    drop = {name for finding in report.findings if finding.fix for name in finding.fix.drop}
    restrict = {name for finding in report.findings if finding.fix for name in finding.fix.restrict} - drop
    done = []
    for name, items in (("items.jsonl", evalset.items), ("train.jsonl", evalset.train)):
        dropped = [item.id for item in items if item.id in drop]
        marked = [item.id for item in items if item.id in restrict]
        if not dropped and not marked:
            continue
        save_items(
            (
                item.model_copy(update={"sensitivity": "restricted"}) if item.id in restrict else item
                for item in items
                if item.id not in drop
            ),
            evalset.path / name,
        )
        done += [f"{name}: dropped {len(dropped)}: {', '.join(dropped[:20])}"] if dropped else []
        done += [f"{name}: marked restricted {len(marked)}: {', '.join(marked[:20])}"] if marked else []
    return done
