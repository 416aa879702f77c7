"""Scorers that are not ours: what they are handed, and what they may give back.

own_copy({"label": ["red"]})                     # whatever a plug-in does to it changes no later score
figures_of("polite", {"words": 3})               # {'words': 3.0}
raise stopped("polite", failure)                 # one clear message, without any text of the item

A scorer that fails costs its outcome its score, and nothing else: see `ScorerFailure`.
"""

from __future__ import annotations

import copy
import math
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.errors import InputError

_SLACK = 1e-9  # that sums of floats may be off


class ScorerFailure(InputError):
    """A scorer failed on an answer, or gave what is no score; the message names it and holds no text of the item."""


@lru_cache(maxsize=1024)
def is_plugin(cls: type) -> bool:
    """Whether a scorer's class is not ours."""
    return cls.__module__.partition(".")[0] != "workbench"


def own_copy(value: Any) -> Any:
    """A copy of what JSON can hold, or of anything else."""
    if type(value) is dict:
        return {name: own_copy(inner) for name, inner in value.items()}
    if type(value) is list:
        return [own_copy(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float) else copy.deepcopy(value)


def stopped(name: str, failure: Exception) -> ScorerFailure:
    """What an unforeseen exception becomes: its class, file and line. Its message may hold an item's text."""
    frames = traceback.extract_tb(failure.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return ScorerFailure(f"scorer '{name}' stopped by an unforeseen {type(failure).__name__}{place}.")


def no_score(name: str, given: Any) -> ScorerFailure:
    """What is said of a thing that is no score."""
    return ScorerFailure(f"scorer '{name}' gave a {type(given).__name__}: a score is a number, a bool or a Score.")


def value_of(name: str, given: Any) -> float:
    """A score as a number from 0 to 1; what is off by rounding is put right.

    Raises:
        ScorerFailure: it is none.
    """
    value = _number(given)
    if value is None:
        raise no_score(name, given)
    if not -_SLACK <= value <= 1 + _SLACK:
        raise ScorerFailure(f"scorer '{name}' gave {given}: scores are from 0 to 1.")
    return min(1.0, max(0.0, value))


def figures_of(name: str, given: Any) -> dict[str, float]:
    """A scorer's further figures as numbers; one that is None or NaN is not known, and left out.

    Raises:
        ScorerFailure: one has no name, or is no finite number.
    """
    if not isinstance(given, Mapping):
        raise ScorerFailure(f"scorer '{name}' gave figures that are a {type(given).__name__}: they are a dict.")
    found = {}
    for figure, told in given.items():
        if not isinstance(figure, str) or not figure:
            raise ScorerFailure(f"scorer '{name}' gave a figure without a name: it is text.")
        if told is None:
            continue
        value = _number(told)
        if value is None or math.isinf(value):
            what = f"a {type(told).__name__}" if value is None else f"{value:g}"
            raise ScorerFailure(f"scorer '{name}' gave a figure that is {what}: figures are finite numbers.")
        if not math.isnan(value):
            found[figure] = value
    return found


def joined(metrics: dict[str, float], further: Mapping[str, float], name: str) -> None:
    """Add a plug-in's figures to those of the other scorers.

    Raises:
        ScorerFailure: another one has such a figure already, which it would overwrite.
    """
    taken = metrics.keys() & further.keys()
    if taken:
        raise ScorerFailure(
            f"scorer '{name}' gave a figure that another scorer of the eval set has (or the name of one). "
            "Give it a name of its own."
        )
    metrics.update(further)


def _number(value: Any) -> float | None:
    if isinstance(value, str | bytes | bytearray):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
