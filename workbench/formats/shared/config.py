"""A tool's configuration file as its settings, with the line of each and what of them nothing reads.

config = Config(read_structured(path), ledger)
config["tests"], config.place("tests", 3)               # 'config.yaml:12'
config.note_unused({"providers": "belongs into models.yaml"})           # a loss for every key that nobody asked for
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from workbench.errors import InputError
from workbench.files import Document
from workbench.formats.base import where
from workbench.formats.shared.files import inside
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.structured import Function, named, read_structured

_INCLUDED_AT_MOST = 20


class Config(dict[str, Any]):
    """What a file says, by key.

    Args:
        document: the file.
        ledger: takes what is lost of it.
        includes: the key that names further files, in the file's folder; where both say something, the file counts.

    Attributes:
        source: the file.

    Raises:
        InputError: a file is no mapping, or includes what is not there, or itself.
    """

    def __init__(self, document: Document, ledger: Ledger, includes: str = "") -> None:
        super().__init__()
        self.source, self._ledger, self._includes = document.path, ledger, includes
        self._documents: dict[str, Document] = {}  # by key, where it stands
        self._asked: set[str] = set()
        self._add(document, 0)

    def _add(self, document: Document, depth: int) -> None:
        if not isinstance(document.data, dict):
            raise InputError(f"{where(document.path, 1)}: must be a mapping of settings.")
        own = {str(key): value for key, value in document.data.items() if str(key) not in self}
        names, place = own.pop(self._includes, None) or [], where(document.path, document.line((self._includes,)))
        self.update(own)
        self._documents |= dict.fromkeys(own, document)
        for name in reversed(names if isinstance(names, list) else [names]):
            files = inside(self.source.parent, str(name), document.path.parent)
            if not files:
                raise InputError(f"{place}: includes {named(name)}, which is not in the folder. Copy it there.")
            if depth >= _INCLUDED_AT_MOST:
                raise InputError(f"{place}: files include each other. Mend them.")
            self._add(read_structured(files[0], python=True), depth + 1)

    def __getitem__(self, key: str) -> Any:
        self._asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """A setting, as of any mapping; from now on it is one that is read."""
        self._asked.add(key)
        return super().get(key, default)

    def place(self, key: str, *inner: str | int) -> str:
        """File and line of a setting, or of a part of it."""
        document = self._documents.get(key)
        return where(document.path, document.line((key, *inner))) if document else where(self.source)

    def entries(self, key: str) -> Iterator[tuple[str, Any]]:
        """The entries of a setting that is a list, or the only one, and where each stands."""
        given = self.get(key) or []
        for index, entry in enumerate(given if isinstance(given, list) else [given]):
            yield self.place(key, index), entry

    def mapping(self, key: str) -> dict[Any, Any]:
        """A setting that is a mapping; an empty one where it is none."""
        given = self.get(key)
        return given if isinstance(given, dict) else {}

    def error(self, key: str, problem: str) -> InputError:
        """What is wrong with a setting, with its file and line."""
        return InputError(f"{self.place(key)}: {problem}")

    def lose(self, key: str, what: str) -> None:
        """Write down what of a setting is lost."""
        self._ledger.add(self.place(key), what)

    def lose_within(self, key: str, names: Iterable[Any]) -> None:
        """Write down what inside of a setting is lost."""
        for name in names:
            self.lose(key, f"{named(name)} of {key}")

    def note_unused(self, reasons: Mapping[str, str]) -> None:
        """Write down the settings that nobody has asked for.

        Args:
            reasons: by key, why.
        """
        for key, value in self.items():
            if key not in {*self._asked, "$schema"} and value not in (None, [], {}, "", 0):
                size = f" ({len(value)})" if isinstance(value, list | dict) else ""
                about = f"is {value.about}" if isinstance(value, Function) else ""
                self.lose(key, f"{named(key)}{size} {about or reasons.get(key, 'is not used: nothing here does this')}")
