"""The chosen policy under an alias in MLflow's registry, so that a gate can find it.

    version = register(policy)                  # routing.yaml and its routers, as a version of `workbench-policy`
    champion().route("support_triage").chain    # what stands under the alias now

A policy holds no item's text: reasons are made of figures, and a router's words are hashed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import project
from workbench.errors import InputError, RunError, WorkbenchError
from workbench.routing.policy import Policy, load_policy
from workbench.tracking.store import Store, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "workbench-policy"
_EXPERIMENT = "workbench-policies"  # apart, so that comparisons have their page to themselves
_DIGEST = "workbench.policy_sha256"
_FOLDER, _FILE = "policy", "routing.yaml"


def register(policy: Policy, alias: str = "champion", notes: list[str] | None = None) -> str:
    """Put a policy under an alias; the same one again makes no second version.

    Args:
        policy: what `workbench.route` or `load_policy` returned.
        alias: the name that a gate asks for.
        notes: takes what was done to the store besides.

    Returns:
        The version.

    Raises:
        RunError: MLflow cannot be reached, or refuses.
        InputError: a router's file is missing.
    """
    store, digest = Store(store_uri()), policy_digest(policy)
    with _opened(store) as client:
        version = _version_of(client, digest) or _new_version(client, store, policy, digest)
        client.set_registered_model_alias(NAME, alias, version)
    if notes is not None:
        notes += store.notes
    return version


def champion(alias: str = "champion") -> Policy:
    """The policy that stands under an alias.

    Raises:
        InputError: there is none.
        RunError: MLflow cannot be reached, or what it has is not what was registered.
    """
    store = Store(store_uri())
    with _opened(store) as client:
        found = _under(client, alias)
        if found is None:
            raise InputError(
                f"MLflow at {store} has no policy under the alias '{alias}'. Register one, such as by 'workbench route "
                "--champion'."
            )
        digest = str(found.tags[_DIGEST])
        folder = project.state("policies") / digest[:16]
        if not (folder / _FILE).is_file():
            with tempfile.TemporaryDirectory(dir=project.state("policies")) as scratch:
                got = client.download_artifacts(found.run_id, _FOLDER, scratch)
                shutil.rmtree(folder, ignore_errors=True)
                Path(got).rename(folder)
    policy = load_policy(folder / _FILE)
    if policy_digest(policy) != digest:
        shutil.rmtree(folder)
        raise RunError(f"MLflow at {store}: version {found.version} of {NAME} is not what was registered. Route again.")
    return policy


def link_to(version: str) -> str:
    """Where a version is in MLflow's pages."""
    return f"{Store(store_uri()).ui}/#/models/{NAME}/versions/{version}"


def policy_digest(policy: Policy) -> str:
    """SHA-256 of what a policy says, whenever it was made; its routers' digests are part of that."""
    said = policy.model_dump(mode="json", by_alias=True, exclude={"created"})
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@contextmanager
def _opened(store: Store) -> Iterator[MlflowClient]:
    """A client; what MLflow raises becomes one clear line."""
    try:
        with store.open() as client:
            yield client
    except WorkbenchError:
        raise
    except Exception as failure:  # noqa: BLE001  (whatever MLflow raises)
        raise RunError(f"MLflow at {store}: {store.said(failure)}") from None


def _under(client: MlflowClient, alias: str) -> Any:
    """The version under an alias, or None."""
    for model in client.search_registered_models(f"name = '{NAME}'"):
        if alias in model.aliases:
            found = client.get_model_version(NAME, model.aliases[alias])
            return found if _DIGEST in found.tags else None  # else somebody else's
    return None


def _version_of(client: MlflowClient, digest: str) -> str | None:
    """The version of a policy, if it was registered."""
    found = client.search_model_versions(f"name = '{NAME}' AND tags.`{_DIGEST}` = '{digest}'")
    return str(found[0].version) if found else None


def _new_version(client: MlflowClient, store: Store, policy: Policy, digest: str) -> str:
    """A run that holds the files, and a version that points there."""
    statuses = {f"route.{each.task}.{each.class_}": f"{each.way} ({each.status})" for each in policy.routes}
    tags = {_DIGEST: digest, **{name: text[:500] for name, text in statuses.items()}}
    tags |= {"outcomes_sha256": policy.evidence.outcomes_sha256} if policy.evidence.outcomes_sha256 else {}
    experiment = store.experiment(client, _EXPERIMENT)
    run = client.create_run(experiment, run_name=f"policy {policy.created:%m-%d %H:%M}", tags=tags).info
    with tempfile.TemporaryDirectory() as name:
        _write(policy, Path(name) / _FOLDER)
        client.log_artifacts(run.run_id, name)
    client.set_terminated(run.run_id)
    if not client.search_registered_models(f"name = '{NAME}'"):
        client.create_registered_model(NAME, description="Which model each task uses: routing.yaml and its routers.")
    made = client.create_model_version(
        NAME, f"{run.artifact_uri}/{_FOLDER}", run.run_id, tags=tags, description=policy.describe(reasons=False)
    )
    return str(made.version)


def _write(policy: Policy, folder: Path) -> None:
    """The policy's file, and its routers, wherever they are."""
    policy.save(folder / _FILE)
    for route in policy.routes:
        if route.router is not None:
            router = policy.router(route.task, route.class_)
            router.save(folder / route.router.file)
            if router.sha256 != route.router.sha256:
                raise InputError(f"router '{route.router.file}' is another one than the policy names. Route again.")
