"""The README's examples are what it says they are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import planted
import pytest
import yaml
from conftest import REPOSITORY

import workbench as wb
from workbench.catalog import Models, load_models
from workbench.cli import main
from workbench.evalset import load_evalset

README = (REPOSITORY / "README.md").read_text()


def block(language: str, begins: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if text.startswith(begins)]
    assert len(found) == 1
    return found[0]


def test_the_eval_set_of_the_readme_loads(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "evalsets" / "greetings"
    folder.mkdir(parents=True)
    (folder / "items.jsonl").write_text(block("json", "{"))
    (folder / "evalset.yaml").write_text(block("yaml", "{schema"))
    assert load_evalset(folder).items[0].expectations == {"label": "greeting"}
    assert main(["evalset", "check", "greetings"]) == 1  # one item is no eval set, and it says so
    assert "fewer than 5 items have greeting (1)" in capsys.readouterr().out


def test_the_model_of_the_readme_loads(project: Path) -> None:
    for begins in ("  qwen3-awq", "  qwen3-gguf"):
        entries = yaml.safe_load(block("yaml", begins))
        (project / "models.yaml").write_text(yaml.safe_dump({"schema": 1, "models": entries}))
        assert set(load_models()) == set(entries) and all(model.zone == "local" for model in load_models().values())


def test_the_variants_that_the_readme_compares_are_there_and_share_a_constraint_mode(project: Path) -> None:
    """The example as it stands, with planted outcomes in place of a run that asks them."""
    shutil.copy(REPOSITORY / "models-quantized.yaml", project)
    code = block("python", "variants = ")

    def run(tasks: object, models: Models) -> SimpleNamespace:
        return SimpleNamespace(outcomes=planted.outcomes({name: [1.0, 0.0] * 200 for name in models}))

    names: dict[str, Any] = {
        "wb": SimpleNamespace(run=run, load_models=wb.load_models, quantization_report=wb.quantization_report)
    }
    exec(code, {**names, "tasks": {}}, names)
    report = names["report"]
    assert report.noise and set(report.table["mode"].dropna()) == {"same"} and "not known" not in report.sentence
    assert not any("JSON schema" in note or "itself quantized" in note for note in report.notes)


def test_the_commented_models_of_the_catalog_load(project: Path) -> None:
    text = (REPOSITORY / "models.yaml").read_text()
    entries = re.findall(r"^  # ((?:[a-z0-9-]+:$|[a-z0-9-]+: +\{|  [a-z_]+: ).*)$", text, re.MULTILINE)
    (project / "models.yaml").write_text("schema: 1\nmodels:\n" + "".join(f"  {line}\n" for line in entries))
    variants = ("bf16", "fp8", "awq", "gptq", "w8a8", "w4a16", "gguf", "nf4", "int8", "tuned", "served")
    assert set(load_models()) == {"gpt-mini", *(f"qwen3-{each}" for each in variants)}


def test_the_models_that_a_cell_of_the_readme_asks_are_in_the_catalog() -> None:
    (asked,) = re.findall(r"`%%ask ([^`]*)`", README)
    assert {name for name in asked.split() if not name.startswith("--")} <= set(load_models(REPOSITORY / "models.yaml"))


def test_the_commands_of_the_readme_are_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets
