"""How a curated notebook ends: what its run says, in sentences.

print(*chosen(run.policy), sep="\\n")              # what was chosen for each task, and how sure that is
print(*to_mend(report, evalset), sep="\\n")        # what to mend first, and what difference the set shows
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.power import items_needed
from workbench.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from workbench.audit import Audit
    from workbench.evalset import EvalSet
    from workbench.routing import Policy
    from workbench.routing.policy import Route
    from workbench.runner import Run


def chosen(policy: Policy) -> list[str]:
    """What was chosen for each task, how sure that is, and what would make it surer."""
    lines = [f"{_name(route)}: {route.way}, {route.status}. {_sureness(policy, route)}" for route in policy.routes]
    counts = Counter(route.status for route in policy.routes)
    told = ", ".join(f"{counts[status]} {status}" for status in ("decided", "provisional", "infeasible"))
    return [*lines, f"Of {counted(len(policy.routes), 'route')}: {told}. {_next(policy)}"]


def links(run: Run, a: str = "", b: str = "") -> list[str]:
    """Where MLflow shows a run, a line each; with two candidates, also their samples side by side."""
    from workbench.tracking.links import link_lines, pair_link

    lines = link_lines(run.links)
    if a and b and run.tracked and (beside := pair_link(run, a, b)) != run.links.get("pair"):
        lines.append(f"MLflow, {a} beside {b}: {beside}")
    return lines


def pair(run: Run, task: str = "", a: str = "", b: str = "") -> tuple[str, str, str]:
    """A task and two candidates to look at more closely: as given, else where most is at stake and who is chosen there.

    Raises:
        InputError: a parameter names what is not in the run, or there are no two candidates of a task.
    """
    from workbench.tracking.links import pair_in_question

    for what, name, known in (("task", task, "task"), ("a", a, "candidate"), ("b", b, "candidate")):
        there = list(map(str, run.leaderboard[known].unique()))
        if name and name not in there:
            raise InputError(
                f"parameter '{what}': there is no {known} '{name}' in this run. There are: {', '.join(there)}."
            )
    if a and a == b:
        raise InputError(f"parameters 'a' and 'b' are both '{a}'. Name two candidates, or leave one empty.")
    if task and a and b:
        return task, a, b
    found = pair_in_question(run, task, tuple(name for name in (a, b) if name))
    if found is None:
        raise InputError("there are no two candidates of one task to compare. Ask another model or variant too.")
    first, second = (found.other, b) if b and not a else (found.chosen, found.other)
    return found.task, first, second


def paired(table: pd.DataFrame, a: str, b: str) -> list[str]:
    """What a comparison says of two candidates, a line a task: the verdict, and how much worse either may be.

    Args:
        table: what `workbench.compare` returned for them.
        a: the first one; differences are its score less the other's.
        b: the other one.
    """
    lines = []
    for row in table.to_dict("records"):
        lo, hi, needed = float(row["lo"]), float(row["hi"]), float(row["items_to_decide"])
        line = (
            f"{row['task']}: {row['verdict']} at a margin of {row['margin']:g} ({a} − {b}: {row['difference']:+.2f}, "
            f"{lo:+.2f} to {hi:+.2f}, {counted(row['n'], 'item')}: {row['changed']}); "
            f"{a} may be worse by {max(-lo, 0):.2f}, {b} by {max(hi, 0):.2f}"
        )
        lines.append(line if math.isnan(needed) else f"{line}; about {needed:,.0f} items would tell")
    return lines


def routed(policy: Policy) -> list[str]:
    """Where the requests of each task go, at what cost, and whom they reach."""
    from workbench.views.tables import seconds, usd

    lines, costs = [], {}
    for route in policy.routes:
        if route.chosen is None:
            lines.append(f"{_name(route)}: goes nowhere, as no candidate keeps the limits.")
            continue
        cost = (route.evidence.cost_per_accepted_usd or [None])[0]
        costs[_name(route)] = math.nan if cost is None else cost
        latency = route.evidence.latency_p95_s
        hosts = ", ".join(route.evidence.providers) or "an unknown host"
        lines.append(
            f"{_name(route)}: goes to {route.way} on {hosts}; cost per accepted answer: {usd(costs[_name(route)])}; "
            f"p95 {seconds(math.nan if latency is None else latency)}; {route.status}."
        )
    known = {name: cost for name, cost in costs.items() if math.isfinite(cost)}
    if known:
        dearest = max(known, key=lambda name: known[name])
        lines.append(
            f"The dearest answers are those of {dearest}: {usd(known[dearest])}."
            if known[dearest] > 0
            else "None of them costs anything."
        )
    if unknown := [name for name in costs if name not in known]:
        lines.append(f"Cost is not known for {', '.join(unknown)}.")
    return lines


def to_mend(report: Audit, evalset: EvalSet) -> list[str]:
    """What to mend first in an eval set, and what difference it can show as it is."""
    from workbench.audit.report import in_notebook

    faults = [finding for finding in report.by_weight if finding.level != "note"]
    lines = [
        f"{report.name}, {'mend first' if place == 0 else 'then'}: {fault.what}"
        f"{f': {fault.ids}' if fault.items else ''}. {in_notebook(fault.mend)}."
        for place, fault in enumerate(faults)
    ]
    if not faults:
        lines.append(f"{report.name}: the audit has nothing to mend.")
    power, margin = report.power, evalset.spec.limits.margin
    needed = math.ceil(items_needed(margin, power.discordance, step=power.step) * power.n / power.effective_n)
    basis = "as measured" if power.measured else "if candidates differ on as many items as is usual"
    enough = "it has enough" if power.detectable <= margin and power.detects else f"that takes about {needed:,}"
    shown = f"a difference of {power.detectable:.3f} or more" if power.detects else "no difference"
    lines.append(
        f"{report.name} has {counted(power.n, 'item, which shows', 'items, which show')} {shown} ({basis}). "
        f"For its margin of {margin:g} {enough}."
    )
    return lines


def by_slice(outcomes: pd.DataFrame, model: str, name: str = "difficulty") -> list[str]:
    """How a model scores on each task and on its slices of a name, a line each; none where it was not asked."""
    from workbench.views.where import heat

    own = outcomes[outcomes["model"] == model]
    if own.empty:
        return []
    lines = []
    for (task, candidate), cells in heat(own).groupby(["task", "candidate"], observed=True):
        scores = {str(cell.slice): f"{cell.score:.2f} on {cell.n:,}" for cell in cells.itertuples()}
        whole = int(cells.loc[cells["slice"] == "", "n"].iloc[0])
        mark = f"{name}="
        parts = [f"{told} {part.removeprefix(mark)}" for part, told in scores.items() if part.startswith(mark)]
        by = f" (by {name}: {', '.join(parts)})" if parts else ""
        lines.append(f"{task}: {candidate} scores {scores['']} {'item' if whole == 1 else 'items'}{by}.")
    return lines


def _name(route: Route) -> str:
    return f"{route.task} ({route.class_})"


def _sureness(policy: Policy, route: Route) -> str:
    evidence = route.evidence
    if route.chosen is None:
        return "No candidate keeps the limits that the eval set sets; routing.yaml says of each why."
    told = []
    if evidence.score:
        at, low, high = evidence.score
        told.append(f"It scores {at:.2f} ({low:.2f} to {high:.2f}) on {counted(evidence.n, 'item')}.")
    if evidence.diff_to_best:
        told.append(f"Another may be better by {max(evidence.diff_to_best[2], 0):.2f}; the margin is {route.margin:g}.")
    if route.status == "provisional" and evidence.items_to_decide is not None:
        part = policy.evidence.sample.get(route.task)
        there = f", and its set has {part['of']:,} in all" if part else ""
        told.append(f"About {counted(evidence.items_to_decide, 'item', spec=',')} would decide{there}.")
    return " ".join(told)


def _next(policy: Policy) -> str:
    """The next step that follows from how sure the routes are."""
    ask: list[str] = []
    write: list[str] = []
    alone: list[str] = []
    again: list[str] = []
    for route in policy.routes:
        if route.stale:
            again.append(route.task)
        elif route.alone:
            alone.append(route.task)
        elif route.status == "provisional":
            there = policy.evidence.sample.get(route.task, {}).get("of", 0)
            needed = route.evidence.items_to_decide
            (ask if there and (needed is None or needed <= there) else write).append(route.task)
    told = [f"run again for {_listed(again)}, whose eval set has changed"] if again else []
    told += [f"ask all items of {_listed(ask)} (sample=0)"] if ask else []
    told += [f"write more items for {_listed(write)}"] if write else []
    told += [f"ask another candidate for {_listed(alone)}, or set its min_score"] if alone else []
    if any(route.status == "infeasible" for route in policy.routes):
        told.append("look for other candidates, or other limits, where none is feasible")
    return f"Next: {'; '.join(told)}." if told else "Nothing is left open."


def _listed(tasks: list[str]) -> str:
    return ", ".join(dict.fromkeys(tasks))
