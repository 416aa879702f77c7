"""lm-evaluation-harness tasks: a task's YAML over data beside it. Nothing that it names is imported or fetched.

done = import_evalset("task.yaml", "evalsets/capitals")       # doc_to_text is the prompt, doc_to_target the expectation
export_evalset(evalset, "lm_eval", "tasks/mine.yaml")         # and mine.jsonl beside it
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.choices import (
    LETTERS,
    choice_texts,
    labels_for,
    lettered,
    position_of,
    without_choices,
)  # fmt: skip
from workbench.formats.shared.export import chosen_variant, main_scorer, one_or_all, target_of, write_objects
from workbench.formats.shared.files import folder_inside, head
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import item_fields, metadata_of, scalar_text
from workbench.formats.shared.metrics import (
    named,
    read_generation,
    read_patterns,
    read_scorers,
    without,
    written_generation,
    written_scorers,
)  # fmt: skip
from workbench.formats.shared.prompts import bare_turns
from workbench.formats.shared.rows import Row, open_rows
from workbench.formats.shared.splits import DATA, UNNAMED, by_split, data_below, named_files
from workbench.formats.shared.structured import Function, dump_yaml, read_including
from workbench.formats.shared.templates import as_list, bare_names, is_template, over_inputs, reference, rendered
from workbench.prompts import render

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_OUTPUT_TYPES = ("generate_until", "multiple_choice")
_OWN = "workbench"  # the column with what is no input: id, slice, cluster, sensitivity, target
_TARGET = "{{workbench.target}}"
_APART = "\n\n"  # after the description: the harness puts the text right behind it
# A column of these only: the data loader of the harness makes times of them, which read otherwise.
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::?\d\d){0,2}(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?")
_USED = {
    *("task", "dataset_path", "dataset_kwargs", "doc_to_text", "doc_to_target", "doc_to_choice", "description"),
    *("output_type", "generation_kwargs", "filter_list", "metric_list"),
}
_WHY = {
    **dict.fromkeys(("target_delimiter", "fewshot_delimiter"), "in a chat the turns are apart"),
    **dict.fromkeys(("num_fewshot", "fewshot_split", "fewshot_config"), "examples come from train.jsonl"),
}
_MARKS = re.compile(
    r"^(task|group|include|dataset_path|dataset_kwargs|doc_to_text|doc_to_target|doc_to_choice|output_type|metric_list)\s*:",
    re.MULTILINE,
)


class LmEval(Format):
    """Tasks of the lm-evaluation-harness."""

    name = "lm_eval"
    about = "an lm-evaluation-harness task (YAML) over local data"
    keeps = frozenset({"variants", "output", "scorers", "accept", "generation"})

    def sniff(self, source: Path) -> float:
        if source.suffix.lower() in DATA:
            return 0.0
        found = set(_MARKS.findall(head(source)))
        return 0.9 if found & {"doc_to_text", "dataset_path", "include"} and len(found) > 1 else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.is_dir():
            raise InputError(f"{where(source)}: a folder. Name the task's YAML file.")
        return _Reader(source, options).read(sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        if any(_OWN in item.inputs for item in evalset.items):
            what = f"an input is called '{_OWN}', as the column for ids is. Rename it."
            raise InputError(f"{where(evalset.path)}: {what}")
        _write(evalset, target, ledger)


FORMATS.add("lm_eval", LmEval())


class _Reader:
    def __init__(self, source: Path, options: Options) -> None:
        self._source, self._root, self._options, self._found = source, source.parent, options, Found()
        self._config, self._places = read_including(source, "include")
        self._split = str(self._config.get("test_split") or self._config.get("validation_split") or "")
        self._check()
        self._files = self._data()
        self._chooses = self._config.get("output_type") == "multiple_choice"
        self._patterns = [] if self._chooses else read_patterns(self._config, self._lose)
        self._longest = 0  # list of choices
        self._columns = set(next(self._docs(Ledger()), ("", {}))[1])  # of the first row

    def read(self, sink: Sink) -> Found:
        self._note_unused()
        for place, doc in self._docs(self._found.ledger):
            try:
                sink(self._item(doc, place))
            except Unusable as failure:
                self._found.ledger.tally(place, f"a row is left out: {failure}")
        self._describe()
        return self._found

    def _error(self, key: str, problem: str) -> InputError:
        return InputError(f"{self._places.get(key, where(self._source))}: {problem}")

    def _lose(self, key: str, what: str) -> None:
        self._found.ledger.add(self._places.get(key, where(self._source)), what)

    def _data(self) -> dict[str, list[Path]]:
        """The data files by split."""
        path, kwargs = str(self._config.get("dataset_path")), self._config.get("dataset_kwargs")
        folder = folder_inside(self._root, path)
        try:
            given = kwargs.get("data_files") if isinstance(kwargs, dict) else None
            found = named_files(self._root, given) if path in ("json", "csv", "parquet") else {}
        except Unusable as failure:
            raise self._error("dataset_kwargs", f"{failure}.") from None
        found = found or (by_split(folder, data_below(folder)) if folder else {})
        if not found:
            what = f"dataset_path '{path[:60]}': no data here, and nothing is fetched. Save the data beside the task:"
            mend = "dataset_path: json, dataset_kwargs: {data_files: {test: FILE}}."
            raise self._error("dataset_path", f"{what} {mend}")
        return {"train" if split == UNNAMED else split: files for split, files in found.items()}

    def _check(self) -> None:
        """Raises InputError where no question can be asked."""
        config, kind = self._config, str(self._config.get("output_type") or "generate_until")
        chooses = kind == "multiple_choice"
        for key, wrong, problem in (
            ("task", isinstance(config.get("task"), list) or "group" in config, "a group of tasks; import each"),
            (
                "output_type",
                not chooses and kind != "generate_until",
                "no question is asked, only likelihoods are measured",
            ),
            ("test_split", not self._split, "names no test_split or validation_split; name one"),
            ("doc_to_choice", "doc_to_choice" in config and not chooses, "choices of generated answers are not read"),
        ):
            if wrong:
                raise self._error(key, f"{problem}.")
        for key in ("doc_to_text", "doc_to_target", *(["doc_to_choice"] if chooses else [])):
            value, what = config.get(key), "is not there" if config.get(key) is None else "is no template"
            if isinstance(value, Function):
                what = f"is a Python function ({value[:60]}), which is never imported"
            elif value is not None and (key != "doc_to_text" or isinstance(value, str)):
                continue
            raise self._error(key, f"'{key}' {what}; write a template or a column's name.")
        try:
            over_inputs(config["doc_to_text"])
        except Unusable as failure:
            raise self._error("doc_to_text", f"its template cannot be read ({failure}).") from None

    def _note_unused(self) -> None:
        read = {key for key in ("test_split", "validation_split") if self._config.get(key) == self._split}
        for key, value in self._config.items():
            if key not in _USED | read and value not in (None, [], {}, "", 0):
                why = f"is not used: {_WHY.get(key, 'nothing here does this')}"
                if isinstance(value, Function):
                    why = f"is a Python function ({value[:60]}), which is never imported"
                self._lose(key, f"'{key}' {why}")
        kwargs = self._config.get("dataset_kwargs")
        for name in kwargs if isinstance(kwargs, dict) else ():
            if name != "data_files":
                self._lose("dataset_kwargs", f"'{str(name)[:60]}' of dataset_kwargs")

    def _docs(self, ledger: Ledger) -> Iterator[tuple[str, Row]]:
        """The rows with their places. To the harness a CSV's first line is always a header."""
        name = self._split.partition("[")[0]
        if name not in self._files:
            what = f"there is no data for split '{self._split[:60]}'. There are: {', '.join(self._files)}."
            raise InputError(f"{where(self._source)}: {what}")
        for path in self._files[name]:
            rows = open_rows(path, Found(), header=True)
            for line, row in rows.read(ledger):
                yield rows.place(line), row

    def _item(self, doc: Row, place: str) -> dict[str, Any]:
        prompt = self._said("doc_to_text", doc)
        self._said("description", doc)
        if not (scalar_text(prompt) or "").strip():
            raise Unusable("doc_to_text gives no text")
        own = dict(doc[_OWN]) if isinstance(doc.get(_OWN), dict) else {}  # as our export writes it
        targets = self._targets(doc, own.pop("target", None))
        fields = item_fields(own, place, self._found.ledger)
        fields["inputs"] = {name: value for name, value in doc.items() if name != _OWN}
        if self._chooses:
            choices = self._choices(doc)
            fields["inputs"][self._choices_input()] = choices
            self._longest = max(self._longest, len(choices))
            # The harness reads digits as the position of a choice before it reads them as its text.
            digits = self._config["doc_to_target"] not in doc or self._config["dataset_path"] == "csv"
            places = [position_of(target, choices, digits) for target in targets]
            if not places or None in places:
                raise Unusable("doc_to_target names none of its choices")
            answers = list(dict.fromkeys(LETTERS[at] for at in places if at is not None))
        else:
            answers = [without(self._patterns, scalar_text(target) or "") for target in targets or [""]]
        fields["expectations"]["label" if self._chooses else "answer"] = one_or_all(answers)
        return fields

    def _said(self, key: str, doc: Row) -> Any:
        """What a setting says for a row: a column, a template filled in, or itself."""
        given = self._config.get(key)
        if not isinstance(given, str):
            return given
        if given in doc:
            return doc[given]
        if given in self._columns:
            raise Unusable(f"it has no column '{given[:60]}'")
        try:
            return rendered(given, doc)
        except Unusable as failure:
            raise Unusable(f"{key} cannot be filled in ({failure})") from None

    def _targets(self, doc: Row, ours: Any) -> list[Any]:
        given = self._config["doc_to_target"]
        target = ours if given == _TARGET and ours is not None else self._said("doc_to_target", doc)
        if isinstance(target, str) and given != _TARGET and given not in doc:
            target = as_list(target)  # a template that makes a list of accepted answers
        return target if isinstance(target, list) else [target]

    def _choices(self, doc: Row) -> list[str]:
        given = self._said("doc_to_choice", doc)
        given = as_list(given.strip()) if isinstance(given, str) else given
        texts = choice_texts(list(given.values()) if isinstance(given, dict) else given)
        if texts is None or len(texts) < 2:
            raise Unusable(f"its choices are no list of 2 to {len(LETTERS)} texts")
        return texts

    def _choices_input(self) -> str:
        """The input that holds an item's choices: a column of its own, or a new one."""
        given = str(self._config.get("doc_to_choice")).strip("{} ")
        return given if given in self._columns else "answer_choices" if "choices" in self._columns else "choices"

    def _describe(self) -> None:
        found, config, given = self._found, self._config, str(self._config["doc_to_text"])
        column = not is_template(given) and given in self._columns
        text = f"{{{{ {reference(given)} }}}}" if column else over_inputs(given)
        text += lettered(self._choices_input()) if self._chooses else ""
        messages, description = [{"role": "user", "content": text}], config.get("description")
        if isinstance(description, str) and description.strip():
            messages.insert(0, {"role": "system", "content": over_inputs(description.removesuffix(_APART))})
            found.notes.append("the description is the system message")
        scorers = read_scorers(config, self._lose, self._chooses)
        if self._options.scorer and scorers[0]["type"] != self._options.scorer:
            kept = {key: value for key, value in scorers[0].items() if key in ("extract", "take", "name")}
            scorers = [{"type": self._options.scorer, **kept}]
        generation = read_generation(config, self._lose)
        found.spec |= {
            "variants": {"default": {"messages": messages}},
            **({"generation": generation} if generation else {}),
            "output": {"labels": labels_for(self._longest)} if self._chooses else {"text": True},
            "scorers": scorers,
            "accept": {"min_score": 0.5 if scorers[0]["type"] == "rouge" else 1.0},
        }
        found.notes += [
            f"task {named(config.get('task'))}",
            f"the items are the rows of split '{self._split[:60]}'; all columns are inputs, also the answer's",
        ]
        if self._chooses:
            how = "the harness compares the choices' likelihoods; here the model is asked for its choice"
            found.notes += ["the choices are listed with letters, and how to answer is added to the prompt", how]
            return
        found.notes.append(f"answers are scored by {', '.join(scorer['type'] for scorer in scorers)}; the first counts")
        if "stop" not in generation:
            what = "no 'until': the harness would end an answer at a blank line; here only its length ends it"
            found.notes.append(what)


def _write(evalset: EvalSet, target: Path, ledger: Ledger) -> None:
    spec, name, main = evalset.spec, chosen_variant(evalset, ledger), main_scorer(evalset)
    lose = partial(ledger.add, where(evalset.path / "evalset.yaml"))
    variant, choices = without_choices(spec.variants[name], evalset.items if main.type == "label" else [])
    turns, prompt = bare_turns(variant) or [], ""  # the column with the prompt filled in, where no template can say it
    dated, simple = _dated(evalset, turns), [turn["role"] for turn in turns] in (["user"], ["system", "user"])
    simple = simple and not (dated and is_template(turns[0]["content"]))
    if dated or not simple:
        prompt = "prompt" if all("prompt" not in item.inputs for item in evalset.items) else "rendered_prompt"
        turns, choices = [*(turns[:-1] if simple else []), {"content": f"{{{{{prompt}}}}}"}], ""
        why = (
            f"shows dates ({dated[:60]}), of which the harness makes times"
            if dated
            else "does more than fill in inputs"
        )
        lose(f"variant '{name}' {why}: column '{prompt}' has it filled in")
    if examples := spec.variants[name].examples:
        lose(f"variant '{name}': its {examples} examples of train.jsonl are not in its prompt")
    targets = [text for item in evalset.items for text in target_of(evalset, item, Ledger())[0]]
    longest = max(len(item.inputs[choices]) for item in evalset.items) if choices else 0
    for there, what in (
        (choices and len(evalset.scorers) > 1, "the other scorers: the harness compares which choice is taken"),
        (spec.output.labels != (labels_for(longest) if choices else None), "output.labels"),
        (evalset.output_schema is not None, "output.json_schema: the target is the expected JSON as text"),
        (all(map(_TIME.fullmatch, targets)), "the targets are dates, of which the harness makes times"),
        (spec.accept.min_score != (0.5 if main.type == "rouge" else 1.0), "accept.min_score"),
    ):
        if there:
            lose(what)
    config = {
        "task": evalset.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{target.stem}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice" if choices else "generate_until",
        "description": turns[0]["content"] + _APART if len(turns) > 1 else None,
        "doc_to_text": turns[-1]["content"],
        "doc_to_target": _TARGET,
        "doc_to_choice": choices or None,
        **({"metric_list": [{"metric": "acc"}]} if choices else written_scorers(evalset.scorers, lose)),
        "generation_kwargs": written_generation(spec.generation, lose),
    }
    rows = (
        _row(evalset, item, choices, ledger) | _filled(evalset, item, name, prompt, simple) for item in evalset.items
    )
    write_objects(target.with_name(f"{target.stem}.jsonl"), rows)
    header = f"# Run in this file's folder: lm_eval --include_path . --tasks {evalset.name}\n"
    write_atomic(target, header + dump_yaml({key: value for key, value in config.items() if value is not None}))


def _dated(evalset: EvalSet, turns: list[dict[str, str]]) -> str:
    """An input that the prompt shows and that is a date in all items; empty where there is none."""
    names: set[str] = set().union(*(bare_names(turn["content"]) for turn in turns))
    values = {name: [item.inputs.get(name) for item in evalset.items] for name in sorted(names)}
    return next((name for name, given in values.items() if all(_TIME.fullmatch(str(each)) for each in given)), "")


def _row(evalset: EvalSet, item: Item, choices: str, ledger: Ledger) -> dict[str, Any]:
    """An item as a row of data."""
    texts, key = target_of(evalset, item, ledger)
    said = [key] if key == ("label" if choices else "answer") else []
    own = metadata_of(item, where(evalset.path / "items.jsonl"), ledger, expectations=said)
    letters = choices and all(text in LETTERS and len(text) == 1 for text in texts)
    targets = [LETTERS.index(text) for text in texts] if letters else texts  # a letter as its place among the choices
    return {**item.inputs, _OWN: {**own, "target": one_or_all(targets)}}


def _filled(evalset: EvalSet, item: Item, name: str, column: str, last: bool) -> dict[str, str]:
    """A column with the prompt filled in: the last turn of it, or all of them."""
    if not column:
        return {}
    turns = render(evalset, name, item).messages[-1 if last else 0 :]
    roles = [f"{turn['role']}: " if len(turns) > 1 else "" for turn in turns]
    return {column: "\n\n".join(role + turn["content"] for role, turn in zip(roles, turns, strict=True))}
