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

from workbench.formats.shared.ledger import Ledger
from workbench.formats.lm_eval.task import Task
from workbench.formats.shared.files import Function
from workbench.scorers.regexes import PATTERN_TIMEOUT_S, checked_pattern, compiled
from workbench.scorers.values import number

SHOWN = "shown"  # the expectation of an item for examples that is shown, not compared
_ROUGE = {"rouge": "rougeL", "rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeL", "rougeLsum": "rougeLsum"}
_PLAIN_KEYS = {"metric", "aggregation", "higher_is_better", "hf_evaluate"}
_EXACT_KEYS = {"ignore_case", "ignore_punctuation", "regexes_to_ignore"}
_OF_A_SET = ("f1", "mcc", "brier_score", "matthews_corrcoef")
_OF_LIKELIHOODS = (
    "acc_norm",
    "acc_mutual_info",
    "acc_bytes",
    "perplexity",
    "word_perplexity",
    "byte_perplexity",
    "bits_per_byte",
)


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
        kind: its output_type.
        shortens: references are shorter than the targets that examples show.
        shows: the items for examples have targets of their own to show.
        notes: what was guessed.
    """

    def __init__(self, task: Task, ledger: Ledger) -> None:
        self.kind = str(task.config.get("output_type") or "generate_until")
        self.notes: list[str] = []
        self._task, self._ledger = task, ledger
        self._pipelines = self._read_pipelines()
        self._metrics = self._read_metrics()
        self._numbers = self._references = 0
        self.shortens = False
        self.shows = False

    # References

    @property
    def _patterns(self) -> list[str]:
        return self._metrics[0].patterns if self._metrics else []

    def reference(self, text: str) -> str:
        """A reference without what the metric ignores.

        Raises:
            TimeoutError: a pattern takes too long.
        """
        for pattern in self._patterns:
            text = compiled(pattern).sub("", text, timeout=PATTERN_TIMEOUT_S)
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

    # Scorers

    def scorers(self) -> list[dict[str, Any]]:
        """The scorers; the first one makes the score, the others are further figures."""
        if self.kind == "multiple_choice":
            return [{"type": "label"}]
        if self.kind == "loglikelihood":
            return [{"type": "exact", "match": "begins"}]
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
        if self.kind == "multiple_choice":
            notes.append("the harness compares the choices' likelihoods; here the model is asked for its choice")
        if self.kind == "loglikelihood":
            notes.append(
                "the harness asks whether the target is the likeliest continuation; here an answer must begin with it"
            )
        if self.numeric:
            notes.append("exact_match ignores patterns, and all references are numbers: they are compared as numbers")
        if self.shows:
            notes.append("examples show their targets as they are written: expectations.shown, in train.jsonl alone")
        found = [spec for spec in self.scorers() if spec.get("name") != SHOWN]
        if len(found) > 1:
            notes.append(
                f"of {len(found)} metrics and filters the first makes the score, the others are further figures"
            )
        return notes

    # Reading metric_list

    def _read_metrics(self) -> list[_Metric]:
        given = self._task.config.get("metric_list")
        place = self._task.place("metric_list")
        entries = given if isinstance(given, list) else []
        found = [metric for entry in entries if (metric := self._metric(entry, place)) is not None]
        if self.kind in ("multiple_choice", "loglikelihood"):
            return []
        if not found:
            lost = bool(entries)
            self.notes.append(
                "none of its metrics has a scorer here: exact_match stands for them"
                if lost
                else "no metric is named: exact_match"
            )
            return [_Metric("exact_match", {"type": "exact"})]
        return found

    def _metric(self, entry: Any, place: str) -> _Metric | None:
        name = entry.get("metric") if isinstance(entry, dict) else None
        if not isinstance(name, str) or isinstance(name, Function):
            self._ledger.add(place, f"metric {_named(name)} is left out")
            return None
        self._note_settings(entry, name, place)
        if self.kind in ("multiple_choice", "loglikelihood"):
            self._of_choices(name, place)
            return None
        if name in _ROUGE:
            return _Metric(name, {"type": "rouge", "metric": _ROUGE[name]})
        if name != "exact_match":
            why = "a figure of the set" if name in _OF_A_SET else "no scorer does this"
            self._ledger.add(place, f"metric '{name[:60]}' is left out: {why}")
            return None
        ignore = {key.removeprefix("ignore_") for key in ("ignore_case", "ignore_punctuation") if entry.get(key)}
        return _Metric(name, {"type": "exact"}, ignore, self._ignored_patterns(entry, place))

    def _of_choices(self, name: str, place: str) -> None:
        only = len(self._task.config["metric_list"]) == 1
        if name in ("acc", "exact_match"):
            return
        if name == "acc_norm" and only:
            self.notes.append("acc_norm compares likelihoods by the choices' lengths; here the choice itself is scored")
            return
        why = "a figure of the set" if name in _OF_A_SET else "it needs likelihoods"
        why = why if name in (*_OF_A_SET, *_OF_LIKELIHOODS) else "no scorer does this"
        self._ledger.add(place, f"metric '{name[:60]}' is left out: {why}")

    def _note_settings(self, entry: dict[str, Any], name: str, place: str) -> None:
        known = _PLAIN_KEYS | (_EXACT_KEYS if name == "exact_match" else set())
        for key, value in entry.items():
            if key not in known:
                self._ledger.add(place, f"'{str(key)[:60]}' of metric '{name[:60]}'")
            elif key == "aggregation" and value not in (None, "mean", "nanmean"):
                self._ledger.add(place, f"aggregation {_named(value)} of metric '{name[:60]}': here it is the mean")
            elif key == "higher_is_better" and value is False:
                self._ledger.add(place, f"higher_is_better: false of metric '{name[:60]}': here more is better")

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
        given = self._task.config.get("filter_list")
        place = self._task.place("filter_list")
        if not given:
            return [_Pipeline()]
        found: list[_Pipeline] = []
        for entry in given if isinstance(given, list) else list(given.values()) if isinstance(given, dict) else []:
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
        for key in set(entry) - {"name", "filter"}:
            self._ledger.add(place, f"'{str(key)[:60]}' of filter '{name}'")
        for step in entry["filter"]:
            why = self._step(pipeline, step) if isinstance(step, dict) else "it is no mapping"
            if why:
                kind = step.get("function") if isinstance(step, dict) else step
                self._ledger.add(place, f"filter {_named(kind)} of '{name}' is left out: {why}")
        return pipeline

    def _step(self, pipeline: _Pipeline, step: dict[str, Any]) -> str | None:
        """Add a filter to a pipeline; otherwise say why not."""
        kind = step.get("function")
        if kind in ("take_first", "remove_whitespace"):
            return None  # there is one answer, and space around it never counts
        if kind in ("lowercase", "uppercase"):
            pipeline.ignore.add("case")
            return None
        if kind != "regex" or isinstance(kind, Function):
            return "nothing here does this"
        if pipeline.extract is not None:
            return "a pattern is looked for already"
        group = step.get("group_select", 0)
        if group not in (0, -1):
            return f"of several matches the first or the last can count, not number {str(group)[:10]}"
        try:
            pipeline.extract = checked_pattern(str(step.get("regex_pattern", r"#### (\-?[0-9\.\,]+)")))
        except ValueError:
            return "a pattern of a dialect that is not read here"
        pipeline.take = "last" if group == -1 else "first"
        rest = set(step) - {"function", "regex_pattern", "group_select"}
        if rest - {"fallback"} or step.get("fallback", "[invalid]") != "[invalid]":
            return f"only '{', '.join(sorted(map(str, rest)))[:60]}' of it: without a match an answer is wrong"
        return None

    # Reading generation_kwargs

    @cached_property
    def generation(self) -> dict[str, Any]:
        """How an answer is generated, as far as the task says."""
        given = self._task.config.get("generation_kwargs")
        place = self._task.place("generation_kwargs")
        if not isinstance(given, dict):
            return {}
        found: dict[str, Any] = {}
        until = given.get("until")
        stops = [str(each) for each in (until if isinstance(until, list) else [until]) if each not in (None, "")]
        if stops:
            found["stop"] = stops
        for key, value in given.items():
            if key not in ("until", "do_sample") and not _take_setting(found, key, value):
                self._ledger.add(place, f"'{str(key)[:60]}' of generation_kwargs")
        if given.get("do_sample") is False:
            found["temperature"] = 0.0
        elif given.get("do_sample") is True:
            found.setdefault("temperature", 1.0)
        return found


def _take_setting(found: dict[str, Any], key: Any, value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if key in ("max_gen_toks", "max_new_tokens", "max_tokens") and isinstance(value, int) and real and value > 0:
        found["max_tokens"] = value
    elif key == "temperature" and real and 0 <= value <= 2:
        found["temperature"] = float(value)
    elif key == "top_p" and real and 0 < value <= 1:
        found["top_p"] = float(value)
    else:
        return False
    return True


def _named(value: Any) -> str:
    if isinstance(value, Function):
        return f"of a Python function ({str(value)[:60]}), which is never imported,"
    return f"'{str(value)[:60]}'"
