"""What an eval set says of its answers, where a tool has a target for each item and little more; in and out.

found.spec |= scored([{"type": "exact"}], options)           # texts; with `longest=4` the letters of four choices
note_scored(evalset, lose)                                   # that there are labels, a schema, another bar
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.evalset import EvalSet
from workbench.formats.base import Options
from workbench.formats.shared.choices import labels_for
from workbench.scorers.base import SCORERS, as_scorer

_KEPT = ("extract", "take", "name", "without")  # of a scorer, whatever compares then


def usual_bar(scorer: str) -> float:
    """The score from which an answer is right, where nobody says it: a likeness of two texts is hardly ever whole."""
    return 0.5 if scorer == "rouge" else 1.0


def takes(scorer: str | None, setting: str) -> bool:
    """Whether the scorer that the user wants, if any, has a setting."""
    return scorer is None or setting in as_scorer(SCORERS.find(scorer)).model_fields


def scored(scorers: list[dict[str, Any]], options: Options, longest: int = 0) -> dict[str, Any]:
    """The output, scorers and bar of answers that are texts, or letters of as many choices as the `longest` list has.

    Args:
        options: of which the user's own scorer goes before the first one.
    """
    if options.scorer and options.scorer != scorers[0]["type"]:
        kept = {key: scorers[0][key] for key in _KEPT if key in scorers[0] and takes(options.scorer, key)}
        scorers = [{"type": options.scorer, **kept}]
    return {
        "output": {"labels": labels_for(longest)} if longest else {"text": True},
        "scorers": scorers,
        "accept": {"min_score": usual_bar(scorers[0]["type"])},
    }


def note_scored(evalset: EvalSet, lose: Callable[[str], None], bar: float = 1.0, choices: str = "") -> None:
    """Write down what of an eval set's answers `scored` would not find again.

    Args:
        choices: the input with the choices, where the answers are letters.
    """
    spec, longest = evalset.spec, max((len(item.inputs[choices]) for item in evalset.items) if choices else [0])
    for there, what in (
        (spec.output.labels != (labels_for(longest) if longest else None), "output.labels"),
        (spec.output.json_schema is not None, "output.json_schema: the target is the expected JSON as text"),
        (spec.accept.min_score != bar, "accept.min_score"),
    ):
        if there:
            lose(what)
