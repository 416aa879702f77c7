"""A task's metrics and filters as scorers, and its generation settings; what has no scorer is a loss.

scoring = Scoring(task, ledger)
scoring.reference("… #### 42")        # '42': what the metric ignores is taken out of the reference
scoring.scorers()                     # [{'type': 'numeric', 'extract': …}]
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from workbench.formats.lm_eval.task import Task
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.structured import Function
from workbench.scorers.regexes import PATTERN_TIMEOUT_S, checked_pattern, compiled
from workbench.scorers.values import number

SHOWN = "shown"  # the expectation of an item for examples that is shown, not compared
_ROUGE = {"rouge": "rougeL", "rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeL", "rougeLsum": "rougeLsum"}
_PLAIN_KEYS = {"metric", "aggregation", "higher_is_better", "hf_evaluate"}
_EXACT_KEYS = {"ignore_case", "ignore_punctuation", "regexes_to_ignore"}
_WHY_NOT = {
    **dict.fromkeys(("f1", "mcc", "brier_score", "matthews_corrcoef"), "a figure of the set"),
    **dict.fromkeys(("acc_norm", "acc_mutual_info", "acc_bytes", "bits_per_byte"), "it needs likelihoods"),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), "it needs likelihoods"),
}
_SETTINGS: dict[str, tuple[str, type, float, float]] = {
    **dict.fromkeys(("max_gen_toks", "max_new_tokens", "max_tokens"), ("max_tokens", int, 1, 10**9)),
    **{"temperature": ("temperature", float, 0, 2), "top_p": ("top_p", float, 1e-9, 1)},
}


@dataclass
class _Pipeline:
    name: str = ""
    extract: str | None = None
    take: str = "first"
    ignore: set[str] = field(default_factory=set)


@dataclass
class _Metric:
    name: str
    spec: dict[str, Any]
    ignore: set[str] = field(default_factory=set)
    patterns: list[str] = field(default_factory=list)


class Scoring:
    """How a task scores an answer.

    Attributes:
        chooses: it is multiple choice.
        shortens: references are shorter than the targets that examples show.
        shows: the items for examples have targets of their own to show.
        notes: what was guessed.
    """

    def __init__(self, task: Task, ledger: Ledger) -> None:
        self.chooses = task.config.get("output_type") == "multiple_choice"
        self.notes: list[str] = []
        self.shortens = self.shows = False
        self._task, self._ledger = task, ledger
        self._pipelines = self._read_pipelines()
        self._metrics = self._read_metrics()
        self._numbers = self._references = 0

    @property
    def _patterns(self) -> list[str]:
        return self._metrics[0].patterns if self._metrics else []

    def reference(self, text: str) -> str:
        """A reference without what the metric ignores.

        Raises:
            Unusable: a pattern takes too long.
        """
        try:
            for pattern in self._patterns:
                text = compiled(pattern).sub("", text, timeout=PATTERN_TIMEOUT_S)
        except TimeoutError:
            raise Unusable("a pattern of regexes_to_ignore takes too long on its target") from None
        return text.strip() if self._patterns else text

    def observe(self, targets: list[str], references: list[str]) -> None:
        """Take an item's references into account: where all are numbers, they are compared as such."""
        self.shortens = self.shortens or [text.strip() for text in targets] != [text.strip() for text in references]
        self._references += len(references)
        self._numbers += sum(number(text) is not None for text in references)

    @property
    def numeric(self) -> bool:
        return bool(self._patterns) and self._references == self._numbers > 0

    def note_patterns(self) -> None:
        """Write down what is ignored in references alone, once all items are seen."""
        if self._patterns and not self.numeric:
            what = f"regexes_to_ignore ({len(self._patterns)}): taken out of the references, but not out of answers"
            self._ledger.add(self._task.place("metric_list"), what)

    def scorers(self) -> list[dict[str, Any]]:
        """The scorers; the first one makes the score, the others are further figures."""
        if self.chooses:
            return [{"type": "label"}]
        found: list[dict[str, Any]] = []
        for pipeline in self._pipelines:
            for metric in self._metrics:
                spec = dict(metric.spec)
                if spec["type"] == "exact":
                    ignore = sorted(metric.ignore | pipeline.ignore)
                    spec = {"type": "numeric"} if self.numeric else spec | ({"ignore": ignore} if ignore else {})
                if pipeline.extract is not None:
                    spec |= {"extract": pipeline.extract, **({"take": "last"} if pipeline.take == "last" else {})}
                name = ".".join(part for part in (pipeline.name, metric.name if len(self._metrics) > 1 else "") if part)
                found.append(spec | ({"name": name} if name else {}) | ({"weight": 0} if found else {}))
        if self.shows:
            shown = {"type": "exact", "name": SHOWN, "key": SHOWN, "optional": True}
            found = [*({**spec, "optional": True} for spec in found), shown]
        return found

    def min_score(self) -> float:
        """The score with which an answer is accepted."""
        return 0.5 if self.scorers()[0]["type"] == "rouge" else 1.0

    def all_notes(self) -> list[str]:
        """What was guessed, once all items are seen."""
        notes = list(self.notes)
        if self.chooses:
            notes.append("the harness compares the choices' likelihoods; here the model is asked for its choice")
        if self.numeric:
            notes.append("exact_match ignores patterns, and all references are numbers: they are compared as numbers")
        if self.shows:
            notes.append("examples show their targets as they are written: expectations.shown, in train.jsonl alone")
        count = sum(spec.get("name") != SHOWN for spec in self.scorers())
        if count > 1:
            notes.append(f"of {count} metrics and filters the first makes the score, the others are further figures")
        return notes

    # Reading metric_list

    def _read_metrics(self) -> list[_Metric]:
        given = self._task.config.get("metric_list")
        entries = given if isinstance(given, list) else []
        found = [metric for entry in entries if (metric := self._metric(entry, self._task.place("metric_list")))]
        if self.chooses or found:
            return found
        lost = "none of its metrics has a scorer here: exact_match stands for them"
        self.notes.append(lost if entries else "no metric is named: exact_match")
        return [_Metric("exact_match", {"type": "exact"})]

    def _metric(self, entry: Any, place: str) -> _Metric | None:
        name = entry.get("metric") if isinstance(entry, dict) else None
        if not isinstance(name, str) or isinstance(name, Function):
            self._ledger.add(place, f"metric {_named(name)} is left out")
            return None
        for key, value in entry.items():
            if key not in _PLAIN_KEYS | (_EXACT_KEYS if name == "exact_match" else set()):
                self._ledger.add(place, f"'{str(key)[:60]}' of metric '{name[:60]}'")
            elif key == "aggregation" and value not in (None, "mean", "nanmean"):
                self._ledger.add(place, f"aggregation {_named(value)} of metric '{name[:60]}': here it is the mean")
            elif key == "higher_is_better" and value is False:
                self._ledger.add(place, f"higher_is_better: false of metric '{name[:60]}': here more is better")
        if self.chooses and name in ("acc", "exact_match"):
            return None
        if not self.chooses and name in _ROUGE:
            return _Metric(name, {"type": "rouge", "metric": _ROUGE[name]})
        if name != "exact_match":
            self._ledger.add(place, f"metric '{name[:60]}' is left out: {_WHY_NOT.get(name, 'no scorer does this')}")
            return None
        ignore = {key.removeprefix("ignore_") for key in ("ignore_case", "ignore_punctuation") if entry.get(key)}
        return _Metric(name, {"type": "exact"}, ignore, self._ignored_patterns(entry, place))

    def _ignored_patterns(self, entry: dict[str, Any], place: str) -> list[str]:
        given = entry.get("regexes_to_ignore") or []
        found = []
        for pattern in given if isinstance(given, list) else [given]:
            try:
                found.append(checked_pattern(str(pattern)))
            except ValueError:
                self._ledger.add(place, "a pattern of regexes_to_ignore of a dialect that is not read here")
        return found

    # Reading filter_list

    def _read_pipelines(self) -> list[_Pipeline]:
        given = self._task.config.get("filter_list") or []
        place = self._task.place("filter_list")
        found: list[_Pipeline] = []
        for entry in given if isinstance(given, list) else [given]:
            if isinstance(entry, dict) and isinstance(entry.get("filter"), list):
                found.append(self._pipeline(entry, place, {pipeline.name for pipeline in found}))
            else:
                self._ledger.add(place, "an entry of filter_list that has no list 'filter'")
        return found or [_Pipeline()]

    def _pipeline(self, entry: dict[str, Any], place: str, taken: set[str]) -> _Pipeline:
        name = base = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(entry.get("name") or "filter"))[:40] or "filter"
        while name in taken:
            name = f"{base}_{len(taken) + 1}"
        pipeline = _Pipeline(name)
        for key in entry.keys() - {"name", "filter"}:
            self._ledger.add(place, f"'{str(key)[:60]}' of filter '{name}'")
        for step in entry["filter"]:
            try:
                _add_step(pipeline, step)
            except Unusable as why:
                kind = step.get("function") if isinstance(step, dict) else step
                self._ledger.add(place, f"filter {_named(kind)} of '{name}' is left out: {why}")
        return pipeline

    # Reading generation_kwargs

    @cached_property
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
                self._ledger.add(self._task.place("generation_kwargs"), f"'{str(key)[:60]}' of generation_kwargs")
        if given.get("do_sample") is False:
            found["temperature"] = 0.0
        elif given.get("do_sample") is True:
            found.setdefault("temperature", 1.0)
        return found


def _add_step(pipeline: _Pipeline, step: Any) -> None:
    """Add a filter to a pipeline.

    Raises:
        Unusable: nothing here does what it does.
    """
    if not isinstance(step, dict):
        raise Unusable("it is no mapping")
    kind, group = step.get("function"), step.get("group_select", 0)
    if kind in ("take_first", "remove_whitespace"):
        return  # there is one answer, and space around it never counts
    if kind in ("lowercase", "uppercase"):
        pipeline.ignore.add("case")
        return
    if kind != "regex" or isinstance(kind, Function):
        raise Unusable("nothing here does this")
    if pipeline.extract is not None:
        raise Unusable("a pattern is looked for already")
    if group not in (0, -1):
        raise Unusable(f"of several matches the first or the last can count, not number {str(group)[:10]}")
    try:
        pipeline.extract = checked_pattern(str(step.get("regex_pattern", r"#### (\-?[0-9\.\,]+)")))
    except ValueError:
        raise Unusable("a pattern of a dialect that is not read here") from None
    pipeline.take = "last" if group == -1 else "first"
    rest = step.keys() - {"function", "regex_pattern", "group_select"}
    if rest - {"fallback"} or step.get("fallback", "[invalid]") != "[invalid]":
        raise Unusable(f"only '{', '.join(sorted(map(str, rest)))[:60]}' of it: without a match an answer is wrong")


def _named(value: Any) -> str:
    if isinstance(value, Function):
        return f"of a Python function ({str(value)[:60]}), which is never imported,"
    return f"'{str(value)[:60]}'"
