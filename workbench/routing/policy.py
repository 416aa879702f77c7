"""routing.yaml: the policy file.

policy = load_policy("routing.yaml")
policy.route("support_triage", "restricted").chain
policy.export("litellm", "litellm.yaml")

A per-request route has a model of its own, a JSON file of numbers beside routing.yaml; `policy.router(task, class)`
reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, PrivateAttr

from workbench import project
from workbench.errors import InputError
from workbench.files import StrictModel, read_yaml, write_atomic
from workbench.outcomes import candidate_id
from workbench.privacy import SensitivityClass
from workbench.routing.objective import Constraints, Objective

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.export import Export
    from workbench.routing.router import Router

RouteStatus = Literal["decided", "provisional", "infeasible"]
Kind = Literal["per_task", "rules_first", "cascade", "per_request"]
KINDS: tuple[Kind, ...] = ("per_task", "rules_first", "cascade", "per_request")
MarginSource = Literal["evalset", "default", "interactive"]


ALONE = "Not decided: ask another candidate too, or set limits.min_score in evalset.yaml."
STALE = "The eval set has changed since these outcomes: run again (what was answered is not asked again)."


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
        able: the candidates that are surely inside the limits and hold the margin: the objective chose among them.
        accepted: the share of requests with an accepted answer.
        policies: the other kinds of policies that were tried, and why not.
        gain_over_mix: score minus that of a random mix of the models at the same cost, out of sample.
        providers: hosts that the chain hangs on; engines that the workbench starts are `this machine`.
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
    able: list[str] = []
    accepted: float | None = None
    policies: dict[str, str] = {}
    gain_over_mix: list[float] | None = None
    providers: list[str] = []
    method: str = ""


class Verifier(StrictModel):
    """What a cascade trusts the first answer by.

    Attributes:
        name: `format` (schema validity), `agreement` (of repeats), or `metric.<name>`.
        threshold: a signal under it is escalated, and so is an answer without one.
        repeats: how often the first candidate is asked.
        model: who gives the signal, where that is a judge.
        true_acceptance: the share of good answers that it trusts, out of sample.
        false_acceptance: the share of other answers that it trusts; none where all were good.
        escalated: the share of requests that go on.
    """

    name: str
    threshold: float
    repeats: int = 1
    model: str | None = None
    true_acceptance: list[float] | None = None
    false_acceptance: list[float] | None = None
    escalated: float


class RouterFile(StrictModel):
    """The model of a per-request route.

    Attributes:
        file: beside routing.yaml; see `workbench.routing.load_router`.
        candidates: who it chooses among.
        prompt_variant: the variant whose prompts it reads.
        slices: whether it also wants the item's slices.
    """

    file: str
    sha256: str
    candidates: list[Link]
    prompt_variant: str = "default"
    slices: bool = False


class Route(StrictModel):
    """For a task × class: the chain of candidates, a status, and why.

    Attributes:
        chain: in a cascade, and with rules first, the first candidate and who answers where it is not trusted; then
            fallbacks. Per request, who answers where the router cannot be asked.
    """

    task: str
    class_: SensitivityClass = Field(alias="class")
    status: RouteStatus
    chain: list[Link] = []
    on: list[Literal["error", "format"]] = ["error", "format"]
    policy: Kind = "per_task"
    verifier: Verifier | None = None
    router: RouterFile | None = None
    margin: float
    margin_source: MarginSource
    reason: str
    evidence: Evidence = Evidence()

    @property
    def chosen(self) -> Link | None:
        return self.chain[0] if self.chain else None

    @property
    def alone(self) -> bool:
        """Whether its candidate was held against nothing: no other was asked, and there is no minimum score."""
        return self.status == "provisional" and ALONE in self.reason

    @property
    def stale(self) -> bool:
        """Whether its eval set has changed since the outcomes that it rests on."""
        return STALE in self.reason

    @property
    def way(self) -> str:
        """Who answers, for people: the chain, or whom the router chooses among."""
        chain = " → ".join(link.candidate for link in self.chain) or "no model"
        if self.router is None:
            return chain
        return f"one of {', '.join(link.candidate for link in self.router.candidates)}; without the router {chain}"

    @property
    def reaches(self) -> list[str]:
        """The models that a request of this route may be sent to, or an answer of it."""
        links = [*self.chain, *(self.router.candidates if self.router else [])]
        judge = [self.verifier.model] if self.verifier and self.verifier.model else []
        return list(dict.fromkeys([*(link.model for link in links), *judge]))

    @property
    def kind(self) -> str:
        """The policy for people."""
        if self.policy == "cascade" and self.verifier:
            return f"cascade by {self.verifier.name} from {self.verifier.threshold:.3g}"
        return self.policy.replace("_", " ")


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
    objective: Objective = "cost"
    constraints: Constraints | None = None
    routes: list[Route]
    evidence: PolicyEvidence = PolicyEvidence()
    _routers: dict[str, Any] = PrivateAttr(default_factory=dict)  # by file, until they are saved
    _folder: Path | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        """Where a policy was read from makes no difference."""
        return isinstance(other, Policy) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]

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

    def router(self, task: str, sensitivity_class: SensitivityClass = "restricted") -> Router:
        """The model of a per-request route.

        Raises:
            InputError: there is no such route, it has no router, or the router's file is another one.
        """
        from workbench.routing.router import load_router

        named = self.route(task, sensitivity_class).router
        if named is None:
            raise InputError(f"route {task} ({sensitivity_class}) is not decided per request: it has no router.")
        held: Router | None = self._routers.get(named.file)
        return held or load_router((self._folder or Path()) / named.file, named.sha256)

    def save(self, path: str | Path) -> Path:
        """Write the policy as YAML, whole or not at all, and the routers that it names beside it.

        Returns:
            The file. A path of several parts goes below the project's root, unless the working directory has its
            first folder; a bare file name goes into the working directory, as `workbench.project.target` says.
        """
        path = project.target(path)
        for name, router in self._routers.items():
            router.save(path.parent / name)
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        header = "# Made by workbench from measured outcomes. Each route says why; make it anew rather than edit it.\n"
        write_atomic(path, header + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110))
        return path

    def export(self, gateway: str, path: str | Path, models: Models | None = None) -> Export:
        """Write the policy as a gateway's config. See `workbench.export.export_policy`."""
        from workbench.export import export_policy

        return export_policy(self, gateway, path, models)

    def describe(self, reasons: bool = True, rejected: bool = False) -> str:
        """The routes, a line each, and why.

        Args:
            reasons: why each was chosen.
            rejected: also why not the other candidates and policies.
        """
        lines = []
        for route in self.routes:
            chain = route.way
            kind = "" if route.policy == "per_task" else f", {route.kind}"
            lines.append(f"{route.task} ({route.class_}): {chain}  [{route.status}{kind}]")
            if reasons:
                lines.append(f"    {route.reason}")
            if rejected:
                others = {**route.evidence.rejected, **route.evidence.policies}
                lines += [f"    not {name}: {why}" for name, why in others.items()]
        return "\n".join(lines)


def load_policy(path: str | Path) -> Policy:
    """Read routing.yaml.

    Raises:
        InputError: naming file, line, field and the mend.
    """
    found = project.resolve(path)
    policy = read_yaml(found).parse(Policy)
    for route in policy.routes:
        if route.router and Path(route.router.file).name != route.router.file:
            raise InputError(f"{project.shown(found)}: router file '{route.router.file}' must lie beside this file.")
    policy._folder = found.parent
    return policy
