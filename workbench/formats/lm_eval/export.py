"""An eval set as a task of the lm-evaluation-harness: a YAML file, and its data as JSONL beside it.

losses = write(evalset, Path("tasks/mine.yaml"))      # also tasks/mine.jsonl, and mine.train.jsonl for examples
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.evalset import EvalSet, Item, Message
from workbench.files import write_atomic
from workbench.formats.shared.choices import LETTERS, choice_texts, labels_for, lettered
from workbench.formats.shared.unwritten import note_unwritten
from workbench.formats.shared.ledger import Ledger
from workbench.formats.lm_eval.scoring import SHOWN
from workbench.formats.shared.metadata import RESERVED, hidden_slices, metadata_of, scalar_text
from workbench.formats.shared.files import dump_yaml, write_lines
from workbench.formats.shared.templates import over_bare_names
from workbench.formats.base import Loss, where
from workbench.prompts import reference_answer, render
from workbench.scorers import FieldScorer, Scorer
from workbench.scorers.exact import ExactScorer
from workbench.scorers.label import LabelScorer
from workbench.scorers.numeric import NumericScorer
from workbench.scorers.rouge import RougeScorer

OWN = "workbench"  # the column with what is no input: id, slice, cluster, sensitivity, target
TARGET = "{{workbench.target}}"
_NUMBERS = [",", r"\$"]  # what exact_match ignores where references are numbers


def fixed(labels: Sequence[str]) -> str:
    """What a template says after a question whose answer is one of the same few labels."""
    listed = f"\n\nAnswer with one of: {', '.join(labels)}."
    return f"{{% raw %}}{listed}{{% endraw %}}" if "{" in listed else listed


def write(evalset: EvalSet, target: Path) -> list[Loss]:
    """Write a task and its data.

    Raises:
        InputError: it cannot be written there, or an input has the name of our own column.
    """
    if any(OWN in item.inputs for item in (*evalset.items, *evalset.train)):
        raise InputError(f"{where(evalset.path)}: an input is called '{OWN}', as the column for ids is. Rename it.")
    ledger = Ledger()
    note_unwritten(evalset, ledger, kept=("generation", "train"))
    writer = _Writer(evalset, ledger, target)
    config = writer.config()
    write_lines(target.with_suffix(".jsonl"), map(writer.row, evalset.items))
    if evalset.train:
        write_lines(target.with_suffix(".train.jsonl"), map(writer.row, evalset.train))
    header = f"# Run in this file's folder: lm_eval --include_path . --tasks {evalset.name}\n"
    write_atomic(target, header + dump_yaml(config))
    return ledger.losses()


class _Writer:
    def __init__(self, evalset: EvalSet, ledger: Ledger, target: Path) -> None:
        self._evalset, self._ledger, self._target = evalset, ledger, target
        self._spec, self._items = where(evalset.path / "evalset.yaml"), where(evalset.path / "items.jsonl")
        variants = evalset.spec.variants
        self._name = "default" if "default" in variants else next(iter(variants))
        self._variant = variants[self._name]
        self._choices = ""  # the input with an item's choices, where they are asked for by letter
        self._labels: list[str] = []  # the labels, where they are the choices of all items
        self._prompt = ""  # the column with the prompt filled in, where no template can say it
        self._description, self._text = self._templates()
        own = [scorer for scorer in evalset.scorers if not _is_shown(scorer)]
        self._scorers = [scorer for scorer in own if self._can_be_written(scorer)]
        for name in variants:
            if name != self._name:
                ledger.add(self._spec, f"variant '{name}': a task has one prompt, that of '{self._name}'")

    # The prompt

    def _templates(self) -> tuple[str, str]:
        messages = self._variant.messages
        *before, last = messages
        system = before[0] if len(before) == 1 else None
        plain = isinstance(last, Message) and (not before or (isinstance(system, Message) and system.role == "system"))
        if plain and isinstance(last, Message):
            text = self._without_choices(last.content)
            bare = over_bare_names(text)
            description = over_bare_names(system.content) if isinstance(system, Message) else ""
            if bare is not None and description is not None:
                return description, bare
        self._choices, self._labels = "", []
        names = {name for item in self._evalset.items for name in item.inputs}
        self._prompt = "prompt" if "prompt" not in names else "rendered_prompt"
        what = f"variant '{self._name}' does more than fill in inputs: column '{self._prompt}' has it filled in"
        self._ledger.add(self._spec, what)
        return "", f"{{{{{self._prompt}}}}}"

    def _without_choices(self, text: str) -> str:
        """A prompt without how its choices are listed; they become the task's."""
        labels = self._evalset.spec.output.labels or []
        if not labels or not isinstance(self._main(), LabelScorer):
            return text
        if text.endswith(fixed(labels)):
            self._labels = labels
            return text.removesuffix(fixed(labels))
        for name in self._evalset.items[0].inputs:
            listed = [choice_texts(item.inputs.get(name)) for item in self._evalset.items]
            if text.endswith(lettered(name)) and all(listed):
                self._choices = name
                return text.removesuffix(lettered(name))
        return text

    def _main(self) -> Scorer:
        return next((scorer for scorer in self._evalset.scorers if scorer.weight), self._evalset.scorers[0])

    # The task

    def config(self) -> dict[str, Any]:
        stem = self._target.stem
        files = {"test": f"{stem}.jsonl", **({"train": f"{stem}.train.jsonl"} if self._evalset.train else {})}
        config: dict[str, Any] = {
            "task": self._evalset.name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
            "test_split": "test",
            **({"fewshot_split": "train"} if self._evalset.train else {}),
            "output_type": self._output_type(),
            **({"description": self._description} if self._description else {}),
            "doc_to_text": self._text,
            "doc_to_target": TARGET,
        }
        if self._choices or self._labels:
            config["doc_to_choice"] = self._choices or self._labels
        config |= self._scoring()
        config["generation_kwargs"] = self._generation()
        if self._variant.examples:
            config |= {"num_fewshot": self._variant.examples, "fewshot_config": {"sampler": "first_n"}}
        self._note_output()
        return config

    def _output_type(self) -> str:
        if self._choices or self._labels:
            return "multiple_choice"
        main = self._main()
        return "loglikelihood" if isinstance(main, ExactScorer) and main.match == "begins" else "generate_until"

    def _note_output(self) -> None:
        output = self._evalset.spec.output
        longest = (
            max((len(item.inputs[self._choices]) for item in self._evalset.items), default=0) if self._choices else 0
        )
        if output.labels is not None and output.labels not in (self._labels, labels_for(longest) if longest else []):
            self._ledger.add(self._spec, "output.labels: the answer is compared as text")
        if output.json_schema is not None:
            self._ledger.add(self._spec, "output.json_schema: the target is the expected JSON as text")
        implied = 0.5 if isinstance(self._main(), RougeScorer) else 1.0
        if self._evalset.spec.accept.min_score != implied:
            self._ledger.add(self._spec, "accept.min_score")

    def _generation(self) -> dict[str, Any]:
        given = self._evalset.spec.generation
        if given.seed is not None:
            self._ledger.add(self._spec, "generation.seed")
        return {
            "until": given.stop,
            "max_gen_toks": given.max_tokens,
            "do_sample": given.temperature > 0,
            "temperature": given.temperature,
            **({"top_p": given.top_p} if given.top_p is not None else {}),
        }

    # Scorers

    def _can_be_written(self, scorer: Scorer) -> bool:
        name = scorer.name or scorer.type
        if self._choices or self._labels:
            fits = isinstance(scorer, LabelScorer) and scorer.field is None
        else:
            fits = isinstance(scorer, ExactScorer | NumericScorer | RougeScorer) and scorer.field is None
        if not fits:
            self._ledger.add(self._spec, f"scorer '{name}': the harness compares answers by exact_match")
        elif isinstance(scorer, LabelScorer) and scorer.aliases:
            self._ledger.add(self._spec, f"aliases of scorer '{name}'")
        elif isinstance(scorer, NumericScorer) and (scorer.tolerance > 1e-9 or scorer.relative):
            self._ledger.add(self._spec, f"tolerance of scorer '{name}'")
        elif isinstance(scorer, ExactScorer) and (
            set(scorer.ignore) - {"case", "punctuation"} or scorer.match == "ends"
        ):
            self._ledger.add(self._spec, f"scorer '{name}': what it ignores, or where it looks")
        return fits

    def _scoring(self) -> dict[str, Any]:
        if self._choices or self._labels:
            return {"metric_list": [{"metric": "acc"}]}
        if self._output_type() == "loglikelihood":
            return {"metric_list": [{"metric": "acc"}]}
        metrics: dict[str, dict[str, Any]] = {}
        filters: dict[str, dict[str, Any]] = {}
        for scorer in self._scorers:
            metric = _metric(scorer)
            name = (scorer.name or "").removesuffix(f".{metric['metric']}")
            metrics.setdefault(json.dumps(metric), metric)
            if isinstance(scorer, FieldScorer) and name and name != metric["metric"]:
                filters.setdefault(name, {"name": name, "filter": [*_steps(scorer), {"function": "take_first"}]})
            elif isinstance(scorer, FieldScorer) and scorer.extract:
                filters.setdefault("", {"name": "extract", "filter": [*_steps(scorer), {"function": "take_first"}]})
        if len(self._scorers) > max(1, len(filters)) * len(metrics):
            self._ledger.add(self._spec, "scorers: the harness applies every metric to every filter")
        listed = list(metrics.values()) or [{"metric": "exact_match"}]
        return {**({"filter_list": list(filters.values())} if filters else {}), "metric_list": listed}

    # Rows

    def row(self, item: Item) -> str:
        """An item as a row of data."""
        for name in hidden_slices(item):
            self._ledger.tally(self._items, f"slice '{name}': it is called like a field of the item")
        metadata = metadata_of(item)
        fields: dict[str, Any] = {key: metadata[key] for key in RESERVED if key in metadata}
        slices = {key: value for key, value in item.slice.items() if key not in fields}
        target, key = self._expected(item)
        rest = {name: value for name, value in item.expectations.items() if name != key}
        own: dict[str, Any] = {**fields, **({"slice": slices} if slices else {}), "target": target}
        own |= {SHOWN: True} if key == SHOWN else {}
        if rest:
            own["expectations"] = rest
        filled: dict[str, Any] = {}
        if self._prompt:
            turns = render(self._evalset, self._name, item).messages
            alone = len(turns) == 1
            filled[self._prompt] = "\n\n".join(
                turn["content"] if alone else f"{turn['role']}: {turn['content']}" for turn in turns
            )
        return json.dumps({**item.inputs, **filled, OWN: own}, ensure_ascii=False)

    def _expected(self, item: Item) -> tuple[Any, str | None]:
        """A row's target, and the expectation that it says whole."""
        if self._evalset.output_schema is not None:
            return reference_answer(self._evalset, item), None
        for scorer in self._evalset.scorers:
            if not isinstance(scorer, FieldScorer) or not scorer.weight or not scorer.applies(item.expectations):
                continue
            values = [scalar_text(value) for value in scorer.accepted(item.expectations)]
            if not values or any(value is None for value in values):
                continue
            whole = "label" if self._choices or self._labels else "answer"
            key = scorer.expected_key if scorer.expected_key == whole or _is_shown(scorer) else None
            targets: list[Any] = [self._position(str(value), item) for value in values]
            return targets[0] if len(targets) == 1 else targets, key
        self._ledger.tally(f"{self._items} {item.id}", "no expectation that is a text: the target is its whole JSON")
        return json.dumps(item.expectations, ensure_ascii=False), None

    def _position(self, value: str, item: Item) -> str | int:
        """A label as its place among the choices; a text as it is."""
        if self._labels and value in self._labels:
            return self._labels.index(value)
        return LETTERS.index(value) if self._choices and value in LETTERS and len(value) == 1 else value


def _is_shown(scorer: Scorer) -> bool:
    return isinstance(scorer, ExactScorer) and scorer.name == SHOWN and scorer.key == SHOWN and scorer.optional


def _metric(scorer: Scorer) -> dict[str, Any]:
    if isinstance(scorer, RougeScorer):
        return {"metric": scorer.metric}
    metric: dict[str, Any] = {"metric": "exact_match"}
    if isinstance(scorer, NumericScorer):
        return {**metric, "regexes_to_ignore": _NUMBERS}
    for name in ("case", "punctuation"):
        if isinstance(scorer, ExactScorer) and name in scorer.ignore:
            metric[f"ignore_{name}"] = True
    return metric


def _steps(scorer: FieldScorer) -> list[dict[str, Any]]:
    if scorer.extract is None:
        return []
    last = {"group_select": -1} if scorer.take == "last" else {}
    return [{"function": "regex", "regex_pattern": scorer.extract, **last}]
