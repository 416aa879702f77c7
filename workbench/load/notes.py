"""What a reader of a load test's figures should know: where they rest on little, and where the client was slow.

notes_on(plan, steps, saturated)             # lines
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.catalog import Model
from workbench.load.drive import PAUSE_S
from workbench.load.figures import FEWEST_REPEATS, falls_behind, knee, saturation
from workbench.load.plan import Plan
from workbench.load.result import ClientShare, Step
from workbench.servers import options
from workbench.words import counted

_BUSY = 0.85  # of a core: the sending thread has no room left
_SHARE = 0.1  # of the first token's median: delays of the client above that are a part of what it measures
_FELL_SHORT = 0.9  # of the asked requests in flight


def notes_on(plan: Plan, steps: Sequence[Step], saturated: bool) -> list[str]:
    """What a reader of the figures should know."""
    notes = []

    def where(problem: Callable[[Step], bool]) -> str:
        return ", ".join(f"{step.level:g}" for step in steps if problem(step))

    if not saturated:
        notes.append("no plateau: the highest level still added throughput, so a token may cost less than is said here")
    if plan.loop != "closed" and (behind := where(falls_behind)):
        notes.append(
            f"the server fell behind at {behind}: less ended than was due, and times there grow with --duration"
        )
    notes += _own_places(plan, steps)
    if plan.repeats < FEWEST_REPEATS:
        notes.append(
            f"{counted(plan.repeats, 'repeat tells', 'repeats tell')} nothing of what varies between them: from 3 on "
            "there are intervals"
        )
    if few := where(lambda step: step.latency_s.few(0.95)):
        notes.append(f"too few requests to bound p95 (under 59) at {few}, marked '?'; a longer --duration has more")
    requests = sum(step.requests for step in steps)
    if plan.workload.prompts and requests > plan.workload.prompts:
        times = requests / plan.workload.prompts
        notes.append(
            f"the {counted(plan.workload.prompts, 'prompt was', 'prompts were')} asked {times:.1f} times each: what an "
            "engine keeps of a prompt makes first tokens quicker than new ones would be"
        )
    if failed := sum(step.failed for step in steps):
        they = "it counts" if failed == 1 else "they count"
        notes.append(f"{failed} of {counted(requests, 'request')} failed; in the quantiles {they} as endless")
    if uncounted := sum(step.uncounted for step in steps):
        unknown = "what was read, and what a token costs, is not known"
        notes.append(f"{uncounted} of {counted(requests, 'request')} came without a count of tokens: {unknown}")
    return notes + _own_share(plan, where)


def _own_places(plan: Plan, steps: Sequence[Step]) -> list[str]:
    """Where the knee or the saturation may be the places that the model's entry gives to its engine."""
    places, setting = _places(plan.model)
    if places is None:
        return []

    def reached(level: float) -> bool:
        step = next(step for step in steps if step.level == level)
        return (level if plan.loop == "closed" else step.in_flight.number) >= places

    found = [
        name
        for name, level in (("knee", knee(steps)), ("level with the most throughput", saturation(steps)[0]))
        if reached(level)
    ]
    if not found:
        return []
    return [
        f"the engine has {counted(places, 'place')} by its entry ({setting}), and what is more waits for one: the "
        f"{' and the '.join(found)} may be that setting's, not the machine's. Raise it in models.yaml and measure again"
    ]


def _places(model: Model) -> tuple[int | None, str]:
    """How many requests a managed engine takes at once, all replicas together, and what says so."""
    if not model.managed:
        return None, ""
    replicas = max(len(model.gpus), 1)
    given = options.named(model).get("max_num_seqs")
    if isinstance(given, int):
        return given * replicas, "max_num_seqs"
    return model.concurrency * replicas, "concurrency"


def _own_share(plan: Plan, where: Callable[[Callable[[Step], bool]], str]) -> list[str]:
    """Where the client, not the server, may have set the pace."""
    notes = []
    if busy := where(lambda step: step.client is not None and step.client.busy > _BUSY):
        notes.append(f"the client was the bottleneck at {busy}: its thread was over {_BUSY:.0%} busy")
    if slow := where(lambda step: step.client is not None and _own_s(step.client) > _SHARE * step.ttft_s.p50.number):
        notes.append(f"the client's own delays are over {_SHARE:.0%} of the first token's time at {slow}")
    if plan.loop != "closed":
        return notes
    if slow := where(lambda step: _short(step) and _short(step, step.pausing)):
        notes.append(f"fewer requests were in flight than asked at {slow}: the client was not quick enough")
    if paused := where(lambda step: _short(step) and not _short(step, step.pausing)):
        notes.append(
            f"fewer requests were in flight than asked at {paused}: a place pauses for {PAUSE_S:g} s after a failed one"
        )
    return notes


def _short(step: Step, pausing: float = 0.0) -> bool:
    """Whether a closed loop had fewer requests in flight than asked, those places left out that paused."""
    return step.in_flight.number + pausing < _FELL_SHORT * step.level


def _own_s(client: ClientShare) -> float:
    return max(client.lag_p95_s, client.late_p95_s)
