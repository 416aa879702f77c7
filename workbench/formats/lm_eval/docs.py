"""What a row of a task's data becomes: an item, with its prompt tried on it and its target filled in.

docs = Docs(task, scoring)
docs.survey("test")                          # once over all rows; what they decide together
docs.item(doc, "test.jsonl:7", ledger)       # {'inputs': …, 'expectations': …}; Unusable says why not
"""

from __future__ import annotations

import ast
import json
from typing import Any

from workbench.formats.lm_eval.export import OWN, TARGET, fixed
from workbench.formats.lm_eval.scoring import SHOWN, Scoring
from workbench.formats.lm_eval.task import Task
from workbench.formats.shared.choices import LETTERS, choice_texts, labels_for, lettered
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, scalar_text
from workbench.formats.shared.structured import Function
from workbench.formats.shared.templates import bare_names, is_template, over_inputs, reference, rendered
from workbench.scorers.values import number

_LABELS_AT_MOST = 100
_LONGEST_LIST = 100_000


class _Choices:
    """The choices of all rows: whether they are the same, and what an input with them can be called."""

    def __init__(self) -> None:
        self.first: list[str] = []
        self.varied = False
        self.longest = 0
        self._columns: dict[str, bool] = {}  # by name, whether it is the choices in every row

    def observe(self, choices: list[str], columns: dict[str, Any]) -> None:
        self.first = self.first or choices
        self.varied = self.varied or choices != self.first
        self.longest = max(self.longest, len(choices))
        for name, value in columns.items():
            self._columns[name] = self._columns.get(name, True) and value == choices

    def are_labels(self) -> bool:
        distinct = {label.strip().casefold() for label in self.first} - {""}
        return not self.varied and 2 <= len(self.first) == len(distinct) <= _LABELS_AT_MOST

    def name(self) -> str:
        """The input that holds an item's choices: a column of its own, or a new one."""
        same = sorted((name for name, kept in self._columns.items() if kept), key=lambda name: name != "choices")
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

    def survey(self, split: str) -> None:
        """Go through all rows once."""
        for _, doc in self._task.docs(split, Ledger()):
            self._columns = self._columns or set(doc)
            try:
                self._try_prompt(doc)
                if self._scoring.chooses:
                    choices = self._choices(doc)
                    self._indexes(doc, choices)
                    self._choices_seen.observe(choices, _inputs(doc))
                else:
                    targets = self._texts(doc)
                    self._scoring.observe(targets, self._references(targets))
            except Unusable:
                continue
        self.fixed = _is_fixed(self._config.get("doc_to_choice")) and self._choices_seen.are_labels()
        self._surveyed = True

    def prompt(self) -> str:
        """The prompt's template over inputs, with how to answer where there are choices.

        Raises:
            Unusable: doc_to_text does not compile.
        """
        given = str(self._config["doc_to_text"])
        column = not is_template(given) and (given in self._columns or not self._columns)
        text = f"{{{{ {reference(given)} }}}}" if column else over_inputs(given)
        if not self._scoring.chooses:
            return text
        return text + (fixed(self.labels()) if self.fixed else lettered(self._choices_seen.name()))

    def labels(self) -> list[str]:
        """The labels of multiple choice."""
        seen = self._choices_seen
        return [choice.strip() for choice in seen.first] if self.fixed else labels_for(seen.longest)

    def item(self, doc: dict[str, Any], place: str, ledger: Ledger, train: bool = False) -> dict[str, Any]:
        """A row as an item; one for examples (`train`) shows its target as it is written.

        Raises:
            Unusable: it cannot be one.
        """
        self._try_prompt(doc)
        inputs, key, own = _inputs(doc), "label", doc.get(OWN)
        own = own if isinstance(own, dict) else {}
        if self._scoring.chooses:
            choices = self._choices(doc)
            names = [each.strip() for each in choices] if self.fixed else list(LETTERS)
            answers = [names[index] for index in self._indexes(doc, choices)]
            inputs |= {} if self.fixed else {self._choices_seen.name(): choices}
        else:
            answers = self._texts(doc)
            shown = train and (self._scoring.shortens or SHOWN in own)
            self._scoring.shows = self._scoring.shows or shown
            answers = answers if shown else self._references(answers)
            key = SHOWN if train and self._scoring.shows else "answer"
        slices, more = own.get("slice"), own.get("expectations")  # as our export writes them
        known = {name: own[name] for name in ("id", "cluster", "sensitivity") if name in own}
        fields, lost = item_fields({**(slices if isinstance(slices, dict) else {}), **known})
        for name, what in lost.items():
            ledger.tally(place, f"slice '{name[:60]}' is {what}")
        expected = {key: answers[0] if len(answers) == 1 else answers}
        more = more if isinstance(more, dict) else {}
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
        except Unusable as failure:
            raise Unusable(f"{key} cannot be filled in ({failure})") from None

    def _try_prompt(self, doc: dict[str, Any]) -> None:
        text = self._said("doc_to_text", doc)
        if not isinstance(text, str | int | float) or (isinstance(text, str) and not text.strip()):
            raise Unusable("doc_to_text gives no text")
        try:
            rendered(str(self._config.get("description") or ""), doc)
        except Unusable as failure:
            raise Unusable(f"description cannot be filled in ({failure})") from None

    def _choices(self, doc: dict[str, Any]) -> list[str]:
        given = self._said("doc_to_choice", doc)
        given = _listed(given.strip()) if isinstance(given, str) else given
        texts = choice_texts(list(given.values()) if isinstance(given, dict) else given)
        if texts is None or len(texts) < 2:
            raise Unusable(f"its choices are no list of 2 to {len(LETTERS)} texts")
        return texts

    def _targets(self, doc: dict[str, Any]) -> list[Any]:
        target, given = self._said("doc_to_target", doc), self._config["doc_to_target"]
        if isinstance(target, str) and given != TARGET and given not in doc:
            target = _listed(target)  # a template that makes a list of accepted answers
        return target if isinstance(target, list) else [target]

    def _found(self, doc: dict[str, Any], choices: list[str]) -> list[tuple[Any, int | None]]:
        """A row's targets, each with which of the choices it is."""
        # The harness reads digits as the position of a choice before it reads them as its text.
        by_position = self._config["doc_to_target"] not in doc or self._task.untyped
        return [(target, _index(target, choices, by_position)) for target in self._targets(doc)]

    def _indexes(self, doc: dict[str, Any], choices: list[str]) -> list[int]:
        found = [index for _, index in self._found(doc, choices)]
        kept = [index for index in found if index is not None]
        if not kept or len(kept) < len(found):
            raise Unusable("doc_to_target names none of its choices")
        return list(dict.fromkeys(kept))

    def _texts(self, doc: dict[str, Any]) -> list[str]:
        """A row's targets as texts."""
        targets, given = self._targets(doc), self._config.get("doc_to_choice")
        if given is not None and not isinstance(given, Function):
            choices = self._choices(doc)
            targets = [each if index is None else choices[index] for each, index in self._found(doc, choices)]
        texts = [scalar_text(each) for each in targets]
        found = [text for text in texts if text is not None and text.strip()]
        if not found or len(found) < len(texts):
            raise Unusable("doc_to_target gives no text")
        return found

    def _references(self, targets: list[str]) -> list[str]:
        """Targets as they are compared with answers."""
        found = [self._scoring.reference(text) for text in targets]
        if not all(text.strip() for text in found):
            raise Unusable("of its target regexes_to_ignore leaves nothing")
        if self._surveyed and self._scoring.numeric and any(number(text) is None for text in found):
            raise Unusable("its target is no number, and those of the items are")
        return found


def _is_fixed(given: Any) -> bool:
    """Whether a task says its choices itself, the same for all rows."""
    try:
        return isinstance(given, list | dict) or (is_template(str(given)) and not bare_names(str(given)))
    except Unusable:
        return False


def _inputs(doc: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in doc.items() if name != OWN}


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
