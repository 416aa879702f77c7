"""`make demo` as a stranger types it, on a small sample, where only loopback can be reached; and once more."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY, environment

# The environment and the weights are there already; what they are made from is proven by CI's clean checkout.
NOT_PERMITTED = 77
_MADE = [option for name in (".venv/.core", ".weights/.smollm2", ".weights/.gemma3") for option in ("-o", name)]


def demo(root: Path) -> str:
    """The demo in a network namespace of its own: nothing in it may need, or try, a connection to the outside."""
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("loopback_only.py")), "make", "demo", "SAMPLE=4", *_MADE],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=900,
    )
    if run.returncode == NOT_PERMITTED:
        pytest.skip("network namespaces are not permitted here")
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout


@pytest.mark.slow
def test_the_demo_chooses_exports_and_is_quick_when_repeated(tmp_path: Path) -> None:
    root = tmp_path / "clone"
    root.mkdir()
    for name in ("evalsets", "notebooks"):
        shutil.copytree(REPOSITORY / name, root / name)
    for name in ("models.yaml", "Makefile"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / ".venv").symlink_to(REPOSITORY / ".venv")

    first = demo(root)
    assert "Gemma Terms of Use" in first
    assert "a stratified sample of 4 of" in first
    for path in ("exports/routing.yaml", "exports/litellm.yaml", "exports/01_quickstart.ipynb", "mlruns/mlflow.db"):
        assert (root / path).exists(), path
    engines = list((root / ".workbench" / "engines").glob("*.log"))
    assert len(engines) == 2

    started = time.monotonic()
    second = demo(root)
    assert len(list((root / ".workbench" / "engines").glob("*.log"))) == 2  # no engine was started again
    assert ", 0 requests sent to models" in second and ", 0 requests sent to models" not in first
    assert scores(second) == scores(first)
    assert time.monotonic() - started < 300  # a hang, not a speed: the README's figure is measured apart


def scores(report: str) -> list[list[str]]:
    """The leaderboard's candidates, scores and intervals."""
    return [line.split()[:4] for line in report.splitlines() if "–" in line and "%" in line]
