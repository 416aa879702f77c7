"""Defects that a review found once, each with the case that showed it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import environment, item, write_evalset, write_models
from recording_server import RecordingServer

import workbench as wb
from workbench.errors import InputError
from workbench.evalset import load_evalset
from workbench.scorers import Answer, Score, Scorer, parse_answer, scorer


def hosted(server: RecordingServer, **entry: Any) -> dict[str, Any]:
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    return {"engine": "openai", "model": "m", "base_url": server.base_url, "zone": "hosted", "price": price, **entry}


def run(**options: Any) -> Any:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False, **options)


def test_items_behind_a_link_out_of_the_folder_are_refused(project: Path) -> None:
    """They would get the linking set's sensitivity, and restricted ones would leave."""
    write_evalset(project, "colors", [item("1")])
    target = project / "evalsets" / "colors" / "items.jsonl"
    target.rename(project / "elsewhere.jsonl")
    target.symlink_to(project / "elsewhere.jsonl")
    with pytest.raises(InputError, match=r"items\.jsonl:? is a link that leads out"):
        load_evalset("evalsets/colors")


def test_a_second_sensitivity_does_not_win_in_silence(project: Path) -> None:
    write_evalset(project, "colors", [item("1")])
    path = project / "evalsets" / "colors" / "items.jsonl"
    line = path.read_text().strip()
    path.write_text('{"sensitivity": "restricted", ' + line[1:-1] + ', "sensitivity": "public"}\n')
    with pytest.raises(InputError, match=r"items\.jsonl:1: .*key 'sensitivity' stands there twice"):
        load_evalset("evalsets/colors")


@scorer("too_high")
class TooHigh(Scorer):
    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        return Score(1.5)


@scorer("raises")
class Raises(Scorer):
    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        raise RuntimeError("CANARY out of an item")


@pytest.mark.parametrize("broken", ["too_high", "raises"])
def test_a_broken_scorer_costs_its_task_and_shows_no_text(project: Path, server: RecordingServer, broken: str) -> None:
    write_evalset(project, "colors", [item("1")])
    path = write_evalset(project, "shapes", [item("1")]) or project / "evalsets" / "shapes"
    folder = Path(path) if path else project / "evalsets" / "shapes"
    spec = folder / "evalset.yaml"
    spec.write_text(spec.read_text().replace("type: label", f"type: {broken}"))
    write_models(project, far=hosted(server))
    done = run()
    assert done.status == "failed"
    scored = done.outcomes["score"].notna()
    assert done.outcomes.loc[scored, "task"].tolist() == ["colors"]
    assert done.outcomes.loc[~scored, "error_class"].tolist() == ["scorer"]
    assert "CANARY" not in " ".join(done.problems)
    assert (done.path / "outcomes.parquet").exists()


def test_a_key_with_a_line_break_is_used_without_it(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-test\n")
    write_evalset(project, "colors", [item("1")])
    write_models(project, far=hosted(server, api_key_env="SOME_KEY"))
    assert run().status == "complete"


def test_netrc_is_not_read(project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "netrc").write_text("default login bob password CANARY\n")
    monkeypatch.setenv("NETRC", str(project / "netrc"))
    write_evalset(project, "colors", [item("1")])
    write_models(project, far=hosted(server))
    assert run().status == "complete"
    assert not [name for request in server.requests for name in request.headers if name.lower() == "authorization"]


@pytest.mark.parametrize("entry", [{"api_key_env": "hf_abcdef"}, {"base_url": "https://host/v1?api-key=CANARY"}])
def test_what_may_be_a_key_is_refused_and_not_repeated(
    project: Path, server: RecordingServer, entry: dict[str, Any]
) -> None:
    write_models(project, far=hosted(server, **entry))
    with pytest.raises(InputError) as failure:
        wb.load_models()
    assert "CANARY" not in str(failure.value) and "hf_abcdef" not in str(failure.value)


def test_a_pattern_of_a_schema_has_a_time_out() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    started = time.monotonic()
    assert not parse_answer(json.dumps({"a": "a" * 40 + "!"}), schema).format_ok
    assert time.monotonic() - started < 60  # without it: hours
    assert parse_answer(json.dumps({"a": "aaa"}), schema).format_ok


def test_a_schema_that_points_elsewhere_is_refused(project: Path) -> None:
    write_evalset(project, "colors", [item("1")])
    folder = project / "evalsets" / "colors"
    (folder / "schema.json").write_text(json.dumps({"type": "object", "$dynamicRef": "http://127.0.0.1:9/x"}))
    spec = folder / "evalset.yaml"
    import yaml

    data = yaml.safe_load(spec.read_text())
    data["output"] = {"json_schema": "schema.json"}
    data["scorers"] = [{"type": "label", "field": "label"}]
    spec.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError, match="is not in this file"):
        load_evalset("evalsets/colors")


def test_what_another_tool_added_is_redacted_too() -> None:
    import planted

    from workbench.privacy import redact_outcomes

    table = planted.outcomes({"a": [1.0]}, sensitivity="restricted")
    table["notes"] = table["cluster"] = table["slice"] = "CANARY"
    assert "CANARY" not in redact_outcomes(table).to_csv()


def test_a_run_whose_progress_nobody_reads_is_saved(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(5)])
    write_models(project, far=hosted(server))
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "workbench.cli", "run", "--no-track"]
    done = subprocess.run(command, env=environment(project), stdout=subprocess.PIPE, stderr=write, timeout=120)
    os.close(write)
    assert done.returncode == 0
    assert len(list((project / ".workbench" / "runs").glob("*/outcomes.parquet"))) == 1


def test_an_engine_ends_though_a_forked_child_holds_its_pipe(project: Path, smollm2: Path) -> None:
    code = """
import asyncio, os, sys, time
from workbench.catalog import Model
from workbench.servers import ManagedServer, engine_of
model = Model.model_validate({"id": "m", "engine": "llamacpp", "model": sys.argv[1], "zone": "local"})
server = ManagedServer(engine_of(model).launch(model), "m")
asyncio.run(server.start())
child = os.fork()
if child == 0:
    time.sleep(120)
    os._exit(0)
server.stop()
print(os.path.exists(f"/proc/{server.pid}"))
os.kill(child, 9)
"""
    command = [sys.executable, "-c", code, str(smollm2)]
    done = subprocess.run(command, env=environment(project), capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr[-1000:]
