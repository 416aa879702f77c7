"""The items of an eval set: checked one by one as they are read, kept in memory only where the file is small.

found = read_items(path, "internal", check)
found.items                                    # a sequence of Item; a large file's items stay in the file
"""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from pydantic import Field, ValidationError

from workbench import project
from workbench.errors import InputError
from workbench.files import Document, StrictModel, json_line, lines_of, opened, text_lines
from workbench.privacy import Sensitivity
from workbench.strict import brief
from workbench.words import counted

IN_MEMORY = 32 << 20  # bytes of a file whose items are kept in memory
_BLOCK = 64 << 10  # bytes that are read at once of a larger one
_loads = json.JSONDecoder().decode


class Item(StrictModel):
    """One item. `sensitivity` is the eval set's where the item does not say."""

    id: str = Field(min_length=1, max_length=200)
    inputs: dict[str, Any]
    expectations: dict[str, Any]
    slice: dict[str, str] = {}
    cluster: str | None = None
    sensitivity: Sensitivity | None = None


Check = Callable[[Item], str | None]
Keys = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class ItemsFile:
    """What was read of a file: its items, and a digest of each one's id."""

    path: Path
    items: Sequence[Item]
    digests: np.ndarray[tuple[int], np.dtype[np.uint64]]

    @classmethod
    def empty(cls, path: Path) -> ItemsFile:
        """Of a file that is not there."""
        return cls(path, (), np.array([], np.uint64))


def read_items(
    path: Path, sensitivity: Sensitivity, check: Check, in_memory: int | None = None, keys: Keys | None = None
) -> ItemsFile:
    """Read and check the items of a JSONL file.

    Args:
        path: the file.
        sensitivity: of items that do not state theirs.
        check: says what is wrong with an item's expectations, or raises InputError for what is wrong elsewhere.
        in_memory: bytes up to which a file's items are kept in memory, `IN_MEMORY` where left out. Those of a larger
            one are read again whenever they are asked for; 20 bytes an item are kept.
        keys: corrected expectations, by item; they stand in for those of the file.

    Raises:
        InputError: a line is no item, or an id stands there twice.
    """
    with opened(path) as file:
        state = os.fstat(file.fileno())
        small = state.st_size <= (IN_MEMORY if in_memory is None else in_memory)
        kept: list[Item] = []
        labels: Counter[Sensitivity] = Counter()
        offsets, lengths, digests = array("Q"), array("I"), array("Q")
        for number, offset, length, line in lines_of(path, file):
            item = _checked(path, number, json_line(path, number, line), check)
            digests.append(int.from_bytes(hashlib.blake2b(item.id.encode(), digest_size=8).digest()))
            labels[item.sensitivity or sensitivity] += 1
            if small:
                kept.append(_corrected(_labeled(item, sensitivity), keys))
            else:
                offsets.append(offset)
                lengths.append(length)
        if _state(os.fstat(file.fileno())) != _state(state):
            raise _changed(path)
        items: Sequence[Item] = (
            tuple(kept) if small else FileItems(path, file, state, offsets, lengths, sensitivity, labels, keys)
        )
    found = ItemsFile(path, items, np.frombuffer(digests, np.uint64) if digests else np.array([], np.uint64))
    _refuse_twins(found)
    return found


def _checked(path: Path, number: int, data: dict[str, Any], check: Check) -> Item:
    try:
        item = Item.model_validate(data)
    except ValidationError:
        return Document(path, data, {(): number}, private=True).parse(Item)  # raises, in our words
    problem = check(item)
    if problem is not None:
        document = Document(path, data, {(): number}, private=True)
        raise document.error(("expectations",), f"{problem} (item {brief(item.id)}).")
    return item


def _labeled(item: Item, sensitivity: Sensitivity) -> Item:
    return item if item.sensitivity else item.model_copy(update={"sensitivity": sensitivity})


def _corrected(item: Item, keys: Keys | None) -> Item:
    return item.model_copy(update={"expectations": keys[item.id]}) if keys and item.id in keys else item


def _refuse_twins(found: ItemsFile) -> None:
    """Raises InputError for the first id that stands there a second time."""
    order = np.argsort(found.digests, kind="stable")
    ordered = found.digests[order]
    again = order[1:][ordered[1:] == ordered[:-1]]
    for second in map(int, np.sort(again)):
        first = _first_with(found, found.items[second].id, found.digests[second])
        if first < second:
            raise _twice(found, first, found, second)


def refuse_shared(items: ItemsFile, train: ItemsFile) -> None:
    """Raises InputError for the first train item whose id is also a test item's."""
    for second in map(int, np.flatnonzero(np.isin(train.digests, items.digests))):
        first = _first_with(items, train.items[second].id, train.digests[second])
        if first < len(items.items):
            raise _twice(items, first, train, second)


def _first_with(found: ItemsFile, name: str, digest: np.uint64) -> int:
    """The first item with an id; as many as there are, if none has it."""
    same = map(int, np.flatnonzero(found.digests == digest))
    return next((index for index in same if found.items[index].id == name), len(found.items))


def _twice(one: ItemsFile, first: int, other: ItemsFile, second: int) -> InputError:
    where, again = _place(one.path, first), _place(other.path, second)
    name = brief(other.items[second].id)
    return InputError(f"{again}: id '{name}' is already at {where}. Give each item its own id.")


def _place(path: Path, index: int) -> str:
    number = next(islice((number for number, _, _ in text_lines(path)), index, None))
    return f"{project.shown(path)}:{number}"


class FileItems(Sequence[Item]):
    """Items that stay in their file, which is held open until nobody needs them.

    A file that is replaced meanwhile does no harm; one that is changed in place is noticed. Threads may read at once.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        state: os.stat_result,
        offsets: array[int],
        lengths: array[int],
        sensitivity: Sensitivity,
        by_sensitivity: Counter[Sensitivity],
        keys: Keys | None = None,
    ) -> None:
        self.by_sensitivity = by_sensitivity
        self._path = path
        self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        self._state = _state(state)
        self._offsets = offsets
        self._lengths = lengths
        self._sensitivity = sensitivity
        self._keys = keys

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(len(self))))
        offset, length = self._offsets[index], self._lengths[index]
        return self._item(self._read(offset, length), offset)

    def _read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._file, length, offset)  # leaves no offset that threads share
        if _state(os.fstat(self._file)) != self._state:
            raise _changed(self._path)
        return data

    def _item(self, line: bytes, offset: int) -> Item:
        try:
            data = _loads(line.decode("utf-8" if offset else "utf-8-sig"))
            if data.get("sensitivity") is None:
                data["sensitivity"] = self._sensitivity
            return _corrected(Item.model_validate(data), self._keys)
        except ValueError:
            raise _changed(self._path) from None

    def __iter__(self) -> Iterator[Item]:
        """One by one, out of blocks: a read of its own for each would let go of Python's lock a million times."""
        first = 0
        while first < len(self):
            start = self._offsets[first]
            behind = max(first + 1, bisect_right(self._offsets, start + _BLOCK, first))
            block = self._read(start, self._offsets[behind - 1] + self._lengths[behind - 1] - start)
            for offset, length in zip(self._offsets[first:behind], self._lengths[first:behind], strict=True):
                yield self._item(block[offset - start : offset - start + length], offset)
            first = behind

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileItems | tuple):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'item')} of {project.shown(self._path)}>"


def _changed(path: Path) -> InputError:
    return InputError(f"{project.shown(path)}: was changed while it was being read. Load the eval set again.")


def _state(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns
