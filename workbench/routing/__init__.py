"""Routing: from the evidence to a policy, and the policy's file.

policy = workbench.route(outcomes, models, limits=tasks)
policy.save("routing.yaml")
"""

from workbench.routing.choose import route
from workbench.routing.closure import check_closure
from workbench.routing.policy import Link, Policy, Route, load_policy

__all__ = ["Link", "Policy", "Route", "check_closure", "load_policy", "route"]
