"""What every export has to say and to choose: what a tool's file has no room for, which prompt, which target.

note_unwritten(evalset, ledger, keeps={"train"})
texts, key = target_of(evalset, item, ledger)            # ['Paris'], 'answer'
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet, Item, Limits
from workbench.evalset.spec import Generation
from workbench.files import write_lines
from workbench.formats.base import where
from workbench.formats.shared.cells import cell_value
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import metadata_of, one_or_all, scalar_text
from workbench.privacy import class_of
from workbench.prompts import reference_answer
from workbench.scorers import FieldScorer, Scorer
from workbench.words import counted

JSON_TEXT = "a text that is JSON may be read back as a list or an object"


def note_unwritten(evalset: EvalSet, ledger: Ledger, keeps: Collection[str]) -> None:
    """Write down the parts of an eval set that are not in the file, apart from what it keeps."""
    spec = evalset.spec
    kind = "labels" if spec.output.labels else "a JSON schema" if spec.output.json_schema else "text"
    scorers = ", ".join(scorer.type for scorer in evalset.scorers)
    bar = f"the score from which an answer is accepted ({spec.accept.min_score:g})"
    train = f"{counted(len(evalset.train), 'item')} for few-shot examples"
    sample = f"a sample: {len(evalset.items)} of {counted(evalset.total, 'item')}"
    for name, there, file, what in (
        ("variants", True, "evalset.yaml", f"the prompts ({', '.join(spec.variants)}): there is no place for that"),
        ("output", True, "evalset.yaml", f"the output format ({kind}): there is no place for that"),
        ("scorers", True, "evalset.yaml", f"the scorers ({scorers}): there is no place for that"),
        ("accept", True, "evalset.yaml", f"{bar}: there is no place for that"),
        ("generation", spec.generation != Generation(), "evalset.yaml", "generation: set it with the model there"),
        ("limits", spec.limits != Limits(), "evalset.yaml", "limits"),
        ("license", spec.license, "evalset.yaml", "license"),
        ("rules", spec.rules, "evalset.yaml", "rules"),
        ("format_retries", spec.output.format_retries, "evalset.yaml", "output.format_retries"),
        ("train", evalset.train, "train.jsonl", train),
        ("sample", len(evalset.items) < evalset.total, "items.jsonl", sample),
    ):
        if there and name not in keeps:
            ledger.add(where(evalset.path / file), what)


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


def target_of(evalset: EvalSet, item: Item, ledger: Ledger) -> tuple[list[str], str | None]:
    """What an answer is held against, as texts, and the expectation that they are; None for the whole JSON."""
    if evalset.output_schema is not None:
        return [reference_answer(evalset, item)], None
    for scorer in evalset.scorers:
        if isinstance(scorer, FieldScorer) and scorer.weight and scorer.applies(item.expectations):
            texts = [scalar_text(value) for value in scorer.accepted(item.expectations)]
            if texts and None not in texts:
                return [str(text) for text in texts], scorer.expected_key
    place = f"{where(evalset.path / 'items.jsonl')} {item.id}"
    ledger.tally(place, "no expectation that is a text: the target is its whole JSON")
    return [json.dumps(item.expectations, ensure_ascii=False)], None


def sample_of(
    evalset: EvalSet, item: Item, ledger: Ledger, said: str, inputs: Collection[str] | None = None
) -> tuple[Any, dict[str, Any]]:
    """An item's target, a text or several, and as metadata what else it holds.

    Args:
        said: the expectation that a reader makes of the target, so that it is not metadata too.
        inputs: the names of those that are written elsewhere; None where all are.
    """
    texts, key = target_of(evalset, item, ledger)
    known, place = [said] if key == said else [], where(evalset.path / "items.jsonl")
    return one_or_all(texts), metadata_of(item, place, ledger, inputs=inputs, expectations=known)


def item_rows(evalset: EvalSet) -> Iterator[dict[str, Any]]:
    """The items in the form of items.jsonl; with their split where there are examples too."""
    for split, items in (("test", evalset.items), ("train", evalset.train)):
        for item in items:
            yield {**item_row(item), **({"split": split} if evalset.train else {})}


def item_row(item: Item) -> dict[str, Any]:
    """An item as a line of items.jsonl."""
    own = item.model_dump(exclude_none=True, exclude_defaults=True)
    return own | {"inputs": item.inputs, "expectations": item.expectations}


def note_json_texts(evalset: EvalSet, ledger: Ledger) -> None:
    """Write down the expected texts that an import takes for lists or objects; of an input it takes none so."""
    place = where(evalset.path / "items.jsonl")
    for item in chain(evalset.items, evalset.train):
        for name, value in item.expectations.items():
            if cell_value(value) is not value:
                ledger.tally(f"{place} {item.id} expectations.{name[:60]}", JSON_TEXT)


def items_of(evalset: EvalSet, scorer: Scorer) -> str:
    """How many items a scorer scores, for a loss."""
    return counted(sum(scorer.applies(item.expectations) for item in evalset.items), "item")


def file_mode(evalset: EvalSet) -> int:
    """Of a file with items: its owner's alone where any is restricted, also an example that a prompt may show."""
    restricted = evalset.by_sensitivity["restricted"] or any(map(is_restricted, evalset.train))
    return 0o600 if restricted else 0o644


def is_restricted(item: Item) -> bool:
    """Whether an item never reaches a hosted model."""
    return class_of(item.sensitivity) == "restricted"


def write_objects(evalset: EvalSet, target: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write what was made of an eval set's items as it comes: a JSON list if the file is called .json, else JSONL."""
    lines: Iterator[str] = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    write_lines(target, _json_list(lines) if target.suffix.lower() == ".json" else lines, file_mode(evalset))


def _json_list(lines: Iterator[str]) -> Iterator[str]:
    held = "["
    for number, line in enumerate(lines):
        yield held + ("," if number else "")
        held = line
    yield held
    yield "]"
