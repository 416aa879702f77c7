"""What the tests of all formats use: a file of JSON lines, and what an import or a scorer said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet
from workbench.formats import Import
from workbench.scorers import total


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def lost(done: Import) -> str:
    return "\n".join(map(str, done.losses))


def told(done: Import) -> str:
    return "\n".join(done.notes)


def score(evalset: EvalSet, text: str, index: int = 0) -> float:
    return total(evalset.scorers, evalset.parse(text), evalset.items[index].expectations).value
