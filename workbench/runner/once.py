"""One prompt to several models, now: through the gate, journal, retries and engines of a run, without its table.

question = prompt_set("Name a color.", "internal", max_tokens=20)
replies = ask_once(question, models, machine)            # a Reply for each, in their order
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from workbench import project
from workbench.catalog import Machine, Model
from workbench.client import preflight
from workbench.errors import WorkbenchError
from workbench.evalset import EvalSet, EvalSetFile, Item
from workbench.journal import Attempt, Journal
from workbench.loops import run_beside
from workbench.privacy import Sensitivity, permitted
from workbench.runner.ask import Sending, Use, depth_of
from workbench.runner.desk import Desk
from workbench.runner.endpoints import serve_lane
from workbench.runner.lane import Lane
from workbench.runner.outcome import spent
from workbench.runner.question import Part, Question, Questions, Shape
from workbench.servers import engine_of, idle

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Reply:
    """What a model answered, and what that took; as in an outcome table, over all attempts.

    Attributes:
        text: None where there is no answer.
        why: why there is none, in words that hold none of the prompt; empty where there is one.
        error: what its server said of that; it may repeat the prompt.
        before: it was answered in an earlier run, which the times and the cost are of.
    """

    model: str
    text: str | None = None
    why: str = ""
    error: str | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    before: bool = False


def prompt_set(text: str, sensitivity: Sensitivity, system: str | None = None, max_tokens: int = 256) -> EvalSet:
    """A prompt as an eval set of one item, which is in no file."""
    turns = [("system", "{{ inputs.system }}")] if system is not None else []
    messages = [{"role": role, "content": content} for role, content in [*turns, ("user", "{{ inputs.prompt }}")]]
    spec = EvalSetFile.model_validate(
        {
            "schema": 1,
            "name": "ask",
            "description": "A prompt of a notebook's cell.",
            "sensitivity": sensitivity,
            "variants": {"default": {"messages": messages}},
            "generation": {"temperature": 0, "max_tokens": max_tokens},
            "output": {"text": True},
            "scorers": [{"type": "exact"}],
            "accept": {"min_score": 0},
        }
    )
    inputs = {"prompt": text} | ({"system": system} if system is not None else {})
    item = Item(id="ask", inputs=inputs, expectations={}, sensitivity=sensitivity)
    return EvalSet(project.root(), spec, (item,), (), None, (), None, "", 1)  # nothing scores it


def ask_once(
    asked: EvalSet,
    models: Sequence[Model],
    machine: Machine,
    say: Say = lambda model, line: None,
    told: Callable[[Reply], None] = lambda reply: None,
) -> list[Reply]:
    """Ask every model the one item of a set; local engines one after another, the others meanwhile.

    An interrupt ends it; what was answered by then is kept.

    Args:
        say: is given a model and what its engine is doing.
        told: is given each reply as it comes, in another thread.

    Raises:
        JournalError: what is answered cannot be written down.
    """
    asking = _Asking(asked, models, machine, say, told)
    with contextlib.suppress(asyncio.CancelledError):
        run_beside(asking.all, "workbench-ask", asking.interrupt)
    return [asking.replies.get(model.id) or Reply(model.id, why="interrupted") for model in models]


class _Asking:
    """One prompt on its way to several models."""

    def __init__(
        self, asked: EvalSet, models: Sequence[Model], machine: Machine, say: Say, told: Callable[[Reply], None]
    ) -> None:
        self.replies: dict[str, Reply] = {}
        self._asked, self._models = asked, models
        self._say, self._told = say, told
        self._sending = Sending(machine)
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def interrupt(self, times: int) -> None:
        """Stop asking."""
        if self._running is not None:
            loop, task = self._running
            with contextlib.suppress(RuntimeError):  # it is just done
                loop.call_soon_threadsafe(task.cancel)

    async def all(self) -> None:
        """Ask all of them."""
        task = asyncio.current_task()
        assert task is not None
        self._running = asyncio.get_running_loop(), task
        warm = idle.warm_model()
        here = sorted((m for m in self._models if m.zone == "local"), key=lambda model: model.id != warm)
        elsewhere = [model for model in self._models if model.zone != "local"]
        with Journal.open() as journal, Desk(journal) as desk:

            async def one_after_another() -> None:
                for model in here:
                    await self._ask(model, desk)

            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(one_after_another())
                    for model in elsewhere:
                        group.create_task(self._ask(model, desk))
            except BaseExceptionGroup as failures:  # the journal's: a model's own is its reply
                raise failures.exceptions[0] from None

    async def _ask(self, model: Model, desk: Desk) -> None:
        try:
            question = self._question(model)
            if not isinstance(question, str):
                await self._send(question, model, desk)
                return
            self._reply(Reply(model.id, why=question))
        except WorkbenchError as failure:
            if failure.fatal:
                raise
            self._reply(Reply(model.id, why=str(failure)))
        except Exception as failure:  # noqa: BLE001  (only its kind: the message may hold the prompt)
            self._reply(Reply(model.id, why=f"stopped by an unforeseen {type(failure).__name__}"))

    def _question(self, model: Model) -> Question | str:
        """What is to be sent, or why nothing may be, or can be."""
        sensitivity = self._asked.items[0].sensitivity
        if not permitted(sensitivity, model.zone):
            return f"not asked: the text is {sensitivity}, and {model.id} is hosted"
        if model.engine == "rules":
            return "not asked: rules answer the items of an eval set, no prompt"
        for destination in model.destinations():
            preflight(destination)
        if reason := engine_of(model).unavailable(model):
            return reason
        shape = Shape(self._asked, model, engine_of(model).identity(model))
        return next(iter(Questions([Part(self._asked, model, "default", shape)], 1)))

    async def _send(self, question: Question, model: Model, desk: Desk) -> None:
        sent: list[int] = []

        def take(question: Question, attempts: list[Attempt]) -> None:
            last = attempts[-1]
            why = "" if last.text is not None else f"no answer: {last.error_class}"
            took = spent(attempts, model, self._sending.machine)
            self._reply(Reply(model.id, last.text, why, last.error, before=not sent, **took))

        lane = Lane(model.id, iter([question]), take, depth=depth_of(model))
        lane.made = lambda attempts: sent.append(len(attempts))
        use = Use()
        await serve_lane(desk.open(lane), model, self._sending, use, partial(self._say, model.id))
        if model.id not in self.replies:
            self._reply(Reply(model.id, why=use.dead or "it was not asked"))

    def _reply(self, reply: Reply) -> None:
        self.replies[reply.model] = reply
        self._told(reply)
