"""An eval set as inspect_ai's samples, one a line.

losses = write(evalset, Path("samples.jsonl"))      # what a file of samples cannot hold
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet, Item, Variant
from workbench.formats.shared.choices import choice_texts, labels_for, lettered, shown
from workbench.formats.shared.unwritten import note_unwritten
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import hidden_slices, metadata_of, scalar_text
from workbench.formats.shared.files import write_lines
from workbench.formats.base import Loss, where
from workbench.prompts import reference_answer, render
from workbench.scorers import FieldScorer
from workbench.scorers.contains import ContainsScorer
from workbench.scorers.label import LabelScorer

# The prompts that a file of samples stands for: an import makes them, an export leaves them out.
PLAIN: dict[str, Any] = {"messages": [{"role": "user", "content": "{{ inputs.input }}"}]}
CHOICES: dict[str, Any] = {"messages": [{"role": "user", "content": "{{ inputs.input }}" + lettered("choices")}]}
TURNS: dict[str, Any] = {"messages": [{"turns": "input"}]}


def write(evalset: EvalSet, target: Path) -> list[Loss]:
    """Write samples.

    Raises:
        InputError: the file cannot be written there.
    """
    ledger = Ledger()
    note_unwritten(evalset, ledger)
    write_lines(target, _Writer(evalset, ledger).lines())
    return ledger.losses()


class _Writer:
    def __init__(self, evalset: EvalSet, ledger: Ledger) -> None:
        self._evalset, self._ledger = evalset, ledger
        self._spec, self._items = where(evalset.path / "evalset.yaml"), where(evalset.path / "items.jsonl")
        variants = evalset.spec.variants
        self._variant = "default" if "default" in variants else next(iter(variants))
        chosen = variants[self._variant]
        self._plain, self._listed, self._turns = (chosen == Variant.model_validate(v) for v in (PLAIN, CHOICES, TURNS))
        kind = str if self._plain or self._listed else list if self._turns else ()
        self._as_samples = all(isinstance(item.inputs.get("input"), kind) for item in evalset.items)
        self._chooses = self._as_samples and (self._listed or (self._turns and self._all_end_with_choices()))
        self._note_spec(list(variants))

    def _all_end_with_choices(self) -> bool:
        for item in self._evalset.items:
            choices = choice_texts(item.inputs.get("choices"))
            if choices is None or not item.inputs["input"][-1]["content"].endswith(shown(choices)):
                return False
        return True

    def _note_spec(self, variants: list[str]) -> None:
        spec = self._evalset.spec
        for name in variants:
            if name != self._variant:
                self._ledger.add(self._spec, f"variant '{name}': a sample has one input, that of '{self._variant}'")
        if not self._as_samples:
            what = f"variant '{self._variant}': its prompt is written filled in; the inputs are in the metadata"
            self._ledger.add(self._spec, what)
        longest = max(len(item.inputs.get("choices") or ()) for item in self._evalset.items) if self._chooses else 0
        if spec.output.labels is not None and spec.output.labels != labels_for(longest):
            self._ledger.add(self._spec, "output.labels: a sample has a target, not the list of them")
        if spec.output.json_schema is not None:
            self._ledger.add(self._spec, "output.json_schema: the target is the expected JSON as text")
        for scorer in self._evalset.scorers:
            implied = isinstance(scorer, LabelScorer) if self._chooses else isinstance(scorer, ContainsScorer)
            if not implied or (
                isinstance(scorer, ContainsScorer) and (scorer.want, scorer.ignore) != ("any", ["case"])
            ):
                self._ledger.add(self._spec, f"scorer '{scorer.name or scorer.type}': name one in the inspect task")
        if spec.accept.min_score != 1:
            self._ledger.add(self._spec, "accept.min_score")

    def lines(self) -> Iterator[str]:
        """The samples as JSON."""
        for item in self._evalset.items:
            for name in hidden_slices(item):
                self._ledger.tally(self._items, f"slice '{name}': metadata of this name is the item's own")
            yield json.dumps(self._sample(item), ensure_ascii=False)

    def _sample(self, item: Item) -> dict[str, Any]:
        metadata = metadata_of(item)
        metadata.pop("id")
        sample: dict[str, Any] = {"id": item.id, **self._asked(item, metadata)}
        target, key = self._target(item)
        sample["target"] = target
        rest = {name: value for name, value in item.expectations.items() if name != key}
        if rest:
            metadata["expectations"] = rest
        return {**sample, "metadata": metadata}

    def _asked(self, item: Item, metadata: dict[str, Any]) -> dict[str, Any]:
        """A sample's input and choices."""
        if not self._as_samples:
            metadata["inputs"] = item.inputs
            turns = render(self._evalset, self._variant, item).messages
            alone = len(turns) == 1 and turns[0]["role"] == "user"
            return {"input": turns[0]["content"] if alone else turns}
        given, choices = item.inputs["input"], item.inputs.get("choices")
        used = {"input", "choices"} if self._chooses else {"input"}
        rest = {name: value for name, value in item.inputs.items() if name not in used}
        if rest:
            metadata["inputs"] = rest
        if not self._chooses or not isinstance(choices, list):
            return {"input": given}
        if isinstance(given, list):  # the choices stand at the end of the last turn
            given = [dict(turn) for turn in given]
            given[-1]["content"] = given[-1]["content"].removesuffix(shown(choices))
        return {"input": given, "choices": choices}

    def _target(self, item: Item) -> tuple[Any, str | None]:
        """A sample's target, and the expectation that it says whole."""
        if self._evalset.output_schema is not None:
            return reference_answer(self._evalset, item), None
        for scorer in self._evalset.scorers:
            if isinstance(scorer, FieldScorer) and scorer.weight and scorer.applies(item.expectations):
                key = scorer.expected_key
                texts = [scalar_text(value) for value in scorer.accepted(item.expectations)]
                if texts and all(text is not None for text in texts):
                    whole = key if key == ("label" if self._chooses else "answer") else None
                    return texts[0] if len(texts) == 1 else texts, whole
        self._ledger.tally(f"{self._items} {item.id}", "no expectation that is a text: the target is its whole JSON")
        return json.dumps(item.expectations, ensure_ascii=False), None
