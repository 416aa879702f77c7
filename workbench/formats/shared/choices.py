"""Multiple choice: choices shown with letters after a question, and the letter asked for.

template = "{{ inputs.input }}" + lettered("choices")       # … A) Paris B) Rome … Answer with the letter only.
letter_of("Paris", ["Rome", "Paris"])                       # 'B'
"""

from __future__ import annotations

import string
from typing import Any

from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.templates import reference
from workbench.templates import filled

LETTERS = string.ascii_uppercase
_ASK = "Answer with the letter only."


def lettered(name: str) -> str:
    """What a template says after a question: the choices of an input, and how to answer."""
    lines = (
        f'{{% for choice in {reference(name)} %}}{{{{ "{LETTERS}"[loop.index0] }}}}) {{{{ choice }}}}\n{{% endfor %}}'
    )
    return f"\n\n{lines}\n{_ASK}"


def shown(choices: list[str]) -> str:
    """The same as `lettered`, filled in."""
    return filled(lettered("choices"), {"choices": choices})


def labels_for(longest: int) -> list[str]:
    """The letters of so many choices; two at least."""
    return list(LETTERS[: max(2, longest)])


def choice_texts(value: Any) -> list[str] | None:
    """A list of choices as texts; None where it is none, or has more than there are letters."""
    if not isinstance(value, list) or not 1 <= len(value) <= len(LETTERS):
        return None
    texts = [scalar_text(each) for each in value]
    return None if any(text is None for text in texts) else [str(text) for text in texts]


def letter_of(target: Any, choices: list[str]) -> str | None:
    """The letter of the right choice: given as one, as a position from 0, or as the choice itself; None if neither."""
    if isinstance(target, int) and not isinstance(target, bool):
        return LETTERS[target] if 0 <= target < len(choices) else None
    text = str(target).strip() if isinstance(target, str) else ""
    if len(text) == 1 and text.upper() in LETTERS[: len(choices)]:
        return text.upper()
    if choices.count(text) == 1:
        return LETTERS[choices.index(text)]
    return LETTERS[int(text)] if text.isascii() and text.isdigit() and int(text) < len(choices) else None
