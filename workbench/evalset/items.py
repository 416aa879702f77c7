"""The items of an eval set: checked one by one as they are read, kept in memory only where the file is small.

items = read_items(path, spec, scorers)        # a sequence of Item; a large file's items stay in the file
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from pydantic import Field

from workbench import project
from workbench.errors import InputError
from workbench.files import Document, StrictModel, json_line, text_lines
from workbench.privacy import Sensitivity

IN_MEMORY = 32 << 20  # bytes of a file whose items are kept in memory


class Item(StrictModel):
    """One item. `sensitivity` is the eval set's where the item does not say."""

    id: str = Field(min_length=1, max_length=200)
    inputs: dict[str, Any]
    expectations: dict[str, Any]
    slice: dict[str, str] = {}
    cluster: str | None = None
    sensitivity: Sensitivity | None = None


Check = Callable[[Document, Item], None]


def read_items(path: Path, sensitivity: Sensitivity, check: Check, in_memory: int = IN_MEMORY) -> Sequence[Item]:
    """Read and check the items of a JSONL file.

    Args:
        path: the file.
        sensitivity: of items that do not state theirs.
        check: raises InputError for an item that its eval set cannot use.
        in_memory: bytes up to which a file's items are kept in memory. Those of a larger one are read again whenever
            they are asked for; 16 bytes an item are kept.

    Raises:
        InputError: a line is no item, or an id stands there twice.
    """
    small = path.exists() and path.stat().st_size <= in_memory
    kept: list[Item] = []
    offsets, digests = array("Q"), array("Q")
    for number, offset, line in text_lines(path):
        document = Document(path, json_line(path, number, line), {(): number}, private=True)
        item = document.parse(Item)
        check(document, item)
        offsets.append(offset)
        digests.append(int.from_bytes(hashlib.blake2b(item.id.encode(), digest_size=8).digest()))
        if small:
            kept.append(_labeled(item, sensitivity))
    items: Sequence[Item] = tuple(kept) if small else FileItems(path, offsets, sensitivity)
    _refuse_twins(path, items, digests)
    return items


def _labeled(item: Item, sensitivity: Sensitivity) -> Item:
    return item if item.sensitivity else item.model_copy(update={"sensitivity": sensitivity})


def _refuse_twins(path: Path, items: Sequence[Item], digests: array[int]) -> None:
    """Raises InputError for the first id that stands there a second time."""
    order = np.argsort(np.frombuffer(digests, dtype=np.uint64), kind="stable") if digests else np.array([], int)
    sorted_digests = np.frombuffer(digests, dtype=np.uint64)[order] if digests else order
    again = np.flatnonzero(sorted_digests[1:] == sorted_digests[:-1]) + 1
    for second in sorted(int(order[position]) for position in again):
        name = items[second].id
        first = next(
            (index for index in order[sorted_digests == digests[second]] if items[int(index)].id == name), second
        )
        if first != second:
            lines = _line_numbers(path, (int(first), second))
            where = project.shown(path)
            raise InputError(
                f"{where}:{lines[1]}: id '{name}' is already at {where}:{lines[0]}. Give each item its own id."
            )


def _line_numbers(path: Path, wanted: tuple[int, int]) -> list[int]:
    numbers = [number for number, _, _ in text_lines(path)]
    return [numbers[index] for index in wanted]


class FileItems(Sequence[Item]):
    """Items that stay in their file, which is held open: one that is replaced meanwhile does no harm."""

    def __init__(self, path: Path, offsets: array[int], sensitivity: Sensitivity) -> None:
        self._path = path
        self._file = path.open("rb")
        self._offsets = offsets
        self._sensitivity = sensitivity

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(len(self))))
        self._file.seek(self._offsets[index])
        return self._item(self._file.readline())

    def __iter__(self) -> Iterator[Item]:
        for offset in self._offsets:
            self._file.seek(offset)
            yield self._item(self._file.readline())

    def _item(self, line: bytes) -> Item:
        try:
            return _labeled(Item.model_validate(json.loads(line.decode("utf-8-sig"))), self._sensitivity)
        except ValueError:
            raise InputError(
                f"{project.shown(self._path)}: was changed while it was being read. Load the eval set again."
            ) from None
