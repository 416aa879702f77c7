"""The splits of a data set: which files belong to which, and which of them is asked.

named_files(folder, {"test": "d/*.jsonl"})         # {'test': [Path(…)]}, as datasets reads `data_files`
by_split(folder, files)                            # {'test': [Path(…)], 'train': […]}, as names of files tell
chosen_splits(["train", "test", "dev"]).note       # "the items are those of split 'test', …; left out: dev"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.formats.shared.files import FILES_AT_MOST, inside, is_inside
from workbench.formats.shared.ledger import Unusable

UNNAMED = "(unnamed)"
DATA = {  # by suffix, the kind of file that holds rows
    **{".parquet": "parquet", ".arrow": "arrow"},
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
}
_TEST = ("test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev")
_BY_START = {"tr": "train", "fe": "train", "va": "validation", "de": "validation"}
_SPLIT = re.compile(
    r"(?i)(?:^|[^a-z])(train(?:ing)?|test(?:ing)?|eval(?:uation)?|valid(?:ation)?|val|dev|few_?shot)(?:[^a-z]|$)"
)


@dataclass(frozen=True)
class Splits:
    """Which split of a data set is asked, and which is shown as examples."""

    test: str
    train: str | None
    note: str

    def use(self, name: str) -> str | None:
        """test, train, or None for a split that is left out."""
        return "test" if name == self.test else "train" if name == self.train else None


def chosen_splits(names: Sequence[str]) -> Splits:
    """The test split, else the validation split, else one that is no training split, else the only one."""
    train = next((name for name in ("train", "training") if name in names), None)
    others = [name for name in names if name != train]
    test = next((name for name in _TEST if name in names), others[0] if others else train or names[0])
    train = train if train != test else None
    rest = [name for name in dict.fromkeys(names) if name not in (test, train)]
    note = f"the items are those of split '{test}'" + (f", the examples (train.jsonl) of '{train}'" if train else "")
    return Splits(test, train, note + (f"; left out: {', '.join(rest)}" if rest else ""))


def by_split(folder: Path, files: Iterable[Path]) -> dict[str, list[Path]]:
    """Files by the split that their names, or those of their folders, tell: train, validation, test, or none."""
    found: dict[str, list[Path]] = {}
    for path in files:
        told = _SPLIT.findall(" ".join(path.relative_to(folder).with_suffix("").parts))
        split = _BY_START.get(told[-1][:2].casefold(), "test") if told else UNNAMED
        found.setdefault(split, []).append(path)
    return found


def visible(folder: Path) -> list[Path]:
    """All files of a folder and those in it, but for hidden ones and links out of it."""
    paths = sorted(folder.rglob("*"))[:FILES_AT_MOST]
    shown = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return [path for path in shown if path.is_file() and is_inside(path, folder)]


def named_files(folder: Path, data_files: Any) -> dict[str, list[Path]]:
    """The files by split that `data_files` of the datasets library names, in any of its spellings.

    Raises:
        Unusable: a name means no data file inside the folder.
    """
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    found: dict[str, list[Path]] = {}
    for entry in data_files if isinstance(data_files, list) else [data_files] if data_files else []:
        split, paths = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else (None, entry)
        for name in map(str, paths if isinstance(paths, list) else [paths]):
            files = [path for path in inside(folder, name) if path.suffix.lower() in DATA]
            if not files:
                raise Unusable(
                    f"no data file inside the folder matches '{name[:60]}'. Put it there; nothing is fetched"
                )
            known = found.setdefault(str(split or UNNAMED), [])
            known += [path for path in files if path not in known]
    return found
