"""Registries: what is chosen by name in a file, ours or a plug-in's. All have this one shape.

SCORERS: Registry[type[Scorer]] = Registry("workbench.scorers", "scorer")
SCORERS.find("label")                 # ours, or an entry point of the group; an InputError that lists them otherwise
"""

from __future__ import annotations

from typing import Generic, TypeVar

from workbench.errors import InputError
from workbench.strict import brief

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
            InputError: nothing is (the message lists what there is), or its entry point cannot be loaded.
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

    def usable(self) -> tuple[dict[str, T], list[str]]:
        """All that can be had, by name, and what is wrong with the rest: one broken plug-in leaves the others."""
        found, problems = dict[str, T](), list[str]()
        for name in self.names():
            try:
                found[name] = self.find(name)
            except InputError as failure:
                problems.append(str(failure))
        return found, problems

    def _load(self, name: str) -> None:
        from importlib.metadata import entry_points

        for entry in entry_points(group=self.group, name=name):
            try:
                self._known.setdefault(name, entry.load())
            except Exception as failure:  # whatever somebody else's module raises
                why = brief(f"{type(failure).__name__}: {failure}", 160)
                told = f"{self.kind} '{name}' is a plug-in that cannot be loaded: {entry.value} ({why})"
                raise InputError(f"{told}. Mend or uninstall it.") from failure
