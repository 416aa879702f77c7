"""A load test: what production will feel of a model, and what its tokens cost on this machine.

result = load_test(plan_load(models["smollm2-q4"], models, task=tasks["support_triage"]))
result.saturation.output_tokens_per_s.value
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import uvloop

from workbench import __version__
from workbench.client import Client
from workbench.errors import InputError, RunError
from workbench.load.arrivals import Loop, arrivals
from workbench.load.drive import ClosedLoop, OpenLoop, Request, Times, drive
from workbench.load.engine import watched
from workbench.load.figures import StepRun, knee, saturation, summarize, throughputs, within
from workbench.load.notes import notes_on
from workbench.load.plan import Plan, engine_digest
from workbench.load.requests import write_requests
from workbench.load.result import LoadResult
from workbench.load.send import FAILED_IN_A_ROW, Pool, Sender, pool
from workbench.load.sweep import Sweep, rates_of
from workbench.load.workload import synthetic
from workbench.loops import run_beside
from workbench.privacy import Payload, gate
from workbench.runner.budget import Budget
from workbench.runner.overhead import Overhead
from workbench.servers import engine_of
from workbench.servers.serving import Served, serving_all

Say = Callable[[str], None]


def load_test(plan: Plan, say: Say | None = None, save: bool = True) -> LoadResult:
    """Load a model's server at several levels, and measure what it feels like.

    Works in a script and in a notebook's running event loop. A managed server is started, and ended afterwards. An
    interrupt ends the step that goes on, and returns what the steps before it found.

    Args:
        plan: what to ask, and how; see `plan_load`.
        say: is given progress lines.
        save: write the files that `read_loads` reads.

    Raises:
        EngineError: the engine does not start.
        InputError: the spend ceiling does not allow even one request.
        RunError: there is nothing to report.
    """
    test = _LoadTest(plan, say or (lambda line: None))
    test.go()
    result = test.result()
    if save:
        result.save()
        write_requests(result, test.sweep.runs)
    return result


@dataclass
class _LoadTest:
    """The state of a load test while it goes on."""

    plan: Plan
    say: Say
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    complete: bool = False

    def __post_init__(self) -> None:
        self.sweep = Sweep(None, 1, 0)
        self.started = datetime.now(UTC)
        self.budget = Budget(self.plan.max_cost_usd)
        self.engine, self.engine_id = (
            engine_digest(self.plan.model),
            engine_of(self.plan.model).engine_id(self.plan.model),
        )
        self.notes += self.plan.workload.notes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._stopping: asyncio.Event | None = None
        self._measuring = False
        self._failed_in_a_row = 0
        self._interrupts = 0

    def go(self) -> None:
        """Run in a thread of its own; the first interrupt ends the step, the second does not wait for it."""
        try:
            run_beside(self._in_loop, "workbench-load", self._interrupt, uvloop.new_event_loop)
        except asyncio.CancelledError:
            pass
        except BaseExceptionGroup as failure:
            raise _first(failure) from failure.__cause__
        if self._interrupts:
            self.complete = False
            self.problems.append("interrupted: these are the steps before that")

    def _interrupt(self, times: int) -> None:
        self._interrupts = times
        loop, main, stopping = self._loop, self._main, self._stopping
        if loop is None or main is None or stopping is None:
            return
        gently = times == 1 and self._measuring  # an engine that loads is not waited for
        with contextlib.suppress(RuntimeError):  # it is just done
            loop.call_soon_threadsafe(stopping.set if gently else main.cancel)

    async def _in_loop(self) -> None:
        self._stopping = asyncio.Event()
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        async with serving_all(self.plan.model, self.say) as served:
            async with pool(served) as clients:
                self._measuring = True
                await self._probe(clients)
                levels = self.plan.levels
                if self.plan.loop != "closed" and levels is None:
                    levels = await self._capacity(clients, served)
                    if levels is None:
                        return
                self.sweep = Sweep(levels, self.plan.repeats, self.plan.seed)
                self.complete = await self._all(self.sweep, self.plan.loop, self.plan.times, clients, served)
        self.notes += [note for each in served for note in each.notes]  # its engines have ended

    async def _probe(self, clients: Pool) -> None:
        """One request, so that a server that is not there is told before anything is measured."""
        plan = self.plan
        if plan.workload.task is None and plan.workload.prompts is None:
            await self._fit_length(clients.aside[0])
        sender = Sender(plan, clients, self.budget, 0.0, asyncio.Event())
        request = Request(0.0, 0.0)
        await sender.ask(request)
        if sender.spent_up:
            raise InputError(f"{plan.model.id}: not even one request is sure to stay under --max-cost. Raise it.")
        if request.error_class:
            raise RunError(f"{plan.model.id}: the first request failed ({request.error_class}): {sender.last_error}")
        if request.output_tokens is None:
            self.notes.append("the server does not count tokens: a piece of streamed text is taken for one")
        if not request.token_at:
            self.notes.append("the server does not stream: the first token is taken to come with the answer's end")

    async def _fit_length(self, client: Client) -> None:
        """Make synthetic prompts as long as the model's own tokenizer counts."""
        plan, endpoint = self.plan, client.endpoint
        _, wanted, written = plan.workload.name.split(".")
        payload = next(plan.workload.payloads)
        counted = (
            await client.count_tokens(gate(payload, endpoint.destination)) if plan.model.zone != "hosted" else None
        )
        if counted is None:
            self.notes.append("the server counts no tokens of a prompt beforehand: a word is taken for a token")
            return
        words = str(payload.body["messages"][0]["content"]).count(" ") + 1
        empty: Payload = Payload({**payload.body, "messages": [{"role": "user", "content": "a"}]}, payload.sources)
        around = await client.count_tokens(gate(empty, endpoint.destination))
        template = around[0] - 1 if around else 0
        per_word = max((counted[0] - template) / words, 0.1)
        fitted = synthetic(max(int(wanted) - template, 1), int(written), plan.model, plan.seed, per_word)
        plan.workload.payloads = fitted.payloads

    async def _capacity(self, clients: Pool, served: list[Served]) -> tuple[float, ...] | None:
        """Rates for an open loop, out of a short closed one up to saturation; None where that is cut off."""
        short = Times(self.plan.times.warmup_s, max(self.plan.times.duration_s / 2, 1.0))
        self.say("capacity: a closed loop up to saturation")
        sweep = Sweep(None, 1, self.plan.seed)
        if not await self._all(sweep, "closed", short, clients, served):
            return None
        steps = [summarize(runs, self.plan.limits) for runs in sweep.by_level()]
        _, best = max(zip(throughputs(steps), steps, strict=True), key=lambda pair: pair[0])
        capacity = best.requests_per_s.value or 0.0
        if capacity <= 0:
            raise RunError(
                f"{self.plan.model.id}: no answer came within {short.duration_s:g} s. Take a longer --duration."
            )
        self.notes.append(f"rates are shares of {capacity:.3g} requests/s, a closed loop's at {best.level:g} in flight")
        return tuple(rates_of(capacity))

    async def _all(self, sweep: Sweep, loop: Loop, times: Times, clients: Pool, served: list[Served]) -> bool:
        """All steps of a sweep; False where it was cut off."""
        assert self._stopping is not None
        for done, (level, repeat) in enumerate(sweep.steps(), 1):
            unit = "in flight" if loop == "closed" else "requests/s"
            of = f" of {sweep.planned}" if sweep.planned else ""
            self.say(f"step {done}{of}: {level:g} {unit}, repeat {repeat + 1}")
            run = await self._step(level, repeat, loop, times, clients)
            if run is None or self._stopping.is_set():
                dead = [reason for reason in (each.dead() for each in served) if reason]
                if dead:
                    self.problems += dead
                return False
            sweep.took(run)
        return True

    async def _step(self, level: float, repeat: int, loop: Loop, times: Times, clients: Pool) -> StepRun | None:
        """One step; None where it was cut off."""
        assert self._stopping is not None
        stop = asyncio.Event()
        passing = asyncio.create_task(_pass_on(self._stopping, stop))
        overhead, began = Overhead(), time.perf_counter()
        sender = Sender(self.plan, clients, self.budget, began, stop, self._failed_in_a_row)
        load = self._load(level, repeat, loop)
        try:
            async with watched(clients, self.plan.model.zone != "hosted") as watch:
                with overhead.sending(_Never()):
                    window = await drive(
                        sender.ask, load, times, stop, lambda: time.perf_counter() - began, watch.begin
                    )
        finally:
            passing.cancel()
        self._failed_in_a_row = sender.failed_in_a_row
        if sender.spent_up:
            self.problems.append(
                f"stopped at the spend ceiling of ${self.budget.limit_usd:g}: the next request could go over it"
            )
        elif sender.failed_in_a_row >= FAILED_IN_A_ROW:
            self.problems.append(
                f"stopped at {level:g}: {sender.failed_in_a_row} requests in a row failed: {sender.last_error}"
            )
        return StepRun(level, repeat, window, watch, overhead.measured()) if window.whole else None

    def _load(self, level: float, repeat: int, loop: Loop) -> ClosedLoop | OpenLoop:
        if loop == "closed":
            return ClosedLoop(int(level))
        seeds = (self.plan.seed, repeat, round(level * 1e6))
        return OpenLoop(arrivals(loop, level, np.random.default_rng(seeds), self.plan.burstiness))

    def result(self) -> LoadResult:
        """What was found.

        Raises:
            RunError: no step came to its end.
        """
        plan, model = self.plan, self.plan.model
        steps = [summarize(runs, plan.limits) for runs in self.sweep.by_level()]
        if not steps:
            raise RunError(f"{model.id}: {'; '.join(self.problems) or 'no step came to its end'}. Nothing is kept.")
        top, saturated = saturation(steps, plan.loop != "closed")
        return LoadResult(
            workbench=__version__,
            model=model.id,
            zone=model.zone,
            engine_id=self.engine_id,
            engine=self.engine,
            workload=plan.workload.name,
            task=plan.workload.task,
            variant=plan.workload.variant,
            prompts=plan.workload.prompts,
            loop=plan.loop,
            burstiness=plan.burstiness if plan.loop == "burst" else None,
            started=self.started.isoformat(timespec="seconds"),
            seed=plan.seed,
            machine_usd_per_hour=plan.machine.usd_per_hour if model.zone == "local" else None,
            cores=len(os.sched_getaffinity(0)) if model.zone == "local" else None,
            warmup_s=plan.times.warmup_s,
            duration_s=plan.times.duration_s,
            limits=plan.limits,
            steps=steps,
            knee=knee(steps),
            saturated_at=top,
            saturated=saturated,
            within=within(steps, plan.limits),
            cost_usd=self.budget.spent_usd if plan.max_cost_usd is not None else None,
            complete=self.complete,
            notes=[*self.notes, *notes_on(plan, steps, saturated)],
            problems=self.problems,
        )


class _Never:
    """A source that always has something to send."""

    dry_s = 0.0


async def _pass_on(first: asyncio.Event, second: asyncio.Event) -> None:
    await first.wait()
    second.set()


def _first(failure: BaseException) -> BaseException:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
