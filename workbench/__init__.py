"""Which model should each of our tasks use, and how do we know?

    import workbench as wb
    run = wb.run(wb.load_evalsets("evalsets"), wb.load_models("models.yaml"))
    wb.leaderboard(run.outcomes)
    policy = wb.route(run.outcomes, run.models, limits=run.tasks)

Names are loaded when they are first used, so that the import itself is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "audit": "workbench.audit",
    "compare": "workbench.evidence",
    "leaderboard": "workbench.evidence",
    "load_evalsets": "workbench.evalset",
    "load_models": "workbench.catalog",
    "load_policy": "workbench.routing",
    "quantization_report": "workbench.quantization",
    "read_outcomes": "workbench.outcomes.table",
    "route": "workbench.routing",
    "run": "workbench.runner",
    "scorer": "workbench.scorers",
    "show": "workbench.views",
}
__all__ = [
    "audit",
    "compare",
    "leaderboard",
    "load_evalsets",
    "load_models",
    "load_policy",
    "quantization_report",
    "read_outcomes",
    "route",
    "run",
    "scorer",
    "show",
]

if TYPE_CHECKING:
    from workbench.audit import audit
    from workbench.catalog import load_models
    from workbench.evalset import load_evalsets
    from workbench.evidence import compare, leaderboard
    from workbench.outcomes.table import read_outcomes
    from workbench.quantization import quantization_report
    from workbench.routing import load_policy, route
    from workbench.runner import run
    from workbench.scorers import scorer
    from workbench.views import show


def load_ipython_extension(shell: Any) -> None:
    """Make `%%ask` known to a notebook: `%load_ext workbench`."""
    from workbench.magic import load_ipython_extension as load

    load(shell)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
