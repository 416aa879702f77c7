"""MLflow: one parent run for a comparison, one child for each candidate, written in bulk when the run has ended.

    track_run(run)                  # links in run.links

The store is `sqlite:///<root>/mlruns/mlflow.db`, whatever the working directory; `MLFLOW_TRACKING_URI` takes another.
What goes there is redacted: the text of restricted items stays in the journal and the run's Parquet.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
import re
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench import __version__, project
from workbench._mlflow_views import TAG, view_tag
from workbench.files import write_atomic
from workbench.outcomes import split_candidate
from workbench.outcomes.table import write_outcomes
from workbench.privacy import redact_outcomes

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from workbench.runner import Run

EXPERIMENT = "workbench"
_STATUS = {"complete": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_FIGURES = [
    ("score_by_task", "score", ""),
    ("cost", "cost_per_accepted_usd", "_usd_per_accepted"),
    ("latency", "latency_p95_s", "_p95_s"),
    ("accepted", "accepted", ""),
    ("format_ok", "format_ok", ""),
]
_UI = "http://127.0.0.1:5000"


def store_uri() -> str:
    """Where runs are tracked."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project.root() / 'mlruns' / 'mlflow.db'}"


def _mlflow() -> Any:
    """MLflow, imported where it is used (2.4 s) and kept quiet."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


@contextlib.contextmanager
def _client() -> Iterator[MlflowClient]:
    """A client of the store. A fresh local database is made under a lock: several at once would all fail."""
    mlflow = _mlflow()
    uri = store_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if uri.startswith("sqlite:///"):
            path = Path(uri.removeprefix("sqlite:///"))
            path.parent.mkdir(parents=True, exist_ok=True)
            with (path.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                client = mlflow.MlflowClient(tracking_uri=uri)
                _experiment(client)
                with contextlib.closing(sqlite3.connect(path)) as database:
                    database.execute("PRAGMA journal_mode=WAL")
        else:
            client = mlflow.MlflowClient(tracking_uri=uri)
        yield client


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if store_uri().startswith("sqlite:///"):
        location = (project.root() / "mlruns" / "artifacts").as_uri()
    tags = {"mlflow.experimentKind": "genai_development"}
    return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=tags))


def fingerprint(run: Run) -> str:
    """What a run says, whenever it was made: the same answers, scored, priced and limited the same way."""
    ruled = {name: [task.spec.limits.model_dump(), task.spec.accept.model_dump()] for name, task in run.tasks.items()}
    zones = {name: model.zone for name, model in run.models.items()}
    basis = [run.says, run.status, json.dumps([run.plan.sample, ruled, zones], sort_keys=True), __version__]
    return hashlib.sha256("\0".join(basis).encode()).hexdigest()


def track_run(run: Run) -> None:
    """Log a run; one that says the same as a run in the store points there instead. Never loses the run.

    A store that cannot be reached is a problem of the run, which is on disk by then.
    """
    try:
        if _pointed(run):
            return
        with _client() as client:
            _track(client, run)
        _point(run)
    except Exception as failure:  # noqa: BLE001  (whatever MLflow raises, the run is on disk and is returned)
        where = project.shown(run.path)
        said = re.sub(r"//[^/@\s]+@", "//", str(failure))[:200]  # an address may hold a password
        run.problems.append(f"MLflow: not logged ({type(failure).__name__}: {said}). The run is in {where}.")


def _pointer(run: Run) -> Path:
    return project.state("tracked") / f"{fingerprint(run)}.json"


def _point(run: Run) -> None:
    """Note where a run stands in MLflow, for the next one that says the same."""
    noted = {"store": store_uri(), "links": run.links}
    write_atomic(_pointer(run), json.dumps(noted, indent=1), mode=0o600)


def _pointed(run: Run) -> bool:
    """Whether the run was tracked before and is still there: looked up without MLflow, whose import takes longer."""
    uri, path = store_uri(), _pointer(run)
    if not uri.startswith("sqlite:///") or not path.is_file():
        return False
    try:
        noted = json.loads(path.read_text())
        parent = noted["links"]["run_id"]
        if noted["store"] != uri or not Path(uri.removeprefix("sqlite:///")).is_file():
            return False
        read_only = f"{Path(uri.removeprefix('sqlite:///')).resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(read_only, uri=True)) as database:
            query = (
                "SELECT 1 FROM runs JOIN tags USING (run_uuid) WHERE run_uuid = ? AND lifecycle_stage = 'active' "
                "AND tags.key = 'workbench.fingerprint' AND tags.value = ?"
            )
            found = database.execute(query, (parent, fingerprint(run))).fetchone()
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error):  # then MLflow itself is asked
        return False
    if found:
        run.links.update(noted["links"])
    return found is not None


def _track(client: MlflowClient, run: Run) -> None:
    experiment = _experiment(client)
    print_ = fingerprint(run)
    same = client.search_runs(experiment, f"tags.`workbench.fingerprint` = '{print_}'", max_results=1)
    if same:
        _link(client, run, experiment, same[0].info.run_id)
        return
    started_ms = int(run.started.timestamp() * 1000)
    parent = client.create_run(
        experiment,
        start_time=started_ms,
        run_name=_run_name(run),
        tags={"workbench.run": run.id, "workbench.status": run.status},
    ).info.run_id
    try:
        _fill(client, experiment, parent, run, started_ms)
    except BaseException as failure:
        client.set_terminated(parent, "KILLED" if isinstance(failure, KeyboardInterrupt) else "FAILED")
        raise
    client.set_tag(parent, "workbench.fingerprint", print_)  # last: only what is there whole is pointed to
    client.set_terminated(parent, _STATUS[run.status])
    _link(client, run, experiment, parent)


def _fill(client: MlflowClient, experiment: str, parent: str, run: Run, started_ms: int) -> None:
    """All that a parent and its children hold."""
    _log_parent(client, parent, run)
    if len(run.outcomes):
        board = run.leaderboard
        _log_best(client, parent, board, started_ms)
        _log_children(client, experiment, parent, run, board, started_ms)
        _log_artifacts(client, parent, run, board)
        for route in run.policy.routes:
            chosen = route.chosen.candidate if route.chosen else "none"
            client.set_tag(parent, f"route.{route.task}.{route.class_}", f"{chosen} ({route.status})")
    client.set_tag(parent, "mlflow.note.content", _note(run))


def _run_name(run: Run) -> str:
    return f"{len(run.tasks)} tasks, {len(run.models)} models {run.started:%m-%d %H:%M}"


def _log_parent(client: MlflowClient, parent: str, run: Run) -> None:
    from mlflow.entities import Param

    params = {"tasks": ", ".join(run.tasks), "models": ", ".join(run.models)}
    params |= {f"sample/{name}": f"{part['n']} of {part['of']}" for name, part in run.plan.sample.items()}
    params |= {"outcomes": str(len(run.outcomes)), "requests_sent": str(run.asked), "python": sys.version.split()[0]}
    params |= {f"version/{name}": version(name) for name in ("workbench", "xllamacpp", "genai-prices", "mlflow")}
    if run.overhead is not None:
        params |= {"overhead": run.overhead.describe()}
    for name, use in run.engines.items():
        params |= {f"engine/{name}_load_s": f"{use.load_s:.2f}", f"engine/{name}_busy_s": f"{use.busy_s:.2f}"}
        params |= {f"engine/{name}_memory_gb": f"{use.memory_bytes / 1e9:.2f}"} if use.memory_bytes else {}
    client.log_batch(parent, params=[Param(key, value[:500]) for key, value in params.items()])


def _log_best(client: MlflowClient, parent: str, board: pd.DataFrame, at_ms: int) -> None:
    """The best score of each task: the parent is the table's first row, and its metrics set the order of columns."""
    from mlflow.entities import Metric

    best = board.groupby("task", sort=True)["score"].max()
    client.log_batch(parent, metrics=[Metric(f"score_by_task/{k}", round(v, 4), at_ms, 0) for k, v in best.items()])


def _log_children(
    client: MlflowClient, experiment: str, parent: str, run: Run, board: pd.DataFrame, started_ms: int
) -> None:
    """One child for each candidate, the tasks as metrics, so that its row answers: good at what, at what cost?"""
    from mlflow.entities import Metric

    of_sets = [row for row in run.set_figures.to_dict("records") if math.isfinite(row["value"])]
    summary = board.groupby("candidate")["score"].agg(["count", "mean"]).sort_values(["count", "mean"])
    for rank, candidate in enumerate(map(str, summary.index)):
        # The table lists the latest first: who was asked most tasks, and did best, shall stand on top.
        at_ms = started_ms + rank
        rows = board[board["candidate"] == candidate]
        tags = {
            "mlflow.parentRunId": parent,
            "mlflow.runType": "genai_evaluate",
            "workbench.candidate": candidate,
        }
        child = client.create_run(experiment, start_time=at_ms, run_name=candidate, tags=tags).info.run_id
        metrics = [
            Metric(f"{name}/{row['task']}{suffix}", float(f"{row[column]:.4g}"), at_ms, 0)
            for name, column, suffix in _FIGURES
            for _, row in rows.iterrows()
            if math.isfinite(row[column])
        ]
        client.log_batch(child, metrics=metrics, params=_params(run, candidate))
        client.log_batch(child, metrics=[_set_metric(row, at_ms) for row in of_sets if row["candidate"] == candidate])
        client.log_inputs(child, datasets=[_dataset(run, str(task)) for task in rows["task"]])
        client.set_terminated(child, _STATUS[run.status])


def _set_metric(row: Mapping[Any, Any], at_ms: int) -> Any:
    """A figure of a set, such as macro_f1/support_triage.queue."""
    from mlflow.entities import Metric

    return Metric(f"{row['figure']}/{row['task']}.{row['field']}", round(row["value"], 4), at_ms, 0)


def _params(run: Run, candidate: str) -> list[Any]:
    """What a candidate is; `candidate` sorts first, so that the parallel-coordinates plot begins with it."""
    from mlflow.entities import Param

    name, variant = split_candidate(candidate)
    params = {"candidate": candidate, "model": name, "variant": variant}
    model = run.models.get(name)
    if model is not None:
        params |= {"engine": model.engine, "quantization": model.quantization or "none", "zone": model.zone}
    return [Param(key, value) for key, value in params.items()]


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
    """The parent's description, in Markdown: what was compared, and what was chosen."""
    lines = [f"**{run.summary()}**", ""]
    lines += [f"- {name}: {part['n']} of {part['of']} items" for name, part in run.plan.sample.items()]
    if len(run.outcomes):
        lines += ["", "| task | class | chosen | status | why |", "|---|---|---|---|---|"]
        for route in run.policy.routes:
            chain = " → ".join(link.candidate for link in route.chain) or "none"
            lines.append(f"| {route.task} | {route.class_} | {chain} | {route.status} | {route.reason} |")
    lines += ["", *(f"- {problem}" for problem in run.problems)]
    return "\n".join(lines)


def _link(client: MlflowClient, run: Run, experiment: str, parent: str) -> None:
    """Addresses in the UI that answer with no clicking about, the same for a run and for its repetition."""
    base = f"{_UI}/#/experiments/{experiment}"
    run.links["run_id"] = parent
    run.outcomes.attrs["mlflow_run"] = parent
    of_parent = f"tags.`mlflow.parentRunId` = '{parent}'"
    children = client.search_runs(experiment, of_parent, order_by=["attributes.start_time DESC"])
    run.links["comparison"] = f"{base}/evaluation-runs"
    run.links["run"] = f"{base}/runs/{parent}"
    if children:
        ids = json.dumps([child.info.run_id for child in children])
        run.links["compare"] = f'{_UI}/#/compare-runs?runs={ids}&experiments=["{experiment}"]'.replace(" ", "")
    if children and _share_view(client, run, experiment, parent):
        view = f"{base}/runs?viewStateShareKey={parent}&compareRunsMode="
        run.links["which_model"] = f"{view}CHART"
        run.links["scores"] = f"{view}TABLE"


def _share_view(client: MlflowClient, run: Run, experiment: str, parent: str) -> bool:
    """Whether there is a view to open. Written once for a run: whoever changed it in the UI keeps the change."""
    if f"{TAG}{parent}" in client.get_experiment(experiment).tags:
        return True
    scores = run.leaderboard.pivot_table(index="candidate", columns="task", values="score", observed=True)
    if scores.empty:
        return False
    sections = [name for name, _, _ in _FIGURES]
    text = view_tag(f"Which model: {_run_name(run)}", parent, scores, sections, int(run.started.timestamp() * 1000))
    client.set_experiment_tag(experiment, f"{TAG}{parent}", text)
    return True
