"""Exports to vLLM Semantic Router: what its own validator takes, and what its decisions say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY
from exported import CATALOG, TWO_TASKS, chain, policy_of

from workbench.errors import InputError
from workbench.export import export_policy, verify_file, vllm_sr
from workbench.export.proof import gateway_program
from workbench.export.vllm_sr_check import candidates, problems
from workbench.routing import Policy

EVIDENCE = {
    "n": 40,
    "clusters": 8,
    "score": [0.8, 0.7, 0.9],
    "cost_per_accepted_usd": [0.001, None, None],
    "method": "Wilson",
}


def test_the_task_is_metadata_and_a_request_without_class_is_restricted() -> None:
    config = vllm_sr.config_of(TWO_TASKS, CATALOG)
    assert candidates(config, {"task": "triage"}) == ["near/triage", "own"]
    assert candidates(config, {"task": "triage", "class": "opne"}) == ["near/triage", "own"]
    assert candidates(config, {"task": "triage", "class": "open"}) == ["far", "own", "near/triage"]
    assert candidates(config, {"task": "extract"}) == []  # it has a route of class open only
    assert candidates(config, {"task": "no-such-task"}) == candidates(config, {}) == []
    assert "defaults" not in config["providers"]


def test_prices_are_ours_and_an_unknown_one_is_left_out(tmp_path: Path) -> None:
    providers = {entry["name"]: entry for entry in vllm_sr.config_of(TWO_TASKS, CATALOG)["providers"]["models"]}
    assert providers["own"]["pricing"]["prompt_per_1m"] == 1 and providers["own"]["pricing"]["completion_per_1m"] == 2
    assert "pricing" not in providers["far"]
    assert len(providers["own"]["backend_refs"]) == 2
    losses = export_policy(TWO_TASKS, "vllm-sr", tmp_path / "v.yaml", CATALOG, tasks={}).losses
    assert any(loss.startswith("far: its price a token is not known") for loss in losses)


def test_the_evidence_is_cited() -> None:
    policy = policy_of(
        {"task": "Triage", "class": "open", "chain": chain("own"), "evidence": EVIDENCE},
        evidence={"outcomes_sha256": "ab" * 32, "evalsets": {"Triage": "cd"}},
    )
    evaluation = vllm_sr.config_of(policy, CATALOG)["evaluation"]
    (record,) = evaluation["records"]
    assert record["benchmark"] == evaluation["benchmarks"][0]["id"] == "workbench/triage@1"
    expected = {"n": 40, "score": 0.8, "score_low": 0.7, "score_high": 0.9, "cost_per_accepted_usd": 0.001}
    assert record["metrics"] == expected
    assert record["metadata"]["outcomes_sha256"] == "ab" * 32 and record["metadata"]["clusters"] == 8


DEFECTS: dict[str, str] = {
    "missing model": "names the model gone, which is not there",
    "hosted fallback": "may carry restricted text and reaches the hosted far",
    "default": "a request that no decision matches would go there",
    "price of 0": "Unknown is never 0",
    "other address": "model far: backend_refs is",
    "wrong order": "own → near/triage → far",
    "open by default": "has no route, and would go to far",
    "no refusal": "no decision matches",
    "plugin": "rag may send text elsewhere",
}


def edited(config: dict[str, Any], defect: str) -> None:
    decisions = {decision["name"]: decision for decision in config["routing"]["decisions"]}
    providers = {entry["name"]: entry for entry in config["providers"]["models"]}
    match defect:
        case "missing model":
            decisions["extract-open"]["modelRefs"] = [{"model": "gone"}]
        case "hosted fallback":
            decisions["triage"]["modelRefs"].append({"model": "far"})
        case "default":
            config["providers"]["defaults"] = {"model": "far"}
        case "price of 0":
            providers["far"]["pricing"] = {"prompt_per_1m": 0, "completion_per_1m": 0}
        case "other address":
            providers["far"]["backend_refs"][0]["base_url"] = "https://elsewhere.example/v1"
        case "wrong order":
            refs = decisions["triage-open"]["modelRefs"]
            decisions["triage-open"]["modelRefs"] = [*refs[1:], refs[0]]
        case "open by default":
            decisions["no-route"]["modelRefs"] = [{"model": "far"}]
        case "no refusal":
            config["routing"]["decisions"] = config["routing"]["decisions"][:-1]
        case "plugin":
            decisions["triage"]["plugins"] = [{"type": "rag", "configuration": {}}]


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_caught_before_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    made = vllm_sr.config_of
    config = made(TWO_TASKS, CATALOG)
    assert problems(config, TWO_TASKS, CATALOG) == []
    edited(config, defect)
    found = problems(config, TWO_TASKS, CATALOG)
    assert DEFECTS[defect] in "\n".join(found), found
    monkeypatch.setattr("workbench.export.vllm_sr_check.problems", lambda *_: found)
    with pytest.raises(InputError, match="the vllm-sr config would be wrong"):
        export_policy(TWO_TASKS, "vllm-sr", tmp_path / "v.yaml", CATALOG, tasks={})
    assert not (tmp_path / "v.yaml").exists()


@pytest.mark.parametrize(
    ("place", "key"), [((), "routng"), (("routing",), "falback"), (("routing", "decisions", 0), "modelrefs")]
)
def test_a_misspelt_key_is_caught_before_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, ...], key: str
) -> None:
    config = vllm_sr.config_of(TWO_TASKS, CATALOG)
    at: Any = config
    for part in place:
        at = at[part]
    at[key] = []
    monkeypatch.setattr(vllm_sr, "config_of", lambda *_: config)
    with pytest.raises(InputError, match=f"'{key}' is no key that we write"):
        export_policy(TWO_TASKS, "vllm-sr", tmp_path / "v.yaml", CATALOG, tasks={})
    assert not (tmp_path / "v.yaml").exists()


def test_two_tasks_that_would_share_a_benchmark_are_refused(tmp_path: Path) -> None:
    policy = policy_of(*({"task": task, "class": "open", "chain": chain("own")} for task in ("A b", "a-b")))
    with pytest.raises(InputError, match="share a benchmark"):
        export_policy(policy, "vllm-sr", tmp_path / "v.yaml", CATALOG, tasks={})


@pytest.fixture
def proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Policy, Path]:
    """A policy and its file, with the real vllm-sr at hand; 'make test' installs it."""
    monkeypatch.setenv("WORKBENCH_GATEWAYS", str(REPOSITORY / ".venv-gateways"))
    if gateway_program("vllm-sr") is None:
        pytest.fail("vllm-sr is not installed: run 'make gateways'")
    routes = [{"task": "triage", "class": "open", "chain": chain("far", "own"), "evidence": EVIDENCE}]
    policy = policy_of(*routes, {"task": "triage", "class": "restricted", "chain": chain("near")})
    return policy, export_policy(policy, "vllm-sr", tmp_path / "v.yaml", CATALOG, tasks={}).path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_own_validator_takes_the_file(proven: tuple[Policy, Path]) -> None:
    policy, path = proven
    proof = verify_file("vllm-sr", path, policy, CATALOG)
    assert proof is not None and proof.failures == []
    assert proof.by["vllm-sr config validate"] and "was not run" in str(proof)
    assert "# Verified with vllm-sr config validate" in path.read_text()
    asked = {landing.group: landing.expected for landing in proof.routes}
    assert asked["task=triage"] == asked["task=triage, class=no-such-class"] == "near/triage"
    assert asked["task=triage, class=open"] == "far → own"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_own_validator_refuses_a_misspelt_key(proven: tuple[Policy, Path]) -> None:
    policy, path = proven
    config = yaml.safe_load(path.read_text())
    config["routing"]["falback"] = config["routing"].pop("fallback")
    path.write_text(yaml.safe_dump(config))
    proof = verify_file("vllm-sr", path, policy, CATALOG)
    assert proof is not None and proof.routes == []
    assert any("falback" in line for line in proof.failures), proof.failures
