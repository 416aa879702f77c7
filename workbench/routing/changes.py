"""What is different between two policies, in lines that somebody reads before a deployment.

changes(load_policy("routing.yaml"), policy)      # ["support_triage (open): rules → gemma3-q4 …"]
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.routing.policy import Policy, Route


def changes(before: Policy, after: Policy) -> list[str]:
    """A line a route that is new, gone or another; none where both route the same way for the same reasons."""
    old = {(route.task, route.class_): route for route in before.routes}
    new = {(route.task, route.class_): route for route in after.routes}
    lines = []
    for task, cls in dict.fromkeys([*old, *new]):
        was, now = old.get((task, cls)), new.get((task, cls))
        said = "new: " + _told(now) if was is None and now else "gone: was " + _told(was) if now is None and was else ""
        if was and now:
            said = _difference(was, now)
        if said:
            lines.append(f"{task} ({cls}): {said}")
    if before.objective != after.objective:
        lines.append(f"objective: {before.objective} → {after.objective}")
    if before.constraints != after.constraints:
        lines.append("the constraints are others")
    lines += _prices(before.evidence.prices, after.evidence.prices)
    return lines


def _prices(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Prices that come from somewhere else; the day on which they were looked up is no price."""
    return [
        f"prices, {name}: {was.get(name, 'none')} ⇒ {now.get(name, 'none')}"
        for name in dict.fromkeys([*was, *now])
        if name != "as_of" and was.get(name) != now.get(name)
    ]


def _told(route: Route) -> str:
    return f"{route.way} [{route.status}]"


def _difference(was: Route, now: Route) -> str:
    parts = []
    if (was.way, was.kind) != (now.way, now.kind):
        kinds = "" if was.kind == now.kind else f" ({was.kind} → {now.kind})"
        parts.append(f"{was.way} ⇒ {now.way}{kinds}")
    if was.status != now.status:
        parts.append(f"{was.status} ⇒ {now.status}")
    if (was.margin, was.margin_source) != (now.margin, now.margin_source):
        parts.append(f"margin {was.margin:g} ({was.margin_source}) ⇒ {now.margin:g} ({now.margin_source})")
    if was.on != now.on:
        parts.append(f"falls back on {', '.join(was.on)} ⇒ {', '.join(now.on)}")
    if _cost(was) != _cost(now):
        parts.append(f"per accepted answer {_cost(was)} ⇒ {_cost(now)}")
    return "; ".join(parts)


def _cost(route: Route) -> str:
    """The cost of an accepted answer, to the digits that people compare."""
    cost = (route.evidence.cost_per_accepted_usd or [None])[0]
    return "unknown" if cost is None else f"${cost:.2g}"
