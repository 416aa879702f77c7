"""Adding an item to an eval set: one text in the shape that its items have, checked as the whole set is.

add_item(evalset, "Where is my invoice?", "billing", "internal")      # 'ask-1f0c22a7'
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from workbench import project
from workbench.errors import InputError, RunError
from workbench.evalset.items import Item
from workbench.evalset.load import load_evalset
from workbench.evalset.model import EvalSet
from workbench.evalset.save import item_line
from workbench.files import write_atomic
from workbench.privacy import Sensitivity
from workbench.prompts import TemplateProblem, check_item
from workbench.scorers import FieldScorer, problem_of

_LOOKED_AT = 1000  # items that say what shape there is


def add_item(evalset: EvalSet, text: str, expected: str | None, sensitivity: Sensitivity) -> str:
    """Append an item to items.jsonl. The file is written whole or not at all, and only where the set then loads.

    Args:
        text: the item's only input.
        expected: what is right: its expectations as a JSON object, or the value of the set's only one, such as a
            label. None where the set needs none.
        sensitivity: is written down with the item.

    Returns:
        Its id, which follows from the text.

    Raises:
        InputError: the set's items are no single texts, what is expected does not fit, or the item is there already.
    """
    name = "ask-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    inputs = {_input(evalset): text}
    if any(item.id == name or item.inputs == inputs for part in (evalset.items, evalset.train) for item in part):
        raise InputError(f"{evalset.name}: has an item with this text already. Mend that one, or leave out --keep.")
    item = Item(id=name, inputs=inputs, expectations=_expectations(evalset, expected), sensitivity=sensitivity)
    if problem := problem_of(evalset.scorers, item.expectations):
        mend = "" if expected is not None else ": say what is right with --expect, a label or a JSON object"
        raise InputError(f"{evalset.name}: the item cannot be scored: {problem}{mend}.")
    try:
        check_item(evalset, item)
    except TemplateProblem as failure:
        raise InputError(f"{evalset.name}: variant {failure.variant}: {failure}.") from None
    _write(evalset.path, item_line(item))
    return name


def _input(evalset: EvalSet) -> str:
    """The name of the only input that items have."""
    some = [*islice(evalset.items, _LOOKED_AT), *islice(evalset.train, _LOOKED_AT)]
    names = sorted({name for item in some for name in item.inputs})
    if len(names) != 1 or not all(isinstance(item.inputs.get(names[0]), str) for item in some):
        raise InputError(
            f"{evalset.name}: its items have the inputs {', '.join(names)}, and a prompt is one text. Add the item to "
            "items.jsonl, or name an eval set whose items have a single text."
        )
    return names[0]


def _expectations(evalset: EvalSet, expected: str | None) -> dict[str, Any]:
    """What is given as an item's expectations: an object, or the value of the only one that is looked at."""
    if expected is None:
        return {}
    try:
        value = json.loads(expected)
    except ValueError:
        value = expected
    if isinstance(value, dict):
        return value
    keys = sorted({each.expected_key for each in evalset.scorers if isinstance(each, FieldScorer)})
    if len(keys) != 1:
        named = f": they look at {', '.join(keys)}" if keys else ""
        raise InputError(
            f"{evalset.name}: its scorers need more than one value{named}. Give a JSON object to --expect."
        )
    given = {keys[0]: expected}
    # A label may look like a number or a boolean: it is text first, and that value only where text does not fit.
    textual = not isinstance(value, list) and problem_of(evalset.scorers, given) is None
    return given if textual else {keys[0]: value}


def _write(folder: Path, line: str) -> None:
    path = folder / "items.jsonl"
    try:
        before, mode = path.read_bytes(), path.stat().st_mode & 0o777
        after = before + (b"" if before.endswith(b"\n") or not before else b"\n") + line.encode() + b"\n"
        with tempfile.TemporaryDirectory(dir=project.state("kept")) as scratch:
            copy = Path(scratch) / folder.name
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(path.name))
            (copy / path.name).write_bytes(after)
            load_evalset(copy)
        if path.read_bytes() != before:
            raise InputError(f"{project.shown(path)}: was changed meanwhile. Run the cell again.")
    except OSError as failure:
        raise RunError(f"{project.shown(path)}: the item cannot be added ({failure.strerror}).") from None
    write_atomic(path, after, mode)
