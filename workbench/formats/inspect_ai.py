"""inspect_ai's samples: CSV, JSON and JSONL with the fields input, target, choices, id and metadata.

done = import_evalset("samples.jsonl", "evalsets/trivia")     # with choices: multiple choice, with letters as labels
export_evalset(evalset, "inspect_ai", "samples.jsonl")

A metadata field that is a short text, a number or true/false is a slice; `id`, `cluster` and `sensitivity` are the
item's own; `inputs` and `expectations`, as an export of ours writes them, are kept with the item's; the rest is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.evalset import Variant
from workbench.files import write_lines
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import cell_value, written_list
from workbench.formats.shared.choices import LETTERS, choice_texts, lettered, position_of, without_choices
from workbench.formats.shared.export import chosen_variant, file_mode, items_of, sample_of
from workbench.formats.shared.kinds import CHECKS, nearest
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, one_or_all, scalar_text
from workbench.formats.shared.prompts import read_turns
from workbench.formats.shared.rows import Rows, first_row, open_rows
from workbench.formats.shared.scored import note_scored, scored
from workbench.prompts import render

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_FIELDS = {"input", "target", "choices", "id", "metadata"}
_SANDBOX = {"sandbox", "files", "setup"}
_EXPECTED = {"label": "label", "multi_label": "labels", "citation": "citation"}  # a scorer's key; others take `answer`
_INCLUDES = CHECKS["icontains_any"]
# The prompts that a file of samples stands for: an import makes them, an export leaves them out.
_PLAIN: dict[str, Any] = {"messages": [{"role": "user", "content": "{{ inputs.input }}"}]}
_CHOICES: dict[str, Any] = {"messages": [{"role": "user", "content": "{{ inputs.input }}" + lettered("choices")}]}
_TURNS: dict[str, Any] = {"messages": [{"turns": "input"}]}


class InspectAi(Format):
    """inspect_ai's dataset files."""

    name = "inspect_ai"
    about = "inspect_ai samples (CSV, JSON, JSONL with input and target)"
    written = ("samples are", ".jsonl")
    keeps = frozenset({"variants", "output", "scorers", "accept"})

    def sniff(self, source: Path) -> float:
        if source.is_dir() or source.suffix.lower() in (".yaml", ".yml"):
            return 0.0
        row = first_row(source)
        if row is None or not {"input", "target"} <= set(row):
            return 0.0
        return 0.8 if set(row) <= _FIELDS | _SANDBOX else 0.6

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        found = Found()
        rows = open_rows(source, found)
        plan = _planned(rows)
        for sample in _samples(rows, found.ledger, Counter()):
            if sample.choices is not None and plan.chats:
                what = "a sample is left out: it has choices, and among the samples are chats, which list their own"
                found.ledger.tally(sample.place, what)
            elif (sample.choices is not None) != plan.chooses:
                have = "has choices, most have none" if sample.choices else "has no choices, most have some"
                what = f"a sample is left out: it {have}, and an eval set asks in one way"
                found.ledger.tally(sample.place, what)
            else:
                sink(_item(sample, plan, options, found.ledger), place=sample.place)
        _describe(plan, options, found)
        return found

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        writer = _Writer(evalset, ledger)
        write_lines(target, map(writer.line, evalset.items), file_mode(evalset))


FORMATS.add("inspect_ai", InspectAi())


class _Sample(NamedTuple):
    place: str
    id: Any
    given: str | list[dict[str, str]]
    targets: list[str]
    choices: list[str] | None
    metadata: dict[str, Any]


class _Plan(NamedTuple):
    """What all samples together decide: whether they are multiple choice, and whether any is a chat."""

    chooses: bool
    chats: int
    metadata: int
    longest: int
    guesses: Counter[str]


def _planned(rows: Rows) -> _Plan:
    counts, guesses, longest = Counter[str](), Counter[str](), 0
    for sample in _samples(rows, Ledger(), guesses):
        counts["samples"] += 1
        counts["choices"] += sample.choices is not None
        counts["chats"] += isinstance(sample.given, list)
        counts["metadata"] += bool(sample.metadata)
        longest = max(longest, len(sample.choices or ()))
    chooses = 2 * counts["choices"] > counts["samples"] and not counts["chats"]
    return _Plan(chooses, counts["chats"], counts["metadata"], longest, guesses)


def _samples(rows: Rows, ledger: Ledger, guesses: Counter[str]) -> Iterator[_Sample]:
    for line, row in rows.read(ledger):
        place = rows.place(line)
        for key, value in row.items():
            if key in _SANDBOX and value not in (None, ""):
                ledger.tally(place, f"'{key}': nothing is run here")
            elif key not in _FIELDS | _SANDBOX:
                ledger.tally(place, f"column '{key[:60]}' is no field of a sample")
        with ledger.leaving_out(place, "a sample"):
            yield _sample(row, place, rows.text_only, ledger, guesses)


def _sample(row: dict[str, Any], place: str, cells: bool, ledger: Ledger, guesses: Counter[str]) -> _Sample:
    given, read = row.get("input"), cell_value(row.get("input")) if cells else None
    if isinstance(read, list) and read and isinstance(read[0], dict):
        given = read
    if not isinstance(given, str):
        given, changes = read_turns(given)
        for change in changes:
            ledger.tally(place, change)
    elif not given.strip():
        raise Unusable("its input is empty")
    choices = _choices(row.get("choices"), cells)
    targets = _targets(row.get("target"), cells)
    metadata = cell_value(row.get("metadata"))
    if cells and "metadata" in row and metadata is None:
        metadata = {"sensitivity": None}  # the row ends before it, and it may have stated one: restricted
    if metadata not in (None, "") and not isinstance(metadata, dict):
        ledger.tally(place, "metadata that is no object")
    texts = _letters(targets, choices, guesses) if choices is not None else list(map(str, targets))
    return _Sample(place, row.get("id"), given, texts, choices, metadata if isinstance(metadata, dict) else {})


def _choices(value: Any, cells: bool) -> list[str] | None:
    if value in (None, "", []):
        return None
    if cells and isinstance(value, str):
        listed = written_list(value.strip())
        # As inspect reads a cell: commas part the choices, or else spaces.
        parts = value.split(",") if "," in value else value.split()
        value = listed if isinstance(listed, list) else [part.strip() for part in parts]
    texts = choice_texts(value)
    if texts is None:
        raise Unusable("its choices are no list of at most 26 texts")
    return texts


def _targets(value: Any, cells: bool) -> list[Any]:
    listed = cell_value(value) if cells else value
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
        if isinstance(target, str) and _letter_of(target, choices) is None:
            parts = target.replace(",", " ").split() or [target]
            parts = list(target) if len(parts) == 1 and target.isalpha() and target.isupper() else parts
        letters = [letter for part in parts if (letter := _letter_of(part, choices)) is not None]
        if len(letters) < len(parts):
            raise Unusable("its target is no letter of its choices")
        if [str(part) for part in parts] != letters:
            guesses["targets that are positions (from 0) or the choices themselves became letters"] += 1
        found += letters
    if len(set(found)) > 1:
        guesses["samples with several right letters: any one of them is accepted (inspect wants all of them)"] += 1
    return list(dict.fromkeys(found))


def _letter_of(target: Any, choices: list[str]) -> str | None:
    """The letter of the right choice: given as one, as the choice itself, or as a position from 0; None if neither."""
    text = target.strip().upper() if isinstance(target, str) else ""
    if len(text) == 1 and text in LETTERS[: len(choices)]:
        return text
    position = position_of(target, choices)
    return None if position is None else LETTERS[position]


def _item(sample: _Sample, plan: _Plan, options: Options, ledger: Ledger) -> dict[str, Any]:
    fields = item_fields(sample.metadata, sample.place, ledger)
    if sample.id not in (None, ""):
        if "id" in fields:
            ledger.tally(sample.place, "metadata 'id': the sample has an id of its own")
        fields["id"] = str(sample.id)
    chat = plan.chats and isinstance(sample.given, str)
    fields["inputs"]["input"] = [{"role": "user", "content": sample.given}] if chat else sample.given
    if sample.choices is not None:
        fields["inputs"]["choices"] = sample.choices
    key = "label" if plan.chooses else _EXPECTED.get(options.scorer or "", "answer")
    fields["expectations"][key] = one_or_all(sample.targets)
    return fields


def _describe(plan: _Plan, options: Options, found: Found) -> None:
    scorer = {"type": "label"} if plan.chooses else _INCLUDES
    found.spec["variants"] = {"default": _TURNS if plan.chats else _CHOICES if plan.chooses else _PLAIN}
    found.spec |= scored([scorer], options, plan.longest if plan.chooses else 0)
    how = "a file of samples names no scorer: an answer that contains the target is right, as in inspect's includes()"
    if plan.chooses:
        how = "multiple choice: the choices are listed with letters, and the answer is a letter"
    found.notes += [] if options.scorer else [how]
    if plan.chats:
        found.notes.append(f"{plan.chats} inputs are chats, so each item brings its turns: inputs.input")
    if plan.metadata:
        what = "metadata: short texts, numbers, true/false are slices; id, cluster, sensitivity the item's own"
        found.notes.append(what)
    found.notes += [f"{what} ({count})" for what, count in plan.guesses.items()]


class _Writer:
    """Makes samples of items; what a sample has no place for goes into its metadata."""

    def __init__(self, evalset: EvalSet, ledger: Ledger) -> None:
        self._evalset, self._ledger = evalset, ledger
        self._variant = chosen_variant(evalset, ledger)
        chosen = evalset.spec.variants[self._variant]
        asked, listed = without_choices(chosen, evalset.items)
        plain, turns = (asked == Variant.model_validate(each) for each in (_PLAIN, _TURNS))
        kind = str if plain and listed in ("", "choices") else list if turns else ()
        self._as_samples = all(isinstance(item.inputs.get("input"), kind) for item in evalset.items)
        self._chooses = self._as_samples and listed == "choices"
        self._note_spec()

    def _note_spec(self) -> None:
        lose = partial(self._ledger.add, where(self._evalset.path / "evalset.yaml"))
        if not self._as_samples:
            lose(f"variant '{self._variant}': its prompt is written filled in; the inputs are in the metadata")
        note_scored(self._evalset, lose, choices="choices" if self._chooses else "")
        for scorer in self._evalset.scorers:
            meant = scorer.type == "label" if self._chooses else nearest(scorer, {"": _INCLUDES}) == ("", frozenset())
            if not meant:
                what = f"scorer '{scorer.name or scorer.type}': name one in the inspect task"
                lose(f"{what} ({items_of(self._evalset, scorer)})")

    def line(self, item: Item) -> str:
        """A sample as JSON."""
        asked = self._asked(item)
        said, names = "label" if self._chooses else "answer", asked.keys() if self._as_samples else ()
        target, metadata = sample_of(self._evalset, item, self._ledger, said, names)
        sample = {"id": metadata.pop("id"), **asked, "target": target, "metadata": metadata}
        return json.dumps(sample, ensure_ascii=False)

    def _asked(self, item: Item) -> dict[str, Any]:
        """A sample's input and choices."""
        if self._as_samples:
            names = ("input", "choices") if self._chooses else ("input",)
            return {name: item.inputs[name] for name in names if name in item.inputs}
        turns = render(self._evalset, self._variant, item).messages
        alone = len(turns) == 1 and turns[0]["role"] == "user"
        return {"input": turns[0]["content"] if alone else turns}
