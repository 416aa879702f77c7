"""Rows of the data of an lm-evaluation-harness task as items, by what its doc_to_… settings say; and back.

reader = RowReader(settings, columns, patterns)
reader.item({"question": "Capital of France?", "answer": "Paris"}, "data.jsonl:1", ledger)
written_row(evalset, item, "", ledger)        # {'question': …, 'workbench': {'id': …, 'target': 'Paris'}}
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from workbench.evalset import EvalSet, Item, Message, Variant
from workbench.formats.base import where
from workbench.formats.lm_eval.metrics import without
from workbench.formats.lm_eval.settings import Settings
from workbench.formats.shared.choices import LETTERS, choice_texts, lettered, position_of
from workbench.formats.shared.export import one_or_all, target_of
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, metadata_of, scalar_text
from workbench.formats.shared.rows import Row
from workbench.formats.shared.templates import rendered
from workbench.prompts import render

OWN = "workbench"  # the column with what is no input: id, slice, cluster, sensitivity, target
TARGET = "{{workbench.target}}"
_LONGEST_LIST = 100_000  # characters


class RowReader:
    """Makes items of rows.

    Args:
        columns: of the first row.
        patterns: what is taken out of references.

    Attributes:
        longest: the length of the longest list of choices that was read.
    """

    def __init__(self, settings: Settings, columns: set[str], patterns: Sequence[str]) -> None:
        self._settings, self._columns, self._patterns = settings, columns, patterns
        self.longest = 0

    def item(self, doc: Row, place: str, ledger: Ledger) -> dict[str, Any]:
        """An item's fields.

        Raises:
            Unusable: the row has no question or no answer.
        """
        prompt = self._said("doc_to_text", doc)
        self._said("description", doc)
        if not (scalar_text(prompt) or "").strip():
            raise Unusable("doc_to_text gives no text")
        own = dict(doc[OWN]) if isinstance(doc.get(OWN), dict) else {}  # as our export writes it
        targets = self._targets(doc, own.pop("target", None))
        fields = item_fields(own, place, ledger)
        fields["inputs"] = {name: value for name, value in doc.items() if name != OWN}
        if self._settings.chooses:
            choices = self._choices(doc)
            fields["inputs"][self.choices_input()] = choices
            self.longest = max(self.longest, len(choices))
            # The harness reads digits as the position of a choice before it reads them as its text.
            digits = self._settings["doc_to_target"] not in doc or self._settings["dataset_path"] == "csv"
            places = [position_of(target, choices, digits) for target in targets]
            if not places or None in places:
                raise Unusable("doc_to_target names none of its choices")
            answers = list(dict.fromkeys(LETTERS[at] for at in places if at is not None))
        else:
            answers = [without(self._patterns, scalar_text(target) or "") for target in targets or [""]]
        fields["expectations"]["label" if self._settings.chooses else "answer"] = one_or_all(answers)
        return fields

    def _said(self, key: str, doc: Row) -> Any:
        """What a setting says for a row: a column, a template filled in, or itself."""
        given = self._settings.get(key)
        if not isinstance(given, str):
            return given
        if given in doc:
            return doc[given]
        if given in self._columns:
            raise Unusable(f"it has no column '{given[:60]}'")
        try:
            return rendered(given, doc)
        except Unusable as failure:
            raise Unusable(f"{key} cannot be filled in ({failure})") from None

    def _targets(self, doc: Row, ours: Any) -> list[Any]:
        given = self._settings["doc_to_target"]
        target = ours if given == TARGET and ours is not None else self._said("doc_to_target", doc)
        if isinstance(target, str) and given != TARGET and given not in doc:
            target = _as_list(target)  # a template that makes a list of accepted answers
        return target if isinstance(target, list) else [target]

    def _choices(self, doc: Row) -> list[str]:
        given = self._said("doc_to_choice", doc)
        given = _as_list(given.strip()) if isinstance(given, str) else given
        texts = choice_texts(list(given.values()) if isinstance(given, dict) else given)
        if texts is None or len(texts) < 2:
            raise Unusable(f"its choices are no list of 2 to {len(LETTERS)} texts")
        return texts

    def choices_input(self) -> str:
        """The input that holds an item's choices: a column of its own, or a new one."""
        given = str(self._settings.get("doc_to_choice")).strip("{} ")
        return given if given in self._columns else "answer_choices" if "choices" in self._columns else "choices"


def written_row(evalset: EvalSet, item: Item, choices: str, ledger: Ledger) -> dict[str, Any]:
    """An item as a row of data."""
    texts, key = target_of(evalset, item, ledger)
    said = [key] if key == ("label" if choices else "answer") else []
    own = metadata_of(item, where(evalset.path / "items.jsonl"), ledger, expectations=said)
    letters = choices and all(text in LETTERS and len(text) == 1 for text in texts)
    targets = [LETTERS.index(text) for text in texts] if letters else texts  # a letter as its place among the choices
    return {**item.inputs, OWN: {**own, "target": one_or_all(targets)}}


def filled_prompt(evalset: EvalSet, name: str, column: str, last: bool, item: Item) -> dict[str, str]:
    """A column with the prompt filled in: the last turn of it, or all of them."""
    if not column:
        return {}
    turns = render(evalset, name, item).messages[-1 if last else 0 :]
    roles = [f"{turn['role']}: " if len(turns) > 1 else "" for turn in turns]
    return {column: "\n\n".join(role + turn["content"] for role, turn in zip(roles, turns, strict=True))}


def without_choices(variant: Variant, items: Sequence[Item]) -> tuple[Variant, str]:
    """A variant without how it lists the choices of an input, and that input; itself and "" where it lists none."""
    *before, last = variant.messages
    if not isinstance(last, Message):
        return variant, ""
    listed = (name for name in (items[0].inputs if items else ()) if last.content.endswith(lettered(name)))
    found = next((name for name in listed if all(choice_texts(item.inputs.get(name)) for item in items)), "")
    if not found:
        return variant, ""
    rest = last.model_copy(update={"content": last.content.removesuffix(lettered(found))})
    return variant.model_copy(update={"messages": [*before, rest]}), found


def _as_list(text: str) -> Any:
    """A filled-in template; a list where it reads as one, in JSON's or Python's notation."""
    if text[:1] != "[" or text[-1:] != "]" or len(text) > _LONGEST_LIST:
        return text
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            found = read(text)
            return found if isinstance(found, list) else text
    return text
