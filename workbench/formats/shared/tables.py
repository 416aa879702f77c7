"""Tables of the same columns as one eval set: once through for what the columns hold, once for the items.

found = Found()
read_tables([(open_rows(path, found), None)], options, sink, found)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.errors import InputError
from workbench.formats.base import Found, Options, Sink, where
from workbench.formats.shared.answers import answer_form
from workbench.formats.shared.cells import cell_value, is_empty
from workbench.formats.shared.columns import Columns, dig, make_plan, named_values, unused, values_at
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.made_prompt import holds_turns, made_variants
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.names import cut, identifier
from workbench.formats.shared.offered import CHOICES, filled, marks_of, says_choice
from workbench.formats.shared.prompts import read_turns
from workbench.formats.shared.rows import Row, Rows
from workbench.formats.shared.splits import chosen_splits
from workbench.formats.shared.values import Values
from workbench.words import counted

Part = tuple[Rows, str | None]
"""A table and the split that all of it is: test, train, or None where its rows say."""


def read_tables(
    parts: Sequence[Part],
    options: Options,
    sink: Sink,
    found: Found,
    *,
    labels: Mapping[str, list[str]] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Found:
    """Read tables of the same columns as one eval set.

    Args:
        found: what is known of them before; takes the rest.
        labels: by column, the labels that the source declares.
        reasons: by column, why it is not used.
    """
    columns: Columns = {}
    for rows, _ in parts:
        for line, row in rows:
            for name, value in row.items():
                columns.setdefault(name, Values()).observe(value, line)
    if not columns:
        raise InputError(f"{where(parts[0][0].source)}: holds no rows.")
    for name, values in columns.items():
        values.names = (labels or {}).get(name)
    reader = _Reader(columns, parts, options, found)
    reader.note_unused(parts, reasons or {})
    for rows, split in parts:
        for line, row in rows.read(found.ledger):
            reader.take(row, line, rows, split, sink)
    reader.describe()
    return found


class _Reader:
    """Makes items of rows, and keeps account of what gets lost."""

    def __init__(self, columns: Columns, parts: Sequence[Part], options: Options, found: Found) -> None:
        text_only = any(rows.text_only for rows, _ in parts)
        self._columns, self._found, self._ledger = columns, found, found.ledger
        self._plan = make_plan(columns, options)
        marks = self._choice_marks(parts)
        if marks or (self._plan.choices and all(map(says_choice, self._plan.choices))):
            self._plan.take_choices()
        found.notes += self._plan.notes
        self._named = {group: self._plan.within(group) for group in ("inputs", "expectations", "slice")}
        inputs = named_values(columns, self._plan, "inputs")
        expected = named_values(columns, self._plan, "expectations")
        for values in expected.values():
            values.names = values.names or marks or None
        self._form = answer_form(expected, text_only=text_only, named=self._plan.named, scorer=options.scorer)
        self._marks = marks if marks == list(self._form.labels) else []
        if self._marks:
            self._form.why = f"answers name one of the choices ({', '.join(marks)})"
        self._scored = expected.keys() - set(self._form.unread)
        self._splits = self._read_splits()
        self._turns = next((name for name, values in inputs.items() if holds_turns(values)), None)
        # A column of JSON in a CSV is read as JSON if all of it is; a text that only looks like it stays text.
        whole = {name for name, each in inputs.items() if text_only and each.json_texts == each.filled}
        self._json: set[str | None] = {self._turns, *whole}
        self._inputs: Columns = {}  # of the items
        self._count = 0

    def _choice_marks(self, parts: Sequence[Part]) -> list[str]:
        """What the answers call the choices of their rows, as far as there are choices."""
        expected, inputs = self._plan.within("expectations"), self._plan.within("inputs")
        lists = [inputs[name] for name in CHOICES if name in inputs]
        if len(expected) != 1 or not (lists or self._plan.choices):
            return []
        (answer,) = expected.values()

        def choices(row: Row) -> list[Any]:
            if not lists:
                return filled([row.get(name) for name in self._plan.choices])
            found = cell_value(dig(row, lists[0]))
            return filled(found) if isinstance(found, list) else []

        rows = ((choices(row), dig(row, answer)) for table, _ in parts for _, row in table)
        return marks_of(rows, {} if lists else self._plan.choices)

    def _read_splits(self) -> dict[str, str | None]:
        """By spelling in the split column: test, train, or left out."""
        way = self._plan.ways.get("split")
        if way is None:
            return {}
        spellings = list(values_at(self._columns, way).spellings or {})
        chosen = chosen_splits([spelling.casefold() for spelling in spellings])
        self._found.notes.append(chosen.note)
        return {spelling: chosen.use(spelling.casefold()) for spelling in spellings}

    def note_unused(self, parts: Sequence[Part], reasons: Mapping[str, str]) -> None:
        """Write down the columns that nothing reads."""
        rows = parts[0][0]
        for way, values in unused(self._plan, self._columns):
            place = rows.place(values.first) if values.first and len(parts) == 1 else where(rows.source)
            why = reasons.get(way[0], "use it by --map PLACE=COLUMN") if values.filled else "empty throughout"
            name = cut(".".join(way)) or "without a name"
            rows_have = counted(values.filled, "row has", "rows have")
            self._ledger.add(place, f"column '{name}' ({rows_have} a value) is not used: {why}")

    def take(self, row: Row, line: int, rows: Rows, split: str | None, sink: Sink) -> None:
        """Hand a row's item to the sink, or count why there is none."""
        raw, place = self._group("expectations", row), rows.place(line)
        try:
            split = split or self._split(row)
            inputs = self._read_inputs(row, rows.sparse, place)
            expectations = self._form.expectations(raw)
            if expectations is None:
                raise Unusable("no expected answer")
        except Unusable as failure:
            self._ledger.tally(place, f"{failure}; the item is left out")
            return
        for name, value in raw.items():
            if not is_empty(value) and name not in self._scored:
                kept = "kept, but no scorer reads it" if name in self._form.unread else "not kept"
                self._ledger.tally(place, f"expectations.{cut(name)}: {kept}")
        item = {"inputs": inputs, "expectations": expectations, **self._about(row, place, rows.text_only)}
        if split != "test":
            sink(item, split="train", place=place)
            return
        self._count += 1
        for name, value in inputs.items():
            self._inputs.setdefault(name, Values()).observe(value, line)
        sink(item, place=place)

    def _split(self, row: Row) -> str:
        value = dig(row, self._plan.ways["split"]) if self._splits else None
        split = "test" if is_empty(value) else self._splits.get(str(value).strip())
        if split is None:
            raise Unusable("of a split that is not used")
        return split

    def _read_inputs(self, row: Row, sparse: bool, place: str) -> dict[str, Any]:
        found = self._group("inputs", row, sparse)
        inputs = {name: cell_value(value) if name in self._json else value for name, value in found.items()}
        if all(map(is_empty, inputs.values())):
            raise Unusable("every input is empty")
        if self._turns is not None:
            inputs[self._turns], changes = read_turns(inputs.get(self._turns))
            for change in changes:
                self._ledger.tally(place, change)
        return inputs

    def _group(self, group: str, row: Row, sparse: bool = False) -> dict[str, Any]:
        """All inputs, expectations or slices of a row; what is not there is left out."""
        whole = cell_value(dig(row, self._plan.ways[group])) if group in self._plan.ways else None
        found = whole if isinstance(whole, dict) else {}
        found = {name: value for name, value in found.items() if value is not None or not sparse}
        return found | {name: value for name, way in self._named[group].items() if (value := dig(row, way)) is not None}

    def _about(self, row: Row, place: str, cells: bool) -> dict[str, Any]:
        """Id, slice, cluster and sensitivity, where a row has them."""
        single = {name: dig(row, way) for name, way in self._plan.ways.items() if "." not in name}
        about: dict[str, Any] = {key: _text(single[key]) for key in ("id", "cluster") if not is_empty(single.get(key))}
        slices = {}
        for name, value in self._group("slice", row).items():
            if isinstance(value, dict | list):
                self._ledger.tally(place, f"slice.{cut(name)}: no single value, left out")
            elif not is_empty(value):
                slices[name] = _text(value)
        if slices:
            about["slice"] = slices
        said = _text(single.get("sensitivity") or "").casefold()
        if said:
            known = said in ("public", "internal", "restricted")
            about["sensitivity"] = said if known else "restricted"
            if not known:
                what = "a sensitivity that is none of public, internal, restricted: taken as restricted"
                self._ledger.tally(place, what)
        elif cells and self._is_cut_off(row):
            about["sensitivity"] = "restricted"
            self._ledger.tally(place, "the row ends before its sensitivity: taken as restricted")
        return about

    def _is_cut_off(self, row: Row) -> bool:
        """Whether a row of cells ends before the one with its sensitivity; an empty cell states none."""
        way = self._plan.ways.get("sensitivity")
        return way is not None and way[0] in row and row[way[0]] is None

    def _shown_marks(self) -> dict[str, list[str]]:
        """By input, the mark of the choice in it, or those of the choices in its list."""
        if self._marks and self._plan.choices:
            return {identifier(name): [mark] for name, mark in zip(self._plan.choices, self._marks, strict=False)}
        listed = next((name for name in CHOICES if name in self._inputs), None)
        return {listed: self._marks} if self._marks and listed else {}

    def describe(self) -> None:
        """Say how the items are asked and scored, once all of them are known."""
        variants, note = made_variants(self._inputs, self._count, self._form, self._turns, self._shown_marks())
        self._found.spec |= {"variants": variants, **self._form.spec}
        self._found.schema = self._form.schema
        self._found.notes += [self._form.note, note]


def _text(value: Any) -> str:
    text = scalar_text(value)
    return (str(value) if text is None else text).strip()
