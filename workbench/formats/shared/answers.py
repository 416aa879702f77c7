"""From what a table's answers are to an output format, a scorer, and expectations in the form that it reads.

form = answer_form({"answer": values}, named=False)
form.spec, form.expectations({"answer": "Yes"})          # {'output': {'labels': ['Yes', 'No']}, …}, {'label': 'Yes'}
"""

from __future__ import annotations

import json
import re
from typing import Any

from workbench.errors import InputError
from workbench.formats.shared.cells import cell_value, is_empty
from workbench.formats.shared.fields import typed_fields
from workbench.formats.shared.form import Expect, Form
from workbench.formats.shared.names import UNREAD
from workbench.formats.shared.scored import usual_bar
from workbench.formats.shared.values import Values, grouped
from workbench.scorers.base import SCORERS, FieldScorer, as_scorer
from workbench.scorers.lists import spelled
from workbench.scorers.multi_label import MultiLabelScorer
from workbench.scorers.spelling import AROUND, composed
from workbench.scorers.values import number, plain
from workbench.words import counted

_LABELS = 100  # at most; more of them are no classes
_REPEATS = 3  # items for each label, on average, or they are no labels either
_LONG_WORDS = 8  # words of an answer, on average, from which on it is compared by overlap
_FIELD_LENGTH = 120
_PIECE_WORDS = 2  # of what ";" parts, on average, up to which it may be a label
_CODES = 10  # whole numbers up to here that repeat are grades or classes, not quantities
_LISTED_LABELS = 6000  # characters of labels that a made-up prompt may hold
_PARTIAL = 0.8  # the score that is accepted where a part of an answer may be wrong
_PLURAL = re.compile(r"(?:^|_)(?:labels|tags|categories|topics|classes|emotions|intents|genres)$")
_KEYS = {"label": "label", "multi_label": "labels", "regex": "pattern"}
_SEVERAL = ("multi_label", "set_f1")  # of these a list is one answer
_MAIN = ("expected_response", "answer", "label", "labels", "answers", "expected_output", "reference", "target")


def answer_form(
    found: dict[str, Values], *, text_only: bool = False, named: bool = True, scorer: str | None = None
) -> Form:
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
    short = all(values.longest <= _FIELD_LENGTH for name, values in scored.items() if name != main)
    if main and (main == "expected_response" or scorer or not short):
        scored = {main: scored[main]}
    if len(scored) > 1:
        some = list(scored)
        form = object_form(scored, lambda raw: None if all(is_empty(raw.get(n)) for n in some) else raw, text_only)
    else:
        form = _one(*next(iter(scored.items())), named, scorer)
    form.unread = [name for name in found if name not in scored]
    return form


def object_form(fields: dict[str, Values], part: Expect, text_only: bool = False) -> Form:
    """Answers whose fields are compared one by one.

    Args:
        part: the expected object of a row.
    """
    types, schema, shaped = typed_fields(fields, text_only)

    def expect(raw: dict[str, Any]) -> dict[str, Any] | None:
        found = part(raw)
        return None if found is None else shaped(found)

    shown = ", ".join(f"{name}: {spec if isinstance(spec, str) else spec['type']}" for name, spec in types.items())
    why = f"objects, field by field ({shown}); the schema is made from the values, and an empty value counts as null"
    ask = f"Answer with a JSON object with these keys: {', '.join(types)}"
    return Form({"type": "json_fields", "fields": types}, why, ask, accept=_PARTIAL, expect=expect, schema=schema)


def _one(name: str, values: Values, named: bool, scorer: str | None) -> Form:
    def part(raw: dict[str, Any]) -> dict[str, Any] | None:
        value = cell_value(raw.get(name))
        return value if isinstance(value, dict) else None

    if values.objects_only and set(values.fields) == {"text", "answer_start"}:  # SQuAD's
        form = _one(name, values.fields["text"], named, scorer)
        form.why += "; answer_start, where an answer stands in the text, is not used"
        texts = form.expect
        form.expect = lambda raw: texts({name: (part(raw) or {}).get("text")})
        return form
    if values.objects_only and not values.wide and scorer in (None, "json_fields"):
        return object_form(values.fields, part)
    form = _chosen(name, values) if scorer is None else _wanted(scorer, values)
    if scorer is None and form.scorer["type"] in ("exact", "label", "rouge") and _looks_joined(values):
        where = f'in {values.joined} answers ";" stands between words'
        form.why += f". I{where[1:]}: if it joins labels, take --scorer multi_label"
    return _keyed(form, name, values, named)


def _keyed(form: Form, name: str, values: Values, named: bool) -> Form:
    """A form told which expectation it reads, and under which key."""
    kind = form.scorer["type"]
    default = _default_key(kind)
    key = name if named else default
    if key != default:
        form.scorer = {"type": kind, "key": key, **form.scorer}
    if values.entries is not None and kind not in _SEVERAL:
        form.why += "; of several answers in a list any one is right"
        if texts := values.shapes["list_text"]:
            form.why += f" ({texts} of the lists are texts that read as one)"

    def expect(raw: dict[str, Any]) -> dict[str, Any] | None:
        value = cell_value(raw.get(name))
        if isinstance(value, list) and kind not in _SEVERAL:
            value = [form.convert(_flat(each)) for each in value if not is_empty(each)]
        elif not is_empty(value):
            value = form.convert(_flat(value) if isinstance(value, dict) else value)
        if form.may_be_none and value in ("", []):  # an empty cell or list; what is not there says nothing
            return {key: []}
        return None if is_empty(value) else {key: value}

    form.expect = expect
    return form


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _default_key(scorer: str) -> str:
    cls = as_scorer(SCORERS.find(scorer))
    about = None if issubclass(cls, FieldScorer) else cls.model_fields.get("key")
    default = about.default if about is not None and isinstance(about.default, str) else "answer"
    return _KEYS.get(scorer, default)


def _wanted(scorer: str, values: Values) -> Form:
    if scorer == "multi_label" and (values.joined or values.entries is not None):
        groups = grouped(values.parts if values.entries is None else values.entries.spellings)
        return _several(groups if len(groups) <= _LABELS else {}, "as it was asked for", values.blank)
    form = (_declared(values) or _labels(values, repeats=0) if scorer == "label" else None) or Form(
        {"type": scorer}, ""
    )
    form.why = "as it was asked for"
    if scorer not in ("label", "numeric", *_SEVERAL):
        form.convert, form.accept = _as_text, usual_bar(scorer)
    return form


def _chosen(name: str, values: Values) -> Form:
    plural = _PLURAL.search(name.casefold()) is not None and values.lists_only
    if values.names and not plural:  # what the source declares comes before any guess
        return _declared(values) or Form({"type": "exact", "ignore": ["case"]}, "the source declares its labels")
    return (
        (_joined(values, plural) if values.entries is None or plural else None)
        or _yes_no(values)
        or (None if _is_quantity(values) else _labels(values, _REPEATS))
        or _measured(values)
        or _text(values)
    )


def _declared(values: Values) -> Form | None:
    labels = tuple(dict.fromkeys(values.names or ()))
    if not 2 <= len(labels) <= 1000 or _collide(labels):
        return None
    why = f"the source declares {len(labels)} labels"
    return Form({"type": "label"}, why, _one_of(labels), labels, convert=_as_text)


def _collide(labels: tuple[str, ...]) -> bool:
    bare = [plain(composed(label.strip(AROUND))) for label in labels]
    return "" in bare or len(set(bare)) < len(bare)


def _yes_no(values: Values) -> Form | None:
    said = {spelling.casefold() for spelling in values.spellings or {}}
    pair = next((pair for pair in (("yes", "no"), ("true", "false")) if said and said <= set(pair)), None)
    if pair is None or set(values.kinds) - {"text", "boolean"}:
        return None
    first = next(iter(values.spellings or {}))
    style = str.title if first.istitle() else str.upper if first.isupper() else str.lower
    labels = tuple(map(style, ("yes", "no") if values.kinds["boolean"] else pair))

    def convert(value: Any) -> str:
        return labels[str(value).strip().casefold() in ("no", "false")]

    return Form({"type": "label"}, f"all answers are {' or '.join(pair)}", _one_of(labels), labels, convert=convert)


def _is_quantity(values: Values) -> bool:
    """Whether answers are numbers and no grades: a set of numbers that happen to repeat is no set of classes."""
    numbers = [number(spelling) for spelling in values.spellings or {}]
    whole = values.spellings is not None and values.integers == values.kinds.total()
    grades = whole and all(value is not None and abs(value) <= _CODES for value in numbers)
    return values.numbers_only and not grades


def _labels(values: Values, repeats: int) -> Form | None:
    groups = values.labels
    labels = tuple(sorted(groups.values(), key=lambda label: (number(label) is None, number(label) or 0, plain(label))))
    enough = values.kinds.total() >= repeats * len(groups)
    if not 2 <= len(groups) <= _LABELS or not enough or values.kinds["nested"] or _collide(labels):
        return None

    def convert(value: Any) -> str:
        text = str(_as_text(value))
        return groups.get(plain(text), text)

    why = f"{values.kinds.total()} answers are one of {len(labels)} that repeat"
    if len(groups) < len(values.spellings or {}):
        why += " (spellings that differ only in case or spaces are one label)"
    return Form({"type": "label"}, why, _one_of(labels), labels, convert=convert)


def _one_of(labels: tuple[str, ...]) -> str | None:
    if sum(map(len, labels)) > _LISTED_LABELS:
        return None
    listed = "\n" + "\n".join(labels) if len(labels) > 12 else " " + ", ".join(labels)
    return f"Answer with one of these only:{listed}"


def _joined(values: Values, plural: bool) -> Form | None:
    """Several labels at once: joined by ';' in a cell, or a list in a column that is called by a plural."""
    parts = values.entries.spellings if plural and values.entries else values.parts
    groups = grouped(parts)
    enough = 2 <= len(groups) <= _LABELS and sum((parts or {}).values()) >= _REPEATS * len(groups)
    if not (values.joined or plural) or set(values.kinds) != {"text"} or not enough:
        return None
    return _several(groups, f"{'lists' if plural else 'cells'} hold several of {len(groups)} labels", values.blank)


def _several(groups: dict[str, str], why: str, blank: int) -> Form:
    """Answers of several labels each, of which these are known; `blank` ones have none, if that is no label."""
    blank = 0 if "none" in groups else blank
    labels = sorted(groups.values(), key=plain)
    listed = ", ".join(labels)
    known = 0 < len(listed) <= _LISTED_LABELS
    ask = f'Answer with all {"of these " if known else "labels "}that apply, separated by ";"'
    none = f"; where there is no label ({counted(blank, 'row')}), 'none' is right" if blank else ""
    why += f'; the score is F1, and an answer separates labels by ";"{none}'
    scorer: dict[str, Any] = {"type": "multi_label", "separator": ";"}
    reader = MultiLabelScorer.model_validate(scorer)
    if known and all(reader.labels_of(label) == {spelled(label)} for label in labels):
        scorer["labels"] = labels  # each reads as itself
    ask = f"{ask}: {listed}" if known else f"{ask}."
    ask += '\nIf none applies, answer "none".' if blank else ""
    return Form(scorer, why, ask, accept=_PARTIAL, may_be_none=blank > 0)


def _looks_joined(values: Values) -> bool:
    """Whether some texts are a few words each with ";" between them: labels that are joined, or else short phrases."""
    pieces = sum((values.parts or {}).values())
    plain_texts = set(values.kinds) == {"text"} and values.entries is None and values.names is None
    return plain_texts and values.joined > 0 and 0 < values.words <= _PIECE_WORDS * pieces


def _measured(values: Values) -> Form | None:
    if values.numbers_only:
        return Form({"type": "numeric"}, "all answers are numbers", "Answer with the number only.")
    if set(values.kinds) == {"text"} and "date" in values.looks:
        return Form({"type": "date"}, "all answers are dates", "Answer with the date only.")
    if set(values.kinds) == {"text"} and "money" in values.looks and values.marked:
        return Form({"type": "money"}, "all answers are amounts of money", "Answer with the amount only.")
    return None


def _text(values: Values) -> Form:
    words = values.words / max(values.kinds["text"], 1)
    if words >= _LONG_WORDS:
        why = f"answers are texts of {words:.0f} words on average, compared by the overlap of words (rougeL)"
        return Form({"type": "rouge", "metric": "rougeL"}, why, accept=0.5, convert=_as_text)
    # An answer that is ignored would always be given, and two that are made the same could not be told apart.
    ignore = ["case"] if values.signs or values.blurred else ["case", "punctuation"]
    why = (
        f"answers are short texts that do not repeat; they must be equal but for {' and '.join(ignore)}. "
        "Where more words around them are fine, take --scorer contains"
    )
    ask = "Give the answer only, without an explanation."
    return Form({"type": "exact", "ignore": ignore}, why, ask, convert=_as_text)


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | int | float) else value
