"""Reading eval sets: a folder with evalset.yaml, items.jsonl and what they name, checked as a whole.

tasks = load_evalsets("evalsets")            # {'support_triage': EvalSet(…), …}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench import project
from workbench.errors import InputError
from workbench.evalset.items import Item, read_items
from workbench.evalset.model import EvalSet
from workbench.evalset.spec import EvalSetFile
from workbench.files import Document, read_json, read_yaml
from workbench.rules import load_rules
from workbench.scorers import build_scorers, problem_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def load_evalset(folder: str | Path) -> EvalSet:
    """Read and check one eval set.

    Raises:
        InputError: naming file, line, field and the mend of the first problem.
    """
    folder = project.resolve(folder)
    if not folder.is_dir():
        raise InputError(f"{project.shown(folder)}: there is no such folder.")
    document = read_yaml(folder / "evalset.yaml")
    for name in ("evalset.yaml", "items.jsonl", "train.jsonl"):
        # A link to another set's items would give them this set's sensitivity.
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{project.shown(folder)}: {name} is a link that leads out of the folder. Copy the file.")
    spec = document.parse(EvalSetFile)
    if spec.name != folder.name or not _NAME.fullmatch(spec.name):
        raise document.error(("name",), f"must be the folder's name, '{folder.name}' (letters, digits, '_', '-').")
    schema = _output_schema(folder, spec, document)
    scorers = build_scorers(spec.scorers, document, spec.output.labels, schema)
    rules = load_rules(_inside(folder, spec.rules, document, ("rules",))) if spec.rules is not None else None

    def check(document: Document, item: Item) -> None:
        problem = problem_of(scorers, item.expectations)
        if problem:
            raise document.error(("expectations",), f"{problem} (item {item.id}).")

    items = read_items(folder / "items.jsonl", spec.sensitivity, check)
    if not items:
        raise InputError(f"{project.shown(folder / 'items.jsonl')}: has no items. Add one JSON object a line.")
    train_file = folder / "train.jsonl"
    train = read_items(train_file, spec.sensitivity, check) if train_file.exists() else ()
    _refuse_shared_ids(folder, items, train)
    for name, variant in spec.variants.items():
        if variant.examples > len(train):
            raise document.error(
                ("variants", name, "examples"),
                f"wants {variant.examples} items of train.jsonl, which has {len(train)}.",
            )
    evalset = EvalSet(folder, spec, items, train, schema, scorers, rules, _digest(folder, spec), len(items))
    _check_templates(evalset, document)
    return evalset


def load_evalsets(folder: str | Path = "evalsets", names: Iterable[str] | None = None) -> dict[str, EvalSet]:
    """Read every eval set below a folder, or the named ones.

    Raises:
        InputError: for the first broken one, or a name that is not there.
    """
    base = project.resolve(folder)
    if not base.is_dir():
        raise InputError(f"{project.shown(base)}: there is no such folder. Eval sets live in evalsets/NAME/.")
    found = sorted(path.parent.name for path in base.glob("*/evalset.yaml"))
    wanted = found if names is None else list(names)
    for name in wanted:
        if name not in found:
            raise InputError(f"there is no eval set '{name}' in {project.shown(base)}. It has: {', '.join(found)}.")
    if not wanted:
        raise InputError(f"{project.shown(base)}: has no eval sets. One is a folder with evalset.yaml and items.jsonl.")
    return {name: load_evalset(base / name) for name in wanted}


def check_variants(evalsets: Mapping[str, EvalSet], names: Iterable[str]) -> None:
    """Raises InputError for a variant that no eval set has."""
    known = {variant for evalset in evalsets.values() for variant in evalset.spec.variants}
    for name in names:
        if name not in known:
            raise InputError(f"no eval set has a variant '{name}'. There are: {', '.join(sorted(known))}.")


def _refuse_shared_ids(folder: Path, items: Sequence[Item], train: Sequence[Item]) -> None:
    of_train = {item.id for item in train}
    both = next((item.id for item in items if item.id in of_train), None) if of_train else None
    if both is not None:
        where = project.shown(folder / "train.jsonl")
        raise InputError(f"{where}: id '{both}' is also in items.jsonl. Give each item its own id.")


def _inside(folder: Path, name: str, document: Document, place: tuple[str, ...]) -> Path:
    path = (folder / name.replace("\0", "")).resolve()  # no name holds a zero byte; the system would raise
    if not path.is_relative_to(folder.resolve()):
        raise document.error(place, "must be a file inside the eval set's folder.")
    if not path.is_file():
        raise document.error(place, f"there is no file '{name}' in the eval set's folder.")
    return path


def _output_schema(folder: Path, spec: EvalSetFile, document: Document) -> dict[str, Any] | None:
    if spec.output.json_schema is None:
        return None
    path = _inside(folder, spec.output.json_schema, document, ("output", "json_schema"))
    schema = read_json(path)
    import jsonschema  # 1.5 s where format checkers are installed
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as failure:
        raise InputError(f"{project.shown(path)}: not a JSON schema: {failure.message}.") from None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise InputError(f'{project.shown(path)}: the top must be an object: {{"type": "object", …}}.')
    resource = DRAFT202012.create_resource(schema)
    lookup = Registry().with_resource("", resource).resolver().lookup
    for reference in _references(schema):
        try:
            if not reference.startswith("#"):
                raise Unresolvable(ref=reference)
            lookup(reference)
        except Unresolvable:
            raise InputError(f"{project.shown(path)}: $ref '{reference}' is not in this file.") from None
    return schema


def _references(schema: Any) -> Iterator[str]:
    """Every $ref of a JSON schema; nothing is fetched, so each has to lead into the schema itself."""
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)
    elif isinstance(schema, dict):
        for key, part in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(part, str):
                yield part
            yield from _references(part)


def _digest(folder: Path, spec: EvalSetFile) -> str:
    names = ["evalset.yaml", "items.jsonl", "train.jsonl", spec.output.json_schema, spec.rules]
    total = hashlib.sha256()
    for name in sorted({name for name in names if name and (folder / name).is_file()}):
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()


def _check_templates(evalset: EvalSet, document: Document) -> None:
    """Render every variant for every item once: a misspelt input is found now, not in mid-run."""
    from workbench.prompts import TemplateProblem, render

    for name in evalset.spec.variants:
        for item in evalset.items:
            try:
                render(evalset, name, item)
            except TemplateProblem as problem:
                place = ("variants", name, "messages", problem.message_index, "content")
                raise document.error(place, f"{problem}.") from None
