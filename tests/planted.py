"""Outcome tables with a known right answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.catalog import Model, Models
from workbench.outcomes import split_candidate


def outcomes(
    scores: Mapping[str, Sequence[float]],
    cost_usd: Mapping[str, float | None] | None = None,
    latency_s: float | Mapping[str, float] = 0.1,
    sensitivity: str | Sequence[str] = "internal",
    task: str = "planted",
    **columns: Any,
) -> pd.DataFrame:
    """One row a candidate × item, with the scores given; a score of 0.5 or more is accepted."""
    rows = []
    for candidate, values in scores.items():
        model, variant = split_candidate(candidate)
        for index, score in enumerate(values):
            label = sensitivity if isinstance(sensitivity, str) else sensitivity[index]
            rows.append(
                {
                    "task": task,
                    "item_id": f"{label}-{index}",
                    "model": model,
                    "variant": variant,
                    "score": score,
                    "accepted": score >= 0.5,
                    "format_ok": True,
                    "cost_usd": (cost_usd or {}).get(candidate, 0.001),
                    "latency_s": latency_s if isinstance(latency_s, float) else latency_s[candidate],
                    "sensitivity": label,
                    **{name: values[index] for name, values in columns.items()},
                }
            )
    return pd.DataFrame(rows)


def right(share: float, n: int, seed: int = 0) -> list[float]:
    """n scores of 0 and 1 with exactly that share of ones, in a random order."""
    values = np.zeros(n)
    values[: round(share * n)] = 1
    return list(np.random.default_rng(seed).permutation(values))


def models(**zones: str) -> Models:
    """A catalog with a model a name, in the zones given; hosted and private ones have an address and a price."""
    made = {}
    for name, zone in zones.items():
        identifier = name.replace("_", "-")
        if zone == "local":
            made[identifier] = Model.model_validate({"id": identifier, "engine": "rules"})
        else:
            entry = {"id": identifier, "engine": "openai", "model": identifier, "zone": zone}
            entry |= {
                "base_url": "https://models.example/v1",
                "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
            }
            made[identifier] = Model.model_validate(entry)
    return Models(made)
