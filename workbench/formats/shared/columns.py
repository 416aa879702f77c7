"""Which column of a table is what: as the user says, or guessed from names and, failing that, from contents.

plan = make_plan({"question": values, "answer": values}, options)
plan.ways              # {'inputs.question': ('question',), 'expectations.answer': ('answer',)}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workbench.errors import InputError
from workbench.formats.base import Options
from workbench.formats.shared.cells import cell_value
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
    cut,
    identifier,
    normal,
)
from workbench.formats.shared.offered import choice_columns
from workbench.formats.shared.values import Values
from workbench.scorers.values import plain

Way = tuple[str, ...]  # to a value: a column, and keys inside it
Columns = dict[str, Values]

_GROUPS = ("inputs", "expectations", "slice")
_MANY_SLICES = 20


@dataclass
class Plan:
    """What of a row becomes what of an item.

    Attributes:
        ways: by place the way to its value; a place without a dot (`inputs`) takes an object whole.
        named: whether the expectations' names are the source's own.
        notes: a line for each column.
        choices: columns that by their names may hold one choice each, and what it is called.
    """

    ways: dict[str, Way] = field(default_factory=dict)
    named: bool = True
    notes: list[str] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)

    def take_choices(self) -> None:
        """Make the columns that may hold a choice inputs."""
        for name in self.choices:
            self.ways[f"inputs.{identifier(name)}"] = (name,)
            self.notes.append(f"column '{cut(name)}' is inputs.{identifier(name)}, a choice")

    def within(self, group: str) -> dict[str, Way]:
        """The ways to single inputs, expectations or slices, by the names that they get."""
        start = f"{group}."
        return {place.removeprefix(start): way for place, way in self.ways.items() if place.startswith(start)}

    def has(self, group: str) -> bool:
        """Whether anything fills the inputs, the expectations, the slices or a single place."""
        return any(place.partition(".")[0] == group for place in self.ways)

    def reads(self, way: Way) -> bool:
        """Whether what is at the end of a way, or of a longer one, is read."""
        return any(used[: len(way)] == way for used in self.ways.values())


def dig(row: dict[str, Any], way: Way) -> Any:
    """The value at the end of a way; None where it is not there. Text that is JSON is looked into."""
    value: Any = row
    for key in way:
        value = cell_value(value)
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def values_at(columns: Columns, way: Way) -> Values:
    """The statistics at the end of a way."""
    values = columns[way[0]]
    for key in way[1:]:
        values = values.fields[key]
    return values


def named_values(columns: Columns, plan: Plan, group: str) -> Columns:
    """The statistics of all inputs, or all expectations, by name."""
    whole = values_at(columns, plan.ways[group]).fields if group in plan.ways else {}
    return {**whole, **{name: values_at(columns, way) for name, way in plan.within(group).items()}}


def unused(plan: Plan, columns: Columns) -> list[tuple[Way, Values]]:
    """What no place is filled from: whole columns, and fields of those of which others are read."""
    left: list[tuple[Way, Values]] = []

    def walk(way: Way, values: Values) -> None:
        if not plan.reads(way):
            left.append((way, values))
        elif way not in plan.ways.values():
            for key, inner in values.fields.items():
                walk((*way, key), inner)

    for name, values in columns.items():
        walk((name,), values)
    return left


def make_plan(columns: Columns, options: Options) -> Plan:
    """Decide what each column is.

    Raises:
        InputError: the mapping names what is not there, or no column can be an input or an answer.
    """
    plan = Plan()
    for place, way in _said(columns, options.mapping):
        plan.ways[place] = way
        plan.notes.append(f"column '{cut('.'.join(way))}' is {place}, as you say")
    _Guess(plan, columns, guided=bool(options.mapping)).fill()
    for group, kind, example in (
        ("inputs", "an input", "inputs.text"),
        ("expectations", "an expected answer", "expectations.answer"),
    ):
        if not plan.has(group):
            raise InputError(f"no column looks like {kind}. Say which: --map {example}=COLUMN. {_listed(columns)}")
    return plan


def _listed(columns: Columns) -> str:
    return f"The columns are: {', '.join(cut(name) for name in list(columns)[:30])}."


def _said(columns: Columns, mapping: dict[str, str]) -> list[tuple[str, Way]]:
    """A user's mapping as places and ways, whichever of the two came first."""
    said: list[tuple[str, Way]] = []
    for left, right in mapping.items():
        ways = [
            (place, _way(columns, name)) for place, name in ((left, right), (right, left)) if PLACE.fullmatch(place)
        ]
        if not ways:
            raise InputError(
                f"--map {left}={right}: neither side is a place of an item. Places: id, inputs.NAME, "
                "expectations.NAME, slice.NAME, cluster, sensitivity, split."
            )
        place, way = next(((place, way) for place, way in ways if way is not None), ways[0])
        if way is None:
            column = right if place == left else left
            raise InputError(f"--map {left}={right}: there is no column '{column}'. {_listed(columns)}")
        if any(place == other for other, _ in said):
            raise InputError(f"--map: two columns are {place}. A place takes one.")
        said.append((place, way))
    return said


def _way(columns: Columns, path: str) -> Way | None:
    """The way to a column, or by dots to a field inside one."""
    if path in columns:
        return (path,)
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        values = columns.get(".".join(parts[:end]))
        if values is not None:
            for key in parts[end:]:
                values = values.fields.get(key) if values else None
            return (".".join(parts[:end]), *parts[end:]) if values else None
    return None


class _Guess:
    """Fills what the user left open. With a mapping (`guided`) that is only what no item can be without."""

    def __init__(self, plan: Plan, columns: Columns, guided: bool) -> None:
        self.plan, self.guided = plan, guided
        self.free = {
            name: values
            for name, values in columns.items()
            if (values.filled or PLACE.fullmatch(name)) and not plan.reads((name,))
        }

    def _take(self, place: str, name: str, why: str) -> None:
        self.plan.ways[place] = (name,)
        del self.free[name]
        what = place if self.plan.named or not place.startswith("expectations.") else "the expected answer"
        self.plan.notes.append(f"column '{cut(name)}' is {what}, {why}")

    def fill(self) -> None:
        wanted = [group for group in _GROUPS if not self.plan.has(group) and (group != "slice" or not self.guided)]
        self._own_names(wanted)
        for place, names in (("id", IDS), ("cluster", () if self.guided else CLUSTERS)):
            same = (
                name for known in names for name in self.free if normal(name) == known and self.free[name].is_single
            )
            first = next(same, None)
            if first is not None and not self.plan.has(place):
                self._take(place, first, "by its name")
        if not self.plan.has("expectations"):
            self._answer()
        if "slice" in wanted:
            self._slices()
        if not self.plan.has("inputs"):
            self._inputs()

    def _own_names(self, wanted: list[str]) -> None:
        """Columns that are called like a place of an item: our own files, and MLflow's."""
        for name, values in list(self.free.items()):
            group = name.partition(".")[0]
            if not PLACE.fullmatch(name) or (self.guided and group == "cluster") or self.plan.has(name):
                continue
            if group in _GROUPS:
                fits = group in wanted and ("." in name or values.objects_only)
            else:
                fits = values.is_single and (name != "split" or _is_split(values))
            if fits:
                self._take(name, name, "as its name says")

    def _answer(self) -> None:
        names = {normal(name): name for name in reversed(list(self.free))}
        found, why = next((names[name] for name in (*ANSWERS, *CLASSES) if name in names), None), "by its name"
        if found is None:
            found, why = self._answer_by_content(), "by its contents"
        if found is None:
            return
        self.plan.named = False
        self._take(f"expectations.{identifier(found)}", found, why)
        retrieved = any(normal(name) in RETRIEVED for name in self.free)
        for name in list(self.free):  # what should be retrieved, in tables of deepeval and ragas
            if normal(name) == "reference_contexts" or (normal(name) == "context" and retrieved):
                self.plan.ways[f"expectations.{normal(name)}"] = (name,)
                self.plan.notes.append(f"column '{cut(name)}' is expectations.{normal(name)}: what should be retrieved")
                del self.free[name]

    def _answer_by_content(self) -> str | None:
        """The column with labels; else the last one, if another is left to be the input."""
        rest = [name for name, values in self.free.items() if normal(name) not in INPUTS and values.is_single]
        if len(self.free) < (1 if self.plan.has("inputs") else 2) or not rest:
            return None
        return next((name for name in reversed(rest) if _is_label(self.free[name])), rest[-1])

    def _slices(self) -> None:
        for name, values in list(self.free.items()):
            if normal(name) in SLICES and _is_slice(values):
                self._take(f"slice.{identifier(name)}", name, "by its name")
            elif normal(name) in METADATA and values.objects_only:
                for key, inner in values.fields.items():
                    if inner.is_single and inner.spellings is not None:
                        self.plan.ways[f"slice.{key}"] = (name, key)
                        what = f"column '{cut(name)}.{cut(key)}' is slice.{cut(key)}, as metadata"
                        self.plan.notes.append(what)

    def _inputs(self) -> None:
        found, why = [name for name in self.free if normal(name) in INPUTS], "by its name"
        if not found:
            texts = [name for name, values in self.free.items() if values.kinds["text"] and values.is_single]
            texts = texts or [name for name, values in self.free.items() if not values.is_single]
            found = sorted(texts, key=lambda name: -self.free[name].characters / self.free[name].filled)[:1]
            why = "by its contents: the longest text"
        choices = {} if self.guided else choice_columns(name for name in self.free if name not in found)
        self.plan.choices = choices if all(self.free[name].is_single for name in choices) else {}
        for name in found:
            place, again = f"inputs.{identifier(name)}", 1
            while place in self.plan.ways:
                again += 1
                place = f"inputs.{identifier(name)}_{again}"
            self._take(place, name, why)


def _is_slice(values: Values) -> bool:
    count = len(values.spellings or {})
    return values.is_single and count > 0 and (count <= _MANY_SLICES or 2 * count <= values.filled)


def _is_label(values: Values) -> bool:
    labels = {plain(spelling) for spelling in values.spellings or {}}
    return values.is_single and 2 <= len(labels) <= 100 and values.filled >= 3 * len(labels)


def _is_split(values: Values) -> bool:
    return bool(values.spellings) and {spelling.casefold() for spelling in values.spellings or {}} <= SPLITS
