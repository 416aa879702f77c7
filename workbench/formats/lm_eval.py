"""lm-evaluation-harness tasks: a task's YAML over data beside it. Nothing that it names is imported or fetched.

done = import_evalset("task.yaml", "evalsets/capitals")       # doc_to_text is the prompt, doc_to_target the expectation
export_evalset(evalset, "lm_eval", "tasks/mine.yaml")         # and mine.jsonl beside it
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import InputError
from workbench.evalset import Message
from workbench.files import write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import csv_rows
from workbench.formats.shared.choices import LETTERS, choice_texts, labels_for, lettered, one_of, position_of
from workbench.formats.shared.export import chosen_variant, one_or_all, target_of, write_objects
from workbench.formats.shared.files import FILES_AT_MOST, folder_inside, head, inside, is_inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import RESERVED, item_fields, metadata_of, scalar_text
from workbench.formats.shared.rows import Row, Rows, open_rows
from workbench.formats.shared.splits import DATA, UNNAMED, by_split
from workbench.formats.shared.structured import Function, dump_yaml, read_structured
from workbench.formats.shared.templates import (
    bare_names,
    is_template,
    over_bare_names,
    over_inputs,
    reference,
    rendered,
)
from workbench.prompts import render
from workbench.scorers import Scorer
from workbench.scorers.regexes import PATTERN_TIMEOUT_S, checked_pattern, compiled
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
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_INCLUDED_AT_MOST = 20
_LABELS_AT_MOST = 100
_LONGEST_LIST = 100_000  # characters
_ROUGE = {"rouge": "rougeL", "rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeL", "rougeLsum": "rougeLsum"}
_METRIC_KEYS = {"metric", "aggregation", "higher_is_better", "hf_evaluate"}
_EXACT_KEYS = {"ignore_case", "ignore_punctuation", "regexes_to_ignore"}
_NUMBERS = [",", r"\$"]  # what exact_match ignores where references are numbers
_WHY_NOT = {
    **dict.fromkeys(("f1", "mcc", "brier_score", "matthews_corrcoef"), "a figure of the set"),
    **dict.fromkeys(("acc_norm", "acc_mutual_info", "acc_bytes", "bits_per_byte"), "it needs likelihoods"),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), "it needs likelihoods"),
}
_SETTINGS: dict[str, tuple[str, type, float, float]] = {
    **dict.fromkeys(("max_gen_toks", "max_new_tokens", "max_tokens"), ("max_tokens", int, 1, 10**9)),
    **{"temperature": ("temperature", float, 0, 2), "top_p": ("top_p", float, 1e-9, 1)},
}


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
        return _Reader(_Task(source), options).read(sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        if any(_OWN in item.inputs for item in (*evalset.items, *evalset.train)):
            raise InputError(
                f"{where(evalset.path)}: an input is called '{_OWN}', as the column for ids is. Rename it."
            )
        _Writer(evalset, ledger).write(target)


FORMATS.add("lm_eval", LmEval())


class _Task:
    """A task's settings and its data.

    Attributes:
        root: the folder that nothing is read outside of.
        config: its settings, with those of the files that it includes.
        used: the settings that something reads.
    """

    def __init__(self, source: Path) -> None:
        self.source, self.root, self.used = source, source.parent, set(_USED)
        self._places: dict[str, str] = {}
        self.config = self._load(source, 0)
        if isinstance(self.config.get("task"), list) or ("group" in self.config and "dataset_path" not in self.config):
            raise self._error("task", "a group of tasks. Import each of its tasks by itself.")
        self.files = self._split_files()

    def place(self, key: str) -> str:
        """Where a setting stands."""
        return self._places.get(key, where(self.source))

    def _error(self, key: str, problem: str) -> InputError:
        return InputError(f"{self.place(key)}: {problem}")

    def _load(self, path: Path, depth: int) -> dict[str, Any]:
        document = read_structured(path, python=True)
        if not isinstance(document.data, dict):
            raise InputError(f"{where(path, 1)}: must be a mapping of a task's settings.")
        own = {str(key): value for key, value in document.data.items()}
        places = {key: where(path, document.line((key,))) for key in own}
        found: dict[str, Any] = {}
        names = own.pop("include", None) or []
        for name in names if isinstance(names, list) else [names]:
            files = inside(self.root, str(name), path.parent)
            if not files or depth >= _INCLUDED_AT_MOST:
                missing = f"includes '{str(name)[:60]}', which is not in the folder. Copy it there."
                raise InputError(f"{places['include']}: {'files include each other. Mend them.' if files else missing}")
            found |= self._load(files[0], depth + 1)
        self._places |= places
        return found | own

    def _split_files(self) -> dict[str, list[Path]]:
        path, name = self.config.get("dataset_path"), self.config.get("dataset_name")
        if not isinstance(path, str) or isinstance(path, Function):
            raise self._error("dataset_path", "there is no dataset_path. Name json, csv, parquet or a folder.")
        if path in ("json", "csv", "parquet"):
            return self._named_files()
        folder = folder_inside(self.root, path)
        if folder is None:
            raise self._error(
                "dataset_path",
                f"'{path[:60]}' is no folder here, and nothing is fetched. Save the data beside the task: "
                "dataset_path: json, dataset_kwargs: {data_files: {test: FILE}}.",
            )
        inner = folder_inside(folder, name) if isinstance(name, str) else None
        self.used |= {"dataset_name"} if inner else set()
        return self._files_of(inner or folder)

    def _named_files(self) -> dict[str, list[Path]]:
        kwargs = self.config.get("dataset_kwargs")
        given = kwargs.get("data_files") if isinstance(kwargs, dict) else None
        found: dict[str, list[Path]] = {}
        for split, names in (given if isinstance(given, dict) else {"train": given}).items():
            for name in names if isinstance(names, list) else [names]:
                files = inside(self.root, name) if isinstance(name, str) else []
                if not files:
                    what = f"'{str(name)[:60]}' is no data file inside the task's folder. Put it there;"
                    raise self._error("dataset_kwargs", f"{what} nothing is fetched.")
                found.setdefault(str(split), []).extend(files)
        return found

    def _files_of(self, folder: Path) -> dict[str, list[Path]]:
        """A data folder's files by split, as their names say; all are `train` where none does."""
        paths = [path for path in sorted(folder.rglob("*"))[:FILES_AT_MOST] if path.suffix.lower() in DATA]
        files = [path for path in paths if path.is_file() and is_inside(path, self.root)]
        if not files:
            raise InputError(f"{where(folder)}: has no data (JSONL, JSON, CSV, Parquet).")
        found: dict[str, list[Path]] = {}
        for name, known in by_split(folder, files).items():
            if name != UNNAMED:
                found.setdefault(_SPLITS.get(name, name), []).extend(known)
        return found or {"train": files}

    def docs(self, split: str, found: Found) -> Iterator[tuple[str, Row]]:
        """A split's rows with their places."""
        name = split.partition("[")[0]
        if name not in self.files:
            what = f"there is no data for split '{split[:60]}'. There are: {', '.join(self.files)}."
            raise InputError(f"{where(self.source)}: {what}")
        for path in self.files[name]:
            rows = _csv(path) if path.suffix.lower() in (".csv", ".tsv") else open_rows(path, found)
            for line, row in rows.read(found.ledger):
                yield rows.place(line), row

    @property
    def untyped(self) -> bool:
        """Whether the data are CSV: numbers are texts here, and numbers for the harness."""
        return any(path.suffix.lower() in (".csv", ".tsv") for files in self.files.values() for path in files)


def _csv(path: Path) -> Rows:
    return Rows(path, lambda: csv_rows(path), text_only=True)  # to the harness the first line is always a header


# Metrics and filters


class _Part(NamedTuple):
    """A metric, or a filter: what a scorer takes of it."""

    name: str
    scorer: dict[str, Any]
    ignore: set[str]
    patterns: list[str]


class _Scoring:
    """A task's metrics and filters as scorers, and its generation settings; what has no scorer is a loss."""

    def __init__(self, task: _Task, found: Found) -> None:
        self.chooses = task.config.get("output_type") == "multiple_choice"
        self.numeric = False  # all references are numbers
        self._task, self._ledger = task, found.ledger
        self._filters = [each for each in map(self._filter, self._entries("filter_list")) if each]
        entries = self._entries("metric_list")
        self._metrics = [each for each in map(self._metric, entries) if each]
        if not self._metrics and not self.chooses:
            lost = "none of its metrics has a scorer here: exact_match stands for them"
            found.notes.append(lost if entries else "no metric is named: exact_match")
        self._metrics = self._metrics or [_Part("exact_match", {"type": "exact"}, set(), [])]
        self.patterns = self._metrics[0].patterns

    def _entries(self, key: str) -> list[Any]:
        given = self._task.config.get(key) or []
        return given if isinstance(given, list) else [given]

    def lose(self, key: str, what: str) -> None:
        """Write down what of a setting is lost."""
        self._ledger.add(self._task.place(key), what)

    def _metric(self, entry: Any) -> _Part | None:
        name = entry.get("metric") if isinstance(entry, dict) else None
        if not isinstance(name, str) or isinstance(name, Function):
            self.lose("metric_list", f"metric {_named(name)} is left out")
            return None
        about = f"of metric '{name[:60]}'"
        for key, value in entry.items():
            if key not in _METRIC_KEYS | (_EXACT_KEYS if name == "exact_match" else set()):
                self.lose("metric_list", f"'{str(key)[:60]}' {about}")
            elif key == "aggregation" and value not in (None, "mean", "nanmean"):
                self.lose("metric_list", f"aggregation {_named(value)} {about}: here it is the mean")
            elif key == "higher_is_better" and value is False:
                self.lose("metric_list", f"higher_is_better: false {about}: here more is better")
        if self.chooses and name in ("acc", "exact_match"):
            return None
        if not self.chooses and name in _ROUGE:
            return _Part(name, {"type": "rouge", "metric": _ROUGE[name]}, set(), [])
        if name != "exact_match":
            why = _WHY_NOT.get(name, "no scorer does this")
            self.lose("metric_list", f"metric '{name[:60]}' is left out: {why}")
            return None
        ignore = {key.removeprefix("ignore_") for key in ("ignore_case", "ignore_punctuation") if entry.get(key)}
        patterns = []
        given = entry.get("regexes_to_ignore") or []
        for pattern in given if isinstance(given, list) else [given]:
            try:
                patterns.append(checked_pattern(str(pattern)))
            except ValueError:
                self.lose("metric_list", "a pattern of regexes_to_ignore of a dialect that is not read here")
        return _Part(name, {"type": "exact"}, ignore, patterns)

    def _filter(self, entry: Any) -> _Part | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("filter"), list):
            self.lose("filter_list", "an entry of filter_list that has no list 'filter'")
            return None
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(entry.get("name") or "filter"))[:40]
        part = _Part(name, {}, set(), [])
        for key in entry:
            if key not in ("name", "filter"):
                self.lose("filter_list", f"'{str(key)[:60]}' of filter '{name}'")
        for step in entry["filter"]:
            try:
                _add_step(part, step)
            except Unusable as why:
                kind = step.get("function") if isinstance(step, dict) else step
                self.lose("filter_list", f"filter {_named(kind)} of '{name}' is left out: {why}")
        return part

    def reference(self, text: str) -> str:
        """A reference without what the metric ignores.

        Raises:
            Unusable: a pattern takes too long, or nothing is left.
        """
        try:
            for pattern in self.patterns:
                text = compiled(pattern).sub("", text, timeout=PATTERN_TIMEOUT_S)
        except TimeoutError:
            raise Unusable("a pattern of regexes_to_ignore takes too long on its target") from None
        if not text.strip():
            raise Unusable("of its target regexes_to_ignore leaves nothing")
        return text.strip() if self.patterns else text

    def scorers(self) -> list[dict[str, Any]]:
        """The scorers; the first one makes the score, the others are further figures."""
        if self.chooses:
            return [{"type": "label"}]
        found: list[dict[str, Any]] = []
        for filtered in self._filters or [_Part("", {}, set(), [])]:
            for metric in self._metrics:
                ignore = sorted(metric.ignore | filtered.ignore)
                spec = metric.scorer | ({"ignore": ignore} if ignore and metric.scorer["type"] == "exact" else {})
                if self.numeric and spec["type"] == "exact":
                    spec = {"type": "numeric"}
                parts = [filtered.name, *([metric.name] if len(self._metrics) > 1 else [])]
                name = base = ".".join(filter(None, parts))
                while any(name and name == other.get("name") for other in found):
                    name = f"{base}_{len(found) + 1}"
                more = ({"name": name} if name else {}) | ({"weight": 0} if found else {})
                found.append({**spec, **filtered.scorer, **more})
        return found

    def generation(self) -> dict[str, Any]:
        """How an answer is generated, as far as the task says."""
        given = self._task.config.get("generation_kwargs")
        if not isinstance(given, dict):
            return {}
        until = given.get("until")
        stops = [str(each) for each in (until if isinstance(until, list) else [until]) if each not in (None, "")]
        found: dict[str, Any] = {"stop": stops} if stops else {}
        for key, value in given.items():
            if key in ("until", "do_sample"):
                continue
            name, kind, least, most = _SETTINGS.get(key, ("", float, 0, 0))
            real = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
            if name and real and least <= value <= most:
                found[name] = kind(value)
            else:
                self.lose("generation_kwargs", f"'{str(key)[:60]}' of generation_kwargs")
        if given.get("do_sample") is False:
            found["temperature"] = 0.0
        elif given.get("do_sample") is True:
            found.setdefault("temperature", 1.0)
        return found


def _add_step(part: _Part, step: Any) -> None:
    """Add a step to a filter.

    Raises:
        Unusable: nothing here does what it does, or not all of it.
    """
    if not isinstance(step, dict):
        raise Unusable("it is no mapping")
    kind, group = step.get("function"), step.get("group_select", 0)
    if kind in ("take_first", "remove_whitespace"):
        return  # there is one answer, and space around it never counts
    if kind in ("lowercase", "uppercase"):
        part.ignore.add("case")
        return
    if kind != "regex" or isinstance(kind, Function):
        raise Unusable("nothing here does this")
    if part.scorer:
        raise Unusable("a pattern is looked for already")
    if group not in (0, -1):
        raise Unusable(f"of several matches the first or the last can count, not number {str(group)[:10]}")
    try:
        part.scorer["extract"] = checked_pattern(str(step.get("regex_pattern", r"#### (\-?[0-9\.\,]+)")))
    except ValueError:
        raise Unusable("a pattern of a dialect that is not read here") from None
    if group == -1:
        part.scorer["take"] = "last"
    rest = [str(key) for key in step if key not in ("function", "regex_pattern", "group_select")]
    if rest and (rest != ["fallback"] or step["fallback"] != "[invalid]"):
        raise Unusable(f"only '{', '.join(rest)[:60]}' of it: without a match an answer is wrong")


def _named(value: Any) -> str:
    if isinstance(value, Function):
        return f"of a Python function ({str(value)[:60]}), which is never imported,"
    return f"'{str(value)[:60]}'"


# Items


class _Reader:
    """Goes through the rows twice: for what they decide together, and for the items.

    Attributes:
        fixed: the choices are labels: the same for all rows, and said by the task itself.
    """

    def __init__(self, task: _Task, options: Options) -> None:
        self.fixed = False
        self._task, self._config, self._options = task, task.config, options
        self._found = Found()
        self._scoring = _Scoring(task, self._found)
        self._columns: dict[str, bool] = {}  # by name, whether it is the choices in every row
        self._labels: list[str] = []  # the choices of the first row
        self._longest = 0

    def read(self, sink: Sink) -> Found:
        found, lose = self._found, self._scoring.lose
        if problem := self._problem():
            found.ledger = Ledger()  # why there is nothing comes first
            found.ledger.add(self._task.place(problem[0]), problem[1])
            return found
        self._note_unused()
        split = self._eval_split()
        self._survey(split)
        if self._scoring.patterns and not self._scoring.numeric:
            what = f"regexes_to_ignore ({len(self._scoring.patterns)}): taken out of the references, but not out of"
            lose("metric_list", f"{what} answers")
        self._hand_over(self._task.docs(split, found), sink, train=False)
        self._describe(split, self._examples(split, sink))
        return found

    def _problem(self) -> tuple[str, str] | None:
        """Why no question can be asked, by the setting that is in the way."""
        kind = str(self._config.get("output_type") or "generate_until")
        if kind not in ("generate_until", "multiple_choice"):
            return "output_type", f"output_type '{kind[:60]}': no question is asked, only likelihoods are measured"
        for key in ("doc_to_text", "doc_to_target", *(["doc_to_choice"] if self._scoring.chooses else [])):
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
            if key in self._task.used or value in (None, [], {}, ""):
                continue
            what = "is not used"
            if isinstance(value, Function):
                what = f"is a Python function ({value[:60]}), which is never imported"
            elif key in ("target_delimiter", "fewshot_delimiter"):
                what = "is not used: in a chat the turns are apart"
            self._scoring.lose(key, f"'{key}' {what}")
        for key, known in (("dataset_kwargs", {"data_files"}), ("fewshot_config", {"sampler", "samples"})):
            given = self._config.get(key)
            for name in given if isinstance(given, dict) else ():
                if name not in known:
                    self._scoring.lose(key, f"'{str(name)[:60]}' of {key}")

    def _eval_split(self) -> str:
        test, validation = self._config.get("test_split"), self._config.get("validation_split")
        if not test and not validation:
            raise InputError(f"{where(self._task.source)}: names no test_split or validation_split. Name one.")
        if test and validation and validation != self._fewshot_split():
            self._scoring.lose("validation_split", f"validation_split '{str(validation)[:60]}' is not read")
        return str(test or validation)

    def _survey(self, split: str) -> None:
        """Go through all rows once."""
        seen = Found()
        varied, numbers = False, []
        for _, doc in self._task.docs(split, seen):
            try:
                self._columns = self._columns or dict.fromkeys(doc, True)
                self._try_prompt(doc)
                if self._scoring.chooses:
                    choices = self._choices(doc)
                    self._indexes(doc, choices)
                    self._labels = self._labels or choices
                    varied = varied or choices != self._labels
                    self._longest = max(self._longest, len(choices))
                    for name, value in doc.items():
                        self._columns[name] = self._columns.get(name, True) and value == choices
                else:
                    numbers += [number(self._scoring.reference(text)) is not None for text in self._texts(doc)]
            except Unusable:
                continue
        self._scoring.numeric = bool(self._scoring.patterns and numbers) and all(numbers)
        distinct = {label.strip().casefold() for label in self._labels} - {""}
        labels = not varied and 2 <= len(self._labels) == len(distinct) <= _LABELS_AT_MOST
        self.fixed = labels and _is_fixed(self._config.get("doc_to_choice"))

    def _choices_input(self) -> str:
        """The input that holds an item's choices: a column of its own, or a new one."""
        same = sorted((name for name, kept in self._columns.items() if kept), key=lambda name: name != "choices")
        return same[0] if same else "choices" if "choices" not in self._columns else "answer_choices"

    def _prompt(self) -> str:
        """The prompt's template over inputs, with how to answer where there are choices."""
        given = str(self._config["doc_to_text"])
        column = not is_template(given) and (given in self._columns or not self._columns)
        text = f"{{{{ {reference(given)} }}}}" if column else over_inputs(given)
        if not self._scoring.chooses:
            return text
        return text + (one_of(self._all_labels()) if self.fixed else lettered(self._choices_input()))

    def _all_labels(self) -> list[str]:
        return [choice.strip() for choice in self._labels] if self.fixed else labels_for(self._longest)

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
        if self._scoring.chooses:
            choices = self._choices(doc)
            names = [each.strip() for each in choices] if self.fixed else list(LETTERS)
            key, answers = "label", [names[index] for index in self._indexes(doc, choices)]
            inputs |= {} if self.fixed else {self._choices_input(): choices}
        else:
            texts = self._texts(doc)
            key, answers = "answer", list(map(self._scoring.reference, texts))
            if train and answers != [text.strip() for text in texts]:
                what = "an example shows what the metric compares, not the whole of its target"
                self._found.ledger.tally(place, what)
            if self._scoring.numeric and any(number(text) is None for text in answers):
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

    def _fewshot_split(self) -> str | None:
        given = self._config.get("fewshot_split")
        if not given and self._shots():
            given = self._config.get("training_split") or self._config.get("validation_split")
        return str(given) if given else None

    def _shots(self) -> int:
        count = self._config.get("num_fewshot")
        return count if isinstance(count, int) and count > 0 else 0

    def _examples(self, split: str, sink: Sink) -> int:
        """Hand over the rows that examples are taken from; how many of them the prompt shows."""
        settings, lose = self._config.get("fewshot_config"), self._scoring.lose
        name, training, shots = self._fewshot_split(), self._config.get("training_split"), self._shots()
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
        found, scoring, description = self._found, self._scoring, self._config.get("description")
        messages = [{"role": "user", "content": self._prompt()}]
        if isinstance(description, str) and description.strip():
            messages.insert(0, {"role": "system", "content": over_inputs(description)})
            found.notes.append("the description is the system message")
        scorers, generation, wanted = scoring.scorers(), scoring.generation(), self._options.scorer
        if wanted and scorers[0]["type"] != wanted:
            scorers = [{"type": wanted}]
        found.spec |= {
            "variants": {"default": {"messages": messages, **({"examples": examples} if examples else {})}},
            **({"generation": generation} if generation else {}),
            "output": {"labels": self._all_labels()} if scoring.chooses else {"text": True},
            "scorers": scorers,
            "accept": {"min_score": 0.5 if scorers[0]["type"] == "rouge" else 1.0},
        }
        if isinstance(self._config.get("task"), str):
            found.notes.append(f"task '{self._config['task'][:60]}'")
        found.notes.append(f"the items are the rows of split '{split[:60]}'; all columns are inputs, also the answer's")
        if scoring.chooses:
            how = "the task's choices are the labels" if self.fixed else "the choices are listed with letters"
            found.notes.append(f"{how}, and how to answer is added to the prompt")
            what = "the harness compares the choices' likelihoods; here the model is asked for its choice"
            found.notes.append(what)
        elif "stop" not in generation:
            what = "no 'until': the harness would end an answer at a blank line; here only its length ends it"
            found.notes.append(what)
        if scoring.numeric:
            what = "exact_match ignores patterns, and all references are numbers: they are compared as numbers"
            found.notes.append(what)
        if len(scorers) > 1:
            what = f"of {len(scorers)} metrics and filters the first makes the score, the others are further figures"
            found.notes.append(what)


def _is_fixed(given: Any) -> bool:
    """Whether a task says its choices itself, the same for all rows."""
    try:
        return isinstance(given, list | dict) or (is_template(str(given)) and not bare_names(str(given)))
    except Unusable:
        return False


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
        self._labels: list[str] = []  # the labels, where they are the choices of all items
        self._prompt = ""  # the column with the prompt filled in, where no template can say it
        self._description, self._text = self._templates()
        self._chooses = bool(self._choices or self._labels)

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
        self._choices, self._labels = "", []
        names = {name for item in self._evalset.items for name in item.inputs}
        self._prompt = "prompt" if "prompt" not in names else "rendered_prompt"
        what = f"variant '{self._name}' does more than fill in inputs: column '{self._prompt}' has it filled in"
        self._ledger.add(self._place, what)
        return "", f"{{{{{self._prompt}}}}}"

    def _without_choices(self, text: str) -> str:
        """A prompt without how its choices are listed; they become the task's."""
        labels = self._evalset.spec.output.labels or []
        if not labels or self._main.type != "label":
            return text
        if text.endswith(one_of(labels)):
            self._labels = labels
            return text.removesuffix(one_of(labels))
        for name in self._evalset.items[0].inputs:
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
        given, output = spec.generation, spec.output
        longest = max(len(item.inputs[self._choices]) for item in evalset.items) if self._choices else 0
        other_labels = output.labels is not None and output.labels not in (self._labels, labels_for(longest))
        for there, what in (
            (given.seed is not None, "generation.seed"),
            (other_labels, "output.labels: the answer is compared as text"),
            (output.json_schema is not None, "output.json_schema: the target is the expected JSON as text"),
            (spec.accept.min_score != (0.5 if self._main.type == "rouge" else 1.0), "accept.min_score"),
        ):
            if there:
                self._ledger.add(self._place, what)
        config = {
            "task": evalset.name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": f"{stem}.jsonl", **train}},
            "test_split": "test",
            "fewshot_split": "train" if train else None,
            "output_type": "multiple_choice" if self._chooses else "generate_until",
            "description": self._description or None,
            "doc_to_text": self._text,
            "doc_to_target": _TARGET,
            "doc_to_choice": self._choices or self._labels or None,
            **self._scoring(),
            "generation_kwargs": {
                "until": given.stop,
                "max_gen_toks": given.max_tokens,
                "do_sample": given.temperature > 0,
                "temperature": given.temperature,
                **({"top_p": given.top_p} if given.top_p is not None else {}),
            },
            "num_fewshot": examples or None,
            "fewshot_config": {"sampler": "first_n"} if examples else None,
        }
        return {key: value for key, value in config.items() if value is not None}

    def _scoring(self) -> dict[str, Any]:
        metrics: list[dict[str, Any]] = []
        filters: dict[str, dict[str, Any]] = {}
        count = 0
        for scorer in self._evalset.scorers:
            metric = self._metric(scorer)
            if metric is None:
                continue
            count += 1
            metrics += [] if metric in metrics else [metric]
            name = (scorer.name or "").removesuffix(metric["metric"]).removesuffix(".")
            pattern, last = getattr(scorer, "extract", None), getattr(scorer, "take", "first") == "last"
            step = {"function": "regex", "regex_pattern": pattern, **({"group_select": -1} if last else {})}
            if name or pattern:
                steps = [*([step] if pattern else []), {"function": "take_first"}]
                filters.setdefault(name, {"name": name or "extract", "filter": steps})
        if self._chooses:
            return {"metric_list": [{"metric": "acc"}]}
        if count > max(1, len(filters)) * len(metrics):
            self._ledger.add(self._place, "scorers: the harness applies every metric to every filter")
        listed = {"filter_list": list(filters.values())} if filters else {}
        return {**listed, "metric_list": metrics or [{"metric": "exact_match"}]}

    def _metric(self, scorer: Scorer) -> dict[str, Any] | None:
        """The metric that says what a scorer does, or nearly; how it differs is a loss."""
        kinds = ("label",) if self._chooses else ("exact", "numeric", "rouge")
        name, kind = scorer.name or scorer.type, scorer.type
        ignore = set(getattr(scorer, "ignore", ()))
        if kind not in kinds or getattr(scorer, "field", None) is not None:
            self._ledger.add(self._place, f"scorer '{name}': the harness compares answers by exact_match")
            return None
        inexact = kind == "numeric" and (getattr(scorer, "tolerance", 0) > 1e-9 or getattr(scorer, "relative", 0))
        for differs, what in (
            (getattr(scorer, "aliases", None), "its aliases"),
            (inexact, "its tolerance"),
            (ignore - {"case", "punctuation"}, "what it ignores"),
            (getattr(scorer, "match", "whole") != "whole", "where it looks"),
        ):
            if differs:
                self._ledger.add(self._place, f"scorer '{name}': {what}")
        if kind == "rouge":
            return {"metric": getattr(scorer, "metric", "rougeL")}
        if kind == "numeric":
            return {"metric": "exact_match", "regexes_to_ignore": _NUMBERS}
        kept = [name for name in ("case", "punctuation") if name in ignore]
        return {"metric": "exact_match", **{f"ignore_{name}": True for name in kept}}

    def _row(self, item: Item) -> dict[str, Any]:
        """An item as a row of data."""
        metadata = metadata_of(item, where(self._evalset.path / "items.jsonl"), self._ledger)
        fields = {key: metadata.pop(key) for key in RESERVED if key in metadata}
        texts, key = target_of(self._evalset, item, self._ledger)
        whole = key if key == ("label" if self._chooses else "answer") else None
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
        """A label as its place among the choices; a text as it is."""
        if self._labels and value in self._labels:
            return self._labels.index(value)
        return LETTERS.index(value) if self._choices and value in LETTERS and len(value) == 1 else value
