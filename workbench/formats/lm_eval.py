"""lm-evaluation-harness tasks: a task's YAML over data beside it. Nothing that it names is imported or fetched.

done = import_evalset("task.yaml", "evalsets/capitals")       # doc_to_text is the prompt, doc_to_target the expectation
export_evalset(evalset, "lm_eval", "tasks/mine.yaml")         # and mine.jsonl beside it
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.evalset import Message
from workbench.files import write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared import metrics
from workbench.formats.shared.choices import LETTERS, choice_texts, labels_for, lettered, position_of
from workbench.formats.shared.export import chosen_variant, one_or_all, target_of, write_objects
from workbench.formats.shared.files import head
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import RESERVED, item_fields, metadata_of, scalar_text
from workbench.formats.shared.rows import Row
from workbench.formats.shared.splits import DATA
from workbench.formats.shared.structured import Function, dump_yaml
from workbench.formats.shared.tasks import Task
from workbench.formats.shared.templates import (
    is_template,
    over_bare_names,
    over_inputs,
    reference,
    rendered,
)
from workbench.prompts import render
from workbench.scorers.values import number

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_OWN = "workbench"  # the column with what is no input: id, slice, cluster, sensitivity, target
_TARGET = "{{workbench.target}}"
_USED = {
    *("task", "dataset_path", "dataset_kwargs", "test_split", "validation_split", "training_split", "fewshot_split"),
    *("num_fewshot", "fewshot_config", "doc_to_text", "doc_to_target", "doc_to_choice", "description", "output_type"),
    *("generation_kwargs", "filter_list", "metric_list"),
}
_MARKS = re.compile(
    r"^(task|group|include|dataset_path|dataset_kwargs|doc_to_text|doc_to_target|doc_to_choice|output_type|metric_list)\s*:",
    re.MULTILINE,
)
_LONGEST_LIST = 100_000  # characters
_NO_METRIC = "no metric is named: exact_match"
_NO_UNTIL = "no 'until': the harness would end an answer at a blank line; here only its length ends it"
_AS_NUMBERS = "exact_match ignores patterns, and all references are numbers: they are compared as numbers"
_FIRST = "the first makes the score, the others are further figures"


class LmEval(Format):
    """Tasks of the lm-evaluation-harness."""

    name = "lm_eval"
    about = "an lm-evaluation-harness task (YAML) over local data"
    keeps = frozenset({"variants", "output", "scorers", "accept", "generation", "train"})

    def sniff(self, source: Path) -> float:
        if source.suffix.lower() in DATA:
            return 0.0
        found = set(_MARKS.findall(head(source)))
        return 0.9 if found & {"doc_to_text", "dataset_path", "include"} and len(found) > 1 else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.is_dir():
            raise InputError(f"{where(source)}: a folder. Name the task's YAML file.")
        return _Reader(Task(source, Found()), options).read(sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        if any(_OWN in item.inputs for item in (*evalset.items, *evalset.train)):
            raise InputError(
                f"{where(evalset.path)}: an input is called '{_OWN}', as the column for ids is. Rename it."
            )
        _Writer(evalset, ledger).write(target)


FORMATS.add("lm_eval", LmEval())


class _Reader:
    """Goes through the rows twice: for what they decide together, and for the items."""

    def __init__(self, task: Task, options: Options) -> None:
        self._task, self._config, self._options = task, task.config, options
        self._found, self._chooses = task.found, task.config.get("output_type") == "multiple_choice"
        self._metrics = metrics.read_metrics(
            task.listed("metric_list"), self._chooses, partial(task.lose, "metric_list")
        )
        self._filters = metrics.read_filters(task.listed("filter_list"), partial(task.lose, "filter_list"))
        self._patterns = self._metrics[0].patterns if self._metrics else []
        self._numeric = False  # all references are numbers, once what is ignored is taken out of them
        self._columns: set[str] = set()  # of the first row
        self._longest = 0  # list of choices

    def read(self, sink: Sink) -> Found:
        found = self._found
        if problem := self._problem():
            found.ledger = Ledger()  # why there is nothing comes first
            found.ledger.add(self._task.place(problem[0]), problem[1])
            return found
        self._note_unused()
        split = self._task.eval_split()
        self._survey(split)
        if self._patterns and not self._numeric:
            what = f"regexes_to_ignore ({len(self._patterns)}): taken out of the references, but not out of"
            self._task.lose("metric_list", f"{what} answers")
        self._hand_over(self._task.docs(split, found), sink, train=False)
        self._describe(split, self._examples(split, sink))
        return found

    def _problem(self) -> tuple[str, str] | None:
        """Why no question can be asked, by the setting that is in the way."""
        kind = str(self._config.get("output_type") or "generate_until")
        if kind not in ("generate_until", "multiple_choice"):
            return "output_type", f"output_type '{kind[:60]}': no question is asked, only likelihoods are measured"
        for key in ("doc_to_text", "doc_to_target", *(["doc_to_choice"] if self._chooses else [])):
            value = self._config.get(key)
            why = "is not there" if value is None else None
            if isinstance(value, Function):
                why = f"is a Python function ({value[:60]}), which is never imported"
            elif value is not None and key == "doc_to_text" and not isinstance(value, str):
                why = "is no template"
            if why:
                return key, f"'{key}' {why}; write a template or a column's name"
        try:
            self._prompt()
        except Unusable as failure:
            return "doc_to_text", f"its template cannot be read ({failure})"
        return None

    def _note_unused(self) -> None:
        for key, value in self._config.items():
            if key in _USED or value in (None, [], {}, ""):
                continue
            what = "is not used"
            if isinstance(value, Function):
                what = f"is a Python function ({value[:60]}), which is never imported"
            elif key in ("target_delimiter", "fewshot_delimiter"):
                what = "is not used: in a chat the turns are apart"
            self._task.lose(key, f"'{key}' {what}")
        own_samples = ["samples"] if self._task.fewshot_split() is None else []
        for key, known in (("dataset_kwargs", ["data_files"]), ("fewshot_config", ["sampler", *own_samples])):
            given = self._config.get(key)
            for name, value in given.items() if isinstance(given, dict) else ():
                if name not in known or isinstance(value, Function):
                    self._task.lose(key, f"'{str(name)[:60]}' of {key}")

    def _survey(self, split: str) -> None:
        """Go through all rows once."""
        numbers = []
        for _, doc in self._task.docs(split, Found()):
            self._columns = self._columns or set(doc)
            try:
                self._try_prompt(doc)
                if self._chooses:
                    choices = self._choices(doc)
                    self._indexes(doc, choices)
                    self._longest = max(self._longest, len(choices))
                else:
                    numbers += [number(metrics.without(self._patterns, text)) is not None for text in self._texts(doc)]
            except Unusable:
                continue
        self._numeric = bool(self._patterns and numbers) and all(numbers)

    def _choices_input(self) -> str:
        """The input that holds an item's choices: a column of its own, or a new one."""
        given = str(self._config.get("doc_to_choice")).strip("{} ")
        return given if given in self._columns else "answer_choices" if "choices" in self._columns else "choices"

    def _prompt(self) -> str:
        """The prompt's template over inputs, with how to answer where there are choices."""
        given = str(self._config["doc_to_text"])
        column = not is_template(given) and (given in self._columns or not self._columns)
        text = f"{{{{ {reference(given)} }}}}" if column else over_inputs(given)
        if not self._chooses:
            return text
        return text + lettered(self._choices_input())

    def _hand_over(self, docs: Iterable[tuple[str, Row]], sink: Sink, train: bool) -> int:
        count = 0
        for place, doc in docs:
            try:
                sink(self._item(doc, place, train), split="train" if train else "test")
                count += 1
            except Unusable as failure:
                what = f"a row {'for examples ' if train else ''}is left out: {failure}"
                self._found.ledger.tally(place, what)
        return count

    def _item(self, doc: Row, place: str, train: bool) -> dict[str, Any]:
        self._try_prompt(doc)
        inputs, own = {name: value for name, value in doc.items() if name != _OWN}, doc.get(_OWN)
        own = own if isinstance(own, dict) else {}
        if self._chooses:
            choices = self._choices(doc)
            key, answers = "label", [LETTERS[index] for index in self._indexes(doc, choices)]
            inputs[self._choices_input()] = choices
        else:
            texts = self._texts(doc)
            key, answers = "answer", [metrics.without(self._patterns, text) for text in texts]
            if train and answers != [text.strip() for text in texts]:
                what = "an example shows what the metric compares, not the whole of its target"
                self._found.ledger.tally(place, what)
            if self._numeric and any(number(text) is None for text in answers):
                raise Unusable("its target is no number, and those of the items are")
        slices, more = own.get("slice"), own.get("expectations")  # as our export writes them
        known = {name: own[name] for name in RESERVED if name in own}
        fields = item_fields({**(slices if isinstance(slices, dict) else {}), **known}, place, self._found.ledger)
        expectations = {**(more if isinstance(more, dict) else {}), key: one_or_all(answers)}
        return {**fields, "inputs": inputs, "expectations": expectations}

    def _said(self, key: str, doc: Row) -> Any:
        """What a setting says for a row: a column, a template filled in, or itself."""
        given = self._config.get(key)
        if not isinstance(given, str):
            return given
        if given == _TARGET and isinstance(doc.get(_OWN), dict):
            return doc[_OWN].get("target")
        if given in doc:
            return doc[given]
        if given in self._columns:
            raise Unusable(f"it has no column '{given[:60]}'")
        try:
            return rendered(given, doc)
        except Unusable as failure:
            raise Unusable(f"{key} cannot be filled in ({failure})") from None

    def _try_prompt(self, doc: Row) -> None:
        text = self._said("doc_to_text", doc)
        if not isinstance(text, str | int | float) or (isinstance(text, str) and not text.strip()):
            raise Unusable("doc_to_text gives no text")
        self._said("description", doc)

    def _choices(self, doc: Row) -> list[str]:
        given = self._said("doc_to_choice", doc)
        given = _listed(given.strip()) if isinstance(given, str) else given
        texts = choice_texts(list(given.values()) if isinstance(given, dict) else given)
        if texts is None or len(texts) < 2:
            raise Unusable(f"its choices are no list of 2 to {len(LETTERS)} texts")
        return texts

    def _targets(self, doc: Row) -> list[Any]:
        target, given = self._said("doc_to_target", doc), self._config["doc_to_target"]
        if isinstance(target, str) and given != _TARGET and given not in doc:
            target = _listed(target)  # a template that makes a list of accepted answers
        return target if isinstance(target, list) else [target]

    def _positions(self, doc: Row, choices: list[str]) -> list[int | None]:
        # The harness reads digits as the position of a choice before it reads them as its text.
        digits_first = self._config["doc_to_target"] not in doc or self._task.untyped
        return [position_of(target, choices, digits_first) for target in self._targets(doc)]

    def _indexes(self, doc: Row, choices: list[str]) -> list[int]:
        positions = self._positions(doc, choices)
        kept = [position for position in positions if position is not None]
        if not kept or len(kept) < len(positions):
            raise Unusable("doc_to_target names none of its choices")
        return list(dict.fromkeys(kept))

    def _texts(self, doc: Row) -> list[str]:
        """A row's targets as texts."""
        targets, given = self._targets(doc), self._config.get("doc_to_choice")
        if given is not None and not isinstance(given, Function):
            choices = self._choices(doc)
            positions = self._positions(doc, choices)
            targets = [each if at is None else choices[at] for each, at in zip(targets, positions, strict=True)]
        texts = [scalar_text(each) or "" for each in targets]
        if not texts or not all(text.strip() for text in texts):
            raise Unusable("doc_to_target gives no text")
        return texts

    def _examples(self, split: str, sink: Sink) -> int:
        """Hand over the rows that examples are taken from; how many of them the prompt shows."""
        settings, lose = self._config.get("fewshot_config"), self._task.lose
        name, training, shots = self._task.fewshot_split(), self._config.get("training_split"), self._task.shots
        if training and name != training:
            lose("training_split", f"training_split '{str(training)[:60]}' is not read")
        samples = settings.get("samples") if isinstance(settings, dict) else None
        if name is not None and name != split:
            docs = self._task.docs(name, self._found)
        elif name is None and isinstance(samples, list):
            place = self._task.place("fewshot_config")
            docs = ((place, sample) for sample in samples if isinstance(sample, dict))
        else:
            if shots:
                lose("num_fewshot", f"{shots} examples out of the items that are asked")
            return 0
        count = self._hand_over(docs, sink, train=True)
        if 0 < count < shots:
            lose("num_fewshot", f"{shots} examples; there are {count}")
        shown = min(shots, count)
        if shown and not (isinstance(settings, dict) and settings.get("sampler") == "first_n"):
            self._found.notes.append(f"the prompt shows the first {shown} examples; the harness draws for each item")
        return shown

    def _describe(self, split: str, examples: int) -> None:
        found, description, wanted = self._found, self._config.get("description"), self._options.scorer
        messages = [{"role": "user", "content": self._prompt()}]
        if isinstance(description, str) and description.strip():
            messages.insert(0, {"role": "system", "content": over_inputs(description)})
            found.notes.append("the description is the system message")
        scorers = (
            [{"type": "label"}] if self._chooses else metrics.scorers_of(self._metrics, self._filters, self._numeric)
        )
        if wanted and scorers[0]["type"] != wanted:
            scorers = [{"type": wanted}]
        given = self._config.get("generation_kwargs")
        lose = partial(self._task.lose, "generation_kwargs")
        generation = metrics.read_generation(given, lose) if isinstance(given, dict) else {}
        found.spec |= {
            "variants": {"default": {"messages": messages, **({"examples": examples} if examples else {})}},
            **({"generation": generation} if generation else {}),
            "output": {"labels": labels_for(self._longest)} if self._chooses else {"text": True},
            "scorers": scorers,
            "accept": {"min_score": 0.5 if scorers[0]["type"] == "rouge" else 1.0},
        }
        how = "the harness compares the choices' likelihoods; here the model is asked for its choice"
        lost = "none of its metrics has a scorer here: exact_match stands for them"
        for there, note in (
            (True, f"task {metrics.named(self._config.get('task'))}"),
            (True, f"the items are the rows of split '{split[:60]}'; all columns are inputs, also the answer's"),
            (self._chooses, "the choices are listed with letters, and how to answer is added to the prompt"),
            (self._chooses, how),
            (not self._chooses and not self._metrics, lost if self._config.get("metric_list") else _NO_METRIC),
            (not self._chooses and "stop" not in generation, _NO_UNTIL),
            (self._numeric, _AS_NUMBERS),
            (len(scorers) > 1, f"of {len(scorers)} metrics and filters {_FIRST}"),
        ):
            if there:
                found.notes.append(note)


def _listed(text: str) -> Any:
    """A filled-in template; a list where it reads as one, in JSON's or Python's notation."""
    if text[:1] != "[" or text[-1:] != "]" or len(text) > _LONGEST_LIST:
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, list):
            return found
    return text


# Export


class _Writer:
    """Makes a task of an eval set, and rows of its items."""

    def __init__(self, evalset: EvalSet, ledger: Ledger) -> None:
        self._evalset, self._ledger = evalset, ledger
        self._place = where(evalset.path / "evalset.yaml")
        self._name = chosen_variant(evalset, ledger)
        self._main = next((scorer for scorer in evalset.scorers if scorer.weight), evalset.scorers[0])
        self._choices = ""  # the input with an item's choices, where they are asked for by letter
        self._prompt = ""  # the column with the prompt filled in, where no template can say it
        self._description, self._text = self._templates()

    def write(self, target: Path) -> None:
        evalset, stem = self._evalset, target.stem
        config = self._config(stem)
        write_objects(target.with_name(f"{stem}.jsonl"), map(self._row, evalset.items))
        if evalset.train:
            write_objects(target.with_name(f"{stem}.train.jsonl"), map(self._row, evalset.train))
        header = f"# Run in this file's folder: lm_eval --include_path . --tasks {evalset.name}\n"
        write_atomic(target, header + dump_yaml(config))

    def _templates(self) -> tuple[str, str]:
        """The description and doc_to_text."""
        *before, last = self._evalset.spec.variants[self._name].messages
        system = before[0] if before else Message(role="system", content="")
        if len(before) < 2 and isinstance(system, Message) and system.role == "system" and isinstance(last, Message):
            text = over_bare_names(self._without_choices(last.content))
            description = over_bare_names(system.content)
            if text is not None and description is not None:
                return description, text
        self._choices = ""
        names = {name for item in self._evalset.items for name in item.inputs}
        self._prompt = "prompt" if "prompt" not in names else "rendered_prompt"
        what = f"variant '{self._name}' does more than fill in inputs: column '{self._prompt}' has it filled in"
        self._ledger.add(self._place, what)
        return "", f"{{{{{self._prompt}}}}}"

    def _without_choices(self, text: str) -> str:
        """A prompt without how its choices are listed; they become the task's."""
        for name in self._evalset.items[0].inputs if self._main.type == "label" else ():
            listed = [choice_texts(item.inputs.get(name)) for item in self._evalset.items]
            if text.endswith(lettered(name)) and all(listed):
                self._choices = name
                return text.removesuffix(lettered(name))
        return text

    def _config(self, stem: str) -> dict[str, Any]:
        """The task's settings."""
        evalset, spec = self._evalset, self._evalset.spec
        train = {"train": f"{stem}.train.jsonl"} if evalset.train else {}
        examples = spec.variants[self._name].examples
        output, lose = spec.output, partial(self._ledger.add, self._place)
        longest = max(len(item.inputs[self._choices]) for item in evalset.items) if self._choices else 0
        other_labels = output.labels is not None and output.labels != (labels_for(longest) if longest else None)
        others = [each.type for each in evalset.scorers if self._choices and each is not self._main]
        aliases = self._choices and any(getattr(each, "aliases", None) for each in evalset.scorers)
        for there, what in (
            (others, f"scorers {', '.join(others)}: the harness compares which choice is taken"),
            (aliases, "aliases of labels"),
            (other_labels, "output.labels: the answer is compared as text"),
            (output.json_schema is not None, "output.json_schema: the target is the expected JSON as text"),
            (spec.accept.min_score != (0.5 if self._main.type == "rouge" else 1.0), "accept.min_score"),
        ):
            if there:
                lose(what)
        config = {
            "task": evalset.name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": f"{stem}.jsonl", **train}},
            "test_split": "test",
            "fewshot_split": "train" if train else None,
            "output_type": "multiple_choice" if self._choices else "generate_until",
            "description": self._description or None,
            "doc_to_text": self._text,
            "doc_to_target": _TARGET,
            "doc_to_choice": self._choices or None,
            **({"metric_list": [{"metric": "acc"}]} if self._choices else metrics.metrics_of(evalset.scorers, lose)),
            "generation_kwargs": metrics.generation_of(spec.generation, lose),
            "num_fewshot": examples or None,
            "fewshot_config": {"sampler": "first_n"} if examples else None,
        }
        return {key: value for key, value in config.items() if value is not None}

    def _row(self, item: Item) -> dict[str, Any]:
        """An item as a row of data."""
        metadata = metadata_of(item, where(self._evalset.path / "items.jsonl"), self._ledger)
        fields = {key: metadata.pop(key) for key in RESERVED if key in metadata}
        texts, key = target_of(self._evalset, item, self._ledger)
        whole = key if key == ("label" if self._choices else "answer") else None
        rest = {name: value for name, value in item.expectations.items() if name != whole}
        own = {
            **fields,
            **({"slice": metadata} if metadata else {}),
            "target": one_or_all([self._position(text) for text in texts]),
            **({"expectations": rest} if rest else {}),
        }
        filled: dict[str, Any] = {}
        if self._prompt:
            turns = render(self._evalset, self._name, item).messages
            roles = [f"{turn['role']}: " if len(turns) > 1 else "" for turn in turns]
            shown = [role + turn["content"] for role, turn in zip(roles, turns, strict=True)]
            filled[self._prompt] = "\n\n".join(shown)
        return {**item.inputs, **filled, _OWN: own}

    def _position(self, value: str) -> str | int:
        """A letter as its place among the choices; a text as it is."""
        return LETTERS.index(value) if self._choices and value in LETTERS and len(value) == 1 else value
