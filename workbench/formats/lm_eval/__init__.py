"""lm-evaluation-harness tasks: a task's YAML over data beside it. Nothing that it names is imported or fetched.

done = import_evalset("task.yaml", "evalsets/capitals")       # doc_to_text is the prompt, doc_to_target the expectation
export_evalset(evalset, "lm_eval", "tasks/mine.yaml")         # and mine.jsonl beside it

Here is the task as a whole; its parts, each with its way back, are `settings`, `rows` and `metrics`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.files import write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.lm_eval.metrics import read_patterns, read_scorers, written_scorers
from workbench.formats.lm_eval.rows import OWN, TARGET, RowReader, filled_prompt, without_choices, written_row
from workbench.formats.lm_eval.settings import Settings, named, read_generation, written_generation
from workbench.formats.shared.choices import labels_for, lettered
from workbench.formats.shared.export import chosen_variant, file_mode, main_scorer, target_of, write_objects
from workbench.formats.shared.files import head, is_inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.prompts import bare_turns
from workbench.formats.shared.rows import Row, open_rows
from workbench.formats.shared.splits import DATA, UNNAMED, by_split, named_files, visible
from workbench.formats.shared.structured import dump_yaml
from workbench.formats.shared.templates import bare_names, is_template, over_inputs, reference

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_APART = "\n\n"  # after the description: the harness puts the text right behind it
# A column of these only: the data loader of the harness makes times of them, which read otherwise.
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::?\d\d){0,2}(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?")
_MARKS = re.compile(
    r"^(task|group|include|dataset_path|dataset_kwargs|doc_to_text|doc_to_target|doc_to_choice|output_type|metric_list)\s*:",
    re.MULTILINE,
)


class LmEval(Format):
    """Tasks of the lm-evaluation-harness."""

    name = "lm_eval"
    about = "an lm-evaluation-harness task (YAML) over local data"
    written = ("a task is", ".yaml", ".yml")  # and its data beside it
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
        if any(OWN in item.inputs for item in evalset.items):
            what = f"an input is called '{OWN}', as the column for ids is. Rename it."
            raise InputError(f"{where(evalset.path)}: {what}")
        _write(evalset, target, ledger)


FORMATS.add("lm_eval", LmEval())


class _Reader:
    def __init__(self, source: Path, options: Options) -> None:
        self._options, self._found = options, Found()
        self._settings = Settings(source, self._found.ledger)
        self._settings.check()
        self._files = self._data(source.parent)
        patterns = [] if self._settings.chooses else read_patterns(self._settings, self._settings.lose)
        self._columns = set(next(self._docs(Ledger()), ("", {}))[1])  # of the first row
        self._rows = RowReader(self._settings, self._columns, patterns)

    def read(self, sink: Sink) -> Found:
        self._settings.note_unused()
        for place, doc in self._docs(self._found.ledger):
            try:
                sink(self._rows.item(doc, place, self._found.ledger), place=place)
            except Unusable as failure:
                self._found.ledger.tally(place, f"a row is left out: {failure}")
        self._describe()
        return self._found

    def _data(self, root: Path) -> dict[str, list[Path]]:
        """The data files by split."""
        path, kwargs = str(self._settings.get("dataset_path")), self._settings.get("dataset_kwargs")
        try:
            given = kwargs.get("data_files") if isinstance(kwargs, dict) else None
            found = named_files(root, given) if path in ("json", "csv", "parquet") else {}
        except Unusable as failure:
            raise self._settings.error("dataset_kwargs", f"{failure}.") from None
        folder = root / path
        if not found and path and "\0" not in path and is_inside(folder, root) and folder.is_dir():
            found = by_split(folder, (each for each in visible(folder) if each.suffix.lower() in DATA))
        if not found:
            what = f"dataset_path '{path[:60]}': no data here, and nothing is fetched. Save the data beside the task:"
            mend = "dataset_path: json, dataset_kwargs: {data_files: {test: FILE}}."
            raise self._settings.error("dataset_path", f"{what} {mend}")
        return {"train" if split == UNNAMED else split: files for split, files in found.items()}

    def _docs(self, ledger: Ledger) -> Iterator[tuple[str, Row]]:
        """The rows with their places. To the harness a CSV's first line is always a header."""
        name = self._settings.split.partition("[")[0]
        if name not in self._files:
            what = f"there is no data for split '{self._settings.split[:60]}'. There are: {', '.join(self._files)}."
            raise InputError(f"{where(self._settings.source)}: {what}")
        for path in self._files[name]:
            rows = open_rows(path, Found(), header=True)
            for line, row in rows.read(ledger):
                # What a short row of a CSV lacks is not there for a template either.
                yield (
                    rows.place(line),
                    {name: value for name, value in row.items() if value is not None or not rows.text_only},
                )

    def _describe(self) -> None:
        found, config, given = self._found, self._settings, str(self._settings["doc_to_text"])
        column = not is_template(given) and given in self._columns
        text = f"{{{{ {reference(given)} }}}}" if column else over_inputs(given)
        text += lettered(self._rows.choices_input()) if config.chooses else ""
        messages, description = [{"role": "user", "content": text}], config.get("description")
        if isinstance(description, str) and description.strip():
            messages.insert(0, {"role": "system", "content": over_inputs(description.removesuffix(_APART))})
            found.notes.append("the description is the system message")
        scorers = read_scorers(config, config.lose, config.chooses)
        if self._options.scorer and scorers[0]["type"] != self._options.scorer:
            kept = {key: value for key, value in scorers[0].items() if key in ("extract", "take", "name")}
            scorers = [{"type": self._options.scorer, **kept}]
        generation = read_generation(config)
        found.spec |= {
            "variants": {"default": {"messages": messages}},
            **({"generation": generation} if generation else {}),
            "output": {"labels": labels_for(self._rows.longest)} if config.chooses else {"text": True},
            "scorers": scorers,
            "accept": {"min_score": 0.5 if scorers[0]["type"] == "rouge" else 1.0},
        }
        found.notes += [
            f"task {named(config.get('task'))}",
            f"the items are the rows of split '{self._settings.split[:60]}'; all columns are inputs, also the answer's",
        ]
        if config.chooses:
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
        "doc_to_target": TARGET,
        "doc_to_choice": choices or None,
        **({"metric_list": [{"metric": "acc"}]} if choices else written_scorers(evalset, lose)),
        "generation_kwargs": written_generation(spec.generation, lose),
    }
    filled = partial(filled_prompt, evalset, name, prompt, simple)
    rows = (written_row(evalset, item, choices, ledger) | filled(item) for item in evalset.items)
    write_objects(target.with_name(f"{target.stem}.jsonl"), rows, file_mode(evalset))
    header = f"# Run in this file's folder: lm_eval --include_path . --tasks {evalset.name}\n"
    write_atomic(target, header + dump_yaml({key: value for key, value in config.items() if value is not None}))


def _dated(evalset: EvalSet, turns: list[dict[str, str]]) -> str:
    """An input that the prompt shows and that is a date in all items; empty where there is none."""
    names: set[str] = set().union(*(bare_names(turn["content"]) for turn in turns))
    values = {name: [item.inputs.get(name) for item in evalset.items] for name in sorted(names)}
    return next((name for name, given in values.items() if all(_TIME.fullmatch(str(each)) for each in given)), "")
