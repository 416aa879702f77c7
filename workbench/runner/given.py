"""What a run is given, checked, and the plan that it comes to; nothing is sent for that.

plan = planned(tasks, models, sample=40)
print(plan.describe())
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import SupportsIndex

from workbench import project
from workbench.catalog import Models, load_models
from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalsets
from workbench.runner.ask import unknown_price
from workbench.runner.budget import Budget
from workbench.runner.judging import check_judges, judges_of
from workbench.runner.plan import Plan, make_plan


def planned(
    tasks: Mapping[str, EvalSet] | EvalSet | str | Path,
    models: Models | str | Path,
    *,
    sample: int | None = None,
    variants: str | Iterable[str] | None = None,
    repeats: int = 1,
    max_cost_usd: float | None = None,
    batch: bool = False,
) -> Plan:
    """What a run would ask, checked; the arguments are those of `run`.

    Raises:
        InputError: it is impossible.
    """
    models = _models_of(models)
    _check_count("repeats", repeats)
    if sample is not None:
        _check_count("sample", sample)
    tasks = {name: task.sample(sample) for name, task in _tasks_of(tasks).items()}
    plan = make_plan(tasks, models, project.listed(variants), repeats, batch)
    check_judges(plan)
    Budget(max_cost_usd)
    if max_cost_usd is not None:
        asked = [plan.models[name] for name, questions in plan.questions.items() if len(questions)]
        judges = [models.known[judge.model] for task in plan.tasks.values() for judge in judges_of(task)]
        for model in (*asked, *judges):
            if unknown_price(model):
                raise InputError(
                    f"{model.id}: its price is not known, so no spend ceiling can be kept. Add its price in "
                    "models.yaml, or leave it out."
                )
    return plan


def _tasks_of(given: Mapping[str, EvalSet] | EvalSet | str | Path) -> Mapping[str, EvalSet]:
    if isinstance(given, EvalSet):
        return {given.name: given}
    if isinstance(given, str | Path):
        return load_evalsets(given)
    if not isinstance(given, Mapping):
        raise InputError(
            f"tasks: eval sets are wanted, as wb.load_evalsets() gives them, not a {type(given).__name__}."
        )
    return given


def _models_of(given: Models | str | Path) -> Models:
    if isinstance(given, str | Path):
        return load_models(given)
    if not isinstance(given, Models):
        raise InputError(f"models: they are wanted as wb.load_models() gives them, not a {type(given).__name__}.")
    return given


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, SupportsIndex) or value.__index__() < 1:
        raise InputError(f"{name} is a whole number from 1, not {value!r}.")
