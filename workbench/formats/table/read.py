"""Tables of the same columns as one eval set: once through for what the columns hold, once for the items.

found = import_parts([(open_rows(path), None)], options, sink)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError
from workbench.formats.base import Found, Loss, Options, Sink, cell_value, where
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.rows import Rows
from workbench.formats.shared.turns import read_turns
from workbench.formats.table.answers import answer_form
from workbench.formats.table.columns import Columns, Keys, Plan, cut, dig, make_plan, unused, values_at
from workbench.formats.table.form import AnswerForm
from workbench.formats.table.prompt import holds_turns, made_variants
from workbench.formats.table.values import Values, is_empty

Part = tuple[Rows, str | None]
"""A table and the split that all of it is: test, train, or None where its rows say."""


def import_parts(
    parts: Sequence[Part],
    options: Options,
    sink: Sink,
    *,
    labels: Mapping[str, list[str]] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Found:
    """Read tables of the same columns as one eval set.

    Args:
        labels: by column, the labels that the source declares.
        reasons: by column, why it is not used.
    """
    columns = _scan(parts)
    if not columns:
        raise InputError(f"{where(parts[0][0].source)}: holds no rows.")
    for name in columns.keys() & (labels or {}).keys():
        columns[name].names = (labels or {})[name]
    plan = make_plan(columns, options)
    text_only = any(rows.text_only for rows, _ in parts)
    expected = _named(columns, plan, "expectations", plan.expectations)
    form = answer_form(expected, text_only=text_only, named=plan.named, scorer=options.scorer)
    reader = _Reader(plan, form, columns, text_only)
    for rows, split in parts:
        for line, row in rows:
            reader.take(rows, line, row, split, sink)
    variants, note = made_variants(reader.inputs, reader.count, form, reader.turns)
    unread = _column_losses(plan, columns, parts, reasons or {})
    return Found(
        {"variants": variants, **form.spec},
        form.schema,
        [*(loss for rows, _ in parts for loss in rows.losses), *unread, *reader.ledger.losses()],
        [*(note for rows, _ in parts for note in rows.notes), *plan.notes, *reader.notes, form.note, note],
    )


def _scan(parts: Sequence[Part]) -> Columns:
    columns: Columns = {}
    for rows, _ in parts:
        for line, row in rows:
            for name, value in row.items():
                if name not in columns:
                    columns[name] = Values()
                columns[name].observe(value, line)
    return columns


def _named(columns: Columns, plan: Plan, group: str, places: dict[str, Keys]) -> Columns:
    """The statistics of all inputs, or all expectations, by name."""
    whole = values_at(columns, plan.whole[group]).fields if group in plan.whole else {}
    return {**whole, **{name: values_at(columns, keys) for name, keys in places.items()}}


def _column_losses(plan: Plan, columns: Columns, parts: Sequence[Part], reasons: Mapping[str, str]) -> list[Loss]:
    losses, rows = [], parts[0][0]
    for keys, values in unused(plan, columns):
        place = rows.place(values.first) if values.first and len(parts) == 1 else where(rows.source)
        why = reasons.get(keys[0], "use it by --map PLACE=COLUMN") if values.filled else "empty throughout"
        name = cut(".".join(keys)) or "without a name"
        losses.append(Loss(place, f"column '{name}' ({values.filled} rows have a value) is not used: {why}"))
    return losses


class _Reader:
    """Makes items of rows, and keeps account of what gets lost."""

    def __init__(self, plan: Plan, form: AnswerForm, columns: Columns, text_only: bool) -> None:
        self.ledger = Ledger()
        self.inputs: Columns = {}
        self.count = 0
        self.notes: list[str] = []
        self._plan, self._form = plan, form
        self._expected = _named(columns, plan, "expectations", plan.expectations).keys() - set(form.unread)
        self._splits: dict[str, str | None] = {}  # by spelling in the split column: test, train, or left out
        if "split" in plan.single:
            spellings = list(values_at(columns, plan.single["split"]).spellings or {})
            chosen = chosen_splits([spelling.casefold() for spelling in spellings])
            self.notes.append(chosen.note)
            self._splits = {spelling: chosen.use(spelling.casefold()) for spelling in spellings}
        inputs = _named(columns, plan, "inputs", plan.inputs)
        self.turns = next((name for name, values in inputs.items() if holds_turns(values)), None)
        # A column of JSON in a CSV is read as JSON if all of it is; a text that only looks like it stays text.
        self._json: set[str | None] = {self.turns}
        if text_only:
            self._json |= {name for name, each in inputs.items() if each.json_texts == each.filled}

    def take(self, rows: Rows, line: int, row: dict[str, Any], split: str | None, sink: Sink) -> None:
        """Hand a row's item to the sink, or count why there is none."""
        place, plan = rows.place(line), self._plan
        raw = self._group("expectations", plan.expectations, row)
        try:
            split = split or self._split(row)
            inputs = self._inputs(row, rows.sparse, place)
            expectations = self._form.expectations(raw)
            if expectations is None:
                raise Unusable("no expected answer")
        except Unusable as failure:
            self.ledger.tally(place, f"{failure}; the item is left out")
            return
        for column, what in rows.odd.items():
            if any(column == keys[0] for keys in plan.used):
                self.ledger.tally(place, f"column '{cut(column)}': {what}, left out")
        for name, value in raw.items():
            if not is_empty(value) and name not in self._expected:
                kept = "kept, but no scorer reads it" if name in self._form.unread else "not kept"
                self.ledger.tally(place, f"expectations.{cut(name)}: {kept}")
        item = {"inputs": inputs, "expectations": expectations, **self._about(place, row)}
        if split != "test":
            sink(item, split="train")
            return
        self.count += 1
        for name, value in inputs.items():
            self.inputs.setdefault(name, Values()).observe(value, line)
        sink(item)

    def _split(self, row: dict[str, Any]) -> str:
        value = dig(row, self._plan.single["split"]) if self._splits else None
        split = "test" if is_empty(value) else self._splits.get(str(value).strip())
        if split is None:
            raise Unusable("of a split that is not used")
        return split

    def _inputs(self, row: dict[str, Any], sparse: bool, place: str) -> dict[str, Any]:
        found = self._group("inputs", self._plan.inputs, row, sparse)
        inputs = {name: cell_value(v) if name in self._json and isinstance(v, str) else v for name, v in found.items()}
        if all(map(is_empty, inputs.values())):
            raise Unusable("every input is empty")
        if self.turns is not None:
            inputs[self.turns], changes = read_turns(inputs.get(self.turns))
            for change in changes:
                self.ledger.tally(place, change)
        return inputs

    def _group(self, group: str, places: dict[str, Keys], row: dict[str, Any], sparse: bool = False) -> dict[str, Any]:
        """All inputs, expectations or slices of a row; what is not there is left out."""
        whole = dig(row, self._plan.whole[group]) if group in self._plan.whole else {}
        whole = cell_value(whole) if isinstance(whole, str) else whole
        whole = whole if isinstance(whole, dict) else {}
        found = {name: value for name, value in whole.items() if value is not None or not sparse}
        return found | {name: value for name, keys in places.items() if (value := dig(row, keys)) is not None}

    def _about(self, place: str, row: dict[str, Any]) -> dict[str, Any]:
        """Id, slice, cluster and sensitivity, where a row has them."""
        single = {name: dig(row, keys) for name, keys in self._plan.single.items()}
        about: dict[str, Any] = {key: _text(single[key]) for key in ("id", "cluster") if not is_empty(single.get(key))}
        slices = {}
        for name, value in self._group("slice", self._plan.slices, row).items():
            if isinstance(value, dict | list):
                self.ledger.tally(place, f"slice.{cut(name)}: no single value, left out")
            elif not is_empty(value):
                slices[name] = _text(value)
        said = _text(single.get("sensitivity") or "").casefold()
        known = said in ("public", "internal", "restricted")
        if said and not known:
            what = "a sensitivity that is none of public, internal, restricted: taken as restricted"
            self.ledger.tally(place, what)
        about |= {"slice": slices} if slices else {}
        return about | ({"sensitivity": said if known else "restricted"} if said else {})


def _text(value: Any) -> str:
    text = scalar_text(value)
    return (str(value) if text is None else text).strip()


@dataclass(frozen=True)
class Splits:
    """Which split of a data set is asked, and which is shown as examples."""

    test: str
    train: str | None
    note: str

    def use(self, name: str) -> str | None:
        """test, train, or None for a split that is left out."""
        return "test" if name == self.test else "train" if name == self.train else None


def chosen_splits(names: Sequence[str]) -> Splits:
    """The test split, else the validation split, else one that is no training split, else the only one."""
    train = next((name for name in ("train", "training") if name in names), None)
    wanted = ("test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev")
    others = [name for name in names if name != train]
    test = next((name for name in wanted if name in names), others[0] if others else train or names[0])
    train = train if train != test else None
    rest = [name for name in dict.fromkeys(names) if name not in (test, train)]
    note = f"the items are those of split '{test}'" + (f", the examples (train.jsonl) of '{train}'" if train else "")
    return Splits(test, train, note + (f"; left out: {', '.join(rest)}" if rest else ""))
