"""How a table's answers are asked for and scored, as `answers` decides.

form = Form({"type": "label"}, "2 labels that repeat", "Answer yes or no.", ("yes", "no"))
form.spec                                  # {'output': {'labels': ['yes', 'no']}, 'scorers': [{'type': 'label'}], …}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workbench.formats.shared.cells import is_empty

_LABEL_TOKENS = 64

Expect = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass
class Form:
    """How answers are asked for and scored.

    Attributes:
        scorer: its type and settings.
        why: what was chosen, for a note.
        ask: a sentence for a prompt that says what an answer looks like.
        labels: the classes, where answers are one of some.
        accept: the score from which on an answer is accepted.
        convert: a single expected value in the scorer's form.
        expect: an item's expectations out of a row's; None where it has no answer.
        schema: of JSON answers.
        unread: expectations that no scorer reads.
        may_be_none: whether an empty cell or list is an answer: that there is no label.
    """

    scorer: dict[str, Any]
    why: str
    ask: str | None = None
    labels: tuple[str, ...] = ()
    accept: float = 1
    convert: Callable[[Any], Any] = lambda value: value
    expect: Expect = lambda raw: None
    schema: dict[str, Any] | None = None
    unread: list[str] = field(default_factory=list)
    may_be_none: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """Output, scorers, accept and, for labels, generation of evalset.yaml."""
        output = {"labels": list(self.labels)} if self.labels else {"text": True}
        return {
            **({"generation": {"max_tokens": self.max_tokens}} if self.labels else {}),
            "output": output if self.schema is None else {"json_schema": "schema.json"},
            "scorers": [self.scorer],
            "accept": {"min_score": self.accept},
        }

    @property
    def max_tokens(self) -> int:
        """Room for the longest label and some words around it: a model that rambles on costs time, and says no more."""
        return max(_LABEL_TOKENS, *map(len, self.labels))

    @property
    def note(self) -> str:
        said = f"answers are scored by {self.scorer['type']}, accepted from {self.accept:g}: {self.why}"
        if not self.labels:
            return said
        return f"{said}. An answer ends after {self.max_tokens} tokens: for a model that thinks first, raise max_tokens"

    def expectations(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """An item's expectations; None where it has no answer that can be scored."""
        found = self.expect(raw)
        kept = {name: raw[name] for name in self.unread if not is_empty(raw.get(name))}
        return None if found is None else found | kept
