"""Reading eval sets: a folder with evalset.yaml, items.jsonl and what they name, checked as a whole.

tasks = load_evalsets("evalsets")            # {'support_triage': EvalSet(…), …}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from workbench import project
from workbench.errors import InputError
from workbench.evalset.corrections import FILE as CORRECTIONS
from workbench.evalset.corrections import corrected_keys, key_problem, refuse_unknown
from workbench.evalset.fitting import refuse_unfitting
from workbench.evalset.items import Item, ItemsFile, read_items, refuse_shared
from workbench.evalset.model import EvalSet
from workbench.evalset.schema import schema_problem
from workbench.evalset.spec import NAME, EvalSetFile
from workbench.files import Document, read_json, read_yaml
from workbench.rules import load_rules
from workbench.scorers import build_scorers
from workbench.strict import brief
from workbench.words import counted


def load_evalset(folder: str | Path) -> EvalSet:
    """Read and check one eval set.

    Raises:
        InputError: naming file, line, field and the mend of the first problem.
    """
    folder = project.resolve(folder)
    if not folder.is_dir():
        raise InputError(f"{project.shown(folder)}: there is no such folder.")
    document = read_yaml(_own(folder, "evalset.yaml"))
    spec = document.parse(EvalSetFile)
    if spec.name != folder.name or not NAME.fullmatch(spec.name):
        raise document.error(("name",), f"must be the folder's name, '{folder.name}' (letters, digits, '_', '-').")
    schema = _output_schema(folder, spec, document)
    scorers = build_scorers(spec.scorers, document, spec.output.labels, schema)
    rules = load_rules(_inside(folder, spec.rules, document, ("rules",))) if spec.rules is not None else None

    def fits(item: Item) -> str | None:
        return key_problem(scorers, item.expectations)

    train_file = _own(folder, "train.jsonl")
    train = read_items(train_file, spec.sensitivity, fits) if train_file.exists() else ItemsFile.empty(train_file)
    for name, variant in spec.variants.items():
        if variant.examples > len(train.items):
            raise document.error(
                ("variants", name, "examples"),
                f"wants {counted(variant.examples, 'item')} of train.jsonl, which has {len(train.items)}.",
            )
    evalset = EvalSet(folder, spec, (), train.items, schema, scorers, rules, "")

    inputs = set[str]()

    def fits_templates_too(item: Item) -> str | None:
        inputs.update(item.inputs)
        problem = fits(item)
        if problem is None:
            _check_templates(evalset, item, document)
        return problem

    corrections = _own(folder, CORRECTIONS)
    keys = corrected_keys(corrections, partial(key_problem, scorers))
    items = read_items(_own(folder, "items.jsonl"), spec.sensitivity, fits_templates_too, keys=keys)
    if not items.items:
        raise InputError(f"{project.shown(items.path)}: has no items. Add one JSON object a line.")
    refuse_shared(items, train)
    refuse_unfitting(evalset, inputs)
    refuse_unknown(corrections, items.items)
    return replace(evalset, items=items.items, digest=_digest(folder, spec), total=len(items.items))


def load_evalsets(folder: str | Path = "evalsets", names: str | Iterable[str] | None = None) -> dict[str, EvalSet]:
    """Read every eval set below a folder, or the named ones (a list, or text with commas).

    Raises:
        InputError: for the first broken one, or a name that is not there.
    """
    base = project.resolve(folder)
    if not base.is_dir():
        raise InputError(f"{project.shown(base)}: there is no such folder. Eval sets live in evalsets/NAME/.")
    found = sorted(path.parent.name for path in base.glob("*/evalset.yaml"))
    wanted = project.listed(names) or found
    for name in wanted:
        if name not in found:
            raise InputError(f"there is no eval set '{name}' in {project.shown(base)}. It has: {', '.join(found)}.")
    if not wanted:
        raise InputError(f"{project.shown(base)}: has no eval sets. One is a folder with evalset.yaml and items.jsonl.")
    return {name: load_evalset(base / name) for name in wanted}


def digest_now(evalset: EvalSet) -> str:
    """The digest of an eval set's files as they are now; the one that it was loaded with where they are gone."""
    if not evalset.digest or not (evalset.path / "evalset.yaml").is_file():
        return evalset.digest
    try:
        return _digest(evalset.path, evalset.spec)
    except OSError:
        return evalset.digest


def refreshed(evalset: EvalSet) -> EvalSet:
    """An eval set with the items and keys that its files have now; itself where they have not changed.

    What else was set by hand, such as its limits, stays.

    Raises:
        InputError: the files cannot be loaded any more.
    """
    if digest_now(evalset) == evalset.digest:
        return evalset
    found = load_evalset(evalset.path)
    return replace(evalset, items=found.items, digest=found.digest, total=found.total)


def check_variants(evalsets: Mapping[str, EvalSet], names: Iterable[str]) -> None:
    """Raises InputError for a variant that no eval set has."""
    known = {variant for evalset in evalsets.values() for variant in evalset.spec.variants}
    for name in names:
        if name not in known:
            raise InputError(f"no eval set has a variant '{name}'. There are: {', '.join(sorted(known))}.")


def _own(folder: Path, name: str) -> Path:
    """A file that every eval set may have. A link to another set's items would give them this set's sensitivity."""
    path = folder / name
    if path.is_symlink() and not _leads_inside(path, folder):
        raise InputError(f"{project.shown(folder)}/{name}: is a link that leads out of the folder. Copy the file.")
    try:
        strange = path.exists() and not path.is_file()
    except OSError as failure:
        raise InputError(f"{project.shown(path)}: cannot be read ({failure.strerror}).") from None
    if strange:
        raise InputError(f"{project.shown(path)}: must be a file, and is a folder or a device.")
    return path


def _leads_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle; a name that the system cannot have
        return False


def _inside(folder: Path, name: str, document: Document, place: tuple[str, ...]) -> Path:
    path = folder / name.replace("\0", "")  # no name holds a zero byte; the system would raise
    if not _leads_inside(path, folder):
        raise document.error(place, "must be a file inside the eval set's folder.")
    try:
        there = path.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise document.error(place, f"there is no file '{brief(name)}' in the eval set's folder.")
    return path.resolve()


def _output_schema(folder: Path, spec: EvalSetFile, document: Document) -> dict[str, Any] | None:
    if spec.output.json_schema is None:
        return None
    path = _inside(folder, spec.output.json_schema, document, ("output", "json_schema"))
    schema = read_json(path)
    if problem := schema_problem(schema):
        raise InputError(f"{project.shown(path)}: {problem}")
    found: dict[str, Any] = schema
    return found


def _digest(folder: Path, spec: EvalSetFile) -> str:
    names = ["evalset.yaml", "items.jsonl", CORRECTIONS, "train.jsonl", spec.output.json_schema, spec.rules]
    total = hashlib.sha256()
    for name in sorted({name for name in names if name and (folder / name).is_file()}):
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()


def _check_templates(evalset: EvalSet, item: Item, document: Document) -> None:
    """Render every variant for an item: a misspelt input is found now, not in mid-run."""
    from workbench.prompts import TemplateProblem, check_item

    try:
        check_item(evalset, item)
    except TemplateProblem as problem:
        place = ("variants", problem.variant, "messages", problem.message_index, "content")
        raise document.error(place, f"{problem}.") from None
