"""What outcomes say about items: those that nobody or everybody gets right, keys that strong models contradict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from workbench.audit.report import Finding
from workbench.evidence import Scores, prepare, scores_of
from workbench.outcomes import split_candidate

STRONG = 0.6  # a candidate whose mean score is below says little about the key
_AGREE = 2  # different models
_RIGHT = 0.999
_WRONG = 0.5
_CANDIDATES = 3


def scores_for(evalset_name: str, outcomes: pd.DataFrame | None) -> tuple[pd.DataFrame, Scores] | None:
    """The prepared rows and item scores of a task, or None where the outcomes have none."""
    if outcomes is None:
        return None
    rows = prepare(outcomes)
    rows = rows[rows["task"] == evalset_name]
    return (rows, scores_of(rows)) if len(rows) else None


def hardness(scores: Scores) -> Iterator[Finding]:
    """Items that no candidate gets right, and items that all get right."""
    if len(scores.candidates) < _CANDIDATES:
        return
    with np.errstate(all="ignore"):
        highest, lowest = np.nanmax(scores.score, axis=1), np.nanmin(scores.score, axis=1)
    nobody = tuple(item for item, top in zip(scores.items, highest, strict=True) if top < _WRONG)
    everybody = tuple(item for item, low in zip(scores.items, lowest, strict=True) if low >= _RIGHT)
    if nobody:
        what = f"{len(nobody)} of {len(scores.items)} items that none of {len(scores.candidates)} candidates gets right"
        yield Finding("hardness", "note", what, "Look at their keys first, then keep what is truly hard", nobody)
    if everybody:
        what = f"{len(everybody)} of {len(scores.items)} items that all {len(scores.candidates)} candidates get right"
        yield Finding("hardness", "note", what, "They tell no candidate from another", everybody)


def likely_label_errors(rows: pd.DataFrame, scores: Scores) -> Iterator[Finding]:
    """Items where several strong models give the same answer, and the key says another."""
    means = np.nanmean(scores.score, axis=0)
    strong = [name for name, mean in zip(scores.candidates, means, strict=True) if mean >= STRONG]
    own = rows[rows["candidate"].isin(strong)]
    suspects = []
    for item, group in own.groupby("item_id", sort=True):
        if (group["points"] >= _WRONG).any():
            continue
        answers = _answers(group)
        models = {(answer, split_candidate(name)[0]) for answer, name in answers}
        counts = Counter(answer for answer, _ in models)
        if counts and counts.most_common(1)[0][1] >= _AGREE:
            suspects.append(str(item))
    if suspects:
        what = f"items where at least {_AGREE} strong models agree on another answer than the key's"
        mend = "Read them again: the key may be wrong"
        yield Finding("label errors", "warning", what, mend, tuple(suspects))


def _answers(group: pd.DataFrame) -> list[tuple[str, str]]:
    """Each candidate's answer to an item: its classes where scorers told them, its text otherwise."""
    classes = [name for name in group if str(name).startswith("metric.class.") and str(name).endswith(".given")]
    told = [name for name in classes if group[name].notna().all()]
    if told:
        texts = group[told].astype(str).agg("|".join, axis=1)
    elif "output" in group:
        texts = group["output"].fillna("").map(lambda text: " ".join(str(text).casefold().split()))
    else:
        return []
    return [(text, name) for text, name in zip(texts, group["candidate"], strict=True) if text and "-1.0" not in text]
