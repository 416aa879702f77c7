"""Which column of a table is what: as the user says, or guessed from names and, failing that, from contents.

plan = make_plan({"question": values, "answer": values}, options, text_only=True)
plan.inputs, plan.expectations         # {'question': ('question',)}, {'answer': ('answer',)}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workbench.errors import InputError
from workbench.formats.base import Options, cell_value, identifier
from workbench.formats.shared.names import (
    ANSWERS,
    CLASSES,
    CLUSTERS,
    IDS,
    INPUTS,
    METADATA,
    PLACE,
    RETRIEVED,
    SLICES,
    SPLITS,
    normal,
)
from workbench.formats.table.values import SHORT, Values
from workbench.scorers.values import plain

Keys = tuple[str, ...]  # the way to a value: a column, and keys inside it
Columns = dict[str, Values]

_MANY_SLICES = 20
_SHOWN = 60


@dataclass
class Plan:
    """What of a row becomes what of an item.

    Attributes:
        inputs, expectations, slices: the way to a value, by the name it gets.
        whole: columns that hold all inputs, expectations or slices as one object, by which of these.
        named: whether the expectations' names are the source's own.
        notes: a line for each column.
        used: what is read.
    """

    inputs: dict[str, Keys] = field(default_factory=dict)
    expectations: dict[str, Keys] = field(default_factory=dict)
    slices: dict[str, Keys] = field(default_factory=dict)
    whole: dict[str, Keys] = field(default_factory=dict)
    single: dict[str, Keys] = field(default_factory=dict)
    named: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def used(self) -> set[Keys]:
        groups = (self.inputs, self.expectations, self.slices, self.whole, self.single)
        return {keys for group in groups for keys in group.values()}

    def put(self, place: str, keys: Keys) -> None:
        """Set what a place is filled from."""
        group, _, name = place.partition(".")
        if not name:
            (self.whole if group in ("inputs", "expectations", "slice") else self.single)[group] = keys
        else:
            {"inputs": self.inputs, "expectations": self.expectations, "slice": self.slices}[group][name] = keys

    def has(self, group: str) -> bool:
        """Whether anything fills the inputs, the expectations, the slices or a single place."""
        named = {"inputs": self.inputs, "expectations": self.expectations, "slice": self.slices}.get(group)
        return bool(named) or group in self.whole or group in self.single


def dig(row: dict[str, Any], keys: Keys) -> Any:
    """The value at the end of a way; None where it is not there. Text that is JSON is looked into."""
    value: Any = row
    for key in keys:
        value = cell_value(value) if isinstance(value, str) else value
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def values_at(columns: Columns, keys: Keys) -> Values:
    """The statistics at the end of a way."""
    values = columns[keys[0]]
    for key in keys[1:]:
        values = values.fields[key]
    return values


def make_plan(columns: Columns, options: Options) -> Plan:
    """Decide what each column is.

    Raises:
        InputError: the mapping names what is not there, or no column can be an input or an answer.
    """
    plan = Plan()
    for place, keys in _said(columns, options.mapping):
        plan.put(place, keys)
        plan.notes.append(f"{_column(keys)} is {place}, as you say")
    filled = {name: values for name, values in columns.items() if values.filled or PLACE.fullmatch(name)}
    _guess(plan, filled, guided=bool(options.mapping))
    for group, example in (("inputs", "inputs.text"), ("expectations", "expectations.answer")):
        if not plan.has(group):
            kind = "an input" if group == "inputs" else "an expected answer"
            names = ", ".join(name[:_SHOWN] for name in list(columns)[:30])
            raise InputError(
                f"no column looks like {kind}. Say which: --map {example}=COLUMN. The columns are: {names}."
            )
    return plan


def _column(keys: Keys) -> str:
    return f"column '{'.'.join(keys)[:_SHOWN]}'"


def _said(columns: Columns, mapping: dict[str, str]) -> list[tuple[str, Keys]]:
    """A user's mapping as places and ways, whichever of the two came first."""
    said: list[tuple[str, Keys]] = []
    for left, right in mapping.items():
        is_place = [PLACE.fullmatch(side) is not None for side in (left, right)]
        if not any(is_place):
            raise InputError(
                f"--map {left}={right}: neither side is a place of an item. Places: id, inputs.NAME, "
                "expectations.NAME, slice.NAME, cluster, sensitivity, split."
            )
        turned = not is_place[0] or (is_place[1] and _way(columns, right) is None and _way(columns, left) is not None)
        place, column = (right, left) if turned else (left, right)
        keys = _way(columns, column)
        if keys is None:
            names = ", ".join(name[:_SHOWN] for name in list(columns)[:30])
            raise InputError(f"--map {left}={right}: there is no column '{column}'. The columns are: {names}.")
        if any(place == other for other, _ in said):
            raise InputError(f"--map: two columns are {place}. A place takes one.")
        said.append((place, keys))
    return said


def _way(columns: Columns, path: str) -> Keys | None:
    """The way to a column, or by dots to a field inside one."""
    if path in columns:
        return (path,)
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:cut])
        if head in columns:
            values: Values | None = columns[head]
            for key in parts[cut:]:
                values = values.fields.get(key) if values else None
            return (head, *parts[cut:]) if values else None
    return None


def _guess(plan: Plan, columns: Columns, guided: bool) -> None:
    """Fill what the user left open. With a mapping that is only what no item can be without."""
    free = {name: values for name, values in columns.items() if all(name != keys[0] for keys in plan.used)}

    def take(place: str, name: str, why: str) -> None:
        plan.put(place, (name,))
        free.pop(name)
        what = place if plan.named or not place.startswith("expectations.") else "the expected answer"
        plan.notes.append(f"column '{name[:_SHOWN]}' is {what}, {why}")

    open_groups = {group for group in ("inputs", "expectations", "slice") if not plan.has(group)}
    if guided:
        open_groups.discard("slice")
    for name in list(free):  # our own files, and MLflow's
        group = name.partition(".")[0]
        if not PLACE.fullmatch(name) or (guided and group in ("cluster", "slice")) or plan.has(name):
            continue
        is_group = group in ("inputs", "expectations", "slice")
        values = free[name]
        fits = ("." in name or values.objects_only) if is_group else _is_scalar(values)
        if fits and (not is_group or group in open_groups) and (name != "split" or is_split(values)):
            take(name, name, "as its name says")
    for place, names in (("id", IDS), ("cluster", () if guided else CLUSTERS)):
        found = (name for wanted in names for name in free if normal(name) == wanted and _is_scalar(free[name]))
        first = next(found, None)
        if first is not None and not plan.has(place):
            take(place, first, "by its name")
    if not plan.has("expectations"):
        _guess_answer(plan, free, take)
    if "slice" in open_groups:
        _guess_slices(plan, free, take)
    if not plan.has("inputs"):
        _guess_inputs(plan, free, take)


def _guess_answer(plan: Plan, free: Columns, take: Any) -> None:
    names = {normal(name): name for name in reversed(list(free))}
    found = next((names[name] for name in (*ANSWERS, *CLASSES) if name in names), None)
    why = "by its name"
    if found is None:
        found, why = _answer_by_content(free, plan.has("inputs")), "by its contents"
    if found is None:
        return
    plan.named = False
    take(f"expectations.{identifier(found)}", found, why)
    for name in list(free):
        shown = any(normal(other) in RETRIEVED for other in free)
        if normal(name) == "reference_contexts" or (normal(name) == "context" and shown):
            plan.put(f"expectations.{normal(name)}", (name,))
            free.pop(name)
            plan.notes.append(f"column '{name[:_SHOWN]}' is expectations.{normal(name)}: what should be retrieved")


def _answer_by_content(free: Columns, has_input: bool) -> str | None:
    """The column with labels; else the last one, if another is left to be the input."""
    rest = [name for name, values in free.items() if normal(name) not in INPUTS and _is_scalar(values)]
    if len(free) < (1 if has_input else 2) or not rest:
        return None
    return next((name for name in reversed(rest) if _is_label(free[name])), rest[-1])


def _guess_slices(plan: Plan, free: Columns, take: Any) -> None:
    for name, values in list(free.items()):
        if normal(name) in SLICES and _is_slice(values):
            take(f"slice.{identifier(name)}", name, "by its name")
        elif normal(name) in METADATA and values.objects_only:
            for key, inner in values.fields.items():
                if _is_scalar(inner) and inner.spellings is not None:
                    plan.put(f"slice.{key}", (name, key))
                    plan.notes.append(f"column '{name[:_SHOWN]}.{key[:_SHOWN]}' is slice.{key[:_SHOWN]}, as metadata")


def _guess_inputs(plan: Plan, free: Columns, take: Any) -> None:
    found = [name for name in free if normal(name) in INPUTS]
    why = "by its name"
    if not found:
        texts = [name for name, values in free.items() if values.kinds["text"] and _is_scalar(values)]
        texts = texts or [name for name, values in free.items() if not _is_scalar(values)]
        found = sorted(texts, key=lambda name: -free[name].characters / free[name].filled)[:1]
        why = "by its contents: the longest text"
    for name in found:
        place, again = f"inputs.{identifier(name)}", 1
        while place.partition(".")[2] in plan.inputs:
            again += 1
            place = f"inputs.{identifier(name)}_{again}"
        take(place, name, why)


def _is_scalar(values: Values) -> bool:
    return not values.fields and values.entries is None


def _is_slice(values: Values) -> bool:
    count = len(values.spellings or {})
    return _is_scalar(values) and count > 0 and (count <= _MANY_SLICES or 2 * count <= values.filled)


def _is_label(values: Values) -> bool:
    labels = {plain(spelling) for spelling in values.spellings or {}}
    return _is_scalar(values) and 2 <= len(labels) <= 100 and values.filled >= 3 * len(labels)


def is_split(values: Values) -> bool:
    return bool(values.spellings) and {spelling.casefold() for spelling in values.spellings or {}} <= SPLITS


def unused(plan: Plan, columns: Columns) -> list[tuple[Keys, Values]]:
    """What no place is filled from: whole columns, and fields of those of which others are read."""
    used = plan.used
    left: list[tuple[Keys, Values]] = []

    def walk(keys: Keys, values: Values) -> None:
        if keys in used:
            return
        if any(each[: len(keys)] == keys for each in used):
            for key, inner in values.fields.items():
                walk((*keys, key), inner)
        else:
            left.append((keys, values))

    for name, values in columns.items():
        walk((name,), values)
    return left


def cut(text: str) -> str:
    """A column's name in a message: it may be data, where a file has no header."""
    return text if len(text) <= SHORT else text[:_SHOWN] + "…"
