"""The store that MLflow keeps runs in: where it is, how it is opened, and how long we wait for it.

with Store(store_uri()).open() as client:
    ...                              # mlflow.MlflowClient
Store(store_uri()).ui                # where its pages are
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from workbench import project
from workbench.errors import RunError, WorkbenchError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "workbench"
_UI = "http://127.0.0.1:5000"  # where `workbench ui` serves a store that is no server itself
_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql", "sqlite")  # as MLflow has them
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# MLflow's own limits, 7 retries of 120 s each, hang for minutes at a server that is gone. What the user sets holds.
_KNOCK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "PGCONNECT_TIMEOUT": "5"}
_WORK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
    "MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT": "10",
    "PGCONNECT_TIMEOUT": "5",
    "AWS_MAX_ATTEMPTS": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD")


def local_uri() -> str:
    """The project's own store."""
    return f"{_SQLITE}{project.root() / 'mlruns' / 'mlflow.db'}"


def store_uri() -> str:
    """Where runs are tracked: `MLFLOW_TRACKING_URI`, or the project's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri()


@dataclass(frozen=True)
class Store:
    """A store by its URI, which may hold a password: it is never shown, `str(store)` is.

    Attributes:
        notes: what was done to the store that its users should know.
    """

    uri: str = field(default_factory=store_uri, repr=False)
    notes: list[str] = field(default_factory=list, repr=False, compare=False)

    def __str__(self) -> str:
        """For messages: without a user, a password, or what stands behind a question mark."""
        file = self.file
        if file is not None:
            return project.shown(file)
        parts = urlsplit(self.uri)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def file(self) -> Path | None:
        """The database, where the store is a file."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

    @property
    def is_server(self) -> bool:
        """Whether it is a tracking server, which has pages of its own."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def ui(self) -> str:
        """Where its pages are: the server's own, else those that `workbench ui` serves."""
        return str(self).rstrip("/") if self.is_server else _UI

    @property
    def served_by(self) -> str:
        """The command that serves its pages; empty where a server has them up."""
        if self.is_server:
            return ""
        return "workbench ui" if self.uri == store_uri() else "workbench ui --local"

    def said(self, failure: BaseException) -> str:
        """What a failure said, in one line and without secrets."""
        text = str(failure)
        parts = urlsplit(self.uri)
        secrets = [parts.netloc.rpartition("@")[0], parts.password or "", parts.query]
        secrets += [unquote(each) for each in secrets] + [os.environ.get(name, "") for name in _SECRETS]
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "…")
        text = re.sub(r"//[^/@\s]+@", "//", " ".join(text.split()))
        return text if isinstance(failure, WorkbenchError) else f"{type(failure).__name__}: {text[:200]}"

    @contextlib.contextmanager
    def open(self) -> Iterator[MlflowClient]:
        """A client of the store, which was asked once, briefly, whether it is there.

        A fresh local database is made under a lock: several at once would all fail.
        """
        mlflow = quiet_mlflow()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.file is not None:
                client = self._made(mlflow, self.file)
            else:
                with self.briefly():
                    self._knock()
                    client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                    client.get_experiment_by_name(EXPERIMENT)
            with _environment(_WORK):
                yield client

    def briefly(self) -> contextlib.AbstractContextManager[None]:
        """For what need not succeed: one try, and a short one."""
        return _environment(_KNOCK)

    def _made(self, mlflow: Any, file: Path) -> MlflowClient:
        file.parent.mkdir(parents=True, exist_ok=True)
        with (file.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.closing(sqlite3.connect(file)) as database:
                database.execute("PRAGMA journal_mode=WAL")  # first: MLflow's 70 migrations are faster with it, too
            client: MlflowClient = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            if client.get_experiment_by_name(EXPERIMENT) is None:  # one that is deleted is left to who logs there
                self.experiment(client)
        return client

    def _knock(self) -> None:
        """One connection to a database: MLflow itself would try ten times, for minutes."""
        if urlsplit(self.uri).scheme.partition("+")[0] not in _DATABASES:  # of the others MLflow knows what is wrong
            return
        from sqlalchemy import create_engine

        engine = create_engine(self.uri)
        try:
            engine.connect().close()
        finally:
            engine.dispose()

    def experiment(self, client: MlflowClient, name: str = EXPERIMENT) -> str:
        """An experiment's id; it is made where it is missing, and restored where it was deleted.

        A server decides where its artifacts go.
        """
        found = client.get_experiment_by_name(name)
        if found is not None:
            self._restore(client, found)
            return str(found.experiment_id)
        location = None if self.is_server else (project.root() / "mlruns" / "artifacts").as_uri()
        tags = {"mlflow.experimentKind": "genai_development"}
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=tags))
        except Exception:
            found = client.get_experiment_by_name(name)  # somebody else was quicker
            if found is None:
                raise
            return str(found.experiment_id)

    def _restore(self, client: MlflowClient, experiment: Any) -> None:
        """Take back a deleted experiment: it keeps its name, so none can be made in its place."""
        number = experiment.experiment_id
        if experiment.lifecycle_stage == "active":
            return
        try:
            client.restore_experiment(number)
        except Exception as failure:  # noqa: BLE001  (whatever MLflow raises)
            if client.get_experiment(number).lifecycle_stage == "active":  # somebody else was quicker
                return
            raise RunError(
                f"MLflow's experiment '{experiment.name}' is deleted, and could not be restored "
                f"({self.said(failure)}). Restore it by 'mlflow experiments restore --experiment-id {number}', or have "
                "it restored by somebody who may"
            ) from None
        self.notes.append(f"MLflow's experiment '{experiment.name}' was deleted: it was restored, with its runs")


def quiet_mlflow() -> Any:
    """MLflow, imported where it is used (2.4 s) and kept quiet."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


_ours: set[str] = set()  # variables that we have set, and may set otherwise


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for a while; those that the user has set are left as they are."""
    new = {name: value for name, value in variables.items() if name not in os.environ or name in _ours}
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    _ours.update(new)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
                _ours.discard(name)
            else:
                os.environ[name] = value
