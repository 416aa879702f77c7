"""Where a gateway finds a model: its name there, addresses, key and price.

target(models["smollm2-q4"], models, "support_triage").addresses      # ['http://127.0.0.1:8100/v1']
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from workbench.catalog import Model, Models
from workbench.prices import token_cost
from workbench.servers import engine_of

_FIRST_PORT = 8100
_TOKENS = 1000  # a request small enough for the lowest tier of a price list


@dataclass(frozen=True)
class Target:
    """A model as a gateway addresses it.

    Attributes:
        served: the name that the server knows it by.
        addresses: base URLs that all serve it.
        key_variable: the environment variable with its key; None where it has none.
        prices: USD a token, of prompt and answer; None where unknown, which is never 0.
    """

    served: str
    addresses: list[str]
    key_variable: str | None
    prices: tuple[float, float] | None


def key_variable(model: str) -> str:
    """The environment variable for the key that a local model is served with."""
    return f"WORKBENCH_{re.sub(r'[^A-Za-z0-9]', '_', model).upper()}_API_KEY"


def port_of(model: str, models: Models) -> int:
    """Where `workbench serve` serves a local model: a port of its own for each, in the order of models.yaml."""
    return _FIRST_PORT + models.order.index(model)


def target(model: Model, models: Models, task: str) -> Target:
    """How a gateway reaches a model for a task."""
    served = f"rules/{task}" if model.engine == "rules" else engine_of(model).served_name(model)
    name = model.api_key_env if model.urls else key_variable(model.id)
    return Target(served, addresses_of(model, models), name, _prices(model))


def addresses_of(model: Model, models: Models) -> list[str]:
    """A model's base URLs; of one that the workbench serves, where 'workbench serve' does."""
    return model.urls or [f"http://127.0.0.1:{port_of(model.id, models)}/v1"]


def _prices(model: Model) -> tuple[float, float] | None:
    if model.engine == "rules":
        return 0.0, 0.0
    now = datetime.now(UTC)
    name = model.model if isinstance(model.model, str) else ""
    read = token_cost(model.price, name, _TOKENS, 0, now)
    written = token_cost(model.price, name, 0, _TOKENS, now)
    return None if read is None or written is None else (read / _TOKENS, written / _TOKENS)


def variables_of(targets: dict[str, Target], models: Models) -> dict[str, str]:
    """The environment variables with the keys of some models, and what each holds."""
    found = {}
    for name, to in targets.items():
        if to.key_variable:
            own = "" if models[name].urls else f", which 'workbench serve {name}' reads too"
            found[to.key_variable] = f"the key of {name}{own}"
    return found
