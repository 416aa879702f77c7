"""Other tools' ways to score as scorers of ours, and back: a table of names, the nearest one to a scorer, why none.

kinds = {"equals": {"type": "exact"}, "starts-with": {"type": "exact", "match": "begins"}}
nearest(scorer, kinds)               # 'starts-with', {'case'}: what the scorer ignores besides; or None
unscored("llm-rubric")               # 'it needs a model as a judge'; what no tool is known to have has no reason either
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.metadata import scalar_text
from workbench.scorers.base import SCORERS, Scorer, as_scorer
from workbench.scorers.regexes import checked_pattern

# By name what a scorer of texts looks for.
CHECKS: dict[str, dict[str, Any]] = {
    "equals": {"type": "exact"},
    "starts_with": {"type": "exact", "match": "begins"},
    "ends_with": {"type": "exact", "match": "ends"},
    "contains": {"type": "contains", "ignore": []},
    "icontains": {"type": "contains"},
    "contains_any": {"type": "contains", "want": "any", "ignore": []},
    "icontains_any": {"type": "contains", "want": "any"},
    "not_contains": {"type": "contains", "want": "none", "ignore": []},
    "not_icontains": {"type": "contains", "want": "none"},
    "regex": {"type": "regex"},
    "not_regex": {"type": "regex", "want": "none"},
}
_DECIDING = ("match", "want", "metric")  # settings that make a scorer another one
LEFT_OUT = "patterns of 'without'"
_NONE = "no scorer does this"
# Known only so that "bleu: a text" in short notation is one of these, and no text that an answer must equal.
_KNOWN = {
    *("bleu", "chrf", "gleu", "levenshtein", "meteor", "perplexity-score", "rouge-l", "rouge-n", "rouge-s", "ter"),
    *("contains-html", "contains-sql", "contains-xml", "is-html", "is-refusal", "is-sql", "is-xml", "word-count"),
    *("is-valid-function-call", "is-valid-openai-function-call", "is-valid-openai-tools-call", "tool-call-f1"),
    *("finish-reason", "guardrails", "moderation", "skill-used", "trajectory"),
    *("trace-error-spans", "trace-span-count", "trace-span-duration"),
}
_REASONS = {
    **dict.fromkeys(_KNOWN, _NONE),
    **dict.fromkeys(("javascript", "python", "ruby"), "it is a program, which is not run"),
    **dict.fromkeys(("select-best", "max-score"), "it compares answers of several models"),
    **{"assert-set": "a set of assertions is scored as one, which no scorer does", "webhook": "it asks a server"},
    **{"similar": "it compares embeddings", "latency": "time is measured apart: limits.p95_latency_s"},
    **{"cost": "cost is measured apart", "$ref": "references are not followed; write it out"},
    **dict.fromkeys(("f1", "mcc", "brier_score", "matthews_corrcoef"), "a figure of the set"),
    **dict.fromkeys(("acc_norm", "acc_mutual_info", "acc_bytes", "bits_per_byte"), "it needs likelihoods"),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), "it needs likelihoods"),
}
_JUDGES = (
    *("agent-rubric", "answer-relevance", "classifier", "context-faithfulness", "context-recall", "context-relevance"),
    *("conversation-relevance", "factuality", "g-eval", "llm-rubric", "model-graded-closedqa", "pi", "search-rubric"),
    "model-graded-factuality",
)
_REASONS |= dict.fromkeys(_JUDGES, "it needs a model as a judge")


def unscored(name: str, unknown: str = _NONE) -> str:
    """Why no scorer does what another tool calls by this name; `unknown` for a name that none is known to have."""
    return _REASONS.get(name, unknown)


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
    out = [LEFT_OUT] if getattr(scorer, "without", None) else []
    return (scorer.type, *deciding), frozenset([*getattr(scorer, "ignore", ()), *out])


def texts_in(values: Sequence[Any], what: str) -> list[str]:
    """Values as the texts that an answer is held against.

    Raises:
        Unusable: there is none, or one is empty or no text; the message says of `what`.
    """
    texts = [text for text in map(scalar_text, values) if text is not None and text.strip()]
    if not texts or len(texts) < len(values):
        raise Unusable(f"{what} is nothing, or no text")
    return texts


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
