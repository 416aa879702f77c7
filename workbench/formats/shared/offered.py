"""Multiple choice in a table: the columns, or the list, that hold the choices, and what answers call them.

choice_columns(["question", "option_a", "option_b", "answer"])       # {'option_a': 'a', 'option_b': 'b'}
marks_of([(["Rome", "Oslo"], 0), (["Bonn", "Paris"], 1)], {})        # ['0', '1']
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workbench.formats.shared.cells import is_empty
from workbench.formats.shared.metadata import scalar_text
from workbench.formats.shared.names import normal

CHOICES = ("choices", "options", "endings")  # what a list of them is called
_COLUMN = re.compile(r"(?P<kind>(?:options?|choices?|opt|op)_?)?(?P<mark>[a-j]|\d)")
_MOST = 26
# What answers may call the choices in their order; positions come last.
_WAYS = (
    *map(list, (string.ascii_uppercase, string.ascii_lowercase)),
    *([str(place + start) for place in range(_MOST)] for start in (0, 1)),
)


def choice_columns(names: Iterable[str]) -> dict[str, str]:
    """The columns that hold one choice each, by what it is called: letters from a on, or numbers from 0 or 1 on."""
    found = {name: match for name in names if (match := _COLUMN.fullmatch(normal(name)))}
    marks = [match["mark"] for match in found.values()]
    rows = ("".join(marks) in whole for whole in (string.ascii_lowercase, string.digits))
    is_row = len(marks) > 1 and marks[0] in ("a", "0", "1") and any(rows)
    return {name: match["mark"] for name, match in found.items()} if is_row else {}


def says_choice(name: str) -> bool:
    """Whether a column of `choice_columns` says that it holds a choice; "a" may as well be an annotator."""
    match = _COLUMN.fullmatch(normal(name))
    return match is not None and match["kind"] is not None


def marks_of(rows: Iterable[tuple[Sequence[Any], Any]], columns: Mapping[str, str]) -> list[str]:
    """What all answers call the choices: letters, positions, or columns by their names; nothing where that is not sure.

    It is not where they are choices themselves, and where positions may begin at 0 or at 1.

    Args:
        rows: each one's choices, those that are missing at its end left out, and its answer.
        columns: the columns that hold them, see `choice_columns`.
    """
    ways = [*filter(None, (list(columns), list(columns.values()))), *_WAYS]
    fits, are_choices, most, first, last = [True] * len(ways), True, 0, False, False
    for choices, answer in rows:
        said, count = (scalar_text(answer) or "").strip(), len(choices)
        if not said or not 1 < count <= _MOST:
            return []
        are_choices = are_choices and said in map(scalar_text, choices)
        fits = [may and said in way[:count] for may, way in zip(fits, ways, strict=True)]
        most, first, last = max(most, count), first or said == "0", last or said == str(count)
        if not any(fits):
            return []
    sure = [*([True] * (len(ways) - 2)), first, last and not first]
    found = (way[:most] for way, may, is_sure in zip(ways, fits, sure, strict=True) if may and is_sure)
    return [] if are_choices else next(found, [])


def filled(choices: Sequence[Any]) -> list[Any]:
    """Choices without those that are empty at the end; nothing where one is empty in between."""
    kept = list(choices)
    while kept and is_empty(kept[-1]):
        kept.pop()
    return [] if any(map(is_empty, kept)) else kept
