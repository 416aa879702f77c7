"""The runner: a plan, its attempts, and the outcomes.

run = workbench.run(tasks, models, sample=40)
run.outcomes, run.problems, run.path
"""

from workbench.runner.estimate import estimate
from workbench.runner.execute import run
from workbench.runner.given import planned
from workbench.runner.plan import Plan, make_plan
from workbench.runner.result import Run

__all__ = ["Plan", "Run", "estimate", "make_plan", "planned", "run"]
