"""The rules model: a task's table of patterns, no AI. It costs nothing and abstains where no pattern matches.

rules = load_rules(path)
rules.answer({"subject": "Refund", "body": "…"})      # 'billing', or None where it abstains
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import regex
from pydantic import Field

from workbench.files import StrictModel, read_yaml

PATTERN_TIMEOUT_S = 0.2
_TEXT_LIMIT = 100_000


class Rule(StrictModel):
    """The first rule whose pattern is found gives its answer: a label, or the object of a JSON answer."""

    pattern: str = Field(min_length=1)
    answer: str | dict[str, Any]


class _RulesFile(StrictModel):
    schema_: Literal[1] = Field(alias="schema")
    text: list[str] = Field(min_length=1)
    rules: list[Rule] = Field(min_length=1)
    default: str | dict[str, Any] | None = None


@dataclass(frozen=True)
class Rules:
    """A checked table. Patterns come with eval sets, which are untrusted, so each search has a time-out."""

    spec: _RulesFile
    patterns: tuple[regex.Pattern[str], ...]
    path: Path

    def text_of(self, inputs: dict[str, Any]) -> str:
        """The text that is searched: the named inputs, a line each."""
        return "\n".join(str(inputs[name]) for name in self.spec.text if name in inputs)[:_TEXT_LIMIT]

    def answer(self, inputs: dict[str, Any]) -> str | None:
        """The answer for an item's inputs, or None where the table abstains.

        Raises:
            TimeoutError: a pattern took longer than its time-out.
        """
        return self.answer_text(self.text_of(inputs))

    def answer_text(self, text: str) -> str | None:
        """The answer for a text. See `answer`."""
        for rule, pattern in zip(self.spec.rules, self.patterns, strict=True):
            try:
                if pattern.search(text, timeout=PATTERN_TIMEOUT_S):
                    return _as_text(rule.answer)
            except TimeoutError:
                raise TimeoutError(f"pattern {rule.pattern!r} took over {PATTERN_TIMEOUT_S} s") from None
        return None if self.spec.default is None else _as_text(self.spec.default)


def _as_text(answer: str | dict[str, Any]) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def load_rules(path: Path) -> Rules:
    """Read a rules table.

    Raises:
        InputError: naming file, line, field and the mend.
    """
    document = read_yaml(path)
    spec = document.parse(_RulesFile)
    patterns = []
    for index, rule in enumerate(spec.rules):
        try:
            patterns.append(regex.compile(rule.pattern))
        except (regex.error, RecursionError) as failure:
            raise document.error(("rules", index, "pattern"), f"not a regular expression: {failure}.") from None
    return Rules(spec, tuple(patterns), path)
