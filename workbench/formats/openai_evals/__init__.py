"""OpenAI evals: samples (JSONL with `input` and `ideal`), and the registry's YAML that says how they are scored.

import_evalset("registry/evals/finance.yaml", "evalsets/finance")       # the samples are found from there
export_evalset(evalset, "openai_evals", "out/finance.jsonl")            # writes finance.yaml beside it

Match, Includes, FuzzyMatch and JsonMatch become scorers of ours; what a model or other code grades is a loss.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import read_yaml
from workbench.formats.openai_evals import export
from workbench.formats.table.answers import AnswerForm, answer_form
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import item_fields
from workbench.formats.openai_evals.export import CLASSES, FUZZY, OURS, strict
from workbench.formats.table.prompt import turns_problem
from workbench.formats.shared.rows import Rows, first_row
from workbench.formats.shared.files import refuse_mapping
from workbench.formats.table.values import Values, is_empty
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, check_readable, json_lines, where

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_YAML = (".yaml", ".yml")
_FILES_AT_MOST = 2000
_REGISTRY = re.compile(r"^\s*class:\s*[\"']?evals\.", re.MULTILINE)
_LEFT_OUT = "the sample is left out"


@dataclass
class _Eval:
    """An eval of the registry."""

    name: str
    cls: str
    args: dict[str, Any]
    place: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str | None:
        """match, includes, fuzzy_match or json_match; None for a class that is scored by other means."""
        return next((kind for kind, cls in CLASSES.items() if cls == self.cls), None)


class OpenAIEvals(Format):
    """Samples of OpenAI's evals."""

    name = "openai_evals"
    about = "OpenAI evals: samples as JSONL, or the registry's YAML that names them"
    suffix = ".jsonl"

    def sniff(self, source: Path) -> float:
        if not source.is_file():
            return 0.0
        if source.suffix in _YAML:
            return 0.95 if _REGISTRY.search(_beginning(source)) else 0.0
        row = first_row(source) if source.suffix.lower() in (".jsonl", ".json", ".ndjson") else None
        return 0.9 if row and {"input", "ideal"} <= set(row) else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        refuse_mapping(source, options, self.name)
        check_readable(source)
        found = Found({})
        chosen, samples = _of_registry(source, found) if source.suffix in _YAML else (_beside(source, found), source)
        return _Samples(samples, chosen, found).read(sink)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        return export.write(evalset, target)


FORMATS.add("openai_evals", OpenAIEvals())


def _beginning(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return file.read(65536).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


# The registry: which eval, and where its samples are.


def _evals(registry: Path, found: Found) -> tuple[list[_Eval], dict[str, str]]:
    """The evals of a registry file, and by their short names which one is meant."""
    document = read_yaml(registry)
    evals: list[_Eval] = []
    aliases: dict[str, str] = {}
    about: dict[str, dict[str, Any]] = {}
    for name, entry in document.data.items():
        place = where(registry, document.line((name,)))
        if not isinstance(entry, dict):
            raise InputError(f"{place}: '{str(name)[:60]}' must be a mapping with 'class' and 'args', or with 'id'.")
        if "class" in entry:
            args = entry.get("args") or {}
            if not isinstance(args, dict):
                raise InputError(f"{place}: field '{str(name)[:60]}.args': must be a mapping.")
            evals.append(_Eval(str(name), str(entry["class"]), dict(args), place))
            own = {key: value for key, value in entry.items() if key not in ("class", "args")}
            about.setdefault(str(name), {}).update(own)
        elif "id" in entry:
            aliases[str(name)] = str(entry["id"])
            about.setdefault(str(entry["id"]), {}).update({key: entry[key] for key in entry if key != "id"})
        else:
            found.losses.append(Loss(place, f"'{str(name)[:60]}' is no eval: it has no class"))
    for each in evals:
        each.about = about.get(each.name, {})
    return evals, aliases


def _of_registry(registry: Path, found: Found) -> tuple[_Eval, Path]:
    """The eval that a registry file is about, and its samples."""
    evals, aliases = _evals(registry, found)
    named = [each for each in evals if each.name in aliases.values()]
    with_samples = [each for each in [*named, *evals] if isinstance(each.args.get("samples_jsonl"), str)]
    if not with_samples:
        raise InputError(f"{where(registry)}: no eval names a file of samples (args: samples_jsonl).")
    chosen = with_samples[0]
    for other in evals:
        if other is not chosen:
            found.losses.append(Loss(other.place, f"eval '{other.name[:60]}' is another one; import it by its samples"))
    path = _samples_of(registry, chosen)
    if path is None:
        name = chosen.args["samples_jsonl"]
        raise InputError(
            f"{chosen.place}: there is no file '{name[:100]}' in this folder, or in data/ beside it. Only files of the "
            "same registry are read; name the JSONL itself."
        )
    found.notes.append(f"eval '{chosen.name}' with the samples {where(path)}")
    return chosen, path


def _samples_of(registry: Path, chosen: _Eval) -> Path | None:
    """The file of samples that an eval names, inside of the registry's own tree."""
    name = str(chosen.args.get("samples_jsonl", "")).replace("\0", "")
    tree = registry.parent.parent if registry.parent.name == "evals" else registry.parent
    for folder in (tree / "data", registry.parent, registry.parent / "data"):
        path = folder / name
        if name and path.resolve().is_relative_to(tree.resolve()) and path.is_file():
            return path
    return None


def _beside(samples: Path, found: Found) -> _Eval | None:
    """The eval whose samples these are, out of a registry file that lies where it belongs."""
    folders = [samples.parent]
    data = next((folder for folder in samples.parents if folder.name == "data"), None)
    if data is not None:
        folders.append(data.parent / "evals")
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())[:_FILES_AT_MOST]]
    owners: list[tuple[Path, _Eval, Found]] = []
    for path in files:
        if path.suffix in _YAML and path.is_file() and samples.name in _beginning(path):
            if not _REGISTRY.search(_beginning(path)):
                continue
            seen = Found({})
            for each in _evals(path, seen)[0]:
                mine = _samples_of(path, each)
                if mine is not None and mine.resolve() == samples.resolve():
                    owners.append((path, each, seen))
    if not owners:
        found.notes.append("no registry file says how the samples are scored: taken as Match, the usual one")
        return None
    path, chosen, seen = owners[0]
    found.losses += seen.losses
    others = ", ".join(each.name[:60] for _, each, _ in owners[1:])
    found.notes.append(f"eval '{chosen.name}' of {where(path)}" + (f"; also theirs: {others}" if others else ""))
    return chosen


# The samples.


class _Samples:
    """Reads samples in two passes: what they hold, and then the items."""

    def __init__(self, source: Path, chosen: _Eval | None, found: Found) -> None:
        self._rows = Rows(source, lambda: json_lines(source))
        self._found = found
        self._eval = chosen
        self._kind = (chosen.kind if chosen else None) or "match"
        self._ledger = Ledger()
        self._prompts = True  # every input is one text, or one turn of the user
        self._answers = Values()
        self._form: AnswerForm | None = None

    def read(self, sink: Sink) -> Found:
        count = 0
        for line, sample in self._rows:
            count += 1
            turns, _ = _turns(sample.get("input"))
            self._prompts &= turns is None or (len(turns) == 1 and turns[0].get("role") == "user")
            for ideal in _several(sample.get("ideal")):
                self._answers.observe(_parsed(ideal) if self._kind == "json_match" else ideal, line)
        if not count:
            raise InputError(f"{where(self._rows.source)}: holds no samples.")
        if self._kind == "json_match":
            self._form = self._json_form()
        for line, sample in self._rows:
            self._take(line, sample, sink)
        self._describe()
        self._found.losses += self._ledger.losses()
        return self._found

    def _json_form(self) -> AnswerForm:
        if not self._answers.fields:
            raise InputError(f"{where(self._rows.source)}: no 'ideal' is a JSON object, which JsonMatch needs here.")
        objects = Values()
        objects.filled, objects.fields = 1, self._answers.fields
        objects.kinds["object"] = 1
        form = answer_form({"answer": objects})
        fields = form.spec["scorers"][0]["fields"]
        form.spec["scorers"][0]["fields"] = {name: strict(spec) for name, spec in fields.items()}
        form.spec["accept"] = {"min_score": 1}
        return form

    def _take(self, line: int, sample: dict[str, Any], sink: Sink) -> None:
        place = self._rows.place(line)
        turns, changes = _turns(sample.get("input"))
        problem = turns_problem(turns)
        expectations = None if problem else self._expectations(place, sample)
        if problem or expectations is None:
            self._ledger.tally(place, f"{problem or 'no ideal answer'}; {_LEFT_OUT}")
            return
        for change in changes:
            self._ledger.tally(place, change)
        for key in sample.keys() - {"input", "ideal", OURS}:
            self._ledger.tally(place, f"key '{key[:60]}' is not used")
        assert turns is not None
        inputs = {"prompt": turns[0]["content"]} if self._prompts else {"messages": turns}
        ours = sample.get(OURS)
        fields, lost = item_fields(ours if isinstance(ours, dict) else {})
        for key in lost:
            self._ledger.tally(place, f"key '{OURS}.{key[:60]}' is not used")
        sink({"inputs": inputs, "expectations": expectations, **fields})

    def _expectations(self, place: str, sample: dict[str, Any]) -> dict[str, Any] | None:
        ideals = _several(sample.get("ideal"))
        if self._form is not None:
            objects = [value for value in map(_parsed, ideals) if isinstance(value, dict)]
            for _ in ideals[1:] if objects else []:
                self._ledger.tally(place, "a further ideal: of several only the first JSON object is right")
            return self._form.expectations({"answer": objects[0]}) if objects else None
        kept = [ideal if isinstance(ideal, str) else json.dumps(ideal, ensure_ascii=False) for ideal in ideals]
        kept = [ideal for ideal in kept if ideal.strip()]
        if not kept:
            return None
        return {"answer": kept if isinstance(sample.get("ideal"), list) else kept[0]}

    def _describe(self) -> None:
        """Prompt, output, scorer; what of the registry's entry is not used."""
        spec, notes = self._found.spec, self._found.notes
        message: dict[str, str] = {"turns": "messages"}
        if self._prompts:
            message = {"role": "user", "content": "{{ inputs.prompt }}"}
        spec["variants"] = {"default": {"messages": [message]}}
        if self._form is not None:
            spec |= self._form.spec
            self._found.schema = self._form.schema
            notes.append(
                "JsonMatch: a JSON answer is right where every field is equal; the schema is made from the ideals. "
                "Unlike theirs, case and spaces make no difference, and null is equal to null"
            )
        else:
            args = self._eval.args if self._eval else {}
            scorer, note = _scorer(self._kind, args)
            spec |= {"output": {"text": True}, "scorers": [scorer], "accept": {"min_score": 1}}
            notes.append(note)
        if self._eval is not None:
            self._registry_losses(self._eval)

    def _registry_losses(self, chosen: _Eval) -> None:
        losses = self._found.losses
        if chosen.kind is None:
            graded = "a model grades it" if "modelgraded" in chosen.cls else "its own code grades it"
            losses.append(
                Loss(chosen.place, f"class '{chosen.cls[:100]}': {graded}, which no scorer here does; Match stands in")
            )
        used = {"samples_jsonl"} | ({"ignore_case"} if self._kind == "includes" else set())
        limit = chosen.args.get("max_tokens")
        if isinstance(limit, int) and limit > 0 and not isinstance(limit, bool):
            self._found.spec["generation"] = {"max_tokens": limit}
            used.add("max_tokens")
        losses += [
            Loss(chosen.place, f"args.{key[:60]} is not used") for key in map(str, chosen.args) if key not in used
        ]
        about = dict(chosen.about)
        if isinstance(about.get("description"), str) and about["description"].strip():
            self._found.spec["description"] = about.pop("description").strip()
        if about.get("metrics") == ["accuracy"]:
            del about["metrics"]  # that is what an accepted answer is
        losses += [Loss(chosen.place, f"key '{str(key)[:60]}' is not used") for key in about]


def _turns(given: Any) -> tuple[list[dict[str, str]] | None, list[str]]:
    """An input as chat turns, with what was changed to make it some; None where it is neither text nor a list."""
    if isinstance(given, str):
        return ([{"role": "user", "content": given}] if given.strip() else None), []
    if not isinstance(given, list) or not given:
        return None, []
    turns, changes = [], set()
    for each in given:
        turn = dict(each) if isinstance(each, dict) else {}
        for key in turn.keys() - {"role", "content"}:
            turn.pop(key)
            changes.add(f"key '{key[:60]}' of a chat turn is left out")
        content = turn.get("content")
        if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            turn["content"] = "\n".join(str(part.get("text", "")) for part in content)
        if turn.get("role") == "developer":
            turn["role"] = "system"
            changes.add("role developer is sent as system")
        turns.append(turn)
    if turns[-1].get("role") == "system":
        turns[-1]["role"] = "user"
        changes.add("the last turn is the system's; it is sent as the user's, which a model answers")
    return turns, sorted(changes)


def _several(ideal: Any) -> list[Any]:
    values = ideal if isinstance(ideal, list) else [ideal]
    return [value for value in values if not is_empty(value)]


def _parsed(ideal: Any) -> Any:
    if not isinstance(ideal, str):
        return ideal
    try:
        return json.loads(ideal)
    except (ValueError, RecursionError):
        return None


def _scorer(kind: str, args: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A scorer for a class, and how the two differ."""
    if kind == "includes":
        ignore = ["case"] if args.get("ignore_case") is True else []
        return (
            {"type": "contains", "want": "any", "ignore": ignore},
            "Includes: an answer is right where it contains an ideal (contains, any); unlike theirs, white space "
            "makes no difference",
        )
    if kind == "fuzzy_match":
        return (
            {"type": "exact", "ignore": list(FUZZY)},
            "FuzzyMatch: an answer is right where it is equal to an ideal but for case, punctuation and articles. "
            "Theirs is laxer: there it is enough that one contains the other. Where answers are sentences, take "
            "--scorer contains",
        )
    return (
        {"type": "exact", "match": "begins"},
        "Match: an answer is right where it begins with an ideal, case included; unlike theirs, white space makes "
        "no difference",
    )
