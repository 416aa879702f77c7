"""Engines: what starts a model's server, or reaches one that runs; one recipe an engine, all of one shape.

engine = engine_of(model)
engine.identity(model)       # what its answers depend on
engine.launch(model)         # how to start its server; None where it runs elsewhere or in this process
"""

from __future__ import annotations

from typing import Any, Protocol

from workbench.catalog import Model
from workbench.errors import InputError
from workbench.servers import llamacpp, openai, rules, transformers, vllm
from workbench.servers.process import Launch, ManagedServer

__all__ = ["EngineRecipe", "Launch", "ManagedServer", "engine_of"]


class EngineRecipe(Protocol):
    """The shape of an engine's module."""

    CAPABILITIES: frozenset[str]

    def unavailable(self, model: Model, batch: bool = False) -> str | None:
        """Why the model cannot run here, with the mend; None if it can.

        Args:
            batch: it is to be asked in batches, not served.

        Raises:
            InputError: its entry is wrong: an option that the engine does not have, a quantization that contradicts
                its weights.
        """

    def identity(self, model: Model) -> dict[str, Any]:
        """What the answers depend on: engine, version, weights digest, arguments; or base URL and model."""

    def engine_id(self, model: Model) -> str:
        """The same for people, in one line."""

    def served_name(self, model: Model) -> str:
        """The name that the server knows the model by."""

    def launch(self, model: Model) -> Launch | None:
        """How to start its server; None where the workbench starts none."""


_ENGINES: dict[str, EngineRecipe] = {
    "llamacpp": llamacpp,
    "openai": openai,
    "rules": rules,
    "transformers": transformers,
    "vllm": vllm,
}


def engine_of(model: Model) -> EngineRecipe:
    """The recipe of a model's engine: a built-in one, or an entry point in the group `workbench.engines`.

    Raises:
        InputError: there is none of that name.
    """
    recipe = _ENGINES.get(model.engine)
    if recipe is None:
        raise InputError(f"{model.id}: there is no engine '{model.engine}'. There are: {', '.join(_ENGINES)}.")
    return recipe


def capabilities_of(model: Model) -> frozenset[str]:
    """What is sent to a model's server beyond the plain protocol."""
    declared = model.capabilities
    return engine_of(model).CAPABILITIES if declared is None else frozenset(declared)
