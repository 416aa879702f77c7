"""What people look at: a notebook in a real JupyterLab, in Debian's Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import free_port, page, server
from conftest import REPOSITORY, environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project_with_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the quickstart's sample has been asked and tracked."""
    root = tmp_path_factory.mktemp("browser")
    for name in ("evalsets", "notebooks"):
        shutil.copytree(REPOSITORY / name, root / name)
    shutil.copy(REPOSITORY / "models.yaml", root / "models.yaml")
    notebook = root / "notebooks" / "01_quickstart.ipynb"
    notebook.write_text(notebook.read_text().replace("sample: int = 12", "sample: int = 3"))
    tasks = "support_triage,data_extraction,legal_reasoning"  # those of the demo: meetings take minutes
    options = ["--sample", "3", "--tasks", tasks, "--variants", "few_shot,terse"]
    command = [sys.executable, "-m", "workbench.cli", "run", *options]
    run = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-2000:]
    return root


def test_the_quickstart_runs_in_jupyterlab(project_with_a_run: Path, tmp_path: Path) -> None:
    root, port = project_with_a_run, free_port()
    settings = tmp_path / "config" / "labconfig"
    settings.mkdir(parents=True)
    disabled = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (settings / "page_config.json").write_text(json.dumps(disabled))
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1"]
    command += ["--notebook-dir=notebooks", "--IdentityProvider.token=t", "--LabApp.expose_app_in_browser=True"]
    base = f"http://127.0.0.1:{port}"
    with server(command, root, f"{base}/api?token=t", **folders), page() as tab:
        tab.goto(f"{base}/lab/tree/01_quickstart.ipynb?token=t")
        tab.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context?.sessionContext?.isReady")
        kernel = "window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel"
        tab.wait_for_function(f"{kernel}?.status === 'idle'")
        tab.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        cells = "[...window.jupyterapp.shell.currentWidget.content.model.cells].filter(c => c.type === 'code')"
        tab.wait_for_function(f"{cells}.every(c => c.executionCount) || {cells}.some({_FAILED})", timeout=180_000)
        assert not tab.evaluate(f"{cells}.some({_FAILED})")
        tab.locator(".jp-OutputArea-output img").first.wait_for(state="attached")
        tab.locator(".wb table").first.wait_for(state="attached")
        tab.screenshot(path=str(tmp_path / "lab.png"))


_FAILED = "c => c.toJSON().outputs.some(o => o.output_type === 'error')"
