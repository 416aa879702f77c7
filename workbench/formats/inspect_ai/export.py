"""An eval set as inspect_ai's samples, one a line.

losses = write(evalset, Path("samples.jsonl"))      # what a file of samples cannot hold
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet, Item, Variant
from workbench.files import write_lines
from workbench.formats.base import Loss, where
from workbench.formats.shared.choices import choice_texts, labels_for, lettered, shown
from workbench.formats.shared.export import chosen_variant, note_unwritten, target_of
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import hidden_slices, metadata_of
from workbench.prompts import render
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
    writer = _Writer(evalset)
    write_lines(target, map(writer.line, evalset.items))
    return writer.ledger.losses()


class _Writer:
    def __init__(self, evalset: EvalSet) -> None:
        self.ledger = Ledger()
        self._evalset = evalset
        self._spec, self._items = where(evalset.path / "evalset.yaml"), where(evalset.path / "items.jsonl")
        note_unwritten(evalset, self.ledger)
        self._variant = chosen_variant(evalset, self.ledger)
        chosen = evalset.spec.variants[self._variant]
        plain, listed, turns = (chosen == Variant.model_validate(each) for each in (PLAIN, CHOICES, TURNS))
        kind = str if plain or listed else list if turns else ()
        self._as_samples = all(isinstance(item.inputs.get("input"), kind) for item in evalset.items)
        self._chooses = self._as_samples and (listed or (turns and all(map(_ends_with_choices, evalset.items))))
        self._note_spec()

    def _note_spec(self) -> None:
        spec, note = self._evalset.spec, self.ledger.add
        if not self._as_samples:
            what = f"variant '{self._variant}': its prompt is written filled in; the inputs are in the metadata"
            note(self._spec, what)
        longest = max(len(item.inputs.get("choices") or ()) for item in self._evalset.items) if self._chooses else 0
        if spec.output.labels is not None and spec.output.labels != labels_for(longest):
            note(self._spec, "output.labels: a sample has a target, not the list of them")
        if spec.output.json_schema is not None:
            note(self._spec, "output.json_schema: the target is the expected JSON as text")
        for scorer in self._evalset.scorers:
            contains = isinstance(scorer, ContainsScorer) and (scorer.want, scorer.ignore) == ("any", ["case"])
            if not (isinstance(scorer, LabelScorer) if self._chooses else contains):
                note(self._spec, f"scorer '{scorer.name or scorer.type}': name one in the inspect task")
        if spec.accept.min_score != 1:
            note(self._spec, "accept.min_score")

    def line(self, item: Item) -> str:
        """A sample as JSON."""
        for name in hidden_slices(item):
            self.ledger.tally(self._items, f"slice '{name}': metadata of this name is the item's own")
        metadata = metadata_of(item)
        metadata.pop("id")
        asked = self._asked(item, metadata)
        texts, key = target_of(self._evalset, item)
        if key is None and self._evalset.output_schema is None:
            self.ledger.tally(f"{self._items} {item.id}", "no expectation that is a text: the target is its whole JSON")
        whole = key if key == ("label" if self._chooses else "answer") else None
        rest = {name: value for name, value in item.expectations.items() if name != whole}
        metadata |= {"expectations": rest} if rest else {}
        target = texts[0] if len(texts) == 1 else texts
        return json.dumps({"id": item.id, **asked, "target": target, "metadata": metadata}, ensure_ascii=False)

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
        metadata |= {"inputs": rest} if rest else {}
        if not self._chooses or not isinstance(choices, list):
            return {"input": given}
        if isinstance(given, list):  # the choices stand at the end of the last turn
            last = {**given[-1], "content": given[-1]["content"].removesuffix(shown(choices))}
            given = [*given[:-1], last]
        return {"input": given, "choices": choices}


def _ends_with_choices(item: Item) -> bool:
    choices = choice_texts(item.inputs.get("choices"))
    return choices is not None and item.inputs["input"][-1]["content"].endswith(shown(choices))
