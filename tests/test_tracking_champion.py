"""The chosen policy in MLflow's registry: registered once, found by its alias, read back as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from planted import models, outcomes, right
from test_routing_policies import LIMITS, request_table

from workbench.cli import main
from workbench.errors import InputError, RunError
from workbench.evalset.spec import Limits
from workbench.routing import Policy, load_policy, route
from workbench.tracking import champion, register, store_uri
from workbench.tracking.champion import NAME


def chosen(margin: float = 0.05) -> Policy:
    table = outcomes({"a": right(0.9, 60), "b": right(0.4, 60, seed=1)}, cost_usd={"a": 0.002, "b": 0.001})
    limits = {"planted": Limits(margin=margin)}
    return route(table, models(a="hosted", b="private"), limits)


def versions() -> list[Any]:
    from mlflow import MlflowClient

    return list(
        MlflowClient(tracking_uri=store_uri(), registry_uri=store_uri()).search_model_versions(f"name='{NAME}'")
    )


def test_a_policy_is_found_by_its_alias_as_it_was(project: Path) -> None:
    policy = chosen()
    assert register(policy) == "1"
    assert champion() == policy
    (version,) = versions()
    assert version.tags["route.planted.open"] == "a → b (decided)"
    assert version.tags["outcomes_sha256"] == policy.evidence.outcomes_sha256


def test_the_same_policy_twice_is_one_version_and_another_takes_the_alias(project: Path) -> None:
    policy = chosen()
    later = policy.model_copy(update={"created": policy.created.replace(year=2030)})
    assert [register(policy), register(later)] == ["1", "1"]
    path = policy.save(project / "routing.yaml")
    assert register(load_policy(path)) == "1"
    other = chosen(margin=0.1)
    assert register(other) == "2" and champion() == other
    assert register(policy) == "1" and champion() == policy  # rolled back: no third version
    assert register(other, alias="staging") == "2" and champion("staging") == other and champion() == policy
    assert len(versions()) == 2


def test_a_router_comes_along(project: Path) -> None:
    policy = route(request_table(True), models(cheap="private", strong="hosted"), LIMITS)
    named = next(each for each in policy.routes if each.router)
    register(policy)
    back = champion()
    assert back == policy
    assert back.router(named.task, named.class_).sha256 == policy.router(named.task, named.class_).sha256


def test_what_was_changed_in_the_store_is_not_a_champion(project: Path) -> None:
    register(chosen())
    (file,) = (project / "mlruns" / "artifacts").rglob("routing.yaml")
    data = yaml.safe_load(file.read_text())
    data["routes"][0]["chain"] = [{"model": "b"}]
    file.write_text(yaml.safe_dump(data))
    for _ in range(2):
        with pytest.raises(RunError, match="is not what was registered"):
            champion()


def test_a_deleted_experiment_of_policies_is_restored_and_that_is_said(project: Path) -> None:
    from mlflow import MlflowClient

    policy = chosen()
    register(policy)
    client = MlflowClient(tracking_uri=store_uri())
    client.delete_experiment(client.get_experiment_by_name("workbench-policies").experiment_id)
    client.delete_experiment(client.get_experiment_by_name("workbench").experiment_id)
    notes: list[str] = []
    assert champion() == policy and client.get_experiment_by_name("workbench").lifecycle_stage == "deleted"
    assert register(chosen(margin=0.1), notes=notes) == "2"
    assert len(notes) == 1 and "'workbench-policies' was deleted: it was restored" in notes[0]


def test_there_may_be_none_and_no_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"has no policy under the alias 'champion'. Register one"):
        champion()
    register(chosen(), alias="staging")
    with pytest.raises(InputError, match="has no policy under the alias 'champion'"):
        champion()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:hush@127.0.0.1:9")
    for ask in (champion, lambda: register(chosen())):
        with pytest.raises(RunError, match=r"MLflow at http://127\.0\.0\.1:9: ") as told:
            ask()
        assert "hush" not in str(told.value)


def test_the_command_registers_and_exports_the_champion(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = outcomes({"a": right(0.9, 60), "b": right(0.4, 60, seed=1)})
    table.to_csv(project / "table.csv", index=False)
    entry = {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "zone": "local"}
    (project / "models.yaml").write_text(yaml.safe_dump({"schema": 1, "models": {"a": entry, "b": entry}}))
    assert main(["export", "champion", "--to", "json"]) == 2
    assert "has no policy under the alias" in capsys.readouterr().err
    assert main(["route", "table.csv", "--champion"]) == 0
    said = capsys.readouterr().out
    assert f"champion: version 1 of {NAME} in MLflow, http://127.0.0.1:5000/#/models/{NAME}/versions/1" in said
    assert "\nMLflow: 'workbench ui' serves its pages, and has to run when they are opened\n" in said
    (project / "exports" / "routing.yaml").unlink()
    assert main(["export", "champion", "--to", "json"]) == 0
    assert (project / "exports" / "json.json").is_file()
    champion().save(project / "champion")
    capsys.readouterr()
    assert main(["export", "champion", "--to", "json"]) == 0
    assert "note: champion is a file, so it is read" in capsys.readouterr().out


def test_no_text_of_an_item_goes_along(project: Path) -> None:
    table = outcomes({"a": right(0.9, 60), "b": right(0.4, 60, seed=1)}, sensitivity="restricted")
    table["prompt"] = table["output"] = "CANARY-77"
    policy = route(table, models(a="local", b="private"))
    register(policy)
    files = [path for path in (project / "mlruns").rglob("*") if path.is_file()]
    assert any(path.name == "routing.yaml" for path in files)
    assert not any(b"CANARY-77" in path.read_bytes() for path in files)
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as database:
        assert "CANARY-77" not in "\n".join(database.iterdump())
