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

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.export.rendered import Rendered
from workbench.routing.closure import reachable
from workbench.servers import engine_of

if TYPE_CHECKING:
    from workbench.routing.policy import Policy, Route

_FIRST_PORT = 8100


def group_name(route: Route) -> str:
    """The model group that a client names for a route."""
    return route.task if route.class_ == "restricted" else f"{route.task}-open"


def _link_name(route: Route, index: int) -> str:
    return group_name(route) if index == 0 else f"{group_name(route)}/{index + 1}"


def key_variable(model: str) -> str:
    """The environment variable for the key that a local model is served with."""
    return f"WORKBENCH_{re.sub(r'[^A-Za-z0-9]', '_', model).upper()}_API_KEY"


def port_of(model: str, models: Models) -> int:
    """Where `workbench serve` serves a local model: a port of its own for each, in the order of models.yaml."""
    return _FIRST_PORT + models.order.index(model)


def _deployments(route: Route, index: int, models: Models, variables: dict[str, str]) -> list[dict[str, Any]]:
    """A link of a chain, once for each of its model's endpoints: LiteLLM balances those of a group."""
    model = models[route.chain[index].model]
    urls = model.urls or [f"http://127.0.0.1:{port_of(model.id, models)}/v1"]
    return [
        _deployment(route, index, models, variables, url, f"@{place}" if place > 1 else "")
        for place, url in enumerate(urls, 1)
    ]


def _deployment(
    route: Route, index: int, models: Models, variables: dict[str, str], url: str, which: str
) -> dict[str, Any]:
    model = models[route.chain[index].model]
    link = route.chain[index]
    served = engine_of(model).served_name(model)
    if model.engine == "rules":
        served = f"rules/{route.task}"
    # Addresses stand in the file itself: for one in a variable that is not set LiteLLM would ask its own default, a
    # hosted one, in silence. Without a key it would send the user's OPENAI_API_KEY to this server.
    name = key_variable(model.id) if model.base_url is None else model.api_key_env
    if name:
        variables[name] = f"the key of {model.id}" + (
            f", which 'workbench serve {model.id}' reads too" if model.base_url is None else ""
        )
    return {
        "model_name": _link_name(route, index),
        "litellm_params": {
            "model": f"openai/{served}",
            "api_base": url,
            "api_key": f"os.environ/{name}" if name else "none",
            "timeout": model.timeout_s,
        },
        "model_info": {
            "id": f"{group_name(route)}/{index + 1}{which}",
            "workbench": {
                "candidate": link.candidate,
                "class": route.class_,
                "zone": model.zone,
                "status": route.status,
            },
        },
    }


def render(policy: Policy, models: Models) -> Rendered:
    """The config, what it cannot express, and the variables that it reads."""
    _check_groups(policy)
    deployments: list[dict[str, Any]] = []
    fallbacks: list[dict[str, list[str]]] = []
    losses: list[str] = []
    variables: dict[str, str] = {}
    for route in policy.routes:
        if not route.chain:
            losses.append(f"{group_name(route)}: infeasible, so it has no group; routing.yaml says why.")
            continue
        links = range(len(route.chain))
        deployments += [each for index in links for each in _deployments(route, index, models, variables)]
        if len(route.chain) > 1:
            fallbacks.append({group_name(route): [_link_name(route, index) for index in links[1:]]})
        losses += _losses(route, models)
    config = {
        "model_list": deployments,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": fallbacks},
    }
    _check(config)
    return Rendered(_header(losses, variables) + yaml.safe_dump(config, sort_keys=False, width=110), losses, variables)


def _losses(route: Route, models: Models) -> list[str]:
    """What the policy says of a route and LiteLLM cannot do."""
    group = group_name(route)
    found = []
    rules = [link.model for link in route.chain if models[link.model].engine == "rules"]
    asked = [link.candidate for link in route.chain if link.model not in rules]
    if asked:
        what = "prompt, generation settings and JSON constraint"
        found.append(f"{group}: {what} of {', '.join(asked)} are the application's to send, not here.")
    if rules:
        found.append(
            f"{group}: rules see the last user message as it is: send the bare text ('workbench serve rules')."
        )
    if rules and asked:
        found.append(f"{group}: the rules want bare text and the next link its prompt: one request cannot be both.")
    several = [link.candidate for link in route.chain[:-1] if len(models[link.model].urls) > 1]
    if several:
        found.append(f"{group}: where one endpoint of {', '.join(several)} fails, the next link is asked, not another.")
    if "format" in route.on and len(route.chain) > 1:
        found.append(f"{group}: an answer in the wrong format does not fall back: LiteLLM does not judge formats.")
    return found


def _header(losses: list[str], variables: dict[str, str]) -> str:
    lines = [
        "Made by workbench for LiteLLM. Groups: <task> is safe for restricted requests; <task>-open is for the rest.",
        "Models on 127.0.0.1 are served there by 'workbench serve MODEL'.",
        "",
        "Has to be set in the environment of the gateway (LiteLLM would send OPENAI_API_KEY instead):",
        *(f"  {name}: {what}" for name, what in variables.items()),
        "",
        "What the policy says and this file cannot:",
        *(f"  {loss}" for loss in losses or ["nothing"]),
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _check_groups(policy: Policy) -> None:
    """Group names are told apart for all routes, also those without a model: a name must mean one thing to a client."""
    seen: dict[str, Route] = {}
    for route in policy.routes:
        name = group_name(route)
        if not re.fullmatch(r"[\w.+ -]{1,100}", name):
            raise InputError(
                f"task {name!r}: letters, digits, blanks and . _ + - make a group's name. Rename the task."
            )
        if name in seen:
            raise InputError(
                f"the routes of '{seen[name].task}' ({seen[name].class_}) and '{route.task}' ({route.class_}) would "
                f"share a model group, '{name}'. Rename a task."
            )
        seen[name] = route


def _check(config: dict[str, Any]) -> None:
    """LiteLLM takes dangling fallbacks and duplicate ids in silence, so they are checked before a file is written."""
    groups = {entry["model_name"]: entry for entry in config["model_list"]}
    ids = [entry["model_info"]["id"] for entry in config["model_list"]]
    edges = {name: targets for entry in config["router_settings"]["fallbacks"] for name, targets in entry.items()}
    links = {name.partition("@")[0] for name in ids}
    if len(set(ids)) != len(ids) or len(groups) != len(links):
        raise InputError("two links would share a model group. Route again.")
    for name, targets in edges.items():
        for target in targets:
            if target not in groups:
                raise InputError(f"group {name} falls back to {target}, which is not there.")
    for name, entry in groups.items():
        restricted = entry["model_info"]["workbench"]["class"] == "restricted"
        for node in reachable(name, edges):
            if restricted and groups[node]["model_info"]["workbench"]["zone"] == "hosted":
                raise InputError(f"group {name} may carry restricted text and reaches the hosted group {node}.")
