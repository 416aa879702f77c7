"""How the answers of a table are asked for and scored: what `answers` and `fields` decide, and `read` carries out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.formats.table.values import is_empty

Expect = Callable[[dict[str, Any]], dict[str, Any] | None]
PARTIAL = 0.8  # the score that is accepted where a part of an answer may be wrong


@dataclass
class AnswerForm:
    """How answers are asked for and scored.

    Attributes:
        spec: output, scorers and accept of evalset.yaml.
        expect: an item's expectations of a row's; None where it has no answer.
        note: what was chosen, and why.
        schema: of JSON answers.
        ask: a sentence for a prompt that says what an answer looks like.
        unread: expectations that no scorer reads.
        labels: the classes, where answers are one of some.
    """

    spec: dict[str, Any]
    expect: Expect
    note: str
    schema: dict[str, Any] | None = None
    ask: str | None = None
    unread: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def expectations(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """An item's expectations; None where it has no answer that can be scored."""
        found = self.expect(raw)
        kept = {name: raw[name] for name in self.unread if not is_empty(raw.get(name))}
        return None if found is None else found | kept
