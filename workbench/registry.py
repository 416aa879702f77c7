"""Registries: what is chosen by name in a file, ours or a plug-in's. All have this one shape.

SCORERS: Registry[type[Scorer]] = Registry("workbench.scorers", "scorer")
SCORERS.find("label")                 # ours, or an entry point of the group; an InputError that lists them otherwise
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from workbench.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things of one kind.

    Args:
        group: the entry point group that adds to it.
        kind: what one entry is called in messages.
    """

    def __init__(self, group: str, kind: str) -> None:
        self.group = group
        self.kind = kind
        self._known: dict[str, T] = {}

    def add(self, name: str, thing: T) -> None:
        """Register under a name; a later one replaces an earlier one, as a cell that is run again does."""
        self._known[name] = thing

    def find(self, name: object) -> T:
        """What is registered under a name.

        Raises:
            InputError: nothing is; the message lists what there is.
        """
        if isinstance(name, str) and name not in self._known:
            self._load(name)
        if not isinstance(name, str) or name not in self._known:
            raise InputError(f"there is no {self.kind} '{name}'. There are: {', '.join(self.names())}.")
        return self._known[name]

    def names(self) -> list[str]:
        """Every name, entry points included."""
        from importlib.metadata import entry_points

        return sorted({*self._known, *(entry.name for entry in entry_points(group=self.group))})

    def items(self) -> Iterator[tuple[str, T]]:
        """All that is registered, entry points included, by name."""
        for name in self.names():
            yield name, self.find(name)

    def _load(self, name: str) -> None:
        from importlib.metadata import entry_points

        for entry in entry_points(group=self.group, name=name):
            self._known.setdefault(name, entry.load())
