"""Other tools' ways to score as scorers of ours, and back: a table of names, the nearest one to a scorer, why none.

kinds = {"equals": {"type": "exact"}, "starts-with": {"type": "exact", "match": "begins"}}
nearest(scorer, kinds)               # 'starts-with', {'case'}: what the scorer ignores besides; or None
unscored("llm-rubric")               # 'it needs a model as a judge'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.formats.shared.ledger import Unusable
from workbench.scorers.base import SCORERS, Scorer, as_scorer
from workbench.scorers.regexes import checked_pattern

_DECIDING = ("match", "want", "metric")  # settings that make a scorer another one
_REASONS = {
    **dict.fromkeys(("javascript", "python", "ruby"), "it is a program, which is not run"),
    **dict.fromkeys(("select-best", "max-score"), "it compares answers of several models"),
    **{"assert-set": "a set of assertions is scored as one, which no scorer does", "webhook": "it asks a server"},
    **{"similar": "it compares embeddings", "latency": "time is measured apart: limits.p95_latency_s"},
    **{"cost": "cost is measured apart", "$ref": "references are not followed; write it out"},
    **dict.fromkeys(("f1", "mcc", "brier_score", "matthews_corrcoef"), "a figure of the set"),
    **dict.fromkeys(("acc_norm", "acc_mutual_info", "acc_bytes", "bits_per_byte"), "it needs likelihoods"),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), "it needs likelihoods"),
}
_JUDGED = ("llm-rubric", "factuality", "model-graded", "g-eval", "answer-relevance", "context-", "pi", "classifier")


def unscored(name: str) -> str:
    """Why no scorer does what another tool calls by this name."""
    return "it needs a model as a judge" if name.startswith(_JUDGED) else _REASONS.get(name, "no scorer does this")


def usable_pattern(pattern: Any) -> str:
    """A regular expression that a scorer can look for.

    Raises:
        Unusable: it does not compile here, or is too large.
    """
    try:
        return checked_pattern(str(pattern))
    except ValueError:
        raise Unusable("its regular expression is of a dialect that is not read here") from None


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
