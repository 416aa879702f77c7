"""What outcomes say about items: those that nobody or everybody gets right, keys that strong models contradict.

told = told_of(evalset, outcomes)                # scored by today's key, where they hold answers
[*hardness(told), *likely_label_errors(evalset, told)]
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from workbench.audit.answers import Answers
from workbench.audit.inputs import fingerprint
from workbench.audit.keys import FULL, label_fields
from workbench.audit.report import Finding
from workbench.evalset import EvalSet, Item
from workbench.outcomes import split_candidate
from workbench.privacy import REDACTED
from workbench.scores import Scores, prepare, scores_of, with_score

STRONG = 0.6  # a candidate whose mean score is below says little about the key
_AGREE = 2  # different models
_RIGHT = 0.999
_WRONG = 0.5
_CANDIDATES = 3
_BY_CHANCE = 0.05  # how likely chance alone makes so many agree, from which on they say nothing
_WHOLE = ""  # the answer as a whole, in place of a label field's name


@dataclass
class Told:
    """The outcomes of an eval set's items.

    Attributes:
        rows: prepared rows.
        scores: item scores.
        older: rows that were scored by another version of the set, and hold no answer to score again.
    """

    rows: pd.DataFrame
    scores: Scores
    older: int

    @property
    def strong(self) -> list[str]:
        """The candidates that know the task."""
        known = ~np.isnan(self.scores.score)
        means = np.nansum(self.scores.score, axis=0) / np.maximum(known.sum(axis=0), 1)
        return [name for name, mean in zip(self.scores.candidates, means, strict=True) if mean >= STRONG]


def told_of(evalset: EvalSet, outcomes: pd.DataFrame | None) -> Told | None:
    """The outcomes of an eval set's items by today's key, or None where there are none."""
    if outcomes is None:
        return None
    rows = prepare(outcomes)
    rows = rows[(rows["task"] == evalset.name) & rows["item_id"].isin({item.id for item in evalset.items})]
    if not len(rows):
        return None
    rows, older = _by_todays_key(evalset, rows)
    return Told(rows, scores_of(rows), older)


def _by_todays_key(evalset: EvalSet, rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Rows that another version of the set scored, scored again; and how many hold no answer for that."""
    if "evalset_digest" not in rows or not evalset.digest:
        return rows, 0
    other = rows["evalset_digest"].notna() & (rows["evalset_digest"] != evalset.digest)
    if not other.any():
        return rows, 0
    answers, items = Answers(evalset), {item.id: item for item in evalset.items}
    again = other & _answered(rows) & rows["score"].notna() & answers.can_score
    rows = rows.copy()
    if again.any():
        pairs = zip(rows.loc[again, "item_id"], rows.loc[again, "output"], strict=True)
        rows.loc[again, "points"] = [answers.score(items[item], output).value for item, output in pairs]
        rows.loc[again, _class_columns(rows)] = math.nan  # told by the key of then
    return rows, int((other & ~again & rows["score"].notna()).sum())


def _answered(rows: pd.DataFrame) -> pd.Series[Any]:
    """The rows whose answer can be read."""
    if "output" not in rows:
        return pd.Series(data=False, index=rows.index)
    return rows["output"].map(_readable).astype(bool)


def _readable(output: object) -> bool:
    return isinstance(output, str) and bool(output.strip()) and not output.startswith(REDACTED)


def _class_columns(rows: pd.DataFrame) -> list[str]:
    return [str(name) for name in rows if str(name).startswith("metric.class.")]


def not_told(evalset: EvalSet, told: Told) -> list[str]:
    """The checks that these outcomes do not suffice for."""
    missing = []
    if told.older:
        lack = "hold no answers" if Answers(evalset).can_score else "take a judge's verdict"
        missing.append(
            f"hardness of items, likely label errors by today's key: {told.older:,} outcomes were scored by another "
            f"version of the set and {lack} to score again. Run it again"
        )
    if len(told.scores.candidates) < _CANDIDATES:
        missing.append(f"hardness of items: takes outcomes of {_CANDIDATES} candidates")
    if len({split_candidate(name)[0] for name in told.strong}) < _AGREE:
        missing.append(f"likely label errors: takes {_AGREE} models with a mean score of at least {STRONG}")
    elif not _class_fields(told.rows) and not _answered(told.rows).any():
        missing.append("likely label errors: takes the column 'output'")
    elif incomparable := Answers(evalset).incomparable:
        kinds = ", ".join(incomparable)
        missing.append(f"likely label errors in what is scored by {kinds}: only equal texts are seen to agree")
    return missing


def hardness(told: Told) -> Iterator[Finding]:
    """Items that no candidate gets right, and items that all get right."""
    scores = told.scores
    if len(scores.candidates) < _CANDIDATES:
        return
    unknown = np.isnan(scores.score)
    highest = np.where(unknown, -np.inf, scores.score).max(axis=1)
    lowest = np.where(unknown, np.inf, scores.score).min(axis=1)
    everyone = (~unknown).sum(axis=1) >= _CANDIDATES
    nobody = tuple(
        item for item, top, asked in zip(scores.items, highest, everyone, strict=True) if asked and top < _WRONG
    )
    all_of_them = tuple(
        item for item, low, asked in zip(scores.items, lowest, everyone, strict=True) if asked and low >= _RIGHT
    )
    of = f"of {len(scores.items)} items that"
    if nobody:
        what = f"{len(nobody)} {of} none of {len(scores.candidates)} candidates gets right"
        yield Finding("hardness", "note", what, "Look at their keys first, then keep what is truly hard", nobody)
    if all_of_them:
        what = f"{len(all_of_them)} {of} all {len(scores.candidates)} candidates get right"
        yield Finding("hardness", "note", what, "They tell no candidate from another", all_of_them)


@dataclass
class _Given:
    """One strong model's outcome on an item.

    Attributes:
        classes: the classes given and expected, by label field; -1 is no class.
    """

    model: str
    points: float
    output: str | None
    classes: dict[str, tuple[float, float]] = field(default_factory=dict)


def likely_label_errors(evalset: EvalSet, told: Told) -> Iterator[Finding]:
    """Items where several strong models give the same answer, the key says another, and none of them agrees with it.

    Models that are right by and large are wrong now and then, and with two labels always in the same way: where
    chance alone makes so many agree, that is a note.
    """
    given = _given_by_item(told)
    answers, items = Answers(evalset), {item.id: item for item in evalset.items}
    suspects: dict[str, list[str]] = defaultdict(list)
    labels = bool(label_fields(evalset))
    for name, each in given.items():
        if labels:  # scoring long answers takes a while, and no other scorer tells classes
            _fill_classes(each, items[name], answers)
        against = _contradicted(items[name], each, answers)
        if against is not None:
            suspects[against].append(name)
    found: dict[bool, list[str]] = defaultdict(list)
    expected = 0.0
    for against, names in suspects.items():
        by_chance = _agreements_by_chance(evalset, given, against)
        beyond = _tail(len(names), by_chance) < _BY_CHANCE
        expected += 0.0 if beyond else by_chance
        found[beyond] += names
    of = f"of {len(told.scores.items)} items where strong models agree on another answer than the key's"
    if found[True]:
        what, mend = f"{len(found[True])} {of}", "Read them again: the key may be wrong"
        yield Finding("label errors", "warning", what, mend, tuple(sorted(found[True])))
    if found[False]:
        what = f"{len(found[False])} {of}, where chance alone makes about {max(1, round(expected))}"
        yield Finding("label errors", "note", what, "A key among them may be wrong", tuple(sorted(found[False])))


def _given_by_item(told: Told) -> dict[str, list[_Given]]:
    """The outcomes of strong models, by item."""
    rows = with_score(told.rows[told.rows["candidate"].isin(told.strong)])
    columns = {name: rows[name].tolist() for name in ("item_id", "candidate", "points")}
    outputs = rows["output"].tolist() if "output" in rows else [None] * len(rows)
    fields = {
        start.removeprefix("metric.class."): (rows[f"{start}.given"].tolist(), rows[f"{start}.expected"].tolist())
        for start in _class_fields(rows)
    }
    found: dict[str, list[_Given]] = defaultdict(list)
    for at, (item, candidate, points) in enumerate(zip(*columns.values(), strict=True)):
        classes = {
            name: (given[at], expected[at])
            for name, (given, expected) in fields.items()
            if not pd.isna(given[at]) and not pd.isna(expected[at])
        }
        output = outputs[at] if _readable(outputs[at]) else None
        found[item].append(_Given(split_candidate(candidate)[0], points, output, classes))
    return dict(sorted(found.items()))


def _fill_classes(given: list[_Given], item: Item, answers: Answers) -> None:
    """Read the classes out of answers that are not right in full, where the outcomes do not tell them."""
    for each in given:
        if not each.classes and each.output is not None and each.points < FULL:
            each.classes = _classes(answers, item, each.output)


def _class_fields(rows: pd.DataFrame) -> list[str]:
    """The label fields whose classes the scorers told."""
    starts = [str(name).removesuffix(".given") for name in rows if str(name).startswith("metric.class.")]
    return [start for start in starts if f"{start}.given" in rows and f"{start}.expected" in rows]


def _contradicted(item: Item, given: list[_Given], answers: Answers) -> str | None:
    """The label field in which answers to an item agree against its key, or the answer as a whole; None for neither."""
    if len({each.model for each in given}) < _AGREE:
        return None
    if any(each.points >= FULL and not each.classes for each in given):
        return None
    for name in dict.fromkeys(name for each in given for name in each.classes):
        own = [(*each.classes[name], each.model) for each in given if name in each.classes]
        if not any(one == other for one, other, _ in own) and _agree((one, model) for one, _, model in own if one >= 0):
            return name
    labels_right = all(one == other for each in given for one, other in each.classes.values())
    if not labels_right or any(each.points >= _WRONG for each in given):
        return None
    spoken = [(each.output, each.model) for each in given if each.output is not None]
    if answers.can_score and any(answers.score(item, output).value >= _WRONG for output, _ in spoken):
        return None  # by today's key
    alike = (
        model != rival and answers.same(item, output, said)
        for at, (output, model) in enumerate(spoken)
        for said, rival in spoken[at + 1 :]
    )
    return _WHOLE if any(alike) else None


def _classes(answers: Answers, item: Item, output: str) -> dict[str, tuple[float, float]]:
    """The classes that an answer gives, by today's key."""
    figures = answers.score(item, output).metrics
    names = [name.removeprefix("class.").removesuffix(".given") for name in figures if name.endswith(".given")]
    pairs = {
        name: (figures[f"class.{name}.given"], figures[f"class.{name}.expected"])
        for name in names
        if f"class.{name}.expected" in figures
    }
    return {name: pair for name, pair in pairs.items() if pair[0] >= 0}


def _agree(answers: Iterable[tuple[object, str]]) -> bool:
    """Whether several models gave the same answer."""
    counts = Counter(answer for answer, _ in set(answers))
    return bool(counts) and max(counts.values()) >= _AGREE


def _agreements_by_chance(evalset: EvalSet, given: dict[str, list[_Given]], against: str) -> float:
    """How many items strong models would agree on against a key that is right, were their errors independent."""
    wrong, asked = Counter[str](), Counter[str]()
    for entries in given.values():
        for each in entries:
            asked[each.model] += 1
            one, other = each.classes.get(against, (0, 0))
            wrong[each.model] += each.points < _WRONG if against == _WHOLE else one != other
    choices = _choices(evalset, against)
    together = Counter(frozenset(each.model for each in entries) for entries in given.values())
    return sum(
        items * math.prod(wrong[model] / asked[model] for model in models) * _same_by_chance(len(models), choices)
        for models, items in together.items()
    )


def _choices(evalset: EvalSet, against: str) -> int:
    """How many answers there are to choose from."""
    if against == _WHOLE:
        return len({fingerprint(item.expectations) for item in evalset.items})
    classes, values = label_fields(evalset).get(against, ([], []))
    return len(classes) or len(set(values))


def _same_by_chance(models: int, choices: int) -> float:
    """The chance that two of several models that are all wrong say the same."""
    others = max(1, choices - 1)
    return 1 - math.prod(max(0.0, 1 - number / others) for number in range(models))


def _tail(count: int, expected: float) -> float:
    """The chance of so many or more where so many are expected (Poisson)."""
    if expected <= 0:
        return 0.0
    below = sum(math.exp(number * math.log(expected) - expected - math.lgamma(number + 1)) for number in range(count))
    return 1 - below
