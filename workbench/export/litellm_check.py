"""What LiteLLM takes in silence: dangling fallbacks, misspelt keys, cycles, a hosted fallback, a price of 0.

    problems(yaml.safe_load(text), policy, models)       # a line each; none for a sound file

Works on a config's data: on ours before it is written, and on a file that somebody edited since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from workbench.export.endpoints import addresses_of, target
from workbench.export.expressible import link_name
from workbench.export.litellm import FALLBACKS
from workbench.routing.closure import reachable

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.routing.policy import Policy

# What we write: anything else in a file of ours is a mistake of ours.
_PARAMS = {"model", "api_base", "api_key", "timeout", "input_cost_per_token", "output_cost_per_token"}
_OWN = {
    "model_list": {"model_name", "litellm_params", "model_info"},
    "router_settings": {
        *("routing_strategy", "num_retries", "disable_cooldowns", "enable_weighted_failover", "max_fallbacks"),
        *FALLBACKS,
    },
    "litellm_settings": {"turn_off_message_logging", "redact_messages_in_exceptions"},
    "general_settings": {"master_key", "store_prompts_in_spend_logs", "store_model_in_db", "infer_model_from_keys"},
}
# What LiteLLM knows, and leads requests past the policy or their text elsewhere: the value that is harmless, and why.
_STRAY: dict[tuple[str, str], tuple[Any, str]] = {
    ("router_settings", "default_fallbacks"): ([], "every failed request goes there"),
    ("litellm_settings", "default_fallbacks"): ([], "every failed request goes there"),
    ("router_settings", "enable_tag_filtering"): (
        False,
        "a request with an unknown tag falls to the default deployment",
    ),
    ("router_settings", "default_deployment"): (None, "an unknown group is answered there"),
    ("general_settings", "completion_model"): (None, "it replaces the group that a client names"),
    ("general_settings", "infer_model_from_keys"): (False, "it adds hosted models for keys that it finds"),
    ("general_settings", "store_model_in_db"): (False, "models from a database are added"),
    ("general_settings", "pass_through_endpoints"): ([], "requests pass by the routes"),
    ("general_settings", "store_prompts_in_spend_logs"): (False, "restricted text would be logged"),
    ("router_settings", "router_general_settings"): (None, "models that are not listed may pass"),
    ("litellm_settings", "model_alias_map"): ({}, "names mean other models"),
    ("litellm_settings", "callbacks"): ([], "restricted text may go to a logger"),
    ("litellm_settings", "success_callback"): ([], "restricted text may go to a logger"),
    ("litellm_settings", "failure_callback"): ([], "restricted text may go to a logger"),
    ("litellm_settings", "cache"): (False, "an answer may be another request's"),
}


def own_problems(config: Mapping[str, Any]) -> list[str]:
    """Keys in a config of ours that we do not mean to write, and would be taken in silence."""
    found = [f"{name} is no section of it." for name in set(config) - set(_OWN)]
    for section, keys in _OWN.items():
        entries = config.get(section) or []
        for entry in entries if section == "model_list" else [entries]:
            found += [f"{section}: '{key}' is no key that we write." for key in sorted(set(entry) - keys)]
    for entry in config.get("model_list") or []:
        found += [
            f"{entry['model_name']}: '{key}' is no parameter." for key in sorted(set(entry["litellm_params"]) - _PARAMS)
        ]
    return found


def problems(config: Mapping[str, Any], policy: Policy, models: Models) -> list[str]:
    """What is wrong with a LiteLLM config for a policy.

    Args:
        config: the file's data; whatever it is.
        policy: what it should do.
        models: addresses, zones and prices as models.yaml has them.

    Returns:
        A line each, with the group or key; none for a sound config.
    """
    try:
        return [
            *_shape(config),
            *_stray(config),
            *_deployments(config, policy, models),
            *_graph(config, policy, models),
        ]
    except (TypeError, AttributeError, KeyError, ValueError) as failure:
        return [f"it is no LiteLLM config ({type(failure).__name__}: {str(failure)[:80]})."]


def _shape(config: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(config, Mapping) or not isinstance(config.get("model_list"), list):
        raise ValueError("no model_list")
    for name in sorted(set(config) - set(_OWN)):
        yield f"{name}: what this section does to requests is not verified. Remove it."
    ids = [entry["model_info"]["id"] for entry in config["model_list"]]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"the id {twice} stands there twice."
    settings = config.get("router_settings") or {}
    if settings.get("num_retries") != 0 or settings.get("disable_cooldowns") is not True:
        yield "router_settings: num_retries has to be 0 and disable_cooldowns true, or the chain changes in use."
    if not str((config.get("general_settings") or {}).get("master_key", "")).startswith("os.environ/"):
        yield "general_settings: master_key has to come from the environment: os.environ/LITELLM_MASTER_KEY."


def _stray(config: Mapping[str, Any]) -> Iterator[str]:
    for (section, key), (harmless, why) in _STRAY.items():
        value = (config.get(section) or {}).get(key, harmless)
        if value not in (harmless, None):
            yield f"{section}.{key}: {why}. Remove it."


def _deployments(config: Mapping[str, Any], policy: Policy, models: Models) -> Iterator[str]:
    """Each deployment against the link that it stands for."""
    links = {link_name(route, i): (route, i) for route in policy.routes for i in range(len(route.chain))}
    seen: dict[str, set[str]] = {}
    for entry in config["model_list"]:
        name, params = entry["model_name"], entry["litellm_params"]
        if name not in links:
            yield f"group {name} is no link of the policy. Remove it."
            continue
        route, index = links[name]
        model = models[route.chain[index].model]
        to = target(model, models, route.task)
        address = params.get("api_base")
        seen.setdefault(name, set()).add(str(address))
        if address not in to.addresses:
            yield f"group {name}: api_base {address!r} is not where {model.id} is ({', '.join(to.addresses)})."
        if params.get("model") != f"openai/{to.served}":
            yield f"group {name}: model {params.get('model')!r} is not {model.id} (openai/{to.served})."
        if params.get("api_key") != (f"os.environ/{to.key_variable}" if to.key_variable else "none"):
            yield f"group {name}: api_key has to be {f'os.environ/{to.key_variable}' if to.key_variable else 'none'}."
        if params.get("tags"):
            yield f"group {name}: tags: a request with another tag falls to a default deployment. Remove them."
        written = params.get("input_cost_per_token"), params.get("output_cost_per_token")
        if to.prices is None and written != (None, None):
            yield f"group {name}: the price of {model.id} is not known, and {written} is written. Unknown is never 0."
        if to.prices is not None and written != to.prices:
            yield f"group {name}: the price of {model.id} is {to.prices} USD a token, and {written} is written."
    for name, (route, index) in links.items():
        lacking = set(target(models[route.chain[index].model], models, route.task).addresses) - seen.get(name, set())
        if lacking:
            yield f"group {name} lacks {', '.join(sorted(lacking))}."


def edges_of(config: Mapping[str, Any]) -> dict[str, set[str]]:
    """Where a request of each group may go on to: every kind of fallback, defaults and aliases."""
    edges: dict[str, set[str]] = {}

    def add(name: str, targets: Iterable[Any]) -> None:
        for to in targets:
            edges.setdefault(name, set()).add(str(to["model"] if isinstance(to, Mapping) else to))

    groups = {entry["model_name"] for entry in config["model_list"]}
    for section in ("router_settings", "litellm_settings"):
        settings = config.get(section) or {}
        for kind in FALLBACKS:
            for entry in settings.get(kind) or []:
                for name, targets in entry.items():
                    for start in groups if name == "*" else {name}:
                        add(start, targets)
        for start in groups:
            add(start, settings.get("default_fallbacks") or [])
        for alias, to in (settings.get("model_group_alias") or {}).items():
            add(alias, [to])
    return edges


def _graph(config: Mapping[str, Any], policy: Policy, models: Models) -> Iterator[str]:
    edges = edges_of(config)
    groups: dict[str, list[Any]] = {}
    for entry in config["model_list"]:
        groups.setdefault(entry["model_name"], []).append(entry)
    for name, targets in edges.items():
        for to in sorted(targets - set(groups)):
            yield f"group {name} falls back to {to}, which is not there."
        if name not in groups and name not in (config.get("router_settings") or {}).get("model_group_alias", {}):
            yield f"fallbacks are named for {name}, which is no group."
        if any(name in reachable(to, edges) for to in targets):
            yield f"group {name} comes back to itself: its fallbacks make a cycle."
    # Whoever names an alias of an open group, or a group that no route has, may send restricted text.
    expected = {link_name(route, i): route for route in policy.routes for i in range(len(route.chain))}
    inside = {
        address for name, model in models.items() if model.zone != "hosted" for address in addresses_of(model, models)
    }
    for name in {*groups, *edges}:
        route = expected.get(name)
        if route is not None and route.class_ == "open":
            continue
        for node in sorted(reachable(name, edges)):
            if any(entry["litellm_params"].get("api_base") not in inside for entry in groups.get(node, [])):
                yield f"group {name} may carry restricted text and reaches {node}, which is neither local nor private."
