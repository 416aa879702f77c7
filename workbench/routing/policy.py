"""routing.yaml: the policy file.

policy = load_policy("routing.yaml")
policy.route("support_triage", "restricted").chain
policy.export("litellm", "litellm.yaml")
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import Field

from workbench import project
from workbench.errors import InputError
from workbench.files import StrictModel, read_yaml, write_atomic
from workbench.outcomes import candidate_id
from workbench.privacy import SensitivityClass

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.export import Export

RouteStatus = Literal["decided", "provisional", "infeasible"]
MarginSource = Literal["evalset", "default", "interactive"]


class Link(StrictModel):
    """One candidate of a chain."""

    model: str
    variant: str = "default"

    @property
    def candidate(self) -> str:
        return candidate_id(self.model, self.variant)


class Evidence(StrictModel):
    """What a route rests on: estimates are [value, low, high].

    Attributes:
        n: items that the chosen candidate was asked.
        repeats: answers to an item, at most; they are averaged.
        seed: of the resampling, where there was any.
        diff_to_best: of the others inside the limits, the one that may be better by most: its score minus the chosen
            one's; the high end is the simultaneous one-sided bound that has to stay under the margin.
        items_to_decide: about how many items would decide a provisional route.
        rejected: the other candidates, and why not.
    """

    n: int = 0
    clusters: int | None = None
    repeats: int = 1
    seed: int | None = None
    score: list[float] | None = None
    diff_to_best: list[float] | None = None
    cost_per_accepted_usd: list[float | None] | None = None
    latency_p95_s: float | None = None
    items_to_decide: int | None = None
    rejected: dict[str, str] = {}
    method: str = ""


class Route(StrictModel):
    """For a task × class: the chain of candidates, a status, and why."""

    task: str
    class_: SensitivityClass = Field(alias="class")
    status: RouteStatus
    chain: list[Link] = []
    on: list[Literal["error", "format"]] = ["error", "format"]
    policy: Literal["per_task"] = "per_task"
    margin: float
    margin_source: MarginSource
    reason: str
    evidence: Evidence = Evidence()

    @property
    def chosen(self) -> Link | None:
        return self.chain[0] if self.chain else None


class PolicyEvidence(StrictModel):
    """Where the policy's evidence is kept."""

    mlflow_run: str | None = None
    outcomes_sha256: str | None = None
    evalsets: dict[str, str] = {}
    sample: dict[str, dict[str, int]] = {}
    prices: dict[str, str] = {}


class Policy(StrictModel):
    """All routes."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    created: datetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    workbench: str
    objective: Literal["cost"] = "cost"
    routes: list[Route]
    evidence: PolicyEvidence = PolicyEvidence()

    def route(self, task: str, sensitivity_class: SensitivityClass = "restricted") -> Route:
        """The route of a task; a request that states no class takes the restricted one.

        Raises:
            InputError: there is no such route.
        """
        for route in self.routes:
            if (route.task, route.class_) == (task, sensitivity_class):
                return route
        known = ", ".join(f"{route.task} ({route.class_})" for route in self.routes)
        raise InputError(f"the policy has no route {task} ({sensitivity_class}). It has: {known}.")

    def save(self, path: str | Path) -> Path:
        """Write the policy as YAML, whole or not at all."""
        path = Path(path)
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        header = "# Made by workbench from measured outcomes. Each route says why; make it anew rather than edit it.\n"
        write_atomic(path, header + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110))
        return path

    def export(self, gateway: str, path: str | Path, models: Models | None = None) -> Export:
        """Write the policy as a gateway's config. See `workbench.export.export_policy`."""
        from workbench.export import export_policy

        return export_policy(self, gateway, path, models)

    def describe(self, reasons: bool = True) -> str:
        """The routes, a line each, and why."""
        lines = []
        for route in self.routes:
            chain = " → ".join(link.candidate for link in route.chain) or "no model"
            lines.append(f"{route.task} ({route.class_}): {chain}  [{route.status}]")
            if reasons:
                lines.append(f"    {route.reason}")
        return "\n".join(lines)


def load_policy(path: str | Path) -> Policy:
    """Read routing.yaml.

    Raises:
        InputError: naming file, line, field and the mend.
    """
    return read_yaml(project.resolve(path)).parse(Policy)
