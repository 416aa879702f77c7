"""Other tools' ways to score as scorers of ours, and back: a table of names, and the nearest one to a scorer.

kinds = {"equals": {"type": "exact"}, "starts-with": {"type": "exact", "match": "begins"}}
nearest(scorer, kinds)               # 'starts-with', {'case'}: what the scorer ignores besides; or None
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.scorers.base import SCORERS, Scorer, as_scorer

_DECIDING = ("match", "want", "metric")  # settings that make a scorer another one


def _meaning(scorer: Scorer) -> tuple[tuple[Any, ...], frozenset[str]]:
    deciding = tuple(getattr(scorer, name, None) for name in _DECIDING)
    return (scorer.type, *deciding), frozenset(getattr(scorer, "ignore", ()))


def nearest(scorer: Scorer, kinds: Mapping[str, dict[str, Any]]) -> tuple[str | None, frozenset[str]]:
    """The kind that says what a scorer does; and what only one of the two ignores: case, punctuation, ….

    Args:
        kinds: by name the settings of the scorer that a kind stands for.
    """
    wanted, ignored = _meaning(scorer)
    found: dict[str, frozenset[str]] = {}
    for name, spec in kinds.items():
        meaning, ignore = _meaning(as_scorer(SCORERS.find(spec["type"])).model_validate(spec))
        if meaning == wanted:
            found[name] = ignore ^ ignored
    best = min(found, key=lambda name: ("case" in found[name], len(found[name])), default=None)
    return best, frozenset() if best is None else found[best]
