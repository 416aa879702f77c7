"""Writing a policy and a gateway's config, and telling what came of it.

told = write_out(policy, "litellm", "exports", models)
told.html()             # what was written, what is different from before, what the gateway cannot express, the proof

What fails once the files are written is told beside them: whoever exports has files, and has to know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import project
from workbench.catalog import Models
from workbench.errors import InputError, WorkbenchError
from workbench.export import Export, export_policy, shown, tasks_of
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
        verification: what running the config showed, or why that could not be seen.
        champion: the version under which the policy is the champion in MLflow, or why it is not; None where it was not
            asked for.
    """

    policy: Path
    config: Path
    differences: list[str] | None
    losses: list[str]
    verification: str
    champion: str | None = None

    def html(self) -> str:
        """The same for a page; all text is escaped."""
        before = ["nothing was written there before"] if self.differences is None else self.differences
        parts = [
            ("written", [project.shown(self.policy), project.shown(self.config)]),
            ("verification", self.verification.splitlines()),
            ("different from the last one", before or ["nothing: the same routes"]),
            ("what the gateway cannot express", self.losses or ["nothing is lost"]),
        ]
        if self.champion is not None:
            parts.append(("champion in MLflow", self.champion.splitlines()))
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
        folder: of the project, unless it is absolute or begins with a home (~).
        make_champion: also register the policy in MLflow, where a gate finds it.
        tasks: the eval sets, for the prompts; a route that rests on one whose files have changed since is written as
            provisional.

    Raises:
        InputError: the policy cannot be exported to that gateway, or what is there cannot be read; then nothing was
            written.
    """
    policy = aged(policy, tasks or {})
    target = _folder(folder)
    path = target / "routing.yaml"
    before = _last(path)
    for route in policy.routes:  # those of a policy that was read lie beside its own file, not beside the new one
        if route.router:
            policy._routers.setdefault(route.router.file, policy.router(route.task, route.class_))
    ending = "json" if gateway == "json" else "yaml"
    export = export_policy(policy, gateway, target / f"{gateway}.{ending}", models, tasks_of(policy, tasks))
    policy.save(path)
    verification, failed = _verified(export, policy)
    return Written(
        policy=path,
        config=export.path,
        differences=None if before is None else changes(before, policy),
        losses=export.losses,
        verification=verification,
        champion=_registered(policy, failed) if make_champion else None,
    )


def _verified(export: Export, policy: Policy) -> tuple[str, bool]:
    """What running the config showed, and whether something is wrong with it."""
    try:
        proof = export.prove(policy)
    except (WorkbenchError, OSError, ValueError) as failure:
        return f"NOT verified: {_sentence(failure)} Deploy the files once an export of them is verified.", True
    return shown(proof), proof is not None and bool(proof.failures)


def _registered(policy: Policy, failed: bool) -> str:
    """The version under which the policy is the champion now, or why it is not."""
    if failed:
        return "not made the champion: the verification failed. Mend that, and export again."
    notes: list[str] = []
    try:
        return "\n".join([f"version {register(policy, notes=notes)}", *notes])
    except WorkbenchError as failure:
        return f"not made the champion: {_sentence(failure)} Mend that, and export again: the files are written."


def _sentence(failure: Exception) -> str:
    """What a failure says, with its full stop."""
    return f"{str(failure).rstrip('.')}."


def _last(path: Path) -> Policy | None:
    """The policy that is there, if there is a file.

    Raises:
        InputError: it cannot be read, so there is no telling what writing over it would lose.
    """
    if not path.exists():
        return None
    try:
        return load_policy(path)
    except InputError as failure:
        said = f"{_sentence(failure)} It is not written over. Mend it, move it away, or choose another folder."
        raise InputError(said) from None


def _folder(named: str | Path) -> Path:
    try:
        return project.folder(named)
    except RuntimeError as failure:  # nobody of that name has a home
        raise InputError(f"folder {named}: {_sentence(failure)} Choose another folder.") from None
