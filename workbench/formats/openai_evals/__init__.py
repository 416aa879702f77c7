"""OpenAI evals: samples (JSONL with `input` and `ideal`), and the registry's YAML that says how they are scored.

import_evalset("registry/evals/finance.yaml", "evalsets/finance")       # the samples are found from there
export_evalset(evalset, "openai_evals", "out/finance.jsonl")            # writes finance.yaml beside it

Match, Includes, FuzzyMatch and JsonMatch become scorers of ours; what a model or other code grades is a loss.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, check_readable, json_lines, where
from workbench.formats.openai_evals import export
from workbench.formats.openai_evals.export import FUZZY, OURS, strict
from workbench.formats.openai_evals.registry import Eval, is_registry, of_registry, of_samples
from workbench.formats.shared.files import refuse_mapping
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields
from workbench.formats.shared.rows import Rows, first_row
from workbench.formats.shared.turns import read_turns
from workbench.formats.table.answers import answer_form
from workbench.formats.table.form import AnswerForm
from workbench.formats.table.values import Values, is_empty

if TYPE_CHECKING:
    from workbench.evalset import EvalSet


class OpenAIEvals(Format):
    """Samples of OpenAI's evals."""

    name = "openai_evals"
    about = "OpenAI evals: samples as JSONL, or the registry's YAML that names them"
    suffix = ".jsonl"

    def sniff(self, source: Path) -> float:
        if not source.is_file():
            return 0.0
        if source.suffix in (".yaml", ".yml"):
            return 0.95 if is_registry(source) else 0.0
        row = first_row(source) if source.suffix.lower() in (".jsonl", ".json", ".ndjson") else None
        return 0.9 if row and {"input", "ideal"} <= set(row) else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        refuse_mapping(source, options, self.name)
        check_readable(source)
        found = Found({})
        if source.suffix in (".yaml", ".yml"):
            chosen, samples = of_registry(source, found)
            return _Samples(samples, chosen, found).read(sink)
        return _Samples(source, of_samples(source, found), found).read(sink)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        return export.write(evalset, target)


FORMATS.add("openai_evals", OpenAIEvals())


class _Samples:
    """Reads samples in two passes: what they hold, and then the items."""

    def __init__(self, source: Path, chosen: Eval | None, found: Found) -> None:
        self._rows = Rows(source, lambda: json_lines(source))
        self._found, self._eval = found, chosen
        self._kind = (chosen.kind if chosen else None) or "match"
        self._ledger = Ledger()
        self._prompts = True  # every input is one turn of the user
        self._form: AnswerForm | None = None  # of JSON answers

    def read(self, sink: Sink) -> Found:
        count, answers = 0, Values()
        for line, sample in self._rows:
            count += 1
            try:
                turns, _ = _turns(sample)
                self._prompts &= len(turns) == 1
            except Unusable:
                continue
            for ideal in _ideals(sample) if self._kind == "json_match" else ():
                answers.observe(_parsed(ideal), line)
        if not count:
            raise InputError(f"{where(self._rows.source)}: holds no samples.")
        if self._kind == "json_match":
            self._form = self._json_form(answers)
        for line, sample in self._rows:
            try:
                sink(self._item(self._rows.place(line), sample))
            except Unusable as failure:
                self._ledger.tally(self._rows.place(line), f"{failure}; the sample is left out")
        self._describe()
        self._found.losses += self._ledger.losses()
        return self._found

    def _json_form(self, answers: Values) -> AnswerForm:
        if not answers.fields:
            raise InputError(f"{where(self._rows.source)}: no 'ideal' is a JSON object, which JsonMatch needs here.")
        objects = Values()
        objects.filled, objects.fields = 1, answers.fields
        objects.kinds["object"] = 1
        form = answer_form({"answer": objects})
        fields = form.spec["scorers"][0]["fields"]
        form.spec["scorers"][0]["fields"] = {name: strict(spec) for name, spec in fields.items()}
        form.spec["accept"] = {"min_score": 1}
        return form

    def _item(self, place: str, sample: dict[str, Any]) -> dict[str, Any]:
        turns, changes = _turns(sample)
        expectations = self._expectations(place, sample)
        if expectations is None:
            raise Unusable("no ideal answer")
        ours = sample.get(OURS)
        fields, lost = item_fields(ours if isinstance(ours, dict) else {})
        unused = [*(sample.keys() - {"input", "ideal", OURS}), *(f"{OURS}.{key}" for key in lost)]
        for change in (*changes, *(f"key '{key[:60]}' is not used" for key in unused)):
            self._ledger.tally(place, change)
        inputs = {"prompt": turns[0]["content"]} if self._prompts else {"messages": turns}
        return {"inputs": inputs, "expectations": expectations, **fields}

    def _expectations(self, place: str, sample: dict[str, Any]) -> dict[str, Any] | None:
        ideals = _ideals(sample)
        if self._form is not None:
            objects = [value for value in map(_parsed, ideals) if isinstance(value, dict)]
            for _ in ideals[1:] if objects else []:
                self._ledger.tally(place, "a further ideal: of several only the first JSON object is right")
            return self._form.expectations({"answer": objects[0]}) if objects else None
        kept = [ideal if isinstance(ideal, str) else json.dumps(ideal, ensure_ascii=False) for ideal in ideals]
        return {"answer": kept if len(kept) > 1 else kept[0]} if kept else None

    def _describe(self) -> None:
        """Prompt, output, scorer; what of the registry's entry is not used."""
        spec, notes = self._found.spec, self._found.notes
        one = {"role": "user", "content": "{{ inputs.prompt }}"}
        spec["variants"] = {"default": {"messages": [one if self._prompts else {"turns": "messages"}]}}
        if self._form is not None:
            spec |= self._form.spec
            self._found.schema = self._form.schema
            notes.append(
                "JsonMatch: a JSON answer is right where every field is equal; the schema is made from the ideals. "
                "Unlike theirs, case and spaces make no difference, and null is equal to null"
            )
        else:
            scorer, note = _scorer(self._kind, self._eval.args if self._eval else {})
            spec |= {"output": {"text": True}, "scorers": [scorer], "accept": {"min_score": 1}}
            notes.append(note)
        if self._eval is not None:
            self._registry_losses(self._eval)

    def _registry_losses(self, chosen: Eval) -> None:
        spec, lost = self._found.spec, []
        if chosen.kind is None:
            graded = "a model grades it" if "modelgraded" in chosen.cls else "its own code grades it"
            lost.append(f"class '{chosen.cls[:100]}': {graded}, which no scorer here does; Match stands in")
        used = {"samples_jsonl"} | ({"ignore_case"} if self._kind == "includes" else set())
        limit = chosen.args.get("max_tokens")
        if isinstance(limit, int) and limit > 0 and not isinstance(limit, bool):
            spec["generation"] = {"max_tokens": limit}
            used.add("max_tokens")
        lost += [f"args.{key[:60]} is not used" for key in map(str, chosen.args) if key not in used]
        about = dict(chosen.about)
        if isinstance(about.get("description"), str) and about["description"].strip():
            spec["description"] = about.pop("description").strip()
        if about.get("metrics") == ["accuracy"]:
            del about["metrics"]  # that is what an accepted answer is
        lost += [f"key '{str(key)[:60]}' is not used" for key in about]
        self._found.losses += [Loss(chosen.place, what) for what in lost]


def _turns(sample: dict[str, Any]) -> tuple[list[dict[str, str]], list[str]]:
    """An input as chat turns: a text is one of the user's."""
    given = sample.get("input")
    return read_turns([{"role": "user", "content": given}] if isinstance(given, str) and given.strip() else given)


def _ideals(sample: dict[str, Any]) -> list[Any]:
    ideal = sample.get("ideal")
    return [value for value in (ideal if isinstance(ideal, list) else [ideal]) if not is_empty(value)]


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
