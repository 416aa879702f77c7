"""A policy as plain JSON, for every gateway and application that reads a file: `policy.schema.json` says what is in it.

    export_policy(policy, "json", "policy.json", models)

Each route has its chain with addresses, the names of the variables with the keys, and prices; then why, and what was
measured. A request that states no class takes the restricted route; one that no route is for is answered by nobody.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from workbench.catalog import Models
from workbench.export.endpoints import target, variables_of
from workbench.export.expressible import group_name, kind_losses, refuse_unusable
from workbench.export.rendered import Rendered
from workbench.files import StrictModel, read_json

if TYPE_CHECKING:
    from workbench.export.proof import Proof
    from workbench.routing.policy import Policy, Route

SCHEMA_ID: Literal["urn:workbench:policy:1"] = "urn:workbench:policy:1"
SCHEMA_FILE = Path(__file__).with_name("policy.schema.json")


class TokenPrices(StrictModel):
    """USD a million tokens."""

    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(ge=0)


class JsonLink(StrictModel):
    """One candidate of a chain: who is asked, where, and with which prompt.

    Attributes:
        variant: the eval set's prompt that it was measured with.
        served_model: the name that the server knows it by.
        base_urls: of servers of the OpenAI protocol that all serve it.
        api_key_env: the environment variable with its key; null where it has none.
        price: null is unknown, never 0.
    """

    candidate: str
    model: str
    variant: str
    zone: Literal["local", "private", "hosted"]
    served_model: str
    base_urls: list[str] = Field(min_length=1)
    api_key_env: str | None
    price: TokenPrices | None
    timeout_s: float = Field(gt=0)


class JsonRoute(StrictModel):
    """For a task × class: the chain, in order.

    Attributes:
        group: the route's name in gateways that know names only.
        on: what makes the next of the chain answer: an error, an answer in the wrong format.
        settings: what the kind of policy needs further, such as a cascade's verifier.
        evidence: what the decision rests on; estimates are [value, low, high].
    """

    task: str
    class_: Literal["restricted", "open"] = Field(alias="class")
    group: str
    status: Literal["decided", "provisional", "infeasible"]
    policy: str
    chain: list[JsonLink]
    on: list[Literal["error", "format"]]
    settings: dict[str, Any]
    reason: str
    evidence: dict[str, Any]


class JsonPolicy(StrictModel):
    """All routes of a policy.

    Attributes:
        objective: what was sought: `cost`, `score`, `latency`, or a utility's weights in USD.
        constraints: hard limits beside those of the eval sets.
    """

    format: Literal["urn:workbench:policy:1"] = SCHEMA_ID
    workbench: str
    created: str
    objective: str | dict[str, float]
    constraints: dict[str, Any] | None
    routes: list[JsonRoute]
    evidence: dict[str, Any]


_OF_ROUTE = {"task", "class_", "status", "policy", "chain", "on", "reason", "evidence"}


def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    made = JsonPolicy.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **made}


def document_of(policy: Policy, models: Models) -> JsonPolicy:
    """The policy with all that an application needs."""
    aim, bounds = policy.objective, policy.constraints
    return JsonPolicy(
        workbench=policy.workbench,
        created=policy.created.isoformat(),
        objective=aim if isinstance(aim, str) else aim.model_dump(mode="json", exclude_none=True),
        constraints=bounds.model_dump(mode="json", exclude_none=True) if bounds else None,
        routes=[_route(route, models) for route in policy.routes],
        evidence=policy.evidence.model_dump(mode="json", exclude_none=True),
    )


def _route(route: Route, models: Models) -> JsonRoute:
    return JsonRoute.model_validate(
        {
            "task": route.task,
            "class": route.class_,
            "group": group_name(route),
            "status": route.status,
            "policy": route.policy,
            "chain": [_link(route, index, models) for index in range(len(route.chain))],
            "on": route.on,
            "settings": route.model_dump(mode="json", exclude=_OF_ROUTE, exclude_none=True),
            "reason": route.reason,
            "evidence": route.evidence.model_dump(mode="json", exclude_none=True),
        }
    )


def _link(route: Route, index: int, models: Models) -> dict[str, Any]:
    link, model = route.chain[index], models[route.chain[index].model]
    to = target(model, models, route.task)
    price = None
    if to.prices is not None:
        read, written = (round(one * 1e6, 9) for one in to.prices)
        price = {"input_usd_per_mtok": read, "output_usd_per_mtok": written}
    return {
        "candidate": link.candidate,
        "model": link.model,
        "variant": link.variant,
        "zone": model.zone,
        "served_model": to.served,
        "base_urls": to.addresses,
        "api_key_env": to.key_variable,
        "price": price,
        "timeout_s": model.timeout_s,
    }


def render(policy: Policy, models: Models) -> Rendered:
    """The file: it says all but a per-request choice, whose model is a file of its own."""
    refuse_unusable(policy)
    data = document_of(policy, models).model_dump(mode="json", by_alias=True)
    named = {
        link.model: target(models[link.model], models, route.task) for route in policy.routes for link in route.chain
    }
    losses = [line for route in policy.routes if str(route.policy) == "per_request" for line in kind_losses(route)]
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    return Rendered(text, losses, variables=variables_of(named, models))


def verify(path: Path, policy: Policy, models: Models, full: bool = True) -> Proof:
    """Check a file, as it is on disk, against the schema and the policy."""
    import jsonschema

    from workbench.export.proof import Proof

    data = read_json(path)
    checker = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    found = [
        f"{'.'.join(map(str, e.absolute_path)) or 'the file'}: {e.message[:200]}" for e in checker.iter_errors(data)
    ]
    if not found:
        expected = document_of(policy, models).model_dump(mode="json", by_alias=True)
        found = [f"{place}: it differs from the policy." for place in _differences(expected, data)]
    proof = Proof(
        by={"the JSON Schema": SCHEMA_ID.rpartition(":")[2]},
        failures=found,
        did="route stands there as in the policy",
        did_many="routes stand there as in the policy",
    )
    if not found:
        proof.limits = ["nothing runs a JSON file: what reads it has to keep to it"]
        proof.routes = _table(data)
    return proof


def _table(data: Any) -> list[Any]:
    from workbench.export.proof import Landing

    found = []
    for route in data["routes"]:
        chain = " → ".join(link["candidate"] for link in route["chain"]) or "nowhere"
        found.append(Landing(route["task"], route["class"], route["group"], {}, chain, {"the file": chain}))
    return found


def _differences(expected: Any, given: Any, place: str = "the file") -> list[str]:
    if isinstance(expected, dict) and isinstance(given, dict):
        keys = sorted({*expected, *given})
        return [line for key in keys for line in _differences(expected.get(key), given.get(key), f"{place}.{key}")]
    if isinstance(expected, list) and isinstance(given, list) and len(expected) == len(given):
        pairs = zip(expected, given, strict=True)
        return [line for i, (one, other) in enumerate(pairs) for line in _differences(one, other, f"{place}.{i}")]
    return [] if expected == given else [place.removeprefix("the file.")]
