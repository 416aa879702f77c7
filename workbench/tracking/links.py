"""Addresses in MLflow's pages that answer with no clicking about, the same for a run and for its repetition.

run.links["which_model"], run.links["pair"]
pair_link(run, "gemma3-q4#few_shot", "rules")      # MLflow's own side-by-side of their samples
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import pandas as pd

from workbench.errors import InputError
from workbench.outcomes import candidate_id
from workbench.scores import unscored
from workbench.tracking.runs import FIGURES, run_name
from workbench.tracking.views import TAG, view_tag
from workbench.words import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from workbench.runner import Run
    from workbench.tracking.store import Store


class Pair(NamedTuple):
    """Two candidates of a task, the chosen one first, and on how many items only one of both is accepted."""

    task: str
    chosen: str
    other: str
    apart: int

    def __str__(self) -> str:
        return f"{self.chosen} and {self.other}, {counted(self.apart, 'item')} of {self.task} apart"


def link_lines(links: Mapping[str, str]) -> list[str]:
    """A run's links for people, a line each; before those of a store that is no server, what serves them."""
    served_by = links.get("served_by")
    lines = [f"MLflow: {opening(served_by)}"] if served_by else []
    for name, address in links.items():
        if address.startswith("http"):
            of = f" ({links['pair_of']})" if name == "pair" and "pair_of" in links else ""
            lines.append(f"MLflow, {name.replace('_', ' ')}{of}: {address}")
    return lines


def opening(served_by: str) -> str:
    """How to open addresses of a store that is no server: without that command nothing listens there."""
    return f"'{served_by}' serves its pages, and has to run when they are opened"


def pair_link(run: Run, a: str, b: str) -> str:
    """MLflow's page with the samples of two candidates side by side.

    The same comparison on its page of evaluation runs shares the width with a list of runs: no answer is seen there.

    Args:
        run: a run that was tracked.
        a: a candidate's id, `model` or `model#variant`.
        b: another one.

    Raises:
        InputError: one of them was not tracked, or both are the same.
    """
    if not run.tracked or "comparison" not in run.links:
        raise InputError(f"run {run.id} is not in MLflow. Run it with track=True, or look at its problems.")
    for name in (a, b):
        if name not in run.tracked:
            raise InputError(f"candidate '{name}' was not tracked. There are: {', '.join(run.tracked)}.")
    if a == b:
        raise InputError(f"'{a}' is no pair. Name two of: {', '.join(run.tracked)}.")
    base = run.links["comparison"].removesuffix("/evaluation-runs")
    return f"{base}/runs/{run.tracked[a]}/evaluations?compareToRunUuid={run.tracked[b]}"


def pair_in_question(run: Run, task: str = "", given: Sequence[str] = ()) -> Pair | None:
    """The pair worth looking at: of the task with most at stake, the chosen candidate and its runner-up.

    The runner-up has the best score of the others. At stake are the items on which exactly one of both is accepted;
    the task where those are most is taken. Where no candidate is chosen, the best one stands in for it.

    Args:
        task: only there.
        given: only pairs with these candidates.
    """
    pairs, routes = [], run.policy.routes
    for name, board in run.leaderboard.groupby("task", sort=True, observed=True):
        if task and name != task:
            continue
        ranked = [str(each) for each in board.sort_values("score", ascending=False, kind="stable")["candidate"]]
        chosen = [route.chosen.candidate for route in routes if route.task == name and route.chosen]
        for first in given[:1] or dict.fromkeys(chosen) or ranked[:1]:
            others = given[1:] or [each for each in ranked if each != first]
            if others and {first, *given} <= set(ranked):
                pairs.append(Pair(str(name), first, others[0], _apart(run.outcomes, str(name), first, others[0])))
    return max(pairs, key=lambda pair: pair.apart, default=None)


def _apart(outcomes: pd.DataFrame, task: str, a: str, b: str) -> int:
    """Items on which one of two candidates is accepted and the other is not (with repeats: in one more than half)."""
    if "accepted" not in outcomes:
        return 0
    rows = outcomes[(outcomes["task"] == task) & ~unscored(outcomes)]
    ids = pd.Series([candidate_id(*pair) for pair in zip(rows["model"], rows["variant"], strict=True)], rows.index)
    rows = rows.assign(_candidate=ids)[ids.isin([a, b])]
    shares = rows.assign(_ok=rows["accepted"].fillna(False).astype(float)).pivot_table(
        index="item_id", columns="_candidate", values="_ok", aggfunc="mean"
    )
    if shares.shape[1] < 2:
        return 0
    good = shares.dropna() > 0.5
    return int((good[a] != good[b]).sum())


def link(client: MlflowClient, store: Store, run: Run, experiment: str, parent: str) -> None:
    """Give a run its links."""
    base = f"{store.ui}/#/experiments/{experiment}"
    run.links |= {"run_id": parent, "comparison": f"{base}/evaluation-runs", "run": f"{base}/runs/{parent}"}
    run.links["figure"] = f"{base}/runs/{parent}/artifacts/figures/tradeoff.png"
    run.outcomes.attrs["mlflow_run"] = parent
    if not run.tracked:
        return
    ids = quote(json.dumps(list(run.tracked.values()), separators=(",", ":")), safe="[],")
    run.links["compare"] = f"{store.ui}/#/compare-runs?runs={ids}&experiments=[%22{experiment}%22]"
    if _share_view(client, run, experiment, parent):
        view = f"{base}/runs?viewStateShareKey={parent}&compareRunsMode="
        run.links |= {"which_model": f"{view}CHART", "scores": f"{view}TABLE"}
    pair = pair_in_question(run)
    if pair is not None and {pair.chosen, pair.other} <= set(run.tracked):
        run.links |= {"pair": pair_link(run, pair.chosen, pair.other), "pair_of": str(pair)}


def _share_view(client: MlflowClient, run: Run, experiment: str, parent: str) -> bool:
    """Whether there is a view to open. Written once for a run: whoever changed it in the UI keeps the change."""
    if f"{TAG}{parent}" in client.get_experiment(experiment).tags:
        return True
    scores = run.leaderboard.pivot_table(index="candidate", columns="task", values="score", observed=True)
    if scores.empty:
        return False
    sections = [figure.section for figure in FIGURES]
    text = view_tag(f"Which model: {run_name(run)}", parent, scores, sections, int(run.started.timestamp() * 1000))
    client.set_experiment_tag(experiment, f"{TAG}{parent}", text)
    return True
