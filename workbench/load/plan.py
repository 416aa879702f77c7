"""What a load test is to do, checked before anything is started or sent.

plan = plan_load(models["smollm2-q4"], models, task=tasks["support_triage"], levels=[1, 4, 16])
print(plan.describe())
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.catalog import Machine, Model, Models
from workbench.client import preflight
from workbench.errors import InputError
from workbench.evalset import EvalSet
from workbench.journal import canonical
from workbench.load.arrivals import BURSTINESS, Loop
from workbench.load.drive import Times
from workbench.load.result import LoadLimits
from workbench.load.workload import Workload, of_evalset, synthetic
from workbench.runner.budget import Budget
from workbench.runner.outcome import worst_cost
from workbench.servers import engine_of
from workbench.words import counted


@dataclass(frozen=True)
class Plan:
    """What a load test is to do, checked.

    Attributes:
        levels: requests in flight or a second; None finds them.
        max_cost_usd: at a hosted model.
    """

    model: Model
    machine: Machine
    workload: Workload
    loop: Loop
    levels: tuple[float, ...] | None
    burstiness: float
    times: Times
    repeats: int
    limits: LoadLimits
    max_cost_usd: float | None
    seed: int

    def describe(self) -> str:
        """The plan in a line or two."""
        unit = "requests in flight" if self.loop == "closed" else "requests/s"
        levels = "levels up to saturation" if self.levels is None else ", ".join(f"{level:g}" for level in self.levels)
        lines = [
            f"{self.model.id}: {self.workload.name}, {self.loop} loop, {levels} {unit}; "
            f"{counted(self.repeats, 'repeat')} of {self.times.duration_s:g} s after {self.times.warmup_s:g} s of "
            f"warm-up; limits: {self.limits.describe()}"
        ]
        if self.model.trust_remote_code:
            lines.append(f"{self.model.id} runs code that comes with its weights (trust_remote_code)")
        worst = worst_cost(self.model, *self.workload.most_tokens)
        if worst:
            lines.append(f"a request costs at most ${worst:.2g}, and all together at most ${self.max_cost_usd:g}")
        return "\n".join([*lines, *self.workload.notes])


def plan_load(
    model: Model,
    models: Models,
    *,
    task: EvalSet | None = None,
    variant: str | None = None,
    synthetic_tokens: tuple[int, int] | None = None,
    loop: Loop = "closed",
    levels: Sequence[float] | None = None,
    burstiness: float = BURSTINESS,
    duration_s: float = 10.0,
    warmup_s: float | None = None,
    repeats: int = 3,
    ttft_s: float | None = None,
    itl_s: float | None = None,
    e2e_s: float | None = None,
    max_cost_usd: float | None = None,
    seed: int = 0,
) -> Plan:
    """Plan a load test.

    Args:
        model: any that has a server.
        models: the file it is from, for the machine's price.
        task: whose prompts are asked, with its `max_tokens`.
        variant: of the task; None takes the first that the model's entry allows.
        synthetic_tokens: instead of a task: tokens to read and to write.
        loop: `closed` keeps a number of requests in flight; `poisson` and `burst` send when it is time, whether answers
            came or not.
        levels: requests in flight, or requests a second. None doubles from 1 until throughput grows no more; for an
            open loop that is done first, and the rates are shares of the capacity that was found.
        burstiness: of loop `burst`: the shape of the Gamma distribution of gaps; 1 is Poisson.
        duration_s: of a window.
        warmup_s: before each window; None is a fifth of it, and 1 s at least.
        repeats: of each level; from 3 on figures have intervals.
        ttft_s: limit of the time to the first token.
        itl_s: limit of a request's mean time between tokens.
        e2e_s: limit of the whole time; None takes the eval set's `limits.p95_latency_s`.
        max_cost_usd: needed for a model that is paid by the token; nothing is sent whose worst case could go over it.
        seed: of arrivals, order and prompts.

    Raises:
        InputError: it is impossible.
    """
    if model.engine == "rules":
        raise InputError(f"{model.id}: rules are computed in this process, so there is no server to load.")
    _check(loop, levels, duration_s, warmup_s, repeats, burstiness, (ttft_s, itl_s, e2e_s))
    for destination in model.destinations():
        preflight(destination)
    if reason := engine_of(model).unavailable(model):
        raise InputError(reason)
    if (task is None) == (synthetic_tokens is None):
        raise InputError("name what to ask: an eval set, or synthetic prompts such as 512:128; one of the two.")
    if task is not None:
        workload = of_evalset(task, variant, model, seed)
        e2e_s = task.spec.limits.p95_latency_s if e2e_s is None else e2e_s
    else:
        assert synthetic_tokens is not None
        if variant is not None:
            raise InputError("synthetic prompts have no variant. Leave one of the two out.")
        workload = synthetic(*synthetic_tokens, model, seed)
    _check_cost(model, workload, max_cost_usd)
    warmup_s = max(duration_s / 5, 1.0) if warmup_s is None else warmup_s
    limits = LoadLimits(ttft_s=ttft_s, itl_s=itl_s, e2e_s=e2e_s)
    chosen = None if levels is None else tuple(float(level) for level in levels)
    times = Times(warmup_s, duration_s)
    return Plan(model, models.machine, workload, loop, chosen, burstiness, times, repeats, limits, max_cost_usd, seed)


def _check(
    loop: str,
    levels: Sequence[float] | None,
    duration_s: float,
    warmup_s: float | None,
    repeats: int,
    burstiness: float,
    limits: tuple[float | None, ...],
) -> None:
    if loop not in ("closed", "poisson", "burst"):
        raise InputError(f"there is no loop '{loop}'. There are: closed, poisson, burst.")
    if repeats < 1:
        raise InputError(f"a load test needs at least 1 repeat, and 3 for intervals, not {repeats}.")
    if not 0 < duration_s < math.inf or not 0 <= (warmup_s or 0.0) < math.inf:
        raise InputError("duration and warm-up are seconds: a duration above 0, and a warm-up from 0 on.")
    if not 0 < burstiness <= 1:
        raise InputError(f"burstiness is above 0 and at most 1 (which is Poisson), not {burstiness:g}.")
    if any(limit is not None and not 0 < limit < math.inf for limit in limits):
        raise InputError("limits are seconds above 0.")
    if levels is None:
        return
    whole = loop == "closed"
    if not levels or any(not 0 < level < math.inf or (whole and level != int(level)) for level in levels):
        what = "whole numbers of requests in flight from 1" if whole else "requests a second, above 0"
        raise InputError(f"levels of loop {loop} are {what}.")


def _check_cost(model: Model, workload: Workload, max_cost_usd: float | None) -> None:
    Budget(max_cost_usd)
    worst = worst_cost(model, *workload.most_tokens)
    if worst == 0.0:
        return
    if max_cost_usd is None:
        price = "at an unknown price" if math.isnan(worst) else f"at up to ${worst:.2g} each"
        raise InputError(
            f"{model.id}: a load test sends many requests, {price}. Say what it may cost: --max-cost USD, or the "
            "parameter max_cost_usd."
        )
    if math.isnan(worst):
        raise InputError(f"{model.id}: its price is not known, so no spend ceiling can be kept. Add it in models.yaml.")


def engine_digest(model: Model) -> str:
    """What a model's answers depend on (engine, version, weights, arguments), in eight letters."""
    return hashlib.sha256(canonical(engine_of(model).identity(model)).encode()).hexdigest()[:8]
