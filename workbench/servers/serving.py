"""A model with a server behind it that is ready to be asked: a managed one is started, and ended afterwards.

async with serving(model, say) as served:
    async with Client(served.endpoint) as client: ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from workbench.catalog import Model
from workbench.client import Endpoint
from workbench.servers import capabilities_of, engine_of
from workbench.servers.process import ManagedServer


@dataclass(frozen=True)
class Served:
    """An endpoint, and the managed server behind it; None for one that runs already."""

    endpoint: Endpoint
    server: ManagedServer | None

    def dead(self) -> str | None:
        """Why the engine can answer no more; None while it can."""
        if self.server is None or self.server.alive:
            return None
        return f"{self.server.label}: the engine died in mid-run. {self.server.last_words()}"


@asynccontextmanager
async def serving(model: Model, say: Callable[[str], None] = lambda line: None) -> AsyncIterator[Served]:
    """Serve a model for as long as the block runs.

    Args:
        model: any but rules, which need no server.
        say: is given progress lines while the engine loads.

    Raises:
        EngineError: the engine does not start.
    """
    recipe = engine_of(model)
    launch = recipe.launch(model)
    server: ManagedServer | None = None
    destination, api_key = model.destination(), model.api_key()
    if launch is not None:
        server = ManagedServer(launch, model.id)
        await server.start(say)
        destination, api_key = replace(destination, base_url=server.base_url), server.api_key
    endpoint = Endpoint(
        destination,
        recipe.served_name(model),
        recipe.identity(model),
        recipe.engine_id(model),
        capabilities_of(model),
        model.timeout_s,
        api_key,
    )
    try:
        yield Served(endpoint, server)
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)
