"""A task of the lm-evaluation-harness: its YAML with what it includes, and the rows of its splits. Nothing is fetched.

task = Task(Path("task.yaml"), found)
for place, doc in task.docs("test", found): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.formats.base import Found, where
from workbench.formats.shared.cells import csv_rows
from workbench.formats.shared.files import FILES_AT_MOST, folder_inside, inside, is_inside
from workbench.formats.shared.rows import Row, Rows, open_rows
from workbench.formats.shared.splits import DATA, UNNAMED, by_split
from workbench.formats.shared.structured import Function, read_structured

_INCLUDED_AT_MOST = 20
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


class Task:
    """A task's settings and its data.

    Attributes:
        root: the folder that nothing is read outside of.
        config: its settings, with those of the files that it includes.
        files: the data files by split.
        untyped: the data are CSV: numbers are texts here, and numbers for the harness.
    """

    def __init__(self, source: Path, found: Found) -> None:
        self.source, self.root, self.found = source, source.parent, found
        self.config, self._places = _with_included(source)
        if isinstance(self.config.get("task"), list) or ("group" in self.config and "dataset_path" not in self.config):
            raise self.error("task", "a group of tasks. Import each of its tasks by itself.")
        path = self.config.get("dataset_path")
        if not isinstance(path, str) or isinstance(path, Function):
            raise self.error("dataset_path", "there is no dataset_path. Name json, csv, parquet or a folder.")
        self.files = self._named_files() if path in ("json", "csv", "parquet") else self._folder_files(path)
        suffixes = {file.suffix.lower() for files in self.files.values() for file in files}
        self.untyped = bool(suffixes & {".csv", ".tsv"})

    def place(self, key: str) -> str:
        """Where a setting stands."""
        return self._places.get(key, where(self.source))

    def error(self, key: str, problem: str) -> InputError:
        """An error that points at a setting."""
        return InputError(f"{self.place(key)}: {problem}")

    def lose(self, key: str, what: str) -> None:
        """Write down what of a setting is lost."""
        self.found.ledger.add(self.place(key), what)

    def listed(self, key: str) -> list[Any]:
        """A setting that is a list, or one entry of it."""
        given = self.config.get(key) or []
        return given if isinstance(given, list) else [given]

    @property
    def shots(self) -> int:
        """How many examples the prompt shows."""
        count = self.config.get("num_fewshot")
        return count if isinstance(count, int) and count > 0 else 0

    def eval_split(self) -> str:
        """The split that is asked.

        Raises:
            InputError: none is named.
        """
        test, validation = self.config.get("test_split"), self.config.get("validation_split")
        if not test and not validation:
            raise InputError(f"{where(self.source)}: names no test_split or validation_split. Name one.")
        if test and validation and validation != self.fewshot_split():
            self.lose("validation_split", f"validation_split '{str(validation)[:60]}' is not read")
        return str(test or validation)

    def fewshot_split(self) -> str | None:
        """The split that examples are taken from."""
        given = self.config.get("fewshot_split")
        if not given and self.shots:
            given = self.config.get("training_split") or self.config.get("validation_split")
        return str(given) if given else None

    def _named_files(self) -> dict[str, list[Path]]:
        kwargs = self.config.get("dataset_kwargs")
        given = kwargs.get("data_files") if isinstance(kwargs, dict) else None
        found: dict[str, list[Path]] = {}
        for split, names in (given if isinstance(given, dict) else {"train": given}).items():
            for name in names if isinstance(names, list) else [names]:
                files = inside(self.root, name) if isinstance(name, str) else []
                if not files:
                    what = f"'{str(name)[:60]}' is no data file inside the task's folder. Put it there; nothing is"
                    raise self.error("dataset_kwargs", f"{what} fetched.")
                found.setdefault(str(split), []).extend(files)
        return found

    def _folder_files(self, path: str) -> dict[str, list[Path]]:
        """A data folder's files by split, as their names say; all are `train` where none does."""
        folder = folder_inside(self.root, path)
        if folder is None:
            what = f"'{path[:60]}' is no folder here, and nothing is fetched. Save the data beside the task"
            mend = "dataset_path: json, dataset_kwargs: {data_files: {test: FILE}}."
            raise self.error("dataset_path", f"{what}: {mend}")
        inner = folder_inside(folder, str(self.config.get("dataset_name") or ""))
        if inner:
            folder = inner
            del self.config["dataset_name"]  # it is read, and no loss
        paths = [path for path in sorted(folder.rglob("*"))[:FILES_AT_MOST] if path.suffix.lower() in DATA]
        files = [path for path in paths if path.is_file() and is_inside(path, self.root)]
        if not files:
            raise InputError(f"{where(folder)}: has no data (JSONL, JSON, CSV, Parquet).")
        found: dict[str, list[Path]] = {}
        for name, known in by_split(folder, files).items():
            if name != UNNAMED:
                found.setdefault(_SPLITS.get(name, name), []).extend(known)
        return found or {"train": files}

    def docs(self, split: str, found: Found) -> Iterator[tuple[str, Row]]:
        """A split's rows with their places."""
        name = split.partition("[")[0]
        if name not in self.files:
            what = f"there is no data for split '{split[:60]}'. There are: {', '.join(self.files)}."
            raise InputError(f"{where(self.source)}: {what}")
        for path in self.files[name]:
            rows = _csv(path) if path.suffix.lower() in (".csv", ".tsv") else open_rows(path, found)
            for line, row in rows.read(found.ledger):
                yield rows.place(line), row


def _csv(path: Path) -> Rows:
    return Rows(path, lambda: csv_rows(path), text_only=True)  # to the harness the first line is always a header


def _with_included(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A YAML mapping with the files that it includes, all inside its folder; and where its keys stand.

    Raises:
        InputError: a file is no mapping, or includes what is not there, or itself.
    """

    def load(file: Path, depth: int) -> dict[str, Any]:
        document = read_structured(file, python=True)
        if not isinstance(document.data, dict):
            raise InputError(f"{where(file, 1)}: must be a mapping of settings.")
        own = {str(key): value for key, value in document.data.items()}
        found: dict[str, Any] = {}
        names, place = own.pop("include", None) or [], where(file, document.line(("include",)))
        for name in names if isinstance(names, list) else [names]:
            files = inside(path.parent, str(name), file.parent)
            if not files:
                raise InputError(f"{place}: includes '{str(name)[:60]}', which is not in the folder. Copy it there.")
            if depth >= _INCLUDED_AT_MOST:
                raise InputError(f"{place}: files include each other. Mend them.")
            found |= load(files[0], depth + 1)
        places.update({key: where(file, document.line((key,))) for key in own})
        return found | own

    places: dict[str, str] = {}
    return load(path, 0), places
