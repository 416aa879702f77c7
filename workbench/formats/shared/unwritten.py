"""What every export has to say: which parts of an eval set another tool's file has no room for.

ledger = Ledger()
note_unwritten(evalset, ledger, kept={"generation"})
"""

from __future__ import annotations

from collections.abc import Collection

from workbench.evalset import EvalSet, Limits
from workbench.evalset.spec import Generation
from workbench.formats.shared.ledger import Ledger
from workbench.formats.base import where


def note_unwritten(evalset: EvalSet, ledger: Ledger, kept: Collection[str] = ()) -> None:
    """Write down what of evalset.yaml is not in the file, apart from what is `kept`."""
    spec = evalset.spec
    place = where(evalset.path / "evalset.yaml")
    if spec.generation != Generation() and "generation" not in kept:
        ledger.add(place, "generation: set it with the model there")
    if spec.limits != Limits():
        ledger.add(place, "limits")
    if spec.license and "license" not in kept:
        ledger.add(place, "license")
    if spec.rules:
        ledger.add(place, "rules")
    if spec.output.format_retries:
        ledger.add(place, "output.format_retries")
    if evalset.train and "train" not in kept:
        ledger.add(where(evalset.path / "train.jsonl"), f"{len(evalset.train)} items for few-shot examples")
    if len(evalset.items) < evalset.total:
        ledger.add(where(evalset.path / "items.jsonl"), f"a sample: {len(evalset.items)} of {evalset.total} items")
