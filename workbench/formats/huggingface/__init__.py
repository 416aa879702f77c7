"""Hugging Face datasets in a folder: of save_to_disk, or like a repository. Its loading scripts are never run.

import_evalset("path/to/dataset", "evalsets/mine")        # split test is the items, split train is train.jsonl
import_evalset("owner/name", "evalsets/mine", options=Options(online=True))     # off the hub, by huggingface_hub
export_evalset(evalset, "huggingface", "out/dataset")     # a folder that load_dataset reads
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench import project
from workbench.errors import InputError
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, where
from workbench.formats.huggingface.features import Feature, class_names, decoded, of_metadata
from workbench.formats.huggingface.layout import DATA, UNNAMED, data_files, front_matter, layout_of
from workbench.formats.shared.export import spec_losses
from workbench.formats.shared.rows import Numbered, Rows, file_metadata, open_rows
from workbench.formats.table.read import Part, chosen_splits, import_parts
from workbench.formats.table.write import item_row, write_objects

if TYPE_CHECKING:
    from workbench.evalset import EvalSet


class HuggingFace(Format):
    """A dataset of the Hugging Face libraries."""

    name = "huggingface"
    about = "a Hugging Face dataset: a folder of save_to_disk or of a repository; with --online a name on the hub"

    def sniff(self, source: Path) -> float:
        if source.is_file():
            return 0.5 if source.suffix == ".arrow" else 0.0
        if (source / "evalset.yaml").exists():
            return 0.0
        if (source / "dataset_dict.json").is_file() or (source / "state.json").is_file():
            return 1.0
        try:
            front = front_matter(source)
        except InputError:
            front = {}  # reading says what is wrong with it
        if front.keys() & {"configs", "dataset_info", "task_categories"}:
            return 0.9
        return 0.3 if any(data_files(source)) else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.exists():
            return _read(source, options, sink)
        name = project.shown(source)
        if not options.online:
            raise InputError(f"{name}: there is no such folder. If it is a name on the hub, say --online.")
        with tempfile.TemporaryDirectory(prefix="workbench-") as scratch:
            _download(name, Path(scratch))
            return _read(Path(scratch), options, sink)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        if target.exists():
            raise InputError(f"{where(target)}: is there already. Name a new folder.")
        splits = {"test": evalset.items, "train": evalset.train}
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
                folder = Path(scratch) / target.name
                folder.mkdir()
                files = []
                for split in (name for name, items in splits.items() if items):
                    write_objects(folder / f"{split}.jsonl", map(item_row, splits[split]), "as JSONL")
                    files.append({"split": split, "path": f"{split}.jsonl"})
                (folder / "README.md").write_text(_card(evalset, files), "utf-8")
                folder.rename(target)
        except OSError as failure:
            raise InputError(f"{where(target)}: cannot be written ({failure.strerror}).") from None
        return spec_losses(evalset, held=("train", "license"))


FORMATS.add("huggingface", HuggingFace())


def _card(evalset: EvalSet, files: list[dict[str, str]]) -> str:
    front: dict[str, Any] = {"license": evalset.spec.license} if evalset.spec.license else {}
    front["configs"] = [{"config_name": "default", "data_files": files}]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n# {evalset.name}\n\n{evalset.spec.description}\n"


def _download(name: str, folder: Path) -> None:
    """Fetch a dataset's files off the hub: data and its card, no scripts."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise InputError(
            f"{name}: reading from the hub needs the package huggingface_hub: pip install huggingface_hub. Or "
            "download the dataset elsewhere and name its folder."
        ) from None
    patterns = [*(f"*{suffix}" for suffix in DATA), "README.md"]
    try:
        hub.snapshot_download(repo_id=name, repo_type="dataset", local_dir=str(folder), allow_patterns=patterns)
    except (OSError, ValueError) as failure:
        about = str(failure).strip().splitlines()[0][:200] if str(failure).strip() else type(failure).__name__
        raise InputError(f"{name}: cannot be read from the hub: {about}") from None


def _read(source: Path, options: Options, sink: Sink) -> Found:
    layout = layout_of(source)
    if not any(layout.splits.values()):
        first = f" First: {layout.losses[0]}" if layout.losses else ""
        raise InputError(f"{where(source)}: holds no data (Parquet, Arrow, JSONL, JSON, CSV).{first}")
    chosen = chosen_splits(list(layout.splits))
    parts: list[Part] = []
    features: dict[str, Feature] = {}
    for name, files in layout.splits.items():
        use = chosen.use(name)
        for path in files:
            rows = open_rows(path)
            if use is None:
                count = sum(1 for _ in rows.each())
                layout.losses.append(Loss(where(path), f"split '{name}' is not used ({count} rows)"))
                continue
            known = layout.features | (of_metadata(file_metadata(path)) if rows.sparse else {})
            features |= known
            rows.each = _named(rows, known)
            parts.append((rows, None if len(layout.splits) == 1 else use))
    if [*layout.splits] != [UNNAMED]:
        layout.notes.append(chosen.note)
    found = import_parts(parts, options, sink, labels=class_names(features))
    found.losses[:0] = layout.losses
    found.notes[:0] = layout.notes
    found.spec |= {"license": layout.license} if layout.license else {}
    return found


def _named(rows: Rows, features: dict[str, Feature]) -> Any:
    """The rows with names for the numbers of classes, read anew each time."""
    each = rows.each

    def read() -> Numbered:
        for line, row in each():
            yield line, decoded(row, features)

    return read
