"""A policy as a config of vLLM Semantic Router, v0.3.

    export_policy(policy, "vllm-sr", "vllm-sr.yaml", models)

A client sends the task as request metadata, `{"metadata": {"task": "support_triage"}}`; without `"class": "open"` a
request takes the restricted route. Each route is a decision with its chain as candidates in order; what no route
answers is told so, and reaches no model: there is no default one. What we measured stands in `evaluation.records`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.export.endpoints import Target, target, variables_of
from workbench.export.expressible import common_losses, group_name, refuse_unusable
from workbench.export.rendered import Rendered

if TYPE_CHECKING:
    from workbench.export.proof import Proof
    from workbench.routing.policy import Policy, Route

_PORT = 8899
_RETRYABLE = [429, 500, 502, 503, 504]
NO_ROUTE = "no-route"


def alias(model: str, task: str, models: Models) -> str:
    """A model's name in the file: rules are a model for each task."""
    return f"{model}/{task}" if models[model].engine == "rules" else model


def config_of(policy: Policy, models: Models) -> dict[str, Any]:
    """The config as data."""
    targets = _targets(policy, models)
    routes = [route for route in policy.routes if route.chain]
    records = [record for route in routes for record in _records(route, policy, models)]
    tasks = dict.fromkeys(route.task for route in policy.routes)
    signals = [{"name": f"task {task}", "key": "task", "predicate": {"equals": task}} for task in tasks]
    falls_back = any(len(route.chain) > 1 and "error" in route.on for route in routes)
    return {
        "version": "v0.3",
        "listeners": [{"name": "workbench", "address": "127.0.0.1", "port": _PORT}],
        "providers": {"models": [_provider(name, to) for name, to in targets.items()]},
        **({"evaluation": {"benchmarks": _benchmarks(routes), "records": records}} if records else {}),
        "routing": {
            "modelCards": [_card(name, models) for name in targets],
            "candidate_requirements": {"context": "known_limits"},  # one that is too small is passed over
            "data_policy": {"replay": False},  # no copies of requests are kept
            "strategy": "priority",
            "fallback": {
                "version": 1,
                "enabled": falls_back,
                "max_attempts": max((len(route.chain) for route in routes), default=1),
                "retryable_status_codes": _RETRYABLE,
            },
            "signals": {"metadata": [*signals, {"name": "open", "key": "class", "predicate": {"equals": "open"}}]},
            "decisions": [*(_decision(route, models) for route in routes), _no_route()],
        },
    }


def _targets(policy: Policy, models: Models) -> dict[str, Target]:
    return {
        alias(link.model, route.task, models): target(models[link.model], models, route.task)
        for route in policy.routes
        for link in route.chain
    }


def _provider(name: str, to: Target) -> dict[str, Any]:
    key = {"api_key_env": to.key_variable} if to.key_variable else {}
    backends = [
        {"name": f"{name}-{number}", "provider": "vllm", "base_url": address, "weight": 1, **key}
        for number, address in enumerate(to.addresses, 1)
    ]
    entry: dict[str, Any] = {"name": name, "provider_model_id": to.served, "backend_refs": backends}
    if to.prices is not None:  # what is left out of a price counts as 0 there, so it is whole or not at all
        read, written = (round(price * 1e6, 9) for price in to.prices)
        entry["pricing"] = {
            "currency": "USD",
            "prompt_per_1m": read,
            "cached_input_per_1m": read,
            "completion_per_1m": written,
        }
    return entry


def _card(name: str, models: Models) -> dict[str, Any]:
    model = models[name.partition("/")[0]]
    known = "max_model_len" in model.model_fields_set
    return {"name": name, **({"context_window_size": model.max_model_len} if known else {})}


def _decision(route: Route, models: Models) -> dict[str, Any]:
    is_open: dict[str, Any] = {"type": "metadata", "name": "open"}
    class_ = is_open if route.class_ == "open" else {"operator": "NOT", "conditions": [is_open]}
    chain = route.chain if "error" in route.on else route.chain[:1]
    return {
        "name": group_name(route),
        "priority": 100,
        "rules": {"operator": "AND", "conditions": [{"type": "metadata", "name": f"task {route.task}"}, class_]},
        "modelRefs": [{"model": alias(link.model, route.task, models)} for link in chain],
        "algorithm": {"type": "static"},  # the first candidate, always
        "annotations": {"workbench_status": route.status, "workbench_policy": route.policy},
    }


def _no_route() -> dict[str, Any]:
    """Told, and sent to no model: without it a request that nothing matches goes to a default."""
    message = "No route: send metadata.task, and metadata.class 'open' where the request is not restricted."
    return {
        "name": NO_ROUTE,
        "priority": 0,
        "rules": {"operator": "AND", "conditions": []},
        "plugins": [{"type": "fast_response", "configuration": {"message": message}}],
    }


def benchmark_id(task: str) -> str:
    """A task's name as the schema wants those of benchmarks."""
    return f"workbench/{re.sub(r'[^a-z0-9._-]', '-', task.lower())}@1"


def _benchmarks(routes: list[Route]) -> list[dict[str, Any]]:
    metric = {"id": "score", "unit": "share", "direction": "higher_is_better", "range": [0, 1]}
    bounds = [{**metric, "id": name} for name in ("score", "score_low", "score_high")]
    count = {"id": "n", "unit": "items", "direction": "higher_is_better", "range": [0, 1e9]}
    costs = [
        {"id": name, "unit": "USD", "direction": "lower_is_better", "range": [0, 1e9]}
        for name in ("cost_per_accepted_usd", "cost_per_accepted_usd_low", "cost_per_accepted_usd_high")
    ]
    classes: dict[str, list[str]] = {}
    for route in routes:
        classes.setdefault(route.task, []).append(route.class_)
    return [
        {
            "id": benchmark_id(task),
            "display_name": task,
            "domain": "workbench",
            "default_profile": of[0],
            "profiles": [{"id": c, "display_name": c, "description": f"{c} items of the eval set {task}"} for c in of],
            "metrics": [*bounds, count, *costs],
        }
        for task, of in classes.items()
    ]


def _records(route: Route, policy: Policy, models: Models) -> list[dict[str, Any]]:
    """What was measured of the route's first candidate."""
    evidence, first = route.evidence, route.chain[0]
    if evidence.score is None:
        return []
    figures: dict[str, float | None] = {"n": float(evidence.n)}
    for name, values in {"score": evidence.score, "cost_per_accepted_usd": evidence.cost_per_accepted_usd}.items():
        ends = ("", "_low", "_high")
        figures |= {f"{name}{end}": value for end, value in zip(ends, values or [], strict=False)}
    facts = {
        "variant": first.variant,
        "status": route.status,
        "method": evidence.method,
        "clusters": evidence.clusters,
        "outcomes_sha256": policy.evidence.outcomes_sha256,
        "evalset_digest": policy.evidence.evalsets.get(route.task),
        "mlflow_run": policy.evidence.mlflow_run,
    }
    return [
        {
            "model": alias(first.model, route.task, models),
            "benchmark": benchmark_id(route.task),
            "benchmark_profile": route.class_,
            "metrics": {name: value for name, value in figures.items() if value is not None},  # unknown is not 0
            "source": f"workbench {policy.workbench}",
            "measured_at": policy.created.date().isoformat(),
            "metadata": {name: value for name, value in facts.items() if value is not None},
        }
    ]


def render(policy: Policy, models: Models) -> Rendered:
    """The config, what it cannot express, and the variables that it reads.

    Raises:
        InputError: the config would have a defect, or two tasks would share a benchmark.
    """
    from workbench.export.proof import NOT_VERIFIED
    from workbench.export.vllm_sr_check import own_problems, problems

    refuse_unusable(policy)
    tasks: dict[str, str] = {}
    for route in policy.routes:
        other = tasks.setdefault(benchmark_id(route.task), route.task)
        if other != route.task:
            raise InputError(f"the tasks '{other}' and '{route.task}' would share a benchmark's name. Rename one.")
    config = config_of(policy, models)
    found = own_problems(config) + problems(config, policy, models)
    if found:
        raise InputError(f"the vllm-sr config would be wrong: {found[0]}")
    losses = [line for route in policy.routes for line in common_losses(route, models)]
    losses += _losses(policy, models)
    named = {
        link.model: target(models[link.model], models, route.task) for route in policy.routes for link in route.chain
    }
    variables = variables_of(named, models)
    lines = [
        "Made by workbench for vLLM Semantic Router, config v0.3. A request says metadata.task, and metadata.class",
        "'open' where it is not restricted; its model is the router's own name (auto), not one of these.",
        NOT_VERIFIED,
        "",
        "Has to be set in the environment of the router:",
        *(f"  {name}: {what}" for name, what in variables.items()),
        "",
        "What the policy says and this file cannot:",
        *(f"  {loss}" for loss in losses or ["nothing"]),
    ]
    header = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    plain = json.loads(json.dumps(config))  # what stands in it twice is written twice, not as an alias
    return Rendered(header + yaml.safe_dump(plain, sort_keys=False, width=110), losses, variables=variables)


def _losses(policy: Policy, models: Models) -> list[str]:
    found = [
        "A client that names a model of this file itself passes by the decisions: give clients the router's name only.",
        "Metadata is what the client says: who may say class 'open' is for what stands before the router to check.",
    ]
    for route in policy.routes:
        if len(route.chain) > 1 and "error" in route.on:
            found.append(
                f"{group_name(route)}: its chain takes over at a failed connection, a time-out and the statuses "
                f"{', '.join(map(str, _RETRYABLE))}; not at other errors, such as a prompt that is refused as too long."
            )
    for name, to in _targets(policy, models).items():
        if to.prices is None:
            found.append(f"{name}: its price a token is not known, so it has none here, and counts as 0 there.")
        if "max_model_len" not in models[name.partition("/")[0]].model_fields_set and "/" not in name:
            found.append(f"{name}: max_model_len is not set, so a prompt that is too long for it is sent all the same.")
    timed = {models[link.model].timeout_s for route in policy.routes for link in route.chain}
    if timed:
        found.append(
            f"Time-outs of attempts ({', '.join(f'{t:g} s' for t in sorted(timed))}) are the router's own here."
        )
    return found


def verify(path: Path, policy: Policy, models: Models, full: bool = True) -> Proof | None:
    """Have vllm-sr validate the file, and read its decisions. See `workbench.export.vllm_sr_check`."""
    from workbench.export.vllm_sr_check import verify as prove

    return prove(path, policy, models)
