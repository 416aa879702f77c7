"""Six variants of one model on three engines: one command, one outcome table, one report."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, WEIGHTS, environment, item, write_evalset

import workbench as wb

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
VARIANTS = ["smollm2-q4_1", "smollm2-bf16", "smollm2-w8a8", "smollm2-w4a16", "smollm2-hf-bf16", "smollm2-hf-nf4"]
NOISE = "smollm2-bf16-b1"
THINGS = {
    "blood": "red",
    "a ripe tomato": "red",
    "grass": "green",
    "an emerald": "green",
    "the sky": "blue",
    "the sea": "blue",
}


def catalog(project: Path) -> None:
    """The repository's own models-quantized.yaml, with the places of this machine."""
    data = yaml.safe_load((REPOSITORY / "models-quantized.yaml").read_text())
    models = {name: data["models"][name] for name in (*VARIANTS, NOISE)}
    for name, entry in models.items():
        if entry["engine"] != "llamacpp":
            folder = WEIGHTS / Path(entry["model"]).name
            python = REPOSITORY / f".venv-{entry['engine']}" / "bin" / "python"
            if not python.exists() or not (folder / "config.json").exists():
                if entry["engine"] == "vllm":
                    pytest.skip(
                        "vLLM's CPU build is not installed here: 'make vllm checkpoints', where torch's wheel is"
                    )
                pytest.skip(
                    "transformers' environment is not installed here: 'make transformers', where torch's wheel is"
                )
            entry |= {"model": str(folder), "python": str(python)}
        models[name] = {**entry, "max_model_len": 512}
    (project / "models-quantized.yaml").write_text(yaml.safe_dump({**data, "models": models}))


def test_one_command_one_table_one_report(project: Path) -> None:
    catalog(project)
    write_evalset(project, "colors", [item(f"i{n}", thing, color) for n, (thing, color) in enumerate(THINGS.items())])
    command = [str(REPOSITORY / ".venv" / "bin" / "workbench"), "run", "--models-file", "models-quantized.yaml"]
    command += ["--models", ",".join((*VARIANTS, NOISE)), "--no-track"]
    variables = {**environment(project), "WORKBENCH_WEIGHTS": str(WEIGHTS)}
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stdout + done.stderr
    [table] = (project / ".workbench" / "runs").glob("*/outcomes.parquet")
    outcomes = wb.read_outcomes(table)
    assert dict(outcomes.groupby("model").size()) == dict.fromkeys((*VARIANTS, NOISE), len(THINGS))
    assert outcomes["error"].isna().all()
    noted = outcomes.attrs["engines"]
    assert set(noted) == {*VARIANTS, NOISE} and all(each["load_s"] > 0 for each in noted.values())
    assert all(each["memory_bytes"] > each["weights_bytes"] > 1 << 20 for each in noted.values())
    report = wb.quantization_report(outcomes, "smollm2-bf16", noise=NOISE)
    rows = report.table[report.table["task"] == "colors"].set_index("model") if "task" in report.table else report.table
    assert set(VARIANTS[2:]) <= set(rows.index) and (rows["n"] == len(THINGS)).all()
    assert rows["load_s"].notna().all() and rows["tokens_per_s"].gt(0).all()
    for model in VARIANTS[2:]:
        assert model in report.sentence
