"""Metrics and filters as the lm-evaluation-harness writes them, as scorers of ours; and back.

scorers = read_scorers({"metric_list": [{"metric": "exact_match", "ignore_case": True}]}, lose)
written_scorers(evalset.scorers, lose)        # {'metric_list': [{'metric': 'exact_match', 'ignore_case': True}]}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.evalset import EvalSet
from workbench.formats.lm_eval.settings import listed, named
from workbench.formats.shared.export import items_of
from workbench.formats.shared.kinds import unscored, usable_pattern
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.structured import Function
from workbench.scorers import Scorer
from workbench.scorers.regexes import PATTERN_TIMEOUT_S, compiled

Lose = Callable[[str, str], None]  # a setting, and what of it is lost

_KINDS: dict[str, dict[str, Any]] = {
    "exact_match": {"type": "exact"},
    "rouge": {"type": "rouge", "metric": "rougeL"},
    **{name: {"type": "rouge", "metric": name} for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")},
}
_IGNORED = {"ignore_case": "case", "ignore_punctuation": "punctuation"}
_ASIDE = {"metric", "aggregation", "higher_is_better", "hf_evaluate"}


def read_scorers(config: Mapping[str, Any], lose: Lose, chooses: bool = False) -> list[dict[str, Any]]:
    """A scorer for each metric after each filter; the first one makes the score, the others are further figures.

    Args:
        chooses: the answers are letters of choices, of which there is one way to score.
    """
    kinds = {name: {"type": "label"} for name in ("acc", "exact_match")} if chooses else _KINDS
    metrics = [spec for entry in listed(config.get("metric_list")) if (spec := _metric(entry, kinds, lose))]
    if chooses:
        if config.get("filter_list"):
            lose("filter_list", "filter_list: the answer is a letter")
        return [{"type": "label"}]
    filters = [spec for entry in listed(config.get("filter_list")) if (spec := _filter(entry, lose)) is not None]
    found: list[dict[str, Any]] = []
    for filtered in filters or [{}]:
        for metric in metrics or [{"type": "exact", "name": "exact_match"}]:
            spec = {**metric, **filtered}
            ignore = sorted({*metric.get("ignore", ()), *filtered.get("ignore", ())}) if spec["type"] == "exact" else []
            name = base = ".".join(filter(None, (filtered.get("name"), metric["name"] if len(metrics) > 1 else "")))
            while name and any(name == other.get("name") for other in found):
                name = f"{base}_{len(found) + 1}"
            spec |= {"name": name, "ignore": ignore, "weight": 0 if found else None}
            found.append({key: value for key, value in spec.items() if value not in ("", [], None)})
    return found


def _metric(entry: Any, kinds: Mapping[str, dict[str, Any]], lose: Lose) -> dict[str, Any] | None:
    name = entry.get("metric") if isinstance(entry, dict) else None
    if not isinstance(name, str) or isinstance(name, Function) or name not in kinds:
        why = unscored(name) if isinstance(name, str) and not isinstance(name, Function) else "only a name is read"
        lose("metric_list", f"metric {named(name)} is left out: {why}")
        return None
    about, exact = f"of metric '{name}'", kinds[name]["type"] == "exact"
    for key, value in entry.items():
        if key not in _ASIDE and not (exact and (key in _IGNORED or key == "regexes_to_ignore")):
            lose("metric_list", f"'{str(key)[:60]}' {about}")
        elif key == "aggregation" and value not in (None, "mean", "nanmean"):
            lose("metric_list", f"aggregation {named(value)} {about}: here it is the mean")
        elif key == "higher_is_better" and value is False:
            lose("metric_list", f"higher_is_better: false {about}: here more is better")
    return {**kinds[name], "name": name, "ignore": [word for key, word in _IGNORED.items() if entry.get(key)]}


def _filter(entry: Any, lose: Lose) -> dict[str, Any] | None:
    """What a list of filters takes out of an answer."""
    if not isinstance(entry, dict) or not isinstance(entry.get("filter"), list):
        lose("filter_list", "an entry of filter_list that has no list 'filter'")
        return None
    found: dict[str, Any] = {"name": re.sub(r"[^A-Za-z0-9_.-]+", "_", str(entry.get("name") or "filter"))[:40]}
    for step in entry["filter"]:
        try:
            found |= _step(step, "extract" in found)
        except Unusable as why:
            kind = step.get("function") if isinstance(step, dict) else step
            lose("filter_list", f"filter {named(kind)} of '{found['name']}' is left out: {why}")
    return found


def _step(step: Any, extracts: bool) -> dict[str, Any]:
    kind = step.get("function") if isinstance(step, dict) else None
    if kind in ("take_first", "remove_whitespace"):
        return {}  # there is one answer, and space around it never counts
    if kind in ("lowercase", "uppercase"):
        return {"ignore": ["case"]}
    if kind != "regex" or isinstance(kind, Function) or extracts:
        raise Unusable("a pattern is looked for already" if extracts else "nothing here does this")
    group = step.get("group_select", 0)
    rest = step.keys() - {"function", "regex_pattern", "group_select"}
    if group not in (0, -1):
        raise Unusable(f"of several matches the first or the last can count, not number {str(group)[:10]}")
    if rest and (rest != {"fallback"} or step["fallback"] != "[invalid]"):
        raise Unusable(f"it has '{min(map(str, rest))[:60]}'; here without a match an answer is wrong")
    pattern = usable_pattern(step.get("regex_pattern", r"#### (\-?[0-9\.\,]+)"))
    return {"extract": pattern, **({"take": "last"} if group == -1 else {})}


def read_patterns(config: Mapping[str, Any], lose: Lose) -> list[str]:
    """What the first metric takes out of references before it compares them."""
    first = next(iter(listed(config.get("metric_list"))), None)
    found = []
    for pattern in listed(first.get("regexes_to_ignore")) if isinstance(first, dict) else ():
        try:
            found.append(usable_pattern(pattern))
        except Unusable as why:
            lose("metric_list", f"a pattern of regexes_to_ignore: {why}")
    if found:
        what = "taken out of the references, but not out of answers; where all are numbers, say --scorer numeric"
        lose("metric_list", f"regexes_to_ignore ({len(found)}): {what}")
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
        raise Unusable("doc_to_target gives no text that counts")
    return text.strip() if patterns else text


def written_scorers(evalset: EvalSet, lose: Callable[[str], None]) -> dict[str, Any]:
    """metric_list and filter_list that say what scorers do, or nearly; how they differ is lost."""
    metrics: list[dict[str, Any]] = []
    filters: dict[str, dict[str, Any]] = {}
    written = 0
    for scorer in evalset.scorers:
        metric = _written(scorer, items_of(evalset, scorer), lose)
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
    return {
        **({"filter_list": list(filters.values())} if filters else {}),
        "metric_list": metrics or [{"metric": "exact_match"}],
    }


def _written(scorer: Scorer, items: str, lose: Callable[[str], None]) -> dict[str, Any] | None:
    name, ignore = scorer.name or scorer.type, set(getattr(scorer, "ignore", ()))
    if scorer.type not in ("exact", "rouge") or getattr(scorer, "field", None) is not None:
        lose(f"scorer '{name}': the harness compares answers by exact_match ({items})")
        return None
    if ignore - set(_IGNORED.values()) or getattr(scorer, "match", "whole") != "whole":
        lose(f"scorer '{name}': what it ignores, and where it looks ({items})")
    if scorer.type == "rouge":
        return {"metric": getattr(scorer, "metric", "rougeL")}
    return {"metric": "exact_match", **{key: True for key, word in _IGNORED.items() if word in ignore}}
