"""What a run is in MLflow: one parent for the comparison, and one run for each candidate, written in bulk.

    parent = create_parent(client, experiment, run)
    fill(client, store, experiment, parent, run)         # candidates' runs in run.tracked

The candidates' runs name their parent in a tag of ours, not in MLflow's own: its page of evaluation runs would fold
them in below the parent, with one letter of each name.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from workbench.outcomes import split_candidate
from workbench.outcomes.table import write_outcomes
from workbench.privacy import redact_outcomes
from workbench.tracking.names import legal_names, run_names
from workbench.tracking.traces import log_traces
from workbench.tracking.views import COMPARISON
from workbench.words import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from workbench.routing import Policy
    from workbench.runner import Run
    from workbench.tracking.store import Store

_NOTE_AT_MOST = 7800  # letters; MLflow keeps 8,000, and the last line needs room
STATUS = {"complete": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class Figure(NamedTuple):
    """A figure of the leaderboard as a metric: the section of its charts, its column, its name for a task.

    The score of a task has the task's bare name: MLflow's columns show some ten letters of a heading.
    """

    section: str
    column: str
    name: str

    def of(self, task: str) -> str:
        return self.name.format(task=task)


FIGURES = [
    Figure("score", "score", "{task}"),
    Figure("cost", "cost_per_accepted_usd", "cost/{task}_usd_per_accepted"),
    Figure("latency", "latency_p95_s", "latency/{task}_p95_s"),
    Figure("accepted", "accepted", "accepted/{task}"),
    Figure("format_ok", "format_ok", "format_ok/{task}"),
]


def create_parent(client: MlflowClient, experiment: str, run: Run) -> str:
    """The parent's id. It starts last, so that it stands above its candidates, as their heading."""
    tags = {"workbench.run": run.id, "workbench.status": run.status}
    made = client.create_run(experiment, start_time=_start_ms(run) + 999, run_name=run_name(run), tags=tags)
    return str(made.info.run_id)


def run_name(run: Run) -> str:
    sizes = {"task": len(run.tasks), "model": len(run.models)}
    told = ", ".join(counted(count, what) for what, count in sizes.items())
    return f"{told} {run.started:%m-%d %H:%M}"


def _start_ms(run: Run) -> int:
    return int(run.started.timestamp() * 1000)


def fill(client: MlflowClient, store: Store, experiment: str, parent: str, run: Run) -> None:
    """All that a parent and its candidates' runs hold."""
    run.links["run_id"] = run.outcomes.attrs["mlflow_run"] = parent  # the policy's evidence names it
    _log_parent(client, parent, run)
    if len(run.outcomes):
        board = run.leaderboard
        _log_best(client, parent, board, _start_ms(run))
        run.tracked = _log_candidates(client, experiment, parent, run, board)
        traced = log_traces(client, store, experiment, run)
        run.problems += traced.problems
        client.set_tag(parent, "workbench.traces", str(traced))
        _log_artifacts(client, parent, run, board)
        for route in run.policy.routes:
            chosen = route.chosen.candidate if route.chosen else "none"
            client.set_tag(parent, f"route.{route.task}.{route.class_}", f"{chosen} ({route.status})")
    client.set_tag(parent, "mlflow.note.content", _note(run))


def _log_parent(client: MlflowClient, parent: str, run: Run) -> None:
    from mlflow.entities import Param

    params = {"tasks": ", ".join(run.tasks), "models": ", ".join(run.models)}
    params |= {f"sample/{name}": f"{part['n']} of {part['of']}" for name, part in run.plan.sample.items()}
    params |= {"outcomes": str(len(run.outcomes)), "requests_sent": str(run.asked), "python": sys.version.split()[0]}
    params |= {f"version/{name}": version(name) for name in ("workbench", "xllamacpp", "genai-prices", "mlflow")}
    if run.overhead is not None:
        params |= {"overhead": run.overhead.describe()}
    for name, use in run.engines.items():
        params |= {f"engine/{name}_load_s": f"{use.load_s:.2f}"} if use.load_s is not None else {}
        params |= {f"engine/{name}_busy_s": f"{use.busy_s:.2f}"}
        params |= {f"engine/{name}_memory_gb": f"{use.memory_bytes / 1e9:.2f}"} if use.memory_bytes else {}
    client.log_batch(parent, params=[Param(key, value[:500]) for key, value in params.items()])


def _log_best(client: MlflowClient, parent: str, board: pd.DataFrame, at_ms: int) -> None:
    """The best score of each task: the parent is the table's first row, and its metrics set the order of columns."""
    from mlflow.entities import Metric

    best = board.groupby("task", sort=True)["score"].max()
    known = best.dropna()  # of a task whose judge or scorer failed throughout there is none
    client.log_batch(parent, metrics=[Metric(FIGURES[0].of(str(k)), round(v, 4), at_ms, 0) for k, v in known.items()])


def _log_candidates(
    client: MlflowClient, experiment: str, parent: str, run: Run, board: pd.DataFrame
) -> dict[str, str]:
    """A run for each candidate, the tasks as metrics, so that its row answers: good at what, at what cost?

    Returns:
        The run's id by candidate, the best one first.
    """
    tracked, policy = {}, run.policy
    of_sets = [row for row in run.set_figures.to_dict("records") if math.isfinite(row["value"])]
    fields = legal_names(str(row["field"]) for row in of_sets)
    summary = board.groupby("candidate")["score"].agg(["count", "mean"])
    summary = summary.sort_values(["count", "mean"], na_position="first")
    names = run_names([*map(str, summary.index)])
    for rank, (candidate, name) in enumerate(names.items()):
        # The table lists the latest first: who was asked most tasks, and did best, shall stand on top.
        at_ms = _start_ms(run) + rank
        rows = board[board["candidate"] == candidate]
        tags = {COMPARISON: parent, "mlflow.runType": "genai_evaluate", "workbench.candidate": candidate}
        made = client.create_run(experiment, start_time=at_ms, run_name=name, tags=tags).info.run_id
        own = [row for row in of_sets if row["candidate"] == candidate]
        metrics = _metrics(rows, at_ms) + [_set_metric(row, fields[str(row["field"])], at_ms) for row in own]
        client.log_batch(made, metrics=metrics, params=_params(run, candidate, policy))
        client.log_inputs(made, datasets=[_dataset(run, str(task)) for task in rows["task"]])
        client.set_terminated(made, STATUS[run.status])
        tracked[candidate] = str(made)
    return dict(reversed(tracked.items()))


def _metrics(rows: pd.DataFrame, at_ms: int) -> list[Any]:
    """The figures of a candidate's rows of the leaderboard, in the order in which their columns shall come."""
    from mlflow.entities import Metric

    return [
        Metric(figure.of(str(row["task"])), float(f"{row[figure.column]:.4g}"), at_ms, 0)
        for figure in FIGURES
        for _, row in rows.iterrows()
        if math.isfinite(row[figure.column])
    ]


def _set_metric(row: Mapping[Any, Any], field: str, at_ms: int) -> Any:
    """A figure of a set, such as macro_f1/support_triage.queue."""
    from mlflow.entities import Metric

    return Metric(f"{row['figure']}/{row['task']}.{field}", round(row["value"], 4), at_ms, 0)


def _params(run: Run, candidate: str, policy: Policy) -> list[Any]:
    """What a candidate is, and what it was chosen for.

    MLflow's compare page opens with the first three that differ, by name, so with `candidate` and `chosen_for`.
    """
    from mlflow.entities import Param

    name, variant = split_candidate(candidate)
    params = {"candidate": candidate, "model": name, "variant": variant} | _chosen(policy, candidate)
    model = run.models.get(name)
    if model is not None:
        params |= {"engine": model.engine, "quantization": model.quantization or "none", "zone": model.zone}
    return [Param(key, value) for key, value in params.items()]


def _chosen(policy: Policy, candidate: str) -> dict[str, str]:
    """How many routes a candidate answers first, short enough for that plot's axis, and which."""
    own = [route for route in policy.routes if route.chosen is not None and route.chosen.candidate == candidate]
    named = ", ".join(f"{route.task} ({route.class_})" for route in own)
    return {"chosen_for": f"{len(own)} of {len(policy.routes)}", "routes": named or "none"}


def _dataset(run: Run, task: str) -> Any:
    """An eval set by its digest; its text stays where it is."""
    from mlflow.entities import Dataset, DatasetInput

    evalset = run.tasks[task]
    profile = json.dumps({"items": evalset.total, "asked": len(evalset.items)})
    source = json.dumps({"uri": f"evalsets/{task}"})
    return DatasetInput(Dataset(task, evalset.digest[:32], "local", source, None, profile), [])


def _log_artifacts(client: MlflowClient, parent: str, run: Run, board: pd.DataFrame) -> None:
    from workbench.views.figures import save_figures

    redacted = redact_outcomes(run.outcomes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_outcomes(redacted, folder / "outcomes_redacted.parquet")
        (folder / "plan.txt").write_text(run.plan.describe() + "\n")
        (folder / "figures").mkdir()
        save_figures(board, folder / "figures", run.policy)
        run.policy.save(folder / "routing.yaml")
        client.log_artifacts(parent, str(folder))
    figures = run.set_figures
    if len(figures):
        client.log_table(parent, figures.round(4).astype(object).where(figures.notna(), None), "set_figures.json")
    rounded = board.round(4).astype(object).where(board.notna(), None)
    client.log_table(parent, rounded, "leaderboard.json")


def _note(run: Run) -> str:
    """The parent's description, in Markdown: what was compared, what went wrong, and what was chosen.

    MLflow cuts it without a word, so routes that have no room are counted in its last line.
    """
    lines = [f"**{run.summary()}**", ""]
    lines += [f"- {name}: {part['n']} of {counted(part['of'], 'item')}" for name, part in run.plan.sample.items()]
    lines += ["", *(f"- {problem}" for problem in run.problems)]
    if len(run.outcomes):
        lines += ["", "| task | class | chosen | status | why |", "|---|---|---|---|---|"]
    room, routes = _NOTE_AT_MOST - len("\n".join(lines)), run.policy.routes if len(run.outcomes) else []
    for index, route in enumerate(routes):
        chain = " → ".join(link.candidate for link in route.chain) or "none"
        line = f"| {route.task} | {route.class_} | {chain} | {route.status} | {route.reason} |"
        room -= len(line) + 1
        if room < 0:
            left = counted(len(routes) - index, "further route stands", "further routes stand")
            return "\n".join([*lines, "", f"{left} in routing.yaml, among the artifacts."])
        lines.append(line)
    return "\n".join(lines)
