"""The columns of the outcome table, and the names of candidates.

candidate_id("gemma3-q4", "few_shot")        # 'gemma3-q4#few_shot'
"""

from __future__ import annotations

from typing import Any

REQUIRED = ("task", "item_id", "model", "score")
KEY = ["task", "item_id", "model", "variant", "repeat"]
TEXT = [
    *("task", "item_id", "model", "variant", "split", "error", "error_class", "served_model", "engine_id"),
    *("output", "prompt", "cluster", "sensitivity", "source", "run_id", "evalset_digest"),
]
FLOAT = ["score", "cost_usd", "judge_cost_usd", "latency_s", "ttft_s", "wait_s"]
INT = ["repeat", "attempts", "format_retries", "input_tokens", "output_tokens", "concurrency"]
BOOL = ["accepted", "format_ok"]
COLUMNS = [
    *("task", "item_id", "model", "variant", "repeat", "split", "score", "accepted", "format_ok", "error"),
    *("error_class", "attempts", "format_retries", "input_tokens", "output_tokens", "cost_usd", "judge_cost_usd"),
    *("latency_s", "ttft_s", "wait_s", "concurrency", "served_model", "engine_id", "output", "prompt", "slice"),
    *("cluster", "sensitivity", "asked_at", "source", "run_id", "evalset_digest"),
]
# Classes of errors that are a model's own: what it refuses, and where the rules abstain.
OWN = frozenset({"bad_request", "context_length", "content_policy", "refusal", "no_match"})
# Classes that say nothing of a model: its server, the line to it, or a judge failed.
LOST = frozenset(
    {
        *("connection", "disconnected", "timeout", "rate_limit", "server", "auth", "not_found", "protocol"),
        *("engine", "expired", "judge"),
    }
)
# Classes of an answer that is there and has no score: a judge gave no verdict, or a scorer failed. It counts as
# missing, neither right nor wrong.
UNSCORED = frozenset({"judge", "scorer"})
RUN_FILE = "run.json"
DEFAULTS: dict[str, Any] = {"variant": "default", "repeat": 0, "split": "test"}


def candidate_id(model: str, variant: str) -> str:
    """`model`, or `model#variant` for a variant other than the default."""
    return model if variant == "default" else f"{model}#{variant}"


def split_candidate(candidate: str) -> tuple[str, str]:
    """The model and the variant of a candidate's id."""
    model, _, variant = candidate.partition("#")
    return model, variant or "default"
