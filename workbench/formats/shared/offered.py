"""Multiple choice in a table: the columns, or the list, that hold the choices, and what an answer calls them.

choice_columns(["question", "option_a", "option_b", "answer"])       # {'option_a': 'a', 'option_b': 'b'}
offered({"choices": values}, answers)                                # ['0', '1', '2', '3'], where answers are positions
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping

from workbench.formats.shared.names import normal
from workbench.formats.shared.values import Values

CHOICES = ("choices", "options", "endings")  # what a list of them is called
_COLUMN = re.compile(r"(?:(?:options?|choices?|opt|op|ans|answer)_?)?([a-j]|\d)")


def choice_columns(names: Iterable[str]) -> dict[str, str]:
    """The columns that hold one choice each, by what it is called: letters from a on, or numbers from 0 or 1 on."""
    marked = [(name, match[1]) for name in names if (match := _COLUMN.fullmatch(normal(name)))]
    marks = [mark for _, mark in marked]
    rows = ("".join(marks) in whole for whole in (string.ascii_lowercase, string.digits))
    starts = bool(marks) and marks[0] in ("a", "0", "1")
    return dict(marked) if len(marks) > 1 and starts and any(rows) else {}


def offered(inputs: Mapping[str, Values], answers: Values) -> list[str]:
    """What answers call the choices of all items: letters or positions; nothing where there are none, or others.

    Args:
        inputs: by name; a list of choices is there in all of them.
    """
    said, columns = set(answers.spellings or {}), choice_columns(inputs)
    most = max((inputs[name].most for name in CHOICES if name in inputs and inputs[name].lists_only), default=0)
    called = [list(columns), list(columns.values()), [mark.upper() for mark in columns.values()]]
    called += [[str(place + start) for place in range(most)] for start in (0, 1)]
    called += [list(letters[:most]) for letters in (string.ascii_uppercase, string.ascii_lowercase)]
    return next((marks for marks in called if said and said <= set(marks)), [])
