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
from workbench.files import write_atomic, write_lines
from workbench.formats.base import Loss, where
from workbench.formats.lm_eval.scoring import SHOWN
from workbench.formats.shared.choices import LETTERS, choice_texts, labels_for, lettered
from workbench.formats.shared.export import chosen_variant, note_unwritten, target_of
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import RESERVED, hidden_slices, metadata_of
from workbench.formats.shared.structured import dump_yaml
from workbench.formats.shared.templates import over_bare_names
from workbench.prompts import render
from workbench.scorers import Scorer
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
    writer = _Writer(evalset)
    config = writer.config(target.stem)
    write_lines(target.with_suffix(".jsonl"), map(writer.row, evalset.items))
    if evalset.train:
        write_lines(target.with_suffix(".train.jsonl"), map(writer.row, evalset.train))
    header = f"# Run in this file's folder: lm_eval --include_path . --tasks {evalset.name}\n"
    write_atomic(target, header + dump_yaml(config))
    return writer.ledger.losses()


class _Writer:
    def __init__(self, evalset: EvalSet) -> None:
        self.ledger = Ledger()
        self._evalset = evalset
        self._spec, self._items = where(evalset.path / "evalset.yaml"), where(evalset.path / "items.jsonl")
        note_unwritten(evalset, self.ledger, kept=("generation", "train"))
        self._name = chosen_variant(evalset, self.ledger)
        self._variant = evalset.spec.variants[self._name]
        self._main = next((scorer for scorer in evalset.scorers if scorer.weight), evalset.scorers[0])
        self._choices = ""  # the input with an item's choices, where they are asked for by letter
        self._labels: list[str] = []  # the labels, where they are the choices of all items
        self._prompt = ""  # the column with the prompt filled in, where no template can say it
        self._description, self._text = self._templates()
        self._chooses = bool(self._choices or self._labels)

    def _templates(self) -> tuple[str, str]:
        *before, last = self._variant.messages
        system = before[0] if before else None
        plain = system is None or (len(before) == 1 and isinstance(system, Message) and system.role == "system")
        if plain and isinstance(last, Message):
            text = over_bare_names(self._without_choices(last.content))
            description = over_bare_names(system.content) if isinstance(system, Message) else ""
            if text is not None and description is not None:
                return description, text
        self._choices, self._labels = "", []
        names = {name for item in self._evalset.items for name in item.inputs}
        self._prompt = "prompt" if "prompt" not in names else "rendered_prompt"
        what = f"variant '{self._name}' does more than fill in inputs: column '{self._prompt}' has it filled in"
        self.ledger.add(self._spec, what)
        return "", f"{{{{{self._prompt}}}}}"

    def _without_choices(self, text: str) -> str:
        """A prompt without how its choices are listed; they become the task's."""
        labels = self._evalset.spec.output.labels or []
        if not labels or not isinstance(self._main, LabelScorer):
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

    def config(self, stem: str) -> dict[str, Any]:
        """The task's settings."""
        train = bool(self._evalset.train)
        files = {"test": f"{stem}.jsonl", **({"train": f"{stem}.train.jsonl"} if train else {})}
        config: dict[str, Any] = {
            "task": self._evalset.name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
            "test_split": "test",
            **({"fewshot_split": "train"} if train else {}),
            "output_type": "multiple_choice" if self._chooses else "generate_until",
            **({"description": self._description} if self._description else {}),
            "doc_to_text": self._text,
            "doc_to_target": TARGET,
            **({"doc_to_choice": self._choices or self._labels} if self._chooses else {}),
            **self._scoring(),
            "generation_kwargs": self._generation(),
        }
        if self._variant.examples:
            config |= {"num_fewshot": self._variant.examples, "fewshot_config": {"sampler": "first_n"}}
        output = self._evalset.spec.output
        longest = max(len(item.inputs[self._choices]) for item in self._evalset.items) if self._choices else 0
        if output.labels is not None and output.labels not in (self._labels, labels_for(longest) if longest else []):
            self.ledger.add(self._spec, "output.labels: the answer is compared as text")
        if output.json_schema is not None:
            self.ledger.add(self._spec, "output.json_schema: the target is the expected JSON as text")
        if self._evalset.spec.accept.min_score != (0.5 if isinstance(self._main, RougeScorer) else 1.0):
            self.ledger.add(self._spec, "accept.min_score")
        return config

    def _generation(self) -> dict[str, Any]:
        given = self._evalset.spec.generation
        if given.seed is not None:
            self.ledger.add(self._spec, "generation.seed")
        return {
            "until": given.stop,
            "max_gen_toks": given.max_tokens,
            "do_sample": given.temperature > 0,
            "temperature": given.temperature,
            **({"top_p": given.top_p} if given.top_p is not None else {}),
        }

    def _scoring(self) -> dict[str, Any]:
        metrics: dict[str, dict[str, Any]] = {}
        filters: dict[str, dict[str, Any]] = {}
        kept = [scorer for scorer in self._evalset.scorers if not _is_shown(scorer) and self._can_be_written(scorer)]
        if self._chooses:
            return {"metric_list": [{"metric": "acc"}]}
        for scorer in kept:
            metric = _metric(scorer)
            name = (scorer.name or "").removesuffix(f".{metric['metric']}")
            name = "" if name == metric["metric"] else name
            metrics.setdefault(json.dumps(metric), metric)
            steps = _steps(scorer)
            if name or steps:
                filters.setdefault(name, {"name": name or "extract", "filter": [*steps, {"function": "take_first"}]})
        if len(kept) > max(1, len(filters)) * len(metrics):
            self.ledger.add(self._spec, "scorers: the harness applies every metric to every filter")
        listed = list(metrics.values()) or [{"metric": "exact_match"}]
        return {**({"filter_list": list(filters.values())} if filters else {}), "metric_list": listed}

    def _can_be_written(self, scorer: Scorer) -> bool:
        """Whether a metric says what a scorer does, or nearly; how it differs is a loss."""
        name, types = (
            scorer.name or scorer.type,
            LabelScorer if self._chooses else ExactScorer | NumericScorer | RougeScorer,
        )
        differs = ""
        if not isinstance(scorer, types) or scorer.field is not None:
            self.ledger.add(self._spec, f"scorer '{name}': the harness compares answers by exact_match")
            return False
        if isinstance(scorer, LabelScorer) and scorer.aliases:
            differs = "its aliases"
        elif isinstance(scorer, NumericScorer) and (scorer.tolerance > 1e-9 or scorer.relative):
            differs = "its tolerance"
        elif isinstance(scorer, ExactScorer) and (
            set(scorer.ignore) - {"case", "punctuation"} or scorer.match != "whole"
        ):
            differs = "what it ignores, or where it looks"
        if differs:
            self.ledger.add(self._spec, f"scorer '{name}': {differs}")
        return True

    def row(self, item: Item) -> str:
        """An item as a row of data."""
        for name in hidden_slices(item):
            self.ledger.tally(self._items, f"slice '{name}': it is called like a field of the item")
        metadata = metadata_of(item)
        fields = {key: metadata.pop(key) for key in RESERVED if key in metadata}
        texts, key = target_of(self._evalset, item)
        if key is None and self._evalset.output_schema is None:
            self.ledger.tally(f"{self._items} {item.id}", "no expectation that is a text: the target is its whole JSON")
        targets = [self._position(text) for text in texts]
        shown = key == SHOWN
        whole = key if shown or key == ("label" if self._chooses else "answer") else None
        rest = {name: value for name, value in item.expectations.items() if name != whole}
        own = {
            **fields,
            **({"slice": metadata} if metadata else {}),
            "target": targets[0] if len(targets) == 1 else targets,
            **({SHOWN: True} if shown else {}),
            **({"expectations": rest} if rest else {}),
        }
        filled: dict[str, Any] = {}
        if self._prompt:
            turns = render(self._evalset, self._name, item).messages
            alone = len(turns) == 1
            texts = [turn["content"] if alone else f"{turn['role']}: {turn['content']}" for turn in turns]
            filled[self._prompt] = "\n\n".join(texts)
        return json.dumps({**item.inputs, **filled, OWN: own}, ensure_ascii=False)

    def _position(self, value: str) -> str | int:
        """A label as its place among the choices; a text as it is."""
        if self._labels and value in self._labels:
            return self._labels.index(value)
        return LETTERS.index(value) if self._choices and value in LETTERS and len(value) == 1 else value


def _is_shown(scorer: Scorer) -> bool:
    return isinstance(scorer, ExactScorer) and scorer.name == SHOWN and scorer.key == SHOWN and scorer.optional


def _metric(scorer: Scorer) -> dict[str, Any]:
    if isinstance(scorer, RougeScorer):
        return {"metric": scorer.metric}
    if isinstance(scorer, NumericScorer):
        return {"metric": "exact_match", "regexes_to_ignore": _NUMBERS}
    ignore = scorer.ignore if isinstance(scorer, ExactScorer) else []
    return {"metric": "exact_match", **{f"ignore_{name}": True for name in ("case", "punctuation") if name in ignore}}


def _steps(scorer: Any) -> list[dict[str, Any]]:
    if getattr(scorer, "extract", None) is None:
        return []
    last = {"group_select": -1} if scorer.take == "last" else {}
    return [{"function": "regex", "regex_pattern": scorer.extract, **last}]
