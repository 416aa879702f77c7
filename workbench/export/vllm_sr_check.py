"""Proof of a vllm-sr config: its own validator takes it, and its decisions say what the policy says.

    proof = verify(path, policy, models)       # None where .venv-gateways is not there

The router itself is a container, so it is not run here: the decisions are read by an evaluator of ours, for each task
with each class, with none, and for names that no route has. `limits` says so.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import RunError
from workbench.export.proof import Landing, Proof, gateway_program
from workbench.files import read_yaml

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.routing.policy import Policy, Route

_VALIDATE_S = 300
_READ = "decisions as we read them"
NOWHERE = "nowhere"
# What we write, by place: anything else in a file of ours is a mistake of ours.
_OWN: dict[str, set[str]] = {
    "the file": {"version", "listeners", "providers", "evaluation", "routing"},
    "providers": {"models"},
    "model": {"name", "provider_model_id", "backend_refs", "pricing"},
    "routing": {
        *("modelCards", "candidate_requirements", "data_policy", "strategy", "fallback", "signals", "decisions"),
    },
    "decision": {"name", "priority", "rules", "modelRefs", "algorithm", "annotations", "plugins"},
    "candidate": {"model"},
}


def own_problems(config: Mapping[str, Any]) -> list[str]:
    """Keys in a config of ours that we do not mean to write; vllm-sr's validator need not be here."""
    routing = config.get("routing") or {}
    decisions = routing.get("decisions") or []
    places: list[tuple[str, Mapping[str, Any]]] = [
        *(("the file", config), ("providers", config.get("providers") or {}), ("routing", routing)),
        *(("model", entry) for entry in (config.get("providers") or {}).get("models") or []),
        *(("decision", decision) for decision in decisions),
        *(("candidate", ref) for decision in decisions for ref in decision.get("modelRefs") or []),
    ]
    return [
        f"{place}: '{key}' is no key that we write." for place, at in places for key in sorted(set(at) - _OWN[place])
    ]


def problems(config: Mapping[str, Any], policy: Policy, models: Models) -> list[str]:
    """What is wrong with a config for a policy, a line each; what vllm-sr's own validator sees is left to it."""
    try:
        return [
            *_against_policy(config, policy, models),
            *_reach(config, models),
            *_wrong_routes(config, policy, models),
        ]
    except (TypeError, AttributeError, KeyError, ValueError) as failure:
        return [f"it is no vllm-sr config ({type(failure).__name__}: {str(failure)[:80]})."]


def _against_policy(config: Mapping[str, Any], policy: Policy, models: Models) -> Iterator[str]:
    """Models, addresses, keys, prices: as models.yaml has them."""
    from workbench.export.vllm_sr import config_of

    expected = {entry["name"]: entry for entry in config_of(policy, models)["providers"]["models"]}
    given = {entry["name"]: entry for entry in config["providers"]["models"]}
    for name in sorted({*expected, *given}):
        if name not in given or name not in expected:
            yield f"model {name} is {'missing' if name not in given else 'no model of the policy'}."
            continue
        for key in sorted({*expected[name], *given[name]}):
            if expected[name].get(key) != given[name].get(key):
                why = " Unknown is never 0." if key == "pricing" else ""
                is_, should = given[name].get(key), expected[name].get(key)
                yield f"model {name}: {key} is {is_!r}, and should be {should!r}.{why}"


def _reach(config: Mapping[str, Any], models: Models) -> Iterator[str]:
    routing, known = config["routing"], {entry["name"] for entry in config["providers"]["models"]}
    default = (config["providers"].get("defaults") or {}).get("model")
    if default:
        yield f"providers.defaults.model {default}: a request that no decision matches would go there. Remove it."
    for key in ("entrypoints", "recipes", "global"):
        if config.get(key):
            yield f"{key}: it may route past the decisions, and is not checked here. Remove it."
    names = [decision["name"] for decision in routing["decisions"]]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        yield f"the decision {twice} stands there twice."
    for decision in routing["decisions"]:
        for ref in decision.get("modelRefs") or []:
            if ref["model"] not in known:
                yield f"decision {decision['name']} names the model {ref['model']}, which is not there."
            elif models.zone_of(ref["model"].partition("/")[0]) == "hosted" and not _wants_open(decision):
                yield f"decision {decision['name']} may carry restricted text and reaches the hosted {ref['model']}."
        for plugin in decision.get("plugins") or []:
            if plugin.get("type") != "fast_response":
                yield f"decision {decision['name']}: {plugin.get('type')} may send text elsewhere. Remove that plugin."
    if (routing.get("data_policy") or {}).get("replay") is not False:
        yield "routing.data_policy.replay has to be false: it keeps requests."


def _wants_open(decision: Mapping[str, Any]) -> bool:
    """Whether a decision asks for class open by a plain condition of its AND."""
    rules = decision.get("rules") or {}
    return rules.get("operator") == "AND" and {"type": "metadata", "name": "open"} in (rules.get("conditions") or [])


def matches(rules: Mapping[str, Any], metadata: Mapping[str, str], signals: Mapping[str, Any]) -> bool:
    """Whether a decision's rules hold for a request's metadata."""
    if "type" in rules:
        if rules["type"] != "metadata":
            raise ValueError(f"a condition of type {rules['type']}")
        signal = signals[rules["name"]]
        value, predicate = metadata.get(signal["key"]), signal["predicate"]
        if "exists" in predicate:
            return (value is not None) is bool(predicate["exists"])
        return value is not None and value in predicate.get("in", [predicate.get("equals")])
    inner = [matches(condition, metadata, signals) for condition in rules.get("conditions") or []]
    operator = str(rules.get("operator", "AND")).upper()
    return all(inner) if operator == "AND" else any(inner) if operator == "OR" else not inner[0]


def candidates(config: Mapping[str, Any], metadata: Mapping[str, str]) -> list[str]:
    """Who is asked for a request, in order: those of the matching decision of the highest priority."""
    routing = config["routing"]
    signals = {signal["name"]: signal for signal in routing["signals"]["metadata"]}
    found = [d for d in routing["decisions"] if matches(d.get("rules") or {}, metadata, signals)]
    if not found:
        raise ValueError(f"no decision matches {metadata or 'a request without metadata'}")
    best = max(found, key=lambda decision: decision["priority"])
    if sum(decision["priority"] == best["priority"] for decision in found) > 1:
        raise ValueError(f"several decisions of one priority match {metadata}")
    return [ref["model"] for ref in best.get("modelRefs") or []]


def _requests(policy: Policy) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Task, class, and metadata that ask for it."""
    for task in dict.fromkeys(route.task for route in policy.routes):
        yield task, "open", {"task": task, "class": "open"}
        for said in ({}, {"class": "restricted"}, {"class": "no-such-class"}):
            yield task, "restricted", {"task": task, **said}


def _table(config: Mapping[str, Any], policy: Policy, models: Models) -> Iterator[Landing]:
    from workbench.export.vllm_sr import alias

    chains: dict[tuple[str, str], Route] = {(route.task, route.class_): route for route in policy.routes if route.chain}
    for task, class_, metadata in _requests(policy):
        route = chains.get((task, class_))
        links = [] if route is None else route.chain if "error" in route.on else route.chain[:1]
        expected = [alias(link.model, task, models) for link in links]
        landed = candidates(config, metadata)
        group = ", ".join(f"{key}={value}" for key, value in metadata.items())  # what a client says
        said = " → ".join(landed) or NOWHERE
        yield Landing(task, class_, group, {}, " → ".join(expected) or NOWHERE, {_READ: said})


def _wrong_routes(config: Mapping[str, Any], policy: Policy, models: Models) -> Iterator[str]:
    yield from (str(landing) for landing in _table(config, policy, models) if not landing.right)
    for metadata in ({}, {"task": "no-such-task"}, {"class": "open"}):
        landed = candidates(config, metadata)
        if landed:
            yield f"a request with the metadata {metadata} has no route, and would go to {landed[0]}."


def verify(path: Path, policy: Policy, models: Models) -> Proof | None:
    """Check a config as it is on disk.

    Returns:
        The proof, or None where .venv-gateways is not installed.

    Raises:
        RunError: the validator does not answer.
    """
    program, python = gateway_program("vllm-sr"), gateway_program("python")
    if program is None or python is None:
        return None
    config = read_yaml(path).data
    proof = Proof(
        failures=problems(config, policy, models),
        did="request is decided as the policy says",
        did_many="requests are decided as the policy says",
    )
    what = "import importlib.metadata as m; print(m.version('vllm-sr'))"
    version = _run([str(python), "-I", "-c", what]).stdout.strip()
    done = _run([str(program), "config", "validate", "--config", str(path)])
    proof.by = {"vllm-sr config validate": version}
    if done.returncode != 0:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        proof.failures.append(f"vllm-sr refuses it: {' '.join(said)[:400]}")
    if not proof.failures:
        proof.routes = list(_table(config, policy, models))
        proof.limits = ["vllm-sr's router was not run: its decisions were read, and no model was made to fail"]
    return proof


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env = {**kept, "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=_VALIDATE_S, check=False, env=env)
    except subprocess.TimeoutExpired:
        raise RunError(f"{Path(argv[0]).name} did not answer within {_VALIDATE_S} s.") from None
