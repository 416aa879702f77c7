"""inspect_ai's samples: CSV, JSON and JSONL with the fields input, target, choices, id and metadata.

done = import_evalset("samples.jsonl", "evalsets/trivia")     # with choices: multiple choice, with letters as labels
export_evalset(evalset, "inspect_ai", "samples.jsonl")

A metadata field that is a short text, a number or true/false is a slice; `id`, `cluster` and `sensitivity` are the
item's own; `inputs` and `expectations`, as an export of ours writes them, are kept with the item's; the rest is lost.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.formats.base import FORMATS, LINE_LIMIT, Format, Found, Loss, Options, Sink, cell_value
from workbench.formats.inspect_ai import export
from workbench.formats.inspect_ai.export import CHOICES, PLAIN, TURNS
from workbench.formats.shared.choices import choice_texts, labels_for, letter_of, shown
from workbench.formats.shared.files import head, refuse_mapping
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, scalar_text
from workbench.formats.shared.rows import Rows, first_row, open_rows
from workbench.formats.shared.turns import read_turns

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_FIELDS = {"input", "target", "choices", "id", "metadata"}
_SANDBOX = {"sandbox", "files", "setup"}
_EXPECTED = {"label": "label", "multi_label": "labels", "citation": "citation"}  # a scorer's key; others take `answer`


@dataclass
class _Sample:
    place: str
    id: Any
    given: str | list[dict[str, str]]
    targets: list[str]
    choices: list[str] | None
    metadata: dict[str, Any]


@dataclass
class _Plan:
    """What all samples together decide."""

    samples: int = 0
    with_choices: int = 0
    longest: int = 0
    chats: int = 0
    metadata: int = 0
    guesses: Counter[str] = field(default_factory=Counter)

    @property
    def chooses(self) -> bool:
        return 2 * self.with_choices > self.samples

    def observe(self, sample: _Sample) -> None:
        self.samples += 1
        self.with_choices += sample.choices is not None
        self.longest = max(self.longest, len(sample.choices or ()))
        self.chats += isinstance(sample.given, list)
        self.metadata += bool(sample.metadata)


class InspectAi(Format):
    """inspect_ai's dataset files."""

    name = "inspect_ai"
    about = "inspect_ai samples (CSV, JSON, JSONL with input and target)"
    suffix = ".jsonl"

    def sniff(self, source: Path) -> float:
        if source.is_dir() or source.suffix.lower() in (".yaml", ".yml"):
            return 0.0
        row = first_row(source) or _long_row(source)
        if row is None or not {"input", "target"} <= set(row):
            return 0.0
        return 0.8 if set(row) <= _FIELDS | _SANDBOX else 0.6

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        refuse_mapping(source, options, self.name)
        rows, ledger, plan = open_rows(source), Ledger(), _Plan()
        for sample in _samples(rows, Ledger(), plan.guesses):
            plan.observe(sample)
        for sample in _samples(rows, ledger, Counter()):
            if (sample.choices is not None) != plan.chooses:
                have = "has choices, most have none" if sample.choices else "has no choices, most have some"
                ledger.tally(sample.place, f"a sample is left out: it {have}, and an eval set asks in one way")
            else:
                sink(_item(sample, plan, options, ledger))
        return Found(
            _spec(plan, options), None, [*rows.losses, *ledger.losses()], [*rows.notes, *_notes(plan, options)]
        )

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        return export.write(evalset, target)


FORMATS.add("inspect_ai", InspectAi())


def _long_row(source: Path) -> dict[str, Any] | None:
    """The first line of a JSONL file, where it is longer than what is looked at otherwise."""
    if not re.match(r"\s*\{\s*\"(input|id|target)\"\s*:", head(source)):
        return None
    with source.open(encoding="utf-8-sig", errors="ignore") as file:
        try:
            found = json.loads(file.readline(LINE_LIMIT))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _samples(rows: Rows, ledger: Ledger, guesses: Counter[str]) -> Iterator[_Sample]:
    for line, row in rows:
        place = rows.place(line)
        for key, value in row.items():
            if key in _SANDBOX and value not in (None, ""):
                ledger.tally(place, f"'{key}': nothing is run here")
            elif key not in _FIELDS | _SANDBOX:
                ledger.tally(place, f"column '{key[:60]}' is no field of a sample")
        for key, what in rows.odd.items():
            ledger.tally(place, f"'{key[:60]}' holds {what}")
        try:
            yield _sample(row, place, rows.text_only, ledger, guesses)
        except Unusable as failure:
            ledger.tally(place, f"a sample is left out: {failure}")


def _sample(row: dict[str, Any], place: str, cells: bool, ledger: Ledger, guesses: Counter[str]) -> _Sample:
    given = row.get("input")
    if cells and isinstance(given, str):
        value = cell_value(given)
        given = value if isinstance(value, list) and value and isinstance(value[0], dict) else given
    if not isinstance(given, str):
        given, changes = read_turns(given)
        for change in changes:
            ledger.tally(place, change)
    elif not given.strip():
        raise Unusable("its input is empty")
    choices = _choices(row.get("choices"), cells)
    targets = _targets(row.get("target"), cells)
    metadata = row.get("metadata")
    metadata = cell_value(metadata) if isinstance(metadata, str) else metadata
    if metadata not in (None, "") and not isinstance(metadata, dict):
        ledger.tally(place, "metadata that is no object")
    texts = _letters(targets, choices, guesses) if choices is not None else list(map(str, targets))
    return _Sample(place, row.get("id"), given, texts, choices, metadata if isinstance(metadata, dict) else {})


def _choices(value: Any, cells: bool) -> list[str] | None:
    if value in (None, "", []):
        return None
    if cells and isinstance(value, str):
        listed = cell_value(value)
        # As inspect reads a cell: commas part the choices, or else spaces.
        parts = value.split(",") if "," in value else value.split()
        value = listed if isinstance(listed, list) else [part.strip() for part in parts]
    texts = choice_texts(value)
    if texts is None:
        raise Unusable("its choices are no list of at most 26 texts")
    return texts


def _targets(value: Any, cells: bool) -> list[Any]:
    listed = cell_value(value) if cells and isinstance(value, str) else value
    value = listed if isinstance(listed, list) else value
    found = [each for each in (value if isinstance(value, list) else [value]) if each not in (None, "")]
    if not found:
        raise Unusable("it has no target, so nothing could score it")
    if any(scalar_text(each) is None for each in found):
        raise Unusable("its target is no text")
    return [each if isinstance(each, int) and not isinstance(each, bool) else str(scalar_text(each)) for each in found]


def _letters(targets: list[Any], choices: list[str], guesses: Counter[str]) -> list[str]:
    found: list[str] = []
    for target in targets:
        parts = [target]
        if isinstance(target, str) and letter_of(target, choices) is None:
            parts = target.replace(",", " ").split() or [target]
            parts = list(target) if len(parts) == 1 and target.isalpha() and target.isupper() else parts
        letters = [letter for part in parts if (letter := letter_of(part, choices)) is not None]
        if len(letters) < len(parts):
            raise Unusable("its target is no letter of its choices")
        if [str(part) for part in parts] != letters:
            guesses["targets that are positions (from 0) or the choices themselves became letters"] += 1
        found += letters
    if len(set(found)) > 1:
        guesses["samples with several right letters: any one of them is accepted (inspect wants all of them)"] += 1
    return list(dict.fromkeys(found))


def _item(sample: _Sample, plan: _Plan, options: Options, ledger: Ledger) -> dict[str, Any]:
    metadata = dict(sample.metadata)
    more = {key: metadata.pop(key) for key in ("inputs", "expectations") if isinstance(metadata.get(key), dict)}
    fields, lost = item_fields(metadata)
    for key, what in lost.items():
        ledger.tally(sample.place, f"metadata '{key[:60]}' is {what}")
    if sample.id not in (None, ""):
        if "id" in fields:
            ledger.tally(sample.place, "metadata 'id': the sample has an id of its own")
        fields["id"] = str(sample.id)
    given: Any = sample.given
    if plan.chats:
        given = given if isinstance(given, list) else [{"role": "user", "content": given}]
        if sample.choices is not None:
            given[-1]["content"] += shown(sample.choices)
    choices = {} if sample.choices is None else {"choices": sample.choices}
    key = "label" if plan.chooses else _EXPECTED.get(options.scorer or "", "answer")
    expected = {key: sample.targets[0] if len(sample.targets) == 1 else sample.targets}
    return {
        **fields,
        "inputs": {**more.get("inputs", {}), "input": given, **choices},
        "expectations": {**more.get("expectations", {}), **expected},
    }


def _spec(plan: _Plan, options: Options) -> dict[str, Any]:
    variant = TURNS if plan.chats else CHOICES if plan.chooses else PLAIN
    output = {"labels": labels_for(plan.longest)} if plan.chooses else {"text": True}
    scorer = {"type": "label"} if plan.chooses else {"type": "contains", "want": "any"}
    if options.scorer and options.scorer != scorer["type"]:
        scorer = {"type": options.scorer}
    bar = 0.5 if scorer["type"] == "rouge" else 1.0
    return {"variants": {"default": variant}, "output": output, "scorers": [scorer], "accept": {"min_score": bar}}


def _notes(plan: _Plan, options: Options) -> list[str]:
    how = "a file of samples names no scorer: an answer that contains the target is right, as in inspect's includes()"
    if plan.chooses:
        how = "multiple choice: the choices are listed with letters, and the answer is a letter"
    notes = [] if options.scorer else [how]
    if plan.chats:
        notes.append(f"{plan.chats} inputs are chats, so each item brings its turns: inputs.input")
    if plan.metadata:
        notes.append("metadata: short texts, numbers, true/false are slices; id, cluster, sensitivity the item's own")
    return [*notes, *(f"{what} ({count})" for what, count in plan.guesses.items())]
