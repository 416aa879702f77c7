"""Hugging Face datasets in a folder: of save_to_disk, or like a repository. Its loading scripts are never run.

import_evalset("path/to/dataset", "evalsets/mine")        # split test is the items, split train is train.jsonl
import_evalset("owner/name", "evalsets/mine", options=Options(online=True))     # off the hub, by huggingface_hub
export_evalset(evalset, "huggingface", "out/dataset")     # a folder that load_dataset reads
"""

from __future__ import annotations

import importlib
import json
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from workbench import project
from workbench.errors import InputError
from workbench.files import read_json, read_text
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import cell_value
from workbench.formats.shared.export import item_row, note_json_texts, write_objects
from workbench.formats.shared.files import is_inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.rows import Numbered, Row, Rows, kind_of, open_rows
from workbench.formats.shared.splits import DATA, UNNAMED, by_split, chosen_splits, named_files, visible
from workbench.formats.shared.tables import Part, read_tables
from workbench.words import counted

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

Splits = dict[str, list[Path]]
Features = dict[str, Any]  # by column, as dataset_info.json or a card says

_POSITION = re.compile(r"\s*-?[0-9]{1,9}\s*")  # of a label, in a cell
_ABOUT = re.compile(r"(?i)(readme|license|citation|\.git.*|dataset_infos?\.json|dataset_dict\.json|state\.json)(\..*)?")
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


class HuggingFace(Format):
    """A dataset of the Hugging Face libraries."""

    name = "huggingface"
    about = "a Hugging Face dataset: a folder of save_to_disk or of a repository; with --online a name on the hub"
    mapped = True
    keeps = frozenset({"train", "license"})

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
        if front.keys() & {"configs", "dataset_info", "task_categories"}:
            return 0.9
        return 0.3 if any(path.suffix.lower() in DATA for path in _files(source)) else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.exists():
            return _read(source, options, sink)
        name = project.shown(source)
        if not options.online:
            raise InputError(f"{name}: there is no such folder. If it is a name on the hub, say --online.")
        with tempfile.TemporaryDirectory(prefix="workbench-") as scratch:
            _download(name, Path(scratch))
            return _read(Path(scratch), options, sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        if target.exists():
            raise InputError(f"{where(target)}: is there already. Name a new folder.")
        note_json_texts(evalset, ledger)
        splits = {name: items for name, items in (("test", evalset.items), ("train", evalset.train)) if items}
        files = [{"split": name, "path": f"{name}.jsonl"} for name in splits]
        front: dict[str, Any] = {"license": evalset.spec.license} if evalset.spec.license else {}
        front["configs"] = [{"config_name": "default", "data_files": files}]
        head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
                (folder := Path(scratch) / target.name).mkdir()
                for name, items in splits.items():
                    write_objects(evalset, folder / f"{name}.jsonl", map(item_row, items))
                card = f"---\n{head}---\n\n# {evalset.name}\n\n{evalset.spec.description}\n"
                (folder / "README.md").write_text(card, "utf-8")
                folder.rename(target)
        except OSError as failure:
            raise InputError(f"{where(target)}: cannot be written ({failure.strerror}).") from None


FORMATS.add("huggingface", HuggingFace())


def _download(name: str, folder: Path) -> None:
    """Fetch a dataset's files off the hub: data and its card, no scripts."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        mend = "pip install huggingface_hub. Or download the dataset elsewhere and name its folder"
        raise InputError(f"{name}: reading from the hub needs the package huggingface_hub: {mend}.") from None
    patterns = [*(f"*{suffix}" for suffix in DATA), "README.md"]
    try:
        hub.snapshot_download(repo_id=name, repo_type="dataset", local_dir=str(folder), allow_patterns=patterns)
    except (OSError, ValueError) as failure:
        about = str(failure).strip().splitlines()[0][:200] if str(failure).strip() else type(failure).__name__
        raise InputError(f"{name}: cannot be read from the hub: {about}") from None


def _read(source: Path, options: Options, sink: Sink) -> Found:
    found = Found()
    splits, known = _layout(source, found)
    if not any(splits.values()):
        first = f" First: {found.losses[0]}" if found.losses else ""
        raise InputError(f"{where(source)}: holds no data (Parquet, Arrow, JSONL, JSON, CSV).{first}")
    chosen = chosen_splits(list(splits))
    if [*splits] != [UNNAMED]:
        found.notes.append(chosen.note)
    parts: list[Part] = []
    declared: dict[str, _Label] = {}
    for name, files in splits.items():
        use = chosen.use(name)
        for path in files:
            rows = open_rows(path, found)
            if use is None:
                count = sum(1 for _ in rows.each())
                found.ledger.add(where(path), f"split '{name}' is not used ({counted(count, 'row')})")
                continue
            own = _labels_of(known | (_file_features(path) if rows.sparse else {}), where(source), found)
            declared |= own
            parts.append((_with_names(rows, own), None if len(splits) == 1 else use))
    labels = {name: label.names for name, label in declared.items() if not label.listed}
    for name, names in labels.items() if any(rows.text_only for rows, _ in parts) else ():
        if any(each.strip().isdigit() for each in names):
            found.notes.append(f"column '{name[:60]}': digits are positions of its labels (from 0), not their names")
    return read_tables(parts, options, sink, found, labels=labels)


def _layout(source: Path, found: Found) -> tuple[Splits, Features]:
    """The files of a folder, or a single file, by split; and what is known of their columns."""
    if source.is_file():
        return {UNNAMED: [source]}, {}
    index = source / "dataset_dict.json"
    if not index.is_file():
        if not (source / "state.json").is_file():
            return _repository(source, found)
        files, features, split = _saved(source)
        return {split or UNNAMED: files}, features
    data = read_json(index)
    names = data.get("splits") if isinstance(data, dict) else None
    if not isinstance(names, list) or not names:
        raise InputError(f'{where(index)}: must name the splits: {{"splits": ["test"]}}.')
    splits, features = {}, {}
    for name in map(str, names):
        if not is_inside(source / name / "state.json", source):
            raise InputError(f"{where(index)}: split '{name[:60]}' has no folder with state.json.")
        splits[name], known, _ = _saved(source / name)
        features |= known
    return splits, features


def _saved(folder: Path) -> tuple[list[Path], Features, str | None]:
    """The files, features and split of a dataset that was saved to a folder."""
    index, about = folder / "state.json", folder / "dataset_info.json"
    state = read_json(index)
    state = state if isinstance(state, dict) else {}
    if state.get("_indices_data_files") or state.get("_indices_files"):
        what = "a selection of rows that was saved by an old version of datasets"
        raise InputError(f"{where(index)}: {what}. Load it, call flatten_indices(), and save it again.")
    entries = state.get("_data_files")
    files = []
    for entry in entries if isinstance(entries, list) else []:
        name = str(entry.get("filename") if isinstance(entry, dict) else None)
        if not (is_inside(folder / name, folder) and (folder / name).is_file()):
            raise InputError(f"{where(index)}: there is no file '{name[:60]}' in this folder.")
        files.append(folder / name)
    info = read_json(about) if about.is_file() else {}
    split = state.get("_split")
    return files, _by_name(info.get("features") if isinstance(info, dict) else {}), str(split) if split else None


def _front_matter(folder: Path) -> dict[str, Any]:
    """What a repository's card says of its data."""
    card = folder / "README.md"
    found = _FRONT.match(read_text(card).replace("\r\n", "\n")) if card.is_file() else None
    try:
        data = yaml.safe_load(found.group(1)) if found else None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError):
        what = "what stands between '---' is not valid YAML. Check indent and quotes."
        raise InputError(f"{where(card)}: {what}") from None
    return data if isinstance(data, dict) else {}


def _files(folder: Path) -> list[Path]:
    """The files of a folder that are no metadata."""
    return [path for path in visible(folder) if not _ABOUT.fullmatch(path.name)]


def _repository(folder: Path, found: Found) -> tuple[Splits, Features]:
    front, card = _front_matter(folder), where(folder / "README.md")
    config = _config(front.get("configs"), card, found)
    if isinstance(front.get("license"), str):
        found.spec["license"] = front["license"]
    files = _files(folder)
    try:
        splits = named_files(folder, config.get("data_files"))
    except Unusable as failure:
        raise InputError(f"{card}: {failure}.") from None
    splits = splits or by_split(folder, _main_kind([path for path in files if path.suffix.lower() in DATA]))
    _note_leftovers(folder, files, {path for paths in splits.values() for path in paths}, found.ledger)
    infos = front.get("dataset_info")
    entries = [entry for entry in (infos if isinstance(infos, list) else [infos]) if isinstance(entry, dict)]
    same = (entry for entry in entries if entry.get("config_name") == config.get("config_name"))
    return splits, _by_name(next(same, entries[0] if entries else {}).get("features"))


def _config(configs: Any, card: str, found: Found) -> dict[str, Any]:
    """The configuration to read: the default one, else the first; the others are losses."""
    known = [each for each in configs if isinstance(each, dict)] if isinstance(configs, list) else []
    default = [each for each in known if each.get("default") is True or each.get("config_name") == "default"]
    chosen: dict[str, Any] = (default or known or [{}])[0]
    if len(known) > 1:
        found.notes.append(f"of {len(known)} configurations '{chosen.get('config_name')}' is read")
    for other in known:
        if other is not chosen:
            found.ledger.add(card, f"configuration '{str(other.get('config_name'))[:60]}' is not read")
    return chosen


def _main_kind(files: list[Path]) -> list[Path]:
    """Of several kinds of file the most frequent one, which is the data."""
    kinds = Counter(DATA[path.suffix.lower()] for path in files)
    kind = max(("parquet", "arrow", "json", "csv"), key=lambda each: kinds[each])
    lines = any(path.suffix == ".jsonl" for path in files)  # a .json beside is a list of labels or the like
    return [path for path in files if DATA[path.suffix.lower()] == kind and not (path.suffix == ".json" and lines)]


def _note_leftovers(folder: Path, visible: list[Path], used: set[Path], ledger: Ledger) -> None:
    others = []
    for path in (each for each in visible if each.suffix == ".py" or each not in used):
        if path.suffix == ".py":
            ledger.add(where(path), "a loading script; it is never run")
        elif path.suffix.lower() in DATA:
            ledger.add(where(path), "not read: not among the data that were chosen")
        else:
            others.append(path.name)
    if others:
        shown = ", ".join(name[:60] for name in others[:3]) + (", …" if len(others) > 3 else "")
        ledger.add(where(folder), f"{len(others)} further files are not read ({shown})")


# The names behind the numbers of a ClassLabel, also in lists of them


class _Label(NamedTuple):
    """The names of a column's labels, and whether a value is a list of them."""

    names: list[str]
    listed: bool


def _by_name(features: Any) -> Features:
    """The features of dataset_info.json (by name), or of a card (a list)."""
    if isinstance(features, list):
        features = {str(each.get("name")): each for each in features if isinstance(each, dict)}
    return features if isinstance(features, dict) else {}


def _labels_of(features: Features, place: str, found: Found) -> dict[str, _Label]:
    labels: dict[str, _Label] = {}
    for name, about in features.items():
        entry = _entry(about)
        names = _names(about) or _names(entry)
        if names is not None:
            labels[name] = _Label(names, _names(about) is None)
        elif "ClassLabel" in str(about) or "class_label" in str(about):
            found.ledger.add(place, f"column '{name[:60]}': the names of labels further inside are not read")
    return labels


def _entry(about: Any) -> Any:
    """What a list is of, in any of the spellings; None where it is none."""
    if isinstance(about, list):
        return about[0] if len(about) == 1 else None
    keys = ("feature", "sequence", "list") if isinstance(about, dict) else ()
    return next((about[key] for key in keys if key in about), None)


def _names(about: Any) -> list[str] | None:
    """The names of a ClassLabel; None where it is none, or has none."""
    if not isinstance(about, dict):
        return None
    about = about.get("dtype") if isinstance(about.get("dtype"), dict) else about
    label = about if about.get("_type") == "ClassLabel" else about.get("class_label")
    names = label.get("names") if isinstance(label, dict) else None
    if isinstance(names, dict):  # the card counts them out: {'0': neg, '1': pos}
        numbered = {str(key): name for key, name in names.items()}
        names = [numbered.get(str(index)) for index in range(len(numbered))]
    if not isinstance(names, list) or not names or None in names:
        return None
    return [str(name).lower() if isinstance(name, bool) else str(name) for name in names]


def _file_features(source: Path) -> Any:
    """The features that datasets writes into a Parquet or Arrow file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if kind_of(source) == "parquet":
            metadata = pq.read_schema(source).metadata
        else:
            with pa.memory_map(str(source)) as file:
                metadata = pa.ipc.open_stream(file).schema.metadata
        return json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def _with_names(rows: Rows, labels: dict[str, _Label]) -> Rows:
    """The rows with names for the numbers of classes."""
    each = rows.each

    def decoded() -> Numbered:
        return ((line, _decoded(row, labels, rows.text_only)) for line, row in each())

    rows.each = decoded
    return rows


def _decoded(row: Row, labels: dict[str, _Label], cells: bool) -> Row:
    """A row with names for numbers; a number without a name (-1: not labeled) becomes null, or an empty cell."""

    def name(value: Any, names: list[str]) -> Any:
        value = cell_value(value) if cells else value
        if isinstance(value, list):
            return [name(each, names) for each in value]
        if cells and isinstance(value, str) and _POSITION.fullmatch(value):
            return name(int(value), names) or ""
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        return names[value] if 0 <= value < len(names) else None

    return {key: name(value, labels[key].names) if key in labels else value for key, value in row.items()}
