"""A policy as a LiteLLM config (proxy or Router).

    export_policy(policy, "litellm", "litellm.yaml", models)

Each route is a plain model group: `<task>` is safe for restricted requests, `<task>-open` is for the rest. Each further
link of a chain is a group of its own, `<task>/2`, that the first names as a fallback, for every kind of failure:
LiteLLM's `order` within a group would give up at a context-window error. A link with several addresses is one group
with a deployment each, which share its requests and stand in for each other. Retries are off, as the next link is the
retry; cooldowns are off, so that the chain is the same for every request.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.export.endpoints import Target, target, variables_of
from workbench.export.expressible import common_losses, group_name, link_name, refuse_unusable
from workbench.export.rendered import Rendered

if TYPE_CHECKING:
    from workbench.export.proof import Proof
    from workbench.routing.policy import Policy, Route

MASTER_KEY = "LITELLM_MASTER_KEY"
FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


def deployment_id(route: Route, index: int, address: int, of: int) -> str:
    """A deployment's id, which its log has too: `<group>/<link>:<candidate>`, `@<address>` where a link has several."""
    return link_id(route, index) + (f"@{address + 1}" if of > 1 else "")


def link_id(route: Route, index: int) -> str:
    """What the ids of a link's deployments begin with."""
    return f"{group_name(route)}/{index + 1}:{route.chain[index].candidate}"


def _deployments(route: Route, index: int, models: Models, to: Target) -> list[dict[str, Any]]:
    link, model = route.chain[index], models[route.chain[index].model]
    # Addresses stand in the file itself: for one in a variable that is not set LiteLLM would ask its own default, a
    # hosted one, in silence. Without a key it would send the user's OPENAI_API_KEY to this server.
    params: dict[str, Any] = {
        "model": f"openai/{to.served}",
        "api_key": f"os.environ/{to.key_variable}" if to.key_variable else "none",
        "timeout": model.timeout_s,
    }
    if to.prices is not None:
        params |= {"input_cost_per_token": to.prices[0], "output_cost_per_token": to.prices[1]}
    about = {"candidate": link.candidate, "class": route.class_, "zone": model.zone, "status": route.status}
    return [
        {
            "model_name": link_name(route, index),
            "litellm_params": {**params, "api_base": address},
            "model_info": {"id": deployment_id(route, index, number, len(to.addresses)), "workbench": about},
        }
        for number, address in enumerate(to.addresses)
    ]


def config_of(policy: Policy, models: Models) -> dict[str, Any]:
    """The config as data."""
    deployments: list[dict[str, Any]] = []
    fallbacks: list[dict[str, list[str]]] = []
    for route in policy.routes:
        links = range(len(route.chain))
        for index in links:
            deployments += _deployments(route, index, models, _target(route, index, models))
        if len(route.chain) > 1 and "error" in route.on:
            fallbacks.append({group_name(route): [link_name(route, index) for index in links[1:]]})
    addresses = max((len(models[link.model].urls) for route in policy.routes for link in route.chain), default=1)
    return {
        "model_list": deployments,
        "router_settings": {
            "routing_strategy": "simple-shuffle",
            "num_retries": 0,
            "disable_cooldowns": True,
            "enable_weighted_failover": addresses > 1,  # to a link's other addresses, before the next link
            "max_fallbacks": max(5, addresses),  # it would try 5 of them
            # Each kind of failure by name: with one of these lists set, a group that it leaves out gives up.
            **{
                kind: [{name: [*targets] for name, targets in entry.items()} for entry in fallbacks]
                for kind in FALLBACKS
            },
        },
        "litellm_settings": {"turn_off_message_logging": True, "redact_messages_in_exceptions": True},
        "general_settings": {
            "master_key": f"os.environ/{MASTER_KEY}",
            "store_prompts_in_spend_logs": False,
            "store_model_in_db": False,
            "infer_model_from_keys": False,
        },
    }


def _target(route: Route, index: int, models: Models) -> Target:
    return target(models[route.chain[index].model], models, route.task)


def render(policy: Policy, models: Models) -> Rendered:
    """The config, what it cannot express, and the variables that it reads.

    Raises:
        InputError: the config would have a defect that LiteLLM takes in silence.
    """
    from workbench.export.litellm_check import own_problems, problems

    refuse_unusable(policy)
    config = config_of(policy, models)
    found = own_problems(config) + problems(config, policy, models)
    if found:
        raise InputError(f"the LiteLLM config would be wrong: {found[0]}")
    targets = {
        route.chain[index].model: _target(route, index, models)
        for route in policy.routes
        for index in range(len(route.chain))
    }
    variables = {MASTER_KEY: "the key that clients of the proxy send", **variables_of(targets, models)}
    losses = [line for route in policy.routes for line in _losses(route, models)]
    losses += [
        f"{name}: its price a token is not known, so LiteLLM logs what its own list says of that name, or 0."
        for name, to in targets.items()
        if to.prices is None
    ]
    text = _header(losses, variables) + yaml.safe_dump(config, sort_keys=False, width=110)
    return Rendered(text, losses, variables=variables)


def _losses(route: Route, models: Models) -> list[str]:
    found = common_losses(route, models)
    if len(route.chain) > 1 and "error" not in route.on:
        found.append(
            f"{group_name(route)}: its chain is not for errors, and LiteLLM falls back for nothing else: no fallbacks."
        )
    return found


def _header(losses: list[str], variables: dict[str, str]) -> str:
    from workbench.export.proof import NOT_VERIFIED

    lines = [
        "Made by workbench for LiteLLM. Groups: <task> is safe for restricted requests; <task>-open is for the rest.",
        "Models on 127.0.0.1 are served there by 'workbench serve MODEL'.",
        NOT_VERIFIED,
        "",
        "Has to be set in the environment of the gateway (LiteLLM would send OPENAI_API_KEY instead):",
        *(f"  {name}: {what}" for name, what in variables.items()),
        "",
        "What the policy says and this file cannot:",
        *(f"  {loss}" for loss in losses or ["nothing"]),
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def verify(path: Path, policy: Policy, models: Models, full: bool = True) -> Proof | None:
    """Run the file in the real Router and, where `full`, the real proxy. See `workbench.export.litellm_proof`."""
    from workbench.export.litellm_proof import verify as prove

    return prove(path, policy, models, full)
