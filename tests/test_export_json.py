"""The plain JSON export and its published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import REPOSITORY
from exported import CATALOG, TWO_TASKS, chain, policy_of

from workbench.cli import main
from workbench.errors import RunError
from workbench.export import export_policy, json_policy, litellm, verify_file
from workbench.export.json_policy import SCHEMA_FILE, schema
from workbench.export.proof import Landing, Proof, keep


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    assert published == schema()


def test_the_file_fits_the_schema_and_says_all_that_an_application_needs(tmp_path: Path) -> None:
    export = export_policy(TWO_TASKS, "json", tmp_path / "policy.json", CATALOG, tasks={})
    data = json.loads(export.path.read_text())
    jsonschema.validate(data, json.loads(SCHEMA_FILE.read_text()))
    restricted = data["routes"][0]
    assert (restricted["task"], restricted["class"]) == ("triage", "restricted")
    assert [link["zone"] for link in restricted["chain"]] == ["local", "private"]
    own = restricted["chain"][1]
    assert own["base_urls"] == ["http://10.0.0.1/v1", "http://10.0.0.2/v1"]
    assert own["price"] == {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    far = data["routes"][1]["chain"][0]
    assert (far["price"], far["api_key_env"]) == (None, "FAR_KEY")
    proof = export.prove(TWO_TASKS)
    assert proof is not None and proof.failures == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"zone": "hosted"', '"zone": "local"', "zone: it differs"),
        ("https://models.example/v1", "https://elsewhere.example/v1", "base_urls.0: it differs"),
        ('"api_key_env"', '"api_key_evn"', "api_key_evn"),
        ('"price": null', '"price": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}', "price: it differs"),
    ],
)
def test_an_edited_file_is_caught(tmp_path: Path, old: str, new: str, said: str) -> None:
    export = export_policy(TWO_TASKS, "json", tmp_path / "policy.json", CATALOG, tasks={})
    text = export.path.read_text()
    assert old in text
    export.path.write_text(text.replace(old, new, 1))
    proof = verify_file("json", export.path, TWO_TASKS, CATALOG)
    assert proof is not None and any(said in line for line in proof.failures), proof.failures


def test_the_command_writes_verifies_and_checks_an_edited_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = policy_of({"task": "support_triage", "class": "restricted", "chain": chain("rules")})
    file, models = policy.save(tmp_path / "routing.yaml"), REPOSITORY / "models.yaml"
    target = tmp_path / "policy.json"
    given = ["export", str(file), "--to", "json", "--output", str(target), "--models-file", str(models)]
    assert main([*given, "--verify"]) == 0
    assert "route table: " in capsys.readouterr().out
    text = target.read_text()
    target.write_text(text.replace("http://127.0.0.1:", "http://127.0.0.9:"))
    assert main([*given, "--check"]) == 1
    assert "base_urls.0: it differs from the policy" in capsys.readouterr().out
    assert "127.0.0.9" in target.read_text()


def test_the_table_of_an_earlier_file_does_not_stay_beside_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = export_policy(TWO_TASKS, "json", tmp_path / "policy.json", CATALOG, tasks={})
    export.prove(TWO_TASKS)
    table = tmp_path / "policy.routes.json"
    assert table.exists()

    def does_not_load(*_: Any) -> None:
        raise RunError("the gateway does not load it.")

    monkeypatch.setattr(json_policy, "verify", does_not_load)
    export = export_policy(TWO_TASKS, "json", tmp_path / "policy.json", CATALOG, tasks={})
    assert not table.exists()
    with pytest.raises(RunError):
        export.prove(TWO_TASKS)
    assert not table.exists() and export.path.exists()


def test_an_edited_file_that_is_not_loaded_is_not_called_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = export_policy(TWO_TASKS, "litellm", tmp_path / "litellm.yaml", CATALOG, tasks={})
    table = tmp_path / "litellm.routes.json"
    proof = Proof(by={"LiteLLM": "1"}, routes=[Landing("triage", "open", "triage-open", {}, "own", {"router": "own"})])
    keep(proof, export.path)
    verified = export.path.read_text()
    assert "# Verified with LiteLLM 1" in verified

    monkeypatch.setattr(litellm, "verify", lambda *_: None)  # as where the gateway is not installed
    verify_file("litellm", export.path, TWO_TASKS, CATALOG)
    assert table.exists() and export.path.read_text() == verified  # what was shown of this very text still holds
    export.path.write_text(verified + "unknown_key: 1\n")
    verify_file("litellm", export.path, TWO_TASKS, CATALOG)
    assert not table.exists()
    assert "# Not verified yet." in export.path.read_text() and "Verified with" not in export.path.read_text()
    for odd in ("", "[]", "{"):
        table.write_text(odd)
        verify_file("litellm", export.path, TWO_TASKS, CATALOG)
        assert not table.exists()
