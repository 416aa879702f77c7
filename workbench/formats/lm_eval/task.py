"""An lm-evaluation-harness task: its YAML with what it includes, and the rows of its splits. Nothing is imported.

task = Task(Path("task.yaml"))
for place, doc in task.docs("test"): ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.formats.base import csv_rows, where
from workbench.formats.shared.files import folder_inside, inside
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.rows import Rows, open_rows
from workbench.formats.shared.structured import Function, read_structured

_LOADERS = ("json", "csv", "parquet")
_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_INCLUDED_AT_MOST = 20
_FILES_AT_MOST = 10_000
_SPLITS = {
    "train": re.compile(r"(?:^|[/_.-])(?:train|training)(?=[/_.-]|$)"),
    "validation": re.compile(r"(?:^|[/_.-])(?:validation|valid|val|dev)(?=[/_.-]|$)"),
    "test": re.compile(r"(?:^|[/_.-])(?:test|testing|eval|evaluation)(?=[/_.-]|$)"),
}


class Task:
    """A task's settings and its data.

    Attributes:
        root: the folder that nothing is read outside of.
        config: its settings, with those of the files that it includes.
        uses_name: dataset_name is a folder that was read.
    """

    def __init__(self, source: Path) -> None:
        self.source, self.root = source, source.parent
        self.uses_name = False
        self._places: dict[str, str] = {}
        self.config = self._load(source, 0)
        if isinstance(self.config.get("task"), list) or ("group" in self.config and "dataset_path" not in self.config):
            raise InputError(f"{self.place('task')}: a group of tasks. Import each of its tasks by itself.")
        self.files = self._split_files()

    def place(self, key: str) -> str:
        """Where a setting stands."""
        return self._places.get(key, where(self.source))

    def _load(self, path: Path, depth: int) -> dict[str, Any]:
        document = read_structured(path, python=True)
        if not isinstance(document.data, dict):
            raise InputError(f"{where(path, 1)}: must be a mapping of a task's settings.")
        own = {str(key): value for key, value in document.data.items()}
        places = {key: where(path, document.line((key,))) for key in own}
        found: dict[str, Any] = {}
        names = own.pop("include", None) or []
        for name in names if isinstance(names, list) else [names]:
            files = inside(self.root, str(name), path.parent)
            if not files:
                what = f"includes '{str(name)[:60]}', which is not in the folder. Copy it there."
                raise InputError(f"{places['include']}: {what}")
            if depth >= _INCLUDED_AT_MOST:
                raise InputError(f"{places['include']}: files include each other. Mend them.")
            found |= self._load(files[0], depth + 1)
        self._places |= places
        return found | own

    def _split_files(self) -> dict[str, list[Path]]:
        path = self.config.get("dataset_path")
        if not isinstance(path, str) or isinstance(path, Function):
            what = "there is no dataset_path. Name json, csv, parquet or a folder."
            raise InputError(f"{self.place('dataset_path')}: {what}")
        if path in _LOADERS:
            return self._named_files()
        folder = folder_inside(self.root, path)
        if folder is None:
            raise InputError(
                f"{self.place('dataset_path')}: '{path[:60]}' is no folder here, and nothing is fetched. Save the data "
                "beside the task: dataset_path: json, dataset_kwargs: {data_files: {test: FILE}}."
            )
        name = self.config.get("dataset_name")
        inner = folder_inside(folder, name) if isinstance(name, str) else None
        self.uses_name = inner is not None
        return _splits_of(inner or folder, self.root)

    def _named_files(self) -> dict[str, list[Path]]:
        kwargs = self.config.get("dataset_kwargs")
        given = kwargs.get("data_files") if isinstance(kwargs, dict) else None
        found: dict[str, list[Path]] = {}
        for split, names in (given if isinstance(given, dict) else {"train": given}).items():
            for name in names if isinstance(names, list) else [names]:
                files = inside(self.root, name) if isinstance(name, str) else []
                if not files:
                    raise InputError(
                        f"{self.place('dataset_kwargs')}: '{str(name)[:60]}' is no data file inside the task's folder. "
                        "Put it there; nothing is fetched."
                    )
                found.setdefault(str(split), []).extend(files)
        return found

    def rows(self, split: str) -> list[Rows]:
        """The files of a split as tables.

        Raises:
            InputError: there is no such split.
        """
        name = split.partition("[")[0]
        if name not in self.files:
            what = f"there is no data for split '{split[:60]}'. There are: {', '.join(self.files)}."
            raise InputError(f"{where(self.source)}: {what}")
        return [_table(path) for path in self.files[name]]

    @property
    def untyped(self) -> bool:
        """Whether the data are CSV: numbers are texts here, and numbers for the harness."""
        return any(path.suffix.lower() in (".csv", ".tsv") for files in self.files.values() for path in files)

    def docs(self, split: str, ledger: Ledger) -> Iterator[tuple[str, dict[str, Any]]]:
        """A split's rows with their places."""
        for rows in self.rows(split):
            for line, row in rows:
                for column, what in rows.odd.items():
                    ledger.tally(rows.place(line), f"column '{column[:60]}' holds {what}")
                yield rows.place(line), row


def _table(path: Path) -> Rows:
    if path.suffix.lower() in (".csv", ".tsv"):  # to the harness the first line is always a header
        return Rows(path, lambda: csv_rows(path), text_only=True)
    return open_rows(path)


def _splits_of(folder: Path, root: Path) -> dict[str, list[Path]]:
    """A data folder's files by split, as their names say; all are `train` where none does."""
    paths = [path for path in sorted(folder.rglob("*"))[:_FILES_AT_MOST] if path.suffix.lower() in _SUFFIXES]
    files = [path for path in paths if path.is_file() and path.resolve().is_relative_to(root.resolve())]
    if not files:
        raise InputError(f"{where(folder)}: has no data (JSONL, JSON, CSV, Parquet).")
    found: dict[str, list[Path]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix().lower()
        split = next((split for split, pattern in _SPLITS.items() if pattern.search(name)), None)
        if split is not None:
            found.setdefault(split, []).append(path)
    return found or {"train": files}
