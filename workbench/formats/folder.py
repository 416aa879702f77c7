"""The folder that an import makes: items as they come, evalset.yaml, the schema, and a README that says what was lost.

count, found = fill(folder, "evalsets/mine", reader, source, options)
check(folder, "evalsets/mine", reader, source, options)      # that it loads; else an error that names the source's row
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal

import yaml

from workbench import project
from workbench.errors import InputError
from workbench.evalset import load_evalset
from workbench.formats.base import Format, Found, Options, told_in_words, where
from workbench.strict import brief
from workbench.words import counted

_LOSS_SHOWN = 240


def fill(folder: Path, target: Path, reader: Format, source: Path, options: Options) -> tuple[int, Found]:
    """Write all of an eval set; how many items it has, and what else the source holds.

    Args:
        target: where the folder is going to be, as messages name it.

    Raises:
        InputError: no item can be carried over, the source is broken, or the folder cannot be written.
    """
    with _ItemWriter(folder, target) as writer:
        found = reader.read(source, options, writer.take)
    if not writer.count:
        first = f" First: {found.losses[0]}" if found.losses else ""
        raise InputError(f"{where(source)}: holds no items that can be carried over.{first}")
    found.notes += writer.notes()
    spec: dict[str, Any] = {"schema": 1, "name": folder.name, "description": f"Imported from {source.name}."}
    if options.sensitivity:
        spec["sensitivity"] = options.sensitivity
    else:
        found.notes.append("no sensitivity is stated, so every item without one counts as restricted (--sensitivity)")
    spec |= found.spec
    if options.scorer and [each.get("type") for each in spec.get("scorers", [])] != [options.scorer]:
        spec["scorers"] = [{"type": options.scorer}]
    texts = {"README.md": _readme(folder.name, reader, source, writer.count, found)}
    if found.schema is not None:
        texts["schema.json"] = json.dumps(found.schema, indent=2, ensure_ascii=False) + "\n"
        spec["output"] = {"json_schema": "schema.json", **spec.get("output", {})}
    texts["evalset.yaml"] = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110)
    with told_in_words(target, "cannot be written"):
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
    return writer.count, found


def check(folder: Path, target: Path, reader: Format, source: Path, options: Options) -> None:
    """See that a folder that was filled loads: an import that would not is none.

    Args:
        target: where the folder is going to be; messages name that, for nobody finds this one.

    Raises:
        InputError: it does not; the message names the row of the source, or else a file of the eval set.
    """
    try:
        load_evalset(folder)
    except InputError as failure:
        said = str(failure).replace(project.shown(folder), project.shown(target))
        at = re.match(rf"{re.escape(project.shown(target))}/(items|train)\.jsonl:(\d+)", said)
        place = _place_of(int(at[2]), "train" if at[1] == "train" else "test", reader, source, options) if at else ""
        if at and place:
            raise InputError(f"{place}{said[at.end() :]}") from None
        raise InputError(f"{where(source)}: what it becomes is no eval set. {said}") from None


class _Reached(Exception):
    """The item that was looked for; the message is its place."""


def _place_of(number: int, wanted: str, reader: Format, source: Path, options: Options) -> str:
    """Where the source has an item of a split, found by reading once more; empty where that cannot be told."""
    left = number

    def sink(item: dict[str, Any], /, *, split: str = "test", place: str = "") -> None:
        nonlocal left
        left -= split == wanted
        if not left:
            raise _Reached(place)

    try:
        if source.exists():  # off a hub it would be fetched again
            reader.read(source, options, sink)
    except _Reached as reached:
        return str(reached)
    return ""


class _ItemWriter:
    """Writes items as they come, each with an id of its own; holds no more of them than their ids' digests.

    What cannot be written is told of the target: a reader calls this, and the source is not to blame.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self.count = 0
        self._folder, self._target = folder, target
        self._files: dict[str, IO[str]] = {}
        self._seen: set[bytes] = set()
        self._written = 0
        self._renamed = 0

    def __enter__(self) -> _ItemWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with told_in_words(self._target, "cannot be written"), ExitStack() as closing:
            for file in self._files.values():
                closing.callback(file.close)  # all of them, though one of them may have to write yet, and fail

    def take(self, item: dict[str, Any], /, *, split: Literal["test", "train"] = "test", place: str = "") -> None:
        self._written += 1
        self.count += split == "test"
        wanted = str(item.get("id") or f"{self._written:04d}")
        name = base = wanted[:200]
        again = 1
        while (key := hashlib.blake2b(name.encode(), digest_size=12).digest()) in self._seen:
            again += 1
            name = f"{base[:180]}-{again}"
        self._seen.add(key)
        self._renamed += name != wanted
        line = json.dumps({**item, "id": name}, ensure_ascii=False, allow_nan=False)
        with told_in_words(self._target, "cannot be written"):
            self._file(split).write(line + "\n")

    def _file(self, split: str) -> IO[str]:
        if split not in self._files:
            name = "train.jsonl" if split == "train" else "items.jsonl"
            self._files[split] = (self._folder / name).open("w", encoding="utf-8")
        return self._files[split]

    def notes(self) -> list[str]:
        """What was done to ids."""
        if not self._renamed:
            return []
        ids = counted(self._renamed, "id was", "ids were")
        return [f"{ids} there before, or too long; such ids got new endings (-2, -3, …) or were cut"]


def _readme(name: str, reader: Format, source: Path, count: int, found: Found) -> str:
    items = counted(count, "item")
    lines = [f"# {name}", "", f"{items}, imported from `{source.name}` as {reader.name} ({reader.about}).", ""]
    if found.notes:
        lines += ["Guessed by the import; check it:", "", *(f"- {note}" for note in found.notes), ""]
    if found.losses:
        lines += [
            f"Not carried over ({len(found.losses)}):",
            "",
            *(f"- {brief(str(loss), _LOSS_SHOWN)}" for loss in found.losses[:50]),
        ]
        lines += ["- …"] if len(found.losses) > 50 else []
        lines.append("")
    lines += ["License, origin and review of the items: not stated; fill this in.", ""]
    return "\n".join(lines)
