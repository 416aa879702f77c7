"""Eval sets: a folder with evalset.yaml, items.jsonl and what they name, checked as a whole.

tasks = load_evalsets("evalsets")            # {'support_triage': EvalSet(…), …}
small = tasks["support_triage"].sample(24)   # stratified, the same items every time
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from workbench import project
from workbench.errors import InputError
from workbench.files import Document, StrictModel, read_json, read_jsonl, read_yaml
from workbench.privacy import Sensitivity, class_of
from workbench.rules import Rules, load_rules
from workbench.scorers import Answer, Scorer, build_scorers, parse_answer, problem_of

DEFAULT_MARGIN = 0.05
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Item(StrictModel):
    """One test item. `sensitivity` is the eval set's where the item does not say."""

    id: str = Field(min_length=1, max_length=200)
    inputs: dict[str, Any]
    expectations: dict[str, Any]
    slice: dict[str, str] = {}
    cluster: str | None = None
    sensitivity: Sensitivity | None = None


Role = Literal["system", "user", "assistant"]


class Message(StrictModel):
    """A turn of a prompt; `content` is a sandboxed jinja template over `inputs`."""

    role: Role
    content: str


class Turns(StrictModel):
    """Stands for turns that the item brings itself: an input that is a list of `role` and `content`."""

    turns: str


class Variant(StrictModel, strict=True):
    """A named prompt. `examples` items of train.jsonl are shown as turns before the last message."""

    messages: list[Message | Turns] = Field(min_length=1)
    examples: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ends_with_user(self) -> Variant:
        last = self.messages[-1]
        if isinstance(last, Message) and last.role != "user":
            raise ValueError("the last message must have role: user, it is what the model answers")
        return self


class Generation(StrictModel, strict=True):
    """How an answer is generated; sent as it is to servers that understand it."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=256, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: list[str] = []


class Output(StrictModel, strict=True):
    """What an answer looks like: one of a schema's JSON, a label, or free text."""

    json_schema: str | None = None
    labels: list[str] | None = Field(default=None, min_length=2)
    text: Literal[True] | None = None
    format_retries: int = Field(default=0, ge=0, le=5)

    @model_validator(mode="after")
    def _one_kind(self) -> Output:
        if sum(kind is not None for kind in (self.json_schema, self.labels, self.text)) != 1:
            raise ValueError("name exactly one of json_schema, labels, text")
        return self


class Accept(StrictModel, strict=True):
    """When an answer is good enough to use."""

    min_score: float = Field(ge=0, le=1)


class Limits(StrictModel, strict=True):
    """What a route must keep; set before outcomes are seen."""

    min_score: float = Field(default=0.0, ge=0, le=1)
    margin: float = Field(default=DEFAULT_MARGIN, gt=0, le=1)
    p95_latency_s: float | None = Field(default=None, gt=0)


class EvalSetFile(StrictModel):
    """The schema of evalset.yaml."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    description: str
    license: str | None = None
    sensitivity: Sensitivity = "restricted"
    variants: dict[str, Variant] = Field(min_length=1)
    generation: Generation = Generation()
    output: Output
    scorers: list[dict[str, Any]] = Field(min_length=1)
    accept: Accept
    limits: Limits = Limits()
    rules: str | None = None


@dataclass(frozen=True)
class EvalSet:
    """A checked eval set.

    Attributes:
        spec: evalset.yaml.
        items: the test items, every one with its sensitivity.
        train: items for few-shot examples.
        output_schema: the JSON schema of an answer, or None.
        rules: the table of the rules model, or None.
        digest: SHA-256 over the files it is made of.
        total: how many test items the folder has; more than `items` in a sample.
    """

    path: Path
    spec: EvalSetFile
    items: tuple[Item, ...]
    train: tuple[Item, ...]
    output_schema: dict[str, Any] | None
    scorers: tuple[Scorer, ...]
    rules: Rules | None
    digest: str
    total: int = field(default=0)

    @property
    def name(self) -> str:
        return self.spec.name

    def parse(self, text: str) -> Answer:
        """A model's text as an answer under this eval set's output format."""
        return parse_answer(text, self.output_schema, self.spec.output.labels, self._aliases)

    @cached_property
    def _aliases(self) -> dict[str, list[str]]:
        merged: dict[str, list[str]] = defaultdict(list)
        for scorer in self.scorers:
            for label, others in scorer.aliases_of_labels().items():
                merged[label] += others
        return merged

    def sample(self, n: int | None) -> EvalSet:
        """A stratified sample of n items, by sensitivity class and expected label.

        The choice hangs on the items' ids alone: the same items every time, and a smaller sample is part of a
        larger one as far as the strata's rounding allows.
        """
        if n is None or n >= len(self.items):
            return self
        if n < 1:
            raise InputError(f"a sample needs at least 1 item, not {n}.")
        strata: dict[tuple[str, str], list[Item]] = defaultdict(list)
        for item in sorted(self.items, key=lambda item: hashlib.sha256(item.id.encode()).hexdigest()):
            strata[(class_of(item.sensitivity), self._stratum(item))].append(item)
        # Every item gets its rank within its stratum as a share: the n lowest shares are the sample.
        ranked = [
            ((rank + 0.5) / len(members), key, item.id)
            for key, members in strata.items()
            for rank, item in enumerate(members)
        ]
        chosen = {item_id for _, _, item_id in sorted(ranked)[:n]}
        return replace(self, items=tuple(item for item in self.items if item.id in chosen))

    def _stratum(self, item: Item) -> str:
        for scorer in self.scorers:
            label = scorer.stratum(item.expectations) if scorer.applies(item.expectations) else None
            if label is not None:
                return label
        return ""


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
    ids: dict[str, str] = {}
    items = tuple(_read_items(folder / "items.jsonl", spec, scorers, ids))
    if not items:
        raise InputError(f"{project.shown(folder / 'items.jsonl')}: has no items. Add one JSON object a line.")
    train_file = folder / "train.jsonl"
    train = tuple(_read_items(train_file, spec, scorers, ids)) if train_file.exists() else ()
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


def _read_items(path: Path, spec: EvalSetFile, scorers: tuple[Scorer, ...], ids: dict[str, str]) -> Iterable[Item]:
    for document in read_jsonl(path):
        item = document.parse(Item)
        where = f"{project.shown(path)}:{document.line(())}"
        if item.id in ids:
            raise InputError(f"{where}: id '{item.id}' is already at {ids[item.id]}. Give each item its own id.")
        ids[item.id] = where
        problem = problem_of(scorers, item.expectations)
        if problem:
            raise document.error(("expectations",), f"{problem} (item {item.id}).")
        yield item if item.sensitivity else item.model_copy(update={"sensitivity": spec.sensitivity})


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
        content = hashlib.sha256((folder / name).read_bytes()).hexdigest()
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
