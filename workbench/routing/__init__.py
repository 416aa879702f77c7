"""Routing: from the evidence to a policy, and the policy's file.

policy = workbench.route(outcomes, models, limits=tasks)
policy.save("routing.yaml")
frontier(outcomes, models, limits=tasks)          # all policies that were compared, and why the rest was rejected
what_if(outcomes, models, without=["gpt-mini"])   # which routes would change
"""

from workbench.routing.closure import check_closure
from workbench.routing.frontier import Frontier
from workbench.routing.objective import Constraints, Utility
from workbench.routing.policies import frontier, route
from workbench.routing.policy import Link, Policy, Route, load_policy
from workbench.routing.router import Router, load_router
from workbench.routing.whatif import WhatIf, what_if

__all__ = [
    "Constraints",
    "Frontier",
    "Link",
    "Policy",
    "Route",
    "Router",
    "Utility",
    "WhatIf",
    "check_closure",
    "frontier",
    "load_policy",
    "load_router",
    "route",
    "what_if",
]
