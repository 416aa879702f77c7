"""Exports to LiteLLM, proven with the real Router of .venv-gateways."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted
import pytest
import yaml
from aiohttp import ClientSession, web
from conftest import REPOSITORY

from workbench.catalog import Model, Models, load_models
from workbench.errors import InputError
from workbench.evalset import load_evalset
from workbench.export import export_policy
from workbench.export.verify import _probe, gateway_python, verify
from workbench.routing import Policy, Route
from workbench.servers.rules_server import application


def policy_of(*routes: dict[str, Any]) -> Policy:
    common = {"status": "decided", "margin": 0.05, "margin_source": "evalset", "reason": "planted"}
    return Policy(workbench="0", routes=[Route.model_validate({**common, **route}) for route in routes])


def chain(*names: str) -> list[dict[str, str]]:
    return [{"model": name} for name in names]


TWO_TASKS = policy_of(
    {"task": "triage", "class": "restricted", "chain": chain("near", "own")},
    {"task": "triage", "class": "open", "chain": chain("far", "own", "near")},
    {"task": "extract", "class": "open", "chain": chain("own")},
    {"task": "legal", "class": "open", "status": "infeasible", "chain": []},
)
CATALOG = planted.models(near="local", own="private", far="hosted")


@pytest.fixture
def gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real LiteLLM; 'make test' installs it."""
    monkeypatch.setenv("WORKBENCH_GATEWAYS", str(REPOSITORY / ".venv-gateways"))
    if gateway_python() is None:
        pytest.fail("LiteLLM is not installed: run 'make gateways'")


def test_the_config_has_a_group_a_route_and_a_group_a_fallback(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    config = yaml.safe_load(export.path.read_text())
    assert [entry["model_name"] for entry in config["model_list"]] == [
        *("triage", "triage/2", "triage-open", "triage-open/2", "triage-open/3", "extract-open"),
    ]
    assert config["router_settings"]["fallbacks"] == [
        {"triage": ["triage/2"]},
        {"triage-open": ["triage-open/2", "triage-open/3"]},
    ]
    assert all(entry["litellm_params"]["api_base"] for entry in config["model_list"])
    assert all(entry["litellm_params"]["api_key"] for entry in config["model_list"])


def test_what_litellm_cannot_express_is_said(tmp_path: Path) -> None:
    policy = policy_of(
        {"task": "t", "class": "open", "chain": [{"model": "near", "variant": "few_shot"}, {"model": "own"}]}
    )
    losses = " ".join(export_policy(policy, "litellm", tmp_path / "l.yaml", CATALOG).losses)
    assert "prompt, generation settings" in losses and "wrong format" in losses and "workbench serve rules" in losses
    infeasible = export_policy(TWO_TASKS, "litellm", tmp_path / "l.yaml", CATALOG)
    assert any(loss.startswith("legal-open: infeasible") for loss in infeasible.losses)


def test_a_model_with_several_endpoints_is_a_deployment_each(tmp_path: Path, gateways: None) -> None:
    urls = ["http://127.0.0.1:9001/v1", "http://127.0.0.1:9002/v1"]
    entry = {"id": "several", "engine": "openai", "model": "m", "zone": "local", "base_url": urls}
    models = Models({**CATALOG, "several": Model.model_validate(entry)})
    policy = policy_of({"task": "t", "class": "restricted", "chain": chain("several", "near")})
    export = export_policy(policy, "litellm", tmp_path / "l.yaml", models)
    found = [
        (one["model_name"], one["model_info"]["id"], one["litellm_params"]["api_base"])
        for one in yaml.safe_load(export.path.read_text())["model_list"]
    ]
    assert found[:2] == [("t", "t/1", urls[0]), ("t", "t/1@2", urls[1])] and found[2][:2] == ("t/2", "t/2")
    assert any("one endpoint of several fails" in loss for loss in export.losses)
    proof = verify(export.path, policy)
    assert proof is not None and len(proof.routes) == 2 and not proof.failures


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({"task": "t", "class": "open", "chain": chain("gone")}, "'gone' is not in models.yaml"),
        ({"task": "t", "class": "restricted", "chain": chain("near", "far")}, "never reach a hosted model"),
    ],
)
def test_a_broken_policy_is_refused_before_a_file_is_written(
    tmp_path: Path, route: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export_policy(policy_of(route), "litellm", tmp_path / "l.yaml", CATALOG)
    assert not list(tmp_path.glob("*l.yaml*"))


@pytest.mark.parametrize("feasible", [True, False])
def test_two_routes_that_would_share_a_group_are_refused(tmp_path: Path, feasible: bool) -> None:
    """Also where one has no model: its restricted requests would land in the other's hosted group."""
    policy = policy_of(
        {"task": "t", "class": "open", "chain": chain("far")},
        {"task": "t-open", "class": "restricted", "chain": chain("near") if feasible else []},
    )
    with pytest.raises(InputError, match="share a model group"):
        export_policy(policy, "litellm", tmp_path / "l.yaml", CATALOG)


@pytest.mark.parametrize(("zone", "address"), [("local", "http://8.8.8.8/v1"), ("private", "http://8.8.8.8/v1")])
def test_a_zone_that_is_declared_wrongly_is_caught_before_a_file_is_written(
    tmp_path: Path, zone: str, address: str
) -> None:
    entry = {"id": "lie", "engine": "openai", "model": "m", "zone": zone, "base_url": address}
    models = Models({"lie": Model.model_validate(entry)})
    policy = policy_of({"task": "t", "class": "restricted", "chain": chain("lie")})
    with pytest.raises(InputError, match=f"zone {zone}"):
        export_policy(policy, "litellm", tmp_path / "l.yaml", models)
    assert not (tmp_path / "l.yaml").exists()


def test_no_address_of_the_config_hangs_on_a_variable(tmp_path: Path) -> None:
    """LiteLLM would ask api.openai.com for one that is not set."""
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    config = yaml.safe_load(export.path.read_text())
    assert all(entry["litellm_params"]["api_base"].startswith("http") for entry in config["model_list"])


def test_a_model_keeps_its_port_when_only_some_are_selected(tmp_path: Path) -> None:
    """'workbench serve' reads the whole file, an export may come from a run of a few of its models."""
    models = load_models(REPOSITORY / "models.yaml").select("rules")
    policy = policy_of({"task": "support_triage", "class": "restricted", "chain": chain("rules")})
    config = yaml.safe_load(export_policy(policy, "litellm", tmp_path / "l.yaml", models).path.read_text())
    assert config["model_list"][0]["litellm_params"]["api_base"] == "http://127.0.0.1:8102/v1"


def test_a_policy_without_a_model_is_not_called_verified(tmp_path: Path) -> None:
    policy = policy_of({"task": "t", "class": "open", "status": "infeasible", "chain": []})
    export = export_policy(policy, "litellm", tmp_path / "l.yaml", CATALOG)
    assert not export.verification(policy).startswith("verified")


def test_an_unknown_gateway_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no gateway 'nginx'.*litellm"):
        export_policy(TWO_TASKS, "nginx", tmp_path / "l.yaml", CATALOG)


@pytest.mark.usefixtures("gateways")
def test_the_real_router_lands_each_route_on_its_model_and_on_the_fallback_when_that_is_dead(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    proof = verify(export.path, TWO_TASKS)
    assert proof is not None and proof.litellm
    assert proof.failures == []
    assert len(proof.routes) == 5  # three routes with all alive, two with the first dead


@pytest.mark.usefixtures("gateways")
def test_a_config_that_routes_elsewhere_is_caught_by_the_proof(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    config = yaml.safe_load(export.path.read_text())
    config["router_settings"]["fallbacks"] = [{"triage": ["triage-open/2"]}]
    export.path.write_text(yaml.safe_dump(config))
    proof = verify(export.path, TWO_TASKS)
    assert proof is not None
    assert len(proof.failures) == 2


@contextmanager
def served_rules(key: str) -> Iterator[str]:
    """The curated rules behind the OpenAI protocol on loopback, as 'workbench serve rules' serves them."""
    rules = load_evalset(REPOSITORY / "evalsets" / "support_triage").rules
    assert rules is not None
    queue = rules.spec.fields["queue"].model_copy(update={"default": None})
    abstaining = replace(rules, spec=rules.spec.model_copy(update={"fields": {**rules.spec.fields, "queue": queue}}))
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application({"support_triage": rules, "abstaining": abstaining}, key))

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(runner.cleanup())
        loop.close()


@pytest.mark.usefixtures("gateways")
def test_the_exported_rules_route_is_answered_by_the_real_rules_through_litellm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of({"task": "support_triage", "class": "restricted", "chain": chain("rules")})
    models: Models = load_models(REPOSITORY / "models.yaml")
    export = export_policy(policy, "litellm", tmp_path / "litellm.yaml", models)
    key = "a-key-of-this-test"
    with served_rules(key) as base:
        config = export.path.read_text()
        assert "http://127.0.0.1:8102/v1" in config and key not in config
        config = config.replace("http://127.0.0.1:8102/v1", base)
        config = config.replace("os.environ/WORKBENCH_RULES_API_KEY", key)
        export.path.write_text(config)
        python = gateway_python()
        assert python is not None
        messages = [{"role": "user", "content": "Please refund the second charge on our card."}]
        answers = _probe(python, export.path, [("support_triage", messages)])
    assert answers["results"][0]["ok"], answers
    assert json.loads(answers["results"][0]["text"])["queue"] == "billing"


@pytest.mark.parametrize(
    ("key", "model", "text", "status"),
    [
        ("k", "rules/support_triage", "I forgot my password", 200),
        ("k", "rules/abstaining", "zzz", 422),
        ("k", "rules/other", "x", 404),
        ("wrong", "rules/support_triage", "x", 401),
    ],
)
def test_the_rules_server_says_what_is_wrong(key: str, model: str, text: str, status: int) -> None:
    async def ask(base: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            ClientSession() as session,
            session.post(f"{base}/chat/completions", json=body, headers=headers) as r,
        ):
            return r.status

    with served_rules("k") as base:
        assert asyncio.run(ask(base)) == status


def test_without_the_gateways_environment_nothing_is_called_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_GATEWAYS", str(tmp_path / "none"))
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    assert export.verification(TWO_TASKS).startswith("not verified here")
    assert os.environ.get("LITELLM_LOCAL_MODEL_COST_MAP") is None  # nothing of it leaks into this process
