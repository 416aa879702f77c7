"""Counts in sentences: the noun, and the verb with it, as the number wants them.

counted(1, "item"), counted(3, "item")                 # "1 item", "3 items"
counted(1, "item is", "items are")                     # "1 item is"
"""

from __future__ import annotations


def counted(count: float, one: str, many: str = "", spec: str = "") -> str:
    """A count with its words.

    Args:
        one: the words for 1.
        many: those for any other count; `one` with an s where left out.
        spec: how the number is written, such as `,`.
    """
    number = format(count, spec)
    return f"{number} {one if number == '1' else many or f'{one}s'}"
