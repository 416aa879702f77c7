"""lm-evaluation-harness tasks: a task's YAML over data beside it. Nothing that it names is imported or fetched.

done = import_evalset("task.yaml", "evalsets/capitals")       # doc_to_text is the prompt, doc_to_target the expectation
export_evalset(evalset, "lm_eval", "tasks/mine.yaml")         # and mine.jsonl beside it
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import InputError
from workbench.files import write_atomic
from workbench.formats.base import FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import written_list
from workbench.formats.shared.choices import LETTERS, choice_texts, lettered, position_of, without_choices
from workbench.formats.shared.config import Config
from workbench.formats.shared.export import chosen_variant, items_of, main_scorer, sample_of, target_of, write_objects
from workbench.formats.shared.files import is_inside, top_keys
from workbench.formats.shared.generation import read_generation
from workbench.formats.shared.kinds import CHECKS, LEFT_OUT, nearest, texts_in, unscored, usable_pattern
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.metadata import OURS, item_fields, one_or_all, scalar_text
from workbench.formats.shared.names import distinct
from workbench.formats.shared.prompts import bare_prompt
from workbench.formats.shared.rows import Row, open_rows
from workbench.formats.shared.scored import note_scored, scored, takes, usual_bar
from workbench.formats.shared.splits import DATA, UNNAMED, by_split, named_files, visible
from workbench.formats.shared.structured import Function, dump_yaml, named, read_structured
from workbench.formats.shared.templates import filled_in, is_template, over_inputs, reference
from workbench.prompts import render
from workbench.scorers import problem_of
from workbench.scorers.base import SCORERS, as_scorer
from workbench.scorers.regexes import taken_out

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

_KEYS = "task|group|include|dataset_path|dataset_kwargs|doc_to_text|doc_to_target|doc_to_choice|output_type|metric_list"
_FEWSHOT = ("num_fewshot", "fewshot_split", "fewshot_config")
_METRICS: dict[Any, dict[str, Any]] = {
    "exact_match": CHECKS["equals"],
    **{name: {"type": "rouge", "metric": name} for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")},
    "rouge": {"type": "rouge", "metric": "rougeL"},
}
_CHOOSING: dict[Any, dict[str, Any]] = {name: {"type": "label"} for name in ("acc", "exact_match")}
_IGNORED = {"ignore_case": "case", "ignore_punctuation": "punctuation"}
_WITHOUT = "regexes_to_ignore"  # on both sides
_USUAL = {"aggregation": (None, "mean", "nanmean"), "higher_is_better": (None, True)}  # as scores are here
_CASE, _NOTHING = {"ignore": ["case"]}, dict[str, Any]()
# What filters do here; there is one answer, and space around it never counts.
_STEPS = {"take_first": _NOTHING, "remove_whitespace": _NOTHING, "lowercase": _CASE, "uppercase": _CASE}
_REGEX = {"group_select": (0, -1), "fallback": ("[invalid]",)}  # without a match an answer is wrong
_TARGET = f"{{{{{OURS}.target}}}}"
_APART = "\n\n"  # after the description: the harness puts the text right behind it
# A column of these only: the data loader of the harness makes times of them, which read otherwise.
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::?\d\d){0,2}(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?")


class LmEval(Format):
    """Tasks of the lm-evaluation-harness."""

    name = "lm_eval"
    about = "an lm-evaluation-harness task (YAML) over local data"
    written = ("a task is", ".yaml", ".yml")  # and its data beside it
    keeps = frozenset({"variants", "output", "scorers", "accept", "generation"})

    def sniff(self, source: Path) -> float:
        if source.suffix.lower() in DATA:
            return 0.0
        found = top_keys(source, _KEYS)
        return 0.9 if found & {"doc_to_text", "dataset_path", "include"} and len(found) > 1 else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.is_dir():
            raise InputError(f"{where(source)}: a folder. Name the task's YAML file.")
        return _Reader(source, options).read(sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        if any(OURS in item.inputs for item in evalset.items):
            raise InputError(f"{where(evalset.path)}: an input is called '{OURS}', like the column for ids. Rename it.")
        _write(evalset, target, ledger)


FORMATS.add("lm_eval", LmEval())


class _Reader:
    """Makes items of the rows of a task's data, by what its doc_to_… settings say."""

    def __init__(self, source: Path, options: Options) -> None:
        self._found, self._options = Found(), options
        self._task = Config(read_structured(source, python=True), self._found.ledger, includes="include")
        self._split = str(self._task.get("test_split") or self._task.get("validation_split") or "")
        self._chooses = self._task.get("output_type") == "multiple_choice"
        _check(self._task, self._split, self._chooses)
        self._specs = _read_scorers(self._task, self._chooses)
        self._lost: list[str] = [] if takes(options.scorer, "without") else self._specs[0].get("without", [])
        if self._lost:
            what = f"taken out of the references, but not out of answers: {options.scorer} has no 'without'"
            self._task.lose("metric_list", f"{_WITHOUT} ({len(self._lost)}): {what}")
        self._scorers = [as_scorer(SCORERS.find(spec["type"])).model_validate(spec) for spec in self._specs]
        self._files = _data(self._task)
        self._columns = set(next(self._docs(Ledger()), ("", {}))[1])  # of the first row
        self._longest = 0  # list of choices

    def read(self, sink: Sink) -> Found:
        for place, doc in self._docs(self._found.ledger):
            with self._found.ledger.leaving_out(place, "a row"):
                sink(self._item(doc, place), place=place)
        self._describe()
        self._task.note_unused(dict.fromkeys(_FEWSHOT, "is not used: examples come from train.jsonl"))
        return self._found

    def _docs(self, ledger: Ledger) -> Iterator[tuple[str, Row]]:
        """The rows with their places. To the harness a CSV's first line is always a header."""
        name = self._split.partition("[")[0]
        if name not in self._files:
            what = f"there is no data for split '{self._split[:60]}'. There are: {', '.join(self._files)}."
            raise InputError(f"{where(self._task.source)}: {what}")
        for path in self._files[name]:
            rows = open_rows(path, Found(), header=True)
            for line, row in rows.read(ledger):
                # What a short row of a CSV lacks is not there for a template either.
                there = {name: value for name, value in row.items() if value is not None or not rows.text_only}
                yield rows.place(line), there

    def _item(self, doc: Row, place: str) -> dict[str, Any]:
        """An item's fields; Unusable where the row has no question or no answer."""
        if not (scalar_text(self._said("doc_to_text", doc)) or "").strip():
            raise Unusable("doc_to_text gives no text")
        self._said("description", doc)
        own = dict(doc[OURS]) if isinstance(doc.get(OURS), dict) else {}  # as our export writes it
        targets = self._targets(doc, own.pop("target", None))
        fields = item_fields(own, place, self._found.ledger)
        fields["inputs"] = {name: value for name, value in doc.items() if name != OURS}
        if self._chooses:
            fields["inputs"][self._choices_input()] = choices = self._choices(doc)
            fields["expectations"]["label"] = one_or_all(self._letters(targets, choices, doc))
        else:
            texts = [taken_out(self._lost, text) for text in texts_in(targets, "its doc_to_target")]
            fields["expectations"]["answer"] = one_or_all(texts_in(texts, "its doc_to_target"))
        if not self._options.scorer and (problem := problem_of(self._scorers, fields["expectations"])):
            raise Unusable(f"doc_to_target gives no text that counts ({problem})")
        return fields

    def _said(self, key: str, doc: Row) -> Any:
        """What a setting says for a row: a column, a template filled in, or itself."""
        given = self._task.get(key)
        if not isinstance(given, str):
            return given
        if given in doc:
            return doc[given]
        if given in self._columns:
            raise Unusable(f"it has no column '{given[:60]}'")
        try:
            return filled_in(given, doc)
        except Unusable as failure:
            raise Unusable(f"{key} cannot be filled in ({failure})") from None

    def _targets(self, doc: Row, ours: Any) -> list[Any]:
        given = self._task["doc_to_target"]
        target = ours if given == _TARGET and ours is not None else self._said("doc_to_target", doc)
        if isinstance(target, str) and given != _TARGET and given not in doc:
            target = written_list(target)  # a template that makes a list of accepted answers
        return target if isinstance(target, list) else [target]

    def _choices(self, doc: Row) -> list[str]:
        given = self._said("doc_to_choice", doc)
        given = written_list(given.strip()) if isinstance(given, str) else given
        texts = choice_texts(list(given.values()) if isinstance(given, dict) else given)
        if texts is None or len(texts) < 2:
            raise Unusable(f"its choices are no list of 2 to {len(LETTERS)} texts")
        self._longest = max(self._longest, len(texts))
        return texts

    def _choices_input(self) -> str:
        """The input that holds an item's choices: a column of its own, or a new one."""
        given = str(self._task["doc_to_choice"]).strip("{} ")
        return given if given in self._columns else "answer_choices" if "choices" in self._columns else "choices"

    def _letters(self, targets: list[Any], choices: list[str], doc: Row) -> list[str]:
        # The harness reads digits as the position of a choice before it reads them as its text.
        given = self._task["doc_to_target"]
        digits = not isinstance(given, str) or given not in doc or self._task["dataset_path"] == "csv"
        places = [position_of(target, choices, digits) for target in targets]
        if not places or None in places:
            raise Unusable("doc_to_target names none of its choices")
        return list(dict.fromkeys(LETTERS[at] for at in places if at is not None))

    def _describe(self) -> None:
        found, task = self._found, self._task
        generation, rest = read_generation(task.mapping("generation_kwargs"))
        task.lose_within("generation_kwargs", rest)
        found.spec |= {"generation": generation} if generation else {}
        found.spec["variants"] = {"default": {"messages": self._messages()}}
        found.spec |= scored(self._specs, self._options, self._longest)
        rows = f"the items are the rows of split '{self._split[:60]}'; all columns are inputs, also the answer's"
        found.notes += [f"task {named(task.get('task'))}", rows]
        if self._chooses:
            how = "the harness compares the choices' likelihoods; here the model is asked for its choice"
            found.notes += ["the choices are listed with letters, and how to answer is added to the prompt", how]
            return
        types = ", ".join(scorer["type"] for scorer in found.spec["scorers"])
        ends = "no 'until': the harness would end an answer at a blank line; here only its length ends it"
        found.notes += [f"answers are scored by {types}; the first counts", *([] if "stop" in generation else [ends])]
        if any("punctuation" in scorer.get("ignore", ()) for scorer in found.spec["scorers"]):
            found.notes.append("ignore_punctuation: signs that carry meaning (-5, 19%, C++) count here")

    def _messages(self) -> list[dict[str, str]]:
        given, description = self._task["doc_to_text"], self._task.get("description")
        text = f"{{{{ {reference(given)} }}}}" if given in self._columns else over_inputs(given)
        messages = [{"role": "user", "content": text + (lettered(self._choices_input()) if self._chooses else "")}]
        if isinstance(description, str) and description.strip():
            messages.insert(0, {"role": "system", "content": over_inputs(description.removesuffix(_APART))})
            self._found.notes.append("the description is the system message")
        return messages


def _check(task: Config, split: str, chooses: bool) -> None:
    """Refuse a task that no question can be made of."""
    asks = chooses or task.get("output_type") in (None, "generate_until")
    for key, wrong, problem in (
        ("task", isinstance(task.get("task"), list) or "group" in task, "a group of tasks; import each"),
        ("output_type", not asks, "no question is asked, only likelihoods are measured"),
        ("test_split", not split, "names no test_split or validation_split; name one"),
        ("doc_to_choice", "doc_to_choice" in task and not chooses, "choices of generated answers are not read"),
    ):
        if wrong:
            raise task.error(key, f"{problem}.")
    for key in ("doc_to_text", "doc_to_target", *(["doc_to_choice"] if chooses else [])):
        value = task.get(key)
        if value is None or isinstance(value, Function) or (key == "doc_to_text" and not isinstance(value, str)):
            what = "not there" if value is None else value.about if isinstance(value, Function) else "no template"
            raise task.error(key, f"'{key}' is {what}; write a template or a column's name.")
    try:
        over_inputs(task["doc_to_text"])
    except Unusable as failure:
        raise task.error("doc_to_text", f"its template cannot be read ({failure}).") from None


def _data(task: Config) -> dict[str, list[Path]]:
    """The data files by split."""
    root, path, kwargs = task.source.parent, str(task.get("dataset_path")), task.mapping("dataset_kwargs")
    task.lose_within("dataset_kwargs", kwargs.keys() - {"data_files"})
    try:
        found = named_files(root, kwargs.get("data_files")) if path in ("json", "csv", "parquet") else {}
    except Unusable as failure:
        raise task.error("dataset_kwargs", f"{failure}.") from None
    folder = root / path
    if path and not found and is_inside(folder, root) and folder.is_dir():
        found = by_split(folder, (each for each in visible(folder) if each.suffix.lower() in DATA))
    if not found:
        mend = "Save it beside the task: dataset_path: json, dataset_kwargs: {data_files: {test: FILE}}."
        raise task.error("dataset_path", f"dataset_path '{path[:60]}': no data here, and nothing is fetched. {mend}")
    return {"train" if split == UNNAMED else split: files for split, files in found.items()}


def _read_scorers(task: Config, chooses: bool) -> list[dict[str, Any]]:
    """A scorer for each metric after each filter; the first one makes the score, the others are further figures."""
    given = [entry for _, entry in task.entries("metric_list")]
    metrics = [spec for entry in given if (spec := _metric(task, entry, chooses))]
    if chooses:  # by letters, of which there is one way to score
        return [{"type": "label"}]
    filters = [spec for _, entry in task.entries("filter_list") if (spec := _filter(task, entry))]
    found: list[dict[str, Any]] = []
    for filtered, metric in itertools.product(filters or [{}], metrics or [{"type": "exact", "name": "exact_match"}]):
        base = ".".join(filter(None, (filtered.get("name"), metric["name"] if len(metrics) > 1 else "")))
        name = distinct(base, [other.get("name") for other in found]) if base else ""
        ignore = sorted({*metric.get("ignore", ()), *filtered.get("ignore", ())}) if metric["type"] == "exact" else []
        spec = {**metric, **filtered, "name": name, "ignore": ignore, "weight": 0 if found else None}
        found.append({key: value for key, value in spec.items() if value not in ("", [], None)})
    return found


def _metric(task: Config, entry: Any, chooses: bool) -> dict[str, Any] | None:
    """The scorer of a metric; None where it is lost."""
    given, kinds = entry if isinstance(entry, dict) else {"metric": entry}, _CHOOSING if chooses else _METRICS
    if isinstance(name := given.get("metric"), Function) or str(name) not in kinds:
        task.lose("metric_list", f"metric {named(name)} is left out: {unscored(str(name))}")
        return None
    read = {"metric", "hf_evaluate", *((*_IGNORED, _WITHOUT) if kinds[name]["type"] == "exact" else ())}
    for key, value in given.items():
        if key not in read and value not in _USUAL.get(key, ()):
            task.lose("metric_list", f"'{str(key)[:60]}' of metric '{name}'")
    patterns, without = given.get(_WITHOUT) or [] if _WITHOUT in read else [], []
    for pattern in patterns if isinstance(patterns, list) else [patterns]:
        try:
            without.append(usable_pattern(pattern))
        except Unusable as why:
            task.lose("metric_list", f"a pattern of {_WITHOUT}: {why}")
    ignored = [word for key, word in _IGNORED.items() if given.get(key)]
    return {**kinds[name], "name": name, "ignore": ignored, "without": without}


def _filter(task: Config, entry: Any) -> dict[str, Any] | None:
    """What a list of filters takes out of an answer, as settings of a scorer; None where it is lost."""
    if not isinstance(entry, dict) or not isinstance(entry.get("filter"), list):
        task.lose("filter_list", "an entry of filter_list that has no list 'filter'")
        return None
    found: dict[str, Any] = {"name": re.sub(r"[^A-Za-z0-9_.-]+", "_", str(entry.get("name") or "filter"))[:40]}
    for step in (each if isinstance(each, dict) else {"function": each} for each in entry["filter"]):
        try:
            found |= _step(step, "extract" in found)
        except Unusable as why:
            task.lose("filter_list", f"filter {named(step.get('function'))} of '{found['name']}' is left out: {why}")
    return found


def _step(step: dict[Any, Any], extracts: bool) -> dict[str, Any]:
    kind = None if isinstance(step.get("function"), Function) else str(step.get("function"))
    if kind in _STEPS:
        return _STEPS[kind]
    if kind != "regex" or extracts:
        raise Unusable("a pattern is looked for already" if extracts else "nothing here does this")
    for key, value in step.items():
        if key not in ("function", "regex_pattern") and value not in _REGEX.get(key, ()):
            raise Unusable(f"its {str(key)[:60]} is {named(value)}, which nothing here does")
    pattern = usable_pattern(step.get("regex_pattern", r"#### (\-?[0-9\.\,]+)"))
    return {"extract": pattern, **({"take": "last"} if step.get("group_select") == -1 else {})}


class _Asked(NamedTuple):
    """What stands for the prompt: turns over bare names, of which a column has the last one, or all, filled in."""

    turns: list[dict[str, str]]
    column: str
    last: bool
    choices: str  # the input that holds them


def _asked(evalset: EvalSet, name: str, lose: Callable[[str], None]) -> _Asked:
    items, labels = evalset.items, main_scorer(evalset).type == "label"
    variant, choices = without_choices(evalset.spec.variants[name], items if labels else [])
    prompt = bare_prompt(name, variant, lose)
    turns, names = (prompt.turns, sorted(prompt.names())) if prompt else ([], [])
    dated = next((each for each in names if all(_TIME.fullmatch(str(item.inputs.get(each))) for item in items)), "")
    simple = [turn["role"] for turn in turns] in (["user"], ["system", "user"])
    simple = simple and not (dated and is_template(turns[0]["content"]))
    if simple and not dated:
        return _Asked(turns, "", simple, choices)
    column = "prompt" if all("prompt" not in item.inputs for item in items) else "rendered_prompt"
    what = f"shows dates ({dated[:60]}), of which the harness makes times" if dated else "does more than fill in inputs"
    lose(f"variant '{name}' {what}: column '{column}' has it filled in")
    return _Asked([*(turns[:-1] if simple else []), {"content": f"{{{{{column}}}}}"}], column, simple, "")


def _write(evalset: EvalSet, target: Path, ledger: Ledger) -> None:
    name, given = chosen_variant(evalset, ledger), evalset.spec.generation
    lose = partial(ledger.add, where(evalset.path / "evalset.yaml"))
    turns, _, _, choices = asked = _asked(evalset, name, lose)
    if choices and len(evalset.scorers) > 1:
        lose("the other scorers: the harness compares which choice is taken")
    if all(_TIME.fullmatch(text) for item in evalset.items for text in target_of(evalset, item, Ledger())[0]):
        lose("the targets are dates, of which the harness makes times")
    note_scored(evalset, lose, usual_bar(main_scorer(evalset).type), choices)
    if given.seed is not None:
        lose("generation.seed")
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
        **({"metric_list": [{"metric": "acc"}]} if choices else _written_scorers(evalset, lose)),
        "generation_kwargs": {"until": given.stop, "max_gen_toks": given.max_tokens, "do_sample": given.temperature > 0}
        | {key: value for key in ("temperature", "top_p") if (value := getattr(given, key)) is not None},
    }
    rows = (_row(evalset, item, name, asked, ledger) for item in evalset.items)
    write_objects(evalset, target.with_name(f"{target.stem}.jsonl"), rows)
    header = f"# Run in this file's folder: lm_eval --include_path . --tasks {evalset.name}\n"
    write_atomic(target, header + dump_yaml({key: value for key, value in config.items() if value is not None}))


def _row(evalset: EvalSet, item: Item, name: str, asked: _Asked, ledger: Ledger) -> dict[str, Any]:
    """An item as a row of data, with the prompt filled in where no template can say it."""
    target, own = sample_of(evalset, item, ledger, "label" if asked.choices else "answer")
    texts = target if isinstance(target, list) else [target]
    if asked.choices and all(each in LETTERS and len(each) == 1 for each in texts):
        target = one_or_all([LETTERS.index(each) for each in texts])  # a letter as its place among the choices
    row = {**item.inputs, OURS: {**own, "target": target}}
    if not asked.column:
        return row
    turns = render(evalset, name, item).messages[-1 if asked.last else 0 :]
    roles = [f"{turn['role']}: " if len(turns) > 1 else "" for turn in turns]
    return row | {asked.column: "\n\n".join(role + turn["content"] for role, turn in zip(roles, turns, strict=True))}


def _written_scorers(evalset: EvalSet, lose: Callable[[str], None]) -> dict[str, Any]:
    """metric_list and filter_list that say what scorers do, or nearly; how they differ is lost."""
    metrics: list[dict[str, Any]] = []
    filters: dict[str, dict[str, Any]] = {}
    written = 0
    for scorer in evalset.scorers:
        about, items = f"scorer '{scorer.name or scorer.type}'", items_of(evalset, scorer)
        kind, ignored = nearest(scorer, _METRICS)
        if kind is None or getattr(scorer, "field", None) is not None:
            lose(f"{about}: the harness compares answers by exact_match ({items})")
            continue
        if ignored - {*_IGNORED.values(), LEFT_OUT}:
            lose(f"{about}: what it ignores ({items})")
        metric = {"metric": kind, **{key: True for key, word in _IGNORED.items() if word in ignored}}
        metric |= {_WITHOUT: without} if (without := getattr(scorer, "without", [])) else {}
        metrics += [] if metric in metrics else [metric]
        written += 1
        name, pattern = (scorer.name or "").removesuffix(kind).removesuffix("."), getattr(scorer, "extract", None)
        last = {"group_select": -1} if getattr(scorer, "take", "") == "last" else {}
        if name or pattern:
            steps = [{"function": "regex", "regex_pattern": pattern, **last}] if pattern else []
            filters.setdefault(name, {"name": name or "extract", "filter": [*steps, {"function": "take_first"}]})
    if written > max(1, len(filters)) * len(metrics):
        lose("scorers: the harness applies every metric to every filter")
    return {"filter_list": list(filters.values()) or None, "metric_list": metrics or [{"metric": "exact_match"}]}
