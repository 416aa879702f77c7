"""The rules model: a task's table of patterns, no AI. It costs nothing and abstains where no pattern matches.

rules = load_rules(path)
rules.answer({"subject": "Refund", "body": "…"})      # 'billing', or None where it abstains
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import regex
from pydantic import AfterValidator, Field, model_validator

from workbench.files import Document, StrictModel, plain_data, read_yaml
from workbench.scorers.regexes import checked_pattern
from workbench.strict import Place, brief

PATTERN_TIMEOUT_S = 0.2
_TEXT_LIMIT = 100_000
_LONGEST_REASON = 160
_Object = Annotated[dict[str, Any], AfterValidator(plain_data)]


class Rule(StrictModel):
    """The first rule whose pattern is found gives its answer: a label, or the object of a JSON answer."""

    pattern: str = Field(min_length=1)
    answer: str | _Object


class FieldRule(StrictModel):
    """The first rule whose pattern is found gives the value of one field."""

    pattern: str = Field(min_length=1)
    answer: str | int | float | bool


class FieldRules(StrictModel):
    """The rules of one field of a JSON answer; without a default the whole table abstains where none matches."""

    rules: list[FieldRule] = Field(min_length=1)
    default: str | int | float | bool | None = None


class _RulesFile(StrictModel):
    schema_: Literal[1] = Field(alias="schema")
    text: list[str] = Field(min_length=1)
    rules: list[Rule] = Field(default=[], min_length=1)
    default: str | _Object | None = None
    fields: dict[str, FieldRules] = Field(default={}, min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> _RulesFile:
        if bool(self.rules) == bool(self.fields):
            raise ValueError("give either 'rules' for whole answers, or 'fields' with the rules of each field")
        if self.fields and self.default is not None:
            raise ValueError("'default' goes with 'rules'; with 'fields', each field has a default of its own")
        return self


@dataclass(frozen=True)
class Rules:
    """A checked table. Patterns come with eval sets, which are untrusted, so each search has a time-out."""

    spec: _RulesFile
    document: Document

    def text_of(self, inputs: dict[str, Any]) -> str:
        """The text that is searched: the named inputs, a line each."""
        return "\n".join(str(inputs[name]) for name in self.spec.text if name in inputs)[:_TEXT_LIMIT]

    def answers(self) -> Iterator[tuple[Place, Any]]:
        """Every answer of `rules`, and its default, with its place in the file."""
        for index, rule in enumerate(self.spec.rules):
            yield ("rules", index, "answer"), rule.answer
        if self.spec.default is not None:
            yield ("default",), self.spec.default

    def values(self) -> Iterator[tuple[Place, str, Any]]:
        """Every value of `fields`, defaults too, with its place in the file and the field that it is of."""
        for name, table in self.spec.fields.items():
            for index, rule in enumerate(table.rules):
                yield ("fields", name, "rules", index, "answer"), name, rule.answer
            if table.default is not None:
                yield ("fields", name, "default"), name, table.default

    def answer(self, inputs: dict[str, Any]) -> str | None:
        """The answer for an item's inputs, or None where the table abstains.

        Raises:
            TimeoutError: a pattern took longer than its time-out.
        """
        return self.answer_text(self.text_of(inputs))

    def answer_text(self, text: str) -> str | None:
        """The answer for a text. See `answer`."""
        if not self.spec.fields:
            found = _first(self.spec.rules, text, self.spec.default)
            return None if found is None else as_text(found)
        answer = {name: _first(table.rules, text, table.default) for name, table in self.spec.fields.items()}
        return None if None in answer.values() else as_text(answer)


def _first(rules: Sequence[Rule | FieldRule], text: str, default: Any) -> Any:
    for rule in rules:
        try:
            if _compiled(rule.pattern).search(text, timeout=PATTERN_TIMEOUT_S):
                return rule.answer
        except TimeoutError:
            raise TimeoutError(f"pattern {rule.pattern!r} took over {PATTERN_TIMEOUT_S} s") from None
    return default


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern)


def as_text(answer: str | dict[str, Any]) -> str:
    """An answer as a model would write it."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def load_rules(path: Path) -> Rules:
    """Read a rules table.

    Raises:
        InputError: naming file, line, field and the mend.
    """
    document = read_yaml(path)
    spec = document.parse(_RulesFile)
    places: list[tuple[tuple[str | int, ...], Rule | FieldRule]] = [
        (("rules", index), rule) for index, rule in enumerate(spec.rules)
    ]
    for name, table in spec.fields.items():
        places += [(("fields", name, "rules", index), rule) for index, rule in enumerate(table.rules)]
    for place, rule in places:
        try:
            checked_pattern(rule.pattern)
        except ValueError as failure:
            raise document.error((*place, "pattern"), f"{brief(str(failure), _LONGEST_REASON)}.") from None
    return Rules(spec, document)
