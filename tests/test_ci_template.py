"""The workflow for users' own repositories: it parses, its commands exist, and no key is shown."""

from __future__ import annotations

import fnmatch
import re
import shlex
from typing import Any

import nbformat
import pytest
import yaml
from conftest import REPOSITORY

from workbench.catalog import load_models
from workbench.cli import _parser
from workbench.journal import Journal
from workbench.notebooks import load_index
from workbench.servers.weights import made_by

TEXT = (REPOSITORY / "templates" / "ci" / "github-evals.yml").read_text()
WORKFLOW: dict[str, Any] = yaml.load(TEXT, yaml.BaseLoader)  # 'on' is a key here, and no boolean
JOB = WORKFLOW["jobs"]["notebooks"]
STEPS: list[dict[str, Any]] = JOB["steps"]
COMMANDS = [line for step in STEPS for line in step.get("run", "").splitlines()]


def step(name: str) -> dict[str, Any]:
    (found,) = [each for each in STEPS if each.get("name") == name]
    return found


def test_it_runs_every_night_and_on_change_of_a_model_or_a_prompt() -> None:
    on = WORKFLOW["on"]
    assert set(on) == {"schedule", "push", "pull_request", "workflow_dispatch"}
    (night,) = on["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* \*", night["cron"])
    for event in ("push", "pull_request"):
        for changed in (
            "models.yaml",
            "models-quantized.yaml",
            "evalsets/mine/evalset.yaml",
            "notebooks/01_mine.ipynb",
            "locks/core.txt",
        ):
            assert any(fnmatch.fnmatch(changed, pattern) for pattern in on[event]["paths"]), (event, changed)
        assert not any(fnmatch.fnmatch("README.md", pattern) for pattern in on[event]["paths"])


def test_it_may_read_the_code_and_nothing_else_and_ends() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"} and "permissions" not in JOB
    assert int(JOB["timeout-minutes"]) <= 360
    assert WORKFLOW["concurrency"]["group"]
    assert STEPS[0]["with"]["persist-credentials"] == "false"
    assert set(WORKFLOW["jobs"]) == {"notebooks"}


def test_actions_are_pinned_to_a_commit_with_the_version_beside_it() -> None:
    used = re.findall(r"uses: (\S+)( # v\d+\.\d+\.\d+)?$", TEXT, re.MULTILINE)
    assert len(used) == sum("uses" in each for each in STEPS) == 5
    for action, version in used:
        assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", action) and version


def test_its_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        for small in ("", "--small"):
            program, *words = shlex.split(command.replace("$SMALL", small))
            if program == "make":
                assert words and set(words) <= targets
            else:
                assert program == ".venv/bin/workbench"
                assert _parser().parse_args(words).action
    with pytest.raises(SystemExit):
        _parser().parse_args(["notebook", "--nightly"])


def test_it_makes_all_weights_that_the_notebooks_ask_for() -> None:
    needed: set[str] = set()
    for entry in load_index(REPOSITORY / "notebooks"):
        path = REPOSITORY / "notebooks" / f"{entry.name}.ipynb"
        code = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
        (declared,) = re.findall(r'^models: str = "([^"]*)"', code, re.MULTILINE) or [""]
        named = entry.small.get("models", declared)
        for file in re.findall(r'load_models\("([^"]+)"\)', code):
            known = load_models(REPOSITORY / file)
            for model in known.select(named).values() if named else known.values():
                files = [model.model] if isinstance(model.model, str) else model.model or []
                needed |= {command for command in map(made_by, files) if command}
    (made,) = [set(shlex.split(line)[1:]) for line in COMMANDS if line.startswith("make ")]
    wanted = {word for command in needed for word in command.split()[1:]}
    assert {"weights", "ggufs"} <= wanted <= made
    rule = re.search(r"^ggufs: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert rule and ".weights/smollm2-gguf/" in rule[1]


def test_what_is_passed_to_the_notebooks_is_what_they_take() -> None:
    values = step("Run the notebooks")["env"]
    assert values["SMALL"] == "${{ github.event_name != 'schedule' && '--small' || '' }}"
    known = re.findall(r"api_key_env: (\w+)", (REPOSITORY / "models.yaml").read_text())
    assert set(values) - {"SMALL"} <= set(known)


def test_no_key_is_shown() -> None:
    holding = [each for each in STEPS if "secrets." in str(each)]
    assert holding == [step("Run the notebooks")]
    assert "secrets" not in str({**WORKFLOW, "jobs": {}}) + str({**JOB, "steps": []})
    for name, value in holding[0]["env"].items():
        assert name == "SMALL" or value == f"${{{{ secrets.{name} }}}}"
    assert not any("${{" in command for command in COMMANDS)  # nothing is pasted into a shell; what is run is ours


def test_the_answers_are_kept_and_fetched(project: Any) -> None:
    restore, save = step("Fetch the answers so far"), step("Keep the answers")
    assert restore["with"]["path"] == save["with"]["path"] and restore["with"]["key"] == save["with"]["key"]
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert "run_id" in save["with"]["key"]  # a cache is never written over
    with Journal.open():
        pass
    written = [str(path.relative_to(project)) for path in (project / ".workbench").glob("journal*")]
    assert written and all(fnmatch.fnmatch(path, save["with"]["path"]) for path in written)


def test_notebooks_are_uploaded_also_where_one_failed() -> None:
    names = [each.get("name") for each in STEPS]
    for name in ("Make pages of them", "Keep the answers", "Keep the notebooks"):
        assert step(name)["if"] == "always()" and names.index(name) > names.index("Run the notebooks")
    uploaded = step("Keep the notebooks")["with"]["path"].split()
    defaults = _parser().parse_args(["site"])
    assert {f"{defaults.executed}/", f"{defaults.to}/"} <= set(uploaded)
    assert not any(part.startswith(".workbench") for part in uploaded)
