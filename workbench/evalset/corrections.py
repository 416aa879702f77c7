"""What people found while they looked at answers: notes, and labels that were wrong.

add_correction(evalset, "st-001", note="two readers could differ")
add_correction(evalset, "st-002", expectations={"queue": "billing"})

They are lines of `corrections.jsonl` in the eval set's folder. The last corrected label of an item holds from the next
time that the set is loaded. The file is part of the eval set's digest, so evidence from before it is known to be older.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from workbench import project
from workbench.errors import InputError, RunError
from workbench.evalset.items import Item
from workbench.evalset.model import EvalSet
from workbench.files import Document, StrictModel, read_jsonl
from workbench.scorers import Scorer, problem_of
from workbench.strict import brief, parse_json

FILE = "corrections.jsonl"
_LONGEST_NOTE = 10_000


class Correction(StrictModel):
    """One line.

    Attributes:
        item: the item's id.
        at: when it was made.
        note: what somebody noticed.
        expectations: the key as it should be, whole; None where only something was noted.
    """

    item: str
    at: datetime
    note: str = Field(default="", max_length=_LONGEST_NOTE)
    expectations: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Correction:
        if not self.note and self.expectations is None:
            raise ValueError("has neither a note nor expectations. Give one, or remove the line")
        return self


def read_corrections(path: Path) -> list[tuple[Document, Correction]]:
    """The corrections of a file in their order, each with its place; none where there is no file.

    Raises:
        InputError: naming the line that is no correction.
    """
    if not path.is_file():
        return []
    return [(document, document.parse(Correction)) for document in read_jsonl(path)]


def corrected_keys(path: Path, problem: Callable[[dict[str, Any]], str | None]) -> dict[str, dict[str, Any]]:
    """The last corrected key of each item.

    Args:
        problem: says why a key cannot be scored.

    Raises:
        InputError: naming the line that is no correction, or whose key cannot be scored.
    """
    keys = {}
    for document, each in read_corrections(path):
        if each.expectations is not None:
            if found := problem(each.expectations):
                raise document.error(("expectations",), f"{found} (item {brief(each.item)}).")
            keys[each.item] = each.expectations
    return keys


def refuse_unknown(path: Path, items: Iterable[Item]) -> None:
    """Raises InputError for the first correction of an item that is not in the set."""
    found = read_corrections(path)
    known = {item.id for item in items} if found else set()
    for document, each in found:
        if each.item not in known:
            raise document.error(("item",), f"there is no item '{brief(each.item)}' in items.jsonl. Remove this line.")


def add_correction(
    evalset: EvalSet, item_id: str, note: str = "", expectations: Mapping[str, Any] | None = None
) -> Correction:
    """Add a note or a corrected key to an eval set's file. It is on disk when this returns.

    Args:
        evalset: the set as it was loaded.
        item_id: one of its test items.
        note: what was noticed.
        expectations: the key as it should be, whole.

    Raises:
        InputError: there is no such item, nothing is said, or the set's scorers cannot read the key.
        RunError: the file cannot be written.
    """
    item = _item(evalset, item_id)
    path, now = evalset.path / FILE, _held(evalset, item)
    wanted = None if expectations is None or _same(expectations, now) else dict(expectations)
    if wanted is None and not note.strip():
        raise InputError("nothing to keep: write a note, or change the key.")
    _refuse_unwritable(note, wanted)
    if wanted is not None and (problem := key_problem(evalset.scorers, wanted)):
        raise InputError(f"the corrected key of item '{item_id}' cannot be scored: {problem.rstrip('.')}.")
    if len(note.strip()) > _LONGEST_NOTE:
        raise InputError(f"the note is longer than {_LONGEST_NOTE:,} characters: shorten it.")
    at = datetime.now(UTC).replace(microsecond=0)
    made = Correction(item=item_id, at=at, note=note.strip(), expectations=wanted)
    _append(path, made)
    return made


def current_key(evalset: EvalSet, item_id: str) -> dict[str, Any]:
    """An item's key with the corrections that were made since the set was loaded.

    Raises:
        InputError: there is no such item, or the corrections cannot be read.
    """
    return _held(evalset, _item(evalset, item_id))


def _item(evalset: EvalSet, item_id: str) -> Item:
    item = next((each for each in evalset.items if each.id == item_id), None)
    if item is None:
        raise InputError(f"there is no item '{item_id}' in eval set '{evalset.name}'.")
    return item


def _held(evalset: EvalSet, item: Item) -> dict[str, Any]:
    """The key as it is now: the set may have been corrected since it was loaded."""
    lines = [each for _, each in read_corrections(evalset.path / FILE) if each.item == item.id]
    return next((each.expectations for each in reversed(lines) if each.expectations is not None), item.expectations)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two keys say the same, in whatever order; to Python, 1 and true are equal."""
    return one == other and repr(_sorted(one)) == repr(_sorted(other))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value, key=str)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def _refuse_unwritable(note: str, expectations: Mapping[str, Any] | None) -> None:
    """Raises InputError for what no later reader could take, such as half a character or a number that is none."""
    try:
        parse_json(json.dumps([note, expectations]))
    except (TypeError, ValueError, RecursionError) as failure:
        why = "nested too deep" if isinstance(failure, RecursionError) else str(failure).split(";")[0].rstrip(".")
        raise InputError(f"the correction cannot be kept as JSON: {why}.") from None


def key_problem(scorers: Sequence[Scorer], expectations: dict[str, Any]) -> str | None:
    """Why a key cannot be scored; None where it can."""
    try:
        return problem_of(scorers, expectations)
    except Exception as failure:  # noqa: BLE001  (a team's own scorer may raise anything)
        return f"a scorer cannot read them ({type(failure).__name__}). Mend them"


def _append(path: Path, made: Correction) -> None:
    """Add a line, whole or not at all: a write that is cut short is taken back."""
    line = json.dumps(made.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False) + "\n"
    try:
        with path.open("ab", buffering=0) as file:  # a buffer would be written at the end, after all
            fcntl.flock(file, fcntl.LOCK_EX)
            before = os.fstat(file.fileno()).st_size
            try:
                left = memoryview((b"\n" if before and not _ends_line(path) else b"") + line.encode())
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
    except OSError as failure:
        raise RunError(f"{project.shown(path)}: cannot be written ({failure.strerror}).") from None


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
