"""OpenAI evals: samples (JSONL with `input` and `ideal`), and the registry's YAML that says how they are scored.

import_evalset("registry/evals/finance.yaml", "evalsets/finance")       # the samples are found from there
export_evalset(evalset, "openai_evals", "out/finance.jsonl")            # writes finance.yaml beside it

Match, Includes and FuzzyMatch become scorers of ours; what a model or other code grades is a loss.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.errors import InputError
from workbench.evalset.spec import Generation
from workbench.files import read_yaml, write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, check_readable, where
from workbench.formats.shared.cells import is_empty
from workbench.formats.shared.export import (
    chosen_variant,
    items_of,
    main_scorer,
    sample_of,
    write_objects,
)
from workbench.formats.shared.files import head, is_inside
from workbench.formats.shared.generation import read_generation
from workbench.formats.shared.kinds import CHECKS, nearest
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import OURS, item_fields, one_or_all
from workbench.formats.shared.prompts import as_turns
from workbench.formats.shared.rows import Rows, first_row, json_lines
from workbench.prompts import render
from workbench.strict import brief

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_FILES_AT_MOST = 2000
_HEAD = 65536
_CLASS = re.compile(r"^\s*class:\s*[\"']?evals\.", re.MULTILINE)
_MATCH, _INCLUDES, _FUZZY = (
    f"evals.elsuite.basic.{name}" for name in ("match:Match", "includes:Includes", "fuzzy_match:FuzzyMatch")
)
_SCORERS: dict[str, dict[str, Any]] = {
    _MATCH: CHECKS["starts_with"],
    _INCLUDES: CHECKS["contains_any"],
    _FUZZY: {"type": "exact", "ignore": ["case", "punctuation", "articles"]},
}
_NOTES = {
    _MATCH: "Match: an answer is right where it begins with an ideal, case included; unlike theirs, white space makes "
    "no difference",
    _INCLUDES: "Includes: an answer is right where it contains an ideal (contains, any); unlike theirs, white space "
    "makes no difference",
    _FUZZY: "FuzzyMatch: an answer is right where it is equal to an ideal but for case, punctuation and articles. "
    "Theirs is laxer: there it is enough that one contains the other. Where answers are sentences, take "
    "--scorer contains",
}


class OpenAIEvals(Format):
    """Samples of OpenAI's evals."""

    name = "openai_evals"
    about = "OpenAI evals: samples as JSONL, or the registry's YAML that names them"
    written = ("samples are", ".jsonl", ".yaml", ".yml")  # both are written, one beside the other
    keeps = frozenset({"variants", "scorers", "output", "generation"})

    def sniff(self, source: Path) -> float:
        if not source.is_file():
            return 0.0
        if source.suffix in (".yaml", ".yml"):
            return 0.95 if _is_registry(source) else 0.0
        row = first_row(source) if source.suffix.lower() in (".jsonl", ".json", ".ndjson") else None
        return 0.9 if row and {"input", "ideal"} <= set(row) else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        found = Found()
        if source.suffix in (".yaml", ".yml"):
            chosen, samples = _of_registry(source, found)
            return _Samples(samples, chosen, found).read(sink)
        return _Samples(source, _of_samples(source, found), found).read(sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        _write(evalset, target, ledger)


FORMATS.add("openai_evals", OpenAIEvals())


@dataclass
class _Eval:
    """An eval of the registry."""

    name: str
    cls: str = _MATCH
    args: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    about: dict[str, Any] = field(default_factory=dict)


def _is_registry(path: Path) -> bool:
    """Whether a YAML file names a class of evals."""
    return _CLASS.search(head(path, _HEAD)) is not None


def _of_registry(registry: Path, found: Found) -> tuple[_Eval, Path]:
    """The eval that a registry file is about, and its samples."""
    evals = _evals(registry, found.ledger)
    chosen = next((each for each in evals if isinstance(each.args.get("samples_jsonl"), str)), None)
    if chosen is None:
        raise InputError(f"{where(registry)}: no eval names a file of samples (args: samples_jsonl).")
    for other in evals:
        if other is not chosen:
            found.ledger.add(other.place, f"eval '{other.name[:60]}' is another one; import it by its samples")
    path = _samples_of(registry, chosen)
    if path is None:
        raise InputError(
            f"{chosen.place}: there is no file '{chosen.args['samples_jsonl'][:100]}' in this folder, or in data/ "
            "beside it. Only files of the same registry are read; name the JSONL itself."
        )
    found.notes.append(f"eval '{chosen.name}' with the samples {where(path)}")
    return chosen, path


def _of_samples(samples: Path, found: Found) -> _Eval | None:
    """The eval whose samples these are, out of a registry file that lies where it belongs."""
    folders = [samples.parent, *(folder.parent / "evals" for folder in samples.parents if folder.name == "data")]
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())[:_FILES_AT_MOST]]
    for path in files:
        named = path.suffix in (".yaml", ".yml") and path.is_file() and samples.name in head(path, _HEAD)
        if not named or not _is_registry(path):
            continue
        for each in _evals(path, ledger := Ledger()):
            mine = _samples_of(path, each)
            if mine is not None and mine.resolve() == samples.resolve():
                found.ledger = ledger
                found.notes.append(f"eval '{each.name}' of {where(path)}")
                return each
    found.notes.append("no registry file says how the samples are scored: taken as Match, the usual one")
    return None


def _evals(registry: Path, ledger: Ledger) -> list[_Eval]:
    """The evals of a registry file, those with a short name first."""
    document = read_yaml(registry)
    evals: list[_Eval] = []
    aliases: dict[str, dict[str, Any]] = {}
    for name, entry in document.data.items():
        place = where(registry, document.line((name,)))
        if not isinstance(entry, dict):
            raise InputError(f"{place}: '{name[:60]}' must be a mapping with 'class' and 'args', or with 'id'.")
        about = {key: value for key, value in entry.items() if key not in ("class", "args", "id")}
        if "class" in entry:
            args = entry.get("args") or {}
            if not isinstance(args, dict):
                raise InputError(f"{place}: field '{name[:60]}.args': must be a mapping.")
            evals.append(_Eval(name, str(entry["class"]), dict(args), place, about))
        elif "id" in entry:
            aliases[str(entry["id"])] = about
        else:
            ledger.add(place, f"'{name[:60]}' is no eval: it has no class")
    for each in evals:
        each.about |= aliases.get(each.name, {})
    return sorted(evals, key=lambda each: each.name not in aliases)


def _samples_of(registry: Path, chosen: _Eval) -> Path | None:
    """The file of samples that an eval names, inside of the registry's own tree."""
    name = str(chosen.args.get("samples_jsonl", "")).replace("\0", "")
    tree = registry.parent.parent if registry.parent.name == "evals" else registry.parent
    paths = [folder / name for folder in (tree / "data", registry.parent, registry.parent / "data")]
    return next((path for path in paths if name and is_inside(path, tree) and path.is_file()), None)


class _Samples:
    """Reads samples in two passes: whether they have one turn each, and then the items."""

    def __init__(self, source: Path, chosen: _Eval | None, found: Found) -> None:
        self._rows = Rows(source, lambda: json_lines(source))
        self._found, self._eval = found, chosen or _Eval("")
        self._prompts = True  # every input is one turn of the user

    def read(self, sink: Sink) -> Found:
        check_readable(self._rows.source)
        count = 0
        for _, sample in self._rows:
            count += 1
            with suppress(Unusable):
                self._prompts &= len(as_turns(sample.get("input"))[0]) == 1
        if not count:
            raise InputError(f"{where(self._rows.source)}: holds no samples.")
        for line, sample in self._rows:
            place = self._rows.place(line)
            try:
                sink(self._item(place, sample), place=place)
            except Unusable as failure:
                self._found.ledger.tally(place, f"{failure}; the sample is left out")
        self._describe()
        return self._found

    def _item(self, place: str, sample: dict[str, Any]) -> dict[str, Any]:
        turns, changes = as_turns(sample.get("input"))
        ideal, ours, ledger = sample.get("ideal"), sample.get(OURS), self._found.ledger
        ideals = [value for value in (ideal if isinstance(ideal, list) else [ideal]) if not is_empty(value)]
        if not ideals:
            raise Unusable("no ideal answer")
        unused = [f"key '{key[:60]}' is not used" for key in sample if key not in ("input", "ideal", OURS)]
        for change in (*changes, *unused):
            ledger.tally(place, change)
        texts = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in ideals]
        inputs = {"prompt": turns[0]["content"]} if self._prompts else {"messages": turns}
        own = ours if isinstance(ours, dict) else {}
        return item_fields(own, place, ledger, inputs, {"answer": one_or_all(texts)})

    def _describe(self) -> None:
        """Prompt, output, scorer; what of the registry's entry is not used."""
        found, args, cls, place = self._found, self._eval.args, self._eval.cls, self._eval.place
        known = cls if cls in _SCORERS else _MATCH
        if known != cls:
            graded = "a model grades it" if "modelgraded" in cls else "its own code grades it"
            found.ledger.add(place, f"class '{cls[:100]}': {graded}, which no scorer here does; Match stands in")
        scorer, used = dict(_SCORERS[known]), {"samples_jsonl"}
        if known == _INCLUDES:
            used.add("ignore_case")
            scorer["ignore"] = ["case"] if args.get("ignore_case") is True else []
        message = {"role": "user", "content": "{{ inputs.prompt }}"} if self._prompts else {"turns": "messages"}
        found.spec |= {"variants": {"default": {"messages": [message]}}, "output": {"text": True}}
        found.spec |= {"scorers": [scorer], "accept": {"min_score": 1}}
        found.notes.append(_NOTES[known])
        if generation := read_generation({key: args[key] for key in args.keys() & {"max_tokens"}})[0]:
            found.spec["generation"] = generation
            used.add("max_tokens")
        about = dict(self._eval.about)
        if isinstance(about.get("description"), str) and about["description"].strip():
            found.spec["description"] = about.pop("description").strip()
        if about.get("metrics") == ["accuracy"]:
            del about["metrics"]  # that is what an accepted answer is
        for what in (*(f"args.{key}" for key in args if key not in used), *(f"key '{key}'" for key in about)):
            found.ledger.add(place, f"{brief(what)} is not used")


def _write(evalset: EvalSet, target: Path, ledger: Ledger) -> None:
    """Write samples, and a registry file of the same name beside them."""
    name, spec, given = evalset.name, evalset.spec, target.suffix.lower() == ".jsonl"
    samples, registry = (target, target.with_suffix(".yaml")) if given else (target.with_suffix(".jsonl"), target)
    cls, args = _class_of(evalset, ledger)
    place, limit = where(evalset.path / "evalset.yaml"), spec.generation.max_tokens
    if limit != Generation().max_tokens:
        args["max_tokens"] = limit
    if spec.generation != Generation(max_tokens=limit):
        ledger.add(place, "generation: but for max_tokens set it with the model there")
    entries = {
        name: {"id": f"{name}.test.v0", "description": spec.description, "metrics": ["accuracy"]},
        f"{name}.test.v0": {"class": cls, "args": {"samples_jsonl": samples.name, **args}},
    }
    variant = chosen_variant(evalset, ledger)
    messages = spec.variants[variant].messages
    if len(messages) > 1 or getattr(messages[0], "content", "{{ inputs.prompt }}") != "{{ inputs.prompt }}":
        what = f"variant '{variant}': its template is not written, only what it makes of each item's inputs"
        ledger.add(place, what)
    if spec.output.labels is not None:
        ledger.add(place, "output.labels")
    if spec.output.json_schema is not None:
        ledger.add(place, "output.json_schema: an ideal is the expected JSON as text, of several values the first")
    rows = (_sample(evalset, item, variant, ledger) for item in evalset.items)
    write_objects(evalset, samples, rows)
    write_atomic(registry, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))


def _sample(evalset: EvalSet, item: Item, variant: str, ledger: Ledger) -> dict[str, Any]:
    """An item; what a sample has no place for is under a key of our own."""
    ideal, own = sample_of(evalset, item, ledger, "answer")
    return {"input": render(evalset, variant, item).messages, "ideal": ideal, OURS: own}


def _class_of(evalset: EvalSet, ledger: Ledger) -> tuple[str, dict[str, Any]]:
    """The class that comes nearest to an eval set's scorers, and its arguments; what it scores otherwise is a loss."""
    place, main = where(evalset.path / "evalset.yaml"), main_scorer(evalset)
    for other in evalset.scorers:
        if other is not main:
            what = f"scorer '{other.name or other.type}' is not written: an eval has one"
            ledger.add(place, f"{what} ({items_of(evalset, other)})")
    args: dict[str, Any] = {}
    cls, more = nearest(main, _SCORERS)
    differs = "" if not more else "it ignores more" if cls == _FUZZY else f"{', '.join(sorted(more))} count"
    if main.type == "contains":
        args = {"ignore_case": True} if "case" in getattr(main, "ignore", ()) else {}
        differs = "" if cls and more <= {"case"} else "one phrase is enough, as it is written"
        cls = _INCLUDES
    elif cls is None or (cls == _FUZZY and not getattr(main, "ignore", ())):
        cls, differs = _MATCH, "an answer must begin with what is expected"
    if differs:
        what = f"scorer '{main.type}' becomes {cls.rpartition(':')[2]}: {differs}"
        ledger.add(place, f"{what} ({items_of(evalset, main)})")
    return cls, args
