"""lm-evaluation-harness tasks: a task's YAML over data beside it. Nothing that it names is imported or fetched.

done = import_evalset("task.yaml", "evalsets/capitals")       # doc_to_text is the prompt, doc_to_target the expectation
export_evalset(evalset, "lm_eval", "tasks/mine.yaml")         # and mine.jsonl beside it
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, check_readable, where
from workbench.formats.lm_eval import export
from workbench.formats.lm_eval.docs import Docs
from workbench.formats.lm_eval.scoring import Scoring
from workbench.formats.lm_eval.task import Task
from workbench.formats.shared.files import head, refuse_mapping
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.structured import Function
from workbench.formats.shared.templates import over_inputs

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_USED = {
    *("task", "dataset_path", "dataset_kwargs", "test_split", "validation_split", "training_split", "fewshot_split"),
    *("num_fewshot", "fewshot_config", "doc_to_text", "doc_to_target", "doc_to_choice", "description", "output_type"),
    *("generation_kwargs", "filter_list", "metric_list"),
}
_MARKS = re.compile(
    r"^(task|group|include|dataset_path|dataset_kwargs|doc_to_text|doc_to_target|doc_to_choice|output_type|metric_list)\s*:",
    re.MULTILINE,
)


class LmEval(Format):
    """Tasks of the lm-evaluation-harness."""

    name = "lm_eval"
    about = "an lm-evaluation-harness task (YAML) over local data"
    suffix = ".yaml"

    def sniff(self, source: Path) -> float:
        if source.suffix.lower() in (".csv", ".tsv", ".jsonl", ".json", ".parquet"):
            return 0.0
        found = set(_MARKS.findall(head(source)))
        return 0.9 if found & {"doc_to_text", "dataset_path", "include"} and len(found) > 1 else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        check_readable(source)
        refuse_mapping(source, options, self.name)
        if source.is_dir():
            raise InputError(f"{where(source)}: a folder. Name the task's YAML file.")
        return _Reader(Task(source), options).read(sink)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        return export.write(evalset, target)


FORMATS.add("lm_eval", LmEval())


class _Reader:
    def __init__(self, task: Task, options: Options) -> None:
        self.task, self.config, self.options = task, task.config, options
        self.ledger = Ledger()
        self.scoring = Scoring(task, self.ledger)
        self.rows = Docs(task, self.scoring)

    def _lose(self, key: str, what: str) -> None:
        self.ledger.add(self.task.place(key), what)

    def read(self, sink: Sink) -> Found:
        self._note_unused()
        problem = self._problem()
        if problem is not None:  # why there is nothing comes first
            return Found({}, losses=[Loss(self.task.place(problem[0]), problem[1]), *self.ledger.losses()])
        split = self._eval_split()
        tables = self.task.rows(split)
        self.rows.survey(split)
        self.scoring.note_patterns()
        self._hand_over(self.task.docs(split, self.ledger), sink, train=False)
        spec = self._spec(self._examples(split, sink))
        losses = [*(loss for rows in tables for loss in rows.losses), *self.ledger.losses()]
        return Found(spec, None, losses, [*(note for rows in tables for note in rows.notes), *self._notes(split)])

    def _note_unused(self) -> None:
        for key, value in self.config.items():
            used = key in _USED or (key == "dataset_name" and self.task.uses_name)
            if used or value in (None, [], {}, ""):
                continue
            what = f"'{key}' is not used"
            if isinstance(value, Function):
                what = f"'{key}' is a Python function ({value[:60]}), which is never imported"
            elif key in ("target_delimiter", "fewshot_delimiter"):
                what = f"'{key}': in a chat the turns are apart"
            self._lose(key, what)
        kwargs = self.config.get("dataset_kwargs")
        for key in kwargs.keys() - {"data_files"} if isinstance(kwargs, dict) else ():
            self._lose("dataset_kwargs", f"'{str(key)[:60]}' of dataset_kwargs")

    def _problem(self) -> tuple[str, str] | None:
        """Why no question can be asked, by the setting that is in the way."""
        kind = str(self.config.get("output_type") or "generate_until")
        if kind not in ("generate_until", "multiple_choice"):
            return "output_type", f"output_type '{kind[:60]}': no question is asked, only likelihoods are measured"
        for key in ("doc_to_text", "doc_to_target", *(["doc_to_choice"] if self.scoring.chooses else [])):
            value = self.config.get(key)
            why = "is not there" if value is None else None
            if isinstance(value, Function):
                why = f"is a Python function ({value[:60]}), which is never imported"
            elif value is not None and key == "doc_to_text" and not isinstance(value, str):
                why = "is no template"
            if why:
                return key, f"'{key}' {why}; write a template or a column's name"
        try:
            self.rows.prompt()
        except Unusable as failure:
            return "doc_to_text", f"its template cannot be read ({failure})"
        return None

    def _eval_split(self) -> str:
        test, validation = self.config.get("test_split"), self.config.get("validation_split")
        if not test and not validation:
            raise InputError(f"{where(self.task.source)}: names no test_split or validation_split. Name one.")
        if test and validation and validation != self._fewshot_split():
            self._lose("validation_split", f"validation_split '{str(validation)[:60]}' is not read")
        return str(test or validation)

    def _spec(self, examples: int) -> dict[str, Any]:
        description, scoring = self.config.get("description"), self.scoring
        messages = [{"role": "user", "content": self.rows.prompt()}]
        if isinstance(description, str) and description.strip():
            messages.insert(0, {"role": "system", "content": over_inputs(description)})
        scorers, bar = scoring.scorers(), scoring.min_score()
        if self.options.scorer and scorers[0]["type"] != self.options.scorer:
            scorers, bar = [{"type": self.options.scorer}], 0.5 if self.options.scorer == "rouge" else 1.0
        return {
            "variants": {"default": {"messages": messages, **({"examples": examples} if examples else {})}},
            **({"generation": scoring.generation} if scoring.generation else {}),
            "output": {"labels": self.rows.labels()} if scoring.chooses else {"text": True},
            "scorers": scorers,
            "accept": {"min_score": bar},
        }

    def _fewshot_split(self) -> str | None:
        given = self.config.get("fewshot_split")
        if not given and self._shots():
            given = self.config.get("training_split") or self.config.get("validation_split")
        return str(given) if given else None

    def _shots(self) -> int:
        count = self.config.get("num_fewshot")
        return count if isinstance(count, int) and count > 0 else 0

    def _examples(self, split: str, sink: Sink) -> int:
        """Hand over the rows that examples are taken from; how many of them the prompt shows."""
        settings = self.config.get("fewshot_config")
        settings = settings if isinstance(settings, dict) else {}
        for key in settings.keys() - {"sampler", "samples"}:
            self._lose("fewshot_config", f"'{str(key)[:60]}' of fewshot_config")
        name, training, shots = self._fewshot_split(), self.config.get("training_split"), self._shots()
        if training and name != training:
            self._lose("training_split", f"training_split '{str(training)[:60]}' is not read")
        samples = settings.get("samples")
        if isinstance(samples, Function):
            self._lose("fewshot_config", f"samples of a Python function ({samples[:60]}), which is never imported")
        docs: Iterator[tuple[str, dict[str, Any]]] = iter(())
        if name is not None and name != split:
            docs = self.task.docs(name, self.ledger)
        elif name is None and isinstance(samples, list):
            place = self.task.place("fewshot_config")
            docs = ((place, sample) for sample in samples if isinstance(sample, dict))
        elif shots:
            self._lose("num_fewshot", f"{shots} examples out of the items that are asked")
        count = self._hand_over(docs, sink, train=True)
        if 0 < count < shots:
            self._lose("num_fewshot", f"{shots} examples; there are {count}")
        shown = min(shots, count)
        if shown and settings.get("sampler") != "first_n":
            self.scoring.notes.append(f"the prompt shows the first {shown} examples; the harness draws for each item")
        return shown

    def _hand_over(self, docs: Iterator[tuple[str, dict[str, Any]]], sink: Sink, train: bool) -> int:
        count = 0
        for place, doc in docs:
            try:
                sink(self.rows.item(doc, place, self.ledger, train), split="train" if train else "test")
                count += 1
            except Unusable as failure:
                self.ledger.tally(place, f"a row {'for examples ' if train else ''}is left out: {failure}")
        return count

    def _notes(self, split: str) -> list[str]:
        notes = [f"the items are the rows of split '{split[:60]}'; all columns are inputs, also the answer's"]
        if isinstance(self.config.get("task"), str):
            notes.insert(0, f"task '{self.config['task'][:60]}'")
        if self.scoring.chooses:
            how = "the task's choices are the labels" if self.rows.fixed else "the choices are listed with letters"
            notes.append(f"{how}, and how to answer is added to the prompt")
        elif "stop" not in self.scoring.generation:
            notes.append("no 'until': the harness would end an answer at a blank line; here only its length ends it")
        if self.config.get("description"):
            notes.append("the description is the system message")
        return notes + ([] if self.options.scorer else self.scoring.all_notes())
