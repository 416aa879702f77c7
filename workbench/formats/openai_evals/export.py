"""An eval set as OpenAI evals: samples with one prompt each, and the registry's entry with the nearest class.

losses = write(evalset, Path("out/finance.jsonl"))       # and out/finance.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from workbench.errors import InputError
from workbench.evalset import EvalSet
from workbench.evalset.spec import Generation
from workbench.files import write_atomic
from workbench.formats.base import Loss, where
from workbench.formats.shared.export import chosen_variant, main_scorer, spec_losses, target_of
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import metadata_of
from workbench.formats.table.write import write_objects
from workbench.prompts import reference_answer, render
from workbench.scorers import FieldScorer
from workbench.scorers.contains import ContainsScorer
from workbench.scorers.exact import ExactScorer

OURS = "workbench"  # the key of a sample with what only we know of it
FUZZY = ["case", "punctuation", "articles"]  # what FuzzyMatch ignores
CLASSES = {
    "match": "evals.elsuite.basic.match:Match",
    "includes": "evals.elsuite.basic.includes:Includes",
    "fuzzy_match": "evals.elsuite.basic.fuzzy_match:FuzzyMatch",
    "json_match": "evals.elsuite.basic.json_match:JsonMatch",
}


def write(evalset: EvalSet, target: Path) -> list[Loss]:
    """Write samples, and a registry file of the same name beside them.

    Raises:
        InputError: another suffix than .jsonl or .yaml.
    """
    if target.suffix.lower() not in (".jsonl", ".yaml", ".yml"):
        raise InputError(f"{where(target)}: samples are written as .jsonl, with a .yaml beside. Name such a file.")
    samples, registry = target.with_suffix(".jsonl"), target.with_suffix(".yaml")
    ledger, name, limit = Ledger(), evalset.name, evalset.spec.generation.max_tokens
    kind, args = _class_of(evalset, ledger)
    if limit != Generation().max_tokens:
        args["max_tokens"] = limit
    entries = {
        name: {"id": f"{name}.test.v0", "description": evalset.spec.description, "metrics": ["accuracy"]},
        f"{name}.test.v0": {"class": CLASSES[kind], "args": {"samples_jsonl": samples.name, **args}},
    }
    variant = chosen_variant(evalset, ledger)
    rows = (
        {
            "input": render(evalset, variant, item).messages,
            "ideal": reference_answer(evalset, item) if kind == "json_match" else _one_or_all(target_of(evalset, item)),
            OURS: metadata_of(item),
        }
        for item in evalset.items
    )
    write_objects(samples, rows, "samples are JSONL")
    write_atomic(registry, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))
    limited = ["generation"] if evalset.spec.generation == Generation(max_tokens=limit) else []
    _note_unwritten(evalset, variant, ledger)
    return [*ledger.losses(), *spec_losses(evalset, held=("variants", "scorers", "output", *limited))]


def _one_or_all(target: tuple[list[str], str | None]) -> str | list[str]:
    texts, _ = target
    return texts[0] if len(texts) == 1 else texts


def strict(spec: Any) -> Any:
    """A field's type under JsonMatch, where two spellings of a date are not equal."""
    if isinstance(spec, dict):
        inner = {"of": strict(spec["of"])} if spec["type"] == "list" else {}
        fields = {name: strict(each) for name, each in spec.get("fields", {}).items()}
        return {**spec, **inner, **({"fields": fields} if fields else {})}
    return spec if spec in ("number", "boolean") else "text"


def _class_of(evalset: EvalSet, ledger: Ledger) -> tuple[str, dict[str, Any]]:
    """The class that comes nearest to an eval set's scorers, and its arguments; what it scores otherwise is a loss."""
    place, main = where(evalset.path / "evalset.yaml"), main_scorer(evalset)
    for other in evalset.scorers:
        if other is not main:
            ledger.add(place, f"scorer '{other.name or other.type}' is not written: an eval has one")
    kind, args, differs = "match", {}, "an answer must begin with what is expected"
    if evalset.output_schema is not None:
        spec = evalset.spec.scorers[0]
        alike = spec.get("type") == "json_fields" and spec["fields"] == {
            k: strict(v) for k, v in spec["fields"].items()
        }
        kind, differs = "json_match", "" if alike else "every value must be equal"
    elif isinstance(main, ContainsScorer):
        kind, args = "includes", {"ignore_case": True} if main.ignore == ["case"] else {}
        differs = (
            "" if main.want == "any" and main.ignore in ([], ["case"]) else "one phrase is enough, as it is written"
        )
    elif isinstance(main, ExactScorer) and main.match == "whole" and main.ignore:
        kind, differs = "fuzzy_match", "" if set(main.ignore) == set(FUZZY) else "it ignores more"
    elif isinstance(main, ExactScorer) and main.match == "begins" and not main.ignore:
        differs = ""
    if differs:
        ledger.add(place, f"scorer '{main.type}' becomes {CLASSES[kind].rpartition(':')[2]}: {differs}")
    return kind, args


def _note_unwritten(evalset: EvalSet, variant: str, ledger: Ledger) -> None:
    """Write down what samples have no place for."""
    spec, main = evalset.spec, main_scorer(evalset)
    place, items = where(evalset.path / "evalset.yaml"), where(evalset.path / "items.jsonl")
    messages = spec.variants[variant].messages
    if len(messages) > 1 or getattr(messages[0], "content", "{{ inputs.prompt }}") != "{{ inputs.prompt }}":
        ledger.add(place, f"variant '{variant}': its template is not written, only what it makes of each item's inputs")
    if spec.output.labels:
        ledger.add(place, "the output format (labels) is not written")
    if evalset.output_schema is not None:
        several = sum(isinstance(value, list) for item in evalset.items for value in item.expectations.values())
        if several:
            what = f"of {several} lists of accepted values only the first is written, where the field has no list"
            ledger.add(items, what)
    elif isinstance(main, FieldScorer):
        others = sum(len(item.expectations.keys() - {main.expected_key}) for item in evalset.items)
        if others:
            ledger.add(items, f"{others} expectations besides '{main.expected_key}' are not written")
