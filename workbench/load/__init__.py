"""Load: what production will feel of a model, at which level it is full, and what a token costs there.

result = load_test(plan_load(models["smollm2-q4"], models, task=tasks["support_triage"]))
print(views.load_text(result))
read_loads("smollm2-q4")[0].saturation.output_tokens_per_s
"""

from workbench.load.plan import Plan, plan_load
from workbench.load.result import Figure, LoadResult, Step, read_loads
from workbench.load.run import load_test

__all__ = ["Figure", "LoadResult", "Plan", "Step", "load_test", "plan_load", "read_loads"]
