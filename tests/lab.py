"""A real JupyterLab in Debian's Chromium: a notebook opened, run and looked at as a person does."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from browser import free_port, server
from playwright.sync_api import Page

SHOWN = "window.jupyterapp.shell.currentWidget"
CELLS = f"[...{SHOWN}.content.model.cells].filter(c => c.type === 'code')"
IDLE = f"{SHOWN}.context.sessionContext.session?.kernel?.status === 'idle'"
FAILED = "c => c.toJSON().outputs.some(o => o.output_type === 'error')"


@contextlib.contextmanager
def jupyterlab(root: Path, settings: Path) -> Iterator[str]:
    """JupyterLab in a project's notebooks folder, with settings of its own; its address."""
    folder = settings / "config" / "labconfig"
    folder.mkdir(parents=True, exist_ok=True)
    disabled = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (folder / "page_config.json").write_text(json.dumps(disabled))
    folders = {f"JUPYTER_{name}_DIR": str(settings / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1"]
    command += ["--notebook-dir=notebooks", "--IdentityProvider.token=t", "--LabApp.expose_app_in_browser=True"]
    base = f"http://127.0.0.1:{port}"
    with server(command, root, f"{base}/api?token=t", **folders):
        yield base


def open_notebook(tab: Page, base: str, name: str, dark: bool = False) -> None:
    """Open a notebook and wait for its kernel."""
    tab.goto(f"{base}/lab/tree/{name}?token=t&reset")  # without what another test left open
    tab.wait_for_function(f"{SHOWN.replace('.shell.', '?.shell?.')}?.context?.sessionContext?.isReady")
    tab.wait_for_function(IDLE)
    theme = "JupyterLab Dark" if dark else "JupyterLab Light"
    tab.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    tab.evaluate("window.jupyterapp.shell.collapseLeft()")


def run_all(tab: Page, limit_s: float = 180) -> list[str]:
    """Run all cells; the errors that they ended with."""
    done = f"{CELLS}.every(c => c.executionCount) || {CELLS}.some({FAILED})"
    end = time.monotonic() + limit_s
    asked = 0.0
    while not tab.evaluate(done):
        assert time.monotonic() < end, "the notebook did not come to its end"
        # What is asked of a kernel that has only just come up may be lost, on a busy machine.
        if time.monotonic() - asked > 20 and tab.evaluate(f"{IDLE} && !{CELLS}.some(c => c.executionCount)"):
            tab.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
            asked = time.monotonic()
        tab.wait_for_timeout(200)
    outputs = f"{CELLS}.flatMap(c => c.toJSON().outputs).filter(o => o.output_type === 'error').map(o => o.evalue)"
    found: list[str] = tab.evaluate(outputs)
    return found


def turn_to(tab: Page, name: str) -> None:
    """Open one of the dashboard's tabs."""
    tab.get_by_role("tab", name=name, exact=True).first.click()
