"""Where the data of a Hugging Face dataset lie: an index of save_to_disk, a repository's card, or names that tell.

layout = layout_of(Path("path/to/dataset"))       # layout.splits: {'test': [Path(…)], 'train': […]}
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import InputError
from workbench.files import read_json, read_text
from workbench.formats.base import Loss, where
from workbench.formats.huggingface.features import Feature, of_info, of_readme

UNNAMED = "(unnamed)"
_SUFFIXES = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
DATA = {**_SUFFIXES, ".csv": "csv", ".tsv": "csv"}
_ABOUT = re.compile(r"(?i)(readme|license|citation|\.git.*|dataset_infos?\.json|dataset_dict\.json|state\.json)(\..*)?")
_SPLIT = re.compile(
    r"(?i)(?:^|[^a-z])(train(?:ing)?|test(?:ing)?|eval(?:uation)?|valid(?:ation)?|val|dev|few_?shot)(?:[^a-z]|$)"
)
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_FILES_AT_MOST = 10_000


@dataclass
class Layout:
    """The files of a dataset by split, and what is known of them."""

    splits: dict[str, list[Path]] = field(default_factory=dict)
    features: dict[str, Feature] = field(default_factory=dict)
    license: str | None = None
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def layout_of(source: Path) -> Layout:
    """What is where in a folder, or a single file.

    Raises:
        InputError: an index or a card cannot be followed.
    """
    if source.is_file():
        return Layout({UNNAMED: [source]})
    if (source / "dataset_dict.json").is_file():
        return _saved_dict(source)
    if (source / "state.json").is_file():
        files, features, split = _saved(source)
        return Layout({split or UNNAMED: files}, features)
    return _repository(source)


def _saved_dict(source: Path) -> Layout:
    index = source / "dataset_dict.json"
    data = read_json(index)
    names = data.get("splits") if isinstance(data, dict) else None
    if not isinstance(names, list) or not names:
        raise InputError(f'{where(index)}: must name the splits: {{"splits": ["test"]}}.')
    layout = Layout()
    for name in map(str, names):
        folder = source / name
        if not (folder / "state.json").is_file() or not _is_inside(folder, source):
            raise InputError(f"{where(index)}: split '{name[:60]}' has no folder with state.json.")
        layout.splits[name], features, _ = _saved(folder)
        layout.features |= features
    return layout


def _saved(folder: Path) -> tuple[list[Path], dict[str, Feature], str | None]:
    """The files, features and split of a dataset that was saved to a folder."""
    index = folder / "state.json"
    state = read_json(index)
    state = state if isinstance(state, dict) else {}
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise InputError(
            f"{where(index)}: a selection of rows that was saved by an old version of datasets. Load it, call "
            "flatten_indices(), and save it again."
        )
    entries = state.get("_data_files")
    files = []
    for entry in entries if isinstance(entries, list) else []:
        name = str(entry.get("filename") if isinstance(entry, dict) else None)
        if not (folder / name).is_file() or not _is_inside(folder / name, folder):
            raise InputError(f"{where(index)}: there is no file '{name[:60]}' in this folder.")
        files.append(folder / name)
    about = folder / "dataset_info.json"
    info = read_json(about) if about.is_file() else {}
    split = state.get("_split")
    features = of_info(info.get("features")) if isinstance(info, dict) else {}
    return files, features, split if isinstance(split, str) else None


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in its folder; the hub's own cache has its files next to it."""
    roots = [folder.resolve()]
    if folder.parent.name == "snapshots":
        roots.append((folder.parent.parent / "blobs").resolve())
    return any(path.resolve().is_relative_to(root) for root in roots)


def front_matter(folder: Path) -> dict[str, Any]:
    """What a repository's card says of its data.

    Raises:
        InputError: it is not valid YAML.
    """
    card = folder / "README.md"
    found = _FRONT.match(read_text(card).replace("\r\n", "\n")) if card.is_file() else None
    try:
        data = yaml.safe_load(found.group(1)) if found else None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError):
        what = "what stands between '---' is not valid YAML. Check indent and quotes."
        raise InputError(f"{where(card)}: {what}") from None
    return data if isinstance(data, dict) else {}


def _visible(folder: Path) -> Iterator[Path]:
    """The files of a folder that are no metadata; hidden ones and links out of the folder are passed over."""
    for path in sorted(folder.rglob("*"))[:_FILES_AT_MOST]:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not _ABOUT.fullmatch(path.name) and path.is_file() and _is_inside(path, folder):
            yield path


def data_files(folder: Path) -> Iterator[Path]:
    """The files of a folder that can hold rows."""
    return (path for path in _visible(folder) if path.suffix.lower() in DATA)


def _repository(folder: Path) -> Layout:
    front, card = front_matter(folder), where(folder / "README.md")
    layout = Layout()
    config = _config(front.get("configs"), card, layout)
    layout.features = _card_features(front.get("dataset_info"), config.get("config_name"))
    layout.license = front["license"] if isinstance(front.get("license"), str) else None
    files = list(data_files(folder))
    patterns = _patterns(config.get("data_files"))
    for split, pattern in patterns:
        try:
            matched = sorted(set(folder.glob(pattern)) & set(files))
        except (ValueError, NotImplementedError, OSError):  # no pattern: it means no file, which is told
            matched = []
        if not matched:
            raise InputError(f"{card}: no data file matches '{pattern[:60]}' of split '{split[:60]}'.")
        known = layout.splits.setdefault(split, [])
        known += [path for path in matched if path not in known]
    if not patterns:
        _by_name(folder, files, layout)
    layout.losses += _leftovers(folder, {path for paths in layout.splits.values() for path in paths})
    return layout


def _config(configs: Any, card: str, layout: Layout) -> dict[str, Any]:
    """The configuration to read: the default one, else the first; the others are losses."""
    known = [each for each in configs if isinstance(each, dict)] if isinstance(configs, list) else []
    if len(known) < 2:
        return known[0] if known else {}
    default = [each for each in known if each.get("default") is True or each.get("config_name") == "default"]
    chosen = (default or known)[0]
    layout.notes.append(f"of {len(known)} configurations '{chosen.get('config_name')}' is read")
    for other in known:
        if other is not chosen:
            layout.losses.append(Loss(card, f"configuration '{str(other.get('config_name'))[:60]}' is not read"))
    return chosen


def _patterns(data_files: Any) -> list[tuple[str, str]]:
    """The split and path of each entry of `data_files`, in any of its spellings."""
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    elif isinstance(data_files, str):
        data_files = [data_files]
    found = []
    for entry in data_files if isinstance(data_files, list) else []:
        split, paths = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else (None, entry)
        found += [(str(split or UNNAMED), str(path)) for path in (paths if isinstance(paths, list) else [paths])]
    return found


def _card_features(info: Any, config: Any) -> dict[str, Feature]:
    entries = [entry for entry in (info if isinstance(info, list) else [info]) if isinstance(entry, dict)]
    chosen = next((entry for entry in entries if entry.get("config_name") == config), entries[0] if entries else {})
    return of_readme(chosen.get("features"))


def _by_name(folder: Path, files: list[Path], layout: Layout) -> None:
    """Splits as names of files and folders tell them. Of several kinds of file, the most frequent one is the data."""
    kinds = Counter(DATA[path.suffix.lower()] for path in files)
    kind = max(("parquet", "arrow", "json", "csv"), key=lambda each: kinds[each])
    lines = any(path.suffix == ".jsonl" for path in files)  # a .json beside is a list of labels or the like
    for path in files:
        if DATA[path.suffix.lower()] == kind and not (path.suffix == ".json" and lines):
            told = _SPLIT.findall(" ".join(path.relative_to(folder).with_suffix("").parts))
            split = told[-1].casefold() if told else UNNAMED
            layout.splits.setdefault("train" if split.startswith("few") else split, []).append(path)


def _leftovers(folder: Path, used: set[Path]) -> Iterator[Loss]:
    others = []
    for path in _visible(folder):
        if path.suffix == ".py":
            yield Loss(where(path), "a loading script; it is never run")
        elif path.suffix.lower() in DATA and path not in used:
            yield Loss(where(path), "not read: not among the data that were chosen")
        elif path not in used:
            others.append(path.name)
    if others:
        shown = ", ".join(name[:60] for name in others[:3]) + (", …" if len(others) > 3 else "")
        yield Loss(where(folder), f"{len(others)} further files are not read ({shown})")
