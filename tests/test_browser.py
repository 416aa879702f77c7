"""What people look at: a notebook in a real JupyterLab, and MLflow's pages, in Debian's Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, environment
from playwright.sync_api import Page, sync_playwright

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


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


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def server(command: list[str], root: Path, address: str, **variables: str) -> Iterator[None]:
    """A server in a process group of its own, ended afterwards."""
    with (root / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=root, env={**environment(root), **variables}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            for _ in range(240):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(address, timeout=2)
                    break
                time.sleep(0.5)
            else:
                pytest.fail((root / "server.log").read_text()[-2000:])
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


@contextlib.contextmanager
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        opened = browser.new_page(viewport={"width": 1600, "height": 1200})
        opened.set_default_timeout(90_000)
        yield opened
        browser.close()


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


def test_mlflow_shows_the_candidates_and_their_scores(project_with_a_run: Path, tmp_path: Path) -> None:
    root, port = project_with_a_run, free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "workbench.cli", "ui", "--port", str(port)]
    with server(command, root, f"{base}/health"), page() as tab:
        noted = json.loads(next((root / ".workbench" / "runs").glob("*/run.json")).read_text())
        for link, telling in (
            ("scores", "score_by_task/data_extraction"),
            ("which_model", "Which model for which task"),
        ):
            tab.goto(noted["links"][link].replace("http://127.0.0.1:5000", base))
            tab.get_by_text(telling).first.wait_for(state="attached")
            for name in ("rules", "smollm2-q4#few_shot", "gemma3-q4#few_shot"):
                tab.get_by_text(name).first.wait_for(state="attached")
            tab.screenshot(path=str(tmp_path / f"mlflow-{link}.png"))
