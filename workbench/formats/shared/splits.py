"""The splits of a data set: which files belong to which, and which of them is asked.

by_split(folder, files)                            # {'test': [Path(…)], 'train': […]}, as names of files tell
chosen_splits(["train", "test", "dev"]).note       # "the items are those of split 'test', …; left out: dev"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

UNNAMED = "(unnamed)"
DATA = {  # by suffix, the kind of file that holds rows
    **{".parquet": "parquet", ".arrow": "arrow"},
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
}
_TEST = ("test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev")
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
    """Files by the split that their names, or those of their folders, tell."""
    found: dict[str, list[Path]] = {}
    for path in files:
        told = _SPLIT.findall(" ".join(path.relative_to(folder).with_suffix("").parts))
        split = told[-1].casefold() if told else UNNAMED
        found.setdefault("train" if split.startswith("few") else split, []).append(path)
    return found
