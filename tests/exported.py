"""Policies and models for the tests of exports."""

from __future__ import annotations

from typing import Any

from workbench.catalog import Model, Models
from workbench.routing import Policy, Route


def policy_of(*routes: dict[str, Any], **further: Any) -> Policy:
    common = {"status": "decided", "margin": 0.05, "margin_source": "evalset", "reason": "planted"}
    return Policy(workbench="0", routes=[Route.model_validate({**common, **route}) for route in routes], **further)


def chain(*names: str) -> list[dict[str, str]]:
    return [{"model": name} for name in names]


def model(name: str, **entry: Any) -> Model:
    return Model.model_validate({"id": name, "engine": "openai", "model": name, **entry})


TWO_TASKS = policy_of(
    {"task": "triage", "class": "restricted", "chain": chain("near", "own")},
    {"task": "triage", "class": "open", "chain": chain("far", "own", "near")},
    {"task": "extract", "class": "open", "chain": chain("own")},
    {"task": "legal", "class": "open", "status": "infeasible", "chain": []},
)
CATALOG = Models(
    {
        "near": Model.model_validate({"id": "near", "engine": "rules"}),
        "own": model(
            "own",
            zone="private",
            base_url=["http://10.0.0.1/v1", "http://10.0.0.2/v1"],
            price={"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
        ),
        "far": model("far", zone="hosted", base_url="https://models.example/v1", api_key_env="FAR_KEY"),
    }
)
