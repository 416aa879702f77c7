"""Exports: a policy as a real gateway's config, checked before it is written and proven by running it.

    export = export_policy(policy, "litellm", "litellm.yaml", models)
    export.losses                    # what the gateway cannot express; also in litellm.losses.md
    export.verification(policy)      # loads it into the real gateway and sees where requests land

A gateway is one module with a function `render`, and `verify` where it can be run; a team adds its own by an entry
point in the group `workbench.gateways`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench import project
from workbench.catalog import Models, load_models
from workbench.errors import InputError
from workbench.export import json_policy, litellm, vllm_sr
from workbench.export.expressible import refuse_unusable
from workbench.export.rendered import Rendered
from workbench.files import write_atomic
from workbench.registry import Registry
from workbench.routing.closure import check_closure

if TYPE_CHECKING:
    from workbench.evalset import EvalSet
    from workbench.export.proof import Proof
    from workbench.routing.policy import Policy

__all__ = ["GATEWAYS", "Export", "Gateway", "Rendered", "export_policy", "tasks_of", "verify_file"]


class Gateway(Protocol):
    """The shape of a gateway's module."""

    def render(self, policy: Policy, models: Models) -> Rendered:
        """The config's text and what it cannot express."""

    def verify(self, path: Path, policy: Policy, models: Models, full: bool = True) -> Proof | None:
        """What running a file, as it is on disk, shows.

        Args:
            full: everything, however long it takes; else what takes some seconds.

        Returns:
            None where what it takes is not installed. A module may leave this function out: its configs are then
            never called verified.
        """


GATEWAYS: Registry[Gateway] = Registry("workbench.gateways", "gateway")
for _name, _module in {"litellm": litellm, "vllm-sr": vllm_sr, "json": json_policy}.items():
    GATEWAYS.add(_name, _module)


@dataclass(frozen=True)
class Export:
    """A written config.

    Attributes:
        losses: what the policy says and the gateway cannot express.
        variables: environment variables that the gateway's process needs, with what they hold.
        beside: the further files: the loss report, the prompts.
    """

    gateway: str
    path: Path
    losses: list[str]
    variables: dict[str, str]
    models: Models
    beside: list[Path] = field(default_factory=list)

    def prove(self, policy: Policy, full: bool = False) -> Proof | None:
        """Run the config in the real gateway; None where that is not installed. See `verify_file`."""
        return verify_file(self.gateway, self.path, policy, self.models, full)

    def verification(self, policy: Policy, full: bool = False) -> str:
        """What running the config in the real gateway showed, in one line or a few."""
        return shown(self.prove(policy, full))


def shown(proof: Proof | None) -> str:
    """A proof for people; also one that could not be had."""
    return "not verified here: .venv-gateways is not installed ('make gateways')" if proof is None else str(proof)


def export_policy(
    policy: Policy,
    gateway: str,
    path: str | Path,
    models: Models | None = None,
    tasks: Mapping[str, EvalSet] | None = None,
) -> Export:
    """Write a policy as a gateway's config, whole or not at all.

    Beside it, with its name: `….losses.md`, what the gateway cannot express, and `….prompts/`, the prompts that the
    application has to send. The route table of an earlier file is removed.

    Args:
        policy: the routes.
        gateway: the gateway's name: `litellm`, `vllm-sr`, `json`, or one of an entry point.
        path: the file to write, see `workbench.project.target`.
        models: models.yaml; read from the project where left out.
        tasks: the eval sets, for the prompts; those of the project where left out. See `tasks_of`.

    Raises:
        InputError: an unknown gateway, a route to a model that is not there, a restricted route that can reach a
            hosted model, a privacy rule that the gateway cannot express, a defect that it would take in silence.
    """
    from workbench.export.prompts import prompt_files
    from workbench.export.proof import forget

    module = GATEWAYS.find(gateway)
    models = load_models() if models is None else models
    check_closure(policy, models)
    refuse_unusable(policy)
    rendered = module.render(policy, models)
    if rendered.lost_privacy:
        raise InputError(f"{gateway} cannot keep a privacy rule, so nothing is written: {rendered.lost_privacy[0]}")
    path = project.target(path)
    prompts, said = prompt_files(policy, models, tasks_of(policy) if tasks is None else tasks, f"{path.stem}.prompts")
    losses = [*rendered.losses, *said]
    beside = {f"{path.stem}.losses.md": _report(gateway, path, losses), **prompts}
    for name, text in beside.items():
        write_atomic(path.parent / name, text)
    forget(path)
    write_atomic(path, rendered.text)
    written = {path.parent / name for name in beside}
    for old in (path.parent / f"{path.stem}.prompts").glob("*.json"):  # of an earlier policy: they would mislead
        if old not in written:
            old.unlink()
    return Export(gateway, path, losses, rendered.variables, models, [path.parent / name for name in beside])


def verify_file(
    gateway: str, path: str | Path, policy: Policy, models: Models | None = None, full: bool = True
) -> Proof | None:
    """Run a config, as it is on disk, in the real gateway, and compare where requests land with the policy.

    The route table is written beside the file, and what verified it into its header. Those of an earlier text of the
    file are removed first.

    Args:
        full: also what takes long, such as the LiteLLM proxy beside its Router.

    Returns:
        The proof, or None where the gateway is not installed, or has nothing to verify it by.

    Raises:
        InputError: no such file, or gateway; a policy that could not be exported.
        RunError: the gateway does not load the file.
    """
    from workbench.export.proof import forget_unless_of, keep

    module = GATEWAYS.find(gateway)
    path = project.resolve(path)
    if not path.is_file():
        raise InputError(f"{project.shown(path)}: there is no such file.")
    models = load_models() if models is None else models
    check_closure(policy, models)
    refuse_unusable(policy)
    forget_unless_of(path)
    verify = getattr(module, "verify", None)
    proof: Proof | None = verify(path, policy, models, full) if verify else None
    if proof is not None and not proof.empty:
        keep(proof, path)
    return proof


def tasks_of(policy: Policy, known: Mapping[str, EvalSet] | None = None) -> dict[str, EvalSet]:
    """The eval sets that the policy's routes are of: those that are known, and for the others the project's."""
    from workbench.evalset import load_evalset

    folder, found = project.resolve("evalsets"), dict(known or {})
    for task in dict.fromkeys(route.task for route in policy.routes):
        if task not in found and (folder / task / "evalset.yaml").is_file():
            found[task] = load_evalset(folder / task)
    return found


def _report(gateway: str, path: Path, losses: list[str]) -> str:
    head = f"# What the policy says and {path.name} ({gateway}) cannot\n\n"
    return head + "".join(f"- {loss}\n" for loss in losses or ["Nothing."])
