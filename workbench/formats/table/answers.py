"""From what a table's answers are to an output format, a scorer, and expectations in the form that it reads.

form = answer_form({"answer": values}, named=False)
form.spec, form.expectations({"answer": "Yes"})          # {'output': {'labels': ['Yes', 'No']}, …}, {'label': 'Yes'}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError
from workbench.formats.base import cell_value
from workbench.formats.shared.names import UNREAD
from workbench.formats.table.fields import fields_form
from workbench.formats.table.form import PARTIAL, AnswerForm
from workbench.formats.table.values import Values, grouped, is_empty
from workbench.scorers.base import SCORERS, FieldScorer, as_scorer
from workbench.scorers.values import number, plain

_LABELS = 100  # at most; more of them are no classes
_REPEATS = 3  # items for each label, on average, or they are no labels either
_LONG_WORDS = 8  # words of an answer, on average, from which on it is compared by overlap
_FIELD_LENGTH = 120
_CODES = 10  # whole numbers up to here that repeat are grades or classes, not quantities
_LISTED_LABELS = 6000  # characters of labels that a made-up prompt may hold
_PLURAL = re.compile(r"(?:^|_)(?:labels|tags|categories|topics|classes|emotions|intents|genres)$")
_AROUND = " \t\n\"'`*_.:;,()[]{}"  # around a label; no part of it when an answer is read
_KEYS = {"label": "label", "multi_label": "labels", "regex": "pattern"}
_SEVERAL = ("multi_label", "set_f1")  # of these a list is one answer
_MAIN = ("expected_response", "answer", "label", "labels", "answers", "expected_output", "reference", "target")


def answer_form(
    found: dict[str, Values], *, text_only: bool = False, named: bool = True, scorer: str | None = None
) -> AnswerForm:
    """Choose how answers are scored.

    Args:
        found: the expectations' values by name.
        text_only: they come from cells that can hold text only, so a number is one that looks like it.
        named: the names are the source's own and stay; else the one answer gets the name that its scorer looks for.
        scorer: the type that the user wants.

    Raises:
        InputError: there is none that could be scored, or no such scorer.
    """
    scored = {name: values for name, values in found.items() if name not in UNREAD and values.filled}
    if not scored:
        raise InputError(f"nothing that a scorer reads is expected: {', '.join(found) or 'no answers'}.")
    if len(scored) > 1:  # a field may be null throughout
        scored = {name: values for name, values in found.items() if name not in UNREAD}
    main = next((name for name in _MAIN if name in scored), None)
    short = all(values.scalars.longest <= _FIELD_LENGTH for name, values in scored.items() if name != main)
    if main and (main == "expected_response" or scorer or not short):
        scored = {main: scored[main]}
    if len(scored) > 1:
        form = fields_form(
            scored, lambda raw: raw if any(not is_empty(raw.get(n)) for n in scored) else None, text_only
        )
    else:
        form = _one(*next(iter(scored.items())), named, scorer)
    form.unread = tuple(name for name in found if name not in scored)
    return form


def _one(name: str, values: Values, named: bool, scorer: str | None) -> AnswerForm:
    def part(raw: dict[str, Any]) -> dict[str, Any] | None:
        value = raw.get(name)
        value = cell_value(value) if isinstance(value, str) else value
        return value if isinstance(value, dict) else None

    if values.objects_only and set(values.fields) == {"text", "answer_start"}:  # SQuAD's
        form = _one(name, values.fields["text"], named, scorer)
        form.note += "; answer_start, where an answer stands in the text, is not used"
        texts = form.expect
        form.expect = lambda raw: texts({name: (part(raw) or {}).get("text")})
        return form
    if values.objects_only and not values.wide and scorer in (None, "json_fields"):
        return fields_form(values.fields, part)
    return _value_form(name, values, named, scorer)


@dataclass
class _Choice:
    """A scorer for single values, and what goes with it."""

    type: str
    why: str
    ask: str | None = None
    settings: dict[str, Any] | None = None
    labels: tuple[str, ...] = ()
    convert: Callable[[Any], Any] = lambda value: value
    accept: float = 1


def _value_form(name: str, values: Values, named: bool, scorer: str | None) -> AnswerForm:
    choice = _chosen(name, values) if scorer is None else _wanted(scorer, values)
    default = _default_key(choice.type)
    key = name if named else default

    def expect(raw: dict[str, Any]) -> dict[str, Any] | None:
        value = raw.get(name)
        value = cell_value(value) if isinstance(value, str) else value
        if isinstance(value, list) and choice.type not in _SEVERAL:
            several = [choice.convert(_scalar(each)) for each in value if not is_empty(each)]
            return {key: several} if several else None
        return None if is_empty(value) else {key: choice.convert(_scalar(value) if isinstance(value, dict) else value)}

    if values.entries is not None and choice.type not in _SEVERAL:
        choice.why += "; of several answers in a list any one is right"
    return AnswerForm(
        {
            "output": {"labels": list(choice.labels)} if choice.labels else {"text": True},
            "scorers": [{"type": choice.type, **({} if key == default else {"key": key}), **(choice.settings or {})}],
            "accept": {"min_score": choice.accept},
        },
        expect,
        f"answers are scored by {choice.type}, accepted from {choice.accept:g}: {choice.why}",
        ask=choice.ask,
        labels=choice.labels,
    )


def _scalar(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _default_key(scorer: str) -> str:
    cls = as_scorer(SCORERS.find(scorer))
    about = None if issubclass(cls, FieldScorer) else cls.model_fields.get("key")
    default = about.default if about is not None and isinstance(about.default, str) else "answer"
    return _KEYS.get(scorer, default)


def _wanted(scorer: str, values: Values) -> _Choice:
    why = "as it was asked for"
    if scorer == "label":
        found = _label_choice(values.scalars, min_count=0) or _Choice(scorer, why)
        found.why = why
        return found
    if scorer == "numeric" or scorer in _SEVERAL:
        return _Choice(scorer, why)
    return _Choice(scorer, why, accept=0.5 if scorer == "rouge" else 1, convert=_as_text)


def _chosen(name: str, values: Values) -> _Choice:
    single = values.scalars
    plural = _PLURAL.search(name.casefold()) is not None and values.lists_only
    if values.names and not plural:  # what the source declares comes before any guess
        return _declared(tuple(dict.fromkeys(values.names)))
    return (
        (_joined(values, single, plural) if values.entries is None or plural else None)
        or _yes_no(single)
        or (None if _is_quantity(single) else _label_choice(single, _REPEATS))
        or _measured(single)
        or _text(single)
    )


def _declared(labels: tuple[str, ...]) -> _Choice:
    if not 2 <= len(labels) <= 1000 or _collide(labels):
        return _Choice("exact", "the source declares its labels", settings={"ignore": ["case"]})
    return _Choice("label", f"the source declares {len(labels)} labels", _one_of(labels), None, labels)


def _collide(labels: tuple[str, ...]) -> bool:
    bare = [label.strip(_AROUND).casefold() for label in labels]
    return "" in bare or len(set(bare)) < len(bare)


def _yes_no(single: Values) -> _Choice | None:
    said = {spelling.casefold() for spelling in single.spellings or {}}
    pair = next((pair for pair in (("yes", "no"), ("true", "false")) if said and said <= set(pair)), None)
    if pair is None or set(single.kinds) - {"text", "boolean"}:
        return None
    why = f"all answers are {' or '.join(pair)}"
    first = next(iter(single.spellings or {}))
    style = str.title if first.istitle() else str.upper if first.isupper() else str.lower
    labels = tuple(map(style, ("yes", "no") if single.kinds["boolean"] else pair))

    def convert(value: Any) -> str:
        return labels[str(value).strip().casefold() in ("no", "false")]

    return _Choice("label", why, _one_of(labels), None, labels, convert)


def _is_quantity(single: Values) -> bool:
    """Whether answers are numbers and no grades: a set of numbers that happen to repeat is no set of classes."""
    values = [number(spelling) for spelling in single.spellings or {}]
    whole = single.spellings is not None and single.integers == single.filled
    grades = whole and all(value is not None and abs(value) <= _CODES for value in values)
    return _all_numbers(single) and not grades


def _all_numbers(single: Values) -> bool:
    kinds = set(single.kinds)
    return kinds == {"number"} or (kinds in ({"text"}, {"text", "number"}) and "number" in single.looks)


def _label_choice(single: Values, min_count: int) -> _Choice | None:
    groups = single.labels
    labels = tuple(sorted(groups.values(), key=lambda label: (number(label) is None, number(label) or 0, plain(label))))
    enough = single.filled >= min_count * len(groups)
    if not 2 <= len(groups) <= _LABELS or not enough or single.kinds["nested"] or _collide(labels):
        return None

    def convert(value: Any) -> str:
        text = str(_as_text(value))
        return groups.get(plain(text), text)

    why = f"{single.filled} answers are one of {len(labels)} that repeat"
    if len(groups) < len(single.spellings or {}):
        why += " (spellings that differ only in case or spaces are one label)"
    return _Choice("label", why, _one_of(labels), None, labels, convert)


def _one_of(labels: tuple[str, ...]) -> str | None:
    if sum(map(len, labels)) > _LISTED_LABELS:
        return None
    listed = "\n" + "\n".join(labels) if len(labels) > 12 else " " + ", ".join(labels)
    return f"Answer with one of these only:{listed}"


def _joined(values: Values, single: Values, plural: bool) -> _Choice | None:
    """Several labels at once: joined by ';' in a cell, or a list in a column that is called by a plural."""
    parts = values.entries.spellings if plural and values.entries else single.parts
    groups = grouped(parts)
    enough = 2 <= len(groups) <= _LABELS and sum((parts or {}).values()) >= _REPEATS * len(groups)
    if not (single.joined or plural) or set(single.kinds) != {"text"} or not enough:
        return None
    ask = f'Answer with all of these that apply, separated by ";": {", ".join(sorted(groups.values(), key=plain))}'
    shape = "lists" if plural else "cells"
    why = f'{shape} hold several of {len(groups)} labels; the score is F1, and an answer separates them by ";"'
    settings = {"separator": ";"}
    return _Choice("multi_label", why, ask if len(ask) <= _LISTED_LABELS else None, settings, accept=PARTIAL)


def _measured(single: Values) -> _Choice | None:
    if _all_numbers(single):
        return _Choice("numeric", "all answers are numbers", "Answer with the number only.")
    if set(single.kinds) == {"text"} and "date" in single.looks:
        return _Choice("date", "all answers are dates", "Answer with the date only.")
    if set(single.kinds) == {"text"} and "money" in single.looks and single.marked:
        return _Choice("money", "all answers are amounts of money", "Answer with the amount only.")
    return None


def _text(single: Values) -> _Choice:
    words = single.words / max(single.kinds["text"], 1)
    if words >= _LONG_WORDS:
        why = f"answers are texts of {words:.0f} words on average, compared by the overlap of words (rougeL)"
        return _Choice("rouge", why, settings={"metric": "rougeL"}, accept=0.5, convert=_as_text)
    why = (
        "answers are short texts that do not repeat; they must be equal but for case and punctuation. "
        "Where more words around them are fine, take --scorer contains"
    )
    ask = "Give the answer only, without an explanation."
    return _Choice("exact", why, ask, {"ignore": ["case", "punctuation"]}, convert=_as_text)


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | int | float) else value
