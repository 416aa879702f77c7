"""From a model's text to an answer under the eval set's output format.

parse_answer('```json\\n{"answer": "yes"}\\n```', schema=schema).value      # {'answer': 'yes'}
parse_answer("<think>hm</think>Queue: billing", labels=["billing", "bug"]).value      # 'billing'

Thoughts in `<think>` are left out; then for JSON see `objects`, and for labels `chosen`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.scorers.chosen import chosen
from workbench.scorers.objects import read_object
from workbench.scorers.vocabulary import vocabulary

_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>|\[(/?)THINK\]", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """A parsed answer.

    Attributes:
        text: what the model wrote.
        value: the JSON value, the label or the text in it; None where there is none.
        format_ok: whether it keeps the output format.
        problem: why not, without repeating the text.
        said: the text without thoughts.
    """

    text: str
    value: Any
    format_ok: bool
    problem: str | None = None
    said: str = ""


def parse_answer(
    text: str,
    schema: dict[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> Answer:
    """Read an answer: JSON by a schema, one of the labels, or free text where neither is given."""
    said = without_thoughts(text)
    if said is None:
        return Answer(text, None, False, "the answer ends inside its thoughts")
    if schema is not None:
        value, problem = read_object(said, schema)
    elif labels is not None:
        value, problem = chosen(said, vocabulary(labels, aliases or {}))
    else:
        value, problem = (said, None) if said else (None, "empty answer")
    return Answer(text, value, problem is None, problem, said)


def without_thoughts(text: str) -> str | None:
    """What is said aloud; None where a thought never ends."""
    said: list[str] = []
    begins: int | None = 0  # where what is said goes on; None within a thought
    for tag in _THOUGHT.finditer(text):
        if tag.group(1) or tag.group(2):
            if begins is not None:  # a template has opened the thought for the model
                said.clear()
            begins = tag.end()
        elif begins is not None:
            said.append(text[begins : tag.start()])
            begins = None
    return None if begins is None else "".join([*said, text[begins:]]).strip()
