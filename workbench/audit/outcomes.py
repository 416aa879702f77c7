"""What outcomes say about items: those that nobody or everybody gets right, keys that strong models contradict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from workbench.audit.report import Finding
from workbench.evalset import EvalSet
from workbench.outcomes import split_candidate
from workbench.scores import Scores, prepare, scores_of

STRONG = 0.6  # a candidate whose mean score is below says little about the key
_AGREE = 2  # different models
_RIGHT = 0.999
_WRONG = 0.5
_CANDIDATES = 3


def scores_for(evalset: EvalSet, outcomes: pd.DataFrame | None) -> tuple[pd.DataFrame, Scores] | None:
    """The prepared rows and item scores of an eval set's items, or None where the outcomes have none of them."""
    if outcomes is None:
        return None
    rows = prepare(outcomes)
    rows = rows[(rows["task"] == evalset.name) & rows["item_id"].isin({item.id for item in evalset.items})]
    return (rows, scores_of(rows)) if len(rows) else None


def too_few(rows: pd.DataFrame, scores: Scores) -> list[str]:
    """The checks that these outcomes do not suffice for."""
    missing = []
    if len(scores.candidates) < _CANDIDATES:
        missing.append(f"hardness of items: takes outcomes of {_CANDIDATES} candidates")
    if len({split_candidate(name)[0] for name in _strong(scores)}) < _AGREE:
        missing.append(f"likely label errors: takes {_AGREE} models with a mean score of at least {STRONG}")
    elif not _class_fields(rows) and "output" not in rows:
        missing.append("likely label errors: takes the column 'output'")
    return missing


def hardness(scores: Scores) -> Iterator[Finding]:
    """Items that no candidate gets right, and items that all get right."""
    if len(scores.candidates) < _CANDIDATES:
        return
    highest, lowest = np.nanmax(scores.score, axis=1), np.nanmin(scores.score, axis=1)
    everyone = (~np.isnan(scores.score)).sum(axis=1) >= _CANDIDATES
    nobody = tuple(
        item for item, top, told in zip(scores.items, highest, everyone, strict=True) if told and top < _WRONG
    )
    all_of_them = tuple(
        item for item, low, told in zip(scores.items, lowest, everyone, strict=True) if told and low >= _RIGHT
    )
    of = f"of {len(scores.items)} items that"
    if nobody:
        what = f"{len(nobody)} {of} none of {len(scores.candidates)} candidates gets right"
        yield Finding("hardness", "note", what, "Look at their keys first, then keep what is truly hard", nobody)
    if all_of_them:
        what = f"{len(all_of_them)} {of} all {len(scores.candidates)} candidates get right"
        yield Finding("hardness", "note", what, "They tell no candidate from another", all_of_them)


def likely_label_errors(rows: pd.DataFrame, scores: Scores) -> Iterator[Finding]:
    """Items where several strong models give the same answer, the key says another, and none of them agrees with it."""
    own = rows[rows["candidate"].isin(_strong(scores))]
    fields = _class_fields(own)
    suspects = [str(item) for item, group in own.groupby("item_id", sort=True) if _contradicted(group, fields)]
    if suspects:
        what = (
            f"{len(suspects)} of {len(scores.items)} items where strong models agree on another answer than the key's"
        )
        mend = "Read them again: the key may be wrong"
        yield Finding("label errors", "warning", what, mend, tuple(suspects))


def _strong(scores: Scores) -> list[str]:
    means = np.nanmean(scores.score, axis=0)
    return [name for name, mean in zip(scores.candidates, means, strict=True) if mean >= STRONG]


def _class_fields(rows: pd.DataFrame) -> list[str]:
    """The label fields whose classes the scorers told."""
    starts = [str(name).removesuffix(".given") for name in rows if str(name).startswith("metric.class.")]
    return [start for start in starts if f"{start}.given" in rows and f"{start}.expected" in rows]


def _contradicted(group: pd.DataFrame, fields: list[str]) -> bool:
    """Whether answers to one item agree against its key, in a label field or as a whole."""
    models = [split_candidate(name)[0] for name in group["candidate"]]
    labels_right = True
    for field in fields:
        given, expected = group[f"{field}.given"], group[f"{field}.expected"]
        answers = [(value, model) for value, model in zip(given, models, strict=True) if value >= 0]  # -1 is no class
        if not (given == expected).any() and _agree(answers):
            return True
        labels_right = labels_right and bool((given == expected)[expected.notna()].all())
    if not labels_right or "output" not in group or (group["points"] >= _WRONG).any():
        return False
    texts = [" ".join(text.casefold().split()) if isinstance(text, str) else "" for text in group["output"]]
    return _agree((text, model) for text, model in zip(texts, models, strict=True) if text)


def _agree(answers: Iterable[tuple[object, str]]) -> bool:
    """Whether several models gave the same answer."""
    counts = Counter(answer for answer, _ in set(answers))
    return bool(counts) and max(counts.values()) >= _AGREE
