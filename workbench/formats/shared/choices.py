"""Multiple choice: choices shown with letters after a question, and the letter asked for.

template = "{{ inputs.input }}" + lettered("choices")       # … A) Paris B) Rome … Answer with the letter only.
position_of("Paris", ["Rome", "Paris"])                     # 1
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from workbench.evalset import Item, Message, Variant
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.templates import reference

LETTERS = string.ascii_uppercase
_ASK = "Answer with the letter only."


def lettered(name: str) -> str:
    """What a template says after a question: the choices of an input, and how to answer."""
    lines = (
        f'{{% for choice in {reference(name)} %}}{{{{ "{LETTERS}"[loop.index0] }}}}) {{{{ choice }}}}\n{{% endfor %}}'
    )
    return f"\n\n{lines}\n{_ASK}"


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


def labels_for(longest: int) -> list[str]:
    """The letters of so many choices; two at least."""
    return list(LETTERS[: max(2, longest)])


def choice_texts(value: Any) -> list[str] | None:
    """A list of choices as texts; None where it is none, or has more than there are letters."""
    if not isinstance(value, list) or not 1 <= len(value) <= len(LETTERS):
        return None
    texts = [scalar_text(each) for each in value]
    return None if any(text is None for text in texts) else [str(text) for text in texts]


def position_of(target: Any, choices: list[str], digits_first: bool = False) -> int | None:
    """Which choice is right, from 0: given as a position, or as the choice itself; None if neither.

    Args:
        digits_first: a text of digits is a position, even where a choice reads the same.
    """
    if isinstance(target, float) and target.is_integer():
        target = int(target)
    if isinstance(target, int) and not isinstance(target, bool):
        return target if 0 <= target < len(choices) else None
    text = scalar_text(target) or ""
    stripped = text.strip()
    digits = stripped.isascii() and stripped.isdigit() and len(stripped) < 9
    position = int(stripped) if digits and int(stripped) < len(choices) else None
    if digits_first and position is not None:
        return position
    for wanted, offered in ((text, choices), (stripped, [choice.strip() for choice in choices])):
        if offered.count(wanted) == 1:
            return offered.index(wanted)
    return position
