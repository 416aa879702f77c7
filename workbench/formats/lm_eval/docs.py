"""What a row of a task's data becomes: an item, with its prompt tried on it and its target filled in.

docs = Docs(task, scoring)
docs.survey("test")                          # once over all rows; what they decide together
docs.item(doc, "test.jsonl:7", ledger)       # {'inputs': …, 'expectations': …}; Unusable says why not
"""

from __future__ import annotations

import ast
import json
from typing import Any

from workbench.formats.shared.choices import LETTERS, choice_texts, labels_for, lettered
from workbench.formats.shared.ledger import Ledger
from workbench.formats.lm_eval.export import OWN, TARGET, fixed
from workbench.formats.lm_eval.scoring import SHOWN, Scoring
from workbench.formats.lm_eval.task import Task
from workbench.formats.shared.metadata import item_fields, scalar_text
from workbench.formats.shared.files import Function
from workbench.formats.shared.templates import TemplateFailure, bare_names, is_template, over_inputs, reference, rendered
from workbench.scorers.values import number

_LABELS_AT_MOST = 100
_LONGEST_LIST = 100_000


class Unusable(Exception):
    """A row that cannot be carried over; the message says why."""


class _Choices:
    """The choices of all rows: whether they are the same, and what an input with them can be called."""

    def __init__(self) -> None:
        self.first: list[str] | None = None
        self.varied = False
        self.longest = 0
        self._columns: dict[str, bool] = {}  # by name, whether it is the choices in every row

    def observe(self, choices: list[str], columns: dict[str, Any]) -> None:
        self.first = choices if self.first is None else self.first
        self.varied = self.varied or choices != self.first
        self.longest = max(self.longest, len(choices))
        for name, value in columns.items():
            self._columns[name] = self._columns.get(name, True) and value == choices

    def are_labels(self) -> bool:
        labels = [label.strip() for label in self.first or []]
        distinct = {label.casefold() for label in labels} - {""}
        return not self.varied and 2 <= len(labels) == len(distinct) <= _LABELS_AT_MOST

    def name(self) -> str:
        """The input that holds an item's choices: a column of its own, or a new one."""
        same = sorted(
            (name for name, kept in self._columns.items() if kept), key=lambda name: (name != "choices", name)
        )
        return same[0] if same else "choices" if "choices" not in self._columns else "answer_choices"


class Docs:
    """The rows of a task.

    Attributes:
        fixed: its choices are labels: the same for all rows, and said by the task itself.
    """

    def __init__(self, task: Task, scoring: Scoring) -> None:
        self.fixed = False
        self._surveyed = False
        self._task, self._config, self._scoring = task, task.config, scoring
        self._columns: set[str] = set()
        self._choices_seen = _Choices()
        self._chooses = scoring.kind == "multiple_choice"

    def survey(self, split: str) -> None:
        """Go through all rows once."""
        first = True
        for _, doc in self._task.docs(split, Ledger()):
            self._columns |= set(doc) if first else set()
            first = False
            try:
                self._try_prompt(doc)
                if self._chooses:
                    choices = self._choices(doc)
                    self._indexes(doc, choices)
                    self._choices_seen.observe(choices, _inputs(doc))
                else:
                    targets = self._texts(doc)
                    self._scoring.observe(targets, self._references(targets))
            except Unusable:
                continue
        self.fixed = self._said_by_task() and self._choices_seen.are_labels()
        self._surveyed = True

    def _said_by_task(self) -> bool:
        given = self._config.get("doc_to_choice")
        if isinstance(given, str):
            return is_template(given) and not bare_names(given)
        return isinstance(given, list | dict)

    def prompt(self) -> str:
        """The prompt's template over inputs, with how to answer where there are choices.

        Raises:
            TemplateFailure: doc_to_text does not compile.
        """
        given = str(self._config["doc_to_text"])
        if not is_template(given) and (given in self._columns or not self._columns):
            text = f"{{{{ {reference(given)} }}}}"
        else:
            text = over_inputs(given)
        if not self._chooses:
            return text
        return text + (fixed(self.labels()) if self.fixed else lettered(self._choices_seen.name()))

    def labels(self) -> list[str]:
        """The labels of multiple choice."""
        if self.fixed:
            return [choice.strip() for choice in self._choices_seen.first or []]
        return labels_for(self._choices_seen.longest)

    def item(self, doc: dict[str, Any], place: str, ledger: Ledger, train: bool = False) -> dict[str, Any]:
        """A row as an item; one for examples (`train`) shows its target as it is written.

        Raises:
            Unusable: it cannot be one.
        """
        self._try_prompt(doc)
        inputs = _inputs(doc)
        if self._chooses:
            choices = self._choices(doc)
            names = [each.strip() for each in choices] if self.fixed else list(LETTERS)
            answers = [names[index] for index in self._indexes(doc, choices)]
            if not self.fixed:
                inputs[self._choices_seen.name()] = choices
        else:
            answers = self._texts(doc)
            shown = train and (self._scoring.shortens or (isinstance(doc.get(OWN), dict) and SHOWN in doc[OWN]))
            self._scoring.shows = self._scoring.shows or shown
            answers = answers if shown else self._references(answers)
        key = "label" if self._chooses else SHOWN if train and self._scoring.shows else "answer"
        expected = {key: answers[0] if len(answers) == 1 else answers}
        fields, more = _own_fields(doc.get(OWN), place, ledger)
        return {**fields, "inputs": inputs, "expectations": {**more, **expected}}

    def _said(self, key: str, doc: dict[str, Any]) -> Any:
        """What a setting says for a row: a column, a template filled in, or itself."""
        given = self._config.get(key)
        if not isinstance(given, str):
            return given
        if given == TARGET and isinstance(doc.get(OWN), dict):
            return doc[OWN].get("target")
        if given in doc:
            return doc[given]
        if given in self._columns:
            raise Unusable(f"it has no column '{given[:60]}'")
        try:
            return rendered(given, doc)
        except TemplateFailure as failure:
            raise Unusable(f"{key} cannot be filled in ({failure})") from None

    def _try_prompt(self, doc: dict[str, Any]) -> None:
        text = self._said("doc_to_text", doc)
        if not isinstance(text, str | int | float) or (isinstance(text, str) and not text.strip()):
            raise Unusable("doc_to_text gives no text")
        try:
            rendered(str(self._config.get("description") or ""), doc)
        except TemplateFailure as failure:
            raise Unusable(f"description cannot be filled in ({failure})") from None

    def _choices(self, doc: dict[str, Any]) -> list[str]:
        given = self._said("doc_to_choice", doc)
        if isinstance(given, str):
            given = _listed(given.strip())
        texts = choice_texts(list(given.values()) if isinstance(given, dict) else given)
        if texts is None or len(texts) < 2:
            raise Unusable(f"its choices are no list of 2 to {len(LETTERS)} texts")
        return texts

    def _targets(self, doc: dict[str, Any]) -> list[Any]:
        target = self._said("doc_to_target", doc)
        if (
            isinstance(target, str)
            and self._config["doc_to_target"] != TARGET
            and self._config["doc_to_target"] not in doc
        ):
            target = _listed(target)  # a template that makes a list of accepted answers
        return target if isinstance(target, list) else [target]

    def _by_position(self, doc: dict[str, Any]) -> bool:
        """Whether digits are the position of a choice before they are its text, as the harness reads them."""
        return self._config["doc_to_target"] not in doc or self._task.untyped

    def _indexes(self, doc: dict[str, Any], choices: list[str]) -> list[int]:
        found = [_index(each, choices, self._by_position(doc)) for each in self._targets(doc)]
        kept = [index for index in found if index is not None]
        if not kept or len(kept) < len(found):
            raise Unusable("doc_to_target names none of its choices")
        return list(dict.fromkeys(kept))

    def _texts(self, doc: dict[str, Any]) -> list[str]:
        """A row's targets as texts."""
        targets = self._targets(doc)
        if self._config.get("doc_to_choice") is not None and not isinstance(self._config["doc_to_choice"], Function):
            choices = self._choices(doc)
            indexes = [_index(each, choices, self._by_position(doc)) for each in targets]
            targets = [each if index is None else choices[index] for each, index in zip(targets, indexes, strict=True)]
        texts = [scalar_text(each) for each in targets]
        found = [text for text in texts if text is not None and text.strip()]
        if not found or len(found) < len(texts):
            raise Unusable("doc_to_target gives no text")
        return found

    def _references(self, targets: list[str]) -> list[str]:
        """Targets as they are compared with answers."""
        try:
            found = [self._scoring.reference(text) for text in targets]
        except TimeoutError:
            raise Unusable("a pattern of regexes_to_ignore takes too long on its target") from None
        if not all(text.strip() for text in found):
            raise Unusable("of its target regexes_to_ignore leaves nothing")
        if self._surveyed and self._scoring.numeric and any(number(text) is None for text in found):
            raise Unusable("its target is no number, and those of the items are")
        return found


def _inputs(doc: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in doc.items() if name != OWN}


def _own_fields(own: Any, place: str, ledger: Ledger) -> tuple[dict[str, Any], dict[str, Any]]:
    """An item's fields, and expectations beside the target, as our export writes them."""
    if not isinstance(own, dict):
        return {}, {}
    slices, more = own.get("slice"), own.get("expectations")
    known = {key: own[key] for key in ("id", "cluster", "sensitivity") if key in own}
    fields, lost = item_fields({**(slices if isinstance(slices, dict) else {}), **known})
    for key, what in lost.items():
        ledger.tally(place, f"slice '{key[:60]}' is {what}")
    return fields, more if isinstance(more, dict) else {}


def _listed(text: str) -> Any:
    """A filled-in template; a list where it reads as one, in JSON's or Python's notation."""
    if text[:1] != "[" or text[-1:] != "]" or len(text) > _LONGEST_LIST:
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, list):
            return found
    return text


def _index(target: Any, choices: list[str], by_position: bool) -> int | None:
    """Which choice a target means: its position, or its text."""
    if isinstance(target, float) and target.is_integer():
        target = int(target)
    if isinstance(target, int) and not isinstance(target, bool):
        return target if 0 <= target < len(choices) else None
    text = scalar_text(target)
    if text is None:
        return None
    stripped = text.strip()
    digits = stripped.isascii() and stripped.isdigit() and len(stripped) < 9
    position = int(stripped) if digits and int(stripped) < len(choices) else None
    if by_position and position is not None:
        return position
    for wanted, offered in ((text, choices), (stripped, [choice.strip() for choice in choices])):
        if offered.count(wanted) == 1:
            return offered.index(wanted)
    return position
