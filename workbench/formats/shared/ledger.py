"""Losses as a reader meets them: a line each, and what repeats over many lines in one line with its number.

ledger = Ledger()
ledger.add("tests.csv:2 __expected", "assertion 'llm-rubric' is left out: it needs a judge")
ledger.tally("tests.csv:7", "column '__provider'")      # tests.csv:7, 9, 12 … (31 times): column '__provider'
with ledger.leaving_out("tests.csv:8", "a row"): ...    # tests.csv:8: a row is left out: why it is Unusable
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_EACH_AT_MOST = 1000  # lines of a kind; after that they are counted
_PLACES_SHOWN = 3


class Unusable(Exception):
    """A row, a turn or a template that cannot be carried over; the message says why, and repeats no contents."""


@dataclass(frozen=True)
class Loss:
    """Something that cannot be carried over.

    Attributes:
        place: file and line (or row, or key) where it stands.
        what: what it is and what became of it, in a line.
    """

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class Ledger:
    """What could not be carried over, in the order in which it was met."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}  # place (or "" for many) and what: the first places
        self._counts: Counter[tuple[str, str]] = Counter()
        self._kinds: Counter[str] = Counter()

    def add(self, place: str, what: str) -> None:
        """A loss that gets a line of its own; met again at the same place it is counted there."""
        if (place, what) not in self._found:
            self._kinds[what] += 1
            if self._kinds[what] > _EACH_AT_MOST:
                self.tally(place, f"{what} (further ones)")
                return
            self._found[place, what] = [place]
        self._counts[place, what] += 1

    def tally(self, place: str, what: str) -> None:
        """A loss that may be on every line: one line says how often, and where first."""
        places = self._found.setdefault(("", what), [])
        if len(places) < _PLACES_SHOWN and place not in places:
            places.append(place)
        self._counts["", what] += 1

    def tally_keys(self, place: str, keys: Iterable[Any], what: str) -> None:
        """The same of keys that nothing reads."""
        for key in keys:
            self.tally(place, f"{what} '{str(key)[:60]}'")

    @contextmanager
    def leaving_out(self, place: str, what: str) -> Iterator[None]:
        """Within this, what turns out to be unusable is a loss that may be on every line."""
        try:
            yield
        except Unusable as failure:
            self.tally(place, f"{what} is left out: {failure}")

    def losses(self) -> list[Loss]:
        """All of them."""
        return [self._line(key, places) for key, places in self._found.items()]

    def _line(self, key: tuple[str, str], places: list[str]) -> Loss:
        place, what = key
        count = self._counts[key]
        if place:
            return Loss(place, what if count == 1 else f"{what} (in {count} items)")
        mark = ":" if ":" in places[0] else " "
        file = places[0].rpartition(mark)[0]
        brief = [places[0], *(each.removeprefix(f"{file}{mark}") for each in places[1:])]
        more = " …" if count > len(places) == _PLACES_SHOWN else ""
        return Loss(", ".join(brief) + more, what if count == 1 else f"{what} ({count} times)")
