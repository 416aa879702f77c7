"""A run and its outcomes.

run.outcomes                    # the outcome table, read when it is asked for
run.summary()                   # one line on what happened
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.catalog import Models
from workbench.evalset import EvalSet
from workbench.files import write_atomic
from workbench.outcomes import RUN_FILE
from workbench.runner.overhead import Measured
from workbench.runner.plan import Plan
from workbench.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from workbench.routing import Policy

Status = Literal["complete", "failed", "interrupted"]


@dataclass
class EngineUse:
    """What a managed engine did in a run: loading and idling are no part of any answer's cost.

    Attributes:
        load_s: the loading of its slowest replica; None where it was kept from before.
        busy_s: with requests in flight.
        memory_bytes: the most of the main memory that all its processes had while it was asked; None is unknown.
        gpu_memory_bytes: likewise, of GPUs; None without one.
        weights_bytes: of the weights on disk.
        constrained: whether it is held to a task's JSON schema.
    """

    load_s: float | None
    busy_s: float
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    weights_bytes: int | None = None
    constrained: bool = False


@dataclass
class Run:
    """A run and its outcomes.

    Attributes:
        status: `complete`; `failed` where a model could not be asked; `interrupted`, also by a spend ceiling.
        problems: failures in clear lines, redacted.
        asked: how many requests went to models; the rest came from the journal.
        judged: how many requests went to judges.
        path: the run's folder, with outcomes.parquet.
        rows: outcomes in the table.
        errors: how many of them have no answer, by class of error.
        says: a digest of what the table says, whatever the order of its rows and the times in it.
        notes: what else happened, in lines: pauses of an endpoint, what may be paid twice.
        overhead: what the workbench itself added.
        took_s: from its start to its table, tracking left out.
        links: addresses in the MLflow UI, once tracked.
        tracked: the id of each candidate's run in MLflow, once tracked.
    """

    id: str
    plan: Plan
    status: Status
    problems: list[str]
    asked: int
    judged: int
    path: Path
    started: datetime
    rows: int
    errors: dict[str, int]
    says: str
    engines: dict[str, EngineUse] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    overhead: Measured | None = None
    took_s: float = 0.0
    links: dict[str, str] = field(default_factory=dict)
    tracked: dict[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> Mapping[str, EvalSet]:
        return self.plan.tasks

    @property
    def models(self) -> Models:
        return self.plan.models

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """The outcome table; partial where the run was interrupted."""
        from workbench.outcomes.table import read_outcomes

        table = read_outcomes(self.path / "outcomes.parquet")
        table = table.sort_values(["task", "model", "variant", "item_id", "repeat"], ignore_index=True)
        table.attrs["sample"] = self.plan.sample
        if self.engines:
            table.attrs["engines"] = self._engine_figures
        if "run_id" in self.links:
            table.attrs["mlflow_run"] = self.links["run_id"]
        return table

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """The evidence for each task and candidate."""
        from workbench.evidence import leaderboard

        return leaderboard(self.outcomes)

    @cached_property
    def set_figures(self) -> pd.DataFrame:
        """Macro-F1 and balanced accuracy of label fields, for each task and candidate."""
        from workbench.classification import set_figures

        return set_figures(self.outcomes)

    @property
    def policy(self) -> Policy:
        """The routes under the eval sets' own limits; `workbench.route` takes others.

        They are decided once. Those of an eval set whose files have changed since say so, and are provisional.
        """
        from workbench.routing.choose import aged

        return aged(self._policy, self.tasks)

    @cached_property
    def _policy(self) -> Policy:
        from workbench.routing import route

        return route(self.outcomes, self.models, limits=self.tasks)

    @property
    def _engine_figures(self) -> dict[str, dict[str, Any]]:
        return {model: asdict(use) for model, use in self.engines.items()}

    def note(self) -> None:
        """Write what happened beside the outcome table; it holds no text of any item."""
        noted = {
            "summary": self.summary(),
            "status": self.status,
            "problems": self.problems,
            "notes": self.notes,
            "engines": self._engine_figures,
            "took_s": round(self.took_s, 4),
            "overhead": self.overhead.describe() if self.overhead else None,
            "links": self.links,
        }
        write_atomic(self.path / RUN_FILE, json.dumps(noted, indent=1, ensure_ascii=False), mode=0o600)

    def describe(self) -> str:
        """What was asked, what happened, what the workbench itself added, and what went wrong, in lines."""
        lines = [self.plan.describe(), self.summary()]
        lines += [self.overhead.describe()] if self.overhead is not None else []
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), *(f"problem: {p}" for p in self.problems)])

    def summary(self) -> str:
        """One line on what happened."""
        parts = [f"run {self.id}: {self.status}", counted(self.rows, "outcome")]
        parts.append(f"{counted(self.asked, 'request')} sent to models")
        parts += [f"{self.judged} to judges"] if self.judged else []
        abstained, unjudged, unscored = (self.errors.get(kind, 0) for kind in ("no_match", "judge", "scorer"))
        failed = sum(self.errors.values()) - abstained - unjudged - unscored
        parts += [f"the rules abstained {counted(abstained, 'time')}"] if abstained else []
        parts += [f"{counted(failed, 'outcome')} without an answer"] if failed else []
        parts += [f"{counted(unjudged, 'outcome')} without a verdict"] if unjudged else []
        parts += [f"{counted(unscored, 'outcome')} without a score"] if unscored else []
        return ", ".join(parts)
