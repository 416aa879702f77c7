"""What every export has to say and to choose: what a tool's file has no room for, which prompt, which target.

note_unwritten(evalset, ledger, kept={"generation"})
texts, key = target_of(evalset, item)            # ['Paris'], 'answer'
"""

from __future__ import annotations

import json
from collections.abc import Collection

from workbench.evalset import EvalSet, Item, Limits
from workbench.evalset.spec import Generation
from workbench.formats.base import Loss, where
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import scalar_text
from workbench.prompts import reference_answer
from workbench.scorers import FieldScorer, Scorer


def note_unwritten(evalset: EvalSet, ledger: Ledger, kept: Collection[str] = ()) -> None:
    """Write down what of an eval set is not in the file, apart from what is `kept`."""
    spec = evalset.spec
    train = f"{len(evalset.train)} items for few-shot examples"
    sample = f"a sample: {len(evalset.items)} of {evalset.total} items"
    for name, there, file, what in (
        ("generation", spec.generation != Generation(), "evalset.yaml", "generation: set it with the model there"),
        ("limits", spec.limits != Limits(), "evalset.yaml", "limits"),
        ("license", spec.license, "evalset.yaml", "license"),
        ("rules", spec.rules, "evalset.yaml", "rules"),
        ("format_retries", spec.output.format_retries, "evalset.yaml", "output.format_retries"),
        ("train", evalset.train, "train.jsonl", train),
        ("sample", len(evalset.items) < evalset.total, "items.jsonl", sample),
    ):
        if there and name not in kept:
            ledger.add(where(evalset.path / file), what)


def spec_losses(evalset: EvalSet, held: Collection[str] = ("train",)) -> list[Loss]:
    """What of an eval set a file of items has no place for, apart from what is `held`."""
    spec, ledger = evalset.spec, Ledger()
    kind = "labels" if spec.output.labels else "a JSON schema" if spec.output.json_schema else "text"
    for name, what in (
        ("variants", f"the prompts ({', '.join(spec.variants)})"),
        ("output", f"the output format ({kind})"),
        ("scorers", f"the scorers ({', '.join(scorer.type for scorer in evalset.scorers)})"),
        ("accept", f"the score from which an answer is accepted ({spec.accept.min_score:g})"),
    ):
        if name not in held:
            ledger.add(where(evalset.path / "evalset.yaml"), f"{what}: there is no place for that")
    note_unwritten(evalset, ledger, held)
    return ledger.losses()


def chosen_variant(evalset: EvalSet, ledger: Ledger) -> str:
    """The one prompt that a file can hold; the others are losses."""
    variants = evalset.spec.variants
    chosen = "default" if "default" in variants else next(iter(variants))
    for name in variants:
        if name != chosen:
            place = where(evalset.path / "evalset.yaml")
            ledger.add(place, f"variant '{name}' is not written: there is one prompt, that of '{chosen}'")
    return chosen


def main_scorer(evalset: EvalSet) -> Scorer:
    """The scorer that counts: the first with a weight that reads an expectation, else the first with one."""
    weighted = [scorer for scorer in evalset.scorers if scorer.weight]
    return next((scorer for scorer in weighted if isinstance(scorer, FieldScorer)), weighted[0])


def target_of(evalset: EvalSet, item: Item) -> tuple[list[str], str | None]:
    """What an answer is held against, as texts, and the expectation that they are; None for the whole JSON."""
    if evalset.output_schema is not None:
        return [reference_answer(evalset, item)], None
    for scorer in evalset.scorers:
        if isinstance(scorer, FieldScorer) and scorer.weight and scorer.applies(item.expectations):
            texts = [text for value in scorer.accepted(item.expectations) if (text := scalar_text(value)) is not None]
            if texts and len(texts) == len(scorer.accepted(item.expectations)):
                return texts, scorer.expected_key
    return [json.dumps(item.expectations, ensure_ascii=False)], None
