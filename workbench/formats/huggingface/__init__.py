"""Hugging Face datasets in a folder: of save_to_disk, or like a repository. Its loading scripts are never run.

import_evalset("path/to/dataset", "evalsets/mine")        # split test is the items, split train is train.jsonl
import_evalset("owner/name", "evalsets/mine", options=Options(online=True))     # off the hub, by huggingface_hub
export_evalset(evalset, "huggingface", "out/dataset")     # a folder that load_dataset reads
"""

from __future__ import annotations

import importlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench import project
from workbench.errors import InputError
from workbench.files import read_json, read_text
from workbench.formats.huggingface.features import Feature, class_names, decoded, of_info, of_metadata, of_readme
from workbench.formats.shared.rows import Numbered, Rows, file_metadata, kind_of, open_rows
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, where
from workbench.formats.table import Part, chosen_splits, import_parts, item_row, spec_losses, write_objects

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_SUFFIXES = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
_DATA = {**_SUFFIXES, ".csv": "csv", ".tsv": "csv"}
_ABOUT = re.compile(r"(?i)(readme|license|citation|\.git.*|dataset_infos?\.json|dataset_dict\.json|state\.json)(\..*)?")
_SPLIT = re.compile(
    r"(?i)(?:^|[^a-z])(train(?:ing)?|test(?:ing)?|eval(?:uation)?|valid(?:ation)?|val|dev|few_?shot)(?:[^a-z]|$)"
)
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_UNNAMED = "(unnamed)"
_FILES_AT_MOST = 10_000


@dataclass
class _Layout:
    """The files of a dataset by split, and what is known of them."""

    splits: dict[str, list[Path]] = field(default_factory=dict)
    features: dict[str, Feature] = field(default_factory=dict)
    license: str | None = None
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
            front = _front_matter(source)
        except InputError:
            front = {}  # reading says what is wrong with it
        if any(key in front for key in ("configs", "dataset_info", "task_categories")):
            return 0.9
        return 0.3 if any(_data_files(source)) else 0.0

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
    patterns = [*(f"*{suffix}" for suffix in _DATA), "README.md"]
    try:
        hub.snapshot_download(repo_id=name, repo_type="dataset", local_dir=str(folder), allow_patterns=patterns)
    except (OSError, ValueError) as failure:
        about = str(failure).strip().splitlines()[0][:200] if str(failure).strip() else type(failure).__name__
        raise InputError(f"{name}: cannot be read from the hub: {about}") from None


def _read(source: Path, options: Options, sink: Sink) -> Found:
    layout = _layout(source)
    if not any(layout.splits.values()):
        raise InputError(f"{where(source)}: holds no data (Parquet, Arrow, JSONL, JSON, CSV).{_first(layout.losses)}")
    chosen = chosen_splits(list(layout.splits))
    parts: list[Part] = []
    features: dict[str, Feature] = {}
    for name, files in layout.splits.items():
        use = chosen.use(name)
        for path in files:
            rows = open_rows(path)
            if use is None:
                layout.losses.append(Loss(where(path), f"split '{name}' is not used ({_count(rows)} rows)"))
                continue
            known = layout.features | (of_metadata(file_metadata(path)) if rows.unit == " row " else {})
            features |= known
            rows.each = _named(rows, known)
            parts.append((rows, None if len(layout.splits) == 1 else use))
    if [*layout.splits] != [_UNNAMED]:
        layout.notes.append(chosen.note)
    found = import_parts(parts, options, sink, labels=class_names(features))
    found.losses[:0] = layout.losses
    found.notes[:0] = layout.notes
    if layout.license:
        found.spec["license"] = layout.license
    return found


def _first(losses: list[Loss]) -> str:
    return f" First: {losses[0]}" if losses else ""


def _named(rows: Rows, features: dict[str, Feature]) -> Any:
    """The rows with names for the numbers of classes, read anew each time."""
    each = rows.each

    def read() -> Numbered:
        for line, row in each():
            yield line, decoded(row, features)

    return read


def _count(rows: Rows) -> int:
    if kind_of(rows.source) == "parquet":
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        try:
            return int(pq.read_metadata(rows.source).num_rows)
        except (pa.ArrowException, OSError):
            raise InputError(f"{where(rows.source)}: not a readable Parquet file.") from None
    return sum(1 for _ in rows.each())


# What is where: save_to_disk has an index of its files; a repository has its card, or names that tell.


def _layout(source: Path) -> _Layout:
    if source.is_file():
        return _Layout({_UNNAMED: [source]})
    if (source / "dataset_dict.json").is_file():
        return _saved_dict(source)
    if (source / "state.json").is_file():
        files, features, split = _saved(source)
        return _Layout({split or _UNNAMED: files}, features)
    return _repository(source)


def _saved_dict(source: Path) -> _Layout:
    index = read_json(source / "dataset_dict.json")
    names = index.get("splits") if isinstance(index, dict) else None
    if not isinstance(names, list) or not names:
        raise InputError(f'{where(source / "dataset_dict.json")}: must name the splits: {{"splits": ["test"]}}.')
    layout = _Layout()
    for name in map(str, names):
        folder = source / name
        if not (folder / "state.json").is_file() or not _is_inside(folder, source):
            raise InputError(
                f"{where(source / 'dataset_dict.json')}: split '{name[:60]}' has no folder with state.json."
            )
        layout.splits[name], features, _ = _saved(folder)
        layout.features |= features
    return layout


def _saved(folder: Path) -> tuple[list[Path], dict[str, Feature], str | None]:
    """The files, features and split of a dataset that was saved to a folder."""
    state = read_json(folder / "state.json")
    state = state if isinstance(state, dict) else {}
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise InputError(
            f"{where(folder / 'state.json')}: a selection of rows that was saved by an old version of datasets. "
            "Load it, call flatten_indices(), and save it again."
        )
    entries = state.get("_data_files")
    files = []
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get("filename") if isinstance(entry, dict) else None
        path = folder / str(name)
        if not isinstance(name, str) or not path.is_file() or not _is_inside(path, folder):
            raise InputError(f"{where(folder / 'state.json')}: there is no file '{str(name)[:60]}' in this folder.")
        files.append(path)
    about = folder / "dataset_info.json"
    info = read_json(about) if about.is_file() else {}
    split = state.get("_split")
    return (
        files,
        of_info(info.get("features") if isinstance(info, dict) else {}),
        split if isinstance(split, str) else None,
    )


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in its folder; the hub's own cache has its files next to it."""
    roots = [folder.resolve()]
    if folder.parent.name == "snapshots":
        roots.append((folder.parent.parent / "blobs").resolve())
    return any(path.resolve().is_relative_to(root) for root in roots)


def _front_matter(folder: Path) -> dict[str, Any]:
    """What a repository's card says of its data."""
    card = folder / "README.md"
    if not card.is_file():
        return {}
    found = _FRONT.match(read_text(card).replace("\r\n", "\n"))
    try:
        data = yaml.safe_load(found.group(1)) if found else None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError):
        raise InputError(
            f"{where(card)}: what stands between '---' is not valid YAML. Check indent and quotes."
        ) from None
    return data if isinstance(data, dict) else {}


def _data_files(folder: Path) -> Iterator[Path]:
    """The files of a folder that can hold rows; hidden ones and links out of the folder are passed over."""
    for path in sorted(folder.rglob("*"))[:_FILES_AT_MOST]:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() not in _DATA or hidden or _ABOUT.fullmatch(path.name):
            continue
        if path.is_file() and _is_inside(path, folder):
            yield path


def _repository(folder: Path) -> _Layout:
    front = _front_matter(folder)
    layout = _Layout()
    config = _config(front.get("configs"), folder, layout)
    layout.features = _card_features(front.get("dataset_info"), config.get("config_name") if config else None)
    if isinstance(front.get("license"), str):
        layout.license = front["license"]
    files = list(_data_files(folder))
    patterns = _patterns(config.get("data_files")) if config else []
    for split, pattern in patterns:
        matched = sorted(set(_matching(folder, pattern)) & set(files))
        if not matched:
            raise InputError(
                f"{where(folder / 'README.md')}: no data file matches '{pattern[:60]}' of split '{split[:60]}'."
            )
        layout.splits.setdefault(split, []).extend(path for path in matched if path not in layout.splits[split])
    if not patterns:
        _by_name(folder, files, layout)
    used = {path for paths in layout.splits.values() for path in paths}
    layout.losses += _leftovers(folder, used, files)
    return layout


def _config(configs: Any, folder: Path, layout: _Layout) -> dict[str, Any] | None:
    """The configuration to read: the default one, else the first; the others are losses."""
    known = [each for each in configs if isinstance(each, dict)] if isinstance(configs, list) else []
    if not known:
        return None
    chosen = next(
        (each for each in known if each.get("default") is True or each.get("config_name") == "default"), known[0]
    )
    if len(known) > 1:
        layout.notes.append(f"of {len(known)} configurations '{chosen.get('config_name')}' is read")
    for other in known:
        if other is not chosen:
            name = str(other.get("config_name"))[:60]
            layout.losses.append(Loss(where(folder / "README.md"), f"configuration '{name}' is not read"))
    return chosen


def _patterns(data_files: Any) -> list[tuple[str, str]]:
    """The split and path of each entry of `data_files`, in any of its spellings."""
    if isinstance(data_files, str):
        return [(_UNNAMED, data_files)]
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    found = []
    for entry in data_files if isinstance(data_files, list) else []:
        split, paths = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else (None, entry)
        for path in paths if isinstance(paths, list) else [paths]:
            found.append((str(split or _UNNAMED), str(path)))
    return found


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except (ValueError, NotImplementedError, OSError):
        return []


def _card_features(info: Any, config: Any) -> dict[str, Feature]:
    entries = [entry for entry in (info if isinstance(info, list) else [info]) if isinstance(entry, dict)]
    chosen = next((entry for entry in entries if entry.get("config_name") == config), entries[0] if entries else {})
    return of_readme(chosen.get("features"))


def _by_name(folder: Path, files: list[Path], layout: _Layout) -> None:
    """Splits as names of files and folders tell them. Of several kinds of file, the most frequent one is the data."""
    kinds = Counter(_DATA[path.suffix.lower()] for path in files)
    if not kinds:
        return
    kind = max(("parquet", "arrow", "json", "csv"), key=lambda each: kinds[each])
    for path in files:
        if _DATA[path.suffix.lower()] == kind and not (path.suffix == ".json" and _is_no_table(path, files)):
            told = _SPLIT.findall(" ".join(path.relative_to(folder).with_suffix("").parts))
            split = told[-1].casefold() if told else _UNNAMED
            layout.splits.setdefault("train" if split.startswith("few") else split, []).append(path)


def _is_no_table(path: Path, files: list[Path]) -> bool:
    """Whether a .json beside .jsonl files is a list of labels or the like."""
    return any(other.suffix == ".jsonl" for other in files)


def _leftovers(folder: Path, used: set[Path], files: list[Path]) -> Iterator[Loss]:
    for path in files:
        if path not in used:
            yield Loss(where(path), "not read: not among the data that were chosen")
    others = []
    for path in sorted(folder.rglob("*"))[:_FILES_AT_MOST]:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not path.is_file() or hidden or path in used or path in files or _ABOUT.fullmatch(path.name):
            continue
        if path.suffix == ".py":
            yield Loss(where(path), "a loading script; it is never run")
        else:
            others.append(path.name)
    if others:
        shown = ", ".join(name[:60] for name in others[:3]) + (", …" if len(others) > 3 else "")
        yield Loss(where(folder), f"{len(others)} further files are not read ({shown})")
