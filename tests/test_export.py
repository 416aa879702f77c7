"""Exports to LiteLLM, proven with the real Router of .venv-gateways."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession, web
from conftest import REPOSITORY
from exported import CATALOG, TWO_TASKS, chain, policy_of

from workbench.catalog import Model, Models, load_models
from workbench.errors import InputError
from workbench.evalset import load_evalset
from workbench.export import GATEWAYS, Rendered, export_policy, litellm, verify_file
from workbench.export.litellm_check import own_problems, problems
from workbench.export.litellm_proof import NO_GROUPS
from workbench.export.litellm_run import ask_router
from workbench.export.stand_ins import KINDS
from workbench.routing import Policy
from workbench.servers.rules_server import application


def written(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != "project"]  # the tests' own


def test_the_config_has_a_group_a_route_and_a_group_a_fallback(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    config = yaml.safe_load(export.path.read_text())
    assert [entry["model_info"]["id"] for entry in config["model_list"]] == [
        *("triage/1:near", "triage/2:own@1", "triage/2:own@2"),
        *("triage-open/1:far", "triage-open/2:own@1", "triage-open/2:own@2", "triage-open/3:near"),
        *("extract-open/1:own@1", "extract-open/1:own@2"),
    ]
    for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        assert config["router_settings"][kind] == [
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
    assert not written(tmp_path)


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
@pytest.mark.timeout(300)
def test_the_real_router_lands_each_route_where_the_policy_says_however_its_models_fail(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    proof = export.prove(TWO_TASKS)
    assert proof is not None and proof.failures == []
    assert {kind for landing in proof.routes for kind in landing.failing.values()} == set(KINDS)
    assert any(landing.expected == "nowhere" for landing in proof.routes)
    assert len(proof.refused) == len(NO_GROUPS) + 1  # 'extract' has a route of class open only
    table = json.loads((tmp_path / "litellm.routes.json").read_text())
    assert len(table["routes"]) == len(proof.routes) and list(table["verified_with"]) == ["LiteLLM Router"]
    first = table["routes"][0]
    assert (first["task"], first["class"], first["landed"]) == (
        *("triage", "restricted"),
        {"LiteLLM Router": "triage/1:near"},
    )
    assert f"# Verified with LiteLLM Router {proof.by['LiteLLM Router']}: " in export.path.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("gateways")
@pytest.mark.timeout(600)
def test_the_real_proxy_lands_each_route_where_the_policy_says_however_its_models_fail(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    proof = export.prove(TWO_TASKS, full=True)
    assert proof is not None and proof.failures == []
    assert proof.by["LiteLLM proxy"] == proof.by["LiteLLM Router"]
    assert all(set(landing.landed) == {"LiteLLM Router", "LiteLLM proxy"} for landing in proof.routes)


def edited(config: dict[str, Any], defect: str) -> None:
    """Put a defect into a config that LiteLLM takes without a word."""
    settings, first = config["router_settings"], config["model_list"][0]
    match defect:
        case "dangling":
            settings["fallbacks"][0]["triage"] = ["gone"]
        case "cycle":
            settings["content_policy_fallbacks"].append({"triage/2": ["triage"]})
        case "hosted fallback":
            settings["context_window_fallbacks"][0]["triage"] = ["triage-open"]
        case "hosted default":
            settings["default_fallbacks"] = ["triage-open"]
        case "hosted alias":
            settings["model_group_alias"] = {"anything": "triage-open"}
        case "price of 0":
            of_far = next(entry for entry in config["model_list"] if entry["model_info"]["id"] == "triage-open/1:far")
            of_far["litellm_params"] |= {"input_cost_per_token": 0, "output_cost_per_token": 0}
        case "other address":
            first["litellm_params"]["api_base"] = "https://models.example/v1"
        case "no address":
            del first["litellm_params"]["api_base"]
        case "tags":
            settings["enable_tag_filtering"] = True
            first["litellm_params"]["tags"] = ["default"]
        case "default model":
            config["general_settings"]["completion_model"] = "triage-open"
        case "key in the file":
            config["general_settings"]["master_key"] = "sk-1234"
        case "stranger":
            config["model_list"].append({**first, "model_name": "*", "model_info": {"id": "x"}})
        case "section":
            config["environment_variables"] = {"HTTPS_PROXY": "https://elsewhere.example"}
        case "twice":
            config["model_list"].append(first)
        case "no model":
            config["model_list"] = [entry for entry in config["model_list"] if entry["model_name"] != "triage/2"]


DEFECTS = {
    "dangling": "gone, which is not there",
    "cycle": "cycle",
    "hosted fallback": "may carry restricted text and reaches triage-open",
    "hosted default": "may carry restricted text and reaches triage-open",
    "hosted alias": "anything may carry restricted text and reaches triage-open",
    "price of 0": "Unknown is never 0",
    "other address": "is not where near is",
    "no address": "api_base None is not where near is",
    "tags": "unknown tag falls to the default deployment",
    "default model": "replaces the group that a client names",
    "key in the file": "master_key has to come from the environment",
    "stranger": r"group \* is no link of the policy",
    "section": "environment_variables: what this section does",
    "twice": "stands there twice",
    "no model": "triage/2, which is not there",
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_caught_before_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    made = litellm.config_of

    def with_defect(policy: Any, models: Any) -> dict[str, Any]:
        config = made(policy, models)
        edited(config, defect)
        return config

    monkeypatch.setattr(litellm, "config_of", with_defect)
    with pytest.raises(InputError):
        export_policy(TWO_TASKS, "litellm", tmp_path / "l.yaml", CATALOG)
    assert not written(tmp_path)
    found = problems(with_defect(TWO_TASKS, CATALOG), TWO_TASKS, CATALOG)
    assert re.search(DEFECTS[defect], "\n".join(found)), found


def test_a_misspelt_key_is_caught_before_a_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = litellm.config_of

    def misspelt(policy: Any, models: Any) -> dict[str, Any]:
        config = made(policy, models)
        config["router_settings"]["falbacks"] = config["router_settings"].pop("fallbacks")
        return config

    monkeypatch.setattr(litellm, "config_of", misspelt)
    with pytest.raises(InputError, match="'falbacks' is no key that we write"):
        export_policy(TWO_TASKS, "litellm", tmp_path / "l.yaml", CATALOG)
    assert not written(tmp_path)


def test_a_sound_config_has_no_problems() -> None:
    config = litellm.config_of(TWO_TASKS, CATALOG)
    assert problems(config, TWO_TASKS, CATALOG) == own_problems(config) == []
    assert problems({"model_list": [{"model_name": 3}]}, TWO_TASKS, CATALOG)[0].startswith("it is no LiteLLM config")


@pytest.mark.usefixtures("gateways")
@pytest.mark.timeout(300)
def test_each_misspelt_key_of_an_edited_file_is_caught_by_what_litellm_knows(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    config = yaml.safe_load(export.path.read_text())
    config["litellm_setings"] = {}
    config["router_settings"]["falback"] = []
    config["general_settings"]["master_kye"] = "x"
    config["litellm_settings"]["turn_of_message_logging"] = True
    config["model_list"][0]["litellm_params"]["api_bse"] = "http://127.0.0.1:1/v1"
    export.path.write_text(yaml.safe_dump(config))
    proof = verify_file("litellm", export.path, TWO_TASKS, CATALOG)
    assert proof is not None and proof.routes == []
    assert len(proof.failures) == 6  # the unknown section is not verified either
    said = "\n".join(proof.failures)
    for meant in ("litellm_settings", "fallbacks", "master_key", "turn_off_message_logging", "api_base"):
        assert f"is it {meant}?" in said, proof.failures


@pytest.mark.usefixtures("gateways")
@pytest.mark.timeout(300)
def test_a_chain_that_another_setting_changes_is_caught_by_running_it(tmp_path: Path) -> None:
    """Nothing in the file is dangling or misspelt: only a request shows it."""
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG)
    config = yaml.safe_load(export.path.read_text())
    config["router_settings"]["fallbacks"][1]["triage-open"].reverse()
    export.path.write_text(yaml.safe_dump(config))
    proof = export.prove(TWO_TASKS)
    assert proof is not None
    assert any("triage-open/2:own expected, triage-open/3:near" in line for line in proof.failures), proof.failures
    assert str(proof).startswith("NOT verified with LiteLLM Router")


def test_a_chain_that_comes_back_to_a_candidate_is_refused(tmp_path: Path) -> None:
    policy = policy_of({"task": "t", "class": "open", "chain": chain("near", "own", "near")})
    with pytest.raises(InputError, match="comes back to near"):
        export_policy(policy, "litellm", tmp_path / "l.yaml", CATALOG)


def test_a_task_that_looks_like_an_open_group_is_refused(tmp_path: Path) -> None:
    """In the gateway's log its restricted requests would count as open."""
    policy = policy_of({"task": "t-open", "class": "restricted", "chain": chain("near")})
    with pytest.raises(InputError, match="Rename the task"):
        export_policy(policy, "litellm", tmp_path / "l.yaml", CATALOG)


def test_a_kind_of_policy_that_a_chain_is_not_is_said_or_refused(tmp_path: Path) -> None:
    def of(kind: str) -> Policy:
        policy = policy_of({"task": "t", "class": "open", "chain": chain("near", "own")})
        route = policy.routes[0].model_copy(update={"policy": kind})
        return policy.model_copy(update={"routes": [route]})

    for kind, said in {"cascade": "the verifier is not asked", "per_request": "the choice per request"}.items():
        losses = export_policy(of(kind), "litellm", tmp_path / "l.yaml", CATALOG).losses
        assert any(said in loss for loss in losses)
    with pytest.raises(InputError, match="does not know policies of the kind 'oracle'"):
        export_policy(of("oracle"), "litellm", tmp_path / "l.yaml", CATALOG)


class _Forgetful:
    """A gateway that knows no classes."""

    def render(self, policy: Policy, models: Models) -> Rendered:
        return Rendered("x: 1\n", lost_privacy=["it has one route a task, for all requests"])


class _Plain:
    """A gateway that says nothing of how it is verified."""

    def render(self, policy: Policy, models: Models) -> Rendered:
        return Rendered("x: 1\n", losses=["all of it"])


def test_a_gateway_of_ones_own_is_a_module_with_render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GATEWAYS._known, "forgetful", _Forgetful())
    monkeypatch.setitem(GATEWAYS._known, "plain", _Plain())
    with pytest.raises(InputError, match="cannot keep a privacy rule"):
        export_policy(TWO_TASKS, "forgetful", tmp_path / "f.yaml", CATALOG)
    assert not written(tmp_path)
    export = export_policy(TWO_TASKS, "plain", tmp_path / "p.yaml", CATALOG, tasks={})
    assert export.prove(TWO_TASKS) is None
    assert "- all of it\n" in (tmp_path / "p.losses.md").read_text()


def test_the_prompts_lie_beside_the_config_without_restricted_examples(tmp_path: Path) -> None:
    tasks = {"data_extraction": load_evalset(REPOSITORY / "evalsets" / "data_extraction")}
    evalset = tasks["data_extraction"]
    assert "few_shot" in evalset.spec.variants
    links = [{"model": "own", "variant": "few_shot"}]
    policy = policy_of({"task": "data_extraction", "class": "restricted", "chain": links})
    (tmp_path / "l.prompts").mkdir()
    (tmp_path / "l.prompts" / "old.default.json").write_text("{}")  # of an earlier policy
    export = export_policy(policy, "litellm", tmp_path / "l.yaml", CATALOG, tasks=tasks)
    assert [path.name for path in (tmp_path / "l.prompts").iterdir()] == ["data_extraction.few_shot.json"]
    prompts = json.loads((tmp_path / "l.prompts" / "data_extraction.few_shot.json").read_text())
    assert prompts["messages"] and prompts["output"]["json_schema"] == evalset.output_schema
    assert prompts["examples"]
    hidden = replace(evalset, train=[item.model_copy(update={"sensitivity": "restricted"}) for item in evalset.train])
    hidden.__dict__.pop("examples_in_prompts", None)
    export = export_policy(policy, "litellm", tmp_path / "m.yaml", CATALOG, tasks={"data_extraction": hidden})
    prompts = json.loads((tmp_path / "m.prompts" / "data_extraction.few_shot.json").read_text())
    assert prompts["examples"] is None
    assert any("without its examples, which are restricted" in loss for loss in export.losses)


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
        messages = [{"role": "user", "content": "Please refund the second charge on our card."}]
        answer = ask_router(export.path, "support_triage", messages)
    assert answer["ok"], answer
    assert json.loads(answer["text"])["queue"] == "billing"


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
