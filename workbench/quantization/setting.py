"""What is compared: engines, weights and output formats of the candidates, as far as the table and models.yaml tell.

    told = Told(models, limits, outcomes.attrs.get("engines") or {})
    against(rows, "smollm2-bf16", "smollm2-q4", told)["compares"]     # 'engine + quantization'

A difference between engines, or between answers that were held to a JSON schema and others, is no quantization's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from workbench import project
from workbench.catalog import Models
from workbench.errors import InputError
from workbench.evalset import EvalSet, Limits
from workbench.servers import capabilities_of, quantization, weights

Mode = Literal["same", "another", "unknown"]
_NO_ENGINES = {"openai": None, "rules": None}  # a server somewhere may be any engine
# What names say of weights: w8a8, w4, q4_0, iq3, int8, 4bit, nf4, fp8, mxfp4, and methods.
_ROUNDED = re.compile(
    r"(?:^|[^a-z0-9])((?:w\d+(?:a\d+)?|i?q\d(?:f\d+)?|int[2-8]|[2-8]-?bit|nf4|(?:mx|nv)?fp[468]|awq|gptq|bnb)(?:_[a-z0-9_]+)?)"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Told:
    """What there is beside the table, to tell how its answers were made.

    Attributes:
        models: models.yaml as it is today.
        limits: eval sets, or limits, by task.
        engines: what the run noted on its engines, by model; of those that it did not start there is none.
    """

    models: Models | None = None
    limits: Mapping[str, EvalSet | Limits] = field(default_factory=dict)
    engines: Mapping[str, Any] = field(default_factory=dict)

    def held(self, model: str) -> bool | None:
        """Whether a model's server was held to a JSON schema where there is one; None where nothing tells.

        What the run noted counts; else what the runner would send today.
        """
        noted = self.engines.get(model)
        if isinstance(noted, Mapping) and isinstance(noted.get("constrained"), bool):
            return bool(noted["constrained"])
        entry = self.models.known.get(model) if self.models is not None else None
        return None if entry is None else "json_schema" in capabilities_of(entry)

    def schemaless(self, tasks: Sequence[str]) -> bool:
        """Whether none of the tasks has a schema that anyone could be held to."""
        evalsets = [self.limits.get(task) for task in tasks]
        return all(isinstance(evalset, EvalSet) and evalset.output_schema is None for evalset in evalsets)


def candidates(rows: pd.DataFrame, reference: str, noise: str | None, named: str | Sequence[str] | None) -> list[str]:
    """The models that are compared, in alphabetical order, or as they were named.

    Raises:
        InputError: one is not in the table, or is the reference itself.
    """
    known = sorted(rows["model"].unique())
    chosen = project.listed(named)
    for name in (reference, *([noise] if noise else []), *(chosen or [])):
        if name not in known:
            raise InputError(f"there is no model '{name}' in the outcomes. There are: {', '.join(known) or 'none'}.")
    if noise == reference or (chosen and {reference, noise} & set(chosen)):
        raise InputError("the reference, its noise run and the candidates must be different models.")
    others = [name for name in known if name not in (reference, noise) and _first_words(rows, name)[0] != "rules"]
    return chosen or others


def about(rows: pd.DataFrame, model: str, models: Models | None) -> dict[str, Any]:
    """A model's engine and the name of its quantization."""
    entry = models.known.get(model) if models is not None else None
    label = quantization.told(entry, weights.folder_of(entry)) if entry and entry.quantization else None
    return {"quantization": label, "engine": " ".join(filter(None, _words(rows)[:2]))}


def against(rows: pd.DataFrame, reference: str, model: str, told: Told) -> dict[str, Any]:
    """What differs between a candidate and the reference beside the quantization."""
    return {
        "compares": _compares(_first_words(rows, reference), _first_words(rows, model)),
        "mode": _mode(reference, model, sorted(rows["task"].unique()), told),
    }


def _compares(reference: Sequence[str | None], candidate: Sequence[str | None]) -> str:
    engines = [_NO_ENGINES.get(str(words[0]), words[0]) for words in (reference, candidate)]
    if None in engines:
        return "quantization" if reference == candidate and reference[0] else "quantization, engines not known"
    if engines[0] != engines[1]:
        return "engine + quantization"
    return "quantization" if reference[1] == candidate[1] else "engine version + quantization"


def _first_words(rows: pd.DataFrame, model: str) -> list[str | None]:
    return _words(rows[rows["model"] == model])[:2]


def _words(rows: pd.DataFrame) -> list[str | None]:
    """Engine, version and weights out of `engine_id`; None where the rows do not tell, or tell several."""
    told = {str(name) for name in rows["engine_id"].dropna()} if "engine_id" in rows else set()
    found: list[str | None] = [*told.pop().split(" ")[:3]] if len(told) == 1 else []
    return [*found, *[None] * (3 - len(found))]


def _mode(reference: str, model: str, tasks: list[str], told: Told) -> Mode:
    """Whether both were held to a JSON schema, or neither."""
    if told.schemaless(tasks):
        return "same"  # there is nothing to be held to
    held = [told.held(name) for name in (reference, model)]
    if None in held:
        return "unknown"
    return "same" if held[0] == held[1] else "another"


def rounding_of(model: str, models: Models | None) -> str | None:
    """What a model's entry, or its name, says of a quantization of its weights; None where it says of none."""
    entry = models.known.get(model) if models is not None else None
    if entry is not None and entry.quantization:
        return None if entry.quantization.lower() in quantization.PLAIN else entry.quantization
    files = [] if entry is None else [entry.model] if isinstance(entry.model, str) else entry.model
    names = [model, *(file.rstrip("/").rsplit("/", 1)[-1] for file in files)]
    found = next(filter(None, map(_ROUNDED.search, names)), None)
    return found[1] if found else None


def notes(rows: pd.DataFrame, reference: str, noise: str | None, chosen: Sequence[str], told: Told) -> list[str]:
    """What has to be said of the reference and its noise run.

    Raises:
        InputError: the noise run has other weights than the reference.
    """
    found = []
    if (rounded := rounding_of(reference, told.models)) is not None:
        found.append(
            f"{reference} is itself quantized ({rounded}): against it 'free' says little. Take the same engine's "
            "unquantized form as reference"
        )
    unsure = [name for name in (reference, *chosen) if told.held(name) is None]
    if unsure and not told.schemaless(sorted(rows["task"].unique())):
        found.append(
            f"neither the run nor models.yaml tells who of {', '.join(unsure)} was held to a JSON schema. Give the "
            "models file that they were asked with (models=, --models-file)"
        )
    if noise is None:
        return found
    own, other = (_words(rows[rows["model"] == name]) for name in (reference, noise))
    if own[2] and other[2] and own != other:
        raise InputError(
            f"'{noise}' is no noise run of '{reference}': engine or weights differ ({' '.join(map(str, other))}, not "
            f"{' '.join(map(str, own))}). It must be the same model with another concurrency only."
        )
    if not (own[2] and other[2]):
        found.append(f"the table does not tell whether {noise} has the weights of {reference}")
    flights = (
        [rows.loc[rows["model"] == name, "concurrency"].max() for name in (reference, noise)]
        if ("concurrency" in rows)
        else []
    )
    if flights and pd.notna(flights[0]) and flights[0] == flights[1]:
        found.append(f"{noise} was asked with as many requests in flight as {reference}: its noise may be too low")
    return found
