"""Proof of a LiteLLM config: the real Router and the real proxy run it, and every way to fail is tried.

    proof = verify(path, policy, models)       # None where .venv-gateways is not there
    proof.failures                             # empty: every request lands where the policy says

The file itself is checked first, as it is on disk: keys, graph, addresses, prices. Then every deployment's address is
replaced by a stand-in on loopback that answers with the deployment's id, and everything else stays. Each route is asked
with all its models alive, and with each of them, and the first ones together, failing in each way. Who answers is read
from the stand-in's answer and from LiteLLM's own headers, which have to agree.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workbench.export.endpoints import target
from workbench.export.expressible import group_name
from workbench.export.litellm import deployment_id, link_id
from workbench.export.litellm_check import problems
from workbench.export.litellm_run import NOWHERE, QUESTION, Gateway, Proxy, Router
from workbench.export.proof import Landing, Proof, gateway_program
from workbench.export.stand_ins import KINDS, StandIns
from workbench.files import read_yaml

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.routing.policy import Policy, Route

# Names that a client may give and no policy of ours has; LiteLLM knows hosted models by the last ones.
NO_GROUPS = ("no-such-group", "gpt-4o", "openai/gpt-4o", "*")


def verify(path: Path, policy: Policy, models: Models, full: bool = True) -> Proof | None:
    """Run a config and compare where requests land with the policy.

    Args:
        path: the file, as it is.
        policy: what it should do.
        models: addresses, zones and prices.
        full: in the proxy as well as in the Router.

    Returns:
        The proof, or None where the gateways' environment is not installed.

    Raises:
        RunError: LiteLLM does not load the file, or does not answer.
    """
    python, program = gateway_program("python"), gateway_program("litellm")
    if python is None or program is None:
        return None
    config = read_yaml(path).data
    proof = Proof(failures=problems(config, policy, models))
    with Router(python) as router:
        router.version = router.call({"version": True})["version"]
        proof.by = {router.name: router.version}
        proof.failures += router.call({"unknown_keys": config})["unknown"]
        if proof.failures:
            return proof  # it is not run: what it would reach is not known
        routes = [route for route in policy.routes if route.chain]
        if not routes:
            return proof
        with StandIns(entry["model_info"]["id"] for entry in config["model_list"]) as stand_ins:
            with _copy(config, stand_ins) as copy:
                router.load(copy, stand_ins)
                gateways: list[Gateway] = [router]
                if not full:
                    _try_all(proof, routes, models, gateways, stand_ins)
                    return proof
                with Proxy(program, copy, stand_ins) as proxy:
                    _try_all(proof, routes, models, [*gateways, proxy], stand_ins)
                    proof.by[proxy.name] = proxy.version
                    if QUESTION in proxy.log_text():
                        proof.failures.append("the proxy's log repeats what it was asked.")
    return proof


@contextmanager
def _copy(config: dict[str, Any], stand_ins: StandIns) -> Iterator[Path]:
    """The config with the stand-ins' addresses, in a folder of its own."""
    data = json.loads(json.dumps(config))
    for entry in data["model_list"]:
        entry["litellm_params"]["api_base"] = stand_ins.address(entry["model_info"]["id"])
        entry["litellm_params"]["api_key"] = "none"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "config.yaml"
        copy.write_text(yaml.safe_dump(data))
        yield copy


def _links(route: Route, models: Models) -> list[list[str]]:
    """The deployments of each link."""
    found = []
    for index, link in enumerate(route.chain):
        of = len(target(models[link.model], models, route.task).addresses)
        found.append([deployment_id(route, index, number, of) for number in range(of)])
    return found


def _cases(links: list[list[str]], falls_back: bool) -> Iterator[tuple[dict[str, str], int | None]]:
    """What fails, and how, and the link that should answer; None is nobody."""
    yield {}, 0
    for kind in KINDS:
        for dead in range(1, len(links) + 1):  # the first ones together
            reached = dead if falls_back and dead < len(links) else None
            yield {name: kind for link in links[:dead] for name in link}, reached
        for index in range(1, len(links)):  # each of the others alone
            yield dict.fromkeys(links[index], kind), 0
        if len(links[0]) > 1 and kind in ("dead", "429", "500"):  # one address of several, and all but the last
            yield from (({name: kind}, 0) for name in links[0])
            yield dict.fromkeys(links[0][:-1], kind), 0


def _try_all(proof: Proof, routes: list[Route], models: Models, gateways: list[Gateway], stand_ins: StandIns) -> None:
    for route in routes:
        links = _links(route, models)
        own = {name for link in links for name in link}
        for failing, reached in _cases(links, "error" in route.on):
            expected = NOWHERE if reached is None else link_id(route, reached)
            landed = {}
            for gateway in gateways:
                stand_ins.fail(failing)
                seen = gateway.ask(group_name(route))
                landed[gateway.name] = seen.landed.partition("@")[0]
                proof.failures += _strays(stand_ins, own, f"{gateway.name}, {group_name(route)}")
            landing = Landing(route.task, route.class_, group_name(route), failing, expected, landed)
            proof.routes.append(landing)
            if not landing.right:
                proof.failures.append(str(landing))
    stand_ins.fail({})
    for gateway in gateways:
        _try_strangers(proof, routes, gateway, stand_ins)


def _strays(stand_ins: StandIns, own: set[str], where: str) -> list[str]:
    """Who was asked and is none of the route's own; what tried to leave this machine."""
    found = [f"{where}: {name} was asked, which is not in its chain." for name in set(stand_ins.asked) - own]
    return found + [f"{where}: it tried to reach {address}." for address in set(stand_ins.outside)]


def _try_strangers(proof: Proof, routes: list[Route], gateway: Gateway, stand_ins: StandIns) -> None:
    """Names that no route has are answered by nobody; an unknown tag changes nothing."""
    groups = {group_name(route) for route in routes}
    either = {name for route in routes for name in (route.task, f"{route.task}-open")}
    for name in (*NO_GROUPS, *sorted(either - groups)):
        stand_ins.fail({})
        seen = gateway.ask(name)
        if seen.landed != NOWHERE or stand_ins.asked or stand_ins.outside:
            at = [seen.landed, *stand_ins.asked, *stand_ins.outside]
            proof.failures.append(f"{gateway.name}: the unknown group {name} was not refused: {', '.join(at)}")
        else:
            proof.refused.append(f"{gateway.name}: group {name}")
    for route in routes:
        name = group_name(route)
        stand_ins.fail({})
        seen = gateway.ask(name, tags=["no-such-tag"])
        if seen.landed.partition("@")[0] != link_id(route, 0):
            proof.failures.append(f"{gateway.name}: {name} with an unknown tag landed at {seen.landed} ({seen.why})")
