"""A policy as a LiteLLM config (proxy or Router).

    export_policy(policy, "litellm", "litellm.yaml", models)

Each route is a plain model group: `<task>` is safe for restricted requests, `<task>-open` is for the rest. Each further
link of a chain is a group of its own, `<task>/2`, that the first names as a fallback: LiteLLM's `order` would give up
at a context-window error. Retries are off, as the next link is the retry; cooldowns are off, so that the chain is the
same for every request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from workbench.catalog import Model, Models
from workbench.errors import InputError
from workbench.export.rendered import Rendered
from workbench.routing.closure import reachable
from workbench.servers import engine_of

if TYPE_CHECKING:
    from workbench.routing.policy import Policy, Route

SEEN_TO_WORK_WITH = "1.106.2"


def group_name(route: Route) -> str:
    """The model group that a client names for a route."""
    return route.task if route.class_ == "restricted" else f"{route.task}-open"


def _link_name(route: Route, index: int) -> str:
    return group_name(route) if index == 0 else f"{group_name(route)}/{index + 1}"


def variable(model: str, what: str) -> str:
    """The environment variable for a model's address (`API_BASE`) or key (`API_KEY`)."""
    return f"WORKBENCH_{re.sub(r'[^A-Za-z0-9]', '_', model).upper()}_{what}"


def _deployment(route: Route, index: int, model: Model, variables: dict[str, str]) -> dict[str, Any]:
    link = route.chain[index]
    served = engine_of(model).served_name(model)
    if model.engine == "rules":
        served = f"rules/{route.task}"
    if model.base_url is None:
        base, key = variable(model.id, "API_BASE"), variable(model.id, "API_KEY")
        variables[base] = f"where {model.id} is served, such as http://127.0.0.1:8100/v1 ('workbench serve {model.id}')"
        variables[key] = f"the key that it is served with ('workbench serve {model.id}' reads it too)"
        address, secret = f"os.environ/{base}", f"os.environ/{key}"
    else:
        address = model.base_url
        # Without a key LiteLLM would send the user's OPENAI_API_KEY to this server.
        secret = f"os.environ/{model.api_key_env}" if model.api_key_env else "none"
        if model.api_key_env:
            variables[model.api_key_env] = f"the key of {model.id}"
    return {
        "model_name": _link_name(route, index),
        "litellm_params": {
            "model": f"openai/{served}",
            "api_base": address,
            "api_key": secret,
            "timeout": model.timeout_s,
        },
        "model_info": {
            "id": f"{group_name(route)}/{index + 1}",
            "workbench": {"candidate": link.candidate, "zone": model.zone, "status": route.status},
        },
    }


def render(policy: Policy, models: Models) -> Rendered:
    """The config, what it cannot express, and the variables that it reads."""
    deployments: list[dict[str, Any]] = []
    fallbacks: list[dict[str, list[str]]] = []
    losses: list[str] = []
    variables: dict[str, str] = {}
    for route in policy.routes:
        if not route.chain:
            losses.append(f"{group_name(route)}: infeasible, so it has no group; routing.yaml says why.")
            continue
        links = range(len(route.chain))
        deployments += [_deployment(route, index, models[route.chain[index].model], variables) for index in links]
        if len(route.chain) > 1:
            fallbacks.append({group_name(route): [_link_name(route, index) for index in links[1:]]})
        losses += _losses(route, models)
    config = {
        "model_list": deployments,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": fallbacks},
    }
    _check(config, models)
    return Rendered(_header(losses, variables) + yaml.safe_dump(config, sort_keys=False, width=110), losses, variables)


def _losses(route: Route, models: Models) -> list[str]:
    """What the policy says of a route and LiteLLM cannot do."""
    group = group_name(route)
    found = []
    for link in route.chain:
        if link.variant != "default":
            found.append(
                f"{group}: the prompt '{link.variant}' of {link.model} is applied by the application, not here."
            )
        if models[link.model].engine == "rules":
            found.append(
                f"{group}: rules see the last user message as it is: send the bare text ('workbench serve rules')."
            )
    if "format" in route.on and len(route.chain) > 1:
        found.append(f"{group}: an answer in the wrong format does not fall back: LiteLLM does not judge formats.")
    return found


def _header(losses: list[str], variables: dict[str, str]) -> str:
    lines = [
        "Made by workbench for LiteLLM. Groups: <task> is safe for restricted requests; <task>-open is for the rest.",
        "",
        "Set in the environment of the gateway:",
        *(f"  {name}: {what}" for name, what in variables.items()),
        "",
        "What the policy says and this file cannot:",
        *(f"  {loss}" for loss in losses or ["nothing"]),
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _check(config: dict[str, Any], models: Models) -> None:
    """LiteLLM takes dangling fallbacks and duplicate ids in silence, so they are checked before a file is written."""
    groups = {entry["model_name"]: entry for entry in config["model_list"]}
    ids = [entry["model_info"]["id"] for entry in config["model_list"]]
    edges = {name: targets for entry in config["router_settings"]["fallbacks"] for name, targets in entry.items()}
    if len(set(ids)) != len(ids) or len(groups) != len(ids):
        raise InputError("two routes would share a model group: a task's name ends in '-open'. Rename the task.")
    for name, targets in edges.items():
        for target in targets:
            if target not in groups:
                raise InputError(f"group {name} falls back to {target}, which is not there.")
    for name, entry in groups.items():
        restricted = not name.split("/")[0].endswith("-open")
        for node in reachable(name, edges):
            zone = groups[node]["model_info"]["workbench"]["zone"]
            if restricted and zone == "hosted":
                raise InputError(f"group {name} may carry restricted text and reaches the hosted group {node}.")
            if not entry["litellm_params"]["api_base"]:
                raise InputError(f"group {name} has no address; LiteLLM would ask its own default.")
