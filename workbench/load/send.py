"""The requests of a step: through the gate, within the budget, timed piece by piece.

async with pool(served) as clients:
    sender = Sender(plan, clients, budget, began, stop)
    await sender.ask(request)                # fills in the request; raises nothing for what a server does
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from workbench.client import Client
from workbench.client.reading import Reading
from workbench.load.drive import Request
from workbench.load.plan import Plan
from workbench.privacy import gate
from workbench.runner.budget import Budget
from workbench.runner.outcome import attempt_cost, worst_cost
from workbench.servers.serving import Served

FAILED_IN_A_ROW = 50  # without one answer between them: nobody is there


class Pool:
    """The clients of a model's endpoints; a request goes where the fewest are in flight.

    What is asked beside goes over connections of its own: some servers keep those open, and close those of chat
    completions in silence, and a wire that learned the first would break the second.

    Attributes:
        aside: a client for that, for each endpoint.
    """

    def __init__(self, clients: list[Client], aside: list[Client]) -> None:
        self._in_flight = dict.fromkeys(clients, 0)
        self.aside = aside

    @contextmanager
    def one(self) -> Iterator[Client]:
        """A client for one request."""
        client = min(self._in_flight, key=self._in_flight.__getitem__)
        self._in_flight[client] += 1
        try:
            yield client
        finally:
            self._in_flight[client] -= 1

    async def metrics(self) -> str | None:
        """The metrics of all endpoints, one after another."""
        found = await asyncio.gather(*(client.metrics() for client in self.aside))
        return "\n".join(text for text in found if text) or None


@asynccontextmanager
async def pool(served: list[Served]) -> AsyncIterator[Pool]:
    """Clients for what is served, for as long as the block runs."""
    async with AsyncExitStack() as stack:
        endpoints = [each.endpoint for each in served]
        twice = [await stack.enter_async_context(Client(endpoint)) for endpoint in [*endpoints, *endpoints]]
        yield Pool(twice[: len(endpoints)], twice[len(endpoints) :])


class _Timed(Reading):
    """Also keeps when each piece of text was there."""

    def __init__(self, key: str | None, began: float, token_at: list[float]) -> None:
        super().__init__(key)
        self._began, self._token_at = began, token_at

    def data(self, piece: bytes, at: float) -> None:
        before = len(self.parts)
        super().data(piece, at)
        if len(self.parts) > before:
            self._token_at += [at - self._began] * (len(self.parts) - before)


@dataclass
class Sender:
    """Sends the requests of a step.

    Attributes:
        began: when the step did, on `time.perf_counter`.
        stop: is set where no more is to be sent.
        last_error: of the last request that failed, in words.
        spent_up: whether the spend ceiling kept a request from being sent.
    """

    plan: Plan
    pool: Pool
    budget: Budget
    began: float
    stop: asyncio.Event
    failed_in_a_row: int = 0
    last_error: str = ""
    spent_up: bool = False

    async def ask(self, request: Request) -> None:
        """One request, through the gate."""
        plan = self.plan
        worst = worst_cost(plan.model, *plan.workload.most_tokens)
        if not await self.budget.reserve(worst, lambda: not self.stop.is_set()):
            self.spent_up = self.spent_up or self.budget.exhausted
            request.error_class = "not_sent"
            self.stop.set()
            return
        cost: float | None = None
        try:
            with self.pool.one() as client:
                released = gate(next(plan.workload.payloads), client.endpoint.destination)
                reading = _Timed(client.endpoint.api_key, self.began, request.token_at)
                attempt = await client.attempt(released, reading)
            cost = attempt_cost(attempt, plan.model, plan.machine)
        finally:
            self.budget.settle(worst, cost)
        request.input_tokens, request.output_tokens = attempt.input_tokens, attempt.output_tokens
        request.error_class = attempt.error_class
        self.failed_in_a_row = self.failed_in_a_row + 1 if attempt.error_class else 0
        if attempt.error_class:
            self.last_error = attempt.error or attempt.error_class
        if self.failed_in_a_row >= FAILED_IN_A_ROW:
            self.stop.set()
