"""A model with servers behind it that are ready to be asked: managed ones are started, and ended afterwards.

async with serving(model, say) as served:
    async with Client(served.endpoint) as client: ...

A model may have several endpoints: several URLs, or a replica on each of its GPUs. `serving_all` gives them all. In a
notebook the engines of a model are kept for the next cell; see `idle`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from workbench.catalog import Model
from workbench.client import Endpoint
from workbench.privacy import Destination
from workbench.servers import capabilities_of, engine_of, gpus, idle
from workbench.servers.process import Launch, ManagedServer

Say = Callable[[str], None]


@dataclass
class Served:
    """An endpoint, and the managed server behind it; None for one that runs already.

    Attributes:
        kept: the server was there from before, idle.
        broken: it is not to be kept: what came from it was not well.
    """

    endpoint: Endpoint
    server: ManagedServer | None
    kept: bool = False
    broken: bool = False

    def dead(self) -> str | None:
        """Why the engine can answer no more; None while it can."""
        said = self.server.died() if self.server is not None else None
        return f"{self.endpoint.destination.model}: {said}" if said else None

    @property
    def notes(self) -> list[str]:
        """What is to be known once the block has ended, in lines: GPU memory that is not free again."""
        return self.server.notes if self.server is not None else []

    @property
    def stopped(self) -> bool:
        """Whether somebody ended the engine on purpose."""
        return self.server is not None and self.server.stopped

    async def restart(self, say: Say) -> None:
        """Start the engine anew, after it died.

        Raises:
            EngineError: it does not start.
        """
        assert self.server is not None
        await asyncio.to_thread(self.server.stop)
        self.server, self.kept = self.server.renewed(), False
        await self.server.start(say)
        self.endpoint = _at(self.endpoint, self.server)


@asynccontextmanager
async def serving(model: Model, say: Say = lambda line: None) -> AsyncIterator[Served]:
    """Serve a model at one endpoint, its first, for as long as the block runs.

    Args:
        model: any but rules, which need no server.
        say: is given progress lines while the engine loads.

    Raises:
        EngineError: the engine does not start.
    """
    if len(model.gpus) > 1:
        model = model.model_copy(update={"gpus": model.gpus[:1]})
    async with serving_all(model, say) as served:
        yield served[0]


@asynccontextmanager
async def serving_all(model: Model, say: Say = lambda line: None) -> AsyncIterator[list[Served]]:
    """Serve a model at all its endpoints for as long as the block runs.

    Args:
        model: any but rules, which need no server.
        say: is given progress lines while engines load.

    Raises:
        EngineError: an engine does not start.
    """
    launches = launches_of(model)
    if not launches:
        yield [Served(_endpoint(model, destination), None) for destination in model.destinations()]
        return
    spec = _spec(model, launches)
    left: list[str] = []
    kept = await idle.take(spec, left.append)
    servers = kept or await _started(model, launches, say)
    servers[0].notes[:0] = left
    endpoint = _endpoint(model, model.destination())
    served = [Served(_at(endpoint, server), server, kept=kept is not None) for server in servers]
    try:
        yield served
    except BaseException:
        await _end(served)
        raise
    usable = not any(each.broken for each in served)
    if not (usable and await asyncio.to_thread(idle.keep, model.id, spec, _servers(served))):
        await _end(served)


def launches_of(model: Model) -> list[Launch]:
    """How to start a model's engines, one for each of its replicas; none where it runs already."""
    launch = engine_of(model).launch(model)
    if launch is None:
        return []
    if not model.gpus:
        return [launch]
    return [replace(launch, env=gpus.seeing(launch.env, entry)) for entry in model.gpus]


def _spec(model: Model, launches: list[Launch]) -> str:
    """What has to be the same for an engine to be used again."""
    said = [[launch.argv, launch.model, sorted(launch.env.items())] for launch in launches]
    return json.dumps([engine_of(model).identity(model), said], sort_keys=True, default=str)


async def _started(model: Model, launches: list[Launch], say: Say) -> tuple[ManagedServer, ...]:
    """All engines of a model, started together; where one does not start, none is left."""
    servers = tuple(ManagedServer(launch, model.id, engine=model.engine) for launch in launches)
    starting = [asyncio.ensure_future(server.start(say)) for server in servers]
    try:
        await asyncio.gather(*starting)
    except BaseException:
        for each in starting:
            each.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        await asyncio.to_thread(_stop, servers)
        raise
    return servers


async def _end(served: list[Served]) -> None:
    # Shielded: an interrupt does not leave an engine behind.
    await asyncio.shield(asyncio.to_thread(_stop, _servers(served)))


def _servers(served: list[Served]) -> tuple[ManagedServer, ...]:
    return tuple(each.server for each in served if each.server is not None)


def _stop(servers: tuple[ManagedServer, ...]) -> None:
    for server in servers:
        server.stop()


def _at(endpoint: Endpoint, server: ManagedServer) -> Endpoint:
    destination = replace(endpoint.destination, base_url=server.base_url)
    return replace(endpoint, destination=destination, api_key=server.api_key)


def _endpoint(model: Model, destination: Destination) -> Endpoint:
    recipe = engine_of(model)
    return Endpoint(
        destination,
        recipe.served_name(model),
        recipe.identity(model),
        recipe.engine_id(model) if len(model.urls) < 2 else f"{model.engine} {destination.base_url} {model.model}",
        capabilities_of(model),
        model.timeout_s,
        model.api_key(),
    )
