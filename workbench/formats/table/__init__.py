"""Plain tables: CSV, TSV, JSONL, JSON list, Parquet, by a mapping of columns or a guess; also deepeval's and ragas'.

import_evalset("tests.csv", "evalsets/mine", options=Options(mapping={"inputs.text": "question", "id": "qid"}))
export_evalset(evalset, "table", "items.csv")        # or .tsv, .jsonl, .json: what an item is, a row
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import write_lines
from workbench.formats.table.answers import AnswerForm, answer_form
from workbench.formats.table.columns import Columns, Keys, Plan, cut, dig, make_plan, unused, values_at
from workbench.formats.shared.unwritten import note_unwritten
from workbench.formats.shared.ledger import Ledger
from workbench.formats.table.prompt import holds_turns, made_variants, turns_problem
from workbench.formats.shared.rows import Rows, csv_lines, first_row, kind_of, open_rows
from workbench.formats.table.values import Values, is_empty, reads_as_number
from workbench.formats.base import FORMATS, LINE_LIMIT, Format, Found, Loss, Options, Sink, cell_value, where

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

Part = tuple[Rows, str | None]
"""A table and the split that all of it is: test, train, or None where its rows say."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LEFT_OUT = "the item is left out"


class Table(Format):
    """A table, with columns of any name."""

    name = "table"
    about = "a table: CSV, TSV, JSONL, JSON list or Parquet"
    suffix = ".jsonl"

    def sniff(self, source: Path) -> float:
        if not source.is_file() or kind_of(source) in (None, "arrow"):
            return 0.0
        return 0.3 if first_row(source) else 0.1  # whatever is more special goes before

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        return import_parts([(open_rows(source), None)], options, sink)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        suffix = target.suffix.lower()
        if suffix in _DELIMITERS:
            return [*spec_losses(evalset), *_write_csv(evalset, target, _DELIMITERS[suffix])]
        write_objects(target, item_rows(evalset), "a table is written as .jsonl, .json, .csv or .tsv")
        return spec_losses(evalset)


FORMATS.add("table", Table())


# Reading: once for what the columns hold, once for the items.


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
    columns, count = _scan(parts)
    if not count:
        raise InputError(f"{where(parts[0][0].source)}: holds no rows.")
    for name, names in (labels or {}).items():
        if name in columns:
            columns[name].names = names
    plan = make_plan(columns, options)
    text_only = any(rows.text_only for rows, _ in parts)
    expected = _expected(plan, columns)
    form = answer_form(expected, text_only=text_only, named=plan.named, scorer=options.scorer)
    reader = _Reader(plan, form, tuple(expected), columns, text_only)
    for rows, split in parts:
        for line, row in rows:
            reader.take(rows, line, row, split, sink)
    variants, note = made_variants(reader.inputs, reader.count, form, reader.turns)
    return Found(
        {"variants": variants, **form.spec},
        form.schema,
        [
            *(loss for rows, _ in parts for loss in rows.losses),
            *_column_losses(plan, columns, parts, reasons or {}),
            *reader.ledger.losses(),
        ],
        [*(note for rows, _ in parts for note in rows.notes), *plan.notes, *reader.notes, form.note, note],
    )


def _scan(parts: Sequence[Part]) -> tuple[Columns, int]:
    columns: Columns = {}
    count = 0
    for rows, _ in parts:
        for line, row in rows:
            count += 1
            for name, value in row.items():
                if name not in columns:
                    columns[name] = Values()
                columns[name].observe(value, line)
    return columns, count


def _expected(plan: Plan, columns: Columns) -> Columns:
    whole = values_at(columns, plan.whole["expectations"]).fields if "expectations" in plan.whole else {}
    return dict(whole) | {name: values_at(columns, keys) for name, keys in plan.expectations.items()}


def _column_losses(plan: Plan, columns: Columns, parts: Sequence[Part], reasons: Mapping[str, str]) -> list[Loss]:
    losses = []
    for keys, values in unused(plan, columns):
        rows = parts[0][0]
        place = rows.place(values.first) if values.first and len(parts) == 1 else where(rows.source)
        why = reasons.get(keys[0], "use it by --map PLACE=COLUMN") if values.filled else "empty throughout"
        name = cut(".".join(keys)) or "without a name"
        losses.append(Loss(place, f"column '{name}' ({values.filled} rows have a value) is not used: {why}"))
    return losses


class _Reader:
    """Makes items of rows, and keeps account of what gets lost."""

    def __init__(
        self, plan: Plan, form: AnswerForm, expected: tuple[str, ...], columns: Columns, text_only: bool
    ) -> None:
        self.ledger = Ledger()
        self.inputs: Columns = {}
        self.count = 0
        self.notes: list[str] = []
        self._plan, self._form, self._expected = plan, form, expected
        self._splits = self._split_of(plan, columns)
        whole = values_at(columns, plan.whole["inputs"]).fields if "inputs" in plan.whole else {}
        inputs = dict(whole) | {name: values_at(columns, keys) for name, keys in plan.inputs.items()}
        self.turns = next((name for name, values in inputs.items() if holds_turns(values)), None)
        # A column of JSON in a CSV is read as JSON if all of it is; a text that only looks like it stays text.
        self._json: set[str | None] = {self.turns}
        if text_only:
            self._json |= {name for name, each in inputs.items() if each.json_texts == each.filled}

    def _split_of(self, plan: Plan, columns: Columns) -> dict[str, str | None]:
        """What becomes of each value of the split column: test items, train items, or nothing."""
        if "split" not in plan.single:
            return {}
        found = {spelling: spelling.casefold() for spelling in values_at(columns, plan.single["split"]).spellings or {}}
        chosen = chosen_splits(list(found.values()))
        self.notes.append(chosen.note)
        return {spelling: chosen.use(name) for spelling, name in found.items()}

    def take(self, rows: Rows, line: int, row: dict[str, Any], split: str | None, sink: Sink) -> None:
        """Hand a row's item to the sink, or count why there is none."""
        plan = self._plan
        split = split or self._split(row)
        inputs = self._group("inputs", plan.inputs, row, rows.sparse)
        inputs = {name: cell_value(v) if name in self._json and isinstance(v, str) else v for name, v in inputs.items()}
        raw = self._group("expectations", plan.expectations, row)
        expectations = self._form.expectations(raw)
        problem = self._problem(split, inputs, expectations)
        if problem or expectations is None:
            self.ledger.tally(rows.place(line), f"{problem}; {_LEFT_OUT}")
            return
        for column, what in rows.odd.items():
            if any(column == keys[0] for keys in plan.used):
                self.ledger.tally(rows.place(line), f"column '{cut(column)}': {what}, left out")
        for name in raw:
            if not is_empty(raw[name]) and (name in self._form.unread or name not in self._expected):
                kept = "kept, but no scorer reads it" if name in self._form.unread else "not kept"
                self.ledger.tally(rows.place(line), f"expectations.{cut(name)}: {kept}")
        item = {"inputs": inputs, "expectations": expectations, **self._about(rows, line, row)}
        if split == "test":
            self.count += 1
            for name, value in inputs.items():
                self.inputs.setdefault(name, Values()).observe(value, line)
            sink(item)
        else:
            sink(item, split="train")

    def _split(self, row: dict[str, Any]) -> str | None:
        if not self._splits:
            return "test"
        value = dig(row, self._plan.single["split"])
        return "test" if is_empty(value) else self._splits.get(str(value).strip())

    def _problem(self, split: str | None, inputs: dict[str, Any], expectations: dict[str, Any] | None) -> str | None:
        if split is None:
            return "of a split that is not used"
        if all(map(is_empty, inputs.values())):
            return "every input is empty"
        if expectations is None:
            return "no expected answer"
        return turns_problem(inputs.get(self.turns)) if self.turns else None

    def _group(self, group: str, places: dict[str, Keys], row: dict[str, Any], sparse: bool = False) -> dict[str, Any]:
        """All inputs, expectations or slices of a row; what is not there is left out."""
        found: dict[str, Any] = {}
        if group in self._plan.whole:
            value = dig(row, self._plan.whole[group])
            value = cell_value(value) if isinstance(value, str) else value
            value = value if isinstance(value, dict) else {}
            found |= {name: each for name, each in value.items() if each is not None} if sparse else value
        return found | {name: value for name, keys in places.items() if (value := dig(row, keys)) is not None}

    def _about(self, rows: Rows, line: int, row: dict[str, Any]) -> dict[str, Any]:
        """Id, slice, cluster and sensitivity, where a row has them."""
        about: dict[str, Any] = {}
        single = {place: dig(row, keys) for place, keys in self._plan.single.items()}
        for place in ("id", "cluster"):
            if not is_empty(single.get(place)):
                about[place] = _text(single[place])
        slices = {}
        for name, value in self._group("slice", self._plan.slices, row).items():
            if isinstance(value, dict | list):
                self.ledger.tally(rows.place(line), f"slice.{cut(name)}: no single value, left out")
            elif not is_empty(value):
                slices[name] = _text(value)
        if slices:
            about["slice"] = slices
        said = _text(single.get("sensitivity") or "").casefold()
        if said in ("public", "internal", "restricted"):
            about["sensitivity"] = said
        elif said:
            self.ledger.tally(
                rows.place(line), "a sensitivity that is none of public, internal, restricted: taken as restricted"
            )
            about["sensitivity"] = "restricted"
        return about


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a whole number in a column with gaps
    return str(value).strip() if not isinstance(value, bool) else str(value).lower()


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


# Writing.


def item_rows(evalset: EvalSet) -> Iterator[dict[str, Any]]:
    """The items in the form of items.jsonl; with their split where there are examples too."""
    for split, items in (("test", evalset.items), ("train", evalset.train)):
        for item in items:
            yield {**item_row(item), **({"split": split} if evalset.train else {})}


def item_row(item: Item) -> dict[str, Any]:
    """An item as a line of items.jsonl."""
    return item.model_dump(exclude_none=True, exclude_defaults=True) | {
        "inputs": item.inputs,
        "expectations": item.expectations,
    }


def write_objects(target: Path, rows: Iterable[dict[str, Any]], otherwise: str) -> None:
    """Write objects as they come, as JSONL or a JSON list by the file's name.

    Raises:
        InputError: another suffix; it says what there is `otherwise`.
    """
    lines: Iterator[str] = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    if target.suffix.lower() == ".json":
        lines = _json_list(lines)
    elif target.suffix.lower() not in (".jsonl", ".ndjson"):
        raise InputError(f"{where(target)}: {otherwise}. Name such a file.")
    write_lines(target, lines)


def _json_list(lines: Iterator[str]) -> Iterator[str]:
    held = "["
    for number, line in enumerate(lines):
        yield held + ("," if number else "")
        held = line
    yield held
    yield "]"


def spec_losses(evalset: EvalSet, held: Sequence[str] = ("train",)) -> list[Loss]:
    """What of an eval set a file of items has no place for.

    Args:
        held: what the format holds all the same.
    """
    spec = evalset.spec
    kind = "labels" if spec.output.labels else "a JSON schema" if spec.output.json_schema else "text"
    about = {
        "variants": f"the prompts ({', '.join(spec.variants)})",
        "output": f"the output format ({kind})",
        "scorers": f"the scorers ({', '.join(scorer.type for scorer in evalset.scorers)})",
        "accept": f"the score from which an answer is accepted ({spec.accept.min_score:g})",
    }
    ledger = Ledger()
    for name, what in about.items():
        if name not in held:
            ledger.add(where(evalset.path / "evalset.yaml"), f"{what}: there is no place for that")
    note_unwritten(evalset, ledger, held)
    return ledger.losses()


def _write_csv(evalset: EvalSet, target: Path, delimiter: str) -> list[Loss]:
    """Items as a CSV whose columns are places; what a cell cannot tell apart is a loss."""
    columns: dict[str, None] = {}
    changed = Ledger()
    for item in item_rows(evalset):
        for column, value in _flat(item).items():
            columns[column] = None
            if isinstance(value, str) and len(value) > LINE_LIMIT:
                raise InputError(f"item {item['id']}: too long for a cell. Write .jsonl.")
            problem = _unlike_cell(value, column)
            if problem:
                changed.tally(f"{where(evalset.path / 'items.jsonl')} {item['id']} {column}", problem)
    groups = ("id", "inputs.", "expectations.", "slice.", "cluster", "sensitivity", "split")
    names = sorted(columns, key=lambda name: next(n for n, group in enumerate(groups) if name.startswith(group)))
    rows = ([_cell(_flat(item).get(name)) for name in names] for item in item_rows(evalset))
    write_lines(target, csv_lines(itertools.chain([names], rows), delimiter))
    return changed.losses()


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    """An item by places: id, inputs.NAME, …."""
    flat = {key: value for key, value in item.items() if not isinstance(value, dict)}
    for group in ("inputs", "expectations", "slice"):
        flat |= {f"{group}.{name}": value for name, value in item.get(group, {}).items()}
    return flat


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _unlike_cell(value: Any, column: str) -> str | None:
    """How a value is changed by being written into a cell; None where it is not."""
    if isinstance(value, str):
        if not value.strip():
            return "an empty text is read back as nothing"
        if column.startswith("expectations.") and reads_as_number(value):
            return "a text of digits may be read back as a number"
        return "a text that is JSON may be read back as a list or an object" if value != cell_value(value) else None
    if value is None:
        return "null is an empty cell"
    return None if isinstance(value, dict | list) else "a number or boolean may be read back as text"
