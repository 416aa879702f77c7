"""Exports: a policy as a real gateway's config, checked before it is written and proven by running it.

    export = export_policy(policy, "litellm", "litellm.yaml", models)
    export.losses                    # what the gateway cannot express
    export.verification(policy)      # loads it into the real gateway and sees where requests land

A gateway is one module with a function `render`; a team adds its own by an entry point in the group
`workbench.gateways`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.catalog import Models, load_models
from workbench.errors import InputError
from workbench.export import litellm
from workbench.export.rendered import Rendered
from workbench.files import write_atomic
from workbench.routing.closure import check_closure

if TYPE_CHECKING:
    from workbench.export.verify import Proof
    from workbench.routing.policy import Policy

__all__ = ["Export", "Gateway", "Rendered", "export_policy", "gateways"]


class Gateway(Protocol):
    """The shape of a gateway's module."""

    def render(self, policy: Policy, models: Models) -> Rendered:
        """The config's text and what it cannot express."""


@dataclass(frozen=True)
class Export:
    """A written config.

    Attributes:
        losses: what the policy says and the gateway cannot express.
        variables: environment variables that the gateway's process needs, with what they hold.
    """

    gateway: str
    path: Path
    losses: list[str]
    variables: dict[str, str]

    def prove(self, policy: Policy) -> Proof | None:
        """Run the config in the real gateway; None where its environment is not installed. See `verify`."""
        from workbench.export.verify import verify

        return verify(self.path, policy)

    def verification(self, policy: Policy) -> str:
        """What running the config in the real gateway showed, in one line or a few."""
        proof = self.prove(policy)
        return "not verified here: .venv-gateways is not installed ('make gateways')" if proof is None else str(proof)


def gateways() -> dict[str, Gateway]:
    """The known gateways by name."""
    from importlib.metadata import entry_points

    added = {entry.name: entry.load() for entry in entry_points(group="workbench.gateways")}
    return {"litellm": litellm, **added}


def export_policy(policy: Policy, gateway: str, path: str | Path, models: Models | None = None) -> Export:
    """Write a policy as a gateway's config, whole or not at all.

    Args:
        policy: the routes.
        gateway: the gateway's name, such as `litellm`.
        path: the file to write.
        models: models.yaml; read from the project where left out.

    Raises:
        InputError: an unknown gateway, a route to a model that is not there, a restricted route that can reach a
            hosted model.
    """
    known = gateways()
    if gateway not in known:
        raise InputError(f"there is no gateway '{gateway}'. There are: {', '.join(known)}.")
    models = load_models() if models is None else models
    check_closure(policy, models)
    rendered = known[gateway].render(policy, models)
    path = Path(path)
    write_atomic(path, rendered.text)
    return Export(gateway, path, rendered.losses, rendered.variables)
