"""A run: plan, ask, score, write. Works in a script, on the command line and in a notebook's running event loop.

run = workbench.run(tasks, models, sample=40)
run.outcomes                    # the outcome table
run.problems                    # what went wrong, in clear lines; empty where all is well
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import threading
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from workbench import project
from workbench.catalog import Model, Models
from workbench.client import Client
from workbench.errors import WorkbenchError
from workbench.evalset import EvalSet
from workbench.files import write_atomic
from workbench.journal import Journal
from workbench.loops import together
from workbench.outcomes import COLUMNS, REQUIRED, RUN_FILE, normalize, write_outcomes
from workbench.prices import BusyMeter
from workbench.runner.ask import ask, ask_rules, outcome, replay
from workbench.runner.judging import Answered, check_judges, judge_rows, judges_of
from workbench.runner.plan import Plan, Question, make_plan
from workbench.runner.progress import Progress
from workbench.servers.serving import Served, serving

if TYPE_CHECKING:
    from workbench.routing import Policy

Status = Literal["complete", "failed", "interrupted"]


@dataclass
class EngineUse:
    """What a managed engine did in a run: loading and idling are no part of any answer's cost."""

    load_s: float
    busy_s: float


@dataclass
class Run:
    """A run and its outcomes.

    Attributes:
        outcomes: the outcome table; partial where the run was interrupted.
        status: `complete`; `failed` where a model could not be asked; `interrupted`.
        problems: failures in clear lines, redacted.
        asked: how many requests went to models; the rest came from the journal.
        path: the run's folder, with outcomes.parquet.
        links: addresses in the MLflow UI, once tracked.
    """

    id: str
    plan: Plan
    outcomes: pd.DataFrame
    status: Status
    problems: list[str]
    asked: int
    path: Path
    started: datetime
    engines: dict[str, EngineUse] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> Mapping[str, EvalSet]:
        return self.plan.tasks

    @property
    def models(self) -> Models:
        return self.plan.models

    @cached_property
    def policy(self) -> Policy:
        """The routes under the eval sets' own limits; `workbench.route` takes others."""
        from workbench.routing import route

        return route(self.outcomes, self.models, limits=self.tasks)

    def note(self) -> None:
        """Write what happened beside the outcome table; it holds no text of any item."""
        noted = {"summary": self.summary(), "status": self.status, "problems": self.problems, "links": self.links}
        write_atomic(self.path / RUN_FILE, json.dumps(noted, indent=1, ensure_ascii=False), mode=0o600)

    def summary(self) -> str:
        """One line on what happened."""
        parts = [f"run {self.id}: {self.status}", f"{len(self.outcomes)} outcomes"]
        parts.append(f"{self.asked} requests sent to models")
        if "error_class" in self.outcomes:
            abstained = self.outcomes["error_class"] == "no_match"
            unjudged = self.outcomes["error_class"] == "judge"
            failed = self.outcomes["error_class"].notna() & ~abstained & ~unjudged
            parts += [f"the rules abstained {abstained.sum()} times"] if abstained.any() else []
            parts += [f"{failed.sum()} outcomes without an answer"] if failed.any() else []
            parts += [f"{unjudged.sum()} outcomes without a verdict"] if unjudged.any() else []
        return ", ".join(parts)


def run(
    tasks: Mapping[str, EvalSet],
    models: Models,
    *,
    sample: int | None = None,
    variants: str | Iterable[str] | None = None,
    repeats: int = 1,
    track: bool = True,
    progress: bool = True,
) -> Run:
    """Ask every candidate every item, and return the outcomes.

    What is in the journal is not asked again, so a second run of the same thing sends nothing and an interrupted one
    resumes. Local engines run one after another; hosted models are asked meanwhile.

    Args:
        tasks: eval sets by name.
        models: who is asked.
        sample: a stratified sample of that many items of each task; None asks all.
        variants: only these variants, a list or text with commas.
        repeats: how often each question is asked, independently.
        track: log the run to MLflow at its end.
        progress: show a progress line for each model.

    Raises:
        InputError: the plan is impossible; nothing was sent.
    """
    tasks = {name: task.sample(sample) for name, task in tasks.items()}
    plan = make_plan(tasks, models, project.listed(variants), repeats)
    check_judges(plan)
    done = _Execution(plan, progress).go()
    if track:
        from workbench.tracking import track_run

        done.note()
        track_run(done)
    done.note()
    return done


def _kind(failure: BaseException) -> str:
    """Where an unforeseen exception came from: its class, file and line."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    frames = traceback.extract_tb(failure.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"an unforeseen {type(failure).__name__}{place}"


class _Execution:
    """The state of one run while it goes on."""

    def __init__(self, plan: Plan, shown: bool) -> None:
        self.plan = plan
        self.started = datetime.now(UTC)
        self.id = f"{self.started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.rows: list[dict[str, Any]] = []
        self.answered: list[Answered] = []  # what judges are to see
        self.problems = list(plan.failed.values())
        self.engines: dict[str, EngineUse] = {}
        self.asked = 0
        self._failed = bool(plan.failed)
        self._shown = shown
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()

    def go(self) -> Run:
        """Run in a thread of its own; a keyboard interrupt stops sending and keeps what is there."""
        thread = threading.Thread(target=self._thread, name="workbench-run")
        thread.start()
        interrupted = False
        # Not thread.join: interrupted, it may take a thread for ended that still runs (Python up to 3.12).
        while not self._ended.is_set():
            try:
                self._ended.wait(0.2)
            except KeyboardInterrupt:
                interrupted = True
                if self._loop is not None and self._main is not None:
                    with contextlib.suppress(RuntimeError):  # it is just done
                        self._loop.call_soon_threadsafe(self._main.cancel)
        if self._error is not None and not isinstance(self._error, asyncio.CancelledError):
            raise self._error
        return self._finish(interrupted)

    def _thread(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._main = asyncio.current_task()
            await self._all()

        try:
            asyncio.run(main())
        except BaseException as failure:  # noqa: BLE001  (handed to the caller's thread)
            self._error = failure
        finally:
            self._ended.set()

    async def _all(self) -> None:
        plan = self.plan
        with Journal.open() as journal, Progress(plan.questions, self._shown) as progress:
            here = [name for name in plan.questions if plan.models[name].zone == "local"]
            elsewhere = [name for name in plan.questions if name not in here]

            async def one_after_another() -> None:
                for name in here:
                    await self._model(plan.models[name], journal, progress)

            async with asyncio.TaskGroup() as group:
                group.create_task(one_after_another())
                for name in elsewhere:
                    group.create_task(self._model(plan.models[name], journal, progress))
            if self.answered:
                self.problems += await judge_rows(plan, self.answered, progress.count)

    async def _model(self, model: Model, journal: Journal, progress: Progress) -> None:
        """All questions of a model: out of the journal what is there, the rest from its server."""
        try:
            todo: list[Question] = []
            for question in self.plan.questions[model.id]:
                attempts = ask_rules(question, model) if model.engine == "rules" else replay(question, model, journal)
                if attempts is None:
                    todo.append(question)
                else:
                    self._take(question, model, attempts, progress)
            if todo:
                await self._serve(model, todo, journal, progress)
        except WorkbenchError as failure:
            self._fail(model, str(failure), progress)
        except Exception as failure:  # noqa: BLE001  (one model's failure loses nothing of the others)
            # Only its kind: the message may hold an item's text, or a key.
            self._fail(model, f"{model.id}: stopped by {_kind(failure)}.", progress)

    def _fail(self, model: Model, problem: str, progress: Progress) -> None:
        self._failed = True
        self.problems.append(problem)
        progress.say(model.id, "failed")

    async def _serve(self, model: Model, todo: list[Question], journal: Journal, progress: Progress) -> None:
        def say(line: str) -> None:
            progress.say(model.id, line)

        async with serving(model, say) as served:
            say("")
            meter = BusyMeter() if model.zone == "local" and model.price is None else None
            try:
                async with Client(served.endpoint) as client:
                    try:
                        await self._workers(model, todo, client, journal, meter, served, progress)
                    finally:
                        self.asked += client.sent
            finally:
                if served.server is not None:
                    self.engines[model.id] = EngineUse(served.server.load_s, meter.busy_s if meter else 0.0)

    async def _workers(
        self,
        model: Model,
        todo: list[Question],
        client: Client,
        journal: Journal,
        meter: BusyMeter | None,
        served: Served,
        progress: Progress,
    ) -> None:
        waiting = iter(todo)
        one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # items with the same inputs: one key

        async def worker() -> None:
            for question in waiting:
                async with one_at_a_time[question.key]:
                    attempts = await ask(question, client, journal, meter, served.dead)
                self._take(question, model, attempts, progress)

        await together(worker, min(model.concurrency, len(todo)))

    def _take(self, question: Question, model: Model, attempts: list[Any], progress: Progress) -> None:
        row = outcome(question, model, attempts, self.plan.models.machine)
        row["run_id"] = self.id
        self.rows.append(row)
        if attempts[-1].text is not None and any(judges_of(question.evalset)):
            self.answered.append(Answered(question, attempts[-1].text, row))
        progress.done(model.id, row["error_class"] not in (None, "no_match"))

    def _finish(self, interrupted: bool) -> Run:
        table = pd.DataFrame(self.rows, columns=None if self.rows else [*COLUMNS])
        if not self.rows:
            table = table.astype({name: "float64" if name == "score" else object for name in REQUIRED})
        table = normalize(table).sort_values(["task", "model", "variant", "item_id", "repeat"], ignore_index=True)
        table.attrs["sample"] = self.plan.sample
        self._explain_errors(table)
        folder = project.state("runs", self.id)
        write_outcomes(table, folder / "outcomes.parquet")
        status: Status = "interrupted" if interrupted else "failed" if self._failed else "complete"
        return Run(self.id, self.plan, table, status, self.problems, self.asked, folder, self.started, self.engines)

    def _explain_errors(self, table: pd.DataFrame) -> None:
        """A line for each model; where one answered nothing, or its engine died, the run is a failed one."""
        if len(table) and (table["error_class"] == "judge").all():
            self._failed = True
        asked = table[~table["error_class"].isin(["no_match", "judge"])]  # a judge's failure is told by the judging
        for model, rows in asked.groupby("model"):
            counts = Counter(rows["error_class"].dropna())
            if not counts:
                continue
            first = rows.loc[rows["error_class"].notna() & (rows["sensitivity"] != "restricted"), "error"]
            said = f" First: {first.iloc[0]}" if len(first) else ""
            kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            self.problems.append(
                f"{model}: {sum(counts.values())} of {len(rows)} outcomes have no answer ({kinds}).{said}"
            )
            if sum(counts.values()) == len(rows) or counts["engine"]:
                self._failed = True
