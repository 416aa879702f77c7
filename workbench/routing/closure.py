"""Privacy as a property of a graph: what a restricted route can reach, over every chain and fallback.

check_closure(policy, models)      # raises where a restricted route reaches a hosted or unknown model
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workbench.catalog import Models
from workbench.client import preflight
from workbench.errors import InputError
from workbench.routing.policy import Policy


def reachable(start: str, edges: Mapping[str, Iterable[str]]) -> set[str]:
    """All nodes that can be reached from a start, itself included."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(edges.get(node, ()))
    return seen


def check_closure(policy: Policy, models: Models, listed: bool = True) -> None:
    """Check that restricted routes stay in zones local and private, and that the routes name known models.

    Args:
        policy: the routes.
        models: for zones; a model that is not listed counts as hosted.
        listed: whether every model has to be in models.yaml, as an export needs it.

    Raises:
        InputError: a restricted route reaches a hosted model, a chain names a model that is not listed, or a model's
            address is outside the zone that it declares.
    """
    for route in policy.routes:
        where = f"route {route.task} ({route.class_})"
        verifier = route.verifier
        if route.class_ == "restricted" and verifier and unnamed_judge(verifier.name, verifier.model):
            raise InputError(
                f"{where}: verifier '{verifier.name}' may be a judge, and no model is named, so it counts as hosted. "
                "Name the model that gives it, or route again."
            )
        for name in route.reaches:  # by chain, by the router's choice, by the verifier's judge
            if route.class_ == "restricted" and models.zone_of(name) == "hosted":
                raise InputError(
                    f"{where}: '{name}' is hosted, and restricted items never reach a hosted model. Route again."
                )
            if listed and name not in models:
                raise InputError(f"{where}: model '{name}' is not in models.yaml. Add it, or route again.")
            if name in models:  # the zone is checked, not believed
                for destination in models[name].destinations():
                    preflight(destination)


def unnamed_judge(verifier: str, model: str | None) -> bool:
    """Whether a verifier's signal may come from a model that nobody named; log-probabilities come with the answer."""
    own = verifier in ("format", "agreement") or verifier.startswith("metric.logprob")
    return not own and model is None
