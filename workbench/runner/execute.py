"""A run: plan, ask, score, write. Works in a script, on the command line and in a notebook's running event loop.

run = workbench.run(tasks, models, sample=40)
run.outcomes                    # the outcome table
run.problems                    # what went wrong, in clear lines; empty where all is well
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from workbench import project
from workbench.catalog import Model, Models
from workbench.errors import WorkbenchError
from workbench.evalset import EvalSet
from workbench.journal import Attempt, Intents, Journal, worst_known
from workbench.loops import run_beside
from workbench.outcomes.spool import Spool
from workbench.runner.ask import Sending, Use, depth_of
from workbench.runner.batch import ask_in_batches, pending_batches
from workbench.runner.budget import Budget
from workbench.runner.desk import Desk
from workbench.runner.endpoints import serve_lane
from workbench.runner.given import planned
from workbench.runner.judging import Answered, judge_rows, judges_of
from workbench.runner.lane import Lane
from workbench.runner.outcome import ask_rules, attempt_cost, outcome
from workbench.runner.overhead import Overhead
from workbench.runner.plan import Plan
from workbench.runner.problems import Tally
from workbench.runner.progress import Progress
from workbench.runner.question import Question
from workbench.runner.result import EngineUse, Run, Status
from workbench.servers import capabilities_of, idle
from workbench.servers.memory import weights_bytes
from workbench.words import counted


def run(
    tasks: Mapping[str, EvalSet] | EvalSet | str | Path,
    models: Models | str | Path,
    *,
    sample: int | None = None,
    variants: str | Iterable[str] | None = None,
    repeats: int = 1,
    max_cost_usd: float | None = None,
    retry_errors: bool = False,
    batch: bool = False,
    track: bool = True,
    progress: bool = True,
) -> Run:
    """Ask every candidate every item, and return the outcomes.

    What is in the journal is not asked again, so a second run of the same thing sends nothing and an interrupted one
    resumes. Local engines run one after another, in a notebook first one that is loaded already; hosted models are
    asked meanwhile. An interrupt stops sending, takes in for a moment what is in flight, and returns the partial run;
    a second one does not wait.

    Args:
        tasks: eval sets by name, one of them, or the folder that they are in.
        models: who is asked, or a models.yaml.
        sample: a stratified sample of that many items of each task; None asks all.
        variants: only these variants, a list or text with commas.
        repeats: how often each question is asked, independently.
        max_cost_usd: nothing is sent whose worst case could go over it.
        retry_errors: ask only what failed in an earlier run; what was never asked is left out.
        batch: ask models that have `batch` in models.yaml in batches, the others live. A hosted batch may take a day;
            it goes on where the run is ended, and the same run again collects it.
        track: log the run to MLflow at its end.
        progress: show a progress line for each model.

    Raises:
        InputError: the plan is impossible; nothing was sent.
        JournalError: what is answered cannot be written down; what was reported as done is.
    """
    plan = planned(
        tasks, models, sample=sample, variants=variants, repeats=repeats, max_cost_usd=max_cost_usd, batch=batch
    )
    done = _Execution(plan, Budget(max_cost_usd), retry_errors, progress).go()
    if track:
        from workbench.tracking import track_run

        done.note()
        try:
            track_run(done)
        except KeyboardInterrupt:  # all is answered and written: whoever is tired of waiting gets that
            done.problems.append(
                "logging to MLflow was interrupted, so what is there is partial; the outcomes are whole"
            )
    done.note()
    return done


def _first(failure: BaseException) -> BaseException:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _kind(failure: BaseException) -> str:
    """Where an unforeseen exception came from: its class, file and line."""
    failure = _first(failure)
    frames = traceback.extract_tb(failure.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"an unforeseen {type(failure).__name__}{place}"


class _Execution:
    """The state of one run while it goes on."""

    def __init__(self, plan: Plan, budget: Budget, retry_errors: bool, shown: bool) -> None:
        self.plan = plan
        self.started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self.id = f"{self.started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.answered: list[Answered] = []  # what judges are to see
        self.tally = Tally(frozenset(str(model.model) for model in plan.models.values()))
        self.problems = list(plan.failed.values())
        self.engines: dict[str, EngineUse] = {}
        self.notes: list[str] = []
        self.asked = self.judged = 0
        self._given_up: set[str] = set()  # whose death is told
        self.overhead = Overhead()
        self._budget = budget
        self._retry_errors = retry_errors
        self._failed = bool(plan.failed)
        self._cut_short = False
        self._shown = shown
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._sending: Sending | None = None
        self._progress: Progress | None = None
        self._interrupts = 0

    def go(self) -> Run:
        """Run in a thread of its own; a keyboard interrupt stops sending and keeps what is there."""
        with contextlib.suppress(asyncio.CancelledError):
            run_beside(self._in_loop, "workbench-run", self._interrupt, uvloop.new_event_loop)
        status: Status = "failed" if self._failed else "complete"
        if self._interrupts or self._cut_short:
            status = "interrupted"
        return Run(
            id=self.id,
            plan=self.plan,
            status=status,
            problems=self.problems,
            asked=self.asked,
            judged=self.judged,
            path=self._folder,
            started=self.started,
            rows=self.tally.rows,
            errors=self.tally.kinds,
            says=self._says,
            engines=self.engines,
            notes=self.notes,
            overhead=self.overhead.measured(),
            took_s=time.perf_counter() - self._clock,
        )

    def _interrupt(self, times: int) -> None:
        """The first lets what is in flight come in; the second does not wait for it."""
        self._interrupts = times
        if self._progress is not None:
            self._progress.stopping()
        loop, main, sending = self._loop, self._main, self._sending
        if loop is not None and main is not None:
            with contextlib.suppress(RuntimeError):  # it is just done
                loop.call_soon_threadsafe(sending.stopping.set if sending is not None and times == 1 else main.cancel)

    async def _in_loop(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        self._folder = project.state("runs", self.id)
        spool = Spool(self._folder, {"sample": self.plan.sample})
        try:
            with Journal.open() as journal, Intents.open(self.id) as intents:
                self._sending = Sending(
                    self.plan.models.machine,
                    self._budget,
                    intents,
                    overhead=self.overhead,
                    retry_errors=self._retry_errors,
                )
                with Progress(self.plan.questions, self._shown) as progress:
                    self._progress = progress
                    await self._all(journal, intents, spool, progress)
            self._says = spool.digest
            spool.close()
        except BaseException:
            spool.discard()
            raise
        self._tell()

    async def _all(self, journal: Journal, intents: Intents, spool: Spool, progress: Progress) -> None:
        plan = self.plan
        here = [name for name in plan.questions if plan.models[name].zone == "local"]
        # Rules at once, while no engine takes the cores; then what is loaded already.
        warm = idle.warm_model()
        here.sort(key=lambda name: (plan.models[name].engine != "rules", name != warm))
        elsewhere = [name for name in plan.questions if name not in here]
        with Desk(journal, intents, self._retry_errors) as desk:

            async def one_after_another() -> None:
                for name in here:
                    await self._model(plan.models[name], journal, desk, spool, progress)

            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(one_after_another())
                    for name in elsewhere:
                        group.create_task(self._model(plan.models[name], journal, desk, spool, progress))
            except BaseExceptionGroup as failures:  # a model's own is told, and does not come here: it is the journal's
                raise _first(failures) from None
            except asyncio.CancelledError:
                self._cut_short = True
        if self.answered:
            try:
                self.problems += await judge_rows(plan, self.answered, progress.count, self._sending, progress.made)
            except asyncio.CancelledError:  # the rows are complete, without the verdicts that were not waited for
                self._cut_short = True
            for each in self.answered:
                self._write(each.row, spool)
        self._of_desk(desk)

    async def _model(self, model: Model, journal: Journal, desk: Desk, spool: Spool, progress: Progress) -> None:
        """All questions of a model: out of the journal what is there, the rest from its server, or first in batches."""
        assert self._sending is not None
        if self._sending.stopping.is_set():
            return
        use = Use()

        def take(question: Question, attempts: list[Attempt]) -> None:
            self._take(question, model, attempts, spool, progress)

        lane = Lane(model.id, iter(self.plan.questions[model.id]), take, depth=depth_of(model))
        cost = partial(attempt_cost, model=model, machine=self.plan.models.machine)
        lane.made = partial(progress.made, model.id, cost)
        if model.engine == "rules":
            lane.answer = lambda question: ask_rules(question, model)
        try:
            if self.plan.batched(model):
                lane.sends = False
                await self._in_batches(model, lane, journal, use, progress)
            elif pending := pending_batches(model):
                self.notes.append(
                    f"{model.id}: batch {', '.join(pending)} is with its API, and what it asks was asked live as well. "
                    "'workbench run --batch' collects it"
                )
            await serve_lane(desk.open(lane), model, self._sending, use, lambda line: progress.say(model.id, line))
        except WorkbenchError as failure:
            if failure.fatal:
                raise
            self._fail(model, f"{failure}{self._missing(model, lane)}", progress)
        except Exception as failure:  # noqa: BLE001  (one model's failure loses nothing of the others)
            # Only its kind: the message may hold an item's text, or a key.
            self._fail(model, f"{model.id}: stopped by {_kind(failure)}.{self._missing(model, lane)}", progress)
        finally:
            self._of_lane(model, lane, use, progress)
            progress.over(model.id)

    async def _in_batches(self, model: Model, lane: Lane, journal: Journal, use: Use, progress: Progress) -> None:
        """The phase before a lane. Where it fails, the outcomes that there are are made all the same."""
        assert self._sending is not None
        say = partial(progress.say, model.id)
        batched = await ask_in_batches(
            model, self.plan.questions[model.id], journal, self._sending, use, say, self._retry_errors, lane.made
        )
        lane.instead = batched.instead
        self.problems += batched.interrupted
        for problem in batched.problems:
            self._fail(model, problem, progress)

    def _missing(self, model: Model, lane: Lane) -> str:
        """How much a failure in mid-run cost."""
        missing = len(self.plan.questions[model.id]) - lane.taken
        said = counted(missing, "of its questions has", "of its questions have")
        return f" {said} no outcome." if lane.failure is not None and missing else ""

    def _of_lane(self, model: Model, lane: Lane, use: Use, progress: Progress) -> None:
        self.asked += use.sent
        self.notes += use.notes
        if use.managed:
            self.engines[model.id] = EngineUse(
                *(use.load_s, use.busy_s, use.memory_bytes, use.gpu_memory_bytes),
                weights_bytes(model),
                "json_schema" in capabilities_of(model),
            )
        if use.dead is not None and lane.unasked:
            why = use.dead.removeprefix(f"{model.id}: ").rstrip(".")
            self._fail(
                model,
                f"{model.id}: {counted(lane.unasked, 'question was', 'questions were')} not asked: {why}.",
                progress,
            )
            self._given_up.add(model.id)

    def _of_desk(self, desk: Desk) -> None:
        """What the desk has to tell about the whole run, judging included."""
        assert self._sending is not None
        judges = self._sending.judges
        self.judged, twice = judges.sent, [*desk.twice, *judges.twice]
        self.notes += judges.notes
        if twice:
            known, unknown = worst_known(twice)
            cost = f"at most ${known:.2g}" + (f" and {unknown} of unknown price" if unknown else "")
            self.notes.append(
                f"possibly paid twice: {counted(len(twice), 'request')}, {cost} (sent by a run that died)"
            )
        if desk.skipped:
            left = counted(desk.skipped, "question that was never asked was", "questions that were never asked were")
            self.notes.append(f"{left} left out (retry errors only)")
        if self._budget.exhausted:
            self._cut_short = True
            self.problems.append(
                f"stopped at the spend ceiling of ${self._budget.limit_usd:g}: ${self._budget.spent_usd:.4g} are "
                "spent, and the next request could go over it. Run again with a higher one; what is answered is kept."
            )

    def _fail(self, model: Model, problem: str, progress: Progress) -> None:
        self._failed = True
        self.problems.append(problem)
        progress.say(model.id, "failed")

    def _take(
        self, question: Question, model: Model, attempts: list[Attempt], spool: Spool, progress: Progress
    ) -> None:
        """An outcome is there, and in the journal; in the desk's thread."""
        row = outcome(question, model, attempts, self.plan.models.machine)
        row["run_id"] = self.id
        if attempts[-1].text is not None and any(judges_of(question.evalset)):
            self.answered.append(Answered(question, attempts[-1].text, row))
        else:
            self._write(row, spool)
        progress.done(model.id, row["error_class"] not in (None, "no_match"))

    def _write(self, row: dict[str, Any], spool: Spool) -> None:
        self.tally.add(row)
        spool.add(row)

    def _tell(self) -> None:
        """Where a model answered nothing, the run is a failed one."""
        told, failed = self.tally.told(self._given_up)
        named = {name: model for name, model in self.plan.models.items() if model.engine == "openai"}
        self.notes += self.tally.renamed({name: str(model.model) for name, model in named.items()})
        self.problems += told
        self._failed = self._failed or failed
