"""An eval set as OpenAI evals: samples with one prompt each, and the registry's entry with the nearest class.

losses = write(evalset, Path("out/finance.jsonl"))       # and out/finance.yaml
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.errors import InputError
from workbench.evalset.spec import Generation
from workbench.files import write_atomic
from workbench.formats.shared.metadata import metadata_of
from workbench.formats.base import Loss, where
from workbench.formats.table import spec_losses, write_objects
from workbench.scorers import FieldScorer, Scorer
from workbench.scorers.contains import ContainsScorer
from workbench.scorers.exact import ExactScorer

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

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
    kind, args, losses = _class_of(evalset)
    if evalset.spec.generation.max_tokens != Generation().max_tokens:
        args["max_tokens"] = evalset.spec.generation.max_tokens
    name = evalset.name
    entries = {
        name: {"id": f"{name}.test.v0", "description": evalset.spec.description, "metrics": ["accuracy"]},
        f"{name}.test.v0": {"class": CLASSES[kind], "args": {"samples_jsonl": samples.name, **args}},
    }
    write_objects(samples, (_sample(evalset, item, kind) for item in evalset.items), "samples are JSONL")
    write_atomic(registry, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))
    return [*losses, *_unwritten(evalset)]


def strict(spec: Any) -> Any:
    """A field's type under JsonMatch, where two spellings of a date are not equal."""
    if isinstance(spec, dict):
        inner = {"of": strict(spec["of"])} if spec["type"] == "list" else {}
        fields = {name: strict(each) for name, each in spec.get("fields", {}).items()}
        return {**spec, **inner, **({"fields": fields} if fields else {})}
    return spec if spec in ("number", "boolean") else "text"


def _class_of(evalset: EvalSet) -> tuple[str, dict[str, Any], list[Loss]]:
    """The class that comes nearest to an eval set's scorers, its arguments, and what it scores otherwise."""
    place = where(evalset.path / "evalset.yaml")
    main = _main_scorer(evalset)
    losses = [
        Loss(place, f"scorer '{other.name or other.type}' is not written: an eval has one")
        for other in evalset.scorers
        if other is not main
    ]
    if evalset.output_schema is not None:
        if not _is_json_match(evalset):
            losses.append(Loss(place, f"scorer '{main.type}' becomes JsonMatch, where every value must be equal"))
        return "json_match", {}, losses
    if isinstance(main, ContainsScorer) and main.want == "any" and main.ignore in ([], ["case"]):
        return "includes", {"ignore_case": True} if main.ignore else {}, losses
    if isinstance(main, ExactScorer) and main.match == "begins" and not main.ignore:
        return "match", {}, losses
    if isinstance(main, ExactScorer) and main.match == "whole" and main.ignore:
        if set(main.ignore) != set(FUZZY):
            losses.append(Loss(place, "scorer 'exact' becomes FuzzyMatch, which ignores more"))
        return "fuzzy_match", {}, losses
    if isinstance(main, ContainsScorer):
        losses.append(
            Loss(place, f"scorer 'contains' (want: {main.want}) becomes Includes, where one phrase is enough")
        )
        return "includes", {}, losses
    losses.append(Loss(place, f"scorer '{main.type}' becomes Match: an answer must begin with what is expected"))
    return "match", {}, losses


def _main_scorer(evalset: EvalSet) -> Scorer:
    weighted = [scorer for scorer in evalset.scorers if scorer.weight]
    return next((scorer for scorer in weighted if isinstance(scorer, FieldScorer)), weighted[0])


def _is_json_match(evalset: EvalSet) -> bool:
    """Whether every field is compared as JsonMatch does."""
    spec = evalset.spec.scorers[0]
    return spec.get("type") == "json_fields" and spec["fields"] == {k: strict(v) for k, v in spec["fields"].items()}


def _sample(evalset: EvalSet, item: Item, kind: str) -> dict[str, Any]:
    from workbench.prompts import render

    messages = render(evalset, _variant(evalset), item).messages
    return {"input": messages, "ideal": _ideal(evalset, item, kind), OURS: metadata_of(item)}


def _variant(evalset: EvalSet) -> str:
    return "default" if "default" in evalset.spec.variants else next(iter(evalset.spec.variants))


def _ideal(evalset: EvalSet, item: Item, kind: str) -> Any:
    from workbench.prompts import reference_answer

    main = _main_scorer(evalset)
    if kind == "json_match" or not isinstance(main, FieldScorer) or main.expected_key not in item.expectations:
        return reference_answer(evalset, item)
    expected = item.expectations[main.expected_key]
    return [_text(value) for value in expected] if isinstance(expected, list) else _text(expected)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _unwritten(evalset: EvalSet) -> Iterator[Loss]:
    """What samples have no place for."""
    spec = evalset.spec
    limit = spec.generation == Generation(max_tokens=spec.generation.max_tokens)
    yield from spec_losses(evalset, held=("variants", "scorers", "output", *(["generation"] if limit else [])))
    place = where(evalset.path / "evalset.yaml")
    name = _variant(evalset)
    for other in spec.variants:
        if other != name:
            yield Loss(place, f"variant '{other}' is not written: a sample has one prompt, that of '{name}'")
    messages = spec.variants[name].messages
    whole = len(messages) == 1 and getattr(messages[0], "content", "{{ inputs.prompt }}") == "{{ inputs.prompt }}"
    if not whole:
        yield Loss(place, f"variant '{name}': its template is not written, only what it makes of each item's inputs")
    if spec.output.labels:
        yield Loss(place, "the output format (labels) is not written")
    items = where(evalset.path / "items.jsonl")
    main = _main_scorer(evalset)
    if evalset.output_schema is None and isinstance(main, FieldScorer):
        others = sum(len(item.expectations.keys() - {main.expected_key}) for item in evalset.items)
        if others:
            yield Loss(items, f"{others} expectations besides '{main.expected_key}' are not written")
    elif evalset.output_schema is not None:
        several = sum(isinstance(value, list) for item in evalset.items for value in item.expectations.values())
        if several:
            yield Loss(
                items, f"of {several} lists of accepted values only the first is written, where the field has no list"
            )
