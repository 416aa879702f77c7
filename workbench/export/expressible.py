"""What every gateway has in common: which routes can be exported at all, and what is lost of them in any plain config.

refuse_unusable(policy)              # an InputError where a chain cannot be a gateway's
kind_losses(route)                   # of a cascade, of a per-request choice
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.routing.policy import Policy, Route

# What a gateway that knows chains and no more loses of each kind of policy.
_KINDS: dict[str, str | None] = {
    "per_task": None,
    "rules_first": None,
    "cascade": "the verifier is not asked: an answer that it would not trust is given as it is. To escalate, the "
    "application judges it and asks the next link's group",
    "per_request": "the choice per request is the application's (policy.router(…)): here every request takes the chain",
}


def group_name(route: Route) -> str:
    """What a client calls a route: `<task>` is safe for restricted requests, `<task>-open` is for the rest."""
    return route.task if route.class_ == "restricted" else f"{route.task}-open"


def link_name(route: Route, index: int) -> str:
    """The name of a route's link, from 0."""
    return group_name(route) if index == 0 else f"{group_name(route)}/{index + 1}"


def refuse_unusable(policy: Policy) -> None:
    """Refuse what no config can say rightly.

    Raises:
        InputError: two routes would share a group, a name cannot be one, a chain comes back to a candidate, or the kind
            of policy is not known here.
    """
    seen: dict[str, Route] = {}
    for route in policy.routes:  # also those without a model: a name must mean one thing to a client
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
        if route.task.endswith("-open"):
            raise InputError(f"task '{route.task}': the ending -open is for routes of class open. Rename the task.")
        seen[name] = route
        candidates = [link.candidate for link in route.chain]
        if len(set(candidates)) < len(candidates):
            again = next(c for c in candidates if candidates.count(c) > 1)
            raise InputError(f"route {route.task} ({route.class_}): the chain comes back to {again}. Route again.")
        if route.policy not in _KINDS:
            raise InputError(
                f"route {route.task} ({route.class_}): this export does not know policies of the kind "
                f"'{route.policy}'. It knows: {', '.join(_KINDS)}."
            )


def kind_losses(route: Route) -> list[str]:
    """What a chain does not say of a route's kind of policy."""
    lost = _KINDS.get(route.policy)
    return [f"{group_name(route)}: {lost}."] if lost else []


def common_losses(route: Route, models: Models) -> list[str]:
    """What no gateway of this package does for a route."""
    group = group_name(route)
    if not route.chain:
        return [f"{group}: infeasible, so it has no route here; routing.yaml says why."]
    found = kind_losses(route)
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
    for link in route.chain:
        if len(models[link.model].gpus) > 1:
            found.append(
                f"{group}: 'workbench serve {link.model}' is one server, not {len(models[link.model].gpus)} replicas."
            )
    if "format" in route.on and len(route.chain) > 1:
        found.append(f"{group}: an answer in the wrong format does not fall back: the gateway does not judge formats.")
    return found
