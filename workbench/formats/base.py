"""What every format is, and what it hands over: items one by one, the rest of an eval set, and what was lost.

A format is a small module that registers one `Format`. It never runs what a file holds: no pickle, no code, jinja only
in the sandbox, sizes limited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workbench import project
from workbench.errors import InputError
from workbench.formats.shared.ledger import Ledger, Loss
from workbench.registry import Registry

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

LINE_LIMIT = 16 << 20  # characters of a line, or a cell
FILE_LIMIT = 64 << 20  # bytes of what is read whole (YAML, JSON); JSONL, CSV and Parquet are read piece by piece
_LFS = b"version https://git-lfs.github.com/spec/"


class Sink(Protocol):
    """Takes one item in the form of items.jsonl; `id` may be left out. Of split `train` it goes to train.jsonl.

    `place` is where it stands in the source, for a message.
    """

    def __call__(
        self, item: dict[str, Any], /, *, split: Literal["test", "train"] = "test", place: str = ""
    ) -> None: ...


@dataclass
class Options:
    """What the user said about an import.

    Attributes:
        mapping: column by place: {"inputs.text": "question", "expectations.label": "answer", "slice.topic": "subject"}.
        sensitivity: of items that do not state their own; None leaves them out, so they count as restricted.
        online: whether a data hub may be asked.
        scorer: a scorer's type, instead of the one that the format guesses.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    sensitivity: str | None = None
    online: bool = False
    scorer: str | None = None


@dataclass
class Found:
    """What a source holds, apart from its items.

    Attributes:
        spec: the rest of evalset.yaml: description, variants, output, scorers, accept, generation where known.
        schema: the JSON schema of answers, if there is one.
        ledger: takes what cannot be carried over, in the order of the source.
        notes: what was guessed, for the user to confirm.
    """

    spec: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    ledger: Ledger = field(default_factory=Ledger)
    notes: list[str] = field(default_factory=list)

    @property
    def losses(self) -> list[Loss]:
        return self.ledger.losses()


class Format(ABC):
    """One tool's files.

    Attributes:
        name: what `--format` calls it.
        about: a line that says what it reads.
        mapped: whether its columns can be called anything, so that a mapping says what they are.
        written: what an export is called in messages, and the suffixes that it may have; any where there are none.
        keeps: the parts of evalset.yaml that an export says itself; what is left of the others is told as lost.
    """

    name: str
    about: str
    mapped: bool = False
    written: tuple[str, ...] = ()
    keeps: frozenset[str] = frozenset({"train"})

    @abstractmethod
    def sniff(self, source: Path) -> float:
        """How sure it is, from 0 to 1, that a file or folder is of this format."""

    @abstractmethod
    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        """Hand every item to `sink`, and return the rest.

        Raises:
            InputError: the source is broken; the message names file, line and mend.
        """

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        """Write an eval set as this tool's file.

        Args:
            ledger: takes what the tool's format cannot hold, apart from whole parts that it does not keep.

        Raises:
            InputError: it cannot be written at all.
        """
        raise InputError(f"format {self.name} can be imported, not exported.")


FORMATS: Registry[Format] = Registry("workbench.formats", "format")


def where(source: Path, number: int | None = None) -> str:
    """A place in a source as messages show it."""
    return project.shown(source) if number is None else f"{project.shown(source)}:{number}"


@contextmanager
def told_in_words(path: Path, what: str) -> Iterator[None]:
    """Make an InputError of what the system refuses, such as a file of somebody else's.

    Args:
        path: what was to be read or written.
        what: how a message goes on, such as "cannot be read".
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{where(path)}: {what} (it lies below a file, not a folder).") from None
    except OSError as failure:
        if failure.strerror is None:  # a library's own, and not the system's
            raise
        raise InputError(f"{where(path)}: {what} ({failure.strerror}).") from None


def check_readable(source: Path) -> None:
    """Refuse what is no text of data: a git-LFS pointer, a missing file.

    Raises:
        InputError: saying what it is and how to mend it.
    """
    if not source.exists():
        raise InputError(f"{where(source)}: there is no such file or folder.")
    if source.is_file():
        with source.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                mend = f"Fetch the file: git lfs pull --include {source.name}"
                raise InputError(f"{where(source)}: a git-LFS pointer, not the data. {mend}")
