"""Tracking a run: where it is logged, what happens if that fails, and how a repetition finds what is there.

track_run(run)                  # links in run.links, problems in run.problems
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__, project
from workbench.files import write_atomic
from workbench.tracking.links import link
from workbench.tracking.runs import STATUS, create_parent, fill
from workbench.tracking.store import Store, local_uri, store_uri
from workbench.tracking.views import COMPARISON

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from workbench.runner import Run

_FORM = "2"  # of what is logged: a run that stands there in an older form is logged again
_FINGERPRINT = "workbench.fingerprint"


def fingerprint(run: Run) -> str:
    """What a run says, whenever it was made: the same answers, scored, priced and limited the same way."""
    ruled = {name: [task.spec.limits.model_dump(), task.spec.accept.model_dump()] for name, task in run.tasks.items()}
    zones = {name: model.zone for name, model in run.models.items()}
    basis = [run.says, run.status, json.dumps([run.plan.sample, ruled, zones], sort_keys=True), __version__, _FORM]
    return hashlib.sha256("\0".join(basis).encode()).hexdigest()


def track_run(run: Run) -> None:
    """Log a run; one that says the same as a run in the store points there instead. Never loses the run.

    Where `MLFLOW_TRACKING_URI` cannot be reached, or gives up in the middle, the run is logged to the project's own
    store. That, and whatever else cannot be logged, is a problem of the run, which is on disk by then.
    """
    store = Store(store_uri())
    failed = _tried(store, run)
    if failed is None:
        return
    here = Store(local_uri())
    again = _tried(here, run) if store.uri != here.uri else failed
    if again is None:
        run.problems.append(
            f"MLflow: not logged to {store} ({failed}). The run is in {project.shown(run.path)} and was logged to "
            f"{here} instead: 'workbench ui --local' shows it. Run the same again to log it there: nothing is asked."
        )
    else:
        run.problems.append(f"MLflow: not logged to {store} ({failed}). The run is in {project.shown(run.path)}.")


def _tried(store: Store, run: Run) -> str | None:
    """Log a run to a store; what went wrong, if anything did."""
    try:
        if not _pointed(store, run):
            with store.open() as client:
                _track(client, store, run)
            _point(store, run)
        if store.served_by:
            run.links["served_by"] = store.served_by
    except Exception as failure:  # noqa: BLE001  (whatever MLflow raises, the run is on disk and is returned)
        _forget(run)
        return store.said(failure)
    finally:
        run.notes += store.notes
    return None


def _forget(run: Run) -> None:
    """Take back what a store that failed has left in a run."""
    run.links, run.tracked = {}, {}
    if "outcomes" in vars(run):  # it names a run of that store, and so does the policy
        run.outcomes.attrs.pop("mlflow_run", None)
    vars(run).pop("_policy", None)


def _track(client: MlflowClient, store: Store, run: Run) -> None:
    experiment = store.experiment(client)
    print_ = fingerprint(run)
    same = client.search_runs(experiment, f"tags.`{_FINGERPRINT}` = '{print_}'", max_results=1)
    if same:
        parent = str(same[0].info.run_id)
        of_parent = f"tags.`{COMPARISON}` = '{parent}'"
        children = client.search_runs(experiment, of_parent, order_by=["attributes.start_time DESC"])
        run.tracked = {str(child.data.tags["workbench.candidate"]): str(child.info.run_id) for child in children}
    else:
        parent = create_parent(client, experiment, run)
        try:
            fill(client, store, experiment, parent, run)
        except BaseException as failure:
            with contextlib.suppress(Exception), store.briefly():  # what failed is told, not what followed from it
                client.set_terminated(parent, "KILLED" if isinstance(failure, KeyboardInterrupt) else "FAILED")
            raise
        client.set_tag(parent, _FINGERPRINT, print_)  # last: only what is there whole is pointed to
        client.set_terminated(parent, STATUS[run.status])
    link(client, store, run, experiment, parent)


def _pointer(run: Run) -> Path:
    return project.state("tracked") / f"{fingerprint(run)}.json"


def _point(store: Store, run: Run) -> None:
    """Note where a run stands in a store of this machine, for the next one that says the same."""
    if store.file is not None:
        noted = {"store": store.uri, "links": run.links, "tracked": run.tracked}
        write_atomic(_pointer(run), json.dumps(noted, indent=1), mode=0o600)


def _pointed(store: Store, run: Run) -> bool:
    """Whether the run was tracked before and is still there: looked up without MLflow, whose import takes longer."""
    file, path = store.file, _pointer(run)
    if file is None or not path.is_file():
        return False
    try:
        noted = json.loads(path.read_text())
        parent = noted["links"]["run_id"]
        if noted["store"] != store.uri or not file.is_file():
            return False
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            query = (
                "SELECT 1 FROM runs JOIN tags USING (run_uuid) WHERE run_uuid = ? AND lifecycle_stage = 'active' "
                "AND tags.key = ? AND tags.value = ?"
            )
            found = database.execute(query, (parent, _FINGERPRINT, fingerprint(run))).fetchone()
        if found:
            run.tracked, run.links = dict(noted["tracked"]), dict(noted["links"])
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error):  # then MLflow itself is asked
        return False
    return found is not None
