"""Writing a policy and a gateway's config, and telling what came of it.

told = write_out(policy, "litellm", "exports", models)
told.html()             # what was written, what is different from before, what the gateway cannot express, the proof
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import project
from workbench.catalog import Models
from workbench.errors import InputError
from workbench.export import export_policy
from workbench.routing.changes import changes
from workbench.routing.choose import aged
from workbench.routing.policy import Policy, load_policy
from workbench.tracking.champion import register
from workbench.views.tables import page

if TYPE_CHECKING:
    from workbench.evalset import EvalSet


@dataclass(frozen=True)
class Written:
    """What an export came to.

    Attributes:
        differences: to the policy that was in the file before; None where there was none.
        losses: what the gateway cannot express.
        verified: what running the config showed, in a line.
        champion: the version under which the policy is the champion in MLflow; None where it was not asked for.
    """

    policy: Path
    config: Path
    differences: list[str] | None
    losses: list[str]
    verified: str
    champion: str | None = None

    def html(self) -> str:
        """The same for a page; all text is escaped."""
        before = ["nothing was written there before"] if self.differences is None else self.differences
        parts = [
            ("written", [project.shown(self.policy), project.shown(self.config)]),
            ("verified", [self.verified]),
            ("different from the last one", before or ["nothing: the same routes"]),
            ("what the gateway cannot express", self.losses or ["nothing is lost"]),
        ]
        if self.champion is not None:
            parts.append(("champion in MLflow", [f"version {self.champion}"]))
        rows = "".join(
            f"<tr><td class=t>{escape(title)}</td><td class=w>{'<br>'.join(map(escape, lines))}</td></tr>"
            for title, lines in parts
        )
        return page(f"<table><caption>export</caption>{rows}</table>")


def write_out(
    policy: Policy,
    gateway: str,
    folder: str | Path,
    models: Models,
    make_champion: bool = False,
    tasks: Mapping[str, EvalSet] | None = None,
) -> Written:
    """Write `routing.yaml` and a gateway's config, and verify the config where its gateway is installed.

    Args:
        folder: of the project, unless it is absolute.
        make_champion: also register the policy in MLflow, where a gate finds it.
        tasks: the eval sets: a route that rests on one whose files have changed since is written as provisional.

    Raises:
        InputError: the policy cannot be exported to that gateway; then nothing was written.
        RunError: the gateway does not load the file, or MLflow cannot be reached; both files are written by then.
    """
    policy = aged(policy, tasks or {})
    target = project.root() / folder
    path = target / "routing.yaml"
    before = _last(path)
    for route in policy.routes:  # those of a policy that was read lie beside its own file, not beside the new one
        if route.router:
            policy._routers.setdefault(route.router.file, policy.router(route.task, route.class_))
    ending = "json" if gateway == "json" else "yaml"
    export = export_policy(policy, gateway, target / f"{gateway}.{ending}", models)
    policy.save(path)
    return Written(
        policy=path,
        config=export.path,
        differences=None if before is None else changes(before, policy),
        losses=export.losses,
        verified=export.verification(policy),
        champion=register(policy) if make_champion else None,
    )


def _last(path: Path) -> Policy | None:
    """The policy that is there; one that cannot be read is none to compare with."""
    try:
        return load_policy(path) if path.is_file() else None
    except InputError:
        return None
