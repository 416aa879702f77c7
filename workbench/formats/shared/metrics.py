"""Metrics, filters and generation settings as the lm-evaluation-harness writes them, as ours; and back.

metrics = read_metrics([{"metric": "exact_match", "ignore_case": True}], chooses=False, lose=print)
filters = read_filters([{"name": "get", "filter": [{"function": "regex", "regex_pattern": "#### (.*)"}]}], lose=print)
scorers_of(metrics, filters)         # [{'type': 'exact', 'ignore': ['case'], 'extract': '#### (.*)', 'name': 'get'}]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from workbench.evalset.spec import Generation
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.structured import Function
from workbench.scorers import Scorer
from workbench.scorers.regexes import PATTERN_TIMEOUT_S, checked_pattern, compiled

Lose = Callable[[str], None]

_ROUGE = {"rouge": "rougeL", "rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeL", "rougeLsum": "rougeLsum"}
_METRIC_KEYS = {"metric", "aggregation", "higher_is_better", "hf_evaluate"}
_EXACT_KEYS = {"ignore_case", "ignore_punctuation", "regexes_to_ignore"}
_NUMBERS = [",", r"\$"]  # what exact_match ignores where references are numbers
_WHY_NOT = {
    **dict.fromkeys(("f1", "mcc", "brier_score", "matthews_corrcoef"), "a figure of the set"),
    **dict.fromkeys(("acc_norm", "acc_mutual_info", "acc_bytes", "bits_per_byte"), "it needs likelihoods"),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), "it needs likelihoods"),
}
_SETTINGS = dict.fromkeys(("max_gen_toks", "max_new_tokens", "max_tokens"), "max_tokens")


class Part(NamedTuple):
    """A metric, or a filter: what a scorer takes of it."""

    name: str
    scorer: dict[str, Any]
    ignore: set[str]
    patterns: list[str]  # taken out of references


def named(value: Any) -> str:
    """What a setting says, for a message."""
    if isinstance(value, Function):
        return f"of a Python function ({str(value)[:60]}), which is never imported,"
    return f"'{str(value)[:60]}'"


def read_metrics(entries: Sequence[Any], chooses: bool, lose: Lose) -> list[Part]:
    """The metrics that a scorer stands for; of multiple choice there is one way to score, and none is needed."""
    return [part for entry in entries if (part := _metric(entry, chooses, lose))]


def _metric(entry: Any, chooses: bool, lose: Lose) -> Part | None:
    name = entry.get("metric") if isinstance(entry, dict) else None
    if not isinstance(name, str) or isinstance(name, Function):
        lose(f"metric {named(name)} is left out")
        return None
    about = f"of metric '{name[:60]}'"
    for key, value in entry.items():
        if key not in _METRIC_KEYS | (_EXACT_KEYS if name == "exact_match" else set()):
            lose(f"'{str(key)[:60]}' {about}")
        elif key == "aggregation" and value not in (None, "mean", "nanmean"):
            lose(f"aggregation {named(value)} {about}: here it is the mean")
        elif key == "higher_is_better" and value is False:
            lose(f"higher_is_better: false {about}: here more is better")
    if name == "exact_match" and not chooses:
        ignore = {key.removeprefix("ignore_") for key in ("ignore_case", "ignore_punctuation") if entry.get(key)}
        return Part(name, {"type": "exact"}, ignore, _patterns(entry.get("regexes_to_ignore") or [], lose))
    if name in _ROUGE and not chooses:
        return Part(name, {"type": "rouge", "metric": _ROUGE[name]}, set(), [])
    if not (chooses and name in ("acc", "exact_match")):
        lose(f"metric '{name[:60]}' is left out: {_WHY_NOT.get(name, 'no scorer does this')}")
    return None


def _patterns(given: Any, lose: Lose) -> list[str]:
    found = []
    for pattern in given if isinstance(given, list) else [given]:
        try:
            found.append(checked_pattern(str(pattern)))
        except ValueError:
            lose("a pattern of regexes_to_ignore of a dialect that is not read here")
    return found


def without(patterns: Sequence[str], text: str) -> str:
    """A reference without what its metric ignores.

    Raises:
        Unusable: a pattern takes too long, or nothing is left.
    """
    try:
        for pattern in patterns:
            text = compiled(pattern).sub("", text, timeout=PATTERN_TIMEOUT_S)
    except TimeoutError:
        raise Unusable("a pattern of regexes_to_ignore takes too long on its target") from None
    if not text.strip():
        raise Unusable("of its target regexes_to_ignore leaves nothing")
    return text.strip() if patterns else text


def read_filters(entries: Sequence[Any], lose: Lose) -> list[Part]:
    """Each list of filters as what it takes out of an answer."""
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("filter"), list):
            lose("an entry of filter_list that has no list 'filter'")
            continue
        part = Part(re.sub(r"[^A-Za-z0-9_.-]+", "_", str(entry.get("name") or "filter"))[:40], {}, set(), [])
        for key in entry:
            if key not in ("name", "filter"):
                lose(f"'{str(key)[:60]}' of filter '{part.name}'")
        for step in entry["filter"]:
            try:
                _add_step(part, step)
            except Unusable as why:
                kind = step.get("function") if isinstance(step, dict) else step
                lose(f"filter {named(kind)} of '{part.name}' is left out: {why}")
        found.append(part)
    return found


def _add_step(part: Part, step: Any) -> None:
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


def scorers_of(metrics: Sequence[Part], filters: Sequence[Part], numeric: bool = False) -> list[dict[str, Any]]:
    """A scorer for each metric after each filter; the first one makes the score, the others are further figures.

    Args:
        numeric: all references are numbers, and are compared as such.
    """
    found: list[dict[str, Any]] = []
    for filtered in filters or [Part("", {}, set(), [])]:
        for metric in metrics or [Part("exact_match", {"type": "exact"}, set(), [])]:
            spec, ignore = metric.scorer, sorted(metric.ignore | filtered.ignore)
            if spec["type"] == "exact":
                spec = {"type": "numeric"} if numeric else {**spec, **({"ignore": ignore} if ignore else {})}
            name = base = ".".join(filter(None, (filtered.name, metric.name if len(metrics) > 1 else "")))
            while name and any(name == other.get("name") for other in found):
                name = f"{base}_{len(found) + 1}"
            more = ({"name": name} if name else {}) | ({"weight": 0} if found else {})
            found.append({**spec, **filtered.scorer, **more})
    return found


def metrics_of(scorers: Sequence[Scorer], lose: Lose) -> dict[str, Any]:
    """metric_list and filter_list that say what scorers do, or nearly; how they differ is lost."""
    metrics: list[dict[str, Any]] = []
    filters: dict[str, dict[str, Any]] = {}
    written = 0
    for scorer in scorers:
        metric = _metric_of(scorer, lose)
        if metric is None:
            continue
        written += 1
        metrics += [] if metric in metrics else [metric]
        name = (scorer.name or "").removesuffix(metric["metric"]).removesuffix(".")
        pattern, last = getattr(scorer, "extract", None), getattr(scorer, "take", "first") == "last"
        step = {"function": "regex", "regex_pattern": pattern, **({"group_select": -1} if last else {})}
        if name or pattern:
            steps = [*([step] if pattern else []), {"function": "take_first"}]
            filters.setdefault(name, {"name": name or "extract", "filter": steps})
    if written > max(1, len(filters)) * len(metrics):
        lose("scorers: the harness applies every metric to every filter")
    listed = {"filter_list": list(filters.values())} if filters else {}
    return {**listed, "metric_list": metrics or [{"metric": "exact_match"}]}


def _metric_of(scorer: Scorer, lose: Lose) -> dict[str, Any] | None:
    name, ignore = scorer.name or scorer.type, set(getattr(scorer, "ignore", ()))
    if scorer.type not in ("exact", "numeric", "rouge") or getattr(scorer, "field", None) is not None:
        lose(f"scorer '{name}': the harness compares answers by exact_match")
        return None
    inexact = getattr(scorer, "tolerance", 0) > 1e-9 or getattr(scorer, "relative", 0)
    for differs, what in (
        (scorer.type == "numeric" and inexact, "its tolerance"),
        (ignore - {"case", "punctuation"}, "what it ignores"),
        (getattr(scorer, "match", "whole") != "whole", "where it looks"),
    ):
        if differs:
            lose(f"scorer '{name}': {what}")
    if scorer.type == "rouge":
        return {"metric": getattr(scorer, "metric", "rougeL")}
    if scorer.type == "numeric":
        return {"metric": "exact_match", "regexes_to_ignore": _NUMBERS}
    kept = [each for each in ("case", "punctuation") if each in ignore]
    return {"metric": "exact_match", **{f"ignore_{each}": True for each in kept}}


def read_generation(given: Mapping[str, Any], lose: Lose) -> dict[str, Any]:
    """How an answer is generated, as far as a task says."""
    until = given.get("until")
    stops = [str(each) for each in (until if isinstance(until, list) else [until]) if each not in (None, "")]
    found: dict[str, Any] = {"stop": stops} if stops else {}
    for key, value in given.items():
        if key not in ("until", "do_sample"):
            setting = {_SETTINGS.get(key, str(key)): value}
            try:
                Generation.model_validate(setting)
                found |= setting
            except ValidationError:
                lose(f"'{str(key)[:60]}' of generation_kwargs")
    if given.get("do_sample") is False:
        found["temperature"] = 0.0
    elif given.get("do_sample") is True:
        found.setdefault("temperature", 1.0)
    return found


def generation_of(settings: Generation, lose: Lose) -> dict[str, Any]:
    """generation_kwargs that say the same."""
    if settings.seed is not None:
        lose("generation.seed")
    return {
        "until": settings.stop,
        "max_gen_toks": settings.max_tokens,
        "do_sample": settings.temperature > 0,
        "temperature": settings.temperature,
        **({"top_p": settings.top_p} if settings.top_p is not None else {}),
    }
