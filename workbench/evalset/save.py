"""Writing eval sets: what was loaded, as a folder that loads to the same.

save_evalset(evalset, "evalsets/copy")
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from workbench import project
from workbench.errors import InputError
from workbench.evalset.items import Item
from workbench.evalset.model import EvalSet
from workbench.evalset.spec import NAME
from workbench.files import write_atomic, write_lines


def save_evalset(evalset: EvalSet, folder: str | Path) -> Path:
    """Write an eval set's files into a folder, whose name becomes the eval set's.

    Raises:
        InputError, RunError: a file cannot be written, or the folder's name is none for an eval set.
    """
    folder = project.resolve(folder)
    if not NAME.fullmatch(folder.name):
        raise InputError(f"{project.shown(folder)}: an eval set's name has up to 64 letters, digits, '_', '-'.")
    spec: dict[str, Any] = evalset.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    spec["name"] = folder.name
    if evalset.output_schema is not None:
        text = json.dumps(evalset.output_schema, indent=2, ensure_ascii=False)
        write_atomic(folder / "schema.json", text + "\n")
        spec["output"]["json_schema"] = "schema.json"
    if evalset.rules is not None:
        rules = evalset.rules.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        write_atomic(folder / "rules.yaml", _yaml(rules))
        spec["rules"] = "rules.yaml"
    save_items(evalset.items, folder / "items.jsonl")
    if evalset.train:
        save_items(evalset.train, folder / "train.jsonl")
    else:
        (folder / "train.jsonl").unlink(missing_ok=True)  # of what was in the folder before
    write_atomic(folder / "evalset.yaml", _yaml(spec))
    return folder


def save_items(items: Iterable[Item], path: Path) -> None:
    """Write items as JSONL, whole or not at all."""
    write_lines(path, (item_line(item) for item in items))


def item_line(item: Item) -> str:
    """An item as a line of items.jsonl."""
    return json.dumps(item.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)


class _Dumper(yaml.SafeDumper):
    """Says every value where it stands, without aliases; escapes the line breaks that PyYAML would read as others."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    odd = any(mark in text for mark in "\x85\u2028\u2029")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)


_Dumper.add_representer(str, _text)


def _yaml(data: dict[str, Any]) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text
