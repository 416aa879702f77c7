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
from workbench.evalset.items import Item
from workbench.evalset.model import EvalSet
from workbench.files import write_atomic, write_lines


def save_evalset(evalset: EvalSet, folder: str | Path) -> Path:
    """Write an eval set's files into a folder, whose name becomes the eval set's.

    Raises:
        InputError, RunError: a file cannot be written.
    """
    folder = project.resolve(folder)
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
    write_atomic(folder / "evalset.yaml", _yaml(spec))
    return folder


def save_items(items: Iterable[Item], path: Path) -> None:
    """Write items as JSONL, whole or not at all."""
    write_lines(path, (item_line(item) for item in items))


def item_line(item: Item) -> str:
    """An item as a line of items.jsonl."""
    return json.dumps(item.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)


def _yaml(data: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    return text
